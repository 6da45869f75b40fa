//! What a Prometheus server reads: <https://prometheus.io/docs/instrumenting/exposition_formats/>, text format 0.0.4.
//!
//! | metric | labels | |
//! |---|---|---|
//! | `tcprt_tasks_total` | side, port, result | tasks; `result` is `answered` or `closed` |
//! | `tcprt_task_part_seconds` | side, port, part | histogram of the answered tasks' upload, process, download and total |
//! | `tcprt_rtt_seconds` | side, port | histogram of the connections' smallest round trip time, for each task that knows it |
//! | `tcprt_sent_bytes_total`, `tcprt_received_bytes_total` | side, port | payload of tasks |
//! | `tcprt_unacknowledged_bytes_total` | side, port | payload that was not acknowledged when the connection was closed |
//! | `tcprt_retransmitted_segments_total`, `tcprt_segments_total` | side, port | segments sent again, and segments that the tasks' bytes need |
//! | `tcprt_reordered_tasks_total` | side, port | tasks of which a part came out of order |
//! | `tcprt_connections_ended_total` | side, port | connections that ended after a task (servers) |
//! | `tcprt_http_responses_total` | side, port, class | by the class of status, `2xx` |
//! | `tcprt_lost_events_total` | | events that the kernel had no room for |
//! | `tcprt_refused_connections_total` | | times that there was no memory for a connection |
//! | `tcprt_evicted_connections_total` | | connections that went from the full table before their end, as of the last interval |
//! | `tcprt_untold_requests_total` | | requests that are not told by themselves, as too many waited: so many at least |
//! | `tcprt_other_ports_events_total` | | events of ports beyond those that there is room for |
//! | `tcprt_build_info` | version | 1 |

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::Kind;
use crate::record::{Port, Record};
use crate::summary::Part;

/// Upper bounds of the histograms' buckets, microseconds.
const BOUNDS: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// The most ports that there is room for.
const PORTS: usize = 256;

#[derive(Clone, Debug, Default)]
struct Buckets {
    /// By bucket, not those below it.
    counts: [u64; BOUNDS.len() + 1],
    sum_us: u64,
}

impl Buckets {
    fn add(&mut self, micros: u64) {
        let bucket = BOUNDS.partition_point(|&bound| bound < micros);
        self.counts[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(micros);
    }
}

#[derive(Clone, Debug, Default)]
struct Counters {
    answered: u64,
    closed: u64,
    ended: u64,
    sent_bytes: u64,
    received_bytes: u64,
    unacknowledged_bytes: u64,
    retransmissions: u64,
    segments: u64,
    reordered: u64,
    http: [u64; 5],
    parts: [Buckets; 5],
}

/// All that is counted since the agent began.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    ports: BTreeMap<Port, Counters>,
    beyond: u64,
    /// Events that the kernel had no room for.
    pub lost: u64,
    /// How often there was no memory for a connection.
    pub refused: u64,
    /// Connections that went from the full table before their end.
    pub evicted: u64,
    /// Requests that are not told by themselves, as too many waited for an answer: so many at least.
    pub untold: u64,
}

