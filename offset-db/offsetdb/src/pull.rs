//! All versions of a package: each wheel's library is told by its own names, or by the builds before it and its own source.

pub mod debian;

use crate::facts::{self, Build};
use crate::package::cache::Cache;
use crate::package::compile;
use crate::package::pypi;
use crate::package::recipe::{Recipe, Seen, Version};
use crate::relatives;
use anyhow::{Context, Result};
use identify::{Model, Witness};
use image::Image;
use offset_db::{Confidence, Fact, Fingerprint, Kind, Layout, Method, Origin, Store, whole};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// What to pull.
#[derive(Debug)]
pub struct Pull<'p> {
    /// The package's recipe.
    pub recipe: &'p Recipe,
    /// Its versions, ascending.
    pub versions: &'p [Version],
    /// The versions before those, ascending: what is known of the last of them is the first lineage.
    pub earlier: &'p [Version],
    /// Pythons, as wheels name them.
    pub pythons: &'p [String],
    /// Whether the versions' sources are compiled.
    pub compile: bool,
    /// Where downloads are.
    pub cache: &'p Cache,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The version.
    pub version: String,
    /// The wheel.
    pub wheel: String,
    /// Targets that the file itself names, that two witnesses told, that one did, and of which nothing is known.
    pub labelled: usize,
    /// See there.
    pub verified: usize,
    /// See there.
    pub probable: usize,
    /// Names of targets without a verified place, nor one of a part.
    pub missing: Vec<String>,
    /// Parts of targets that were split, so that there is no place that all callers pass.
    pub parts: Vec<String>,
    /// The database had all of it before.
    pub was_known: bool,
}

/// How many versions before one are asked.
const BEFORE: usize = 3;

/// Pulls. `done` is told each file's outcome, `failed` what went wrong with a version; the rest goes on.
///
/// # Errors
/// The database or the cache cannot be written.
pub fn pull(
    store: &mut Store,
    what: &Pull<'_>,
    mut done: impl FnMut(Outcome),
    mut failed: impl FnMut(&Version, anyhow::Error),
) -> Result<()> {
    let targets: BTreeSet<String> = what.recipe.targets.iter().cloned().collect();
    let mut before = earlier(store, what)?;
    let mut ahead = fetch(what, what.versions.first());
    for (at, version) in what.versions.iter().enumerate() {
        let (wheels, errors) = std::mem::take(&mut ahead);
        errors.into_iter().for_each(|error| failed(version, error));
        let mut same: Vec<Build> = Vec::new();
        let mut compiled = None;
        ahead = std::thread::scope(|scope| {
            let next = scope.spawn(|| fetch(what, what.versions.get(at + 1)));
            for wheel in wheels {
                let mut references = References { before: &before, same: &same, compiled: &mut compiled };
                match one(store, what, version, &wheel, &targets, &mut references) {
                    Ok((outcome, build)) => {
                        done(outcome);
                        same.push(build);
                    }
                    Err(error) => failed(version, error),
                }
            }
            if let Err(error) = structs(store, what, version, &same) {
                failed(version, error);
            }
            next.join().unwrap_or_default()
        });
        if let Some(build) = same.pop() {
            before.push_back(build);
            if before.len() > BEFORE {
                before.pop_front();
            }
        }
    }
    Ok(())
}

/// The wheels of a version, and what went wrong with others.
fn fetch(what: &Pull<'_>, version: Option<&Version>) -> (Vec<PathBuf>, Vec<anyhow::Error>) {
    version.map(|version| pypi::wheels(what.cache, what.recipe, version, what.pythons)).unwrap_or_default()
}

/// Adds the structs of a version, held against the code of its files.
fn structs(store: &mut Store, what: &Pull<'_>, version: &Version, files: &[Build]) -> Result<()> {
    const MACHINE: &str = "x86_64";
    if !what.compile || files.is_empty() || what.recipe.structs.is_empty() {
        return Ok(());
    }
    let is_there = |layout: &Layout| {
        layout.ecosystem == what.recipe.ecosystem
            && layout.package == what.recipe.package
            && layout.version == version.text()
            && layout.configuration == what.recipe.configuration()
    };
    if store.layouts()?.iter().any(is_there) {
        return Ok(());
    }
    let mut layouts = compile::layouts(what.cache, what.recipe, version, MACHINE)?;
    for layout in &mut layouts {
        let seen = what.recipe.structs.iter().find(|one| one.name == layout.name).and_then(|one| one.seen.as_ref());
        layout.evidence.extend(seen.and_then(|seen| held_against(layout, seen, files)));
    }
    store.add_layouts(&layouts)?;
    Ok(())
}

