//! Resolving an object's relocations against a target, in libbpf's order.
//!
//! A candidate that did not match one relocation of a local type is out for the later ones of that type
//! (`bpf_core_calc_relo_insn` prunes its cached list), which may make unambiguous what alone would not be. So the order
//! counts, and so does which programs are loaded.

use rustc_hash::FxHashMap;

use super::candidates::{Candidate, Candidates, Target};
use super::compat::Observer;
use super::kind::CoreReloKind;
use super::refusal::Refusal;
use super::spec::AccessSpec;
use super::target_spec::{Mismatch, match_candidate};
use super::value::{self, Outcome};
use crate::object_file::{CoreRelo, ObjectFile};
use crate::parse::Btf;
use crate::raw::TypeId;

/// What came of one relocation.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The access by the local types; an error where the object itself is malformed.
    pub local: Result<AccessSpec, Refusal>,
    /// The result, or why libbpf refuses the object.
    pub outcome: Result<Outcome, Refusal>,
    /// The first candidate that matched, with the access in it.
    pub target: Option<(Candidate, AccessSpec)>,
    /// Where none matched: why the one that came closest did not.
    pub mismatch: Option<Mismatch>,
}

/// The candidates of every local type that the objects' relocations start from.
pub fn search_candidates(target: &Target<'_>, objects: &[&ObjectFile<'_>]) -> Candidates {
    let roots = objects.iter().flat_map(|object| {
        object.relocations().iter().filter(|relo| relo.kind != CoreReloKind::TypeIdLocal).filter_map(|relo| {
            let record = object.btf().record(relo.root).ok()?;
            Some((object.btf().str_bytes(record.name).ok()?, record.info.kind()))
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
    let mut lists = CandidateLists::new(object.btf(), candidates);
    object.relocations().iter().map(|relo| is_loaded(relo).then(|| lists.resolve(relo, target, &mut ()))).collect()
}

/// The candidates of each local type, as pruned by the relocations before.
pub(crate) struct CandidateLists<'c, 'a> {
    local: &'c Btf<'a>,
    candidates: &'c Candidates,
    lists: FxHashMap<TypeId, Vec<Candidate>>,
}

impl<'c, 'a> CandidateLists<'c, 'a> {
    pub(crate) fn new(local: &'c Btf<'a>, candidates: &'c Candidates) -> CandidateLists<'c, 'a> {
        CandidateLists { local, candidates, lists: FxHashMap::default() }
    }

    pub(crate) fn resolve(&mut self, relo: &CoreRelo, target: &Target<'_>, observer: &mut impl Observer) -> Resolution {
        let local = AccessSpec::parse(self.local, relo.kind, relo.root, relo.access);
        let mut resolution = Resolution { local, outcome: Err(Refusal::Anonymous), target: None, mismatch: None };
        let outcome = match &resolution.local {
            Err(refusal) => Err(refusal.clone()),
            Ok(spec) => {
                let found = (&mut resolution.target, &mut resolution.mismatch);
                self.resolve_spec(spec, target, found, observer)
            }
        };
        resolution.outcome = outcome;
        resolution
    }

    fn resolve_spec(
        &mut self,
        spec: &AccessSpec,
        target: &Target<'_>,
        (found, mismatch): (&mut Option<(Candidate, AccessSpec)>, &mut Option<Mismatch>),
        observer: &mut impl Observer,
    ) -> Result<Outcome, Refusal> {
        let local = (self.local, spec);
        if spec.kind == CoreReloKind::TypeIdLocal {
            let outcome = value::outcome(local, None)?;
            return Ok(Outcome { target: outcome.local, ..outcome });
        }
        let root = self.local.record(spec.root)?;
        let name = self.local.str_bytes(root.name)?;
        if name.is_empty() {
            return Err(Refusal::Anonymous);
        }
        let list = self.lists.entry(spec.root).or_insert_with(|| self.candidates.of(name, root.info.kind()).collect());
        let mut result: Option<Outcome> = None;
        let mut first_bits = 0;
        let mut kept = 0;
        for at in 0..list.len() {
            let candidate = list[at];
            let btf = target.btf(candidate.origin);
            match match_candidate(self.local, spec, btf, candidate.id, observer)? {
                Err(reason) => note(mismatch, reason),
                Ok(access) => {
                    let outcome = value::outcome(local, Some((btf, &access)))?;
                    match result {
                        None => {
                            result = Some(outcome);
                            first_bits = access.bit_offset;
                            *found = Some((candidate, access));
                        }
                        Some(first) => agree((first, first_bits), (outcome, access.bit_offset))?,
                    }
                    list[kept] = candidate;
                    kept += 1;
                }
            }
        }
        if kept > 0 {
            list.truncate(kept);
        }
        match result {
            Some(outcome) => {
                *mismatch = None;
                Ok(outcome)
            }
            None => {
                note(mismatch, Mismatch::NoType);
                value::outcome(local, None)
            }
        }
    }
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

/// Keeps the reason that lies deepest in the access: the candidate that came closest.
fn note(mismatch: &mut Option<Mismatch>, reason: Mismatch) {
    let depth = |mismatch: &Mismatch| match *mismatch {
        Mismatch::NoType => 0,
        Mismatch::Type | Mismatch::NotEnum | Mismatch::NoEnumerator => 1,
        Mismatch::NotComposite { accessor }
        | Mismatch::NoMember { accessor }
        | Mismatch::NotArray { accessor }
        | Mismatch::OutOfBounds { accessor, .. } => 1 + 2 * accessor,
        Mismatch::Member { accessor, .. } => 2 + 2 * accessor,
    };
    if mismatch.as_ref().is_none_or(|known| depth(known) < depth(&reason)) {
        *mismatch = Some(reason);
    }
}

impl Mismatch {
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

impl Resolution {
    /// Does the target lack what was asked for? For kinds that ask whether something exists too.
    pub fn is_absent(&self) -> bool {
        self.outcome.is_ok()
            && self.target.is_none()
            && self
                .local
                .as_ref()
                .is_ok_and(|spec| spec.kind != CoreReloKind::TypeIdLocal && spec.kind.family().is_some())
    }
}
