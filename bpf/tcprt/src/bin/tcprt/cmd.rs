//! The subcommands: each calls the library, and prints.

mod live;
mod log;
mod losses;
mod man;
mod parse;
mod teller;
mod top;
mod worker;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::args::{Args, Command};
use crate::output::print;
use crate::settings::Settings;

/// Carries a command out.
///
/// # Errors
/// Something cannot be read, loaded or written.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        None => live::run(Settings::of(args.live)?),
        Some(Command::Top(args)) => top::run(args),
        Some(Command::Log(args)) => log::run(args),
        Some(Command::Stop { pins }) => {
            if loader::log::Log::pinned(&pins)?.is_empty() {
                eprintln!("tcprt: nothing is kept in {}", pins.display());
                return Ok(ExitCode::from(1));
            }
            loader::unpin(&pins)?;
            // it may hold what is not ours
            let _ = std::fs::remove_dir(&pins);
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Parse(args)) => parse::run(&args),
        Some(Command::Completions { shell }) => man::completions(shell),
        Some(Command::Man { folder }) => man::pages(&folder),
    }
}

/// What there is to say where nothing can be measured.
fn impossible(plan: &plan::Plan) -> Result<ExitCode> {
    eprintln!("tcprt: this kernel has none of the ways to see a connection:");
    eprint!("{}", plan::text::lines(plan, false));
    Ok(ExitCode::from(1))
}

/// What standard output said, if anything.
fn written(failed: Option<std::io::Error>) -> Result<()> {
    match failed {
        Some(error) if !crate::output::is_closed(&error) => bail!("writing: {error}"),
        _ => Ok(()),
    }
}

/// Prints a plan, and which way to see connections it takes.
fn explain(plan: &plan::Plan) -> Result<ExitCode> {
    let mut text = plan::text::lines(plan, false);
    for group in plan.groups.iter().filter(|group| group.name == "tcp") {
        text += &match group.taken {
            Some(rank) => format!("connections are seen by {} (rank {rank} of {})\n", way(rank), group.ranks.len()),
            None => "connections cannot be seen on this kernel\n".to_owned(),
        };
    }
    print(&text)?;
    Ok(ExitCode::from(u8::from(plan.outcome == plan::Outcome::Fails)))
}

/// What a rank of the object's group `tcp` is.
fn way(rank: u32) -> &'static str {
    match rank {
        1 => "fentry programs, and the tracepoint of a socket's state",
        2 => "kprobes, and the tracepoint of a socket's state",
        3 => "kprobes alone",
        4 => "the packets and socket events of control groups",
        _ => "the packets, with what is in them, and socket events of control groups",
    }
}
