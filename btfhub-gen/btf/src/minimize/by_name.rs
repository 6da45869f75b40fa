//! What is kept besides what relocations need: what a reader looks up by its name.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::keep::{Keep, Marker};
use crate::core_relo::words::{self, stripped};
use crate::core_relo::{Candidate, Candidates, Observer, Origin, Target};
use crate::coverage::Coverage;
use crate::error::Result;
use crate::parse::Btf;
use crate::raw::{Kind, TypeId};
use crate::types::Type;

/// What a reader of minimal BTF looks up by name: functions, tracepoints, and whether the kernel has an enumerator. Libbpf looks up
/// none of it; what decides of a program before it is loaded does. That it was looked for is written into the result
/// ([`crate::coverage`]), so that what is not there is known to be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByName {
    /// Types, by name and kind. Of a function, and of a typedef of one, the parameters are kept, and of the structures behind
    /// pointers their names; of a structure its name and size.
    pub types: BTreeSet<(String, Kind)>,
    /// Enumerators, by the name of their enum (of either width).
    pub enumerators: BTreeSet<(String, Enumerator)>,
    /// Structures that a parameter may be taken for: of these and the parameters' own is kept which begins with which, as
    /// `struct tcp_sock` does with `struct sock`.
    pub heads: BTreeSet<String>,
}

/// Which enumerator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Enumerator {
    /// By its name.
    Named(String),
    /// All that have the value.
    Valued(u64),
}

/// Structures that begin with each other: as deep as they are looked into.
const MAX_HEADS: usize = 16;

