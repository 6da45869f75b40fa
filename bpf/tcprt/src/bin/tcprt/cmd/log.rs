//! `tcprt log`: what is in the log that was left, without whoever made it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::args::{Format, Log};
use crate::clock::{self, Clock};
use crate::cmd::teller::{Reader, Teller};
use crate::output::Output;
use crate::owners::Owners;
use crate::told::ToldToEnd;

/// How long it is between two looks at the log.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn run(args: Log) -> Result<ExitCode> {
    let mut logs = loader::log::Log::pinned(&args.pins).context("the log")?;
    if logs.is_empty() {
        eprintln!("tcprt: nothing is kept in {}: tcprt --keep leaves a log", args.pins.display());
        return Ok(ExitCode::from(1));
    }
    let told = ToldToEnd::listen()?;
    let mut clock = Clock::new();
    let (mut owners, mut reader, mut heard) = (Owners::new(), Reader::default(), 0);
    let mut teller = Teller::new(Output::new(None, 0, 0)?, args.format, args.min_total.unwrap_or_default());
    teller.heading();
    let mut next = Instant::now() + args.stats_interval;
    loop {
        let begin_ns = clock.follow();
        owners.begin(Instant::now());
        for (_, log) in &mut logs {
            let read = log.read(|bytes| {
                if let Some(record) = reader.read(bytes, begin_ns) {
                    owners.complete(record);
                    teller.tell(record);
                }
            });
            heard += read.context("reading the log")?;
        }
        let is_over = !args.follow || told.is_told() || !args.pins.exists();
        if is_over || args.format == Format::Stats && Instant::now() >= next {
            teller.end_interval(clock::now_us() / 1_000_000);
            next += args.stats_interval;
        }
        teller.flush();
        if is_over || teller.failed.is_some() {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    let (mut written, mut lost) = (0, 0);
    for (_, log) in &logs {
        written += log.written().context("reading the log")?;
        lost += log.lost();
    }
    if lost > 0 {
        eprintln!("tcprt: {lost} events were lost: overwritten before they were read");
    }
    let before = written.saturating_sub(heard).saturating_sub(lost);
    if before > 0 && !args.follow {
        eprintln!("tcprt: {before} older ones were overwritten before");
    }
    if reader.unreadable > 0 {
        eprintln!("tcprt: {} events are of another version's form", reader.unreadable);
    }
    super::written(teller.failed)?;
    Ok(ExitCode::SUCCESS)
}
