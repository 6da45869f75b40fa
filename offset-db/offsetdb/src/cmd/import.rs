//! `offsetdb import`: what files say of themselves.

use crate::args::Import;
use crate::debug::{DebugFiles, Search};
use crate::{facts, input};
use anyhow::{Context, Result};
use image::{Image, Table};
use offset_db::{Fingerprint, Origin, Store};
use std::path::Path;
use std::process::ExitCode;

/// Takes files into the database; exit 1 where one has no names.
///
/// # Errors
/// A file cannot be read; the database cannot be written.
pub(super) fn run(database: &Path, what: &Import) -> Result<ExitCode> {
    let mut store = Store::create(database)?;
    let wanted = what.functions.iter().cloned().collect();
    let mut all = true;
    for path in &what.files {
        for input in input::open(path, "")? {
            let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
            let search = debug_file(path, &image);
            for tried in &search.tried {
                eprintln!("{}: no debug file of it: {}", tried.place, tried.why);
            }
            let debug = search.found.as_ref().map(|found| Image::parse(&found.bytes)).transpose()?;
            let facts = facts::labelled_by(&image, debug.as_ref(), &wanted).with_context(|| input.name.clone())?;
            if let Some(found) = &search.found {
                eprintln!("{}: names of {}", input.name, found.path.display());
            }
            let origin = Origin {
                ecosystem: "file".to_owned(),
                package: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                version: String::new(),
                tag: String::new(),
                platform: String::new(),
                path: input.path.clone(),
            };
            store.add(&Fingerprint::of(&image), &[origin], &facts)?;
            eprintln!("{}: {} names", input.name, facts.len());
            all &= !facts.is_empty();
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The debug file of a file that has no table of all of its names. Of one in an archive, by its build-id alone.
fn debug_file(path: &Path, image: &Image<'_>) -> Search {
    if image.functions().any(|symbol| symbol.table == Table::Symtab) {
        return Search::default();
    }
    let is_alone = path.metadata().is_ok_and(|metadata| metadata.len() == image.data().len() as u64);
    DebugFiles::of_environment().find(Some(path).filter(|_| is_alone), image)
}
