//! The compact form of an attach surface: about 12 bytes a function, found by name in microseconds.
//!
//! Little-endian, whatever the kernel is. A varint is LEB128, unsigned, at most 32 bits.
//!
//! | at | field | |
//! |---|---|---|
//! | 0 | magic | `LCCS` |
//! | 4 | version | u16, 1 |
//! | 6 | sources | u16: bit 0 symbols, 1 DWARF, 2 BTF, 3 ftrace table, 4 blacklist |
//! | 8 | functions | u32, their number |
//! | 12 | fact sets | u32, their number |
//! | 16 | fact set bytes | u32, their length F |
//! | 20 | entry bytes | u32, their length E |
//! | 24 | fact sets | F bytes, the most frequent first |
//! | 24+F | block index | u32 for every 16 functions: where its block starts in the entries |
//! | … | entries | E bytes, sorted by name (as bytes) |
//!
//! *Fact set*: u8 flags (bit 0 global, 1 inlined, 2 init, 3 ftrace known, 4 ftrace, 5 blacklist known, 6 blacklisted); varint
//! symbols; varint definitions; u8 BTF (0 unknown, 255 present, else the [`Reason`] of absence); u8 obstacle (0 none); varint
//! number of suffixes, then each as a varint length and its bytes.
//!
//! *Entry*: varint length of the prefix shared with the name before (0 in the first of a block), varint length of the rest,
//! the rest, varint index of its fact set.

use rustc_hash::FxHashMap;

use super::{Facts, InBtf, Reason, Sources};
use crate::error::{Error, Result};

const MAGIC: [u8; 4] = *b"LCCS";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 24;
const BLOCK: usize = 16;
const SECTION: &str = "attach surface";

/// Collects facts and writes them.
#[derive(Clone, Debug, Default)]
pub struct SurfaceBuilder<'n> {
    sources: Sources,
    functions: Vec<(&'n str, Facts)>,
}

impl<'n> SurfaceBuilder<'n> {
    /// An empty surface whose facts come from these sources.
    pub fn new(sources: Sources) -> SurfaceBuilder<'n> {
        SurfaceBuilder { sources, functions: Vec::new() }
    }

    /// Adds what is known of a name. Each name is added once; of several the first counts.
    pub fn add(&mut self, name: &'n str, facts: Facts) {
        self.functions.push((name, facts));
    }

    /// The finished bytes, the same for the same facts in whatever order they came.
    ///
    /// # Errors
    /// [`Error::Format`] where names and facts exceed 4 GiB.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let mut functions = std::mem::take(&mut self.functions);
        functions.sort_by_key(|&(name, _)| name);
        functions.dedup_by_key(|&mut (name, _)| name);
        for (_, facts) in functions.iter_mut().filter(|(_, facts)| facts.suffixes.len() > 1) {
            facts.suffixes.sort_unstable();
            facts.suffixes.dedup();
        }
        // the sets in the order of their first function, and how many functions have each
        let mut numbers: FxHashMap<&Facts, u32> = FxHashMap::default();
        let mut sets: Vec<(&Facts, usize)> = Vec::new();
        let mut set_of = Vec::with_capacity(functions.len());
        for (_, facts) in &functions {
            let number = *numbers.entry(facts).or_insert_with(|| {
                sets.push((facts, 0));
                sets.len() as u32 - 1
            });
            sets[number as usize].1 += 1;
            set_of.push(number);
        }
        let mut order: Vec<u32> = (0..sets.len() as u32).collect();
        order.sort_by_key(|&set| std::cmp::Reverse(sets[set as usize].1));
        let mut set_bytes = Vec::new();
        let mut place = vec![0u32; sets.len()];
        for (at, &set) in order.iter().enumerate() {
            write_facts(sets[set as usize].0, &mut set_bytes);
            place[set as usize] = at as u32;
        }

        let (mut index, mut entries, mut previous) = (Vec::new(), Vec::new(), "");
        for (at, (name, _)) in functions.iter().enumerate() {
            let mut shared = 0;
            if at % BLOCK == 0 {
                index.push(entries.len());
            } else {
                shared = name.bytes().zip(previous.bytes()).take_while(|(a, b)| a == b).count();
            }
            write_varint(shared as u32, &mut entries);
            write_varint((name.len() - shared) as u32, &mut entries);
            entries.extend_from_slice(&name.as_bytes()[shared..]);
            write_varint(place[set_of[at] as usize], &mut entries);
            previous = name;
        }

        let word = |value: usize| {
            let too_large = |_| Error::format(SECTION, value, "too large to write: more than 4 GiB");
            u32::try_from(value).map(u32::to_le_bytes).map_err(too_large)
        };
        let mut out = Vec::with_capacity(HEADER_LEN + set_bytes.len() + index.len() * 4 + entries.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&sources_to_bits(self.sources).to_le_bytes());
        for value in [functions.len(), order.len(), set_bytes.len(), entries.len()] {
            out.extend_from_slice(&word(value)?);
        }
        out.extend_from_slice(&set_bytes);
        for at in index {
            out.extend_from_slice(&word(at)?);
        }
        out.extend_from_slice(&entries);
        Ok(out)
    }
}

