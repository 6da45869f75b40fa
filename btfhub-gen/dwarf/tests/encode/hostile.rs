//! Hostile files: cycles, depth, counts and sizes made to exhaust a reader. Each gets an answer soon, and in little memory.

use std::sync::mpsc;
use std::time::Duration;

use btf::{Btf, Kind, Type};
use dwarf::{Input, Output};

use crate::encoded::options;
use crate::forge::{Bytes, Forgery, abbreviation, dw, unit};
use crate::watch::watch;

/// Far more than any of these files needs; a reader that hangs needs more than that.
const LONGEST: Duration = Duration::from_secs(120);
const MOST_MEMORY: usize = 256 << 20;

/// Encodes on a thread that may be left behind if it hangs.
fn encode(elf: Vec<u8>) -> dwarf::Result<Output> {
    let size = elf.len();
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let input = Input { elf: &elf, supplementary: None };
        let _ = done.send(watch(|| dwarf::encode(&input, &options())));
    });
    let (result, cost) = wait.recv_timeout(LONGEST).unwrap_or_else(|error| panic!("{size} bytes of input: {error}"));
    assert!(cost.memory < MOST_MEMORY, "{} bytes of memory for {size} of input", cost.memory);
    eprintln!("{size} bytes of input: {:?}, {} bytes of memory", cost.time, cost.memory);
    result
}

fn check_error(elf: Vec<u8>, expected: &str) {
    let error = encode(elf).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}\ninstead of\n{expected}");
}

/// The codes of [`usual`].
mod code {
    pub(crate) const UNIT: u64 = 1;
    pub(crate) const TYPEDEF: u64 = 2;
    pub(crate) const POINTER: u64 = 3;
    pub(crate) const STRUCT: u64 = 4;
    pub(crate) const MEMBER: u64 = 5;
    pub(crate) const BASE: u64 = 6;
    pub(crate) const ANONYMOUS: u64 = 7;
    pub(crate) const CONST: u64 = 8;
    pub(crate) const ARRAY: u64 = 9;
    pub(crate) const SUBRANGE: u64 = 10;
    pub(crate) const PROTOTYPE: u64 = 11;
    pub(crate) const TYPE_PARAMETER: u64 = 12;
    pub(crate) const FUNCTION: u64 = 13;
    pub(crate) const PARAMETER: u64 = 14;
    pub(crate) const FAR_TYPEDEF: u64 = 15;
    pub(crate) const STRP_BASE: u64 = 16;
    pub(crate) const LISTED_PARAMETER: u64 = 17;
    pub(crate) const ENUM: u64 = 18;
    pub(crate) const ENUMERATOR: u64 = 19;
    pub(crate) const PLACED: u64 = 20;
}

