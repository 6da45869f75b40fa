//! Relocation against types that no kernel has all of: several of one name, arrays without length, 32-bit pointers, the other
//! byte order, modules. libbpf is asked too, where it can be.

mod support;

use std::sync::Arc;

use btf::core_relo::{Module, Outcome, Refusal, Target, resolve_object, search_candidates};
use btf::minimize::{ByName, minimize, minimize_merged};
use btf::object_file::ObjectFile;
use btf::write::{Builder, EnumValueDef, MemberDef};
use btf::{BitOffset, Btf, ByteSize, Endian, IntEncoding, Kind, StrOffset, TypeId};

/// Types of a made-up kernel.
struct Types {
    out: Builder,
    int: TypeId,
    byte: TypeId,
}

impl Types {
    fn new(mut out: Builder) -> Types {
        let mut int = |name: &str, size, encoding, bits| {
            let name = out.string(name);
            out.int(name, ByteSize(size), encoding, BitOffset(0), bits)
        };
        let (byte, int) = (int("char", 1, IntEncoding::SIGNED, 8), int("int", 4, IntEncoding::SIGNED, 32));
        Types { out, int, byte }
    }

    /// A struct; members by name, type, first bit and, for a bit-field, width.
    fn composite(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32, u32)]) -> TypeId {
        let name = self.out.string(name);
        let members: Vec<MemberDef> = members
            .iter()
            .map(|&(name, ty, bit, width)| MemberDef {
                name: self.out.string(name),
                ty,
                offset: BitOffset(bit),
                bitfield_size: width,
            })
            .collect();
        self.out.composite(Kind::Struct, name, ByteSize(size), members)
    }

    fn pad(&mut self, bytes: u32) -> TypeId {
        self.out.array(self.byte, self.int, bytes)
    }
}

/// The made-up kernel; `long` decides the size of its pointers.
fn kernel(endian: Endian, long: u32) -> Vec<u8> {
    let mut types = Types::new(Builder::new(endian));
    let (int, byte) = (types.int, types.byte);
    let name = types.out.string("long unsigned int");
    let long_id = types.out.int(name, ByteSize(long), IntEncoding::NONE, BitOffset(0), long as u8 * 8);
    let name = types.out.string("long long unsigned int");
    let wide = types.out.int(name, ByteSize(8), IntEncoding::NONE, BitOffset(0), 64);
    let name = types.out.string("unsigned int");
    let unsigned = types.out.int(name, ByteSize(4), IntEncoding::NONE, BitOffset(0), 32);

    types.composite("twice", 16, &[("same", int, 32, 0), ("other", int, 64, 0)]);
    types.composite("twice", 24, &[("same", int, 32, 0), ("more", int, 64, 0), ("other", int, 96, 0)]);
    types.composite("partial", 16, &[("first", int, 0, 0), ("second", int, 64, 0)]);
    types.composite("partial___2", 16, &[("first", int, 64, 0)]);
    let empty = types.out.array(byte, int, 0);
    types.composite("inner_flexible", 16, &[("before", int, 0, 0), ("tail", empty, 64, 0), ("after", int, 64, 0)]);
    let five = types.pad(5);
    types.composite("flexible", 8, &[("before", five, 0, 0), ("tail", empty, 64, 0)]);
    let pointer = types.out.ptr(long_id);
    let three = types.out.array(pointer, int, 3);
    let pointers = [("pointer", pointer, long * 8, 0), ("array", three, long * 16, 0), ("after", int, long * 40, 0)];
    types.composite("pointers", long * 8, &pointers);
    let low = EnumValueDef { name: types.out.string("WIDE_LOW"), value: 5 };
    let high = EnumValueDef { name: types.out.string("WIDE_HIGH"), value: 1 << 40 };
    let unused = EnumValueDef { name: types.out.string("WIDE_UNUSED"), value: 3 };
    let name = types.out.string("wide");
    types.out.enum64(name, ByteSize(8), false, [unused, low, high]);
    let part = types.composite("", 8, &[("", int, 0, 0), ("x", int, 32, 0)]);
    types.composite("mixed", 16, &[("part", part, 64, 0), ("after", long_id, 0, 0)]);
    let array = types.out.array(int, int, 4);
    types.composite("shapes___new", 32, &[("member", array, 64, 0)]);
    types.composite("shapes___old", 8, &[("member", int, 0, 0)]);
    types.composite(
        "bits",
        16,
        &[("b", unsigned, 1, 7), ("a", unsigned, 30, 3), ("c", int, 40, 5), ("d", wide, 60, 40), ("", int, 0, 0)],
    );
    types.composite("shadowed", 4, &[("unwanted", int, 0, 0)]);
    types.out.finish().unwrap()
}