impl ByName {
    /// What of it was looked for when the target was cut.
    pub(super) fn covered(&self, coverage: &Coverage) -> ByName {
        let types = self.types.iter().filter(|(name, kind)| coverage.has_name(name, *kind));
        let enumerators = self.enumerators.iter().filter(|(name, which)| coverage.has_enumerator(name, which));
        ByName {
            types: types.cloned().collect(),
            enumerators: enumerators.cloned().collect(),
            heads: self.heads.clone(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.types.is_empty() && self.enumerators.is_empty() && self.heads.is_empty()
    }

    /// Keeps what the target has of it.
    pub(super) fn keep(&self, target: &Target<'_>, keep: &mut Keep) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let enums = self.enumerators.iter().map(|(name, _)| (name.as_bytes(), Kind::Enum));
        let heads = self.heads.iter().map(|name| (name.as_bytes(), Kind::Struct));
        let types = self.types.iter().map(|(name, kind)| (name.as_bytes(), *kind));
        let candidates = Candidates::search(target, types.chain(enums).chain(heads));
        let mut parameters = BTreeSet::new();
        for (name, kind) in &self.types {
            for candidate in exactly(&candidates, target, name, *kind) {
                let marker = Marker::new(keep, target, candidate.origin);
                Shallow { marker, btf: target.btf(candidate.origin), structures: &mut parameters }
                    .declaration(candidate.id)?;
            }
        }
        for (name, which) in &self.enumerators {
            for candidate in exactly(&candidates, target, name, Kind::Enum) {
                let mut marker = Marker::new(keep, target, candidate.origin);
                keep_enumerator(&mut marker, target.btf(candidate.origin), candidate.id, which)?;
            }
        }
        let heads = || parameters.union(&self.heads);
        let candidates = Candidates::search(target, heads().map(|name| (name.as_bytes(), Kind::Struct)));
        for name in heads() {
            let is_wanted =
                |other: &str| parameters.contains(other) || parameters.contains(name) && self.heads.contains(other);
            let mut known = FxHashMap::default();
            for candidate in exactly(&candidates, target, name, Kind::Struct) {
                let marker = Marker::new(keep, target, candidate.origin);
                let btf = target.btf(candidate.origin);
                let mut heads =
                    Heads { marker, btf, is_wanted: &is_wanted, known: &mut known, origin: candidate.origin };
                // one of several is as good as another
                if heads.begin(candidate.id, 0)? {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The candidates that have the name and no flavour.
fn exactly<'c>(
    candidates: &'c Candidates,
    target: &'c Target<'_>,
    name: &'c str,
    kind: Kind,
) -> impl Iterator<Item = Candidate> + 'c {
    candidates.of(name.as_bytes(), kind).filter(move |found| target.btf(found.origin).name_of(found.id) == Ok(name))
}

fn keep_enumerator(marker: &mut Marker<'_, '_>, btf: &Btf<'_>, id: TypeId, which: &Enumerator) -> Result<()> {
    let (Type::Enum(decoded) | Type::Enum64(decoded)) = btf.ty(id)? else { return Ok(()) };
    let mut indices = Vec::new();
    for (index, value) in (0..).zip(decoded.values()) {
        let value = value?;
        let is_it = match which {
            Enumerator::Named(name) => value.name == name,
            Enumerator::Valued(number) => value.value == i128::from(*number),
        };
        if is_it {
            indices.push(index);
        }
    }
    if !indices.is_empty() {
        marker.root(id);
        indices.into_iter().for_each(|index| marker.enumerator(id, index));
    }
    Ok(())
}

/// Keeps a declaration: what a function takes and gives.
struct Shallow<'m, 'k, 't> {
    marker: Marker<'k, 't>,
    btf: &'t Btf<'t>,
    /// The structures behind pointers.
    structures: &'m mut BTreeSet<String>,
}

impl Shallow<'_, '_, '_> {
    fn declaration(&mut self, id: TypeId) -> Result<()> {
        self.marker.root(id);
        let record = self.btf.record(id)?;
        match record.info.kind() {
            Kind::Func => self.prototype(TypeId(record.size_or_type)),
            Kind::Typedef => {
                let (pointer, to) = stripped(self.btf, id)?;
                match to.filter(|to| to.info.kind() == Kind::Ptr) {
                    Some(to) => {
                        self.marker.followed(pointer);
                        self.prototype(TypeId(to.size_or_type))
                    }
                    None => self.value(pointer),
                }
            }
            Kind::Var => self.value(TypeId(record.size_or_type)),
            _ => Ok(()),
        }
    }

    fn prototype(&mut self, id: TypeId) -> Result<()> {
        let (id, record) = stripped(self.btf, id)?;
        self.marker.ty(id);
        let Some(record) = record.filter(|record| record.info.kind() == Kind::FuncProto) else { return Ok(()) };
        self.value(TypeId(record.size_or_type))?;
        (0..record.info.vlen()).try_for_each(|index| self.value(words::parameter(&record, index)))
    }

    /// A pointer as far as the name of what it leads to; anything else bare.
    fn value(&mut self, id: TypeId) -> Result<()> {
        let (mut id, mut record) = stripped(self.btf, id)?;
        for _ in 0..MAX_HEADS {
            self.marker.ty(id);
            let Some(found) = record else { break };
            let to = match found.info.kind() {
                Kind::Ptr => {
                    self.marker.followed(id);
                    TypeId(found.size_or_type)
                }
                Kind::Array => words::array(&found).element,
                Kind::Struct | Kind::Union | Kind::Fwd | Kind::Enum | Kind::Enum64 => {
                    self.marker.root(id);
                    let name = self.btf.str(found.name)?;
                    if found.info.kind() == Kind::Struct && !name.is_empty() {
                        self.structures.insert(name.to_owned());
                    }
                    break;
                }
                _ => break,
            };
            (id, record) = stripped(self.btf, to)?;
        }
        Ok(())
    }
}

/// Keeps the members at offset 0 that lead from one of the wanted structures to another.
struct Heads<'m, 'k, 't> {
    marker: Marker<'k, 't>,
    btf: &'t Btf<'t>,
    is_wanted: &'m dyn Fn(&str) -> bool,
    origin: Origin,
    /// Whether a composite leads there; while it is looked into, it does not.
    known: &'m mut FxHashMap<(Origin, TypeId), bool>,
}

impl Heads<'_, '_, '_> {
    /// Gives whether there is one.
    fn begin(&mut self, id: TypeId, depth: usize) -> Result<bool> {
        if let Some(&known) = self.known.get(&(self.origin, id)) {
            return Ok(known);
        }
        self.known.insert((self.origin, id), false);
        let record = self.btf.record(id)?;
        if !record.info.kind().is_composite() || depth == MAX_HEADS {
            return Ok(false);
        }
        let mut any = false;
        for (index, member) in (0..).zip(words::members(&record)).filter(|(_, member)| member.bit_offset == 0) {
            let (to, found) = stripped(self.btf, member.ty)?;
            let Some(found) = found.filter(|found| found.info.kind().is_composite()) else { continue };
            let name = self.btf.str(found.name).unwrap_or_default();
            let is_wanted = found.info.kind() == Kind::Struct && (self.is_wanted)(name);
            if self.begin(to, depth + 1)? || is_wanted {
                self.marker.root(id);
                self.marker.member(id, index);
                self.marker.root(to);
                any = true;
            }
        }
        self.known.insert((self.origin, id), any);
        Ok(any)
    }
}
