//! Resolving an object's relocations against a target, in libbpf's order.
//!
//! A candidate that did not match one relocation of a local type is out for the later ones of that type
//! (`bpf_core_calc_relo_insn` prunes its cached list), which may make unambiguous what alone would not be. So the order
//! counts, and so does which programs are loaded. What a relocation finds in each candidate does not depend on either:
//! that is evaluated once per question, and concluded from for each relocation in turn.

use rustc_hash::FxHashMap;

use super::asked::{Local, LocalQuestion};
use super::candidates::{Candidate, Candidates, Target};
use super::compat::Observer;
use super::kind::CoreReloKind;
use super::refusal::Refusal;
use super::spec::AccessSpec;
use super::target_spec::{Mismatch, Search};
use super::value::{self, Outcome};
use crate::object_file::{CoreRelo, ObjectFile};
use crate::parse::Btf;
use crate::raw::TypeId;

/// What came of one relocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// The result, or why libbpf refuses the object.
    pub outcome: Result<Outcome, Refusal>,
    /// The first candidate that matched.
    pub candidate: Option<Candidate>,
    /// Where none matched: why the one that came closest did not.
    pub mismatch: Option<Mismatch>,
}

/// The candidates of every local type that the objects' relocations start from.
pub fn search_candidates<'o, 'a: 'o>(
    target: &Target<'_>,
    objects: impl IntoIterator<Item = &'o ObjectFile<'a>>,
) -> Candidates {
    let roots = objects.into_iter().flat_map(|object| {
        let searched = object.asked().questions.iter().filter(|asked| asked.kind != CoreReloKind::TypeIdLocal);
        searched.filter_map(|asked| {
            let local = asked.local.as_ref().ok()?;
            Some((object.btf().str_bytes(local.name).ok()?, local.root_kind))
        })
    });
    Candidates::search(target, roots)
}

/// Resolves the relocations of one object for which `is_loaded` holds, in order; `None` for the others.
pub fn resolve_object(
    object: &ObjectFile<'_>,
    target: &Target<'_>,
    candidates: &Candidates,
    is_loaded: impl Fn(&CoreRelo) -> bool,
) -> Vec<Option<Resolution>> {
    Questions::ask(object, target, candidates).resolve(is_loaded)
}

/// Resolves all relocations of one object: those of programs that are loaded by default as libbpf does when it loads these,
/// the others as if all programs were loaded.
pub fn resolve_all(object: &ObjectFile<'_>, target: &Target<'_>, candidates: &Candidates) -> Vec<Resolution> {
    Questions::ask(object, target, candidates).resolve_all()
}

/// The distinct questions of an object's relocations, and what each finds in each candidate.
#[derive(Debug)]
pub(crate) struct Questions<'o, 'a> {
    object: &'o ObjectFile<'a>,
    pub(crate) asked: Vec<Question<'o>>,
}

/// A question put to a target.
#[derive(Debug)]
pub(crate) struct Question<'o> {
    pub(crate) asked: &'o LocalQuestion,
    /// All candidates, in libbpf's order, and what was found in each.
    pub(crate) answers: Vec<(Candidate, Answer)>,
}

/// What a question finds in a candidate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Match { outcome: Outcome, bit_offset: u32 },
    Mismatch(Mismatch),
    Refused(Refusal),
}

impl<'o, 'a> Questions<'o, 'a> {
    pub(crate) fn ask(object: &'o ObjectFile<'a>, target: &Target<'_>, candidates: &Candidates) -> Questions<'o, 'a> {
        let questions = object.asked().questions.iter();
        let asked = questions.map(|asked| Question::ask(object.btf(), asked, target, candidates));
        Questions { object, asked: asked.collect() }
    }

    /// As [`resolve_all`].
    pub(crate) fn resolve_all(&self) -> Vec<Resolution> {
        let default = self.resolve(|relo| relo.function.is_some() && self.object.sections()[relo.section].autoload);
        if default.iter().all(Option::is_some) {
            return default.into_iter().flatten().collect();
        }
        let all = self.resolve(|_| true);
        default.into_iter().zip(all).filter_map(|(default, all)| default.or(all)).collect()
    }

