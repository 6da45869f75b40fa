//! `offsetdb pull`: all versions of packages.

mod debian;
mod pypi;

use crate::args::Pull;
use crate::package::cache::Cache;
use crate::package::recipe::Recipe;
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use offset_db::Store;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// What became of a package's files.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    files: usize,
    /// With all that is looked for; of Debian's with all of it that they have.
    sure: usize,
    errors: usize,
}

/// Pulls and prints a line for each file; exit 1 where something is not known for sure, or failed.
///
/// # Errors
/// There is no recipe, no such package, or the database cannot be written.
pub(super) fn run(database: &Path, what: &Pull, verbose: u8) -> Result<ExitCode> {
    let recipes: Vec<Recipe> =
        what.packages.iter().map(|package| Recipe::of(package, what.recipe.as_deref())).collect::<Result<_>>()?;
    for (recipe, package) in recipes.iter().zip(&what.packages) {
        if recipe.ecosystem != what.ecosystem {
            bail!("the recipe of {package} is of {}, not of {}", recipe.ecosystem, what.ecosystem);
        }
    }
    let cache = Cache::at(what.cache.as_deref())?;
    let mut store = Store::create(database)?;
    let mut is_sure = true;
    for (recipe, package) in recipes.iter().zip(&what.packages) {
        let counts = match what.ecosystem.as_str() {
            "debian" => debian::run(&mut store, what, recipe, package, &cache)?,
            _ => pypi::run(&mut store, what, recipe, &cache, verbose)?,
        };
        let Counts { files, sure, errors } = counts;
        let are_sure = if what.ecosystem == "debian" { "labelled" } else { "with every target" };
        println!("{package}: {files} files, {sure} {are_sure}; {errors} failed");
        is_sure &= files == sure && errors == 0;
    }
    Ok(if is_sure { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bar(length: usize, verbose: u8) -> ProgressBar {
    let bar = match std::io::stderr().is_terminal() && verbose == 0 {
        true => ProgressBar::new(length as u64),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// Prints a line; a closed pipe ends the output, not the work.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
