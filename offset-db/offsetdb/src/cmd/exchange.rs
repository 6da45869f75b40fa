//! `offsetdb export`, `offsetdb merge`: the database as text, and back.

use crate::args::{Merge, Output};
use anyhow::{Context, Result, bail};
use offset_db::Store;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

/// Writes all of the database as text: the file is whole, or as it was. Devices and pipes are written to.
///
/// # Errors
/// The database cannot be read, the text not be written.
pub(super) fn export(database: &Path, what: &Output) -> Result<ExitCode> {
    let store = Store::open(database)?;
    match (what.sqlite, what.output == Path::new("-")) {
        (true, true) => bail!("a database is written to a file: name it with --output"),
        (true, false) => return sqlite(&store, &what.output),
        (false, _) => {}
    }
    if what.output == Path::new("-") {
        return write(&store, std::io::stdout().lock(), &what.output);
    }
    let name = || what.output.display().to_string();
    // the file that a link leads to
    let path = what.output.canonicalize().unwrap_or_else(|_| what.output.clone());
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let file = File::options().write(true).open(&path).with_context(name)?;
        return write(&store, file, &what.output);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // with the rights that files have that are made here
    let rights = std::fs::Permissions::from_mode(0o666);
    let file =
        tempfile::Builder::new().prefix(".offsetdb-").permissions(rights).tempfile_in(folder).with_context(name)?;
    write(&store, &file, &what.output)?;
    file.persist(&path).map_err(|error| error.error).with_context(name)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a database: the file is whole, or as it was.
fn sqlite(store: &Store, output: &Path) -> Result<ExitCode> {
    let name = || output.display().to_string();
    // the file that a link leads to
    let path = output.canonicalize().unwrap_or_else(|_| output.to_owned());
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        bail!("{}: no regular file", name());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unfinished = tempfile::Builder::new().prefix(".offsetdb-").tempdir_in(folder).with_context(name)?;
    let made = unfinished.path().join("offsets.sqlite");
    store.write_sorted(&made).with_context(name)?;
    File::open(&made).and_then(|file| file.sync_all()).with_context(name)?;
    std::fs::rename(&made, &path).with_context(name)?;
    Ok(ExitCode::SUCCESS)
}

/// An error of the output is told as such: a closed pipe has to be known.
fn write(store: &Store, to: impl Write, path: &Path) -> Result<ExitCode> {
    let mut out = BufWriter::new(to);
    let name = || path.display().to_string();
    match offset_db::export(store, &mut out) {
        Err(offset_db::Error::Io { source, .. }) => return Err(source).with_context(name),
        other => other?,
    }
    out.flush().with_context(name)?;
    Ok(ExitCode::SUCCESS)
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
        let offset_db::Merged { files, functions, layouts, signatures } = merged;
        eprintln!("{}: {files} files, {functions} facts, {layouts} structs, {signatures} signatures", name());
    }
    Ok(ExitCode::SUCCESS)
}