    /// Concludes the relocations for which `is_loaded` holds, in order; `None` for the others.
    pub(crate) fn resolve(&self, is_loaded: impl Fn(&CoreRelo) -> bool) -> Vec<Option<Resolution>> {
        // By local type: which of its candidates, by their number, the relocations so far have left.
        let mut left: FxHashMap<TypeId, Vec<usize>> = FxHashMap::default();
        let relocations = self.object.relocations().iter().zip(&self.object.asked().of_relocation);
        let conclude = |(relo, &number): (&CoreRelo, &usize)| {
            let question = &self.asked[number];
            is_loaded(relo).then(|| {
                if question.answers.is_empty() {
                    // No search was made, or none found anything: there is no list to prune.
                    return question.conclude(&mut Vec::new());
                }
                let left = left.entry(question.asked.root).or_insert_with(|| (0..question.answers.len()).collect());
                question.conclude(left)
            })
        };
        relocations.map(conclude).collect()
    }
}

impl<'o> Question<'o> {
    fn ask(
        local_btf: &Btf<'_>,
        asked: &'o LocalQuestion,
        target: &Target<'_>,
        candidates: &Candidates,
    ) -> Question<'o> {
        let mut answers = Vec::new();
        if let Ok(local) = &asked.local
            && asked.kind != CoreReloKind::TypeIdLocal
            && let Ok(name) = local_btf.str_bytes(local.name)
        {
            let mut search = Search::new((local_btf, &local.spec));
            answers.extend(candidates.of(name, local.root_kind).map(|candidate| {
                let btf = target.btf(candidate.origin);
                (candidate, Answer::of(local, &mut search, (btf, candidate.id)))
            }));
        }
        Question { asked, answers }
    }

    /// Do all candidates that match give the same result?
    pub(crate) fn is_unambiguous(&self) -> bool {
        let mut matches = self.answers.iter().filter_map(|(_, answer)| match answer {
            Answer::Match { outcome, bit_offset } => Some((*outcome, *bit_offset)),
            _ => None,
        });
        matches.next().is_none_or(|first| matches.all(|other| agree(first, other).is_ok() && first.0 == other.0))
    }

    /// Draws libbpf's conclusion from the candidates that are `left`, and leaves those that matched.
    fn conclude(&self, left: &mut Vec<usize>) -> Resolution {
        let mut mismatch = Mismatch::NoType;
        let mut first: Option<(Candidate, Outcome, u32)> = None;
        let refused = |refusal| Resolution { outcome: Err(refusal), candidate: None, mismatch: None };
        let mut matching = Vec::new();
        for &number in left.iter() {
            let (candidate, answer) = &self.answers[number];
            match answer {
                Answer::Refused(refusal) => return refused(refusal.clone()),
                Answer::Mismatch(reason) => mismatch = mismatch.deeper(*reason),
                Answer::Match { outcome, bit_offset } => {
                    match first {
                        None => first = Some((*candidate, *outcome, *bit_offset)),
                        Some((_, outcome_before, bit_offset_before)) => {
                            if let Err(refusal) = agree((outcome_before, bit_offset_before), (*outcome, *bit_offset)) {
                                return refused(refusal);
                            }
                        }
                    }
                    matching.push(number);
                }
            }
        }
        match first {
            Some((candidate, outcome, _)) => {
                *left = matching;
                Resolution { outcome: Ok(outcome), candidate: Some(candidate), mismatch: None }
            }
            None => {
                let kind = self.asked.kind;
                let outcome =
                    self.asked.local.as_ref().map(|local| value::absent(kind, &local.side)).map_err(Clone::clone);
                let mismatch = (outcome.is_ok() && kind != CoreReloKind::TypeIdLocal).then_some(mismatch);
                Resolution { outcome, candidate: None, mismatch }
            }
        }
    }
}

