//! Names as small numbers.

use std::sync::Arc;

use hashbrown::HashTable;

/// A name; 0 is the empty name. Of [`Names`] its number; of [`Strings`](crate::strings::Strings) where it lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NameId(pub(crate) u32);

/// Red Hat pads structures with fields of numbered names to keep a kernel's ABI; the number differs in each unit.
pub(crate) const KABI_HIDE: &[u8] = b"__UNIQUE_ID_rh_kabi_hide";

/// Names, each held once. The strings stay in the sections they come from.
pub(crate) struct Names<'d> {
    /// Those with the numbers before the own ones.
    base: Option<Arc<Names<'d>>>,
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
        Names { base: None, names: vec![b""], table: HashTable::new() }
    }

    /// Names that go on where others end.
    pub(crate) fn on(base: Arc<Names<'d>>) -> Self {
        Names { base: Some(base), names: Vec::new(), table: HashTable::new() }
    }

    fn offset(&self) -> u32 {
        self.base.as_ref().map_or(0, |base| base.offset() + base.names.len() as u32)
    }

    pub(crate) fn intern(&mut self, name: &'d [u8]) -> NameId {
        if name.is_empty() {
            return NameId(0);
        }
        let name = if name.starts_with(KABI_HIDE) { KABI_HIDE } else { name };
        let hash = hash(name);
        if let Some(found) = self.base.as_ref().and_then(|base| base.find_hashed(name, hash)) {
            return found;
        }
        let (offset, names) = (self.offset(), &self.names);
        let same = |&(h, id): &(u64, u32)| h == hash && names[(id - offset) as usize] == name;
        let entry = self.table.entry(hash, same, |&(hash, _)| hash);
        let id = entry.or_insert_with(|| (hash, offset + names.len() as u32)).get().1;
        if (id - offset) as usize == self.names.len() {
            self.names.push(name);
        }
        NameId(id)
    }

    #[inline]
    pub(crate) fn get(&self, id: NameId) -> &'d [u8] {
        match &self.base {
            Some(base) if id.0 < self.offset() => base.get(id),
            _ => self.names[(id.0 - self.offset()) as usize],
        }
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<NameId> {
        match name {
            [] => Some(NameId(0)),
            name => self.find_hashed(name, hash(name)),
        }
    }

    fn find_hashed(&self, name: &[u8], hash: u64) -> Option<NameId> {
        if let Some(found) = self.base.as_ref().and_then(|base| base.find_hashed(name, hash)) {
            return Some(found);
        }
        let offset = self.offset();
        let same = |&(h, id): &(u64, u32)| h == hash && self.names[(id - offset) as usize] == name;
        self.table.find(hash, same).map(|&(_, id)| NameId(id))
    }
}
