//! What the caller may ask for: an older set of kinds, the types of Rust.

use std::collections::BTreeSet;

use btf::{Btf, IntEncoding, Kind, Type};
use dwarf::{Compat, Options};

use crate::describe::describe_all;
use crate::encoded::{encode, options};
use crate::fixture::{Built, build};
use crate::kernel::check_accepted;

/// Something of every kind that came late.
const LATE_KINDS: [&str; 4] = [
    "clang -g -O1 -c {src}/annotations.c -o a.o",
    "gcc -g -c {src}/enums.c -o b.o",
    "gcc -g -c {src}/types.c -o c.o",
    "ld -r a.o b.o c.o -o out",
];

fn kinds(btf: &Btf<'_>) -> BTreeSet<&'static str> {
    let late = |kind| match kind {
        Kind::Float => Some("float"),
        Kind::DeclTag => Some("decl tag"),
        Kind::TypeTag => Some("type tag"),
        Kind::Enum64 => Some("enum64"),
        _ => None,
    };
    btf.ids().filter_map(|id| late(btf.ty(id).unwrap().kind().unwrap())).collect()
}

fn with_compat(built: &Built, compat: Compat) -> Vec<u8> {
    encode(&built.input(), &Options { compat, ..options() }).unwrap().btf
}

#[test]
fn an_older_consumer_gets_no_kind_that_it_does_not_know() {
    let Some(built) = build(&LATE_KINDS) else { return };
    let check = |major, minor, expected: &[&str]| {
        let btf = with_compat(&built, Compat::kernel(major, minor));
        let found = kinds(&Btf::parse(&btf).unwrap());
        assert_eq!(found, expected.iter().copied().collect(), "{major}.{minor}");
        check_accepted(&btf);
    };
    check(5, 2, &[]);
    check(5, 12, &[]);
    check(5, 13, &["float"]);
    check(5, 16, &["float", "decl tag"]);
    check(5, 17, &["float", "decl tag", "type tag"]);
    check(6, 0, &["float", "decl tag", "type tag", "enum64"]);
    check(7, 3, &["float", "decl tag", "type tag", "enum64"]);
}

#[test]
fn what_an_older_consumer_gets_instead() {
    let Some(built) = build(&LATE_KINDS) else { return };
    let (new, old) = (with_compat(&built, Compat::LATEST), with_compat(&built, Compat::kernel(5, 2)));
    let (new, old) = (Btf::parse(&new).unwrap(), Btf::parse(&old).unwrap());
    // the layouts are the same: floats are numbers of their size, tags are left out, enums are cut
    let double = old.ty(old.find("double", Kind::Int).next().unwrap()).unwrap();
    assert!(
        matches!(double, Type::Int { size, encoding: IntEncoding::NONE, bits: 64, .. } if size.0 == 8),
        "{double:?}"
    );
    let wide = old.ty(old.find("wide", Kind::Enum).next().unwrap()).unwrap();
    let Type::Enum(wide) = wide else { panic!("{wide:?}") };
    let values: Vec<_> = wide.values().map(|value| value.unwrap().value).collect();
    assert_eq!((wide.size.0, values), (8, vec![1, 0x9abc_def0, 0xffff_ffff]));
    let structs = |btf: &Btf<'_>| -> BTreeSet<String> {
        let blocks = describe_all(btf).into_iter().filter(|block| block.starts_with("struct "));
        ["user", "rcu", "percpu"].iter().fold(blocks.collect(), |blocks: BTreeSet<String>, tag| {
            blocks.iter().map(|block| block.replace(&format!("tag({tag}) "), "")).collect()
        })
    };
    assert_eq!(structs(&new), structs(&old));
}

#[test]
fn a_float_of_an_odd_size_for_an_older_consumer() {
    let Some(built) = build(&["gcc -m32 -g -c {src}/types.c -o out"]) else { return };
    let btf = with_compat(&built, Compat::kernel(5, 2));
    let btf = Btf::parse(&btf).unwrap();
    assert!(kinds(&btf).is_empty());
    let long_double = btf.ty(btf.find("long double", Kind::Int).next().unwrap()).unwrap();
    assert!(matches!(long_double, Type::Int { size, bits: 96, .. } if size.0 == 12), "{long_double:?}");
}

#[test]
fn rust_is_kept_on_request() {
    let steps = [
        "rustc --edition 2024 -g --crate-type lib --emit obj -C panic=abort {src}/rust.rs -o a.o",
        "gcc -g -O1 -c {src}/beside_rust.c -o b.o",
        "ld -r a.o b.o -o out",
    ];
    let Some(built) = build(&steps) else { return };
    let output = encode(&built.input(), &Options { rust: true, ..options() }).unwrap();
    let btf = Btf::parse(&output.btf).unwrap();
    let blocks = describe_all(&btf);
    let has = |start: &str| blocks.iter().any(|block| block.starts_with(start));
    // `struct shared` of C and of Rust are two types
    for start in ["struct RustOnly", "struct shared#1", "struct shared#2", "struct Option_u64_", "func rust_function: "]
    {
        assert!(has(start), "no {start} in {blocks:#?}");
    }
    check_accepted(&output.btf);
}

#[test]
fn annotations_are_those_that_clang_itself_writes() {
    let Some(built) = build(&["clang -g -O1 -c {src}/annotations.c -o out"]) else { return };
    let Some(by_clang) = build(&["clang -target bpf -g -O1 -c {src}/annotations.c -o out"]) else { return };
    let ours = encode(&built.input(), &options()).unwrap().btf;
    let theirs = btf::elf::btf_section(&by_clang.elf).unwrap().unwrap().btf;
    // clang 14 forgets several tags of one pointer
    let comparable = |block: &String| {
        (block.starts_with("tag ") || block.starts_with("struct ")) && !block.starts_with("struct several_tags")
    };
    let blocks = |data: &[u8]| -> BTreeSet<String> {
        describe_all(&Btf::parse(data).unwrap()).into_iter().filter(comparable).collect()
    };
    assert_eq!(blocks(&ours), blocks(theirs));
}
