//! The subcommands: each calls the library and says what came of it.

pub mod check;
pub mod diff;
pub mod dump;
pub mod r#gen;
pub mod layout;
pub mod man;
pub mod merge;
pub mod pack;
mod terminal;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::printable::printable;

/// Writes text to standard output. Whoever closed it has read enough: what the command found stays its exit code.
fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

/// Writes a message to standard error.
fn say(message: impl Display) {
    eprintln!("lcc-btf: {}", printable(message));
}

/// Writes bytes to a file, or to standard output where it is `-`.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if path.as_os_str() == "-" {
        return print_bytes(bytes);
    }
    Ok(crate::disk::replace(path, |w| w.write_all(bytes))?)
}

/// Runs a command.
///
/// # Errors
/// The command's.
pub fn run(args: crate::args::Args) -> Result<ExitCode> {
    use crate::args::Command;
    let verbose = args.verbose;
    match args.command {
        Command::Gen(args) => r#gen::run(&args, verbose),
        Command::Check(args) => check::run(&args, verbose),
        Command::Diff(args) => diff::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Layout(args) => layout::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Pack(command) => pack::run(&command),
        Command::Completions { shell } => man::completions(shell),
        Command::Man { folder } => man::pages(&folder),
    }
}
