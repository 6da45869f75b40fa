//! `lcc-btf merge`

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Merge, jobs};
use crate::generate::merge::{Target, merge};

/// Runs the command.
///
/// # Errors
/// An input cannot be read, two disagree, or the output cannot be written.
pub fn run(args: &Merge) -> Result<ExitCode> {
    let target = match (&args.output.pack, &args.output.output) {
        (Some(pack), _) => Target::Pack(pack.clone()),
        (None, output) => Target::Fitting(output.clone().unwrap_or_default()),
    };
    let merged = merge(&args.inputs, &target, jobs(args.jobs))?;
    let plural = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    super::print(&format!(
        "{}: {}, {}, from {}\n",
        target.path().display(),
        plural(merged.entries, "result"),
        plural(merged.distinct, "different content"),
        plural(args.inputs.len(), "input"),
    ))?;
    Ok(ExitCode::SUCCESS)
}
