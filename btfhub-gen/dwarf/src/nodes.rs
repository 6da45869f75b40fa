//! The nominal graph: types as short word sequences, each held once.
//!
//! A node's words hold all of a type, with references as the ids of other nodes. A reference to a *named* struct, union
//! or enum is a slot node, (kind, name) and no more, so that words never depend on what a unit knows of that type, and
//! the graph has no cycles but through slots.
//!
//! | kind | words after the head |
//! |---|---|
//! | void | none; node 0 |
//! | int | name, bytes, bits; encoding in the head |
//! | float | name, bytes |
//! | pointer, const, volatile, restrict | node |
//! | typedef, type tag | name, node |
//! | array | node, elements |
//! | slot | name; which kind in the head |
//! | struct, union | name, bytes, then per member: name, node, bit offset, bits of a bit field |
//! | enum | name, bytes, then per enumerator: name, low word, high word; signed in the head |
//! | function prototype | node of the result, then per parameter: name, node |
//! | extern | file and section offset of an entry in another unit, resolved when all units are read |

use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::FxHashMap;

use crate::names::NameId;

/// A node of a [`Nodes`] table; 0 is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) u32);

pub(crate) const VOID: NodeId = NodeId(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NodeKind {
    Void,
    Int,
    Float,
    Pointer,
    Const,
    Volatile,
    Restrict,
    Typedef,
    TypeTag,
    Array,
    Slot,
    Struct,
    Union,
    Enum,
    Prototype,
    Extern,
}

const KINDS: [NodeKind; 16] = {
    use NodeKind as K;
    [
        K::Void,
        K::Int,
        K::Float,
        K::Pointer,
        K::Const,
        K::Volatile,
        K::Restrict,
        K::Typedef,
        K::TypeTag,
        K::Array,
        K::Slot,
        K::Struct,
        K::Union,
        K::Enum,
        K::Prototype,
        K::Extern,
    ]
};

/// The first word of a node: its kind, and 24 bits that belong to it.
pub(crate) const fn head(kind: NodeKind, extra: u32) -> u32 {
    kind as u32 | extra << 8
}

pub(crate) fn kind_of(head: u32) -> NodeKind {
    KINDS[(head & 0xf) as usize]
}

#[inline(always)]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * 0x9fb2_1c65_1e98_df25_u128;
    (product as u64) ^ (product >> 64) as u64
}

fn hash_words(words: &[u32]) -> u64 {
    let mut hash = 0x2545_f491_4f6c_dd1d ^ words.len() as u64;
    let mut pairs = words.chunks_exact(2);
    for pair in &mut pairs {
        hash = mix(hash, u64::from(pair[0]) | u64::from(pair[1]) << 32);
    }
    if let [last] = pairs.remainder() {
        hash = mix(hash, u64::from(*last) | 1 << 63);
    }
    hash
}

/// No entry of the input made this node first: it is written where it is referred to.
pub(crate) const NO_ENTRY: u64 = u64::MAX;

/// A table of nodes.
pub(crate) struct Nodes {
    /// The nodes with the ids before the own ones.
    base: Option<Arc<Nodes>>,
    /// Their number.
    offset: u32,
    /// Position in the input of the first entry that led to each of them.
    placed: FxHashMap<u32, u64>,
    /// Per node: a header of its id and the number of its words, then these.
    words: Vec<u32>,
    /// Where each node's words begin.
    starts: Vec<u32>,
    /// Position in the input of the first entry that made each node.
    first: Vec<u64>,
    /// Half a hash and the start of the words, so that a node is found with two looks at memory.
    table: HashTable<(u32, u32)>,
    /// Nodes before this one were made by entries before those that come now.
    settled: u32,
    /// By node: where the words of the one that was asked for after it begin. Units that include the same headers have
    /// the same types in the same order.
    next: Vec<u32>,
    /// The own node asked for last, from 0.
    last: u32,
}

/// In a header: no entry made this node yet.
const UNPLACED: u32 = 1 << 31;

impl Nodes {
    pub(crate) fn new() -> Self {
        let mut nodes = Nodes::empty(None, 0);
        let void = [head(NodeKind::Void, 0)];
        nodes.add((hash_words(&void) >> 32) as u32, &void, NO_ENTRY);
        nodes
    }

    /// Nodes that go on where others, which no entry of this input made, end.
    pub(crate) fn on(base: Arc<Nodes>) -> Self {
        let offset = base.len() as u32;
        Nodes::empty(Some(base), offset)
    }