impl Metrics {
    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        let port = record.port();
        if !self.ports.contains_key(&port) && self.ports.len() >= PORTS {
            self.beyond += 1;
            return;
        }
        let counters = self.ports.entry(port).or_default();
        if record.kind == Kind::End {
            counters.ended += 1;
            return;
        }
        counters.sent_bytes = counters.sent_bytes.wrapping_add(record.sent_bytes);
        counters.received_bytes = counters.received_bytes.wrapping_add(record.received_bytes);
        counters.unacknowledged_bytes = counters.unacknowledged_bytes.wrapping_add(record.unacknowledged_bytes);
        counters.retransmissions += u64::from(record.retransmissions);
        if let Some(segments) = record.sent_bytes.checked_div(u64::from(record.mss)) {
            counters.segments = counters.segments.wrapping_add(segments + 1);
        }
        counters.reordered += u64::from(record.reordered);
        let status = record.http.as_ref().map_or(0, |http| http.status);
        if let Some(class) = usize::from(status / 100).checked_sub(1).and_then(|class| counters.http.get_mut(class)) {
            *class += 1;
        }
        if !record.is_answered() {
            counters.closed += 1;
            return;
        }
        counters.answered += 1;
        for part in Part::ALL {
            if let Some(micros) = part.of(record) {
                counters.parts[part as usize].add(micros);
            }
        }
    }

    /// All metrics, as text.
    pub fn exposition(&self) -> String {
        let mut out = String::new();
        self.family(&mut out, "tcprt_tasks_total", "Tasks (a request and its response) that are over.", |counters| {
            vec![
                ("result=\"answered\"".to_owned(), counters.answered),
                ("result=\"closed\"".to_owned(), counters.closed),
            ]
        });
        let one = |value: u64| vec![(String::new(), value)];
        let counter = |out: &mut String, name: &str, help: &str, of: fn(&Counters) -> u64| {
            self.family(out, name, help, |counters| one(of(counters)));
        };
        counter(&mut out, "tcprt_sent_bytes_total", "Payload sent in tasks.", |c| c.sent_bytes);
        counter(&mut out, "tcprt_received_bytes_total", "Payload received in tasks.", |c| c.received_bytes);
        let help = "Payload that was not acknowledged when the connection was closed.";
        counter(&mut out, "tcprt_unacknowledged_bytes_total", help, |c| c.unacknowledged_bytes);
        counter(&mut out, "tcprt_retransmitted_segments_total", "Segments sent again.", |c| c.retransmissions);
        counter(&mut out, "tcprt_segments_total", "Segments that the bytes of tasks need.", |c| c.segments);
        let help = "Tasks of which a part came out of order.";
        counter(&mut out, "tcprt_reordered_tasks_total", help, |c| c.reordered);
        let help = "Servers' connections that ended after a task.";
        counter(&mut out, "tcprt_connections_ended_total", help, |c| c.ended);
        self.family(&mut out, "tcprt_http_responses_total", "Responses of HTTP/1 by class of status.", |counters| {
            let classes = counters.http.iter().enumerate().filter(|(_, number)| **number > 0);
            classes.map(|(class, number)| (format!("class=\"{}xx\"", class + 1), *number)).collect()
        });
        head(&mut out, "tcprt_task_part_seconds", "histogram", "How long the parts of answered tasks took.");
        for (port, counters) in &self.ports {
            for part in Part::ALL.into_iter().filter(|part| *part != Part::Rtt) {
                let labels = format!("{},part=\"{}\"", labels(*port), part.name());
                histogram(&mut out, "tcprt_task_part_seconds", &labels, &counters.parts[part as usize]);
            }
        }
        head(&mut out, "tcprt_rtt_seconds", "histogram", "The smallest round trip time of the connections of tasks.");
        for (port, counters) in &self.ports {
            histogram(&mut out, "tcprt_rtt_seconds", &labels(*port), &counters.parts[Part::Rtt as usize]);
        }
        let of_all = [
            ("tcprt_lost_events_total", "Events that the kernel had no room for.", self.lost),
            ("tcprt_refused_connections_total", "Times that there was no memory for a connection.", self.refused),
            (
                "tcprt_evicted_connections_total",
                "Connections that went from the full table before their end.",
                self.evicted,
            ),
            ("tcprt_untold_requests_total", "Requests that are not told by themselves.", self.untold),
            ("tcprt_other_ports_events_total", "Events of ports beyond those that there is room for.", self.beyond),
        ];
        for (name, help, value) in of_all {
            head(&mut out, name, "counter", help);
            let _ = writeln!(out, "{name} {value}");
        }
        head(&mut out, "tcprt_build_info", "gauge", "The version of the agent.");
        let _ = writeln!(out, "tcprt_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        out
    }

    /// A counter of each port; `of` gives its further labels and values.
    fn family(&self, out: &mut String, name: &str, help: &str, of: impl Fn(&Counters) -> Vec<(String, u64)>) {
        head(out, name, "counter", help);
        for (port, counters) in &self.ports {
            for (more, value) in of(counters) {
                let comma = if more.is_empty() { "" } else { "," };
                let _ = writeln!(out, "{name}{{{}{comma}{more}}} {value}", labels(*port));
            }
        }
    }
}

