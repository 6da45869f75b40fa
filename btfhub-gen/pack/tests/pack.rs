//! Packs written and read, damaged, and hostile.

use std::collections::BTreeMap;

use pack::{Builder, Entry, Error, Hash, KernelId, Lookup, Pack};
use proptest::prelude::*;

fn id(n: u32) -> KernelId {
    let distro = ["debian", "ubuntu", "centos"][n as usize % 3];
    KernelId::new(distro, (n % 5 + 8).to_string(), "x86_64", format!("5.{n}.0-generic")).unwrap()
}

fn build(contents: &[Vec<u8>], entries: impl IntoIterator<Item = Entry>, threads: usize) -> Vec<u8> {
    let by_hash: BTreeMap<Hash, &Vec<u8>> = contents.iter().map(|c| (Hash::of(c), c)).collect();
    let mut builder = Builder::new();
    entries.into_iter().for_each(|e| builder.add(e));
    let mut bytes = Vec::new();
    builder.write(&mut bytes, threads, &|hash| Ok(by_hash[&hash].clone())).unwrap();
    bytes
}

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 28) as u8
        })
        .collect()
}

fn small() -> Vec<u8> {
    let contents: Vec<Vec<u8>> = (0..4).map(|n| noise(n, 300)).collect();
    let entry = |n: u32| Entry {
        module: if n % 7 == 6 { "nf_tables".into() } else { String::new() },
        surface: n.is_multiple_of(2).then(|| Hash::of(&contents[3])),
        ..Entry::vmlinux(id(n), Hash::of(&contents[n as usize % 3]))
    };
    build(&contents, (0..12).map(entry), 1)
}

#[test]
fn equal_contents_are_stored_once() {
    let bytes = small();
    let pack = Pack::open(&bytes).unwrap();
    assert_eq!((pack.entries().len(), pack.blob_count()), (12, 4));
    pack.verify().unwrap();
    assert_eq!(pack.get("debian", "11", "x86_64", "5.3.0-generic").unwrap(), Lookup::Found(noise(0, 300)));
    assert_eq!(pack.get("debian", "11", "x86_64", "5.4.0-generic").unwrap(), Lookup::Absent);
    assert_eq!(pack.get("", "", "", "").unwrap(), Lookup::Absent);
    let found = pack.find_module("debian", "9", "x86_64", "5.6.0-generic", "nf_tables").found().unwrap();
    assert_eq!(pack.read(found.surface.unwrap()).unwrap(), noise(3, 300));
    assert_eq!(pack.find("debian", "9", "x86_64", "5.6.0-generic"), Lookup::Absent);
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_order() {
    let contents: Vec<Vec<u8>> = (0..9).map(|n| noise(n, 700_000)).collect();
    let entries: Vec<Entry> = (0..9).map(|n| Entry::vmlinux(id(n), Hash::of(&contents[n as usize]))).collect();
    let one = build(&contents, entries.clone(), 1);
    assert_eq!(one, build(&contents, entries.iter().rev().cloned(), 7));
    let pack = Pack::open(&one).unwrap();
    for entry in pack.entries() {
        let n: usize = entry.release[2..].split('.').next().unwrap().parse().unwrap();
        assert!(pack.read(entry.btf).unwrap() == contents[n]);
    }
}

#[test]
fn an_empty_pack_is_a_pack() {
    let bytes = build(&[], [], 1);
    let pack = Pack::open(&bytes).unwrap();
    pack.verify().unwrap();
    assert_eq!(pack.entries().len(), 0);
}

#[test]
fn merging_finds_conflicts() {
    let mut builder = Builder::new();
    builder.merge(Entry::vmlinux(id(1), Hash(1))).unwrap();
    builder.merge(Entry::vmlinux(id(1), Hash(1))).unwrap();
    let error = builder.merge(Entry::vmlinux(id(1), Hash(2))).unwrap_err();
    assert_eq!(error.to_string(), "ubuntu/9/x86_64/5.1.0-generic: two different results");
    let error = builder.write(&mut Vec::new(), 1, &|_| Ok(vec![])).unwrap_err();
    assert!(matches!(error, Error::WrongContent { hash: Hash(1) }), "{error}");
}

/// All that can be asked of a pack, without a panic.
fn ask(bytes: &[u8]) -> pack::Result<()> {
    let pack = Pack::open(bytes)?;
    for entry in pack.entries() {
        pack.find_module(entry.distro, entry.version, entry.arch, entry.release, entry.module);
    }
    pack.verify()
}

#[test]
fn every_changed_byte_is_noticed() {
    let bytes = small();
    for at in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut broken = bytes.clone();
            broken[at] ^= flip;
            match ask(&broken) {
                Err(Error::Malformed { section, offset, .. }) => {
                    assert!(offset <= bytes.len() as u64, "{section} at {offset}");
                }
                other => panic!("byte {at} ^ {flip:#x}: {other:?}"),
            }
        }
    }
}