    fn empty(base: Option<Arc<Nodes>>, offset: u32) -> Self {
        Nodes {
            base,
            offset,
            placed: FxHashMap::default(),
            words: Vec::new(),
            starts: Vec::new(),
            first: Vec::new(),
            table: HashTable::new(),
            settled: 0,
            next: Vec::new(),
            last: 0,
        }
    }

    /// Says that all entries to come lie behind those that came.
    pub(crate) fn settle(&mut self) {
        self.settled = self.len() as u32;
    }

    pub(crate) fn len(&self) -> usize {
        self.offset as usize + self.first.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.len() as u32).map(NodeId)
    }

    /// Those that are not of the base.
    pub(crate) fn own_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (self.offset..self.len() as u32).map(NodeId)
    }

    /// Those of the base that an entry led to, ascending.
    pub(crate) fn placed_ids(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self.placed.keys().copied().map(NodeId).collect();
        ids.sort_unstable();
        ids
    }

    #[inline]
    pub(crate) fn words(&self, id: NodeId) -> &[u32] {
        match &self.base {
            Some(base) if id.0 < self.offset => base.words(id),
            _ => {
                let start = self.starts[(id.0 - self.offset) as usize] as usize;
                &self.words[start..start + self.words[start - 1] as usize]
            }
        }
    }

    #[inline]
    pub(crate) fn kind(&self, id: NodeId) -> NodeKind {
        kind_of(self.words(id)[0])
    }

    pub(crate) fn first(&self, id: NodeId) -> u64 {
        match id.0.checked_sub(self.offset) {
            Some(own) => self.first[own as usize],
            None => self.placed.get(&id.0).copied().unwrap_or(NO_ENTRY),
        }
    }

    /// Where the node with these words begins.
    #[inline(always)]
    fn start_of(&self, short: u32, words: &[u32]) -> Option<usize> {
        let same = |&(h, start): &(u32, u32)| h == short && self.is_at(start as usize, words);
        self.table.find(spread(short), same).map(|&(_, start)| start as usize)
    }

    /// The node with these words, where there is one.
    pub(crate) fn find(&self, words: &[u32]) -> Option<NodeId> {
        self.find_hashed((hash_words(words) >> 32) as u32, words)
    }

    fn find_hashed(&self, short: u32, words: &[u32]) -> Option<NodeId> {
        if let Some(found) = self.base.as_ref().and_then(|base| base.find_hashed(short, words)) {
            return Some(found);
        }
        let start = self.start_of(short, words)?;
        Some(NodeId(self.words[start - 2] & !UNPLACED))
    }

    /// The node with these words, made by the entry at position `entry` of the input if there was none.
    #[inline]
    pub(crate) fn intern(&mut self, words: &[u32], entry: u64) -> NodeId {
        let expected = self.next.get(self.last as usize).map_or(0, |&next| next as usize);
        if self.is_at(expected, words) {
            return self.found(expected, entry);
        }
        let short = (hash_words(words) >> 32) as u32;
        if let Some(found) = self.base.as_ref().and_then(|base| base.find_hashed(short, words)) {
            if entry != NO_ENTRY {
                let seen = self.placed.entry(found.0).or_insert(entry);
                *seen = (*seen).min(entry);
            }
            return found;
        }
        let start = match self.start_of(short, words) {
            Some(start) => start,
            None => self.add(short, words, entry),
        };
        if let Some(next) = self.next.get_mut(self.last as usize) {
            *next = start as u32;
        }
        self.found(start, entry)
    }

    /// Whether a node begins at `start` of the words, and is this one.
    #[inline(always)]
    fn is_at(&self, start: usize, words: &[u32]) -> bool {
        match start {
            0 => false,
            _ => self.words[start - 1] as usize == words.len() && equal(&self.words[start..], words),
        }
    }

    /// Notes that an entry leads to the node that begins at `start` of the words.
    #[inline(always)]
    fn found(&mut self, start: usize, entry: u64) -> NodeId {
        let header = self.words[start - 2];
        let id = header & !UNPLACED;
        let own = id - self.offset;
        self.last = own;
        // the bit makes it greater than any
        if header >= self.settled && entry != NO_ENTRY {
            let seen = &mut self.first[own as usize];
            *seen = (*seen).min(entry);
            self.words[start - 2] = id;
        }
        NodeId(id)
    }

    fn add(&mut self, short: u32, words: &[u32], entry: u64) -> usize {
        let id = self.len() as u32;
        self.words.extend([if entry == NO_ENTRY { id | UNPLACED } else { id }, words.len() as u32]);
        let start = self.words.len() as u32;
        self.table.insert_unique(spread(short), (short, start), |&(short, _)| spread(short));
        self.words.extend_from_slice(words);
        self.starts.push(start);
        self.first.push(entry);
        self.next.push(0);
        start as usize
    }
}

