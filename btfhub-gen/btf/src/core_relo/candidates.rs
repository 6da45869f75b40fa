//! The types of a target that a local type may stand for: those of the same name without flavours and the same kind.
//!
//! vmlinux is searched first, and the modules only for what vmlinux has no candidate of: libbpf's
//! `bpf_core_find_cands`. One pass over the type records finds the candidates of any number of names.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use rustc_hash::FxHashMap;

use super::words::kinds_compatible;
use crate::index::essential_len;
use crate::parse::Btf;
use crate::raw::{Endian, Kind, StrOffset, TypeId};

/// What relocations are resolved against: a kernel and the modules of interest.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The kernel's own types.
    pub vmlinux: &'t Btf<'t>,
    /// Split BTF over `vmlinux`, in the order in which candidates are to be taken.
    pub modules: &'t [Module<'t>],
}

/// A kernel module's types.
#[derive(Clone, Copy, Debug)]
pub struct Module<'t> {
    /// The module's name.
    pub name: &'t str,
    /// Its split BTF.
    pub btf: &'t Btf<'t>,
}

/// Which BTF of a [`Target`] a type is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The kernel's own.
    Vmlinux,
    /// The module's of this number.
    Module(usize),
}

/// A type that may be the local type's counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// Where it is.
    pub origin: Origin,
    /// The type there.
    pub id: TypeId,
}

impl<'t> Target<'t> {
    /// A kernel without modules.
    pub fn kernel(vmlinux: &'t Btf<'t>) -> Target<'t> {
        Target { vmlinux, modules: &[] }
    }

    /// The BTF that a type is in.
    pub fn btf(&self, origin: Origin) -> &'t Btf<'t> {
        match origin {
            Origin::Vmlinux => self.vmlinux,
            Origin::Module(number) => self.modules[number].btf,
        }
    }

    /// The module's name, `vmlinux` for the kernel itself.
    pub fn name(&self, origin: Origin) -> &'t str {
        match origin {
            Origin::Vmlinux => "vmlinux",
            Origin::Module(number) => self.modules[number].name,
        }
    }
}

/// The candidates of a set of names in one target.
#[derive(Debug, Default)]
pub struct Candidates {
    by_name: FxHashMap<Vec<u8>, Vec<(Kind, Candidate)>>,
}

impl Candidates {
    /// Searches the target for the local types given by name and kind. Flavours in the names are ignored.
    pub fn search<'n>(target: &Target<'_>, wanted: impl Iterator<Item = (&'n [u8], Kind)>) -> Candidates {
        let mut kinds: Vec<(&[u8], Kind)> = Vec::new();
        for (name, kind) in wanted {
            let essential = &name[..essential_len(name)];
            if !essential.is_empty() {
                kinds.push((essential, kind));
            }
        }
        let mut found = Candidates::default();
        for &(name, _) in &kinds {
            found.by_name.entry(name.to_vec()).or_default();
        }
        found.remember(target.vmlinux, &kinds);
        if target.modules.is_empty() {
            return found;
        }
        kinds.retain(|&(name, kind)| found.of(name, kind).next().is_none());
        let mut filter = Filter::default();
        kinds.iter().for_each(|&(name, kind)| filter.add(name, kind));
        if !kinds.is_empty() {
            for (number, module) in target.modules.iter().enumerate() {
                found.scan(module.btf, Origin::Module(number), &filter);
            }
        }
        found
    }

    /// The candidates of the kernel itself. What was searched for there before is known; the rest is searched for at once.
    fn remember(&mut self, btf: &Btf<'_>, kinds: &[(&[u8], Kind)]) {
        let mut memory = btf.searched.lock().unwrap_or_else(PoisonError::into_inner);
        // enums of both widths are searched for together
        let key = |name: &[u8], kind: Kind| (name.to_vec(), if kind.is_enum() { Kind::Enum } else { kind });
        let mut filter = Filter::default();
        let mut new = Candidates::default();
        let mut asked: BTreeSet<(Vec<u8>, Kind)> = BTreeSet::new();
        for &(name, kind) in kinds {
            if asked.insert(key(name, kind)) && !memory.contains_key(&key(name, kind)) {
                filter.add(name, kind);
                new.by_name.entry(name.to_vec()).or_default();
            }
        }
        if !new.by_name.is_empty() {
            new.scan(btf, Origin::Vmlinux, &filter);
        }
        for (name, kind) in asked {
            let ids = memory.entry((name.clone(), kind)).or_insert_with(|| {
                let all = new.by_name.get(&name).map_or(&[][..], Vec::as_slice);
                let of_kind = |found: &&(Kind, Candidate)| found.0 == kind || found.0.is_enum() && kind.is_enum();
                all.iter().filter(of_kind).map(|found| (found.0, found.1.id)).collect()
            });
            let found = ids.iter().map(|&(kind, id)| (kind, Candidate { origin: Origin::Vmlinux, id }));
            if let Some(mine) = self.by_name.get_mut(&name) {
                mine.extend(found);
                mine.sort_by_key(|found| found.1.id);
            }
        }
    }

