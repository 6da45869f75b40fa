//! The picture: the box of this host and that of the other one, and the microseconds of each stage at its arrow.

use std::fmt::Write;

use crate::point::{Delay, Point};
use crate::sample::Sample;
use crate::summary::Summary;

/// Who talks with whom, for headings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// This host's address.
    pub local: String,
    /// The other one's.
    pub remote: String,
    /// `icmp`, `udp` or `tcp`.
    pub protocol: String,
    /// Points that are not seen, and why not: by the plan.
    pub missing: Vec<(Point, String)>,
}

/// Seven times one letter is a field.
const FIELD: usize = 7;

/// The upper half, where the other host's kernel answers.
const BY_KERNEL: [&str; 6] = [
    "  | user          (0)              (8)  |           |                                     |",
    "  |                |                ^   |           |                                     |",
    "  |                |        AAAAAAA |   |           |                                     |",
    "  |                |               (7)  |           |                                     |",
    "  |                |        BBBBBBB |   |           |                                     |",
    "  | transport      |               (6)  |           |              (3)-------------+      |",
];

/// The upper half, where a server answers.
const BY_SERVER: [&str; 6] = [
    "  | user          (0)              (8)  |           |             (15) GGGGGGG ---(16)    |",
    "  |                |                ^   |           |               ^              |      |",
    "  |                |        AAAAAAA |   |           |       FFFFFFF |              |      |",
    "  |                |               (7)  |           |               |              |      |",
    "  |                |        BBBBBBB |   |           |               |              |      |",
    "  | transport      |               (6)  |           |              (3)             |      |",
];

const HEAD: [&str; 2] = [
    "                    local                                          remote",
    "  +-------------------------------------+           +-------------------------------------+",
];

const FOOT: [&str; 10] = [
    "  |                |                ^   |           |               ^              |      |",
    "  |        CCCCCCC |        DDDDDDD |   |           |       HHHHHHH |      IIIIIII |      |",
    "  | IP            (1)              (5)  |           |               |              |      |",
    "  |        EEEEEEE |        JJJJJJJ |   |           |               |              |      |",
    "  | device        (2)             (10)  |           |              (9)            (4)     |",
    "  +----------------|----------------^---+           +---------------^--------------|------+",
    "                   |                |                       KKKKKKK |              |",
    "                   +----------------|-------------------------------+              |",
    "                                    |                       LLLLLLL                |",
    "                                    +----------------------------------------------+",
];

/// Microseconds, or a dash.
pub(crate) fn micros(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| (ns / 1000).to_string())
}

/// What each field is: the first of some delays that is seen.
const FIELDS: [(&str, &[&str]); 12] = [
    ("A", &["l_rx_task_queue", "l_rx_task"]),
    ("B", &["l_rx_task_waking"]),
    ("C", &["l_tx_kern", "l_tx_merged_kern"]),
    ("D", &["l_rx_kern", "l_rx_merged_kern"]),
    ("E", &["l_tx_qdisc"]),
    ("F", &["r_task"]),
    ("G", &["r_user"]),
    ("H", &["r_rx_kern"]),
    ("I", &["r_tx_user_kern", "r_tx_kern", "r_merged_kern"]),
    ("J", &["l_rx_softirq"]),
    ("K", &["l_tx_outlink"]),
    ("L", &["l_rx_wire", "l_rx_inlink"]),
];

/// The picture of a probe.
pub fn picture(sample: &Sample, summary: &Summary, hosts: &Hosts) -> String {
    let mut out = String::new();
    let Hosts { local, remote, protocol, missing } = hosts;
    let _ = writeln!(out, "seq {}  {local} > {remote}  {protocol}  total {} us", sample.seq, micros(sample.total()));
    let fields = FIELDS.map(|(letter, names)| {
        let delays = names.iter().filter_map(|name| Delay::by_name(name));
        let told = delays.filter_map(|delay| Some((delay, summary.told(sample, delay)?))).next();
        let is_jitter = told.is_some_and(|(delay, _)| summary.is_jitter(&crate::point::DELAYS[delay]));
        let value = micros(told.map(|(_, told)| told));
        (letter.repeat(FIELD), if is_jitter { format!("+{value}") } else { value })
    });
    let middle = if sample.at(Point::RRxUser).is_some() { &BY_SERVER } else { &BY_KERNEL };
    for line in HEAD.iter().chain(middle).chain(&FOOT) {
        let mut line = (*line).to_owned();
        for (field, value) in &fields {
            line = line.replace(field.as_str(), &format!("{value:>FIELD$}"));
        }
        let _ = writeln!(out, "{line}");
    }
    let is_told = sample.at(Point::RRxDevrcv).is_some() && sample.at(Point::RTxDevout).is_some();
    if is_told && !sample.one_clock {
        out.push_str("  +  jitter: above the least of the last 10,000; the clocks of two hosts tell no more\n");
    }
    if !is_told {
        let outside = ["outside_wire", "outside"].iter().filter_map(|name| Delay::by_name(name));
        let took = outside.filter_map(|delay| summary.told(sample, delay)).next();
        let _ = writeln!(out, "  links and the other host together: {} us; it did not tell its times", micros(took));
    }
    hops(&mut out, sample);
    for (point, why) in missing.iter().filter(|(point, _)| sample.at(*point).is_none()) {
        let _ = writeln!(out, "  ({}) {} is not seen: {why}", *point as u16, point.name());
    }
    if let Some(blame) = summary.blame(sample).filter(|blame| is_slow(summary, blame.whole)) {
        let _ = writeln!(out, "  {}", blame_line(blame.stage, blame.excess, blame.percent()));
    }
    out
}

/// Slow enough that somebody asks why: twice the median, or as late as was asked for.
fn is_slow(summary: &Summary, excess: u64) -> bool {
    let median = summary.histogram(0).permille(500).unwrap_or(0);
    excess > median.saturating_mul(2) || summary.threshold > 0 && median.saturating_add(excess) >= summary.threshold
}

/// Whom to blame, in words.
pub(crate) fn blame_line(stage: usize, excess: u64, percent: u64) -> String {
    let delay = crate::point::DELAYS[stage];
    format!(
        "to blame: {} ({}), {} us above its median, {percent} % of the excess",
        delay.name,
        delay.what,
        excess / 1000
    )
}

/// What hosts between tell, a line for each pass.
pub(crate) fn hops(out: &mut String, sample: &Sample) {
    for hop in &sample.hops {
        let begin = sample.at(Point::LTxUser).or_else(|| sample.at(Point::LTxDevqueue)).unwrap_or(hop.time);
        let device = if hop.device.is_empty() { format!("device {}", hop.ifindex) } else { hop.device.clone() };
        let when = if hop.is_own {
            format!("{} us after sending", micros(Some(hop.time.saturating_sub(begin))))
        } else {
            format!("on a host of user {}", hop.user_id)
        };
        let (number, name) = (hop.point as u16, hop.point.name());
        let _ = writeln!(out, "  ({number}) {name:<13}  {device} of network namespace {}: {when}", hop.netns);
    }
}
