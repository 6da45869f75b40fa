//! Cutting a kernel's BTF down to what the relocations of some objects need.
//!
//! ```text
//! objects ─ questions ─▶ candidates and answers ─▶ Keep (types, members, enumerators) ─▶ emit ─▶ check ─▶ bytes
//! ```
//!
//! libbpf resolves every relocation of the objects against the result as against the whole, whichever of their programs
//! are loaded: the same values, the same poisoned instructions, the same refusals. Only the value of "id of a type in the
//! target" differs, as types are renumbered. That this holds is checked for each result before it is returned.
//!
//! # What is kept
//! - Of a composite the members on the way to an accessed field; of an enumeration the enumerators asked for. A field's own
//!   type is kept bare: a struct without members, a pointer as `void *`.
//! - For a type relocation what its comparison looks at: a struct by its name, a pointer with what it leads to, for
//!   "matches" the members compared.
//! - Where several candidates match the same relocations with the same results, the first. Where they match different ones
//!   or disagree, all that match, as libbpf compares them and leaves out those that did not match before.
//! - A candidate that does not match is left out, unless its absence would let another one match.
//! - What is looked up by name, where that is asked for ([`ByName`]).

mod by_name;
mod emit;
mod keep;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::core_relo::{
    self, Answer, CoreReloKind, Module, Observer, Origin, Question, Questions, Refusal, Resolution, Target, observe,
};
use crate::coverage::Coverage;
use crate::error::{Error, Result};
use crate::object_file::ObjectFile;
use crate::parse::Btf;
use crate::raw::{ByteSize, TypeId};
pub use by_name::{ByName, Enumerator};
use keep::{Keep, Marker};

/// The minimal BTF of a kernel for some objects.
#[derive(Debug)]
pub struct Minimized {
    /// Raw BTF in the target's byte order, for `btf_custom_path`.
    pub btf: Vec<u8>,
    /// Split BTF over it, one for each of the target's modules, in their order. May have no types. Empty where the modules'
    /// types are in [`Minimized::btf`].
    pub modules: Vec<Vec<u8>>,
    /// What came of each relocation, by object, as from [`core_relo::resolve_all`]; [`core_relo::report`] puts it in words.
    pub resolutions: Vec<Vec<Resolution>>,
}

/// Cuts the target's BTF down to what the relocations of `objects` need: the kernel's and each module's by itself.
///
/// libbpf does not look at modules where it is given a `btf_custom_path`; for that see [`minimize_merged`].
///
/// # Errors
/// Malformed types, a kept name that is not UTF-8, or [`Error::NotMinimizable`] where the result would not resolve like
/// the whole. A relocation that cannot be resolved is no error: see [`Minimized::resolutions`].
pub fn minimize(target: &Target<'_>, objects: &[ObjectFile<'_>]) -> Result<Minimized> {
    minimize_as(target, objects, &ByName::default(), emit::emit)
}

/// As [`minimize`], with all that is needed of the modules in the one BTF, as `btf_custom_path` takes it, and with what is looked up
/// by name.
///
/// # Errors
/// As for [`minimize`].
pub fn minimize_merged(target: &Target<'_>, objects: &[ObjectFile<'_>], by_name: &ByName) -> Result<Minimized> {
    minimize_as(target, objects, by_name, emit::emit_merged)
}

