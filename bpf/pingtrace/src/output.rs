//! What is told, in the form that was asked for.

use std::io::{self, Write};

use anyhow::{Context, Result};
use pingtrace::picture::{Hosts, picture};
use pingtrace::rotate::Log;
use pingtrace::summary::Summary;
use pingtrace::{DELAYS, Sample, json, table};

use crate::args::{Args, Output};

/// Lines of a table between two headings.
const PAGE: u64 = 40;

/// Tells probes and the summary.
pub(crate) struct Teller {
    output: Output,
    log: Option<Log>,
    lines: u64,
    histogram: bool,
    /// Whoever reads has closed standard output.
    pub(crate) closed: bool,
}

impl Teller {
    /// Opens the log, if it is asked for.
    pub(crate) fn new(args: &Args, default: Output) -> Result<Teller> {
        let output = args.output.unwrap_or(default);
        let log = match output {
            Output::Log | Output::Imagelog => Some(Log::open(&args.log, args.logsize, args.logbackup)?),
            _ => None,
        };
        Ok(Teller { output, log, lines: 0, histogram: args.histogram, closed: false })
    }

    fn print(&mut self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result => result.context("standard output"),
        }
    }

    fn log(&mut self, text: &str) -> Result<()> {
        match &mut self.log {
            Some(log) => log.write(text).context("the log"),
            None => Ok(()),
        }
    }

    /// A line in front of all.
    pub(crate) fn begin(&mut self, line: &str) -> Result<()> {
        match self.output {
            Output::Image | Output::Table => self.print(&format!("{line}\n")),
            Output::Log | Output::Imagelog => {
                eprintln!("{line}");
                Ok(())
            }
            Output::Json => Ok(()),
        }
    }

    /// A probe.
    pub(crate) fn probe(&mut self, sample: &Sample, summary: &Summary, hosts: &Hosts, whose: &str) -> Result<()> {
        match self.output {
            Output::Image => self.print(&(picture(sample, summary, hosts) + "\n")),
            Output::Table => {
                let heading = if self.lines.is_multiple_of(PAGE) { table::heading() } else { String::new() };
                self.lines += 1;
                self.print(&(heading + &table::line(sample, summary, whose)))
            }
            Output::Json => self.print(&(json::probe(sample, summary) + "\n")),
            Output::Log => self.log(&(json::probe(sample, summary) + "\n")),
            Output::Imagelog => self.log(&(picture(sample, summary, hosts) + "\n")),
        }
    }

    /// A probe that was not answered, or something else to be said of one.
    pub(crate) fn note(&mut self, note: &str) -> Result<()> {
        match self.output {
            Output::Image | Output::Table => self.print(&format!("{note}\n")),
            Output::Imagelog => self.log(&format!("{note}\n")),
            Output::Json | Output::Log => Ok(()),
        }
    }

    /// The summary.
    pub(crate) fn end(&mut self, summary: &Summary, title: &str) -> Result<()> {
        let mut text = match self.output {
            Output::Json => json::stat(summary) + "\n",
            _ => table::summary(summary, title),
        };
        if self.output == Output::Log {
            self.log(&(json::stat(summary) + "\n"))?;
        }
        if self.histogram && self.output != Output::Json {
            for (at, delay) in DELAYS.iter().enumerate() {
                let histogram = summary.histogram(at);
                if histogram.number() > 0 && summary.is_stage(at) {
                    text += &table::histogram(histogram, delay.name);
                }
            }
        }
        self.print(&text)
    }
}