/// One abbreviation of each kind.
fn usual() -> Bytes {
    use dw::*;
    let mut table = Bytes::default();
    let mut add = |code, tag, children, attributes: &[(u64, u64)]| {
        abbreviation(&mut table, code, tag, children, attributes);
    };
    add(code::UNIT, TAG_COMPILE_UNIT, true, &[]);
    add(code::TYPEDEF, TAG_TYPEDEF, false, &[(AT_NAME, FORM_STRING), (AT_TYPE, FORM_REF4)]);
    add(code::POINTER, TAG_POINTER, false, &[(AT_TYPE, FORM_REF4)]);
    add(code::STRUCT, TAG_STRUCTURE, true, &[(AT_NAME, FORM_STRING), (AT_BYTE_SIZE, FORM_UDATA)]);
    add(code::MEMBER, TAG_MEMBER, false, &[(AT_NAME, FORM_STRING), (AT_TYPE, FORM_REF4)]);
    let base = [(AT_NAME, FORM_STRING), (AT_BYTE_SIZE, FORM_UDATA), (AT_ENCODING, FORM_DATA1)];
    add(code::BASE, TAG_BASE, false, &base);
    add(code::ANONYMOUS, TAG_STRUCTURE, true, &[(AT_BYTE_SIZE, FORM_UDATA)]);
    add(code::CONST, TAG_CONST, false, &[(AT_TYPE, FORM_REF4)]);
    add(code::ARRAY, TAG_ARRAY, true, &[(AT_TYPE, FORM_REF4)]);
    add(code::SUBRANGE, TAG_SUBRANGE, false, &[(AT_COUNT, FORM_DATA8)]);
    add(code::PROTOTYPE, TAG_SUBROUTINE, true, &[]);
    add(code::TYPE_PARAMETER, TAG_PARAMETER, false, &[(AT_TYPE, FORM_REF4)]);
    add(code::FUNCTION, TAG_SUBPROGRAM, true, &[(AT_NAME, FORM_STRING), (AT_LOW_PC, FORM_ADDR)]);
    let parameter = [(AT_NAME, FORM_STRING), (AT_TYPE, FORM_REF4), (AT_LOCATION, FORM_EXPRLOC)];
    add(code::PARAMETER, TAG_PARAMETER, false, &parameter);
    add(code::FAR_TYPEDEF, TAG_TYPEDEF, false, &[(AT_NAME, FORM_STRING), (AT_TYPE, FORM_REF_ADDR)]);
    let base = [(AT_NAME, FORM_STRP), (AT_BYTE_SIZE, FORM_UDATA), (AT_ENCODING, FORM_DATA1)];
    add(code::STRP_BASE, TAG_BASE, false, &base);
    let parameter = [(AT_NAME, FORM_STRING), (AT_TYPE, FORM_REF4), (AT_LOCATION, FORM_SEC_OFFSET)];
    add(code::LISTED_PARAMETER, TAG_PARAMETER, false, &parameter);
    add(code::ENUM, TAG_ENUMERATION, true, &[(AT_NAME, FORM_STRING), (AT_BYTE_SIZE, FORM_UDATA)]);
    add(code::ENUMERATOR, TAG_ENUMERATOR, false, &[(AT_NAME, FORM_STRING), (AT_CONST_VALUE, FORM_DATA8)]);
    let member = [(AT_NAME, FORM_STRING), (AT_TYPE, FORM_REF4), (AT_MEMBER_LOCATION, FORM_DATA8)];
    add(code::PLACED, TAG_MEMBER, false, &member);
    table.u8(0);
    table
}

/// A file of one unit with the usual abbreviations.
fn one_unit(fill: impl FnOnce(&mut Bytes)) -> Forgery {
    let mut info = Bytes::default();
    unit(&mut info, 0, |unit| {
        unit.uleb(code::UNIT);
        fill(unit);
        unit.u8(0);
    });
    Forgery::new(usual(), info)
}

fn types(output: &Output) -> Btf<'_> {
    Btf::parse(&output.btf).unwrap()
}

#[test]
fn types_that_lead_to_themselves() {
    let forgery = one_unit(|unit| {
        let at = unit.len();
        unit.uleb(code::TYPEDEF).text("itself").u32(at);
        let at = unit.len();
        unit.uleb(code::CONST).u32(at);
        let at = unit.len();
        unit.uleb(code::POINTER).u32(at);
        let at = unit.len();
        unit.uleb(code::ARRAY).u32(at).uleb(code::SUBRANGE).u64(3).u8(0);
        let at = unit.len();
        unit.uleb(code::ANONYMOUS).uleb(8).uleb(code::MEMBER).text("m").u32(at).u8(0);
        let at = unit.len();
        unit.uleb(code::PROTOTYPE).uleb(code::TYPE_PARAMETER).u32(at).u8(0);
        // two typedefs, each of the other
        let at = unit.len();
        unit.uleb(code::TYPEDEF).text("one").u32(at + 11);
        assert_eq!(unit.len(), at + 9);
        unit.uleb(code::CONST).u32(at).u8(0);
    });
    // the last reference leads into the middle of an entry
    encode(forgery.elf()).unwrap();
    let forgery = one_unit(|unit| {
        let at = unit.len();
        unit.uleb(code::TYPEDEF).text("one").u32(at + 9);
        unit.uleb(code::TYPEDEF).text("two").u32(at);
        unit.uleb(code::STRUCT).text("holds").uleb(8).uleb(code::MEMBER).text("m").u32(at).u8(0);
    });
    let output = encode(forgery.elf()).unwrap();
    assert!(output.diagnostics.iter().any(|note| note.message.contains("contains itself")), "{:?}", output.diagnostics);
    assert_eq!(types(&output).find("one", Kind::Typedef).count(), 1);
}

