//! What came of all tasks, by server's port: how many, and how long their parts took.

use std::collections::BTreeMap;

use crate::Kind;
use crate::histogram::Histogram;
use crate::record::{Port, Record};
use crate::{text, units};

/// A part of a task's time, or what else is counted in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The request's way.
    Upload,
    /// The server's time; seen from a client, with a round trip of the network.
    Process,
    /// The response's way.
    Download,
    /// All of them.
    Total,
    /// The connection's smallest round trip time.
    Rtt,
}

impl Part {
    /// All, in the order in which they are told.
    pub const ALL: [Part; 5] = [Part::Upload, Part::Process, Part::Download, Part::Total, Part::Rtt];

    /// `upload`, `process`, `download`, `total`, `rtt`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Upload => "upload",
            Part::Process => "process",
            Part::Download => "download",
            Part::Total => "total",
            Part::Rtt => "rtt",
        }
    }

    /// Its microseconds in a record; `None` where the round trip time is not known.
    pub fn of(self, record: &Record) -> Option<u64> {
        match self {
            Part::Upload => Some(record.upload_us()),
            Part::Process => Some(record.process_us()),
            Part::Download => Some(record.download_us()),
            Part::Total => Some(record.total_us),
            Part::Rtt => (record.min_rtt_us > 0).then_some(u64::from(record.min_rtt_us)),
        }
    }
}

/// Of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tasks that were answered whole.
    pub answered: u64,
    /// Tasks that were not: the connection was closed before.
    pub failed: u64,
    /// Connections that ended after a task; clients' are not told.
    pub ended: u64,
    /// Answers with an HTTP status of 500 and above.
    pub http_errors: u64,
    /// Segments sent again in these tasks.
    pub retransmissions: u64,
    /// Segments that these tasks needed: of each, its bytes by its largest segment, rounded down, and one.
    pub segments: u64,
    /// Bytes of payload in these tasks.
    pub sent_bytes: u64,
    /// Bytes of payload in these tasks.
    pub received_bytes: u64,
    /// The last process that was told; empty where none was.
    pub process: String,
    parts: [Histogram; 5],
}

impl Summary {
    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        if record.kind == Kind::End {
            self.ended += 1;
            return;
        }
        self.retransmissions += u64::from(record.retransmissions);
        self.segments = self.segments.saturating_add(segments(record));
        self.sent_bytes = self.sent_bytes.saturating_add(record.sent_bytes);
        self.received_bytes = self.received_bytes.saturating_add(record.received_bytes);
        self.http_errors += u64::from(record.http.as_ref().is_some_and(|http| http.status >= 500));
        if !record.owner.process.is_empty() && self.process != record.owner.process {
            self.process.clone_from(&record.owner.process);
        }
        if !record.is_answered() {
            self.failed += 1;
            return;
        }
        self.answered += 1;
        for part in Part::ALL {
            if let Some(micros) = part.of(record) {
                self.parts[part as usize].add(micros);
            }
        }
    }

    /// Counts all that another has counted.
    pub fn merge(&mut self, other: &Summary) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.ended += other.ended;
        self.http_errors += other.http_errors;
        self.retransmissions += other.retransmissions;
        self.segments = self.segments.saturating_add(other.segments);
        self.sent_bytes = self.sent_bytes.saturating_add(other.sent_bytes);
        self.received_bytes = self.received_bytes.saturating_add(other.received_bytes);
        if !other.process.is_empty() {
            self.process.clone_from(&other.process);
        }
        for (part, other) in self.parts.iter_mut().zip(&other.parts) {
            part.merge(other);
        }
    }

    /// Tasks, answered or not.
    pub fn tasks(&self) -> u64 {
        self.answered + self.failed
    }

    /// How long a part took in the tasks that were answered.
    pub fn part(&self, part: Part) -> &Histogram {
        &self.parts[part as usize]
    }

    /// Segments sent again, of a thousand.
    pub fn drop_per_mille(&self) -> u64 {
        self.retransmissions.saturating_mul(1000) / self.segments.max(1)
    }

    /// Tasks that were not answered, of a thousand.
    pub fn fail_per_mille(&self) -> u64 {
        self.failed.saturating_mul(1000) / self.tasks().max(1)
    }
}

/// Segments that a task's bytes need; 0 where the largest segment is not known.
fn segments(record: &Record) -> u64 {
    record.sent_bytes.checked_div(u64::from(record.mss)).map_or(0, |segments| segments + 1)
}

/// Of many ports, so many at most: what does not fit is counted, and told.
#[derive(Clone, Debug)]
pub struct Summaries {
    ports: BTreeMap<Port, Summary>,
    most: usize,
    /// Records of ports that there was no room for.
    beyond: u64,
}

