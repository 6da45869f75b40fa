//! `cargo xtask test`: everything CI checks. Cargo test comes last, so that its results are the last lines.

use crate::{cargo, demo, fuzz, objects, process, setup, tidy};
use anyhow::Result;
use std::process::{Command, ExitCode};

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each fuzz target.
    #[arg(long, default_value_t = 15)]
    fuzz_seconds: u64,
    /// Passed on to cargo test.
    #[arg(last = true)]
    cargo_test: Vec<String>,
}

/// Runs every stage, also after a failed one, so that one run shows all that is wrong.
///
/// # Errors
/// The set-up or the compilation of the objects failed; without them the other stages say nothing.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::install_missing()?;
    objects::build()?;
    let mut failed = Vec::new();
    let mut stage = |name: &'static str, result: Result<()>| {
        if let Err(error) = result {
            eprintln!("test: {name}: {error:#}");
            failed.push(name);
        }
    };

    stage("tidy", tidy::check());
    if component_works(cargo::command()?.args(["fmt", "--version"])) {
        stage("fmt", process::run(cargo::command()?.args(["fmt", "--all", "--check"])));
    } else {
        eprintln!("test: fmt: skipped, this toolchain has no rustfmt");
    }
    if component_works(cargo::command()?.args(["clippy", "--version"])) {
        stage(
            "clippy",
            process::run(cargo::command()?.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        );
    } else {
        eprintln!("test: clippy: skipped, this toolchain has no clippy");
    }
    stage("demo", demo::check());
    stage("fuzz", fuzz::check(args.fuzz_seconds));
    stage(
        "cargo test",
        process::run(cargo::command()?.args(["test", "--workspace", "--no-fail-fast", "--"]).args(&args.cargo_test)),
    );

    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("test: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn component_works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
