//! `lcc-btf gen`

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::{Gen, jobs};
use crate::cmd::terminal::Terminal;
use crate::generate::kernel::Wanted;
use crate::generate::run::{Settings, run as generate};
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
        wanted: Wanted {
            source: args.from.into(),
            compat: args.compat.0,
            surface: args.surface,
            plan: args.plan,
            strict: args.strict,
        },
        objects: Objects::read(&args.obj)?,
        jobs: jobs(args.jobs),
        modules: args.modules,
        id: args.id.clone(),
        shard: args.shard,
        resume: !args.fresh,
        root: args.root.clone(),
    };
    let progress = Terminal::new(verbose);
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
