//! `offsetdb explain`: how a fact is known.

use crate::args::Explain;
use crate::input;
use anyhow::{Context, Result};
use image::Image;
use offset_db::{Fact, Fingerprint};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Prints the evidence; exit 1 where there is none.
///
/// # Errors
/// The file or the database cannot be read.
pub(super) fn run(database: Option<&Path>, what: &Explain) -> Result<ExitCode> {
    let store = super::maybe(database)?;
    let mut out = std::io::stdout().lock();
    let mut is_known = false;
    for input in input::open(&what.file, "")? {
        let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
        let fingerprint = Fingerprint::to_look_up(&image);
        writeln!(out, "{}\n  {}", input.name, fingerprint.key())?;
        let mut facts = crate::facts::labelled(&image, &BTreeSet::from([what.function.clone()])).unwrap_or_default();
        if let Some(store) = &store {
            match store.known(&fingerprint)? {
                Some(file) => facts.extend(store.facts_of(&file, &what.function)?),
                None => writeln!(out, "  not in the database")?,
            }
        }
        facts.sort();
        facts.dedup();
        is_known |= !facts.is_empty();
        for fact in &facts {
            write!(out, "{}", text(&image, fact))?;
        }
    }
    Ok(if is_known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(image: &Image<'_>, fact: &Fact) -> String {
    let offset = match image.file_offset(fact.address) {
        Some(offset) => format!("offset {:#x}", offset.0),
        None => "in no segment of the file".to_owned(),
    };
    let size = if fact.size > 0 { format!(", {} bytes", fact.size) } else { String::new() };
    let mut text = format!(
        "  {}: address {:#x}, {offset}{size}: {} by {}\n",
        fact.title(),
        fact.address.0,
        fact.confidence.word(),
        fact.method.word()
    );
    if fact.qualified.is_some() {
        text.push_str(&format!("    its symbol: {}\n", fact.name));
    }
    fact.evidence.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    text
}
