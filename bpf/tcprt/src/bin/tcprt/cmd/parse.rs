//! `tcprt parse`: logs, read again.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tcprt::log::Bad;
use tcprt::stats::Interval;
use tcprt::summary::Summaries;
use tcprt::svg::{HeatMap, Timeline};
use tcprt::text::Table;
use tcprt::{Record, json, log, v6};

use crate::args::{Parse, Picture};
use crate::output::is_closed;

/// Lines that could not be read of which each is told; the others are counted.
const TOLD: u64 = 10;

/// What is done with the records.
enum Sink {
    Text(Table),
    Json,
    V6,
    Percentiles(Summaries),
    Stats { interval: Interval, seconds: u64, end: u64 },
    HeatMap(HeatMap),
    Timeline(Timeline),
}

pub(super) fn run(args: &Parse) -> Result<ExitCode> {
    let mut sink = match (args.svg, args.stats) {
        (Some(Picture::Heatmap), _) => Sink::HeatMap(HeatMap::new(args.part.into())),
        (Some(Picture::Timeline), _) => Sink::Timeline(Timeline::new()),
        (_, Some(interval)) => Sink::Stats {
            interval: Interval::default(),
            seconds: interval.max(Duration::from_secs(1)).as_secs(),
            end: 0,
        },
        _ if args.json => Sink::Json,
        _ if args.v6 => Sink::V6,
        _ if args.percentiles => Sink::Percentiles(Summaries::new(65_536)),
        _ => Sink::Text(Table::default()),
    };
    let mut out: BufWriter<Box<dyn Write>> = BufWriter::new(match &args.output {
        Some(path) => Box::new(File::create(path).with_context(|| path.display().to_string())?),
        None => Box::new(io::stdout()),
    });
    let ports = args.port.concat();
    let min_total_us = args.min_total.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    let is_wanted = |record: &Record| {
        let port = record.port().number;
        let is_long = min_total_us == 0 || record.is_task() && record.total_us >= min_total_us;
        is_long && (ports.is_empty() || ports.iter().any(|range| range.contains(&port)))
    };
    let mut bad = 0;
    let mut result = Ok(());
    let mut has_begun = false;
    for path in &args.files {
        if result.is_err() {
            break;
        }
        result = read(path, |line| match line {
            Ok(record) if is_wanted(&record) => {
                if !std::mem::replace(&mut has_begun, true) {
                    sink.begin(&mut out)?;
                }
                sink.take(&record, &mut out)
            }
            Ok(_) => Ok(()),
            Err(wrong) => {
                bad += 1;
                tell(&wrong, bad);
                Ok(())
            }
        })?;
    }
    let result = result.and_then(|()| sink.end(&mut out, &title(&args.files))).and_then(|()| out.flush());
    if bad > TOLD {
        eprintln!("tcprt: {bad} lines could not be read in all");
    }
    match result {
        Err(error) if is_closed(&error) => {}
        result => result.context("writing")?,
    }
    Ok(ExitCode::from(if args.strict && bad > 0 { 2 } else { 0 }))
}

/// Hands a log's lines on. An error outside is of the log, one inside of whoever takes the lines.
fn read(path: &Path, each: impl FnMut(Result<Record, Bad>) -> io::Result<()>) -> Result<io::Result<()>> {
    let name = path.display().to_string();
    let mut failed = None;
    let mut each = each;
    let mut handed = |line| {
        each(line).map_err(|error| {
            failed = Some(error);
            io::ErrorKind::Other.into()
        })
    };
    let read = if path.as_os_str() == "-" {
        log::read("standard input", io::stdin().lock(), &mut handed)
    } else {
        let file = File::open(path).with_context(|| format!("reading {name}"))?;
        log::read(&name, BufReader::with_capacity(64 << 10, file), &mut handed)
    };
    match failed {
        Some(error) => Ok(Err(error)),
        None => read.with_context(|| format!("reading {name}")).map(Ok),
    }
}

fn tell(bad: &Bad, number: u64) {
    if number <= TOLD {
        eprintln!("tcprt: {bad}");
    }
}

/// What a picture is called: the files' names, without their folders.
fn title(files: &[std::path::PathBuf]) -> String {
    let name = |path: &std::path::PathBuf| match path.file_name() {
        Some(name) if path.as_os_str() != "-" => name.to_string_lossy().into_owned(),
        _ => "standard input".to_owned(),
    };
    let names: Vec<String> = files.iter().take(3).map(name).collect();
    let more = if files.len() > 3 { format!(" and {} more", files.len() - 3) } else { String::new() };
    format!("{}{more}", names.join(", "))
}

impl Sink {
    fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Sink::Text(table) => writeln!(out, "{}", table.heading()),
            _ => Ok(()),
        }
    }

    fn take(&mut self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        match self {
            Sink::Text(table) => writeln!(out, "{}", table.line(record)),
            Sink::Json => writeln!(out, "{}", json::line(record)),
            Sink::V6 => writeln!(out, "{}", v6::Line(record)),
            Sink::Percentiles(all) => {
                all.add(record);
                Ok(())
            }
            Sink::Stats { interval, seconds, end } => {
                // a log is in the order in which tasks were over, or nearly so
                let over = if record.is_task() { record.end_us() / 1_000_000 } else { *end };
                if over > *end {
                    out.write_all(interval.take_lines(*end).as_bytes())?;
                    *end = over.next_multiple_of(*seconds);
                }
                interval.add(record);
                Ok(())
            }
            Sink::HeatMap(map) => {
                map.add(record);
                Ok(())
            }
            Sink::Timeline(timeline) => {
                timeline.add(record);
                Ok(())
            }
        }
    }

    fn end(&mut self, out: &mut impl Write, title: &str) -> io::Result<()> {
        match self {
            Sink::Percentiles(all) => out.write_all(all.lines().as_bytes()),
            Sink::Stats { interval, end, .. } => out.write_all(interval.take_lines(*end).as_bytes()),
            Sink::HeatMap(map) => out.write_all(map.draw(title).as_bytes()),
            Sink::Timeline(timeline) => out.write_all(timeline.draw(title).as_bytes()),
            Sink::Text(_) | Sink::Json | Sink::V6 => Ok(()),
        }
    }
}
