//! What is known of a file's functions, as the database has it: by the file's own names, or by references.

use crate::input;
use anyhow::{Context, Result, bail};
use identify::{Answer, Evidence, Leaves, Model, Reference, Testimony, Verdict, Witness};
use image::Image;
use offset_db::{Confidence, Fact, Kind, Method, whole};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The facts of a file's own names. With `wanted`, only of those, by their symbols or their names without parameters.
///
/// # Errors
/// The file is not loaded, or its tables are damaged.
pub fn labelled(image: &Image<'_>, wanted: &BTreeSet<String>) -> symbols::Result<Vec<Fact>> {
    labelled_by(image, None, wanted)
}

/// As [`labelled`], with the names of the file's separate debug file.
///
/// # Errors
/// As [`labelled`], and where the debug file is of another build.
pub fn labelled_by(
    image: &Image<'_>,
    debug_file: Option<&Image<'_>>,
    wanted: &BTreeSet<String>,
) -> symbols::Result<Vec<Fact>> {
    let functions = symbols::functions(&symbols::Sources { debug_file, ..symbols::Sources::of(image) })?;
    let mut facts = Vec::new();
    for function in &functions.functions {
        for name in &function.names {
            if !wanted.is_empty() && !wanted.contains(&name.text) && !wanted.contains(&name.qualified) {
                continue;
            }
            facts.extend(fact(image, function, name));
        }
    }
    Ok(facts)
}

/// What a name of a function says; `None`: a source that the database has no word for.
pub(crate) fn fact(image: &Image<'_>, function: &symbols::Function, name: &symbols::Name) -> Option<Fact> {
    Some(Fact {
        name: name.text.clone(),
        qualified: Some(name.qualified.clone()).filter(|qualified| *qualified != name.text),
        address: function.address,
        size: function.size,
        kind: kind(name.kind),
        method: name.sources.iter().next().and_then(method)?,
        confidence: Confidence::Labelled,
        evidence: Vec::new(),
        returns: match name.sources.contains(symbols::Source::Gopclntab) {
            true => returns(image, function),
            false => Vec::new(),
        },
    })
}

/// Where a function of Go returns, for its stacks move, and the kernel's return probes do not follow: bytes from its begin. Empty
/// where not all of it is instructions, or the set is not known.
fn returns(image: &Image<'_>, function: &symbols::Function) -> Vec<u32> {
    let code = image.bytes_at(function.address, function.size);
    let found = code.and_then(|code| identify::exits(image.machine(), code, function.address));
    let Some(found) = found.filter(|found| found.is_whole) else { return Vec::new() };
    let leaves = found.exits.iter().filter(|exit| matches!(exit.leaves, Leaves::Return | Leaves::Jump));
    leaves.map(|exit| exit.offset).collect()
}

pub(crate) fn method(source: symbols::Source) -> Option<Method> {
    Some(match source {
        symbols::Source::Symtab => Method::Symtab,
        symbols::Source::Dynsym => Method::Dynsym,
        symbols::Source::DebugFile => Method::Debugfile,
        symbols::Source::MiniDebugInfo => Method::Minidebuginfo,
        symbols::Source::Gopclntab => Method::Gopclntab,
        symbols::Source::Dwarf => Method::Dwarf,
        _ => return None,
    })
}

fn kind(kind: symbols::Kind) -> Kind {
    match kind {
        symbols::Kind::Ifunc => Kind::Ifunc,
        symbols::Kind::Clone => Kind::Clone,
        symbols::Kind::Part => Kind::Part,
        symbols::Kind::Cold => Kind::Cold,
        _ => Kind::Entry,
    }
}

/// A build whose functions have names, for [`identified`].
#[derive(Debug)]
pub struct Build {
    /// What it is, for people.
    pub name: String,
    /// Its functions.
    pub model: Model,
    /// Names ([`Fact::title`]) and the functions that have them: those that only one function has.
    pub labels: Vec<(String, u32)>,
    /// The symbols of such names.
    pub linkage: BTreeMap<String, String>,
    /// Names of functions that the compiler split.
    pub parted: BTreeSet<String>,
}

impl Build {
    /// A build by its facts. What is less than verified is left out, and what is neither a function nor a part that was split off.
    #[must_use]
    pub fn new(name: String, model: Model, facts: &[Fact]) -> Build {
        let mut labels: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        let mut linkage = BTreeMap::new();
        let is_place = |fact: &&Fact| matches!(fact.kind, Kind::Entry | Kind::Part);
        for fact in facts.iter().filter(|fact| fact.confidence >= Confidence::Verified).filter(is_place) {
            let Some(at) = model.at(fact.address) else { continue };
            labels.entry(fact.title()).or_default().insert(at);
            linkage.insert(fact.title(), fact.name.clone());
        }
        let only = |(name, at): (String, BTreeSet<u32>)| Some((name, *at.first().filter(|_| at.len() == 1)?));
        let labels = labels.into_iter().filter_map(only).collect();
        let parts = facts.iter().filter(|fact| fact.kind == Kind::Part);
        let parted = parts.map(|fact| fact.qualified.clone().unwrap_or_else(|| fact.name.clone())).collect();
        Build { name, model, labels, linkage, parted }
    }
}

