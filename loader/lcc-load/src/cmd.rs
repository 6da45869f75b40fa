//! The subcommands: each calls the library, and prints.

mod man;
mod plan;
mod run;
mod verify;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use ::plan::{KernelFacts, Outcome, Plan};
use anyhow::{Context, Result, anyhow};
use btf::object_file::ObjectFile;

use crate::args::{Args, Command, Telling};

/// Carries a command out.
///
/// # Errors
/// Something cannot be read, loaded or written.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Facts { with_btf } => {
            let mut facts = loader::probe(Path::new("/"));
            if with_btf {
                loader::embedded::embed(&mut facts, Path::new("/")).map_err(|why| anyhow!("{why}"))?;
            }
            print(&serde_json::to_string_pretty(&facts)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Plan(args) => plan::run(args),
        Command::Verify { objects } => verify::run(&objects),
        Command::Run(args) => run::run(*args),
        Command::Unpin { folder } => {
            loader::unpin(&folder)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => man::completions(shell),
        Command::Man { folder } => man::pages(&folder),
    }
}

/// The facts of this machine, with what the object may call tried out.
fn here(object: &ObjectFile<'_>) -> KernelFacts {
    loader::probe_for(Path::new("/"), object)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<ObjectFile<'a>> {
    ObjectFile::parse(&name(path), bytes).with_context(|| path.display().to_string())
}

fn tell(plan: &Plan, telling: Telling) -> Result<ExitCode> {
    let text = if telling.json { serde_json::to_string_pretty(plan)? } else { ::plan::text::lines(plan, telling.all) };
    print(text.trim_end())?;
    Ok(code(plan))
}

fn code(plan: &Plan) -> ExitCode {
    ExitCode::from(u8::from(plan.outcome == Outcome::Fails))
}

/// Whoever closed standard output has read enough.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}
