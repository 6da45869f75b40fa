//! Files that are cut, or say what is not so: each is an error or an answer, and no work or memory is spent beyond the file's size.

use image::{Image, VirtualAddress};
use std::time::{Duration, Instant};

/// An ELF file of 64 bits, little-endian, x86-64: what is written to it by [`File::put`].
struct File(Vec<u8>);

const HEADER: usize = 64;
const SEGMENT: usize = 56;
const SECTION: usize = 64;
const NOTE: u32 = 7;
const SYMTAB: u32 = 2;
const RELA: u32 = 4;
const RELR: u32 = 19;
const LOAD: u32 = 1;

impl File {
    fn new(size: usize) -> File {
        let mut file = File(vec![0; size]);
        file.put(0, b"\x7fELF\x02\x01\x01");
        // ET_DYN, EM_X86_64, the sizes of headers
        file.put(16, &[3, 0, 62, 0, 1]);
        file.put(52, &(HEADER as u16).to_le_bytes());
        file.put(54, &(SEGMENT as u16).to_le_bytes());
        file.put(58, &(SECTION as u16).to_le_bytes());
        file
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put64(&mut self, at: usize, number: u64) {
        self.put(at, &number.to_le_bytes());
    }

    /// Tables of sections of one kind, and of segments, that all hold the whole file.
    fn all_of(size: usize, kind: u32, sections: usize, segment: u32, segments: usize) -> File {
        let mut file = File::new(size);
        file.put64(40, if sections > 0 { HEADER as u64 } else { 0 });
        // the last one has the names
        file.put(60, &(sections as u16).to_le_bytes());
        file.put(62, &(sections.saturating_sub(1) as u16).to_le_bytes());
        for at in (0..sections).map(|index| HEADER + index * SECTION) {
            file.put(at + 4, &kind.to_le_bytes());
            file.put64(at + 32, size as u64);
        }
        let segments_at = HEADER + sections * SECTION;
        file.put64(32, segments_at as u64);
        file.put(56, &(segments as u16).to_le_bytes());
        for at in (0..segments).map(|index| segments_at + index * SEGMENT) {
            file.put(at, &segment.to_le_bytes());
            // executed and written
            file.put(at + 4, &[7]);
            file.put64(at + 32, size as u64);
            file.put64(at + 40, size as u64);
        }
        file
    }
}

fn said(bytes: &[u8]) -> String {
    Image::parse(bytes).map_or_else(|error| error.to_string(), |_| "parsed".to_owned())
}

/// Everything that is read of a file, in less time than reading its parts over and over would take.
fn read_all(bytes: &[u8]) -> (usize, usize) {
    let begin = Instant::now();
    let image = Image::parse(bytes).unwrap();
    let _ = (image.build_ids(), image.imports(), image.file_offset(VirtualAddress(u64::MAX)));
    let counts = (image.symbols().count(), image.pointers().len());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    counts
}

#[test]
fn counts_that_no_file_has_are_refused() {
    // 65,535 of them; and as many as the first section's header says
    let mut many = File::all_of(8 << 20, 0, 0, LOAD, 65_534);
    assert_eq!(said(&many.0), "program headers, offset 0x40: 65534 entries are more than 2048");
    many.put(56, &2048u16.to_le_bytes());
    assert_eq!(said(&many.0), "parsed");
    let mut many = File::new(80 << 20);
    many.put64(40, HEADER as u64);
    many.put64(HEADER + 32, (1 << 20) + 1);
    many.put(HEADER + SECTION + 4, &[3]);
    many.put(62, &[1]);
    assert_eq!(said(&many.0), "section headers, offset 0x40: 1048577 entries are more than 1048576");
    many.put64(HEADER + 32, u64::from(u32::MAX));
    assert!(said(&many.0).starts_with("section headers, offset 0x40: "), "{}", said(&many.0));
}

#[test]
fn tables_beyond_the_file_are_errors() {
    for (field, count, expected) in [
        (32, 56, "program headers, offset 0xffffffffffffff00: "),
        (40, 60, "section headers, offset 0xffffffffffffff00: "),
    ] {
        let mut file = File::new(4096);
        file.put64(field, u64::MAX - 255);
        file.put(count, &[1]);
        assert!(said(&file.0).starts_with(expected), "{}", said(&file.0));
    }
}

#[test]
fn what_overlaps_is_read_once() {
    const SIZE: usize = 8 << 20;
    for kind in [NOTE, SYMTAB, RELA, RELR] {
        let file = File::all_of(SIZE, kind, 40_000, LOAD, 1);
        let (symbols, pointers) = read_all(&file.0);
        assert!(symbols <= SIZE / 24 && pointers <= SIZE / 8 + 64, "{kind}: {symbols}, {pointers}");
    }
    let mut notes = File::all_of(SIZE, NOTE, 40_000, 4, 2048);
    // one that is read to its end: no owner, no description
    notes.put64(40, 0);
    notes.put(60, &[0; 4]);
    read_all(&notes.0);
}

#[test]
fn bitmaps_of_pointers_do_not_grow() {
    let mut file = File::all_of(1 << 20, RELR, 2, LOAD, 1);
    let bitmaps = HEADER + 2 * SECTION + SEGMENT;
    file.0[bitmaps..].fill(0xff);
    let (_, pointers) = read_all(&file.0);
    assert!(pointers <= (1 << 20) / 8 + 64, "{pointers}");
}

#[test]
fn a_real_file_cut_anywhere_is_an_error_or_less() {
    let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let lengths = (0..256).chain((0..200).map(|part| whole.len() / 200 * part)).chain([whole.len() - 1]);
    for length in lengths {
        let cut = &whole[..length];
        if Image::parse(cut).is_ok() {
            read_all(cut);
        } else {
            assert!(!said(cut).is_empty());
        }
    }
    assert_eq!(said(&whole[..15]), "no ELF file (15 bytes)");
    let mut wrong = whole.clone();
    wrong[4] = 9;
    assert_eq!(said(&wrong), "ELF header, offset 4: class 9 is neither 32 nor 64 bits");
    // its numbers read the other way around: tables are elsewhere, or there are too many
    wrong.clone_from(&whole);
    wrong[5] = 2;
    assert!(said(&wrong).contains(" headers, offset "), "{}", said(&wrong));
}