/// Whether `all` begins with `words`: most are of two or three words, too few for a call.
#[inline(always)]
fn equal(all: &[u32], words: &[u32]) -> bool {
    match (all, words) {
        ([a, b, ..], [c, d]) => (a, b) == (c, d),
        ([a, b, c, ..], [d, e, f]) => (a, b, c) == (d, e, f),
        _ => all.get(..words.len()) == Some(words),
    }
}

/// The table keeps half of each hash; this makes a whole one of it.
#[inline(always)]
fn spread(short: u32) -> u64 {
    u64::from(short) << 32 | u64::from(short)
}

/// Which named types a slot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum SlotKind {
    Struct,
    Union,
    Enum,
}

pub(crate) fn slot_words(kind: SlotKind, name: NameId) -> [u32; 2] {
    [head(NodeKind::Slot, kind as u32), name.0]
}

/// The slot that the definition with these words fills: none for an anonymous type, or another kind.
pub(crate) fn slot_of(words: &[u32]) -> Option<(SlotKind, NameId)> {
    let kind = match kind_of(words[0]) {
        NodeKind::Struct => SlotKind::Struct,
        NodeKind::Union => SlotKind::Union,
        NodeKind::Enum => SlotKind::Enum,
        _ => return None,
    };
    (words[1] != 0).then_some((kind, NameId(words[1])))
}

pub(crate) fn slot_kind(head: u32) -> SlotKind {
    match head >> 8 {
        0 => SlotKind::Struct,
        1 => SlotKind::Union,
        _ => SlotKind::Enum,
    }
}

/// The positions in a node's words that hold nodes.
pub(crate) fn references(words: &[u32]) -> impl Iterator<Item = usize> {
    let (start, step) = match kind_of(words[0]) {
        NodeKind::Pointer | NodeKind::Const | NodeKind::Volatile | NodeKind::Restrict | NodeKind::Array => {
            (1, usize::MAX)
        }
        NodeKind::Typedef | NodeKind::TypeTag => (2, usize::MAX),
        NodeKind::Struct | NodeKind::Union => (4, 4),
        NodeKind::Prototype => (1, 2),
        _ => (words.len(), 1),
    };
    (start..words.len()).step_by(step.min(words.len().max(1)))
}

/// The positions in a node's words that hold names.
pub(crate) fn name_positions(words: &[u32]) -> impl Iterator<Item = usize> {
    let (start, step, extra) = match kind_of(words[0]) {
        NodeKind::Int | NodeKind::Float | NodeKind::Typedef | NodeKind::TypeTag | NodeKind::Slot => {
            (1, usize::MAX, None)
        }
        NodeKind::Struct | NodeKind::Union => (3, 4, Some(1)),
        NodeKind::Enum => (3, 3, Some(1)),
        NodeKind::Prototype => (2, 2, None),
        _ => (words.len(), 1, None),
    };
    extra.into_iter().chain((start..words.len()).step_by(step.min(words.len().max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_are_the_same_node() {
        let mut nodes = Nodes::new();
        let pointer = nodes.intern(&[head(NodeKind::Pointer, 0), 0], 7);
        assert_eq!(nodes.intern(&[head(NodeKind::Pointer, 0), 0], 3), pointer);
        assert_eq!(nodes.first(pointer), 3);
        assert_ne!(nodes.intern(&[head(NodeKind::Const, 0), 0], 3), pointer);
        assert_eq!(nodes.len(), 3);
    }

    #[test]
    fn references_and_names_are_where_the_table_says() {
        let of = |words: &[u32]| (references(words).collect::<Vec<_>>(), name_positions(words).collect::<Vec<_>>());
        assert_eq!(of(&[head(NodeKind::Pointer, 0), 9]), (vec![1], vec![]));
        assert_eq!(of(&[head(NodeKind::Array, 0), 9, 4]), (vec![1], vec![]));
        assert_eq!(of(&[head(NodeKind::Typedef, 0), 1, 9]), (vec![2], vec![1]));
        assert_eq!(of(&[head(NodeKind::Struct, 0), 1, 8, 2, 9, 0, 0, 3, 9, 32, 0]), (vec![4, 8], vec![1, 3, 7]));
        assert_eq!(of(&[head(NodeKind::Enum, 0), 1, 4, 2, 0, 0, 3, 1, 0]), (vec![], vec![1, 3, 6]));
        assert_eq!(of(&[head(NodeKind::Prototype, 0), 9, 1, 9, 0, 0]), (vec![1, 3, 5], vec![2, 4]));
    }
}