#[test]
fn a_structure_in_itself() {
    let forgery = one_unit(|unit| {
        let at = unit.len();
        unit.uleb(code::STRUCT).text("matryoshka").uleb(8);
        unit.uleb(code::MEMBER).text("a").u32(at).uleb(code::MEMBER).text("b").u32(at).u8(0);
        let function = |unit: &mut Bytes, parameters: u32| {
            unit.uleb(code::FUNCTION).text("f").u64(0x1000);
            for _ in 0..parameters {
                unit.uleb(code::PARAMETER).text("p").u32(at).uleb(1).u8(0x55);
            }
            unit.u8(0);
        };
        // by value on the stack, so that its alignment is asked for
        function(unit, 9);
    });
    encode(forgery.function("f", 0x1000).elf()).unwrap();
}

#[test]
fn structures_whose_size_takes_a_power_of_two_steps() {
    let forgery = one_unit(|unit| {
        let mut below = unit.len();
        unit.uleb(code::BASE).text("int").uleb(4).u8(5);
        for level in 0..60 {
            let at = unit.len();
            unit.uleb(code::STRUCT).text(&format!("s{level}")).uleb(8);
            for name in ["a", "b"] {
                unit.uleb(code::MEMBER).text(name).u32(below);
            }
            unit.u8(0);
            below = at;
        }
        unit.uleb(code::FUNCTION).text("f").u64(0x1000);
        for _ in 0..9 {
            unit.uleb(code::PARAMETER).text("p").u32(below).uleb(1).u8(0x55);
        }
        unit.u8(0);
    });
    encode(forgery.function("f", 0x1000).elf()).unwrap();
}

#[test]
fn prototypes_whose_comparison_takes_a_power_of_two_steps() {
    // two functions of one name whose parameters are the same but for a const at the very bottom
    let forgery = one_unit(|unit| {
        let int = unit.len();
        unit.uleb(code::BASE).text("int").uleb(4).u8(5);
        let constant = unit.len();
        unit.uleb(code::CONST).u32(int);
        for mut below in [int, constant] {
            for _ in 0..60 {
                let at = unit.len();
                unit.uleb(code::PROTOTYPE);
                for _ in 0..2 {
                    unit.uleb(code::TYPE_PARAMETER).u32(below);
                }
                unit.u8(0);
                below = at;
            }
            let pointer = unit.len();
            unit.uleb(code::POINTER).u32(below);
            unit.uleb(code::FUNCTION).text("f").u64(0x1000);
            unit.uleb(code::PARAMETER).text("p").u32(pointer).uleb(1).u8(0x55).u8(0);
        }
    });
    let output = encode(forgery.function("f", 0x1000).elf()).unwrap();
    assert_eq!(types(&output).find("f", Kind::Func).count(), 1);
}

#[test]
fn entries_nested_deeply() {
    let forgery = one_unit(|unit| {
        for _ in 0..200_000 {
            unit.uleb(code::ANONYMOUS).uleb(1);
        }
        for _ in 0..200_000 {
            unit.u8(0);
        }
    });
    encode(forgery.elf()).unwrap();
    // and never closed
    let forgery = one_unit(|unit| {
        for _ in 0..200_000 {
            unit.uleb(code::STRUCT).text("s").uleb(1);
        }
    });
    encode(forgery.elf()).unwrap();
}

#[test]
fn references_chained_deeply() {
    let forgery = one_unit(|unit| {
        let first = unit.len();
        for number in 0..100_000 {
            // to the entry after the next
            let next = if number == 99_999 { first } else { unit.len() + 5 };
            unit.uleb(code::POINTER).u32(next);
        }
    });
    let output = encode(forgery.elf()).unwrap();
    assert!(!output.diagnostics.is_empty());
}

#[test]
fn references_chained_from_unit_to_unit() {
    let mut info = Bytes::default();
    for number in 0..20_000u32 {
        let start = info.len();
        unit(&mut info, 0, |unit| {
            // the entry behind the same header in the next unit
            let next = if number == 19_999 { 12 } else { start + 23 + 12 };
            unit.uleb(code::UNIT).uleb(code::FAR_TYPEDEF).text("t").u32(next).text("").u8(0);
            unit.0.truncate(23);
        });
    }
    let _ = encode(Forgery::new(usual(), info).elf());
}