/// What a look-up by name finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'s> {
    /// The facts.
    Found(&'s Facts),
    /// The kernel has no function of this name, in whatever form.
    Absent,
    /// The name is not there, but without DWARF that may be because every call of it was inlined.
    Unknown,
}

/// An attach surface that was opened for reading. The names stay where they are; the few hundred fact sets are decoded.
#[derive(Clone, Debug)]
pub struct Surface<'a> {
    sources: Sources,
    sets: Vec<Facts>,
    index: &'a [u8],
    entries: &'a [u8],
    count: usize,
}

impl<'a> Surface<'a> {
    /// Opens the bytes that [`SurfaceBuilder::finish`] wrote.
    ///
    /// # Errors
    /// [`Error::Format`] for another magic or version, for lengths that do not fit, and for a bad fact set.
    pub fn parse(data: &'a [u8]) -> Result<Surface<'a>> {
        let bad = |at: usize, reason: String| Error::format(SECTION, at, reason);
        let Some(header) = data.first_chunk::<HEADER_LEN>() else {
            return Err(bad(0, format!("header cut off: {} bytes", data.len())));
        };
        if header[..4] != MAGIC {
            return Err(bad(0, "does not start with LCCS".to_owned()));
        }
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(bad(4, format!("version {version} is not supported")));
        }
        let sources = sources_from_bits(u16::from_le_bytes([header[6], header[7]]));
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
        let (count, set_count, set_len, entries_len) = (word(8), word(12), word(16), word(20));
        let index_len = count.div_ceil(BLOCK) * 4;
        let expected = HEADER_LEN as u64 + set_len as u64 + index_len as u64 + entries_len as u64;
        if expected != data.len() as u64 {
            return Err(bad(8, format!("the header tells of {expected} bytes, there are {}", data.len())));
        }
        let (set_bytes, rest) = data[HEADER_LEN..].split_at(set_len);
        let (index, entries) = rest.split_at(index_len);
        let mut reader = Reader { data: set_bytes, at: 0, start: HEADER_LEN };
        // A fact set takes at least six bytes, which bounds what a hostile count can reserve.
        let mut sets = Vec::with_capacity(set_count.min(set_len / 6));
        for _ in 0..set_count {
            sets.push(reader.facts()?);
        }
        Ok(Surface { sources, sets, index, entries, count })
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where the facts were taken from.
    pub fn sources(&self) -> Sources {
        self.sources
    }

    /// The facts of a name.
    ///
    /// # Errors
    /// [`Error::Format`] where the entries are damaged.
    pub fn lookup(&self, name: &str) -> Result<Lookup<'_>> {
        let name = name.as_bytes();
        let (mut low, mut high) = (0, self.index.len() / 4);
        while low < high {
            let middle = (low + high) / 2;
            let mut reader = self.block(middle)?;
            let (shared, first) = (reader.varint()?, reader.bytes()?);
            if shared != 0 {
                return Err(reader.error("a block starts with a shared prefix"));
            }
            if first <= name { low = middle + 1 } else { high = middle }
        }
        let Some(block) = low.checked_sub(1) else { return Ok(self.missing()) };
        let mut reader = self.block(block)?;
        let mut current = Vec::new();
        for _ in 0..BLOCK.min(self.count - block * BLOCK) {
            let set = reader.entry(&mut current)?;
            if current == name {
                return self.facts(set, &reader).map(Lookup::Found);
            }
        }
        Ok(self.missing())
    }