/// The builds of a file that has names: one, or those of an archive.
///
/// # Errors
/// It cannot be read, or has no names, or no `.eh_frame`.
pub fn builds(path: &Path) -> Result<Vec<Build>> {
    let mut builds = Vec::new();
    for input in input::open(path, "")? {
        let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
        let facts = labelled(&image, &BTreeSet::new()).with_context(|| input.name.clone())?;
        let build = Build::new(input.name.clone(), Model::of(&image), &facts);
        if build.labels.is_empty() {
            bail!("{}: it has no names, or no .eh_frame", input.name);
        }
        builds.push(build);
    }
    Ok(builds)
}

/// The facts of a stripped file by other builds: each with where its names come from. With `wanted`, only of those names.
#[must_use]
pub fn identified(model: &Model, builds: &[(Witness, &Build)], wanted: &BTreeSet<String>) -> (Vec<Fact>, Vec<Answer>) {
    let is_wanted = |label: &&(String, u32)| wanted.is_empty() || wanted.contains(whole(&label.0).unwrap_or(&label.0));
    let references: Vec<Reference<'_>> = builds
        .iter()
        .map(|(witness, build)| Reference {
            name: build.name.clone(),
            witness: *witness,
            model: &build.model,
            labels: build.labels.iter().filter(is_wanted).cloned().collect(),
            parted: build.parted.clone(),
        })
        .collect();
    let answers = identify::identify(model, &references);
    let facts = answers.iter().flat_map(|answer| facts_of(model, builds, answer)).collect();
    (facts, answers)
}

/// One fact where there is a verdict; else one for each candidate, which are probable only. Of a part that was split off, only what is
/// verified: where the function is whole, another build's part is like it.
fn facts_of(model: &Model, builds: &[(Witness, &Build)], answer: &Answer) -> Vec<Fact> {
    let whole = whole(&answer.name);
    let (functions, confidence): (BTreeSet<u32>, _) = match answer.verdict {
        Verdict::Verified(function) => ([function].into(), Confidence::Verified),
        _ if whole.is_some() => return Vec::new(),
        Verdict::Probable(function) => ([function].into(), Confidence::Probable),
        _ => (answer.testimonies.iter().map(|one| one.function).collect(), Confidence::Probable),
    };
    // the names of this very version first
    let mut by_version: Vec<_> = builds.iter().collect();
    by_version.sort_by_key(|(witness, _)| *witness != Witness::Compiled);
    let linkage = by_version.iter().find_map(|(_, build)| build.linkage.get(&answer.name)).unwrap_or(&answer.name);
    let fact = |function: u32| {
        let place = &model.functions[function as usize];
        let said = answer.testimonies.iter().filter(|one| one.function == function);
        Fact {
            name: linkage.clone(),
            qualified: Some(whole.unwrap_or(&answer.name).to_owned()).filter(|name| name != linkage),
            address: place.address,
            size: place.size,
            kind: match place.kind {
                identify::Kind::Cold => Kind::Cold,
                identify::Kind::Entry if whole.is_some() => Kind::Part,
                identify::Kind::Entry => Kind::Entry,
            },
            method: Method::Identified,
            confidence,
            evidence: best(said).into_iter().map(line).collect(),
            returns: Vec::new(),
        }
    };
    functions.into_iter().map(fact).collect()
}

/// Of each witness, what says most: builds of one kind say the same, mostly.
fn best<'t>(said: impl Iterator<Item = &'t Testimony>) -> Vec<&'t Testimony> {
    let mut of: BTreeMap<Witness, &Testimony> = BTreeMap::new();
    // as lines show it, so that those can be compared
    let worth = |one: &Testimony| (one.is_strong, one.is_fair, (one.similarity * 100.0).round() as u32);
    for one in said {
        let kept = of.entry(one.witness).or_insert(one);
        if worth(one) >= worth(kept) {
            *kept = one;
        }
    }
    of.into_values().collect()
}

/// A testimony, for people.
#[must_use]
pub fn line(one: &Testimony) -> String {
    if one.witness == Witness::Fields {
        return format!("fields: {} {:.2}: it accesses the same, and no other does", one.reference, one.similarity);
    }
    if one.witness == Witness::Text {
        return "text: no other function refers to a text that tells of it".to_owned();
    }
    let words = [
        (Evidence::EXACT, "same code"),
        (Evidence::SHAPE, "same instructions"),
        (Evidence::BEGIN, "begins alike"),
        (Evidence::TEXTS, "texts"),
        (Evidence::CALLS, "its callers"),
        (Evidence::CALLED, "what it calls"),
        (Evidence::ORDER, "its neighbours"),
        (Evidence::TABLE, "its table"),
        (Evidence::UNCALLED, "but its callers do not call it"),
        (Evidence::WRAPPED, "but it may be a part"),
        (Evidence::TWIN, "but it has a twin"),
        (Evidence::PARTED, "but its callers go past its begin, into its part"),
    ];
    let said: Vec<&str> = words.iter().filter(|(what, _)| one.evidence.has(*what)).map(|(_, word)| *word).collect();
    let weak = match (one.is_strong, one.is_fair) {
        (true, _) => "",
        (_, true) => "fair: ",
        _ => "weak: ",
    };
    format!("{}: {weak}{} {:.2}: {}", one.witness.word(), one.reference, one.similarity, said.join(", "))
}
