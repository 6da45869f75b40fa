//! `offsetdb scan`: which files of processes, or of a folder, the database knows.

use crate::args::Scan;
use crate::process::{self, Mapped};
use anyhow::{Context, Result};
use image::Image;
use offset_db::{Fingerprint, Origin, Store};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A file and what is known of it.
#[derive(Debug, Serialize)]
struct Told {
    file: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_deleted: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<u32>,
    key: String,
    machine: String,
    known: bool,
    /// The functions that the database has of it.
    functions: usize,
    origins: Vec<Origin>,
}

/// Where proc is mounted.
const PROC: &str = "/proc";

/// Prints the files; exit 1 where none is known.
///
/// # Errors
/// There is no such process or folder; the database cannot be read.
pub(super) fn run(database: Option<&Path>, what: &Scan) -> Result<ExitCode> {
    let store = super::maybe(database)?;
    let proc = Path::new(PROC);
    let files = match (&what.folder, what.pid.as_slice()) {
        (Some(folder), _) => in_folder(folder)?,
        (None, []) => process::mapped(proc, &process::all(proc)?, true)?,
        (None, some) => process::mapped(proc, some, false)?,
    };
    let mut all = Vec::new();
    for file in &files {
        all.extend(told(store.as_ref(), file)?);
    }
    let mut out = std::io::stdout().lock();
    if what.json {
        serde_json::to_writer_pretty(&mut out, &all).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", text(&all))?;
    }
    Ok(if all.iter().any(|one| one.known) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The file, or the libraries of an archive. None where it cannot be read, or is neither, which is usual: scripts, other users'
/// files, what is half written.
fn told(store: Option<&Store>, file: &Mapped) -> Result<Vec<Told>> {
    let Some((_, bytes)) = process::open(file)? else { return Ok(Vec::new()) };
    let libraries = process::libraries(file, &bytes).into_iter();
    let told = libraries.map(|(name, _, bytes)| told_of(store, file, name, &bytes));
    told.filter_map(Result::transpose).collect()
}

fn told_of(store: Option<&Store>, file: &Mapped, name: String, bytes: &[u8]) -> Result<Option<Told>> {
    let Ok(image) = Image::parse(bytes) else { return Ok(None) };
    let fingerprint = Fingerprint::to_look_up(&image);
    let mut told = Told {
        file: name,
        is_deleted: file.is_deleted,
        processes: file.processes.clone(),
        key: fingerprint.key(),
        machine: fingerprint.machine.clone(),
        known: false,
        functions: 0,
        origins: Vec::new(),
    };
    if let Some(store) = store
        && let Some(known) = store.known(&fingerprint)?
    {
        told.known = true;
        let names: BTreeSet<String> = store.facts(&known)?.into_iter().map(|fact| fact.name).collect();
        told.functions = names.len();
        told.origins = store.origins(&known)?;
    }
    Ok(Some(told))
}

/// All that may be programs or libraries in a folder and below; links are not followed.
fn in_folder(folder: &Path) -> Result<Vec<Mapped>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = match std::fs::read_dir(&next) {
            Ok(entries) => entries,
            Err(error) if next == folder => return Err(error).with_context(|| folder.display().to_string()),
            Err(error) => {
                eprintln!("{}: {error}", next.display());
                continue;
            }
        };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(Mapped {
                    path: entry.path().display().to_string(),
                    is_deleted: false,
                    open: vec![entry.path()],
                    offsets: Vec::new(),
                    processes: Vec::new(),
                }),
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn text(all: &[Told]) -> String {
    let rows = all.iter().map(|one| {
        let origin = one.origins.first().map(|origin| format!("{} {}", origin.package, origin.version));
        let more = one.origins.len().saturating_sub(1);
        let known = match (one.known, origin) {
            (false, _) => "not known".to_owned(),
            (true, origin) => {
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("{} functions of {}{more}", one.functions, origin.unwrap_or_default().trim_end())
            }
        };
        let processes = match one.processes.as_slice() {
            [] => String::new(),
            [process] => format!("  process {process}"),
            several => format!("  {} processes", several.len()),
        };
        let deleted = if one.is_deleted { " (deleted)" } else { "" };
        vec![format!("{}{deleted}", one.file), known + &processes]
    });
    super::table(&rows.collect::<Vec<_>>())
}
