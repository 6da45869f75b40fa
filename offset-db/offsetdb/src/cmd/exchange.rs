//! `offsetdb export`, `offsetdb merge`: the database as text, and back.

use crate::args::{Merge, Output};
use anyhow::{Context, Result};
use offset_db::Store;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

/// Writes all of the database as text: the file is whole, or as it was.
///
/// # Errors
/// The database cannot be read, the text not be written.
pub(super) fn export(database: &Path, what: &Output) -> Result<ExitCode> {
    let store = Store::open(database)?;
    if what.output == Path::new("-") {
        let mut out = BufWriter::new(std::io::stdout().lock());
        offset_db::export(&store, &mut out).map_err(unwrapped)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = || what.output.display().to_string();
    let folder = what.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".offsetdb-").tempfile_in(folder).with_context(name)?;
    let mut out = BufWriter::new(file);
    offset_db::export(&store, &mut out)?;
    let file = out.into_inner().map_err(|error| error.into_error()).with_context(name)?;
    file.persist(&what.output).map_err(|error| error.error).with_context(name)?;
    Ok(ExitCode::SUCCESS)
}

/// The error of the output itself, so that a closed pipe is known.
fn unwrapped(error: offset_db::Error) -> anyhow::Error {
    match error {
        offset_db::Error::Io { source, .. } => source.into(),
        other => other.into(),
    }
}

/// Adds exports to the database, each whole or not at all.
///
/// # Errors
/// One cannot be read, has a wrong line, or the database cannot be written.
pub(super) fn merge(database: &Path, what: &Merge) -> Result<ExitCode> {
    let mut store = Store::create(database)?;
    for path in &what.files {
        let name = || path.display().to_string();
        let file = File::open(path).with_context(name)?;
        let merged = offset_db::merge(&mut store, &mut BufReader::new(file)).with_context(name)?;
        eprintln!("{}: {} files, {} facts, {} structs", name(), merged.files, merged.functions, merged.layouts);
    }
    Ok(ExitCode::SUCCESS)
}