impl Summaries {
    /// At most so many ports.
    pub fn new(most: usize) -> Summaries {
        Summaries { ports: BTreeMap::new(), most, beyond: 0 }
    }

    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        match self.entry(record.port()) {
            Some(summary) => summary.add(record),
            None => self.beyond += 1,
        }
    }

    /// Counts all that others have counted.
    pub fn merge(&mut self, other: &Summaries) {
        self.beyond += other.beyond;
        for (&port, summary) in &other.ports {
            match self.entry(port) {
                Some(own) => own.merge(summary),
                None => self.beyond += summary.tasks() + summary.ended,
            }
        }
    }

    fn entry(&mut self, port: Port) -> Option<&mut Summary> {
        let has_room = self.ports.len() < self.most;
        match self.ports.entry(port) {
            std::collections::btree_map::Entry::Occupied(entry) => Some(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => has_room.then(|| entry.insert(Summary::default())),
        }
    }

    /// By port, servers first.
    pub fn iter(&self) -> impl Iterator<Item = (Port, &Summary)> {
        self.ports.iter().map(|(port, summary)| (*port, summary))
    }

    /// Records of ports that there was no room for.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// A table of all ports: tasks, bytes and retransmissions, and of each part p50, p95, p99 and the largest.
    pub fn lines(&self) -> String {
        let mut out = String::new();
        for (port, summary) in self.iter() {
            let name = text::port(port, &summary.process);
            let Summary { answered, failed, ended, http_errors, retransmissions, segments, .. } = summary;
            out += &format!("{name}: {answered} answered, {failed} not");
            if *ended > 0 {
                out += &format!(", {ended} connections ended");
            }
            if *http_errors > 0 {
                out += &format!(", {http_errors} of status 5xx");
            }
            let (sent, received) = (units::bytes(summary.sent_bytes), units::bytes(summary.received_bytes));
            out +=
                &format!("; {sent} sent, {received} received, {retransmissions} of {segments} segments sent again\n");
            if summary.answered == 0 {
                continue;
            }
            out += "              p50      p95      p99      max\n";
            for part in Part::ALL {
                let histogram = summary.part(part);
                if histogram.count() == 0 {
                    continue;
                }
                let quantiles = [0.5, 0.95, 0.99].map(|quantile| histogram.quantile(quantile));
                let [p50, p95, p99] = quantiles.map(units::micros);
                let max = units::micros(histogram.max());
                out += &format!("  {:8} {p50:>8} {p95:>8} {p99:>8} {max:>8}\n", part.name());
            }
        }
        if self.beyond > 0 {
            out += &format!("{} more, of other ports: there is room for {}\n", self.beyond, self.most);
        }
        out
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::http::Http;
    use crate::record::tests::sample;

    /// A hundred tasks of a server, of 1 to 100 ms of service, and one of a client.
    pub(crate) fn some() -> Vec<Record> {
        let mut records = Vec::new();
        for number in 1..=100u32 {
            let service_us = u64::from(number) * 1000;
            let http = Http { status: if number == 7 { 503 } else { 200 }, ..Http::default() };
            let mut record = Record { service_us, total_us: service_us + 500, http: Some(http), ..sample() };
            record.start_us += u64::from(number) * 10_000;
            record.owner.process = "nginx".to_owned();
            records.push(record);
        }
        records.push(Record { kind: Kind::ClosedWhileSending, ..sample() });
        records.push(Record { kind: Kind::End, ..sample() });
        records.push(Record { kind: Kind::Peer, retransmissions: 0, ..sample() });
        records
    }

    #[test]
    fn each_port_has_its_own() {
        let mut all = Summaries::new(2);
        some().iter().for_each(|record| all.add(record));
        all.add(&Record { local: "10.0.0.1:81".parse().unwrap(), ..sample() });
        let expected = "\
:80 server nginx: 100 answered, 1 not, 1 connections ended, 1 of status 5xx; 68K sent, 12K received, 202 of 101 segments sent again
              p50      p95      p99      max
  upload       15us     15us     15us     15us
  process    49.7ms   95.2ms   99.3ms    100ms
  download    483us    483us    483us    485us
  total      50.7ms   95.2ms   99.3ms    101ms
  rtt        2.24ms   2.24ms   2.24ms   2.24ms
:40000 client: 1 answered, 0 not; 690 sent, 120 received, 0 of 1 segments sent again
              p50      p95      p99      max
  upload     3.26ms   3.26ms   3.26ms   3.26ms
  process      24us     24us     24us     24us
  download     15us     15us     15us     15us
  total      3.30ms   3.30ms   3.30ms   3.30ms
  rtt        2.24ms   2.24ms   2.24ms   2.24ms
1 more, of other ports: there is room for 2
";
        assert_eq!(all.lines(), expected);
    }

    #[test]
    fn what_is_merged_is_as_if_counted_at_once() {
        let (mut one, mut other, mut all) = (Summaries::new(9), Summaries::new(9), Summaries::new(9));
        for (number, record) in some().iter().enumerate() {
            if number % 3 == 0 {
                one.add(record)
            } else {
                other.add(record)
            }
            all.add(record);
        }
        one.merge(&other);
        assert_eq!(one.lines(), all.lines());
    }
}
