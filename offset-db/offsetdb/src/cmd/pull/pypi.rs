//! `offsetdb pull pypi`.

use super::{Counts, bar, say};
use crate::args::Pull;
use crate::package::cache::Cache;
use crate::package::pypi;
use crate::package::recipe::{Recipe, Version};
use crate::pull::{self, Outcome};
use anyhow::{Result, bail};
use offset_db::Store;

pub(super) fn run(store: &mut Store, what: &Pull, recipe: &Recipe, cache: &Cache, verbose: u8) -> Result<Counts> {
    let range = what.versions.as_deref().or(recipe.versions.as_deref()).unwrap_or("..");
    let (mut earlier, mut versions) = (Vec::new(), Vec::new());
    for version in pypi::versions(&recipe.package)? {
        match version.is_in(range)? {
            true => versions.push(version),
            false => earlier.push(version),
        }
    }
    let Some(first) = versions.first() else { bail!("{} has no version in {range}", recipe.package) };
    earlier.retain(|version| version < first);
    let bar = bar(versions.len(), verbose);
    let asked = pull::Pull {
        recipe,
        versions: &versions,
        earlier: &earlier,
        pythons: if what.python.is_empty() { &recipe.pythons } else { &what.python },
        compile: !what.no_compile,
        cache,
    };
    let mut counts = Counts::default();
    let mut errors = 0;
    let done = |outcome: Outcome| {
        let at = versions.iter().position(|version| version.text() == outcome.version).unwrap_or_default();
        bar.set_position(at as u64 + 1);
        counts.files += 1;
        counts.sure += usize::from(outcome.missing.is_empty());
        bar.suspend(|| say(&line(&outcome)));
    };
    let failed = |version: &Version, error: anyhow::Error| {
        errors += 1;
        bar.suspend(|| eprintln!("offsetdb: {} {}: {error:#}", recipe.package, version.text()));
    };
    pull::pull(store, &asked, done, failed)?;
    bar.finish_and_clear();
    counts.errors = errors;
    Ok(counts)
}

fn line(outcome: &Outcome) -> String {
    let how = match outcome.was_known {
        true => " (known before)",
        false => "",
    };
    let missing = match outcome.missing.is_empty() {
        true => String::new(),
        false => format!("; not sure: {}", outcome.missing.join(", ")),
    };
    let parts = match outcome.parts.is_empty() {
        true => String::new(),
        false => format!("; split: {}", outcome.parts.join(", ")),
    };
    format!(
        "{}: {} labelled, {} verified, {} probable{parts}{missing}{how}",
        outcome.wheel, outcome.labelled, outcome.verified, outcome.probable
    )
}
