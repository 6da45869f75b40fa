//! What is known of a function, by all references: a verdict, or the candidates and why they are not trusted.

use crate::fields::Fields;
use crate::matching::{Evidence, Match, Matches, NEARLY_SAME, match_models};
use crate::model::{Kind, Model};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64;

/// Where a reference's names come from. Two of a kind are not independent of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Witness {
    /// Another build of the same package: it follows a function's body.
    Lineage,
    /// The version's own source, compiled here: its names are those of this version.
    Compiled,
    /// Another project's build of the same code.
    Bundled,
    /// It accesses the fields of structs that the compiled one does, and no other function of the file does so: by where fields lie in this
    /// version, and neither by its code nor by its callers.
    Fields,
    /// The only text that tells of a function of this name is this one's: a trace, mostly.
    Text,
}

impl Witness {
    /// A word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Witness::Lineage => "lineage",
            Witness::Compiled => "compiled",
            Witness::Bundled => "bundled",
            Witness::Fields => "fields",
            Witness::Text => "text",
        }
    }
}

/// A file whose functions have names.
#[derive(Clone, Debug)]
pub struct Reference<'m> {
    /// What it is, for people: `grpcio 1.40.0 cp38`.
    pub name: String,
    /// Where its names come from.
    pub witness: Witness,
    /// Its functions.
    pub model: &'m Model,
    /// Names and the functions that have them, by index.
    pub labels: Vec<(String, u32)>,
    /// Those of the names whose functions the compiler split: callers go past their begin, into the part.
    pub parted: BTreeSet<String>,
}

/// What one reference says.
#[derive(Clone, Debug, PartialEq)]
pub struct Testimony {
    /// Where its names come from.
    pub witness: Witness,
    /// What it is.
    pub reference: String,
    /// The function that it says it is.
    pub function: u32,
    /// How alike the two are, 0 to 1.
    pub similarity: f32,
    /// What speaks for it.
    pub evidence: Evidence,
    /// It would do alone.
    pub is_strong: bool,
    /// It would do beside a strong one of another kind.
    pub is_fair: bool,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Two independent witnesses say it is this function, one of them strong enough alone, and none that is says otherwise: but
    /// for the lineage, against two of this very version.
    Verified(u32),
    /// One strong witness says so, and none says otherwise.
    Probable(u32),
    /// Witnesses differ, or none is strong; the testimonies tell.
    Unknown,
}

/// A name's verdict and what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The name.
    pub name: String,
    /// What is known.
    pub verdict: Verdict,
    /// All that was said, in order of function and witness.
    pub testimonies: Vec<Testimony>,
}

