//! Damaged files: whatever bytes are changed or cut off, the answer is BTF or an error that says where.

use std::time::Duration;

use dwarf::{Error, Input};

use crate::encoded::options;
use crate::fixture::build;
use crate::fixtures::by_name;
use crate::watch::watch;

/// Xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// The places in the file of its debug sections and symbol tables.
fn sections(elf: &[u8]) -> Vec<(usize, usize)> {
    use object::{Object, ObjectSection};
    let file = object::File::parse(elf).unwrap();
    let all = file.sections().filter(|section| {
        section.name().is_ok_and(|name| name.contains("debug") || name.contains("sym") || name.contains("str"))
    });
    all.filter_map(|section| section.file_range()).map(|(at, size)| (at as usize, size as usize)).collect()
}

/// Values at which parsers have their limits.
const EDGES: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff, u64::MAX];

fn damage(random: &mut Random, elf: &mut Vec<u8>, places: &[(usize, usize)]) {
    match random.below(10) {
        0 => {
            let end = random.below(elf.len());
            elf.truncate(end);
            return;
        }
        // the header and the section headers
        1 => {
            let from = if random.below(2) == 0 { 0 } else { elf.len().saturating_sub(3000) };
            let at = from + random.below(elf.len().min(from + 3000) - from);
            elf[at] = random.next() as u8;
            return;
        }
        _ => {}
    }
    for _ in 0..=random.below(4) {
        let (start, size) = places[random.below(places.len())];
        let at = start + random.below(size);
        match random.below(4) {
            0 => elf[at] ^= 1 << random.below(8),
            1 => elf[at] = random.next() as u8,
            2 => {
                let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4)].min(elf.len() - at);
                elf[at..at + width].copy_from_slice(&edge[..width]);
            }
            _ => {
                let from = start + random.below(size);
                let width = random.below(40).min(elf.len() - at.max(from));
                elf.copy_within(from..from + width, at);
            }
        }
    }
}

/// Encodes `variants` damaged versions of a fixture's file, or of its supplementary file; `LCC_DAMAGE=N` times as many.
fn check(name: &str, variants: usize) {
    let factor = std::env::var("LCC_DAMAGE").map_or(1, |factor| factor.parse().unwrap());
    let variants = variants * factor;
    let fixture = by_name(name);
    let Some(built) = build(fixture.steps) else { return };
    let in_main = sections(&built.elf);
    let in_supplementary = built.supplementary.as_deref().map(sections);
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ name.len() as u64);
    let (mut errors, mut results) = (0, 0);
    for variant in 0..variants {
        let mut input = (built.elf.clone(), built.supplementary.clone());
        match (&mut input.1, &in_supplementary) {
            (Some(supplementary), Some(places)) if random.below(2) == 0 => damage(&mut random, supplementary, places),
            _ => damage(&mut random, &mut input.0, &in_main),
        }
        let size = input.0.len() + input.1.as_ref().map_or(0, Vec::len);
        let input = Input { elf: &input.0, supplementary: input.1.as_deref() };
        let (result, cost) = watch(|| dwarf::encode(&input, &options()));
        // a compressed section may have grown a thousandfold by its header
        let most = (16 << 20) + 64 * size + if name.contains("zlib") || name.contains("zstd") { 600 * size } else { 0 };
        assert!(cost.memory < most, "{name}, variant {variant}: {} bytes for {size} of input", cost.memory);
        assert!(cost.time < Duration::from_secs(60), "{name}, variant {variant}: {:?}", cost.time);
        match result {
            Ok(output) => {
                results += 1;
                btf::Btf::parse(&output.btf).unwrap_or_else(|error| panic!("{name}, variant {variant}: {error}"));
            }
            Err(error) => {
                errors += 1;
                let text = error.to_string();
                assert!(!text.is_empty() && !text.contains("internal"), "{name}, variant {variant}: {text}");
                if let Error::Malformed { offset, .. } = error {
                    assert!(text.contains(&format!(" offset {offset:#x}: ")), "{name}, variant {variant}: {text}");
                }
            }
        }
    }
    assert!(errors > 0 && results > 0, "{name}: {errors} errors, {results} results");
}

#[test]
fn damaged_units_of_dwarf5() {
    check("types_gcc_dwarf5", 3000);
    check("types_clang_dwarf5", 3000);
}

#[test]
fn damaged_units_of_older_versions() {
    check("types_gcc_dwarf2", 1500);
    check("bitfields_clang_dwarf4", 1500);
    check("types_dwarf64_version3", 1500);
}

#[test]
fn damaged_functions_and_variables() {
    check("functions_gcc", 2000);
    check("functions_clang", 2000);
    check("transformed_gcc_linked", 2000);
    check("percpu_clang", 1000);
}

#[test]
fn damaged_references_between_units() {
    check("units", 2000);
    check("units_type_units", 1500);
    check("types_type_units_version4", 1000);
    check("lto_gcc", 2000);
    check("lto_clang", 1500);
    check("units_dwz", 2000);
}

#[test]
fn damaged_supplementary_files() {
    check("units_dwz_supplementary", 2000);
    check("units_dwz_supplementary_dwarf5", 2000);
}

#[test]
fn damaged_compressed_sections() {
    check("types_zlib", 1000);
    check("types_zlib_gnu", 1000);
    check("types_zstd", 1000);
}

#[test]
fn damaged_files_of_other_machines() {
    check("types_clang_big_endian", 1000);
    check("types_gcc_32_bit", 1000);
    check("annotations", 1000);
}