fn labels(port: Port) -> String {
    format!("side=\"{}\",port=\"{}\"", port.side.name(), port.number)
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn histogram(out: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let mut below = 0;
    for (bound, number) in BOUNDS.iter().zip(&buckets.counts) {
        below += number;
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {below}", seconds(*bound));
    }
    let count: u64 = buckets.counts.iter().sum();
    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", seconds(buckets.sum_us));
    let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
}

/// Without the rounding of floating point.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::summary::tests::some;
    use std::collections::{BTreeMap, BTreeSet};

    pub(crate) fn metrics() -> Metrics {
        let mut metrics = Metrics { lost: 3, ..Metrics::default() };
        some().iter().for_each(|record| metrics.add(record));
        metrics
    }

    /// `name{label="value",…} number` of the text format.
    fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(
            !name.is_empty() && name.chars().all(is_name) && !name.starts_with(|c: char| c.is_ascii_digit()),
            "{line}"
        );
        let labels = labels.strip_suffix('}').expect(line);
        let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
            let (label, value) = pair.split_once('=').expect(line);
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect(line);
            assert!(!value.contains(['"', '\\', '\n']), "{line}");
            (label.to_owned(), value.to_owned())
        });
        (name.to_owned(), pairs.collect(), value.parse().expect(line))
    }

    /// What `promtool check metrics` would say of it.
    pub(crate) fn check(text: &str) {
        let (mut types, mut seen, mut current) = (BTreeMap::new(), BTreeSet::new(), String::new());
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(help.ends_with('.') && !types.contains_key(name), "{line}");
                current = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(name, current, "HELP goes before TYPE");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                types.insert(name.to_owned(), kind.to_owned());
            } else {
                let (name, mut labels, value) = sample(line);
                assert!(seen.insert((name.clone(), labels.clone())), "twice: {line}");
                let family = match types[&current].as_str() {
                    "histogram" => {
                        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).expect(line)
                    }
                    _ => name.as_str(),
                };
                assert_eq!(family, current, "{line} is among those of another name");
                if name.ends_with("_bucket") {
                    let le = labels.remove("le").expect(line);
                    let le = if le == "+Inf" { f64::INFINITY } else { le.parse().expect(line) };
                    buckets.entry(format!("{family}{labels:?}")).or_default().push((le, value));
                } else if name.ends_with("_count") {
                    counts.insert(format!("{family}{labels:?}"), value);
                }
            }
        }
        assert_eq!(buckets.keys().collect::<Vec<_>>(), counts.keys().collect::<Vec<_>>());
        for (series, buckets) in buckets {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{series}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, counts[&series])), "{series}");
        }
    }

    #[test]
    fn the_text_is_as_the_format_wants_it() {
        check(&metrics().exposition());
        check(&Metrics::default().exposition());
    }

    #[test]
    fn values_are_those_of_the_records() {
        let text = metrics().exposition();
        for line in [
            "tcprt_tasks_total{side=\"server\",port=\"80\",result=\"answered\"} 100",
            "tcprt_tasks_total{side=\"server\",port=\"80\",result=\"closed\"} 1",
            "tcprt_tasks_total{side=\"client\",port=\"40000\",result=\"answered\"} 1",
            "tcprt_http_responses_total{side=\"server\",port=\"80\",class=\"2xx\"} 99",
            "tcprt_http_responses_total{side=\"server\",port=\"80\",class=\"5xx\"} 1",
            "tcprt_task_part_seconds_bucket{side=\"server\",port=\"80\",part=\"process\",le=\"0.01\"} 10",
            "tcprt_task_part_seconds_bucket{side=\"server\",port=\"80\",part=\"process\",le=\"0.1\"} 100",
            "tcprt_task_part_seconds_sum{side=\"server\",port=\"80\",part=\"process\"} 5.05",
            "tcprt_rtt_seconds_bucket{side=\"server\",port=\"80\",le=\"0.0025\"} 100",
            "tcprt_connections_ended_total{side=\"server\",port=\"80\"} 1",
            "tcprt_lost_events_total 3",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn ports_without_room_are_counted() {
        let mut metrics = Metrics::default();
        for port in 1..=300u16 {
            let mut record = crate::record::tests::sample();
            record.local.set_port(port);
            metrics.add(&record);
        }
        assert!(metrics.exposition().contains("tcprt_other_ports_events_total 44\n"));
    }
}