#[test]
fn every_cut_is_noticed() {
    let bytes = small();
    for len in 0..bytes.len() {
        assert!(matches!(ask(&bytes[..len]), Err(Error::Malformed { .. })), "{len}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(ask(&longer).is_err());
}

#[track_caller]
fn check_error(bytes: &[u8], expected: &str) {
    assert_eq!(ask(bytes).unwrap_err().to_string(), expected);
}

#[test]
fn messages_name_the_place() {
    let bytes = small();
    check_error(b"", "header at offset 0x0: no pack");
    check_error(b"\x7fELF and more than sixteen", "header at offset 0x0: no pack");
    let mut other = bytes.clone();
    other[8] = 9;
    check_error(&other, "header at offset 0x8: version 9, known is 1");
    let end = bytes.len() - 64 + 56;
    check_error(
        &bytes[..bytes.len() - 1],
        &format!("trailer at offset {:#x}: no trailer: the pack is cut off, or something is behind it", end - 1),
    );
    other = bytes.clone();
    other[20] ^= 1;
    let error = ask(&other).unwrap_err().to_string();
    assert!(error.starts_with("frame 0 at offset 0x10: "), "{error}");
}

/// A pack around an index of one's own, with all checksums right.
fn with_index(frames: &[u8], index: &[u8]) -> Vec<u8> {
    use xxhash_rust::xxh3::{xxh3_64, xxh3_128};
    let mut bytes = b"LCC-PACK\x01\0\0\0\0\0\0\0".to_vec();
    let stored = zstd::bulk::compress(index, 1).unwrap();
    let hash = xxh3_128(&[&bytes[..], &stored].concat());
    bytes.extend(frames);
    let at = bytes.len();
    bytes.extend(&stored);
    let mut trailer = Vec::new();
    trailer.extend((bytes.len() as u64 + 64).to_le_bytes());
    trailer.extend((at as u64).to_le_bytes());
    trailer.extend((stored.len() as u32).to_le_bytes());
    trailer.extend((index.len() as u32).to_le_bytes());
    trailer.extend(hash.to_le_bytes());
    trailer.extend(xxh3_64(frames).to_le_bytes());
    trailer.extend(xxh3_64(&trailer).to_le_bytes());
    trailer.extend(b"LCC-TAIL");
    bytes.extend(trailer);
    bytes
}

#[test]
fn an_index_that_lies_is_refused() {
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    check_error(&with_index(b"", &words(&[0, 0, 0])), "index at offset 0xc: truncated: 4 bytes wanted");
    check_error(&with_index(b"", &words(&[9])), "index at offset 0x0: truncated: 9 things of 2 bytes or more");
    check_error(&with_index(b"", &words(&[0, 1, 5, 5, 0, 0])), "index at offset 0x8: frame leaves the pack");
    check_error(
        &with_index(b"x", &words(&[0, 0, 0, 0])),
        "index at offset 0x8: 1 bytes before the index are in no frame",
    );
    check_error(&with_index(b"x", &words(&[0, 1, 1, 5, 0, 0])), "index at offset 0x14: frames are not full of blobs");
    check_error(&with_index(b"", &words(&[0, 0, 0, 0, 7])), "index at offset 0x10: bytes that belong to nothing");
    let blob = |frame, offset, len| words(&[0, 1, 1, 5, 1, 0, 0, 0, 0, frame, offset, len, 0]);
    check_error(&with_index(b"x", &blob(1, 0, 5)), "index at offset 0x14: blob is in no frame");
    check_error(&with_index(b"x", &blob(0, 1, 4)), "index at offset 0x14: blob is not behind the one before");
    check_error(&with_index(b"x", &blob(0, 0, 9)), "index at offset 0x14: blob is not behind the one before");
    check_error(&with_index(b"x", &blob(0, u32::MAX, 9)), "index at offset 0x14: blob is in no frame");
    let error = ask(&with_index(b"x", &blob(0, 0, 5))).unwrap_err().to_string();
    assert!(error.starts_with("frame 0 at offset 0x10: damaged zstd frame: "), "{error}");
    let strings = |a: &str, b: &str| {
        let mut index = 2u32.to_le_bytes().to_vec();
        for string in [a, b] {
            index.extend((string.len() as u16).to_le_bytes());
            index.extend(string.bytes());
        }
        index.extend([0; 12]);
        index
    };
    check_error(&with_index(b"", &strings("b", "a")), "index at offset 0x7: strings are not in order");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is written is what is read, whatever the sizes.
    #[test]
    fn packs_round_trip(sizes in proptest::collection::vec(0usize..2000, 0..9), scale in prop_oneof![0usize..3, 300usize..900], threads in 1usize..4) {
        let contents: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, &len)| noise(n as u32, len * scale)).collect();
        let entries: Vec<Entry> = (0u32..).zip(&contents).map(|(n, c)| Entry::vmlinux(id(n), Hash::of(c))).collect();
        let bytes = build(&contents, entries.clone(), threads);
        let pack = Pack::open(&bytes).unwrap();
        pack.verify().unwrap();
        for (entry, content) in entries.iter().zip(&contents) {
            let id = &entry.id;
            let got = pack.get(id.distro(), id.version(), id.arch(), id.release()).unwrap().found().unwrap();
            prop_assert_eq!(&got, content);
        }
        let mut sorted = entries;
        sorted.sort();
        prop_assert_eq!(pack.entries().map(|e| e.to_owned()).collect::<Vec<_>>(), sorted);
    }

    /// Any bytes behind the magic are refused or read, never a panic.
    #[test]
    fn garbage_is_refused(index in proptest::collection::vec(any::<u8>(), 0..200), frames in proptest::collection::vec(any::<u8>(), 0..50)) {
        let _ = ask(&with_index(&frames, &index));
    }
}
