//! `cargo xtask test`: everything CI checks. Cargo test comes last, so that its results are the last lines.
//!
//! `--kernels` runs what CI does not: the tests that read gigabytes of real kernels.

use crate::{cargo, demo, fuzz, kernels, matrix, objects, process, setup, tidy, workspace};
use anyhow::Result;
use std::process::{Command, ExitCode};

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each fuzz target.
    #[arg(long, default_value_t = 15)]
    fuzz_seconds: u64,
    /// Only the tests on real kernels, in release, after fetching what is missing of these (gigabytes, a minute for each
    /// kernel; root for libbpf's). LCC_KERNELS="6.1-amd64 6.12-amd64" restricts them to these, and nothing is fetched.
    #[arg(long, conflicts_with = "fuzz_seconds")]
    kernels: bool,
    /// Passed on to cargo test.
    #[arg(last = true)]
    cargo_test: Vec<String>,
}

/// The test targets whose ignored tests are those on real kernels.
const KERNEL_TESTS: [(&str, &str); 3] =
    [("dwarf", "kernels"), ("lcc-tests", "relocated_alike"), ("lcc-tests", "verdicts")];

/// Runs every stage, also after a failed one, so that one run shows all that is wrong.
///
/// # Errors
/// The set-up or the compilation of the objects failed; without them the other stages say nothing.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.kernels {
        return on_kernels(&args.cargo_test);
    }
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
    stage("matrix", matrix::check());
    let mut test = cargo::command()?;
    test.args(["test", "--workspace", "--no-fail-fast", "--"]).args(&args.cargo_test);
    // cargo builds them for the tests of their own packages
    test.env("LCC_AGENTS", workspace::target()?.join("debug"));
    stage("cargo test", process::run(&mut test));

    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("test: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// The ignored tests of [`KERNEL_TESTS`].
fn on_kernels(cargo_test: &[String]) -> Result<ExitCode> {
    if std::env::var_os("LCC_KERNELS").is_none() {
        kernels::fetch_all()?;
    }
    let mut command = cargo::command()?;
    command.args(["test", "--release", "--no-fail-fast"]);
    for (package, test) in KERNEL_TESTS {
        command.args(["--package", package, "--test", test]);
    }
    // one kernel at a time fills the machine; what differs is printed
    command.args(["--", "--ignored", "--nocapture", "--test-threads=1"]).args(cargo_test);
    match process::run(&mut command) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("test: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn component_works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