fn minimize_as(
    target: &Target<'_>,
    objects: &[ObjectFile<'_>],
    by_name: &ByName,
    emit: fn(&Target<'_>, &Keep, &str) -> Result<emit::Emitted>,
) -> Result<Minimized> {
    let candidates = core_relo::search_candidates(target, objects);
    let questions: Vec<Questions<'_, '_>> =
        objects.iter().map(|object| Questions::ask(object, target, &candidates)).collect();
    // of types that are cut already nothing is absent but what was looked for
    let by_name = match Coverage::read(target.vmlinux) {
        Some(coverage) => &by_name.covered(&coverage),
        None => by_name,
    };
    let stamp = Coverage::of(objects).with(by_name).to_string();
    let resolutions: Vec<Vec<Resolution>> = questions.iter().map(Questions::resolve_all).collect();
    let mut whole = Vec::new();
    loop {
        let mut keep = choose(target, objects, &questions, &whole)?;
        by_name.keep(target, &mut keep)?;
        let emitted = emit(target, &keep, &stamp)?;
        let differing = check(&emitted, target, objects, &resolutions)?;
        if differing.is_empty() {
            return Ok(Minimized { btf: emitted.vmlinux, modules: emitted.modules, resolutions });
        }
        if let Some(&(object, root)) = differing.iter().find(|group| whole.contains(*group)) {
            let root = objects[object].btf().name_of(root)?.to_owned();
            return Err(Error::NotMinimizable { object: objects[object].name().to_owned(), root });
        }
        whole.extend(differing);
    }
}

/// The questions of one object about one local type: they share the list of candidates that libbpf prunes.
type Group = (usize, TypeId);

fn choose(
    target: &Target<'_>,
    objects: &[ObjectFile<'_>],
    questions: &[Questions<'_, '_>],
    whole: &[Group],
) -> Result<Keep> {
    let mut keep = Keep::new(target);
    for (number, (object, questions)) in objects.iter().zip(questions).enumerate() {
        let mut groups: FxHashMap<TypeId, Vec<&Question<'_>>> = FxHashMap::default();
        for question in &questions.asked {
            groups.entry(question.asked.root).or_default().push(question);
        }
        for (root, group) in groups {
            choose_group(target, object, &group, whole.contains(&(number, root)), &mut keep)?;
        }
    }
    keep_long(target, &mut keep);
    Ok(keep)
}

fn choose_group(
    target: &Target<'_>,
    object: &ObjectFile<'_>,
    group: &[&Question<'_>],
    whole: bool,
    keep: &mut Keep,
) -> Result<()> {
    let refused =
        |question: &&Question<'_>| question.answers.iter().any(|(_, answer)| matches!(answer, Answer::Refused(_)));
    if whole || group.iter().any(refused) {
        // A question about the local type alone has none.
        let candidates = group.iter().map(|question| &question.answers).max_by_key(|answers| answers.len());
        for (candidate, _) in candidates.into_iter().flatten() {
            Marker::new(keep, target, candidate.origin).whole(candidate.id)?;
        }
        return Ok(());
    }
    let all_needed = !first_stands_for_all(group);
    for question in group {
        let Ok(local) = &question.asked.local else { continue };
        let matching = question.answers.iter().filter(|(_, answer)| answer.is_match());
        for (candidate, _) in matching.take(if all_needed { usize::MAX } else { 1 }) {
            let mut marker = Marker::new(keep, target, candidate.origin);
            observe((object.btf(), &local.spec), (target.btf(candidate.origin), candidate.id), &mut marker)
                .or_else(malformed)?;
        }
    }
    Ok(())
}

/// Refusals were seen when the questions were asked; only malformed types are left.
fn malformed(refusal: Refusal) -> Result<()> {
    match refusal {
        Refusal::Malformed(error) => Err(error),
        _ => Ok(()),
    }
}

/// Do all questions of a group that match anything match the same candidates, each with one result? Then whatever libbpf
/// prunes, the first of these candidates stays and tells all.
fn first_stands_for_all(group: &[&Question<'_>]) -> bool {
    let matching = |question: &Question<'_>| -> Vec<usize> {
        (0..).zip(&question.answers).filter(|(_, (_, answer))| answer.is_match()).map(|(number, _)| number).collect()
    };
    let mut all = group.iter().map(|question| (question, matching(question))).filter(|(_, set)| !set.is_empty());
    let Some((first, set)) = all.next() else { return true };
    first.is_unambiguous() && all.all(|(question, other)| other == set && question.is_unambiguous())
}

/// Pointers have the size of `long`, and 8 bytes where there is none: a 32-bit kernel's must stay.
fn keep_long(target: &Target<'_>, keep: &mut Keep) {
    let btf = target.vmlinux;
    if btf.pointer_size() == ByteSize(8) || keep.vmlinux.keys().any(|&id| btf.long_size(id).is_some()) {
        return;
    }
    if let Some(long) = btf.ids().find(|&id| btf.long_size(id).is_some()) {
        Marker::new(keep, target, Origin::Vmlinux).ty(long);
    }
}

/// Resolves the objects against what was written; returns the groups with a relocation that comes out differently.
fn check(
    emitted: &emit::Emitted,
    target: &Target<'_>,
    objects: &[ObjectFile<'_>],
    expected: &[Vec<Resolution>],
) -> Result<Vec<Group>> {
    let vmlinux = Arc::new(Btf::parse(&emitted.vmlinux)?);
    let modules: Vec<Btf<'_>> =
        emitted.modules.iter().map(|module| Btf::parse_split(module, Arc::clone(&vmlinux))).collect::<Result<_>>()?;
    let modules: Vec<Module<'_>> =
        target.modules.iter().zip(&modules).map(|(module, btf)| Module { name: module.name, btf }).collect();
    let minimal = Target { vmlinux: &vmlinux, modules: &modules };
    let candidates = core_relo::search_candidates(&minimal, objects);
    let mut differing = Vec::new();
    for (number, (object, expected)) in objects.iter().zip(expected).enumerate() {
        let found = Questions::ask(object, &minimal, &candidates).resolve_all();
        for ((relo, found), expected) in object.relocations().iter().zip(&found).zip(expected) {
            if !same(relo.kind, found, expected) && !differing.contains(&(number, relo.root)) {
                differing.push((number, relo.root));
            }
        }
    }
    Ok(differing)
}

/// Do both resolutions do the same to the instruction? The id of a type may differ.
fn same(kind: CoreReloKind, a: &Resolution, b: &Resolution) -> bool {
    if a.candidate.is_some() != b.candidate.is_some() {
        return false;
    }
    match (&a.outcome, &b.outcome) {
        (Ok(_), Ok(_)) if kind == CoreReloKind::TypeIdTarget => true,
        (Ok(a), Ok(b)) => a == b,
        // A message may name the ids of types.
        (Err(a), Err(b)) => std::mem::discriminant(a) == std::mem::discriminant(b),
        _ => false,
    }
}
