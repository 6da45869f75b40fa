//! Aggregates of each interval and port, as lines of the vendor's `rt-network-stats`.
//!
//! ```text
//! <seconds> all <[P]port> <total> <service> <drop> <rtt> <fail> <sent> <receive> <received> <count>
//! ```
//!
//! | field | |
//! |---|---|
//! | `seconds` | since 1970: the interval's end |
//! | `[P]port` | the server's port; with P in front, of clients of that port |
//! | `total`, `service`, `rtt`, `receive` | microseconds, means over the tasks that were answered; `rtt` over those whose round trip time is known |
//! | `sent`, `received` | bytes, means over the tasks that were answered |
//! | `drop` | of a thousand segments, how many were sent again: 1000 · retransmissions / Σ(sent / mss + 1), over all tasks |
//! | `fail` | of a thousand tasks, how many were not answered whole: the connection was closed before (W, N, and P without an answer) |
//! | `count` | tasks that ended in the interval |
//!
//! `fail` is not the vendor's, whose module compares microseconds with ticks.

use std::collections::BTreeMap;

use crate::record::{Port, Record, Side};

#[derive(Clone, Debug, Default)]
struct Sums {
    tasks: u64,
    answered: u64,
    total_us: u64,
    service_us: u64,
    receive_us: u64,
    sent_bytes: u64,
    received_bytes: u64,
    rtt_us: u64,
    rtt_known: u64,
    retransmissions: u64,
    segments: u64,
}

/// What came of an interval's tasks.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    ports: BTreeMap<Port, Sums>,
}

impl Interval {
    /// Counts a record; a connection's end is no task.
    pub fn add(&mut self, record: &Record) {
        if !record.is_task() {
            return;
        }
        let sums = self.ports.entry(record.port()).or_default();
        sums.tasks += 1;
        sums.retransmissions += u64::from(record.retransmissions);
        if let Some(segments) = record.sent_bytes.checked_div(u64::from(record.mss)) {
            sums.segments = sums.segments.saturating_add(segments).saturating_add(1);
        }
        if !record.is_answered() {
            return;
        }
        sums.answered += 1;
        sums.total_us = sums.total_us.saturating_add(record.total_us);
        sums.service_us = sums.service_us.saturating_add(record.service_us);
        sums.receive_us = sums.receive_us.saturating_add(record.receive_us);
        sums.sent_bytes = sums.sent_bytes.saturating_add(record.sent_bytes);
        sums.received_bytes = sums.received_bytes.saturating_add(record.received_bytes);
        sums.rtt_us += u64::from(record.min_rtt_us);
        sums.rtt_known += u64::from(record.min_rtt_us > 0);
    }

    /// Its lines, by port, servers first; and begins anew.
    pub fn take_lines(&mut self, seconds: u64) -> String {
        let mut out = String::new();
        for (port, sums) in std::mem::take(&mut self.ports) {
            let of = |sum: u64, number: u64| sum / number.max(1);
            let mean = |sum: u64| of(sum, sums.answered);
            let prefix = if port.side == Side::Client { "P" } else { "" };
            let fields = [
                mean(sums.total_us),
                mean(sums.service_us),
                of(sums.retransmissions.saturating_mul(1000), sums.segments),
                of(sums.rtt_us, sums.rtt_known),
                of((sums.tasks - sums.answered).saturating_mul(1000), sums.tasks),
                mean(sums.sent_bytes),
                mean(sums.receive_us),
                mean(sums.received_bytes),
                sums.tasks,
            ];
            out += &format!("{seconds} all {prefix}{}", port.number);
            for field in fields {
                out += &format!(" {field}");
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::record::tests::sample;

    #[test]
    fn no_record_is_too_large() {
        let mut interval = Interval::default();
        for _ in 0..2 {
            interval.add(&Record { sent_bytes: u64::MAX, mss: 1, total_us: u64::MAX, ..sample() });
        }
        assert!(interval.take_lines(0).contains(&format!(" {} ", u64::MAX / 2)));
    }

    #[test]
    fn lines_have_means_and_shares() {
        let mut interval = Interval::default();
        interval.add(&sample());
        interval.add(&Record { total_us: 1303, service_us: 26, sent_bytes: 310, min_rtt_us: 0, ..sample() });
        // 11 segments, none sent again; not answered: in shares and in the number only
        let sent_bytes = 10 * 1448;
        interval.add(&Record { kind: Kind::ClosedWhileSending, sent_bytes, retransmissions: 0, ..sample() });
        interval.add(&Record { kind: Kind::ClosedWhileReceiving, mss: 0, retransmissions: 0, ..sample() });
        interval.add(&Record { kind: Kind::End, ..sample() });
        interval.add(&Record { kind: Kind::Peer, retransmissions: 0, ..sample() });
        interval.add(&Record { kind: Kind::Peer, retransmissions: 0, received_bytes: 0, ..sample() });
        let expected = "\
1700000060 all 80 2303 25 307 2240 500 500 15 120 4
1700000060 all P40000 3303 24 0 2240 500 690 15 120 2
";
        assert_eq!(interval.take_lines(1_700_000_060), expected);
        assert_eq!(interval.take_lines(1_700_000_120), "");
    }
}
