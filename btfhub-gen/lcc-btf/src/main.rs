//! BTF for every kernel, from its own debug information. The work is done by the library.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use lcc_btf::args::Args;
use lcc_btf::printable::printable;

fn main() -> ExitCode {
    let args = Args::parse();
    log(args.verbose);
    match lcc_btf::cmd::run(args) {
        Ok(code) => code,
        // Whoever read the output has read enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lcc-btf: {}", printable(message(&error)));
            ExitCode::from(2)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| match cause.downcast_ref::<lcc_btf::Error>() {
        Some(lcc_btf::Error::Io { source, .. }) => closed(source),
        _ => cause.downcast_ref().is_some_and(closed),
    })
}

/// The error and its causes, but for causes that the text before has already named.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        before if before.ends_with(&cause) => text,
        _ => format!("{text}: {cause}"),
    })
}

/// Log lines go to standard error; `RUST_LOG` goes before `-v`.
fn log(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = ["warn", "info", "debug", "trace"][usize::from(verbose.min(3))];
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).without_time().init();
}
