//! The C header compiles, and to the layouts that the BTF tells: every size and offset by a static assertion, every bit-field
//! by the BTF that the compiler makes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf::dump::c::Dumper;
use btf::{Btf, Composite, Type, TypeId, dump, elf};

use crate::corpus::{self, Kernel};

/// Clang counts a type's bits in 32 bits.
const LARGEST_SIZE: u32 = u32::MAX / 8;

/// The archive's hardest case has half a million types, which takes Clang minutes.
const LARGEST_BTF: usize = 10 << 20;

#[test]
fn every_size_and_offset_is_that_of_the_btf() {
    for kernel in corpus::all().iter().filter(|kernel| kernel.btf.len() < LARGEST_BTF) {
        let btf = Btf::parse(&kernel.btf).unwrap();
        let (mut source, names) = header(&btf);
        let mut count = 0;
        for (what, id) in names {
            let composite = composite(&btf, id);
            let _ = writeln!(source, "_Static_assert(sizeof({what}) == {}u, \"size\");", composite.size);
            offsets(&btf, &composite, "", 0, &mut |path, bit| {
                let _ = writeln!(source, "_Static_assert(__builtin_offsetof({what}, {path}) == {}, \"\");", bit / 8);
                count += 1;
            });
        }
        assert!(count > 20_000, "{}: only {count} members compared", kernel.name);
        if clang(kernel, &source, &["-fsyntax-only"]).is_none() {
            return;
        }
    }
}

#[test]
fn the_whole_header_compiles() {
    if let Some(kernel) = corpus::running() {
        let header = dump::c::header(&Btf::parse(&kernel.btf).unwrap()).unwrap();
        assert_eq!(header.problems, []);
        clang(&kernel, &header.text, &["-Wall", "-fsyntax-only"]);
    }
}

#[test]
fn every_bit_field_is_where_the_btf_says() {
    if let Some(kernel) = corpus::running() {
        let btf = Btf::parse(&kernel.btf).unwrap();
        let (mut source, names) = header(&btf);
        let expected: BTreeMap<String, Vec<String>> =
            names.into_iter().map(|(what, id)| (what, bitfields(&btf, &composite(&btf, id), 0))).collect();
        // The compiler describes what is used, and not only behind a pointer.
        source.push_str("union {\n");
        for (number, what) in expected.iter().filter(|e| !e.1.is_empty()).map(|e| e.0).enumerate() {
            let _ = writeln!(source, "{what} use_{number};");
        }
        source.push_str("} use;\n");
        let Some(object) = clang(&kernel, &source, &["-g", "-c", "-o", "{}"]) else { return };
        let object = std::fs::read(object).unwrap();
        let compiled = Btf::parse(elf::btf_section(&object).unwrap().expect("a .BTF section").btf).unwrap();
        let mut count = 0;
        for id in compiled.ids() {
            let (word, found) = match compiled.ty(id).unwrap() {
                Type::Struct(c) if !c.name.is_empty() => ("struct", c),
                Type::Union(c) if !c.name.is_empty() => ("union", c),
                _ => continue,
            };
            let what = format!("{word} {}", found.name);
            let found = bitfields(&compiled, &found, 0);
            assert_eq!(Some(&found), expected.get(&what), "{what}");
            count += found.len();
        }
        assert!(count > 1500, "only {count} bit-fields compared");
    }
}

/// The header, and its named structs and unions by how C writes them.
fn header(btf: &Btf<'_>) -> (String, BTreeMap<String, TypeId>) {
    let mut dumper = Dumper::new(btf).unwrap();
    btf.ids().for_each(|id| dumper.dump(id).unwrap());
    let mut names = BTreeMap::new();
    for id in btf.ids() {
        let (word, found) = match btf.ty(id).unwrap() {
            Type::Struct(c) => ("struct", c),
            Type::Union(c) => ("union", c),
            _ => continue,
        };
        if !found.name.is_empty() && found.size.0 < LARGEST_SIZE {
            names.insert(format!("{word} {}", dumper.written_name(id).expect("it was written")), id);
        }
    }
    (dumper.take(), names)
}

fn composite<'b>(btf: &'b Btf<'_>, id: TypeId) -> Composite<'b> {
    match btf.ty(id).unwrap() {
        Type::Struct(c) | Type::Union(c) => c,
        other => panic!("not a composite: {other:?}"),
    }
}

/// Tells path and bit offset of every plain member, also of those in anonymous composites.
fn offsets(btf: &Btf<'_>, composite: &Composite<'_>, prefix: &str, start: u32, tell: &mut dyn FnMut(&str, u32)) {
    for member in composite.members().map(|m| m.unwrap()) {
        // Red Hat's names of hidden members repeat within a struct, and are made unique.
        if member.bitfield_size > 0 || member.name.starts_with("__UNIQUE_ID_rh_kabi_hide") {
            continue;
        }
        let offset = start + member.offset.0;
        let path = format!("{prefix}{}", member.name);
        if !member.name.is_empty() {
            tell(&path, offset);
        }
        let inner = btf.ty(btf::strip_modifiers(btf, member.ty).unwrap()).unwrap();
        let is_anonymous = inner.name().is_empty() || member.name.is_empty();
        if let (Type::Struct(c) | Type::Union(c), true) = (inner, is_anonymous) {
            offsets(btf, &c, &if member.name.is_empty() { prefix.to_owned() } else { path + "." }, offset, tell);
        }
    }
}

/// Every bit-field of a composite, also those in anonymous ones.
fn bitfields(btf: &Btf<'_>, composite: &Composite<'_>, start: u32) -> Vec<String> {
    let mut found = Vec::new();
    for member in composite.members().map(|m| m.unwrap()) {
        let offset = start + member.offset.0;
        if member.bitfield_size > 0 {
            found.push(format!("{}@{offset}:{}", member.name, member.bitfield_size));
        }
        let inner = btf.ty(btf::strip_modifiers(btf, member.ty).unwrap()).unwrap();
        let is_anonymous = inner.name().is_empty() || member.name.is_empty();
        if let (Type::Struct(c) | Type::Union(c), true) = (inner, is_anonymous) {
            found.extend(bitfields(btf, &c, offset));
        }
    }
    found
}

/// Runs Clang for the BPF target; `{}` stands for the output's path, which is answered.
fn clang(kernel: &Kernel, source: &str, arguments: &[&str]) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}{}.c", kernel.name, arguments.len()));
    let object = path.with_extension("o");
    std::fs::write(&path, source).unwrap();
    let arguments = arguments.iter().map(|a| if *a == "{}" { object.as_os_str() } else { a.as_ref() });
    let fixed = ["-target", "bpf", "-Wno-everything", "-ferror-limit=3"];
    match Command::new("clang").args(fixed).args(arguments).arg(&path).output() {
        Ok(output) if output.status.success() => Some(object),
        Ok(output) => panic!("{}: {}", kernel.name, String::from_utf8_lossy(&output.stderr)),
        Err(e) => {
            corpus::missing_tool("clang", &e);
            None
        }
    }
}