#[test]
fn counts_and_sizes_of_all_ones() {
    let forgery = one_unit(|unit| {
        let int = unit.len();
        unit.uleb(code::BASE).text("int").uleb(u64::MAX).u8(5);
        let array = unit.len();
        unit.uleb(code::ARRAY).u32(int).uleb(code::SUBRANGE).u64(u64::MAX).uleb(code::SUBRANGE).u64(u64::MAX).u8(0);
        unit.uleb(code::STRUCT).text("s").uleb(u64::MAX).uleb(code::PLACED).text("m").u32(array).u64(u64::MAX).u8(0);
        unit.uleb(code::ENUM).text("e").uleb(u64::MAX).uleb(code::ENUMERATOR).text("v").u64(u64::MAX).u8(0);
    });
    let output = encode(forgery.elf()).unwrap();
    let btf = types(&output);
    let structure = btf.ty(btf.find("s", Kind::Struct).next().unwrap()).unwrap();
    assert!(matches!(structure, Type::Struct(s) if s.size.0 == 0), "{structure:?}");
    assert!(output.diagnostics.iter().any(|note| note.message.contains("4 GiB")), "{:?}", output.diagnostics);
}

#[test]
fn lengths_of_units() {
    let check = |bytes: &mut Bytes, expected: &str| {
        check_error(Forgery::new(usual(), bytes.clone()).elf(), expected);
    };
    check(Bytes::default().u8(1), ".debug_info offset 0x0: the data ends in the middle of a value");
    check(Bytes::default().u32(0), ".debug_info offset 0x4: the data ends");
    check(Bytes::default().u32(0xffff_fff0).u32(0), ".debug_info offset 0x0: a unit of the reserved length");
    check(Bytes::default().u32(u32::MAX).u64(u64::MAX), "a unit of 18446744073709551615 bytes where 0 are left");
    check(Bytes::default().u32(100).u16(4), ".debug_info offset 0x0: a unit of 100 bytes where 2 are left");
    check(Bytes::default().u32(7).u16(4).u32(0).u8(3), ".debug_info offset 0x0: an address size of 3");
    check(Bytes::default().u32(2).u16(6), "dwarf version 6; 2 to 5 are known");
    check(Bytes::default().u32(7).u16(4).u32(0x9999_9999).u8(8), ".debug_abbrev offset 0x99999999: the data ends");
    check(Bytes::default().u32(2).u16(4), ".debug_info offset 0x6: the data ends");
}

#[test]
fn an_abbreviation_that_the_unit_does_not_have() {
    check_error(
        one_unit(|unit| {
            unit.uleb(99);
        })
        .elf(),
        ".debug_info offset 0xc: an entry with the abbreviation 99, which the unit does not have",
    );
}

#[test]
fn strings_out_of_range() {
    let with_string = |offset: u32| {
        one_unit(|unit| {
            unit.uleb(code::STRP_BASE).u32(offset).uleb(4).u8(5);
        })
    };
    check_error(with_string(3).elf(), ".debug_str offset 0x3: a string without its end");
    check_error(with_string(3).section(".debug_str", b"abcdef".to_vec()).elf(), ".debug_str offset 0x3: ");
    check_error(with_string(u32::MAX).section(".debug_str", b"abc\0".to_vec()).elf(), ".debug_str offset 0xffffffff: ");
    encode(with_string(3).section(".debug_str", b"abcdef\0".to_vec()).elf()).unwrap();
    let mut table = Bytes::default();
    abbreviation(&mut table, 1, dw::TAG_BASE, false, &[(dw::AT_NAME, dw::FORM_STRX)]);
    let mut info = Bytes::default();
    unit(&mut info, 0, |unit| {
        unit.uleb(1).uleb(u64::MAX);
    });
    let _ = encode(Forgery::new(table.u8(0).clone(), info).elf());
}

