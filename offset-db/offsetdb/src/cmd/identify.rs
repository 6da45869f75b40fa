//! `offsetdb identify`: a stripped file's functions by those of labelled builds.

use crate::args::Identify;
use crate::facts::{self, Build};
use crate::input;
use crate::package::cache::Cache;
use crate::package::recipe::{Recipe, Version};
use crate::relatives;
use ::identify::{Model, SIGNATURES, Witness};
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
    if what.reference.is_empty() && what.compiled.is_empty() && what.package.is_none() {
        bail!("by which builds? name them with --reference, --compiled or --package");
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
    let (mut like, mut wanted): (_, BTreeSet<String>) = (String::new(), what.functions.iter().cloned().collect());
    if let Some(package) = &what.package {
        let recipe = Recipe::of(package, None)?;
        let (more, said) = of_package(database, &recipe, what, &model, &image).with_context(|| input.name.clone())?;
        builds.extend(more);
        like = said;
        if wanted.is_empty() {
            wanted.extend(recipe.targets);
        }
    }
    let builds: Vec<(Witness, &Build)> = builds.iter().map(|(witness, build)| (*witness, build)).collect();
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
        write!(out, "{like}{}", text(&image, &facts))?;
    }
    let is_one = facts.iter().any(|fact| fact.confidence >= Confidence::Verified);
    Ok(if is_one { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The builds of a package's version that a file is most like, and which that is, in words.
fn of_package(
    database: Option<&Path>,
    recipe: &Recipe,
    what: &Identify,
    model: &Model,
    image: &Image<'_>,
) -> Result<(Vec<(Witness, Build)>, String)> {
    let package = &*recipe.package;
    if recipe.ecosystem != "pypi" {
        bail!("{package} is a package of {}; those of PyPI can be asked for", recipe.ecosystem);
    }
    let store = Store::open(&super::found(database)?)?;
    let signatures = store.signatures_of(&recipe.ecosystem, package, &image.machine().name(), SIGNATURES)?;
    let alike = relatives::alike(model, &signatures);
    let texts = relatives::told(image, &store.versions(&recipe.ecosystem, package)?);
    let mut texts = texts.iter();
    let (version, why) = match (&what.package_version, texts.next(), texts.next(), alike.first()) {
        (Some(version), ..) => (version, "as asked".to_owned()),
        (None, Some(version), None, _) => (version, "a text in the file is this version".to_owned()),
        (None, _, _, Some(best)) => {
            let others = alike.iter().filter(|one| one.functions == best.functions).count() - 1;
            let others = if others > 0 { format!(", as {others} other versions have") } else { String::new() };
            (&best.version, format!("{} of its functions are in the file{others}", best.functions))
        }
        _ => bail!("neither a text in it nor a function tells which version of {package} it is: --package-version"),
    };
    let like = format!("{package} {version}: {why}\n");
    let cache = Cache::at(what.cache.as_deref())?;
    let own = Fingerprint::of(image);
    let builds = relatives::builds(&store, recipe, &Version::parse(version), &own, &cache, !what.no_compile)?;
    Ok((builds, like))
}

fn text(image: &Image<'_>, facts: &[Fact]) -> String {
    let mut count: BTreeMap<Confidence, usize> = BTreeMap::new();
    let rows = facts.iter().map(|fact| {
        *count.entry(fact.confidence).or_default() += 1;
        let offset = image.file_offset(fact.address).map(|offset| format!("{:#x}", offset.0)).unwrap_or_default();
        vec![fact.confidence.word().to_owned(), offset, fact.title(), fact.evidence.join("; ")]
    });
    let text = super::table(&rows.collect::<Vec<_>>());
    let of = |confidence| count.get(&confidence).copied().unwrap_or_default();
    format!("{text}{} verified, {} probable\n", of(Confidence::Verified), of(Confidence::Probable))
}
