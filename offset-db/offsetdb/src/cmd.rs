//! The commands, one file each.

mod exchange;
mod explain;
mod identify;
mod import;
mod layout;
mod lookup;
mod man;
mod pull;
mod scan;
mod stats;
mod verify;

use crate::args::{Args, Command};
use anyhow::{Context, Result, bail};
use offset_db::Store;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs a command.
///
/// # Errors
/// What was asked for cannot be read, done or written.
pub fn run(args: Args) -> Result<ExitCode> {
    let database = args.database;
    let verbose = args.verbose;
    match args.command {
        Command::Lookup(what) => lookup::run(database.as_deref(), &what),
        Command::Import(what) => import::run(&wanted(database.as_deref())?, &what),
        Command::Scan(what) => scan::run(database.as_deref(), &what),
        Command::Layout(what) => layout::run(&what),
        Command::Identify(what) => identify::run(database.as_deref(), &what),
        Command::Pull(what) => pull::run(&wanted(database.as_deref())?, &what, verbose),
        Command::Verify(what) => verify::run(database.as_deref(), &what),
        Command::Explain(what) => explain::run(database.as_deref(), &what),
        Command::Stats(what) => stats::run(&found(database.as_deref())?, what.json),
        Command::Export(what) => exchange::export(&found(database.as_deref())?, &what),
        Command::Merge(what) => exchange::merge(&wanted(database.as_deref())?, &what),
        Command::Completions { shell } => man::completions(shell),
        Command::Man { folder } => man::pages(&folder),
    }
}

/// The database that is changed: the one that was named.
fn wanted(named: Option<&Path>) -> Result<PathBuf> {
    named.map(Path::to_owned).context("which database is to be changed? name it with --database or $OFFSETDB")
}

/// The database that is read: the one that was named, or the one that was installed.
fn found(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("offsets.sqlite")));
    let places = [beside, Some(PathBuf::from("/usr/share/lcc/offsets.sqlite"))];
    match places.into_iter().flatten().find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!("no database: name it with --database or $OFFSETDB"),
    }
}

/// The database that is read, if there is one; a named one has to be.
fn maybe(named: Option<&Path>) -> Result<Option<Store>> {
    match (named, found(named)) {
        (None, Err(_)) => Ok(None),
        (_, path) => Ok(Some(Store::open(&path?)?)),
    }
}

/// A table with columns as wide as needed; the last is as it is.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