    /// All names and their facts, sorted by name.
    ///
    /// An item is [`Error::Format`] where the entries are damaged.
    pub fn functions(&self) -> impl Iterator<Item = Result<(String, &Facts)>> {
        let mut reader = Reader { data: self.entries, at: 0, start: 0 };
        let mut current = Vec::new();
        (0..self.count).map(move |_| {
            let set = reader.entry(&mut current)?;
            let name = std::str::from_utf8(&current).map_err(|_| reader.error("a name is not UTF-8"))?.to_owned();
            Ok((name, self.facts(set, &reader)?))
        })
    }

    fn missing(&self) -> Lookup<'_> {
        if self.sources.dwarf { Lookup::Absent } else { Lookup::Unknown }
    }

    fn facts(&self, set: u32, reader: &Reader<'_>) -> Result<&Facts> {
        self.sets.get(set as usize).ok_or_else(|| reader.error("a fact set that does not exist"))
    }

    fn block(&self, block: usize) -> Result<Reader<'a>> {
        let at =
            self.index.get(block * 4..).and_then(|tail| tail.first_chunk::<4>()).map_or(0, |b| u32::from_le_bytes(*b));
        let reader = Reader { data: self.entries, at: at as usize, start: 0 };
        if reader.at >= self.entries.len() {
            Err(reader.error("a block starts beyond the entries"))
        } else {
            Ok(reader)
        }
    }
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    /// Where `data` starts, for errors.
    start: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, reason: &str) -> Error {
        Error::format(SECTION, self.start + self.at, reason)
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.data.get(self.at).ok_or_else(|| self.error("cut off"))?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u32> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| self.error("a number exceeds 32 bits"));
            }
        }
        Err(self.error("a number exceeds 32 bits"))
    }

    /// Bytes preceded by their length.
    fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.varint()? as usize;
        let bytes = self.data.get(self.at..).and_then(|tail| tail.get(..len)).ok_or_else(|| self.error("cut off"))?;
        self.at += len;
        Ok(bytes)
    }

    /// Makes `name` the next entry's name, and returns the index of its fact set.
    fn entry(&mut self, name: &mut Vec<u8>) -> Result<u32> {
        let shared = self.varint()? as usize;
        if shared > name.len() {
            return Err(self.error("a shared prefix is longer than the name before"));
        }
        name.truncate(shared);
        name.extend_from_slice(self.bytes()?);
        self.varint()
    }

    fn facts(&mut self) -> Result<Facts> {
        let flags = self.byte()?;
        let known = |is_known: u8, is_true: u8| (flags & is_known != 0).then_some(flags & is_true != 0);
        let (symbols, definitions) = (self.varint()?, self.varint()?);
        let btf = match self.byte()? {
            0 => InBtf::Unknown,
            255 => InBtf::Present,
            n => InBtf::Absent(Reason::from_raw(n).ok_or_else(|| self.error("an unknown reason"))?),
        };
        let obstacle = match self.byte()? {
            0 => None,
            n => Some(Reason::from_raw(n).ok_or_else(|| self.error("an unknown reason"))?),
        };
        let mut suffixes = Vec::new();
        for _ in 0..self.varint()? {
            let suffix = std::str::from_utf8(self.bytes()?).map_err(|_| self.error("a suffix is not UTF-8"))?;
            suffixes.push(suffix.to_owned());
        }
        Ok(Facts {
            symbols,
            global: flags & 1 != 0,
            definitions,
            inlined: flags & 2 != 0,
            suffixes,
            btf,
            obstacle,
            ftrace: known(8, 16),
            blacklisted: known(32, 64),
            init: flags & 4 != 0,
        })
    }
}

fn write_facts(facts: &Facts, out: &mut Vec<u8>) {
    let bit = |set: bool, bit: u8| if set { 1 << bit } else { 0 };
    out.push(
        bit(facts.global, 0)
            | bit(facts.inlined, 1)
            | bit(facts.init, 2)
            | bit(facts.ftrace.is_some(), 3)
            | bit(facts.ftrace == Some(true), 4)
            | bit(facts.blacklisted.is_some(), 5)
            | bit(facts.blacklisted == Some(true), 6),
    );
    write_varint(facts.symbols, out);
    write_varint(facts.definitions, out);
    out.push(match facts.btf {
        InBtf::Unknown => 0,
        InBtf::Present => 255,
        InBtf::Absent(reason) => reason as u8,
    });
    out.push(facts.obstacle.map_or(0, |reason| reason as u8));
    write_varint(facts.suffixes.len() as u32, out);
    for suffix in &facts.suffixes {
        write_varint(suffix.len() as u32, out);
        out.extend_from_slice(suffix.as_bytes());
    }
}

