//! `lcc-btf check`

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::{Check, jobs};
use crate::check::{Settings, check};
use crate::cmd::terminal::Terminal;
use crate::generate::Objects;

/// Runs the command.
///
/// # Errors
/// Nothing could be done.
pub fn run(args: &Check, verbose: u8) -> Result<ExitCode> {
    let objects = Objects::read(&args.obj)?;
    let objects = objects.parse()?;
    let settings = Settings { source: args.from.into(), jobs: jobs(args.jobs), root: args.root.clone() };
    let progress = Terminal::new(verbose);
    let report = check(&args.kernels, &objects, &settings, &progress);
    progress.end();
    if let Some(path) = &args.junit {
        super::write(path, report.junit().as_bytes())?;
    }
    if let Some(path) = &args.html {
        super::write(path, report.page().as_bytes())?;
    }
    let text = if args.json {
        serde_json::to_string_pretty(&report).context("writing the report")? + "\n"
    } else {
        report.table(verbose > 0)
    };
    super::print(&text)?;
    Ok(ExitCode::from(report.code()))
}
