//! How long tasks took over time: columns are time, rows are latency by its logarithm, and the darker a cell, the more tasks.

use std::fmt::Write;

use super::{begin, escaped, time_marks};
use crate::record::Record;
use crate::summary::Part;

/// Columns and rows of cells, and their size.
const COLUMNS: u64 = 160;
const CELL: u32 = 6;
/// Rows in each power of two.
const PER_OCTAVE: f64 = 4.0;
const LEFT: u32 = 76;
const TOP: u32 = 44;
/// Shades of a cell.
const SHADES: u32 = 8;

/// Collects one part of tasks: sixteen bytes for each.
#[derive(Clone, Debug)]
pub struct HeatMap {
    part: Part,
    values: Vec<(u64, u64)>,
}

impl HeatMap {
    /// Of that part.
    pub fn new(part: Part) -> HeatMap {
        HeatMap { part, values: Vec::new() }
    }

    /// Takes the record where it is an answered task, at the time when it was over.
    pub fn add(&mut self, record: &Record) {
        if let (true, Some(micros)) = (record.is_answered(), self.part.of(record)) {
            self.values.push((record.end_us(), micros));
        }
    }

    /// The picture. `title` says what it is of.
    pub fn draw(&self, title: &str) -> String {
        let title = format!("{title}: {} of {} tasks", self.part.name(), self.values.len());
        let first = self.values.iter().map(|(end, _)| *end).min().unwrap_or(0);
        let last = self.values.iter().map(|(end, _)| *end).max().unwrap_or(0);
        let low = row(self.values.iter().map(|(_, micros)| *micros).min().unwrap_or(1));
        let high = row(self.values.iter().map(|(_, micros)| *micros).max().unwrap_or(1)).max(low + 11);
        let rows = high - low + 1;
        let (width, plot) = (LEFT + COLUMNS as u32 * CELL + 50, rows as u32 * CELL * 2);
        let height = TOP + plot + 60;
        let shades: String =
            (1..=SHADES).map(|shade| format!(".h{shade}{{fill-opacity:{}}}", opacity(shade))).collect();
        let mut out = begin(width, height, &title, &(shades + "\n"));
        let bottom = TOP + plot;
        for (number, micros) in (low..=high + 1).map(|number| (number, micros_of(number))) {
            // at powers of ten
            let before = micros_of(number - 1);
            for power in (0..13).map(|power| 10u64.pow(power)) {
                if number == low && power == micros.max(1) || before < power && power <= micros && number > low {
                    let y = y_of((power.max(1) as f64).log2() * PER_OCTAVE - low as f64, bottom);
                    let right = LEFT + COLUMNS as u32 * CELL;
                    let _ =
                        writeln!(out, "<line class=\"g\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>");
                    let (x, y, text) = (LEFT - 6, y + 4.0, axis_text(power));
                    let _ = writeln!(out, "<text class=\"r\" x=\"{x}\" y=\"{y:.1}\">{text}</text>");
                }
            }
        }
        let span = last.saturating_sub(first).max(1);
        for (offset, text) in time_marks(first, last, 8) {
            let x = LEFT + (u128::from(offset) * u128::from(COLUMNS) * u128::from(CELL) / u128::from(span)) as u32;
            let (end, below) = (bottom + 5, bottom + 20);
            let _ = writeln!(out, "<line class=\"g\" x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{end}\"/>");
            let _ = writeln!(out, "<text class=\"m\" x=\"{x}\" y=\"{below}\">{}</text>", escaped(&text));
        }
        let mut cells = std::collections::BTreeMap::new();
        for &(end, micros) in &self.values {
            let column = u128::from(end - first) * u128::from(COLUMNS) / (u128::from(span) + 1);
            *cells.entry((column as u32, row(micros) - low)).or_insert(0u64) += 1;
        }
        let most = cells.values().copied().max().unwrap_or(1);
        for ((column, row), number) in cells {
            let (x, y) = (LEFT + column * CELL, bottom - (row as u32 + 1) * CELL * 2);
            let shade = shade(number, most);
            let h = CELL * 2;
            let _ = writeln!(out, "<rect class=\"c h{shade}\" x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{h}\"/>");
        }
        let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{}\">tasks in a cell:</text>", bottom + 46);
        for shade in 1..=SHADES {
            let text = (1..=most).filter(|_| most <= 64).find(|&number| self::shade(number, most) == shade);
            let least = text.unwrap_or_else(|| least_of(shade, most));
            // few tasks do not need all shades
            if self::shade(least, most) == shade {
                let (x, y) = (LEFT + 60 + shade * 52, bottom + 36);
                let _ = writeln!(out, "<rect class=\"c h{shade}\" x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\"/>");
                let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{least}</text>", x + 15, bottom + 46);
            }
        }
        out + "</svg>\n"
    }
}

/// The number of the row that a value is in.
fn row(micros: u64) -> i64 {
    ((micros.max(1) as f64).log2() * PER_OCTAVE).floor() as i64
}

/// The smallest value of a row.
fn micros_of(row: i64) -> u64 {
    2f64.powf(row as f64 / PER_OCTAVE).ceil().max(0.0) as u64
}

fn y_of(rows: f64, bottom: u32) -> f64 {
    f64::from(bottom) - rows * f64::from(CELL * 2)
}

fn axis_text(power: u64) -> String {
    match power {
        ..1000 => format!("{power} us"),
        1000..1_000_000 => format!("{} ms", power / 1000),
        _ => format!("{} s", power / 1_000_000),
    }
}

/// From 1 to [`SHADES`], by the logarithm of how many.
fn shade(number: u64, most: u64) -> u32 {
    let share = ((number + 1) as f64).log2() / ((most + 1) as f64).log2();
    ((share * f64::from(SHADES)).ceil() as u32).clamp(1, SHADES)
}

/// About how many a shade begins with.
fn least_of(shade: u32, most: u64) -> u64 {
    let share = f64::from(shade - 1) / f64::from(SHADES);
    (((most + 1) as f64).powf(share) as u64).max(1).min(most)
}

fn opacity(shade: u32) -> String {
    format!("{:.2}", 0.12 + 0.88 * f64::from(shade) / f64::from(SHADES))
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_well_formed;
    use super::*;
    use crate::record::tests::sample;
    use crate::summary::tests::some;

    #[test]
    fn tasks_are_cells() {
        let mut map = HeatMap::new(Part::Process);
        some().iter().for_each(|record| map.add(record));
        let svg = map.draw("a.log <1>");
        check_well_formed(&svg);
        assert!(svg.contains("a.log &lt;1&gt;: process of 101 tasks"), "{svg}");
        assert_eq!(svg, map.clone().draw("a.log <1>"));
        // all are in one cell or another: a hundred at 10 ms distance are in as many columns
        let cells =
            svg.lines().filter(|line| line.starts_with("<rect class=\"c") && line.contains("width=\"6\"")).count();
        assert!((95..=101).contains(&cells), "{cells}");
        for mark in ["100 us", "1 ms", "10 ms", "22:13:21"] {
            assert!(svg.contains(mark), "{mark}");
        }
    }

    #[test]
    fn nothing_one_and_extremes_can_be_drawn() {
        let mut map = HeatMap::new(Part::Total);
        check_well_formed(&map.draw("empty"));
        map.add(&sample());
        check_well_formed(&map.draw("one"));
        map.add(&Record { total_us: 0, start_us: 0, ..sample() });
        map.add(&Record { total_us: u64::MAX, start_us: 5, ..sample() });
        check_well_formed(&map.draw("extremes"));
    }
}
