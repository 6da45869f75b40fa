//! `lcc-vm`: runs a program, and holds BPF objects against kernels, in virtual machines. In a machine it is the first process.

mod args;
mod cmd;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    if vm_guest::init::is_inside() {
        return vm_guest::init::main();
    }
    match cmd::run(args::Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lcc-vm: {error:#}");
            ExitCode::from(2)
        }
    }
}
