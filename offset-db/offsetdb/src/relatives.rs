//! The versions of a package that a file is like, by its functions' code; and those versions' builds, to identify it by.

use crate::facts::Build;
use crate::package::cache::Cache;
use crate::package::recipe::{Recipe, Version};
use crate::package::{compile, pypi};
use crate::pull::{compiled_build, origin, title};
use anyhow::{Context, Result, bail};
use identify::{Model, SIGNATURES, Witness};
use image::{Image, Machine};
use offset_db::{Confidence, Fact, Fingerprint, Kind, Signature, Store};
use std::collections::{BTreeMap, BTreeSet};

/// The code of those of a file's functions that the recipe looks for.
#[must_use]
pub fn signatures(
    recipe: &Recipe,
    version: &Version,
    model: &Model,
    machine: Machine,
    facts: &[Fact],
) -> Vec<Signature> {
    let mut signatures = Vec::new();
    for fact in facts.iter().filter(|fact| fact.confidence >= Confidence::Verified && fact.kind == Kind::Entry) {
        let name = fact.qualified.as_ref().unwrap_or(&fact.name);
        if !recipe.targets.contains(name) {
            continue;
        }
        let code = model.at(fact.address).and_then(|function| model.signature(function));
        signatures.extend(code.map(|code| Signature {
            ecosystem: recipe.ecosystem.clone(),
            package: recipe.package.clone(),
            version: version.text().to_owned(),
            machine: machine.name(),
            name: name.clone(),
            scheme: SIGNATURES,
            code,
        }));
    }
    signatures
}

/// A version of a package, and how many functions of a file have the code that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alike {
    /// The version.
    pub version: String,
    /// Functions, each counted once.
    pub functions: usize,
}

/// The versions whose functions a file has: the most alike first; of those that are as alike, the newest.
#[must_use]
pub fn alike(model: &Model, signatures: &[Signature]) -> Vec<Alike> {
    let own: BTreeSet<u64> = model.of_signatures().map(|(code, _)| code).collect();
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for signature in signatures.iter().filter(|signature| own.contains(&signature.code)) {
        names.entry(&signature.version).or_default().insert(&signature.name);
    }
    let mut found: Vec<Alike> = names
        .into_iter()
        .map(|(version, names)| Alike { version: version.to_owned(), functions: names.len() })
        .collect();
    found.sort_by_key(|one| std::cmp::Reverse((one.functions, Version::parse(&one.version))));
    found
}

/// Those of a package's versions that a text of the file is: nothing else is in it but spaces.
#[must_use]
pub fn told(image: &Image<'_>, versions: &BTreeSet<String>) -> BTreeSet<String> {
    let longest = versions.iter().map(String::len).max().unwrap_or_default() + 2;
    let texts = image
        .sections()
        .iter()
        .filter(|section| section.is_constant())
        .flat_map(|section| section.data.split(|byte| *byte == 0));
    let short = texts.filter(|text| text.len() <= longest).filter_map(|text| std::str::from_utf8(text).ok());
    short.map(str::trim).filter(|text| versions.contains(*text)).map(str::to_owned).collect()
}

/// How many files of the version are asked.
const FILES: usize = 3;

/// The builds of a version: its own source, if it is to be compiled, and files of the database whose functions are known, from the
/// cache or downloaded; but `except` that file.
///
/// # Errors
/// A file cannot be read or downloaded, or there is none.
pub fn builds(
    store: &Store,
    recipe: &Recipe,
    version: &Version,
    except: &Fingerprint,
    cache: &Cache,
    compiled: bool,
) -> Result<Vec<(Witness, Build)>> {
    let mut builds = Vec::new();
    if compiled && !recipe.units.is_empty() {
        match compile::reference(cache, recipe, version).and_then(|compiled| compiled_build(&compiled, recipe)) {
            Ok(build) => builds.push((Witness::Compiled, build)),
            Err(error) => tracing::warn!("{} {}: {error:#}", recipe.package, version.text()),
        }
    }
    let mut pythons: BTreeSet<String> = BTreeSet::new();
    for file in store.files_of(&recipe.ecosystem, &recipe.package, version.text())? {
        let origins = store.origins(&file)?;
        let tags = origins.iter().filter(|one| one.version == version.text()).map(|one| &one.tag);
        pythons.extend(tags.filter_map(|tag| Some(tag.split('-').next()?.strip_prefix("cp")?.to_owned())));
    }
    // the newest have most in common
    let mut pythons: Vec<String> = pythons.into_iter().collect();
    pythons.sort_by_key(|python| std::cmp::Reverse(python.parse::<u32>().map_or(0, pypi::minor)));
    for python in pythons {
        if builds.iter().filter(|(witness, _)| *witness == Witness::Lineage).count() == FILES {
            break;
        }
        let Some(wheel) = pypi::wheel(cache, &recipe.package, version, &python)? else { continue };
        let inputs = recipe.open(&wheel)?;
        let input = inputs.first().with_context(|| format!("{}: no library", wheel.display()))?;
        let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
        let fingerprint = Fingerprint::of(&image);
        let Some(known) = store.known(&fingerprint)?.filter(|_| fingerprint.key() != except.key()) else { continue };
        let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let title = title(recipe, version, &origin(recipe, &name, &input.path));
        builds.push((Witness::Lineage, Build::new(title, Model::of(&image), &store.facts(&known)?)));
    }
    if builds.is_empty() {
        bail!("{} {}: the database knows no file of it that can be read", recipe.package, version.text());
    }
    Ok(builds)
}