impl Answer {
    fn of(local: &Local, search: &mut Search<'_, '_>, candidate: (&Btf<'_>, TypeId)) -> Answer {
        let found = match search.run(candidate, &mut ()) {
            Err(refusal) => return Answer::Refused(refusal),
            Ok(Err(reason)) => return Answer::Mismatch(reason),
            Ok(Ok(())) => &search.found,
        };
        let outcome = value::side(candidate.0, found)
            .and_then(|side| value::found((search.local, &local.side), (candidate.0, &side)));
        match outcome {
            Err(refusal) => Answer::Refused(refusal),
            Ok(outcome) => Answer::Match { outcome, bit_offset: found.bit_offset },
        }
    }

    pub(crate) fn is_match(&self) -> bool {
        matches!(self, Answer::Match { .. })
    }
}

/// Looks again for a question's access in a candidate, telling the observer what that takes.
pub(crate) fn observe(
    local: (&Btf<'_>, &AccessSpec),
    candidate: (&Btf<'_>, TypeId),
    observer: &mut impl Observer,
) -> Result<(), Refusal> {
    Search::new(local).run(candidate, observer).map(drop)
}

/// Checks that another candidate gives what the first gave.
fn agree((first, first_bits): (Outcome, u32), (other, other_bits): (Outcome, u32)) -> Result<(), Refusal> {
    let ambiguous = |first, other| Err(Refusal::Ambiguous { first, other });
    if first_bits != other_bits {
        let place = |bits: u32| match bits % 8 {
            0 => format!("byte {}", bits / 8),
            bit => format!("bit {bit} of byte {}", bits / 8),
        };
        return ambiguous(place(first_bits), place(other_bits));
    }
    if first.poison != other.poison || first.target != other.target {
        let value = |outcome: Outcome| match outcome.poison {
            true => "absent".to_owned(),
            false => format!("value {}", outcome.target),
        };
        return ambiguous(value(first), value(other));
    }
    Ok(())
}

impl Mismatch {
    /// The reason that lies deeper in the access: that of the candidate that came closer.
    fn deeper(self, other: Mismatch) -> Mismatch {
        let depth = |mismatch: Mismatch| match mismatch {
            Mismatch::NoType => 0,
            Mismatch::Type | Mismatch::NotEnum | Mismatch::NoEnumerator => 1,
            Mismatch::NotComposite { accessor }
            | Mismatch::NoMember { accessor }
            | Mismatch::NotArray { accessor }
            | Mismatch::OutOfBounds { accessor, .. } => 1 + 2 * accessor,
            Mismatch::Member { accessor, .. } => 2 + 2 * accessor,
        };
        if depth(other) > depth(self) { other } else { self }
    }

    /// Says what is missing, in words, for the access `spec` of the object whose types are `local`.
    pub fn describe(&self, local: &Btf<'_>, spec: &AccessSpec) -> String {
        let name = |accessor: usize| {
            let name = spec.accessors.get(accessor).and_then(|accessor| accessor.name);
            name.and_then(|name| local.str(name).ok()).unwrap_or("?")
        };
        let kind = |kind: Option<crate::raw::Kind>| kind.map_or("void", |kind| kind.name());
        match *self {
            Mismatch::NoType => "no type of that name and kind".to_owned(),
            Mismatch::Type if spec.kind == CoreReloKind::TypeMatches => {
                "the type of that name does not match".to_owned()
            }
            Mismatch::Type => "incompatible kinds".to_owned(),
            Mismatch::NotComposite { accessor } => {
                format!("member {} asked of what is no struct or union", name(accessor))
            }
            Mismatch::NoMember { accessor } => format!("no member {}", name(accessor)),
            Mismatch::Member { accessor, local, target } => {
                format!("incompatible kinds: member {} is {}, expected {}", name(accessor), kind(target), kind(local))
            }
            Mismatch::NotArray { accessor } => {
                format!("element {} asked of what is no array", spec.accessors.get(accessor).map_or(0, |a| a.index))
            }
            Mismatch::OutOfBounds { accessor, len } => {
                let index = spec.accessors.get(accessor).map_or(0, |accessor| accessor.index);
                format!("array index {index} out of bounds: the array has {len} elements")
            }
            Mismatch::NotEnum => "the type of that name is no enumeration".to_owned(),
            Mismatch::NoEnumerator => format!("no enumerator {}", name(0)),
        }
    }
}
