//! Names as small numbers.

use hashbrown::HashTable;
use rustc_hash::FxHashMap;

/// A name; 0 is the empty name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NameId(pub(crate) u32);

/// Red Hat pads structures with fields of numbered names to keep a kernel's ABI; the number differs in each unit.
const KABI_HIDE: &[u8] = b"__UNIQUE_ID_rh_kabi_hide";

/// Names, each held once. The strings stay in the sections they come from.
#[derive(Clone)]
pub(crate) struct Names<'d> {
    names: Vec<&'d [u8]>,
    table: HashTable<(u64, u32)>,
    /// Names by their offset in a string section: the linker holds each string once.
    by_offset: FxHashMap<u64, NameId>,
    /// Of `by_offset`, what was asked for last, by the low bits of a hash.
    recent: Vec<(u64, NameId)>,
}

const RECENT: usize = 1 << 15;

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
        Names {
            names: vec![b""],
            table: HashTable::new(),
            by_offset: FxHashMap::default(),
            recent: vec![(u64::MAX, NameId(0)); RECENT],
        }
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

    /// The name at `offset` of the string section `section`, read by `read` where it is not known yet.
    #[inline]
    pub(crate) fn at<E>(
        &mut self,
        section: u8,
        offset: u64,
        read: impl FnOnce() -> Result<&'d [u8], E>,
    ) -> Result<NameId, E> {
        let key = offset << 3 | u64::from(section);
        let place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49) as usize % RECENT;
        let (seen, id) = self.recent[place];
        if seen == key {
            return Ok(id);
        }
        let id = match self.by_offset.get(&key) {
            Some(&id) => id,
            None => {
                let id = self.intern(read()?);
                self.by_offset.insert(key, id);
                id
            }
        };
        self.recent[place] = (key, id);
        Ok(id)
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

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}