/// Which of the files access the fields where the layout has them, in words.
fn held_against(layout: &Layout, seen: &Seen, files: &[Build]) -> Option<String> {
    let places: Option<Vec<u32>> = seen
        .fields
        .iter()
        .map(|path| {
            let field = layout.fields.iter().find(|field| field.path == *path)?;
            u32::try_from(field.offset_bits / 8).ok()
        })
        .collect();
    let places = places?;
    let functions: Vec<(&Build, u32)> = files
        .iter()
        .filter_map(|file| {
            let label = file.labels.iter().find(|label| label.0 == seen.function)?;
            Some((file, label.1))
        })
        .collect();
    let fits = functions.iter().filter(|(file, function)| {
        let fields = file.model.fields(*function);
        places.iter().all(|place| fields.binary_search(place).is_ok())
    });
    let (fits, all) = (fits.count(), functions.len());
    (all > 0)
        .then(|| format!("{} accesses {} there in {fits} of {all} files", seen.function, seen.fields.join(" and ")))
}

/// The last of the versions before that the database knows, as far as their wheels are in the cache.
fn earlier(store: &Store, what: &Pull<'_>) -> Result<VecDeque<Build>> {
    let mut builds = VecDeque::new();
    for version in what.earlier.iter().rev() {
        for python in what.pythons.iter().rev() {
            let Some(wheel) = pypi::cached(what.cache, &what.recipe.package, version, python)? else { continue };
            let inputs = what.recipe.open(&wheel)?;
            let Some(input) = inputs.first() else { continue };
            let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
            let Some(file) = store.known(&Fingerprint::of(&image))? else { continue };
            let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let title = title(what.recipe, version, &origin(what.recipe, &name, &input.path));
            builds.push_front(Build::new(title, Model::of(&image), &store.facts(&file)?));
            break;
        }
        if builds.len() == BEFORE {
            break;
        }
    }
    Ok(builds)
}

/// A build, for people.
pub(crate) fn title(recipe: &Recipe, version: &Version, origin: &Origin) -> String {
    format!("{} {} {}", recipe.package, version.text(), origin.tag)
}

/// Builds that a file is held against.
struct References<'r> {
    /// Of the versions before.
    before: &'r VecDeque<Build>,
    /// Of the same version, for other Pythons.
    same: &'r [Build],
    /// The version's own source, once it was asked for.
    compiled: &'r mut Option<Option<Build>>,
}

fn one(
    store: &mut Store,
    what: &Pull<'_>,
    version: &Version,
    wheel: &Path,
    targets: &BTreeSet<String>,
    references: &mut References<'_>,
) -> Result<(Outcome, Build)> {
    let inputs = what.recipe.open(wheel)?;
    let input = inputs.first().context("no library")?;
    let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
    let fingerprint = Fingerprint::of(&image);
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let origin = origin(what.recipe, &name, &input.path);
    let model = Model::of(&image);
    let title = title(what.recipe, version, &origin);
    let known = store.known(&fingerprint)?;
    let had = known.map(|file| store.facts(&file)).transpose()?.unwrap_or_default();
    if is_complete(&had, targets) {
        store.add_signatures(&relatives::signatures(what.recipe, version, &model, image.machine(), &had))?;
        store.add(&fingerprint, &[origin], &[])?;
        let outcome = outcome(version, name, &had, targets, true);
        return Ok((outcome, Build::new(title, model, &had)));
    }
    let mut facts = facts::labelled(&image, targets).with_context(|| input.name.clone())?;
    let named: BTreeSet<String> =
        facts.iter().map(|fact| fact.qualified.clone().unwrap_or(fact.name.clone())).collect();
    let open: BTreeSet<String> = targets.difference(&named).cloned().collect();
    if !open.is_empty() {
        if what.compile && !what.recipe.units.is_empty() && references.compiled.is_none() {
            let build = compile::reference(what.cache, what.recipe, version)
                .and_then(|compiled| compiled_build(&compiled, what.recipe));
            if let Err(error) = &build {
                tracing::warn!("{} {}: {error:#}", what.recipe.package, version.text());
            }
            *references.compiled = Some(build.ok());
        }
        let compiled = references.compiled.iter().flatten().map(|build| (Witness::Compiled, build));
        let lineage = references.same.iter().chain(references.before).map(|build| (Witness::Lineage, build));
        let builds: Vec<(Witness, &Build)> = compiled.chain(lineage).collect();
        facts.extend(facts::identified(&model, &builds, &open).0);
        store.remove(&fingerprint, Method::Identified)?;
    }
    store.add_signatures(&relatives::signatures(what.recipe, version, &model, image.machine(), &facts))?;
    store.add(&fingerprint, &[origin], &facts)?;
    Ok((outcome(version, name, &facts, targets, false), Build::new(title, model, &facts)))
}

