//! Functions that both have, with another prototype.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use btf::{Btf, Type};

use crate::describe::describe_all;
use crate::evidence::{Entry, Evidence};
use crate::older::Habit;
use crate::types::without_numbers;

/// Prototypes of one name: the kernel's own encoder may have written several.
#[derive(Default)]
pub(crate) struct Prototypes {
    texts: BTreeSet<String>,
    /// Names of the parameters.
    names: BTreeSet<Vec<String>>,
}

/// All of a BTF, by name, without what tells types of one name apart.
pub(crate) fn prototypes(data: &[u8]) -> BTreeMap<String, Prototypes> {
    let btf = Btf::parse(data).unwrap();
    let mut all: BTreeMap<String, Prototypes> = BTreeMap::new();
    for block in describe_all(&btf) {
        if let Some((name, text)) = block.strip_prefix("func ").and_then(|rest| rest.split_once(": ")) {
            let text = Habit::Declared.apply(&Habit::FlatArrays.apply(&without_numbers(text)));
            all.entry(name.to_owned()).or_default().texts.insert(text);
        }
    }
    for id in btf.ids() {
        let Type::Func { name, proto, .. } = btf.ty(id).unwrap() else { continue };
        let Type::FuncProto(proto) = btf.ty(proto).unwrap() else { panic!("{name} without a prototype") };
        let names = proto.params().map(|parameter| parameter.unwrap().name.to_owned()).collect();
        all.get_mut(name).unwrap().names.insert(names);
    }
    all
}

/// Names of the functions that both have and of which no prototype is the same.
pub(crate) fn differing(ours: &BTreeMap<String, Prototypes>, theirs: &BTreeMap<String, Prototypes>) -> HashSet<String> {
    let differs = |(name, ours): &(&String, &Prototypes)| {
        theirs.get(*name).is_some_and(|theirs| ours.texts.is_disjoint(&theirs.texts))
    };
    ours.iter().filter(differs).map(|(name, _)| name.clone()).collect()
}

/// Why a prototype is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Ours is that of the entry whose code is at the symbol, theirs is that of another entry.
    TheirsOfAnotherEntry,
    /// `resolve_btfids` took the last parameters off, and wrote a function `…_impl` that has them.
    ImplicitArgument,
    /// pahole's `attributes` marks pointers into arenas.
    ArenaPointer,
}

impl Reason {
    /// Its number in `docs/btf-differences.md`.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::TheirsOfAnotherEntry => "11",
            Self::ImplicitArgument => "8",
            Self::ArenaPointer => "12",
        }
    }
}

/// Why these two differ, as far as the evidence tells; `has_impl` says that theirs has a function `…_impl` beside it.
pub(crate) fn why_otherwise(
    evidence: &Evidence,
    ours: &Prototypes,
    theirs: &Prototypes,
    has_impl: bool,
) -> Option<Reason> {
    let shorter = |names: &Vec<String>| {
        theirs.names.iter().any(|theirs| theirs.len() < names.len() && names.starts_with(theirs.as_slice()))
    };
    if has_impl && ours.names.iter().any(shorter) {
        return Some(Reason::ImplicitArgument);
    }
    let unmarked = |text: &String| text.replace("tag(address_space(1)) ", "");
    if theirs.texts.iter().map(unmarked).any(|text| ours.texts.contains(&text)) {
        return Some(Reason::ArenaPointer);
    }
    let (at, elsewhere): (Vec<_>, Vec<_>) = evidence.entries.iter().partition(|entry| evidence.is_at_symbol(entry));
    // by the names of parameters, and where these are the same, by types that differ
    let is_of = |prototypes: &Prototypes| {
        let named = |entry: &&&Entry| prototypes.names.contains(&entry.names());
        (at.iter().find(named), elsewhere.iter().find(named))
    };
    match (is_of(ours), is_of(theirs)) {
        ((Some(_), _), (None, Some(_))) => Some(Reason::TheirsOfAnotherEntry),
        ((Some(at), _), (Some(_), Some(elsewhere))) if at.written() != elsewhere.written() => {
            Some(Reason::TheirsOfAnotherEntry)
        }
        _ => None,
    }
}
