//! Files whose debug information is not all there: an error that says what is missing, never an empty result.

use dwarf::{Error, Input};

use crate::encoded::{encode, options};
use crate::fixture::build;

fn check_error(steps: &[&str], expected: &str) {
    let Some(built) = build(steps) else { return };
    let error = encode(&built.input(), &options()).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}\ninstead of\n{expected}");
}

#[test]
fn split_dwarf_names_its_file() {
    let text = ".debug_info offset 0x0: skeleton unit of split dwarf: its debug information is in";
    check_error(&["gcc -gdwarf-5 -gsplit-dwarf -c {src}/types.c -o out"], &format!("{text} out.dwo, "));
    check_error(&["gcc -gdwarf-4 -gsplit-dwarf -c {src}/types.c -o out"], &format!("{text} out.dwo, "));
    check_error(&["clang -gdwarf-5 -gsplit-dwarf -c {src}/types.c -o out"], &format!("{text} "));
    check_error(&["clang -gdwarf-4 -gsplit-dwarf -c {src}/types.c -o out"], &format!("{text} "));
}

#[test]
fn a_file_without_debug_information() {
    check_error(
        &["gcc -g0 -c {src}/types.c -o out"],
        "no .debug_info section: the file has no dwarf debug information",
    );
}

#[test]
fn a_file_that_is_no_elf_file() {
    check_error(&["cp {src}/types.c out"], "cannot read the elf file: Unknown file magic");
    check_error(&["gcc -g -c {src}/types.c -o a.o", "ar rc out a.o"], "file header offset 0x0: not an elf file");
    check_error(&["touch out"], "cannot read the elf file: ");
}

#[test]
fn a_missing_supplementary_file_is_named() {
    for version in ["", "-5 "] {
        let dwz = format!("dwz {version}-m sup out second");
        let steps = [
            "gcc -g -O2 -fcommon -Dstart=start_a -include {src}/types.c -c {src}/unit_a.c -o a.o",
            "gcc -g -O2 -fcommon -Dstart=start_b -include {src}/types.c -c {src}/unit_b.c -o b.o",
            "gcc -nostdlib -static -Wl,-e,only_a a.o b.o -o out",
            "cp out second",
            &dwz,
        ];
        let Some(built) = build(&steps) else { return };
        assert!(built.supplementary.is_some());
        let error = encode(&Input { supplementary: None, ..built.input() }, &options()).unwrap_err();
        let Error::MissingSupplementary { name, section, .. } = &error else { panic!("{error}") };
        assert_eq!((name.as_str(), section.name), ("sup", ".debug_info"), "{error}");
    }
}

#[test]
fn a_decompressor_that_fails_is_reported_with_its_section() {
    let Some(built) = build(&["gcc -g -gz=zlib -c {src}/types.c -o out"]) else { return };
    let fails = |_, _: &[u8], _| Err("no room".to_owned());
    let options = dwarf::Options { decompress: &fails, ..options() };
    let error = encode(&built.input(), &options).unwrap_err().to_string();
    assert_eq!(error, ".debug_info: cannot decompress: no room");
}