fn write_varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn sources_to_bits(sources: Sources) -> u16 {
    let Sources { symbols, dwarf, btf, ftrace, blacklist } = sources;
    [symbols, dwarf, btf, ftrace, blacklist].into_iter().enumerate().map(|(bit, set)| u16::from(set) << bit).sum()
}

fn sources_from_bits(bits: u16) -> Sources {
    let bit = |bit: u16| bits >> bit & 1 != 0;
    Sources { symbols: bit(0), dwarf: bit(1), btf: bit(2), ftrace: bit(3), blacklist: bit(4) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::*;

    fn reason() -> impl Strategy<Value = Reason> {
        (1..=20u8).prop_map(|n| Reason::from_raw(n).expect("in range"))
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let btf = prop_oneof![Just(InBtf::Unknown), Just(InBtf::Present), reason().prop_map(InBtf::Absent)];
        let tri = proptest::option::of(any::<bool>());
        let suffixes = proptest::collection::btree_set("\\.[a-z]{1,4}", 0..3);
        let counts = (0..3u32, 0..200u32);
        let bools = (any::<bool>(), any::<bool>(), any::<bool>());
        (counts, bools, suffixes, btf, proptest::option::of(reason()), tri.clone(), tri).prop_map(
            |((symbols, definitions), (global, inlined, init), suffixes, btf, obstacle, ftrace, blacklisted)| {
                let suffixes = suffixes.into_iter().collect();
                Facts { symbols, global, definitions, inlined, suffixes, btf, obstacle, ftrace, blacklisted, init }
            },
        )
    }

    fn build(functions: &BTreeMap<String, Facts>, dwarf: bool) -> Vec<u8> {
        let mut out = SurfaceBuilder::new(Sources { dwarf, ..Sources::default() });
        functions.iter().rev().for_each(|(name, facts)| out.add(name, facts.clone()));
        out.finish().expect("small")
    }

    proptest! {
        #[test]
        fn what_is_written_is_found(
            functions in proptest::collection::btree_map("[a-c_]{1,5}|\\PC{0,4}", facts(), 0..120),
            absent in "[a-d]{1,6}",
            dwarf in any::<bool>(),
        ) {
            let bytes = build(&functions, dwarf);
            let surface = Surface::parse(&bytes).unwrap();
            prop_assert_eq!(surface.len(), functions.len());
            let all: BTreeMap<String, Facts> = surface.functions().map(|f| f.map(|(n, f)| (n, f.clone())).unwrap()).collect();
            prop_assert_eq!(&all, &functions);
            for (name, facts) in &functions {
                prop_assert_eq!(surface.lookup(name).unwrap(), Lookup::Found(facts));
            }
            if !functions.contains_key(&absent) {
                let expected = if dwarf { Lookup::Absent } else { Lookup::Unknown };
                prop_assert_eq!(surface.lookup(&absent).unwrap(), expected);
            }
        }

        #[test]
        fn damaged_bytes_are_an_error_or_an_answer_but_never_a_panic(
            functions in proptest::collection::btree_map("[a-c]{1,4}", facts(), 0..40),
            cut in any::<prop::sample::Index>(),
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            truncate in any::<bool>(),
        ) {
            let mut bytes = build(&functions, true);
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if truncate {
                bytes.truncate(cut.index(bytes.len()));
                prop_assert!(Surface::parse(&bytes).is_err());
            } else if let Ok(surface) = Surface::parse(&bytes) {
                surface.functions().take_while(Result::is_ok).count();
                for name in functions.keys() {
                    let _ = surface.lookup(name);
                }
            }
        }
    }

    #[test]
    fn a_header_that_lies_is_named() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(Surface::parse(bytes).unwrap_err().to_string(), expected);
        };
        let good = build(&BTreeMap::new(), true);
        check(&good[..10], "attach surface at offset 0x0: header cut off: 10 bytes");
        check(&[&b"ELF!"[..], &good[4..]].concat(), "attach surface at offset 0x0: does not start with LCCS");
        check(&[&good[..4], &[9, 0], &good[6..]].concat(), "attach surface at offset 0x4: version 9 is not supported");
        check(&[&good[..], &[0]].concat(), "attach surface at offset 0x8: the header tells of 24 bytes, there are 25");
    }
}