/// Split BTF of a made-up module.
fn module(base: &Btf<'_>) -> Vec<u8> {
    let mut types = Types::new(Builder::split(base.endian(), base.str_len(), base.end_id()));
    let shadowed = types.composite("shadowed", 8, &[("wanted", types.int, 32, 0)]);
    types.composite("holder", 16, &[("inner", shadowed, 64, 0)]);
    types.composite("only_in_module", 16, &[("there", types.int, 96, 0)]);
    types.out.finish().unwrap()
}

fn object(machine: &str) -> Vec<u8> {
    std::fs::read(support::object_for(machine, "synthetic")).unwrap()
}

fn programs(object: &ObjectFile<'_>) -> Vec<String> {
    object.functions().iter().map(|function| function.name.clone()).collect()
}

#[test]
fn root_each_program_alone_is_relocated_as_by_libbpf() {
    let Some(oracle) = support::oracle() else { return };
    let path = support::object("synthetic");
    let data = std::fs::read(&path).unwrap();
    let object = ObjectFile::parse("synthetic", &data).unwrap();
    for long in [8, 4] {
        let types = kernel(Endian::Little, long);
        let file = support::scratch("synthetic").join(format!("whole.{long}.btf"));
        std::fs::write(&file, &types).unwrap();
        let btf = Btf::parse(&types).unwrap();
        let target = Target::kernel(&btf);
        let minimal = minimize(&target, std::slice::from_ref(&object)).unwrap().btf;
        let small_file = support::scratch("synthetic").join(format!("minimal.{long}.btf"));
        std::fs::write(&small_file, &minimal).unwrap();
        for program in programs(&object) {
            let program = Some(program.as_str());
            let expected = support::libbpf_results(oracle, &path, &file, program);
            assert!(!expected.is_empty());
            assert_eq!(support::our_results(&object, &target, program), expected, "{program:?}, long of {long}");
            let found = support::libbpf_results(oracle, &path, &small_file, program);
            assert_eq!(found, expected, "{program:?}, long of {long}, minimal BTF");
        }
    }
}

/// The outcomes of the relocations of one program, loaded alone, as text.
fn outcomes(object: &ObjectFile<'_>, target: &Target<'_>, program: &str) -> String {
    let candidates = search_candidates(target, [object]);
    let is_of_program = |relo: &btf::object_file::CoreRelo| object.functions()[relo.function.unwrap()].name == program;
    let resolutions = resolve_object(object, target, &candidates, is_of_program);
    let text = |outcome: &Result<Outcome, Refusal>| match outcome {
        Ok(Outcome { poison: true, .. }) => "absent".to_owned(),
        Ok(outcome) => outcome.target.to_string(),
        Err(refusal) => format!("({refusal})"),
    };
    let texts: Vec<String> = resolutions.iter().flatten().map(|resolution| text(&resolution.outcome)).collect();
    texts.join(" ")
}