#[test]
fn many_long_names_that_overlap() {
    const NAMES: u32 = 100_000;
    let forgery = one_unit(|unit| {
        for offset in 0..NAMES {
            unit.uleb(code::STRP_BASE).u32(offset).uleb(4).u8(5);
        }
    });
    let mut strings = vec![b'a'; NAMES as usize + 400_000];
    strings.push(0);
    let _ = encode(forgery.section(".debug_str", strings).elf());
}

#[test]
fn references_out_of_range() {
    let with_reference = |to: u32| {
        one_unit(|unit| {
            unit.uleb(code::POINTER).u32(to);
        })
    };
    check_error(with_reference(0).elf(), ".debug_info offset 0xc: a reference to 0x0, outside of its unit");
    check_error(
        with_reference(u32::MAX).elf(),
        ".debug_info offset 0xc: a reference to 0xffffffff, outside of its unit",
    );
    // the unit's own entry, which is no type; the middle of an entry
    for to in [11, 13] {
        let output = encode(with_reference(to).elf()).unwrap();
        assert_eq!(output.diagnostics.len(), 1, "{:?}", output.diagnostics);
    }
    let far = one_unit(|unit| {
        unit.uleb(code::FAR_TYPEDEF).text("far").u32(u32::MAX);
    });
    let output = encode(far.elf()).unwrap();
    assert_eq!(types(&output).find("far", Kind::Typedef).count(), 1);
    assert!(!output.diagnostics.is_empty());
}

#[test]
fn siblings_that_lead_astray() {
    for sibling in [0, 1, 5, 12, 13, 1000, u32::MAX] {
        let mut table = usual();
        table.0.pop();
        abbreviation(&mut table, 30, dw::TAG_CALL_SITE, true, &[(dw::AT_SIBLING, dw::FORM_REF4)]);
        table.u8(0);
        let mut info = Bytes::default();
        unit(&mut info, 0, |unit| {
            unit.uleb(code::UNIT).uleb(30).u32(sibling).u8(0).uleb(code::BASE).text("int").uleb(4).u8(5).u8(0);
        });
        let _ = encode(Forgery::new(table, info).elf());
    }
}

#[test]
fn an_abbreviation_of_very_many_attributes() {
    let mut table = Bytes::default();
    let attributes = vec![(dw::AT_EXTERNAL, dw::FORM_FLAG_PRESENT); 200_000];
    abbreviation(&mut table, 1, dw::TAG_SUBPROGRAM, false, &attributes);
    abbreviation(&mut table, 2, dw::TAG_COMPILE_UNIT, true, &[]);
    let mut info = Bytes::default();
    unit(&mut info, 0, |unit| {
        unit.uleb(2);
        unit.0.extend(vec![1; 500_000]);
    });
    check_error(
        Forgery::new(table.u8(0).clone(), info).elf(),
        ".debug_abbrev offset 0x0: abbreviation 1 has more than",
    );
}

#[test]
fn many_units_with_large_tables_of_abbreviations() {
    // two tables in turn, so that no unit can use the one of the unit before
    let mut table = Bytes::default();
    for code in 1..40_000 {
        abbreviation(&mut table, code, dw::TAG_BASE, false, &[(dw::AT_NAME, dw::FORM_STRING)]);
    }
    table.u8(0);
    let mut info = Bytes::default();
    for number in 0..40_000 {
        unit(&mut info, if number % 2 == 0 { 0 } else { 7 }, |unit| {
            unit.uleb(2).text("x");
        });
    }
    let _ = encode(Forgery::new(table, info).elf());
}

#[test]
fn many_tables_with_one_large_code() {
    let (mut table, mut info) = (Bytes::default(), Bytes::default());
    for number in 0..20_000 {
        let at = table.len();
        abbreviation(&mut table, 65_000 + number % 500, dw::TAG_BASE, false, &[]);
        table.u8(0);
        unit(&mut info, at, |unit| {
            unit.uleb(65_000 + number % 500);
        });
    }
    encode(Forgery::new(table, info).elf()).unwrap();
}

