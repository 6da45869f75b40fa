//! What connections did over time: a row for each, and in it each task's upload, process time and download.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use super::{begin, escaped, time_marks};
use crate::record::{Record, Side};
use crate::{Kind, units};

const WIDTH: u64 = 1000;
const LEFT: u32 = 340;
const TOP: u32 = 60;
const ROW: u32 = 18;

/// What is drawn at most: connections, and tasks in all.
const ROWS: usize = 60;
const TASKS: usize = 4000;

struct Task {
    start_us: u64,
    parts: [u64; 3],
    text: String,
}

/// Collects tasks by their connections, as many as the picture has room for.
#[derive(Default)]
pub struct Timeline {
    connections: BTreeMap<(SocketAddr, SocketAddr, Side), Vec<Task>>,
    taken: usize,
    left_out: u64,
}

impl Timeline {
    /// Nothing yet.
    pub fn new() -> Timeline {
        Timeline::default()
    }

    /// Takes the record where it is a task and there is room.
    pub fn add(&mut self, record: &Record) {
        if !record.is_task() {
            return;
        }
        let key = (record.peer, record.local, record.port().side);
        let has_row = self.connections.len() < ROWS || self.connections.contains_key(&key);
        if !has_row || self.taken >= TASKS {
            self.left_out += 1;
            return;
        }
        self.taken += 1;
        let mut parts = [record.upload_us(), record.process_us(), record.download_us()];
        if record.kind == Kind::ClosedWhileReceiving {
            // all of it was waiting for more of the request
            parts[0] = record.total_us;
        }
        let [upload, process, download] = parts.map(units::micros);
        let mut text =
            format!("{} task {}, {}: ", record.kind.letter(), record.task, units::date_time(record.start_us));
        let _ = write!(text, "upload {upload}, process {process}, download {download}");
        if let Some(http) = &record.http {
            let _ = write!(text, ", {}", http.line());
        }
        self.connections.entry(key).or_default().push(Task { start_us: record.start_us, parts, text });
    }

    /// The picture. `title` says what it is of.
    pub fn draw(&self, title: &str) -> String {
        let mut rows: Vec<_> = self.connections.iter().collect();
        let first_of = |tasks: &[Task]| tasks.iter().map(|task| task.start_us).min().unwrap_or(0);
        rows.sort_by_key(|(key, tasks)| (first_of(tasks), **key));
        let tasks = || self.connections.values().flatten();
        let first = tasks().map(|task| task.start_us).min().unwrap_or(0);
        let end = |task: &Task| task.parts.iter().fold(task.start_us, |end, part| end.saturating_add(*part));
        let last = tasks().map(end).max().unwrap_or(0);
        let span = u128::from(last.saturating_sub(first).max(1));
        // hundredths of a pixel
        let x_of = |at: u64| {
            let hundredths = u128::from(at.saturating_sub(first)) * u128::from(WIDTH * 100) / span;
            f64::from(LEFT) + hundredths as f64 / 100.0
        };
        let left_out = match self.left_out {
            0 => String::new(),
            number => format!(", {number} more are not drawn"),
        };
        let title = format!("{title}: {} tasks of {} connections{left_out}", self.taken, rows.len());
        let bottom = TOP + rows.len() as u32 * ROW;
        let (width, height) = (LEFT + WIDTH as u32 + 50, bottom + 36);
        let mut out = begin(width, height, &title, "");
        for (number, (class, text)) in [("u", "upload"), ("p", "process"), ("d", "download")].into_iter().enumerate() {
            let x = LEFT + number as u32 * 110;
            let _ = writeln!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"32\" width=\"12\" height=\"12\"/>");
            let _ = writeln!(out, "<text x=\"{}\" y=\"42\">{text}</text>", x + 18);
        }
        for (offset, text) in time_marks(first, last, 8) {
            let x = x_of(first + offset);
            let _ = writeln!(out, "<line class=\"g\" x1=\"{x:.2}\" y1=\"{}\" x2=\"{x:.2}\" y2=\"{bottom}\"/>", TOP - 4);
            let _ = writeln!(out, "<text class=\"m\" x=\"{x:.2}\" y=\"{}\">{}</text>", bottom + 18, escaped(&text));
        }
        for (number, ((peer, local, side), tasks)) in rows.into_iter().enumerate() {
            let y = TOP + number as u32 * ROW;
            let arrow = if *side == Side::Client { "→" } else { "←" };
            let name = escaped(&format!("{local} {arrow} {peer}"));
            let _ = writeln!(out, "<text class=\"r\" x=\"{}\" y=\"{}\">{name}</text>", LEFT - 8, y + 12);
            for task in tasks {
                let _ = write!(out, "<g><title>{}</title>", escaped(&task.text));
                let mut at = task.start_us;
                for (class, part) in ["u", "p", "d"].into_iter().zip(task.parts) {
                    let x = x_of(at);
                    at = at.saturating_add(part);
                    // what took time is seen
                    let w = if part == 0 { 0.0 } else { (x_of(at) - x).max(0.5) };
                    if w > 0.0 {
                        let (y, h) = (y + 2, ROW - 5);
                        let _ = write!(
                            out,
                            "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y}\" width=\"{w:.2}\" height=\"{h}\"/>"
                        );
                    }
                }
                out += "</g>\n";
            }
        }
        out + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_well_formed;
    use super::*;
    use crate::record::tests::sample;
    use crate::summary::tests::some;

    #[test]
    fn each_connection_has_a_row_with_the_parts_of_its_tasks() {
        let mut timeline = Timeline::new();
        some().iter().for_each(|record| timeline.add(record));
        let svg = timeline.draw("a.log");
        check_well_formed(&svg);
        assert!(svg.contains("a.log: 102 tasks of 2 connections<"), "{svg}");
        let parts = |class: &str| svg.matches(&format!("<rect class=\"{class}\"")).count();
        // and one in the legend
        assert_eq!((parts("u"), parts("p"), parts("d")), (103, 103, 103));
        assert!(svg.contains("upload 15us, process 50.0ms, download 485us"));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut timeline = Timeline::new();
        check_well_formed(&timeline.draw("empty"));
        for port in 0..100 {
            timeline.add(&Record { peer: ([10, 0, 0, 2], port).into(), start_us: u64::from(port), ..sample() });
        }
        timeline.add(&Record { total_us: u64::MAX, receive_us: u64::MAX, peer: ([10, 0, 0, 2], 0).into(), ..sample() });
        let svg = timeline.draw("many");
        check_well_formed(&svg);
        assert!(svg.contains("61 tasks of 60 connections, 40 more are not drawn"), "{svg}");
    }
}
