//! What of a BPF object works on this machine, and why. The work is done by the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match lcc_load::cmd::run(lcc_load::args::Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lcc-load: {error:#}");
            ExitCode::from(2)
        }
    }
}
