//! The live view: frames of plain lines, of what came of the last seconds, by server's port.

use std::collections::VecDeque;

use crate::record::{Port, Record};
use crate::summary::{Part, Summaries, Summary};
use crate::units;

/// The most ports that there is room for.
const PORTS: usize = 64;

/// By what the ports are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Most tasks first.
    #[default]
    Rate,
    /// The slowest first: by the 99th percentile of the total.
    Total,
    /// By the 99th percentile of the process time.
    Process,
    /// Most segments sent again first.
    Retransmissions,
}

/// What was counted in the last steps of time, as many as the window has.
#[derive(Clone, Debug)]
pub struct Top {
    /// The newest is the last.
    steps: VecDeque<Summaries>,
    window: usize,
    /// Microseconds of a step.
    step_us: u64,
    /// By what the ports are sorted.
    pub order: Order,
}

impl Top {
    /// A window of so many steps, at least one, each of so many microseconds.
    pub fn new(window: usize, step_us: u64, order: Order) -> Top {
        Top { steps: VecDeque::from([Summaries::new(PORTS)]), window: window.max(1), step_us: step_us.max(1), order }
    }

    /// Counts a record in the current step.
    pub fn add(&mut self, record: &Record) {
        if let Some(step) = self.steps.back_mut() {
            step.add(record);
        }
    }

    /// Begins the next step, and forgets the one that the window has no room for.
    pub fn step(&mut self) {
        self.steps.push_back(Summaries::new(PORTS));
        while self.steps.len() > self.window {
            self.steps.pop_front();
        }
    }

    /// The view: `height` lines at most, of `width` columns at most. `now_us` is the time of day in microseconds since 1970,
    /// `lost` how many events were lost so far.
    pub fn frame(&self, now_us: u64, lost: u64, width: usize, height: usize) -> Vec<String> {
        let mut all = Summaries::new(PORTS);
        self.steps.iter().for_each(|step| all.merge(step));
        let window_us = self.step_us.saturating_mul(self.steps.len() as u64);
        let tasks: u64 = all.iter().map(|(_, summary)| summary.tasks()).sum();
        let lost = if lost > 0 { format!("   {lost} events lost") } else { String::new() };
        let time = units::time_of_day(now_us);
        let time = time.split('.').next().unwrap_or_default();
        let (rate, window) = (rate(tasks, window_us), units::micros(window_us));
        let mut lines = vec![format!("tcprt  {time} UTC   last {window}   {rate} tasks/s{lost}"), String::new()];
        lines.push(HEADING.to_owned());
        let mut ports: Vec<_> = all.iter().filter(|(_, summary)| summary.tasks() > 0).collect();
        let key = |summary: &Summary| match self.order {
            Order::Rate => summary.tasks(),
            Order::Total => summary.part(Part::Total).quantile(0.99),
            Order::Process => summary.part(Part::Process).quantile(0.99),
            Order::Retransmissions => summary.retransmissions,
        };
        ports.sort_by_key(|(port, summary)| (std::cmp::Reverse(key(summary)), *port));
        if ports.is_empty() {
            lines.push("no task was over in this time".to_owned());
        }
        // whole ports only, and a line for those that do not fit
        let room = height.saturating_sub(lines.len() + 1) / ROWS;
        let hidden = ports.len().saturating_sub(room);
        for (port, summary) in ports.into_iter().take(room) {
            lines.extend(rows(port, summary, window_us));
        }
        if hidden > 0 {
            lines.push(format!("{hidden} more {}", if hidden == 1 { "port" } else { "ports" }));
        }
        for line in &mut lines {
            if line.chars().count() > width {
                *line = line.chars().take(width).collect();
            }
            line.truncate(line.trim_end().len());
        }
        lines
    }
}

const HEADING: &str = "PORT                TASKS/s RETRANS      UPLOAD PROCESS   DOWNL   TOTAL     RTT";

/// Lines of a port.
const ROWS: usize = 3;

fn rows(port: Port, summary: &Summary, window_us: u64) -> [String; ROWS] {
    let per_mille = summary.drop_per_mille();
    let share = format!("{}.{}%", per_mille / 10, per_mille % 10);
    let bytes = |bytes: u64| {
        let each_second = u128::from(bytes) * 1_000_000 / u128::from(window_us.max(1));
        format!("{}/s", units::bytes(u64::try_from(each_second).unwrap_or(u64::MAX)))
    };
    let traffic = format!("{} out, {} in", bytes(summary.sent_bytes), bytes(summary.received_bytes));
    let failed = match summary.failed {
        0 => String::new(),
        failed => format!("{failed} not answered"),
    };
    let process: String = summary.process.chars().take(17).collect();
    let heads = [
        format!("{:19} {:>7} {share:>7}", port.to_string(), rate(summary.tasks(), window_us)),
        format!("  {traffic}"),
        format!("  {process:17} {failed}"),
    ];
    let [p50, p95, p99] = heads;
    let row = |head: String, name: &str, quantile: f64| {
        let mut row = format!("{head:35} {name}");
        for part in Part::ALL {
            let histogram = summary.part(part);
            let value =
                if histogram.count() == 0 { "-".to_owned() } else { units::micros(histogram.quantile(quantile)) };
            row += &format!(" {value:>7}");
        }
        row
    };
    [row(p50, "p50", 0.5), row(p95, "p95", 0.95), row(p99, "p99", 0.99)]
}

fn rate(number: u64, window_us: u64) -> String {
    let tenths = u128::from(number) * 10_000_000 / u128::from(window_us.max(1));
    if tenths < 10_000 { format!("{}.{}", tenths / 10, tenths % 10) } else { (tenths / 10).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::record::tests::sample;
    use crate::summary::tests::some;

    fn golden(name: &str, lines: &[String]) {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        crate::golden::check(&file, &(lines.join("\n") + "\n"));
    }

    fn top(order: Order) -> Top {
        let mut top = Top::new(10, 1_000_000, order);
        some().iter().for_each(|record| top.add(record));
        top.step();
        for port in [6379, 5432] {
            let slow = Record { local: ([10, 0, 0, 1], port).into(), total_us: 9_000_000, ..sample() };
            top.add(&slow);
        }
        top
    }

    #[test]
    fn a_frame_has_the_busiest_ports_first() {
        golden("top.txt", &top(Order::Rate).frame(1_700_000_001_000_000, 12, 120, 40));
    }

    #[test]
    fn a_small_terminal_gets_what_fits() {
        let lines = top(Order::Total).frame(1_700_000_001_000_000, 0, 80, 11);
        golden("top-small.txt", &lines);
        assert!(lines.len() <= 11 && lines.iter().all(|line| line.chars().count() <= 80));
        for height in 0..20 {
            let lines = top(Order::Process).frame(0, 0, 10, height);
            assert!(lines.len() <= height.max(4), "{height}: {lines:#?}");
        }
    }

    #[test]
    fn what_left_the_window_is_forgotten() {
        let mut top = Top::new(3, 1_000_000, Order::Rate);
        top.add(&Record { kind: Kind::Peer, ..sample() });
        for _ in 0..2 {
            top.step();
            assert!(top.frame(0, 0, 120, 40).iter().any(|line| line.contains(":40000 client")));
        }
        top.step();
        golden("top-empty.txt", &top.frame(0, 0, 120, 40));
    }
}
