//! `cargo xtask fuzz`: builds the targets of `btfhub-gen/fuzz` with coverage instrumentation and runs each for a while.
//!
//! The layout is cargo-fuzz's, but its sanitizers need a nightly compiler. Coverage alone does not: the flags below are
//! those that cargo-fuzz passes, without `-Zsanitizer`. The crates forbid or confine unsafe code, and debug assertions
//! and overflow checks are on, so that what a sanitizer would find is for the most part found all the same.

mod rpm;
mod seeds;

use crate::{cargo, process, setup, workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which targets, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Make the committed seeds anew from their sources, those of the targets named or all, and run nothing.
    #[arg(long)]
    reseed: bool,
    /// Only these targets.
    targets: Vec<String>,
}

/// What libFuzzer may use for one input.
const TIMEOUT_SECONDS: u32 = 10;
const RSS_LIMIT_MIB: u32 = 2048;

const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds and runs; exit 1 if a target found something.
///
/// # Errors
/// No such target, the build failed, or a folder cannot be made.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::install_missing()?;
    if args.reseed {
        seeds::make(&folder()?, &args.targets)?;
        return Ok(ExitCode::SUCCESS);
    }
    let all = targets()?;
    if let Some(unknown) = args.targets.iter().find(|target| !all.contains(target)) {
        bail!("no fuzz target {unknown}; there are {}", all.join(", "));
    }
    let chosen = if args.targets.is_empty() { &all } else { &args.targets };
    let found = fuzz(chosen, args.seconds)?;
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("fuzz: found something: {}", found.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Runs every target for so many seconds from the committed seeds.
///
/// # Errors
/// As [`run`], and when a target found something.
pub(crate) fn check(seconds: u64) -> Result<()> {
    let found = fuzz(&targets()?, seconds)?;
    if !found.is_empty() {
        bail!("found something: {}", found.join(", "));
    }
    Ok(())
}

fn folder() -> Result<PathBuf> {
    Ok(workspace::root()?.join("btfhub-gen/fuzz"))
}

/// Targets that read what another target reads.
const SAME_SEEDS: &[(&str, &str)] = &[("btf_text", "btf"), ("layout", "dwarf")];

fn seeds_of(folder: &Path, target: &str) -> PathBuf {
    let same = SAME_SEEDS.iter().find(|(name, _)| *name == target);
    folder.join("seeds").join(same.map_or(target, |(_, other)| other))
}

/// The names of `targets/*.rs`, sorted.
fn targets() -> Result<Vec<String>> {
    let folder = folder()?.join("targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the targets that found something.
fn fuzz(targets: &[String], seconds: u64) -> Result<Vec<String>> {
    let folder = folder()?;
    let work = workspace::target()?.join("fuzz");
    let binaries = build(&folder, &work)?;
    let mut found = Vec::new();
    for target in targets {
        // New inputs go to the first folder; the second is only read.
        let corpus = workspace::create(work.join("corpus").join(target))?;
        let artifacts = workspace::create(work.join("artifacts").join(target))?;
        let seeds = seeds_of(&folder, target);
        let mut command = process::command(binaries.join(target), &folder);
        command.arg(corpus).arg(seeds).arg(format!("-artifact_prefix={}/", artifacts.display()));
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT_SECONDS}"));
        command.arg(format!("-rss_limit_mb={RSS_LIMIT_MIB}"));
        command.args(["-max_len=65536", "-print_final_stats=1"]);
        eprintln!("fuzz: {target} for {seconds} s");
        let output = command.output().with_context(|| format!("start {}", process::describe(&command)))?;
        let printed = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            println!("{target:<10} {}", statistics(&printed));
        } else {
            let lines: Vec<&str> = printed.lines().collect();
            let dictionary = lines.iter().position(|line| line.contains("Recommended dictionary"));
            let end = dictionary.unwrap_or(lines.len());
            eprintln!("{}", lines[end.saturating_sub(LINES_SHOWN)..end].join("\n"));
            eprintln!("fuzz: {target}: ended with {}; the input is in {}", output.status, artifacts.display());
            found.push(target.clone());
        }
    }
    Ok(found)
}

/// How much of libFuzzer's output tells what happened.
const LINES_SHOWN: usize = 60;

/// The figures of `-print_final_stats=1`, and the number of covered edges.
fn statistics(printed: &str) -> String {
    let stat = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
        line.map_or("?", |value| value.trim_start_matches(':').trim()).to_owned()
    };
    let covered = printed.lines().rev().find_map(|line| line.split_once(" cov: ")?.1.split_whitespace().next());
    format!(
        "{:>9} inputs, {:>6} a second, {:>5} edges covered, peak {} MiB",
        stat("number_of_executed_units"),
        stat("average_exec_per_sec"),
        covered.unwrap_or("?"),
        stat("peak_rss_mb")
    )
}

/// Builds all targets and returns the folder they are in. An explicit target keeps the flags from build scripts.
fn build(folder: &Path, work: &Path) -> Result<PathBuf> {
    let version = process::stdout_of(process::command("rustc", folder).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("read rustc's host")?;
    let mut command = cargo::command()?;
    command.current_dir(folder).args(["build", "--release", "--locked", "--target", host, "--target-dir"]).arg(work);
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    process::run(&mut command)?;
    Ok(work.join(host).join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_prints() {
        let printed = "#2\tINITED cov: 310 ft: 311 corp: 1/1b\n#9\tNEW    cov: 412 ft: 9\nDone 9 runs in 1 second(s)\n\
                       stat::number_of_executed_units: 9\nstat::average_exec_per_sec:     8\nstat::peak_rss_mb: 33\n";
        let expected = "        9 inputs,      8 a second,   412 edges covered, peak 33 MiB";
        assert_eq!(statistics(printed), expected);
    }

    #[test]
    fn every_target_has_seeds() {
        for target in targets().unwrap() {
            let seeds = seeds_of(&folder().unwrap(), &target);
            assert!(seeds.read_dir().is_ok_and(|mut seeds| seeds.next().is_some()), "no seeds for {target}");
        }
    }
}
