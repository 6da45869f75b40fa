//! `offsetdb pull debian`.

use super::{Counts, say};
use crate::args::Pull;
use crate::package::cache::Cache;
use crate::package::recipe::Recipe;
use crate::pull::debian::{self, Outcome};
use anyhow::{Context, Result, bail};
use apt::Suite;
use offset_db::Store;

pub(super) fn run(store: &mut Store, what: &Pull, recipe: &Recipe, named: &str, cache: &Cache) -> Result<Counts> {
    if what.versions.is_some() {
        bail!("a suite has the versions that it has: choose suites, not versions");
    }
    let all = || Suite::ALL.map(|suite| suite.name).join(", ");
    let suites = match what.suite.is_empty() {
        true => Suite::ALL.to_vec(),
        false => {
            let suite = |name: &String| {
                Suite::of(name).with_context(|| format!("{name}: no suite that is known here: {}", all()))
            };
            what.suite.iter().map(suite).collect::<Result<_>>()?
        }
    };
    let asked = debian::Pull { recipe, named, suites: &suites, architectures: &what.arch, cache };
    let (mut counts, mut errors) = (Counts::default(), 0);
    let done = |outcome: Outcome| {
        counts.files += 1;
        // what a labelled file has not, it has not: that is sure, too, but for a file without any
        counts.sure += usize::from(outcome.labelled > 0);
        say(&line(&outcome));
    };
    let failed = |place: &str, error: anyhow::Error| {
        errors += 1;
        eprintln!("offsetdb: {named}: {place}: {error:#}");
    };
    debian::pull(store, &asked, done, failed)?;
    counts.errors = errors;
    if counts.files == 0 && errors == 0 {
        bail!("{named}: in none of {}", suites.iter().map(|suite| suite.name).collect::<Vec<_>>().join(", "));
    }
    Ok(counts)
}

fn line(outcome: &Outcome) -> String {
    let absent = match outcome.absent.len() {
        0 => String::new(),
        1..=3 => format!("; has no {}", outcome.absent.join(", ")),
        number => format!("; has not {number} others"),
    };
    format!("{} {}: {}: {} labelled{absent}", outcome.suite, outcome.package, outcome.path, outcome.labelled)
}