    /// The candidates of a local type, in libbpf's order. The name must be one of those searched for.
    pub fn of(&self, name: &[u8], kind: Kind) -> impl Iterator<Item = Candidate> {
        let found = self.by_name.get(&name[..essential_len(name)]).map_or(&[][..], Vec::as_slice);
        let of_kind = move |entry: &&(Kind, Candidate)| kinds_compatible(Some(entry.0), Some(kind));
        // A search for one kind may have found another kind of the same name in the modules.
        let in_vmlinux = found.iter().filter(of_kind).any(|entry| entry.1.origin == Origin::Vmlinux);
        found
            .iter()
            .filter(of_kind)
            .map(|entry| entry.1)
            .filter(move |candidate| !in_vmlinux || candidate.origin == Origin::Vmlinux)
    }

    fn scan(&mut self, btf: &Btf<'_>, origin: Origin, filter: &Filter) {
        let (types, offsets) = btf.own_types();
        let (endian, first) = (btf.endian(), btf.first_id().0);
        let start = btf.str_start().0;
        let strings = btf.own_strings();
        // The byte of the info word that has the kind.
        let kind_at = if endian == Endian::Little { 7 } else { 4 };
        for (id, &at) in (first..).zip(&offsets[..btf.len()]) {
            let Some(record) = types.get(at as usize..).and_then(<[u8]>::first_chunk::<8>) else { continue };
            let kind = record[kind_at] & 0x7f;
            if !filter.kinds[usize::from(kind)] {
                continue;
            }
            let name = endian.u32([record[0], record[1], record[2], record[3]]);
            if name == 0 {
                continue;
            }
            let may_match = match name.checked_sub(start) {
                Some(at) => filter.may_match(strings.get(at as usize..).unwrap_or_default()),
                None => btf.str_bytes(StrOffset(name)).is_ok_and(|name| filter.may_match(name)),
            };
            if !may_match {
                continue;
            }
            let Ok(name) = btf.str_bytes(StrOffset(name)) else { continue };
            if let Some(found) = self.by_name.get_mut(&name[..essential_len(name)]) {
                found.push((Kind::from_raw(kind), Candidate { origin, id: TypeId(id) }));
            }
        }
    }
}

/// What cheaply rules most types out: their kind, then a hash of the first three bytes of their name.
struct Filter {
    /// By the kind's number.
    kinds: [bool; 128],
    /// For names of one or two bytes: by the first byte.
    short: [bool; 256],
    /// For longer ones: a bit set by the hash of three bytes.
    long: Box<[u64; Filter::BITS / 64]>,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter { kinds: [false; 128], short: [false; 256], long: Box::new([0; Filter::BITS / 64]) }
    }
}

impl Filter {
    const BITS: usize = 1 << 14;

    fn add(&mut self, essential: &[u8], kind: Kind) {
        let same_family: &[Kind] = if kind.is_enum() { &[Kind::Enum, Kind::Enum64] } else { &[kind] };
        for kind in same_family {
            self.kinds[usize::from(kind.raw() & 0x7f)] = true;
        }
        match *essential {
            [a, b, c, ..] => {
                let hash = Filter::hash(a, b, c);
                self.long[hash / 64] |= 1 << (hash % 64);
            }
            [first, ..] => self.short[usize::from(first)] = true,
            [] => {}
        }
    }

    fn hash(a: u8, b: u8, c: u8) -> usize {
        let bytes = u32::from_le_bytes([a, b, c, 0]);
        (bytes.wrapping_mul(0x9e37_79b1) >> (32 - Filter::BITS.trailing_zeros())) as usize
    }

    /// `name` may have anything behind its terminating NUL.
    #[inline]
    fn may_match(&self, name: &[u8]) -> bool {
        let Some(&[a, b, c]) = name.first_chunk() else {
            return name.first().is_some_and(|&first| self.short[usize::from(first)]);
        };
        let hash = Filter::hash(a, b, c);
        self.long[hash / 64] >> (hash % 64) & 1 != 0 || self.short[usize::from(a)]
    }
}