#[track_caller]
fn check(machine: &str, program: &str, expected: &str) {
    let data = object(machine);
    let object = ObjectFile::parse("synthetic", &data).unwrap();
    let types = kernel(object.endian(), 8);
    let vmlinux = Arc::new(Btf::parse(&types).unwrap());
    let module = module(&vmlinux);
    let module = Btf::parse_split(&module, Arc::clone(&vmlinux)).unwrap();
    let modules = [Module { name: "made_up", btf: &module }];
    let target = Target { vmlinux: &vmlinux, modules: &modules };
    assert_eq!(outcomes(&object, &target, program), expected);

    let merged = minimize_merged(&target, std::slice::from_ref(&object), &ByName::default()).unwrap();
    let one = Btf::parse(&merged.btf).unwrap();
    assert_eq!(outcomes(&object, &Target::kernel(&one), program), expected, "merged minimal BTF");

    let minimal = minimize(&target, std::slice::from_ref(&object)).unwrap();
    let vmlinux = Arc::new(Btf::parse(&minimal.btf).unwrap());
    let module = Btf::parse_split(&minimal.modules[0], Arc::clone(&vmlinux)).unwrap();
    let modules = [Module { name: "made_up", btf: &module }];
    let target = Target { vmlinux: &vmlinux, modules: &modules };
    assert_eq!(outcomes(&object, &target, program), expected, "minimal BTF");
}

#[test]
fn candidates_agree_or_are_ambiguous() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    check("bpfel", "agree", "4 4 1");
    let other = "(ambiguous: byte 8 in one candidate, byte 12 in another)";
    check("bpfel", "ambiguous", &format!("4 4 1 {other} {other} {other}"));
    check("bpfel", "pruned", "8 4 1 0 4 1");
    let first = "(ambiguous: byte 0 in one candidate, byte 8 in another)";
    check("bpfel", "unpruned", &format!("{first} {first} {first} 8 4 1"));
}

#[test]
fn arrays_without_length_end_where_they_are_last() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    check("bpfel", "inner_flexible", "0 4 1 8 absent absent 0");
    check("bpfel", "flexible", "13 1 1");
}

#[test]
fn the_kernel_goes_before_modules() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    // The kernel's own "shadowed" has no such member, the module's has; the module's "holder" embeds its own.
    check("bpfel", "module", "12 4 1 absent absent 0 12 4 1");
}

#[test]
fn bitfields_are_shifted_by_the_targets_byte_order() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    // Offset, size, exists, signed, left shift, right shift. A load as far as bit 33 takes 8 bytes.
    check("bpfel", "bits", "0 8 1 0 31 61 0 4 1 0 56 57 4 4 1 1 51 59");
    check("bpfeb", "bits", "0 8 1 0 30 61 0 4 1 0 33 57 4 4 1 1 40 59");
    let refused = "(a bit-field that no load of 8 bytes or less covers)";
    let expected = format!("{refused} {refused} 1 {refused} {refused} {refused}");
    check("bpfel", "bits_too_wide", &expected);
}

#[test]
fn only_what_is_asked_for_is_kept() {
    if !support::has("clang") {
        return support::skip("clang is missing");
    }
    let data = object("bpfel");
    let object = ObjectFile::parse("synthetic", &data).unwrap();
    let types = kernel(Endian::Little, 8);
    let btf = Btf::parse(&types).unwrap();
    let minimal = minimize(&Target::kernel(&btf), std::slice::from_ref(&object)).unwrap().btf;
    let minimal = Btf::parse(&minimal).unwrap();
    let wide = minimal.find("wide", Kind::Enum64).next().unwrap();
    let btf::Type::Enum64(wide) = minimal.ty(wide).unwrap() else { panic!() };
    assert_eq!(wide.values().map(|value| value.unwrap().name).collect::<Vec<_>>(), ["WIDE_LOW", "WIDE_HIGH"]);
    assert_eq!(minimal.str(StrOffset(0)), Ok(""));
    assert_eq!(minimal.find("shadowed", Kind::Struct).count(), 0);
}
