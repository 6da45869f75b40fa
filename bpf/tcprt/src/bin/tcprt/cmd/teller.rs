//! Tells records as they come: each, and for each interval what came of them.

use std::io;

use tcprt::stats::Interval;
use tcprt::text::Table;
use tcprt::{Event, Record, json, v6};

use crate::args::Format;
use crate::output::Output;

/// Writes records to an output in a form.
pub(super) struct Teller {
    pub(super) output: Output,
    /// Where lines of aggregates go besides.
    pub(super) stats_output: Option<Output>,
    format: Format,
    table: Table,
    interval: Interval,
    min_total_us: u64,
    /// The last line, for its memory.
    line: Vec<u8>,
    /// Why nothing more is written.
    pub(super) failed: Option<io::Error>,
}

impl Teller {
    pub(super) fn new(output: Output, format: Format, min_total: std::time::Duration) -> Teller {
        let min_total_us = u64::try_from(min_total.as_micros()).unwrap_or(u64::MAX);
        let (table, interval) = (Table::default(), Interval::default());
        Teller { output, stats_output: None, format, table, interval, min_total_us, line: Vec::new(), failed: None }
    }

    /// The columns' names, where there are columns.
    pub(super) fn heading(&mut self) {
        if self.format == Format::Text {
            let heading = self.table.heading();
            self.write(|output| output.lines(&heading));
            self.flush();
        }
    }

    /// Counts a record, and writes it where it is to be told.
    pub(super) fn tell(&mut self, record: &Record) {
        if self.format == Format::Stats || self.stats_output.is_some() {
            self.interval.add(record);
        }
        // a connection lasts as long as it likes
        let is_told = self.min_total_us == 0 || record.is_task() && record.total_us >= self.min_total_us;
        if !is_told || self.failed.is_some() {
            return;
        }
        self.line.clear();
        match self.format {
            Format::Text => self.table.append(record, &mut self.line),
            Format::V6 => v6::append(record, &mut self.line),
            Format::Json => json::append(record, &mut self.line),
            Format::Stats => return,
        }
        self.line.push(b'\n');
        self.failed = self.output.line(&self.line).err();
    }

    /// Ends an interval: its lines are written.
    pub(super) fn end_interval(&mut self, seconds: u64) {
        let lines = self.interval.take_lines(seconds);
        if self.format == Format::Stats {
            self.write(|output| output.lines(&lines));
        }
        if let Some(output) = &mut self.stats_output
            && self.failed.is_none()
        {
            self.failed = output.lines(&lines).and_then(|()| output.flush()).err();
        }
    }

    pub(super) fn write(&mut self, write: impl FnOnce(&mut Output) -> io::Result<()>) {
        if self.failed.is_none() {
            self.failed = write(&mut self.output).err();
        }
    }

    pub(super) fn flush(&mut self) {
        self.write(Output::flush);
    }
}

/// Who reads what the kernel sent.
#[derive(Default)]
pub(super) struct Reader {
    /// The last one, for its memory.
    record: Option<Record>,
    /// Events that are of another form.
    pub(super) unreadable: u64,
}

impl Reader {
    /// An event as a record, where it is one. `begin_ns`: what the wall clock shows at the events' clock's 0.
    pub(super) fn read(&mut self, bytes: &[u8], begin_ns: u64) -> Option<&mut Record> {
        match Event::parse(bytes) {
            Ok(event) => {
                match &mut self.record {
                    Some(record) => record.become_of(&event, begin_ns),
                    none => *none = Some(Record::of(&event, begin_ns)),
                }
                self.record.as_mut()
            }
            Err(_) => {
                self.unreadable += 1;
                None
            }
        }
    }
}
