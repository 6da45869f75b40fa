//! `tcprt`: the response time of each request of the TCP servers and clients on this machine.
//!
//! ```text
//! args + settings (YAML) ─> agent: plan, load, attach ─> events ─> owners: containers, processes
//!                                                                ─> output: lines, files with rotation
//!                                                                ─> summary, stats, exporter (Prometheus), top
//! ```
#![forbid(unsafe_code)]

mod agent;
mod args;
mod clock;
mod cmd;
mod exporter;
mod filters;
mod output;
mod owners;
mod rights;
mod settings;
mod told;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cmd::run(args::Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tcprt: {error:#}");
            ExitCode::from(2)
        }
    }
}