#[test]
fn many_parameters_with_one_long_list_of_locations() {
    let mut list = Bytes::default();
    for _ in 0..30_000 {
        // nothing that names a register
        list.u64(1).u64(2).u16(1).u8(0x30);
    }
    list.u64(0).u64(0);
    let forgery = one_unit(|unit| {
        let int = unit.len();
        unit.uleb(code::BASE).text("int").uleb(4).u8(5);
        for _ in 0..30_000 {
            unit.uleb(code::FUNCTION).text("f").u64(0x1000);
            unit.uleb(code::LISTED_PARAMETER).text("p").u32(int).u32(0).u8(0);
        }
    });
    let _ = encode(forgery.function("f", 0x1000).section(".debug_loc", list.0).elf());
}

#[test]
fn many_definitions_of_one_name() {
    // in each unit another `struct ring`, and the same chain of structures that leads to it
    let mut info = Bytes::default();
    for number in 0..600u32 {
        unit(&mut info, 0, |unit| {
            unit.uleb(code::UNIT);
            let int = unit.len();
            unit.uleb(code::BASE).text("int").uleb(4).u8(5);
            let mut below = unit.len();
            unit.uleb(code::STRUCT).text("ring").uleb(u64::from(number)).uleb(code::MEMBER).text("m").u32(int).u8(0);
            for level in 0..20 {
                let pointer = unit.len();
                unit.uleb(code::POINTER).u32(below);
                below = unit.len();
                unit.uleb(code::STRUCT).text(&format!("s{level}")).uleb(8);
                unit.uleb(code::MEMBER).text("m").u32(pointer).u8(0);
            }
            unit.u8(0);
        });
    }
    let output = encode(Forgery::new(usual(), info).elf()).unwrap();
    let btf = types(&output);
    assert_eq!(btf.find("ring", Kind::Struct).count(), 600);
    assert_eq!(btf.find("s19", Kind::Struct).count(), 600);
}

#[test]
fn forms_that_lead_on() {
    let mut table = Bytes::default();
    abbreviation(&mut table, 1, dw::TAG_BASE, false, &[(dw::AT_NAME, dw::FORM_INDIRECT)]);
    table.u8(0);
    let with = |bytes: &[u8]| {
        let mut info = Bytes::default();
        unit(&mut info, 0, |unit| {
            unit.uleb(1);
            unit.0.extend(bytes);
        });
        Forgery::new(table.clone(), info).elf()
    };
    check_error(with(&[0x16; 1000]), "the indirect form 0x16");
    check_error(with(&[0x21, 0x01]), "the indirect form 0x21");
    // a block whose length is beyond everything
    let mut block = vec![dw::FORM_BLOCK as u8];
    block.extend([0xff; 9]);
    block.push(1);
    check_error(with(&block), "the data ends in the middle of a value");
}

#[test]
fn sections_that_lie_on_one_another() {
    // a relocatable file's sections of one name are put one after the other
    const RELOCATABLE: u16 = 1;
    let forgery = one_unit(|unit| {
        unit.uleb(code::BASE).text("int").uleb(4).u8(5);
    });
    let info = forgery.sections[1].1.clone();
    let mut many = forgery.clone();
    many.sections.extend(vec![(".debug_info", info); 200]);
    let mut elf = many.elf_of_type(RELOCATABLE);
    assert_eq!(encode(elf.clone()).unwrap().statistics.units, 201);
    // now each of them claims to be all of the file
    let headers = u64::from_le_bytes(elf[40..48].try_into().unwrap()) as usize;
    let size = elf.len() as u64;
    for header in elf[headers..].chunks_exact_mut(64).skip(2).take(201) {
        header[24..32].copy_from_slice(&0u64.to_le_bytes());
        header[32..40].copy_from_slice(&size.to_le_bytes());
    }
    check_error(elf, "the sections of this name are larger than the file");
}

#[test]
fn a_compressed_section_that_claims_to_be_huge() {
    // Elf64_Chdr of 2^40 bytes, in a section with SHF_COMPRESSED
    let mut header = Bytes::default();
    header.u32(1).u32(0).u64(1 << 40).u64(1).u64(0);
    let mut elf = Forgery::new(usual(), header).elf();
    let headers = u64::from_le_bytes(elf[40..48].try_into().unwrap()) as usize;
    elf[headers + 2 * 64 + 8..][..8].copy_from_slice(&0x800u64.to_le_bytes());
    check_error(elf, ".debug_info: cannot decompress: implausible size 1099511627776");
}
