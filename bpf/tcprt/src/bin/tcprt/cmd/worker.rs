//! What is done with each event: whose it is, the summary, the metrics, the line.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tcprt::summary::Summaries;

use crate::cmd::teller::{Reader, Teller};
use crate::exporter::Shared;
use crate::owners::Owners;

/// The most ports that are summed up.
const PORTS: usize = 256;

/// Who takes events.
pub(super) struct Worker {
    pub(super) teller: Teller,
    owners: Owners,
    pub(super) all: Summaries,
    pub(super) metrics: Option<Shared>,
    /// What the wall clock shows at the events' clock's 0.
    begin_ns: u64,
    pub(super) reader: Reader,
}

impl Worker {
    pub(super) fn new(teller: Teller, metrics: Option<Shared>) -> Worker {
        Worker {
            teller,
            owners: Owners::new(),
            all: Summaries::new(PORTS),
            metrics,
            begin_ns: 0,
            reader: Reader::default(),
        }
    }

    /// What comes next came just now; the wall clock, which may have been set, shows `begin_ns` at the events' clock's 0.
    pub(super) fn begin(&mut self, begin_ns: u64, now: Instant) {
        self.begin_ns = begin_ns;
        self.owners.begin(now);
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        let Some(record) = self.reader.read(bytes, self.begin_ns) else { return };
        self.owners.complete(record);
        self.all.add(record);
        if let Some(metrics) = &self.metrics {
            lock(metrics).add(record);
        }
        self.teller.tell(record);
    }
}

/// What somebody who panicked held can be taken again.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::args::Format;
    use crate::output::Output;

    /// Events of a poll, and polls.
    const POLL: usize = 500;
    const POLLS: usize = 40;

    /// What a busy server's object sends: requests of 200 connections, of this process.
    fn events() -> Vec<Vec<u8>> {
        (0..POLL).map(|number| event(b'R', number)).collect()
    }

    fn event(kind: u8, number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let n = number as u64;
        for value in [7_200_000_000_123 + n * 20_123, 1203 + n % 700, n % 17, 24 + n % 900, 690, 120 + n % 50, 0] {
            bytes.extend(value.to_ne_bytes());
        }
        for value in [40 + number as u32 % 60, 0, 1 + number as u32 / 200, 1448] {
            bytes.extend(value.to_ne_bytes());
        }
        for last in [1, 2 + (number % 200) as u8] {
            bytes.extend(std::net::Ipv4Addr::new(10, 128, 31, last).to_ipv6_mapped().octets());
        }
        for value in [8080u16, 32768 + (number % 200) as u16, 2] {
            bytes.extend(value.to_ne_bytes());
        }
        bytes.extend([kind, 0]);
        bytes.extend(7777u64.to_ne_bytes());
        bytes.extend(4_026_531_840u32.to_ne_bytes());
        bytes.extend(std::process::id().to_ne_bytes());
        bytes.extend(*b"redis-server\0\0\0\0");
        bytes.extend([0; 96]);
        bytes
    }

    /// Takes them poll by poll, as the agent does; callgrind counts what is done in it.
    #[inline(never)]
    fn take_polls(worker: &mut Worker, events: &[Vec<u8>], polls: usize) {
        for _ in 0..polls {
            worker.begin(1_700_000_000_000_000_000, Instant::now());
            events.iter().for_each(|event| worker.take(event));
            worker.teller.flush();
        }
    }

    fn worker(format: Format, path: &Path) -> Worker {
        Worker::new(Teller::new(Output::new(Some(path), 0, 0).unwrap(), format, Duration::ZERO), None)
    }

    /// For a figure: `docs/tcprt.md` says how.
    fn cost(format: Format, lines: usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut worker = worker(format, &path);
        take_polls(&mut worker, &events(), POLLS);
        assert_eq!((worker.reader.unreadable, std::fs::read_to_string(path).unwrap().lines().count()), (0, lines));
    }

    #[test]
    #[ignore = "for a figure, by callgrind"]
    fn cost_of_v6() {
        cost(Format::V6, POLL * POLLS);
    }

    #[test]
    #[ignore = "for a figure, by callgrind"]
    fn cost_of_text() {
        cost(Format::Text, POLL * POLLS);
    }

    #[test]
    #[ignore = "for a figure, by callgrind"]
    fn cost_of_json() {
        cost(Format::Json, POLL * POLLS);
    }

    #[test]
    #[ignore = "for a figure, by callgrind"]
    fn cost_of_stats() {
        cost(Format::Stats, 0);
    }
}
