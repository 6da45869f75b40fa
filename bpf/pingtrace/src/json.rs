//! JSON, a line for each probe and one at the end. Names and shape are those that pingtrace's users know; −1 is what is absent. Points
//! are microseconds of each host's monotonic clock, delays microseconds. Between hosts of two clocks a delay is its jitter.

use std::fmt::Write;

use crate::point::{DELAYS, Point};
use crate::sample::Sample;
use crate::summary::Summary;

fn number(value: Option<u64>) -> i64 {
    value.map_or(-1, |value| (value / 1000) as i64)
}

/// A probe: `{"meta":{"seq","start_ns"},"points":[{"point","ts"}],"delays":[{"delay","ts"}]}`. With a host between there is
/// `"hops":[{"point","ns_id","ifindex","user_id","ts"}]` too.
pub fn probe(sample: &Sample, summary: &Summary) -> String {
    let start = sample.at(Point::LTxUser).or_else(|| sample.at(Point::LTxDevqueue)).unwrap_or(0);
    let mut out = format!("{{\"meta\":{{\"seq\":{},\"start_ns\":{start}}},\"points\":[", sample.seq);
    let points = Point::ALL.into_iter().filter(|point| !point.is_between());
    for (at, point) in points.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{{\"point\":\"{}\",\"ts\":{}}}", point.name(), number(sample.at(point)));
    }
    out.push_str("],\"delays\":[");
    for (at, delay) in DELAYS.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{{\"delay\":\"{}\",\"ts\":{}}}", delay.name, number(summary.told(sample, at)));
    }
    out.push(']');
    if !sample.hops.is_empty() {
        out.push_str(",\"hops\":[");
        for (at, hop) in sample.hops.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (name, time) = (hop.point.name(), hop.time / 1000);
            let _ = write!(
                out,
                "{comma}{{\"point\":\"{name}\",\"ns_id\":{},\"ifindex\":{},\"user_id\":{},\"ts\":{time}}}",
                hop.netns, hop.ifindex, hop.user_id
            );
        }
        out.push(']');
    }
    out.push('}');
    out
}

/// The end: `{"stat":{"packet_num":[{"name","num"}],"stage":[{"delay","max","min","avg"}]}}`; each stage has its `p99` too, and
/// `blamed` tells how many outliers each stage is to blame for.
pub fn stat(summary: &Summary) -> String {
    let mut out = String::from("{\"stat\":{\"packet_num\":[");
    for (at, (name, _, count)) in summary.counters.all().into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{{\"name\":\"{name}\",\"num\":{count}}}");
    }
    out.push_str("],\"stage\":[");
    for (at, delay) in DELAYS.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let of = summary.histogram(at);
        let [max, min, avg, p99] = [of.max(), of.min(), of.average(), of.permille(990)].map(number);
        let name = delay.name;
        let _ = write!(out, "{comma}{{\"delay\":\"{name}\",\"max\":{max},\"min\":{min},\"avg\":{avg},\"p99\":{p99}}}");
    }
    out.push_str("],\"blamed\":[");
    for (at, (stage, count)) in summary.blamed().0.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{{\"delay\":\"{}\",\"num\":{count}}}", DELAYS[stage].name);
    }
    out.push_str("]}}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::whole;
    use crate::summary::tests::run;
    use serde_json::Value;

    #[test]
    fn a_probe_has_the_shape_that_its_users_know() {
        let line: Value = serde_json::from_str(&probe(&whole(), &run())).expect("JSON");
        assert_eq!(line["meta"], serde_json::json!({ "seq": 7, "start_ns": 1_000_100_000 }));
        assert_eq!(line["points"][2], serde_json::json!({ "point": "l_tx_devout", "ts": 1_000_115 }));
        assert_eq!(line["points"][11], serde_json::json!({ "point": "r_rx_user", "ts": -1 }));
        assert_eq!(line["delays"][0], serde_json::json!({ "delay": "total", "ts": 200 }));
        assert_eq!(line["delays"][2], serde_json::json!({ "delay": "l_tx_qdisc", "ts": 3 }));
        // only its jitter means anything, and that is none here
        assert_eq!(line["delays"][3], serde_json::json!({ "delay": "l_tx_outlink", "ts": 0 }));
    }

    #[test]
    fn the_end_has_counters_and_stages() {
        let mut summary = run();
        summary.counters.send_num = 31;
        let stat: Value = serde_json::from_str(&stat(&summary)).expect("JSON");
        assert_eq!(stat["stat"]["packet_num"][0], serde_json::json!({ "name": "send_num", "num": 31 }));
        let total = serde_json::json!({ "delay": "total", "max": 200, "min": 200, "avg": 200, "p99": 200 });
        assert_eq!(stat["stat"]["stage"][0], total);
        let unseen = serde_json::json!({ "delay": "r_task", "max": -1, "min": -1, "avg": -1, "p99": -1 });
        assert_eq!(stat["stat"]["stage"][5], unseen);
    }
}
