//! `offsetdb pull`: all versions of a package.

use crate::args::Pull;
use crate::package::pypi::{self, Cache};
use crate::package::recipe::{Recipe, Version};
use crate::pull::{self, Outcome};
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use offset_db::Store;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Pulls and prints a line for each file; exit 1 where a target of one is not known for sure.
///
/// # Errors
/// There is no recipe, no such package, or the database cannot be written.
pub(super) fn run(database: &Path, what: &Pull, verbose: u8) -> Result<ExitCode> {
    let recipe = Recipe::of(&what.package, what.recipe.as_deref())?;
    let cache = Cache::at(what.cache.as_deref())?;
    let (mut earlier, mut versions) = (Vec::new(), Vec::new());
    for version in pypi::versions(&what.package)? {
        match version.is_in(&what.versions)? {
            true => versions.push(version),
            false => earlier.push(version),
        }
    }
    let Some(first) = versions.first() else { bail!("{} has no version in {}", what.package, what.versions) };
    earlier.retain(|version| version < first);
    let mut store = Store::create(database)?;
    let bar = match std::io::stderr().is_terminal() && verbose == 0 {
        true => ProgressBar::new(versions.len() as u64),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    let asked = pull::Pull {
        recipe: &recipe,
        versions: &versions,
        earlier: &earlier,
        pythons: &what.python,
        compile: !what.no_compile,
        cache: &cache,
    };
    let (mut files, mut sure, mut errors) = (0, 0, 0);
    let done = |outcome: Outcome| {
        let at = versions.iter().position(|version| version.text() == outcome.version).unwrap_or_default();
        bar.set_position(at as u64 + 1);
        files += 1;
        sure += usize::from(outcome.missing.is_empty());
        bar.suspend(|| {
            // a closed pipe ends the output, not the work
            let _ = writeln!(std::io::stdout(), "{}", line(&outcome));
        });
    };
    let failed = |version: &Version, error: anyhow::Error| {
        errors += 1;
        bar.suspend(|| eprintln!("offsetdb: {} {}: {error:#}", what.package, version.text()));
    };
    pull::pull(&mut store, &asked, done, failed)?;
    bar.finish_and_clear();
    println!("{files} files, {sure} with every target; {errors} failed");
    Ok(if files == sure && errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    format!(
        "{}: {} labelled, {} verified, {} probable{missing}{how}",
        outcome.wheel, outcome.labelled, outcome.verified, outcome.probable
    )
}