/// A reference from source as a build.
///
/// # Errors
/// It cannot be read.
pub fn compiled_build(compiled: &compile::Compiled, recipe: &Recipe) -> Result<Build> {
    let bytes = std::fs::read(&compiled.path).with_context(|| compiled.path.display().to_string())?;
    let image = Image::parse(&bytes).with_context(|| compiled.path.display().to_string())?;
    let facts = facts::labelled(&image, &BTreeSet::new())?;
    let name = format!("{} {} by {}", recipe.package, compiled.version.text(), compiled.compiler);
    Ok(Build::new(name, Model::of(&image), &facts))
}

/// A wheel's name is package-version(-build)?-python-abi-platform.whl (PEP 427).
pub(crate) fn origin(recipe: &Recipe, wheel: &str, path: &str) -> Origin {
    let parts: Vec<&str> = wheel.trim_end_matches(".whl").split('-').collect();
    let part = |back: usize| parts.len().checked_sub(back).and_then(|at| parts.get(at)).copied().unwrap_or_default();
    Origin {
        ecosystem: recipe.ecosystem.clone(),
        package: recipe.package.clone(),
        version: parts.get(1).copied().unwrap_or_default().to_owned(),
        tag: format!("{}-{}", part(3), part(2)),
        platform: part(1).to_owned(),
        path: path.to_owned(),
    }
}

/// What is known of a target, the surest of it; of one that was split, its part does not count.
fn place_of<'f>(facts: &'f [Fact], target: &str) -> Option<&'f Fact> {
    let is_it = |fact: &&Fact| fact.name == target || fact.qualified.as_deref() == Some(target);
    facts.iter().filter(is_it).filter(|fact| fact.kind != Kind::Part).max_by_key(|fact| fact.confidence)
}

/// The part of a target that was split, where that is sure.
fn part_of(facts: &[Fact], target: &str) -> Option<String> {
    let is_sure = |fact: &&Fact| fact.kind == Kind::Part && fact.confidence >= Confidence::Verified;
    facts.iter().filter(is_sure).map(Fact::title).find(|title| whole(title) == Some(target))
}

fn is_complete(facts: &[Fact], targets: &BTreeSet<String>) -> bool {
    let is_sure = |target: &String| place_of(facts, target).is_some_and(|fact| fact.confidence >= Confidence::Verified);
    targets.iter().all(|target| is_sure(target) || part_of(facts, target).is_some())
}

fn outcome(version: &Version, wheel: String, facts: &[Fact], targets: &BTreeSet<String>, was_known: bool) -> Outcome {
    let count = |confidence: Confidence| {
        targets
            .iter()
            .filter(|target| place_of(facts, target).is_some_and(|fact| fact.confidence == confidence))
            .count()
    };
    let is_open = |target: &&String| place_of(facts, target).is_none_or(|fact| fact.confidence < Confidence::Verified);
    Outcome {
        version: version.text().to_owned(),
        wheel,
        labelled: count(Confidence::Labelled),
        verified: count(Confidence::Verified),
        probable: count(Confidence::Probable),
        missing: targets.iter().filter(is_open).filter(|target| part_of(facts, target).is_none()).cloned().collect(),
        parts: targets.iter().filter(is_open).filter_map(|target| part_of(facts, target)).collect(),
        was_known,
    }
}
