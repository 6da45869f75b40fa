//! `offsetdb lookup`: where functions begin in a file, and where fields are in structs.

mod advice;
mod text;
mod told;

use crate::args::Lookup;
use crate::debug::DebugFiles;
use crate::{input, process};
use anyhow::{Context, Result, bail};
use image::Image;
use offset_db::Store;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use told::{File, Subject};

/// Where proc is mounted.
const PROC: &str = "/proc";

/// Prints the answers; exit 1 where one is missing.
///
/// # Errors
/// The file is none that can be looked into; the database cannot be read.
pub(super) fn run(database: Option<&Path>, what: &Lookup) -> Result<ExitCode> {
    let store = super::maybe(database)?;
    let (files, names) = match (&what.build_id, what.pid.as_slice()) {
        (Some(build_id), _) => (by_build_id(store.as_ref(), build_id, &what.what)?, &what.what[..]),
        (None, []) => {
            let (file, names) = what.what.split_first().context("no file")?;
            (by_path(store.as_ref(), Path::new(file), names)?, names)
        }
        (None, processes) => (by_process(store.as_ref(), processes, &what.what)?, &what.what[..]),
    };
    let mut out = std::io::stdout().lock();
    if what.json {
        serde_json::to_writer_pretty(&mut out, &files).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        for file in &files {
            write!(out, "{}", text::text(file))?;
        }
    }
    // of an archive or a process, one file that has it is enough
    let is_found = match names {
        [] => files.iter().any(|file| file.known || !file.functions.is_empty()),
        names => names.iter().all(|name| files.iter().any(|file| file.has(name))),
    };
    Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn by_path(store: Option<&Store>, what: &Path, names: &[String]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let debug_files = DebugFiles::of_environment();
    for input in input::open(what, "")? {
        let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
        let is_alone = !input.name.contains('!');
        let full = what.canonicalize().unwrap_or_else(|_| what.to_owned());
        let path = Some(full.as_path()).filter(|_| is_alone);
        let subject =
            Subject { name: &input.name, path, root: Path::new("/"), image: &image, debug_files: &debug_files };
        let mut file = told::told(store, &subject, names)?;
        if let Some(begin) = input.begin.filter(|begin| begin % PAGE == 0) {
            file.within(&input::parts(what).0, begin);
        }
        files.push(file);
    }
    Ok(files)
}

/// Android maps a library of an APK where it is if it is stored as it is and begins at a page; else it is unpacked first.
const PAGE: u64 = 4096;

/// What processes have mapped. Without names, what is known; with names, what has one of them, or may have.
fn by_process(store: Option<&Store>, processes: &[u32], names: &[String]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut others = 0;
    // servers are not asked for each of a process's libraries
    let debug_files = DebugFiles { servers: Vec::new(), ..DebugFiles::of_environment() };
    for mapped in process::mapped(Path::new(PROC), processes, false)? {
        let Some((opened, bytes)) = process::open(&mapped)? else { continue };
        let root = Path::new(PROC).join(mapped.processes[0].to_string()).join("root");
        for (name, begin, bytes) in process::libraries(&mapped, &bytes) {
            let Ok(image) = Image::parse(&bytes) else { continue };
            let path = Some(Path::new(&mapped.path)).filter(|_| !mapped.is_deleted && begin.is_none());
            let subject = Subject { name: &name, path, root: &root, image: &image, debug_files: &debug_files };
            let mut file = told::told(store, &subject, names)?;
            file.is_deleted = mapped.is_deleted;
            file.processes = mapped.processes.clone();
            // by its name it may be another file: of another root, or the one that took its place
            let here = std::fs::canonicalize(&mapped.path).ok().filter(|here| process::is_same(&opened, Some(here)));
            match begin {
                Some(begin) => file.within(here.as_deref().unwrap_or(&opened), begin),
                None => file.probe = Some(opened.clone()).filter(|_| here.is_none()),
            }
            let has_candidates = file.functions.iter().any(|one| !one.candidates.is_empty());
            match names {
                [] if file.known => files.push(file),
                names if names.iter().any(|name| file.has(name)) || has_candidates => files.push(file),
                _ => others += 1,
            }
        }
    }
    for file in &mut files {
        file.functions.retain(|one| one.offset.is_some() || !one.candidates.is_empty());
        file.advice.clear();
    }
    if others > 0 {
        let these: Vec<String> = processes.iter().map(|process| format!(" --pid {process}")).collect();
        let why = if names.is_empty() { "the database does not know" } else { "do not have it" };
        eprintln!("{others} more files {why}: offsetdb scan{}", these.concat());
    }
    Ok(files)
}

fn by_build_id(store: Option<&Store>, digits: &str, names: &[String]) -> Result<Vec<File>> {
    let Some(store) = store else { bail!("no database: name it with --database or $OFFSETDB") };
    let byte = |at: usize| digits.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
        bail!("{digits}: no build-id: an even number of hexadecimal digits is wanted");
    };
    // the file itself, as some distributions and debuginfod's client keep it, has the segments
    let mut files = Vec::new();
    let debug_files = DebugFiles::of_environment();
    for place in crate::debug::files_of_build_id(digits) {
        let Ok(inputs) = input::open(&place, "") else { continue };
        for input in inputs {
            let Ok(image) = Image::parse(&input.bytes) else { continue };
            if image.build_ids().gnu == Some(&bytes) && image.section(".text").is_some_and(|text| !text.data.is_empty())
            {
                let subject = Subject {
                    name: &input.name,
                    path: Some(&place),
                    root: Path::new("/"),
                    image: &image,
                    debug_files: &debug_files,
                };
                files.push(told::told(Some(store), &subject, names)?);
            }
        }
    }
    if !files.is_empty() {
        return Ok(files);
    }
    for known in store.files_of_build_id(&bytes)? {
        files.push(told::of_build_id(store, &known, names)?);
    }
    match files.is_empty() {
        true => eprintln!("{digits}: not in the database"),
        false => eprintln!(
            "{digits}: the file is not here, and a probe's offset is by its segments: these are addresses; where it is, `offsetdb \
             lookup FILE` tells the offsets"
        ),
    }
    Ok(files)
}