/// Looks for every name that a reference has, in order of name.
#[must_use]
pub fn identify(model: &Model, references: &[Reference<'_>]) -> Vec<Answer> {
    let matched: Vec<Matches> = references.par_iter().map(|reference| match_models(reference.model, model)).collect();
    let names: FxHashSet<u64> =
        references.iter().flat_map(|one| &one.labels).map(|(name, _)| xxh3_64(name.as_bytes())).collect();
    let own = model.words();
    let fields = Fields::of(model);
    let mut said: BTreeMap<&str, Vec<Testimony>> = BTreeMap::new();
    for (reference, matches) in references.iter().zip(&matched) {
        let theirs = reference.model.words();
        let words = |of: &FxHashMap<u32, Vec<u64>>, function: u32| of.get(&function).cloned().unwrap_or_default();
        for (name, from) in &reference.labels {
            let entry = said.entry(name).or_default();
            if reference.witness == Witness::Compiled && !reference.parted.contains(name) {
                entry.extend(by_fields(reference, *from, &fields));
            }
            let Ok(at) = matches.0.binary_search_by_key(from, |one| one.from) else { continue };
            let mut found = matches.0[at];
            // a text that tells of it sets it apart from a twin
            if only_named(model, name) == Some(found.to) {
                found.evidence = found.evidence.without(Evidence::TWIN);
            }
            let mut one = testimony(reference, model, &found);
            // a text that tells of another function came into it: it became part of that one, or that of it
            let had = words(&theirs, *from);
            let other = |word: &u64| *word != xxh3_64(name.as_bytes()) && names.contains(word) && !had.contains(word);
            if words(&own, one.function).iter().any(other) {
                (one.is_strong, one.is_fair) = (false, false);
            }
            if reference.parted.contains(name) {
                one.evidence = one.evidence.and(Evidence::PARTED);
                (one.is_strong, one.is_fair) = (false, false);
            }
            entry.push(one);
        }
    }
    let answers = said.into_iter().map(|(name, mut testimonies)| {
        if let Some(function) = only_named(model, name) {
            testimonies.push(Testimony {
                witness: Witness::Text,
                reference: "a text in the file".to_owned(),
                function,
                similarity: 0.0,
                evidence: Evidence::TEXTS,
                is_strong: testimonies.iter().any(|one| one.function == function),
                is_fair: false,
            });
        }
        testimonies.sort_by(|x, y| (x.function, x.witness, &x.reference).cmp(&(y.function, y.witness, &y.reference)));
        Answer { name: name.to_owned(), verdict: judge(model, &testimonies), testimonies }
    });
    answers.collect()
}

/// The only function that refers to a text which tells of this name.
fn only_named(model: &Model, name: &str) -> Option<u32> {
    let mut named = model.named(name);
    named.next().filter(|_| named.next().is_none())
}

/// What the fields say that a function of a reference accesses. Measured by `offsetdb verify`.
fn by_fields(reference: &Reference<'_>, from: u32, fields: &Fields<'_>) -> Option<Testimony> {
    const SHARED: f32 = 0.6;
    const AHEAD: f32 = 0.1;
    let alike = fields.most_alike(reference.model.fields(from))?;
    (alike.shared >= SHARED && alike.shared - alike.next >= AHEAD).then(|| Testimony {
        witness: Witness::Fields,
        reference: reference.name.clone(),
        function: alike.function,
        similarity: alike.shared,
        evidence: Evidence::FIELDS,
        is_strong: false,
        is_fair: true,
    })
}

fn testimony(reference: &Reference<'_>, model: &Model, found: &Match) -> Testimony {
    let is_entry = model.functions[found.to as usize].kind == Kind::Entry;
    Testimony {
        witness: reference.witness,
        reference: reference.name.clone(),
        function: found.to,
        similarity: found.similarity,
        evidence: found.evidence,
        is_strong: is_entry && is_strong(reference.witness, found),
        is_fair: is_entry && is_fair(found),
    }
}

/// How many kinds of surroundings fit.
fn contexts(found: &Match) -> usize {
    let evidence = found.evidence;
    let around = [Evidence::TEXTS, Evidence::CALLED, Evidence::ORDER];
    let fit = around.iter().filter(|one| evidence.has(**one)).count();
    fit + usize::from(evidence.has(Evidence::CALLS) || evidence.has(Evidence::TABLE))
        // the same code in no other place of either file
        + usize::from(found.found.has(Evidence::EXACT) || found.found.has(Evidence::SHAPE))
}

/// Whether a match would do alone. Measured by `offsetdb verify`.
fn is_strong(witness: Witness, found: &Match) -> bool {
    let evidence = found.evidence;
    let is_same = evidence.has(Evidence::EXACT) || evidence.has(Evidence::SHAPE);
    let alike = match witness {
        // the same compiler, mostly
        Witness::Lineage => 0.75,
        _ => 0.7,
    };
    // a part that was split off has the body, and neither the begin nor the callers
    let is_whole = is_same || evidence.has(Evidence::BEGIN);
    (is_same || found.similarity >= alike) && is_whole && contexts(found) >= 2 && !is_doubtful(evidence)
}

/// Whether a match would do beside a strong one.
fn is_fair(found: &Match) -> bool {
    const ALIKE: f32 = 0.4;
    const WITHOUT_BEGIN: f32 = 0.6;
    let is_unique = found.found.has(Evidence::EXACT) || found.found.has(Evidence::SHAPE);
    let is_whole = is_unique || found.evidence.has(Evidence::BEGIN);
    let alike = if is_whole { ALIKE } else { WITHOUT_BEGIN };
    found.similarity >= alike && (is_unique || contexts(found) >= 2) && !is_doubtful(found.evidence)
}

/// Whether something speaks against a match.
fn is_doubtful(evidence: Evidence) -> bool {
    let is_doubled = evidence.has(Evidence::WRAPPED) || evidence.has(Evidence::TWIN);
    evidence.has(Evidence::UNCALLED) || is_doubled && !evidence.has(Evidence::EXACT)
}

fn judge(model: &Model, testimonies: &[Testimony]) -> Verdict {
    let mut strong: BTreeMap<u32, BTreeSet<Witness>> = BTreeMap::new();
    for one in testimonies.iter().filter(|one| one.is_strong) {
        strong.entry(one.function).or_default().insert(one.witness);
    }
    // a body that moved takes its lineage along
    let own = |witnesses: &BTreeSet<Witness>| witnesses.iter().filter(|witness| **witness != Witness::Lineage).count();
    if strong.values().any(|witnesses| own(witnesses) >= 2) {
        strong.retain(|_, witnesses| own(witnesses) > 0);
    }
    let mut functions = strong.into_iter();
    let (Some((function, mut witnesses)), None) = (functions.next(), functions.next()) else { return Verdict::Unknown };
    let is_parted = |one: &Testimony| one.function == function && one.evidence.has(Evidence::PARTED);
    if model.functions[function as usize].kind == Kind::Cold || testimonies.iter().any(is_parted) {
        return Verdict::Unknown;
    }
    let fair = testimonies.iter().filter(|one| one.is_fair && one.function == function);
    witnesses.extend(fair.map(|one| one.witness));
    // what another compiler inlined before a function, or left out, makes a function of another name much like it
    let is_sure = |one: &Testimony| {
        let same = [Evidence::EXACT, Evidence::SHAPE, Evidence::FIRST].iter().any(|what| one.evidence.has(*what));
        one.is_strong && (one.witness != Witness::Compiled || same || one.similarity >= NEARLY_SAME)
    };
    if !testimonies.iter().any(|one| one.function == function && is_sure(one)) {
        return Verdict::Probable(function);
    }
    // what is weak may differ, but for the names of this very version
    let differs = |one: &Testimony| one.function != function && one.witness != Witness::Lineage;
    match witnesses.len() {
        2.. if !testimonies.iter().any(differs) => Verdict::Verified(function),
        _ => Verdict::Probable(function),
    }
}
