//! `cargo xtask`: the one way to run everything in this repository.
//!
//! ```text
//! setup ──> objects ──┬─> test      tidy, fmt, clippy, fuzz from the seeds, the matrix' few kernels, cargo test
//!                     ├─> demo      the main job on this machine's kernel and on data/btf
//!                     └─> bench     against pahole, bpftool, gimli and btf-rs
//!       │             ├─> deb       the agents and offsetdb as Debian packages
//!       │             ├─> matrix    every claim against booted kernels
//! kernels ────────────┴─> data      real packages -> data/btf, data/offsets.sqlite
//! ```
//!
//! Each subcommand is a file of that name. Data goes to stdout, progress and diagnostics to stderr.

mod bench;
mod cargo;
mod data;
mod deb;
mod demo;
mod fuzz;
mod kernels;
mod matrix;
mod objects;
mod process;
mod setup;
mod test;
mod tidy;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The one way to run everything in this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing on a Debian machine: clang, llvm, bpftool, dwarves, …
    Setup {
        /// Only say what is missing (exit 1 if anything is).
        #[arg(long)]
        check: bool,
    },
    /// Compile the project's BPF objects into target/bpf.
    Objects,
    /// Fetch real kernels with debug information and newer tools into the cache (gigabytes).
    Kernels(kernels::Args),
    /// The main job on this machine's kernel and on the kernels in data/btf, ending in a table.
    Demo,
    /// Make data/ anew: BTF from the packages in the cache, offsets of user libraries from the registries.
    Data(data::Args),
    /// Make Debian packages of the agents and of offsetdb in target/deb, and check them.
    Deb {
        /// Only these.
        packages: Vec<String>,
    },
    /// Measure against pahole, bpftool, gimli and btf-rs.
    Bench(bench::Args),
    /// Run the fuzz targets, each for a while.
    Fuzz(fuzz::Args),
    /// Everything CI checks; the last lines are cargo test's.
    Test(test::Args),
    /// Boot real kernels in qemu, and hold plans and tests against them.
    Matrix(matrix::Args),
    /// Layering, licences, and what must never be committed.
    Tidy,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup { check: true } => return setup::check(),
        Command::Setup { check: false } => setup::install_missing()?,
        Command::Objects => {
            setup::install_missing()?;
            for object in objects::build()? {
                println!("{}", object.display());
            }
        }
        Command::Kernels(args) => kernels::run(&args)?,
        Command::Demo => return demo::run(),
        Command::Data(args) => data::run(&args)?,
        Command::Deb { packages } => {
            for package in deb::run(&packages)? {
                println!("{}", package.display());
            }
        }
        Command::Bench(args) => bench::run(&args)?,
        Command::Fuzz(args) => return fuzz::run(&args),
        Command::Test(args) => return test::run(&args),
        Command::Matrix(args) => return matrix::run(&args),
        Command::Tidy => return tidy::run(),
    }
    Ok(ExitCode::SUCCESS)
}
