//! Packages of Debian: each suite's versions of them. Their files name their functions themselves.

use crate::facts;
use crate::package::cache::Cache;
use crate::package::debian::Registry;
use crate::package::recipe::Recipe;
use anyhow::{Context, Result};
use apt::{Package, Suite};
use image::Image;
use offset_db::{Fingerprint, Origin, Store};
use std::collections::BTreeSet;

/// What to pull.
#[derive(Debug)]
pub struct Pull<'p> {
    /// The recipe.
    pub recipe: &'p Recipe,
    /// The recipe's own name, or one of Debian's: that one only.
    pub named: &'p str,
    /// The suites.
    pub suites: &'p [Suite],
    /// Architectures, by Debian's names.
    pub architectures: &'p [String],
    /// Where downloads are.
    pub cache: &'p Cache,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The package's file.
    pub package: String,
    /// The suite.
    pub suite: &'static str,
    /// The path in the package.
    pub path: String,
    /// How many targets it names.
    pub labelled: usize,
    /// Targets that it has not.
    pub absent: Vec<String>,
}

/// Pulls. `done` is told each file's outcome, `failed` what went wrong with a suite or a package; the rest goes on.
///
/// # Errors
/// The machine's apt has no mirror of Debian.
pub fn pull(
    store: &mut Store,
    what: &Pull<'_>,
    mut done: impl FnMut(Outcome),
    mut failed: impl FnMut(&str, anyhow::Error),
) -> Result<()> {
    let mirrors = Registry::mirrors()?;
    for suite in what.suites {
        for architecture in what.architectures {
            let place = format!("{} {architecture}", suite.name);
            let opened = Registry::open(what.cache, &mirrors, *suite, architecture).and_then(|registry| {
                let packages = registry.packages(what.recipe, what.named)?;
                Ok((registry, packages))
            });
            let (registry, packages) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    failed(&place, error);
                    continue;
                }
            };
            for package in packages {
                match one(store, what, &registry, *suite, &package) {
                    Ok(outcomes) => outcomes.into_iter().for_each(&mut done),
                    Err(error) => failed(&format!("{place} {}", package.file_name()), error),
                }
            }
        }
    }
    Ok(())
}

fn one(
    store: &mut Store,
    what: &Pull<'_>,
    registry: &Registry,
    suite: Suite,
    package: &Package,
) -> Result<Vec<Outcome>> {
    let targets: BTreeSet<String> = what.recipe.targets.iter().cloned().collect();
    let file = registry.file(what.cache, package)?;
    let mut outcomes = Vec::new();
    for input in what.recipe.open(&file)? {
        let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
        let facts = facts::labelled(&image, &targets).with_context(|| input.name.clone())?;
        let origin = Origin {
            ecosystem: what.recipe.ecosystem.clone(),
            package: package.name.clone(),
            version: package.version.clone(),
            tag: suite.name.to_owned(),
            platform: package.architecture.clone(),
            path: input.path.clone(),
        };
        store.add(&Fingerprint::of(&image), &[origin], &facts)?;
        let has = |target: &String| {
            facts.iter().any(|fact| {
                let name = fact.name.split('@').next().unwrap_or_default();
                name == target || fact.qualified.as_ref() == Some(target)
            })
        };
        let absent: Vec<String> = targets.iter().filter(|target| !has(target)).cloned().collect();
        outcomes.push(Outcome {
            package: package.file_name(),
            suite: suite.name,
            path: input.path,
            labelled: targets.len() - absent.len(),
            absent,
        });
    }
    Ok(outcomes)
}
