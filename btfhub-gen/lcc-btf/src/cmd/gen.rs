//! `lcc-btf gen`

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{Gen, jobs};
use crate::error::Error;
use crate::generate::kernel::Wanted;
use crate::generate::run::{Progress, Settings, run as generate};
use crate::generate::{Destination, Objects};

/// Runs the command.
///
/// # Errors
/// Nothing could be done.
pub fn run(args: &Gen, verbose: u8) -> Result<ExitCode> {
    let destination = args.destination();
    let to_stdout = destination == Destination::Stdout;
    let settings = Settings {
        destination,
        wanted: Wanted { source: args.from.into(), compat: args.compat.0, surface: args.surface, strict: args.strict },
        objects: Objects::read(&args.obj)?,
        jobs: jobs(args.jobs),
        modules: args.modules,
        id: args.id.clone(),
        shard: args.shard,
        resume: !args.fresh,
        root: args.root.clone(),
    };
    // Log lines would tear the bar apart.
    let on_terminal = io::stderr().is_terminal() && verbose == 0;
    let progress = Terminal { bar: Mutex::new(on_terminal.then(ProgressBar::no_length)) };
    let report = generate(&args.kernels, &settings, &progress);
    progress.end();
    let report = report?;
    let mut text = if args.json {
        serde_json::to_string_pretty(&report).context("writing the report")?
    } else {
        report.table(verbose > 0)
    };
    if args.json {
        text.push('\n');
    }
    if to_stdout {
        io::stderr().write_all(text.as_bytes()).context("standard error")?;
    } else {
        super::print(&text)?;
    }
    Ok(ExitCode::from(report.verdict().code()))
}

/// A bar on a terminal; errors as they come.
struct Terminal {
    bar: Mutex<Option<ProgressBar>>,
}

impl Terminal {
    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(|e| e.into_inner()) {
            act(bar);
        }
    }

    fn end(&self) {
        self.with(ProgressBar::finish_and_clear);
    }
}

impl Progress for Terminal {
    fn begin(&self, units: usize) {
        self.with(|bar| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_length(units as u64);
            bar.enable_steady_tick(std::time::Duration::from_millis(200));
        });
    }

    fn started(&self, input: &str) {
        self.with(|bar| bar.set_message(input.rsplit('/').next().unwrap_or(input).to_owned()));
    }

    fn done(&self, _input: &str, error: Option<&Error>) {
        self.with(|bar| bar.inc(1));
        if let Some(error) = error {
            let bar = self.bar.lock().unwrap_or_else(|e| e.into_inner());
            match &*bar {
                Some(bar) => bar.suspend(|| super::say(error)),
                None => super::say(error),
            }
        }
    }
}
