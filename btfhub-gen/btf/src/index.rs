//! Finding types by name: by a scan at first, by an index of names once more than a few names are asked for.

use std::hash::Hasher;
use std::sync::atomic::Ordering;

use rustc_hash::FxHasher;

use crate::parse::Btf;
use crate::raw::{Info, Kind, TypeId};

/// So many names are searched by scanning before the index is built; a scan of a kernel's types costs a third of that.
const SCANS_BEFORE_INDEX: u32 = 2;

/// The part of a name that CO-RE compares: without the flavour, `___` and what follows it (`task_struct___old`).
///
/// As libbpf's `bpf_core_essential_name_len`: the last `___` counts that stands between two characters other than `_`.
pub fn essential_name(name: &str) -> &str {
    &name[..essential_len(name.as_bytes())]
}

pub(crate) fn essential_len(name: &[u8]) -> usize {
    let is_separator = |w: &[u8]| w[0] != b'_' && w[1..4] == *b"___" && w[4] != b'_';
    name.windows(5).rposition(is_separator).map_or(name.len(), |at| at + 1)
}

/// Own types of a BTF, chained by the hash of their essential names. Built once, 8 bytes a type.
pub(crate) struct NameIndex {
    /// By hash: index of the first type plus one, 0 for none.
    heads: Vec<u32>,
    /// By type: index of the next type plus one, 0 for none. Chains ascend.
    next: Vec<u32>,
}

impl NameIndex {
    fn build(btf: &Btf<'_>) -> NameIndex {
        let (types, offsets) = btf.own_types();
        let count = btf.len();
        let mut heads = vec![0; (count * 2).next_power_of_two().max(16)];
        let mut next = vec![0; count];
        for (index, &at) in offsets[..count].iter().enumerate().rev() {
            let Some(name) = name_at(btf, types, at) else { continue };
            let slot = slot(&name[..essential_len(name)], heads.len());
            next[index] = std::mem::replace(&mut heads[slot], index as u32 + 1);
        }
        NameIndex { heads, next }
    }

    fn chain(&self, essential: &[u8]) -> impl Iterator<Item = usize> {
        let mut at = self.heads[slot(essential, self.heads.len())];
        std::iter::from_fn(move || {
            let index = at.checked_sub(1)? as usize;
            at = self.next[index];
            Some(index)
        })
    }
}

fn slot(essential: &[u8], slots: usize) -> usize {
    let mut hasher = FxHasher::default();
    hasher.write(essential);
    hasher.finish() as usize & (slots - 1)
}

fn name_at<'b>(btf: &'b Btf<'_>, types: &[u8], record: u32) -> Option<&'b [u8]> {
    let offset = btf.endian.u32_at(types, record as usize)?;
    if offset == 0 {
        return None;
    }
    btf.str_bytes(crate::raw::StrOffset(offset)).ok()
}

impl<'a> Btf<'a> {
    /// Ids of the types of this name and kind, the base's first, ascending. Several are rare but real.
    ///
    /// The first few calls scan (about a millisecond in a vmlinux BTF), then an index is built once. An empty name finds nothing.
    pub fn find(&self, name: &str, kind: Kind) -> impl Iterator<Item = TypeId> + use<> {
        self.named(name)
            .into_iter()
            .filter(|found| found.1 == kind)
            .map(|found| found.0)
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Ids and kinds of all types of this name, the base's first, ascending.
    pub fn find_any(&self, name: &str) -> impl Iterator<Item = (TypeId, Kind)> + use<> {
        self.named(name).into_iter()
    }

    /// Ids and kinds of all types whose name without its flavour is `essential`, the base's first, ascending: the candidates
    /// that CO-RE considers. Builds the index.
    pub fn candidates(&self, essential: &str) -> impl Iterator<Item = (TypeId, Kind)> + use<> {
        let mut found = Vec::new();
        self.collect_candidates(essential.as_bytes(), &mut found);
        found.into_iter()
    }

    fn index(&self) -> &NameIndex {
        self.names.get_or_init(|| NameIndex::build(self))
    }

    fn named(&self, name: &str) -> Vec<(TypeId, Kind)> {
        let mut found = Vec::new();
        if !name.is_empty() {
            self.collect_named(name.as_bytes(), &mut found);
        }
        found
    }

    fn collect_candidates(&self, essential: &[u8], found: &mut Vec<(TypeId, Kind)>) {
        if let Some(base) = self.base() {
            base.collect_candidates(essential, found);
        }
        self.collect_indexed(essential, |name| &name[..essential_len(name)] == essential, found);
    }

    fn collect_indexed(&self, essential: &[u8], accept: impl Fn(&[u8]) -> bool, found: &mut Vec<(TypeId, Kind)>) {
        let (types, offsets) = self.own_types();
        for index in self.index().chain(essential) {
            if name_at(self, types, offsets[index]).is_some_and(&accept) {
                found.push(self.entry(index));
            }
        }
    }

    fn entry(&self, index: usize) -> (TypeId, Kind) {
        let (types, offsets) = self.own_types();
        let info = Info(self.endian.u32_at(types, offsets[index] as usize + 4).unwrap_or(0));
        (TypeId(self.first_id + index as u32), info.kind())
    }

    fn collect_named(&self, name: &[u8], found: &mut Vec<(TypeId, Kind)>) {
        if let Some(base) = self.base() {
            base.collect_named(name, found);
        }
        if self.names.get().is_some() || self.scans.fetch_add(1, Ordering::Relaxed) >= SCANS_BEFORE_INDEX {
            return self.collect_indexed(&name[..essential_len(name)], |n| n == name, found);
        }
        let mut at = Vec::new();
        self.offsets_of(name, &mut at);
        if at.is_empty() {
            return;
        }
        let (types, offsets) = self.own_types();
        for (index, &record) in offsets[..self.len()].iter().enumerate() {
            let offset = self.endian.u32_at(types, record as usize).unwrap_or(0);
            if at.contains(&offset) {
                found.push(self.entry(index));
            }
        }
    }

    /// Offsets at which this string can be read, in the base's strings and in this BTF's. More than one where a longer
    /// string ends in it, or where strings were not made unique.
    fn offsets_of(&self, name: &[u8], at: &mut Vec<u32>) {
        if let Some(base) = self.base() {
            base.offsets_of(name, at);
        }
        // With the zero at its end, a name cannot overlap itself, as "aa" does in "aaa".
        let terminated = [name, b"\0"].concat();
        for hit in memchr::memmem::find_iter(self.own_strings(), &terminated) {
            at.push(self.str_start().0 + hit as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_finds_a_name_at_the_end_of_a_longer_one() {
        let mut out = crate::write::Builder::new(crate::raw::Endian::Little);
        let long = out.string("aaa");
        out.typedef(crate::raw::StrOffset(long.0 + 1), TypeId(0));
        let bytes = out.finish().unwrap();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.find("aa", Kind::Typedef).collect::<Vec<_>>(), [TypeId(1)]);
    }

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(essential_name(name), expected);
    }

    #[test]
    fn a_flavour_is_what_follows_the_last_three_underscores_inside_a_name() {
        check("task_struct", "task_struct");
        check("task_struct___old", "task_struct");
        check("a___b___c", "a___b");
        check("a____b", "a____b");
        check("___b", "___b");
        check("b___", "b___");
        check("x___y", "x");
        check("", "");
    }
}
