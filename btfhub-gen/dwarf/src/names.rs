//! Names as small numbers.

use hashbrown::HashTable;

/// A name; 0 is the empty name. Of [`Names`] its number; of [`Strings`](crate::strings::Strings) where it lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NameId(pub(crate) u32);

/// Red Hat pads structures with fields of numbered names to keep a kernel's ABI; the number differs in each unit.
pub(crate) const KABI_HIDE: &[u8] = b"__UNIQUE_ID_rh_kabi_hide";

/// Names, each held once. The strings stay in the sections they come from.
#[derive(Clone)]
pub(crate) struct Names<'d> {
    names: Vec<&'d [u8]>,
    table: HashTable<(u64, u32)>,
}

fn hash(name: &[u8]) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15u64 ^ name.len() as u64;
    let mut chunks = name.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        hash = crate::nodes::mix(hash, word);
    }
    let mut tail = [0; 8];
    tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    crate::nodes::mix(hash, u64::from_le_bytes(tail))
}

impl<'d> Names<'d> {
    pub(crate) fn new() -> Self {
        Names { names: vec![b""], table: HashTable::new() }
    }

    pub(crate) fn intern(&mut self, name: &'d [u8]) -> NameId {
        if name.is_empty() {
            return NameId(0);
        }
        let name = if name.starts_with(KABI_HIDE) { KABI_HIDE } else { name };
        let hash = hash(name);
        let names = &self.names;
        let entry = self.table.entry(hash, |&(h, id)| h == hash && names[id as usize] == name, |&(hash, _)| hash);
        let id = entry.or_insert_with(|| (hash, self.names.len() as u32)).get().1;
        if id as usize == self.names.len() {
            self.names.push(name);
        }
        NameId(id)
    }

    #[inline]
    pub(crate) fn get(&self, id: NameId) -> &'d [u8] {
        self.names[id.0 as usize]
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<NameId> {
        if name.is_empty() {
            return Some(NameId(0));
        }
        let hash = hash(name);
        self.table.find(hash, |&(h, id)| h == hash && self.names[id as usize] == name).map(|&(_, id)| NameId(id))
    }
}
