//! A line for each probe, and the summary at the end.

use std::fmt::Write;

use crate::histogram::Histogram;
use crate::picture::{blame_line, micros};
use crate::point::{DELAYS, Delay};
use crate::sample::Sample;
use crate::summary::Summary;

/// The columns: a heading, and the delays of which the first that is seen is told.
const COLUMNS: [(&str, &[&str]); 13] = [
    ("total", &["total"]),
    ("tx_kern", &["l_tx_kern", "l_tx_merged_kern"]),
    ("qdisc", &["l_tx_qdisc"]),
    ("out", &["l_tx_outlink"]),
    ("r_rx", &["r_rx_kern"]),
    ("r_task", &["r_task"]),
    ("r_user", &["r_user"]),
    ("r_tx", &["r_tx_user_kern", "r_tx_kern", "r_merged_kern"]),
    ("in", &["l_rx_wire", "l_rx_inlink", "outside_wire", "outside"]),
    ("softirq", &["l_rx_softirq"]),
    ("rx_kern", &["l_rx_kern", "l_rx_merged_kern"]),
    ("waking", &["l_rx_task_waking"]),
    ("queue", &["l_rx_task_queue", "l_rx_task"]),
];

/// The heading of the table.
pub fn heading() -> String {
    let mut out = format!("{:>7}", "seq");
    for (name, _) in COLUMNS {
        let _ = write!(out, " {name:>8}");
    }
    out + "   us; + is jitter\n"
}

/// The line of a probe. Of a passively seen one, whose it is stands behind.
pub fn line(sample: &Sample, summary: &Summary, whose: &str) -> String {
    let mut out = format!("{:>7}", sample.seq);
    for (_, names) in COLUMNS {
        let delays = names.iter().filter_map(|name| Delay::by_name(name));
        let told = delays.filter_map(|delay| Some((delay, passively(sample, summary, delay)?))).next();
        let is_jitter = told.is_some_and(|(delay, _)| summary.is_jitter(&DELAYS[delay]));
        let value = micros(told.map(|(_, told)| told));
        let _ = write!(out, " {:>8}", if is_jitter { format!("+{value}") } else { value });
    }
    if !whose.is_empty() {
        let _ = write!(out, "   {whose}");
    }
    out.push('\n');
    crate::picture::hops(&mut out, sample);
    out
}

/// As it is told. Of a host that only answers there is no total but its own part.
fn passively(sample: &Sample, summary: &Summary, delay: usize) -> Option<u64> {
    summary.told(sample, delay).or_else(|| {
        let merged = Delay::by_name("r_merged_kern").filter(|_| delay == 0)?;
        summary.told(sample, merged)
    })
}

/// The summary: counters that are not zero, a line for each delay, and whom to blame.
pub fn summary(of: &Summary, title: &str) -> String {
    let mut out = format!("\n--- {title}\n");
    let counted = of.counters.all();
    let is_told = |(at, (_, _, count)): &(usize, &(&str, &str, u64))| *at < 3 || *count > 0;
    let words = counted.iter().enumerate().filter(is_told).map(|(_, (_, words, count))| format!("{count} {words}"));
    let _ = writeln!(out, "{}", words.collect::<Vec<_>>().join(", "));
    if of.histogram(0).number() > 0 {
        let _ =
            writeln!(out, "\n{:<18} {:>8} {:>8} {:>8} {:>8} {:>8}   us", "stage", "number", "min", "avg", "p99", "max");
    }
    for (at, delay) in DELAYS.iter().enumerate() {
        let histogram = of.histogram(at);
        if histogram.number() == 0 || !of.is_stage(at) {
            continue;
        }
        let [min, avg, p99, max] =
            [histogram.min(), histogram.average(), histogram.permille(990), histogram.max()].map(micros);
        let jitter = if of.is_jitter(delay) { ", only its jitter above the least of the last 10,000" } else { "" };
        let (name, what, number) = (delay.name, delay.what, histogram.number());
        let _ = writeln!(out, "{name:<18} {number:>8} {min:>8} {avg:>8} {p99:>8} {max:>8}   {what}{jitter}");
    }
    outliers(&mut out, of);
    out
}

/// Outliers that are told one by one.
const TOLD: usize = 10;

fn outliers(out: &mut String, of: &Summary) {
    let outliers = of.outliers();
    let (blamed, not_kept) = of.blamed();
    if outliers.is_empty() {
        return;
    }
    let rule = match of.threshold {
        0 => "above three times the median".to_owned(),
        threshold => format!("of {} us and more", threshold / 1000),
    };
    let _ = writeln!(
        out,
        "\n{} outliers, {rule}; to blame, by the greatest excess over a stage's own median:",
        outliers.len()
    );
    for (stage, count) in blamed {
        let percent = count * 100 / outliers.len() as u64;
        let _ = writeln!(out, "  {:<18} {count} ({percent} %)   {}", DELAYS[stage].name, DELAYS[stage].what);
    }
    for (sample, blame) in outliers.iter().take(TOLD) {
        let whom = match blame {
            Some(blame) => blame_line(blame.stage, blame.excess, blame.percent()),
            None => "no stage took longer than usual".to_owned(),
        };
        let _ = writeln!(out, "  seq {}: {} us; {whom}", sample.seq, micros(sample.total()));
    }
    if outliers.len() > TOLD {
        let _ = writeln!(out, "  and {} more, faster than these", outliers.len() - TOLD);
    }
    if not_kept > 0 {
        let _ = writeln!(out, "  {not_kept} more were faster still, and are not kept");
    }
}

/// A histogram of a delay, by powers of two.
pub fn histogram(of: &Histogram, title: &str) -> String {
    let bars = of.bars();
    let most = bars.iter().map(|bar| bar.2).max().unwrap_or(0).max(1);
    let mut out = format!("\n{title}: us\n");
    for (from, to, count) in bars {
        let stars = "*".repeat((count * 40).div_ceil(most) as usize);
        let _ = writeln!(out, "{}", format!("  [{from:>8}, {to:>8})  {count:>8}  {stars}").trim_end());
    }
    out
}
