//! `offsetdb identify`: a stripped file's functions by those of labelled builds.

use crate::args::Identify;
use crate::facts::{self, Build};
use crate::input;
use ::identify::{Model, Witness};
use anyhow::{Context, Result, bail};
use image::Image;
use offset_db::{Confidence, Fact, Fingerprint, Method, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Prints what is found, and takes it into the database if one is named; exit 1 where nothing is verified.
///
/// # Errors
/// A file cannot be read; the database cannot be written.
pub(super) fn run(database: Option<&Path>, what: &Identify) -> Result<ExitCode> {
    if what.reference.is_empty() && what.compiled.is_empty() {
        bail!("by which builds? name them with --reference or --compiled");
    }
    let inputs = input::open(&what.file, "")?;
    let [input] = &*inputs else { bail!("{}: {} libraries are in it", what.file.display(), inputs.len()) };
    let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
    let model = Model::of(&image);
    if model.functions.is_empty() {
        bail!("{}: no functions: it has no .eh_frame, or is of {}", input.name, image.machine().name());
    }
    let mut builds: Vec<(Witness, Build)> = Vec::new();
    for (paths, witness) in [(&what.reference, Witness::Lineage), (&what.compiled, Witness::Compiled)] {
        for path in paths {
            builds.extend(facts::builds(path)?.into_iter().map(|build| (witness, build)));
        }
    }
    let builds: Vec<(Witness, &Build)> = builds.iter().map(|(witness, build)| (*witness, build)).collect();
    let wanted: BTreeSet<String> = what.functions.iter().cloned().collect();
    let (facts, _) = facts::identified(&model, &builds, &wanted);
    if let Some(path) = database {
        let mut store = Store::create(path)?;
        let fingerprint = Fingerprint::of(&image);
        store.remove(&fingerprint, Method::Identified)?;
        store.add(&fingerprint, &[], &facts)?;
    }
    let mut out = std::io::stdout().lock();
    if what.json {
        serde_json::to_writer_pretty(&mut out, &facts).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", text(&image, &facts))?;
    }
    let is_one = facts.iter().any(|fact| fact.confidence >= Confidence::Verified);
    Ok(if is_one { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(image: &Image<'_>, facts: &[Fact]) -> String {
    let mut count: BTreeMap<Confidence, usize> = BTreeMap::new();
    let rows = facts.iter().map(|fact| {
        *count.entry(fact.confidence).or_default() += 1;
        let offset = image.file_offset(fact.address).map(|offset| format!("{:#x}", offset.0)).unwrap_or_default();
        vec![fact.confidence.word().to_owned(), offset, super::title(fact).to_owned(), fact.evidence.join("; ")]
    });
    let text = super::table(&rows.collect::<Vec<_>>());
    let of = |confidence| count.get(&confidence).copied().unwrap_or_default();
    format!("{text}{} verified, {} probable\n", of(Confidence::Verified), of(Confidence::Probable))
}
