//! `pingtrace`: where a ping's time goes.

mod answers;
mod args;
mod client;
mod kernel;
mod namespace;
mod output;
mod server;
mod socket;
mod stop;
mod transport;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use crate::args::Args;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pingtrace: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    if args.man {
        let mut page = Vec::new();
        clap_mangen::Man::new(Args::command()).render(&mut page).context("the man page")?;
        std::io::stdout().write_all(&page).context("standard output")?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(shell) = args.completions {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "pingtrace", &mut script);
        std::io::stdout().write_all(&script).context("standard output")?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.explain {
        let (text, works) = kernel::explain(args)?;
        print!("{text}");
        return Ok(if works { ExitCode::SUCCESS } else { ExitCode::from(1) });
    }
    if let Some(namespace) = &args.netns {
        namespace::enter(namespace)?;
    }
    match (&args.client, args.server) {
        (Some(host), _) => client::run(args, host),
        (None, true) => server::run(args),
        (None, false) => watch::run(args),
    }
}
