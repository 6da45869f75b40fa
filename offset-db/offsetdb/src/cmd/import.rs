//! `offsetdb import`: what files say of themselves.

use crate::args::Import;
use crate::{facts, input};
use anyhow::{Context, Result};
use image::Image;
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
            let facts = facts::labelled(&image, &wanted).with_context(|| input.name.clone())?;
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
