//! One file encoded, and what holds of every BTF that the crate writes.

use std::collections::HashMap;
use std::io::Read;

use btf::{Btf, Kind, Type, TypeId};
use dwarf::{Compat, Compression, Input, Options, Output};

/// Both formats that ELF files use.
pub(crate) fn decompress(format: Compression, data: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let limit = size as u64 + 1;
    let result = match format {
        Compression::Zlib => flate2::read::ZlibDecoder::new(data).take(limit).read_to_end(&mut out),
        _ => zstd::Decoder::new(data).and_then(|decoder| decoder.take(limit).read_to_end(&mut out)),
    };
    result.map(|_| out).map_err(|error| error.to_string())
}

/// The usual options.
pub(crate) fn options() -> Options<'static> {
    Options { jobs: 1, compat: Compat::LATEST, base: None, rust: false, decompress: &decompress, release: None }
}

/// Encodes, whatever the number of threads with the same result, and checks what must hold of it.
pub(crate) fn encode(input: &Input<'_>, options: &Options<'_>) -> dwarf::Result<Output> {
    let output = dwarf::encode(input, &Options { jobs: 1, ..*options });
    for jobs in [2, 7] {
        let again = dwarf::encode(input, &Options { jobs, ..*options });
        match (&output, &again) {
            (Ok(one), Ok(other)) => {
                assert!(one.btf == other.btf, "another result with {jobs} threads");
                assert_eq!(one.dropped, other.dropped, "{jobs} threads");
                assert_eq!(one.diagnostics, other.diagnostics, "{jobs} threads");
            }
            (one, other) => assert_eq!(
                one.as_ref().err().map(ToString::to_string),
                other.as_ref().err().map(ToString::to_string),
                "{jobs} threads"
            ),
        }
    }
    if let Ok(output) = &output {
        check_well_formed(&Btf::parse(&output.btf).unwrap());
    }
    output
}

/// What Linux's verifier demands of BTF, as far as it needs no kernel: kernel/bpf/btf.c.
fn check_well_formed(btf: &Btf<'_>) {
    let end = btf.end_id();
    let check = |id: TypeId, by: TypeId| assert!(id < end, "type {by} refers to {id}, the last is {end}");
    let mut records: HashMap<(u32, u32, Vec<u8>), TypeId> = HashMap::new();
    for id in btf.ids() {
        let record = btf.record(id).unwrap();
        let key = (record.info.0 ^ record.name.0.rotate_left(7), record.size_or_type, record.payload.to_vec());
        if let Some(other) = records.insert(key, id)
            && btf.record(other).unwrap().name == record.name
            && btf.record(other).unwrap().info.0 == record.info.0
        {
            panic!("types {other} and {id} are the same: {:?}", btf.ty(id).unwrap());
        }
        let ty = btf.ty(id).unwrap();
        let kind = ty.kind().unwrap();
        if let Some(referent) = ty.referent() {
            check(referent, id);
        }
        let name = ty.name();
        let must_be_named = matches!(kind, Kind::Typedef | Kind::Fwd | Kind::Func | Kind::Var | Kind::Datasec);
        assert!(!must_be_named || !name.is_empty(), "type {id}: {kind} without a name");
        match kind {
            // the text of a tag is free; the kernel does not look at the names of numbers; sections have their own rule
            Kind::DeclTag | Kind::TypeTag | Kind::Int | Kind::Float | Kind::Datasec => {}
            _ => check_name(name, id),
        }
        match ty {
            Type::Struct(composite) | Type::Union(composite) => {
                for member in composite.members() {
                    let member = member.unwrap();
                    check(member.ty, id);
                    check_name(member.name, id);
                    let bits = u64::from(member.offset.0) + u64::from(member.bitfield_size);
                    assert!(bits <= u64::from(composite.size.0) * 8, "type {id}: {member:?} beyond {composite:?}");
                }
            }
            Type::Enum(enumeration) | Type::Enum64(enumeration) => {
                assert!(matches!(enumeration.size.0, 1 | 2 | 4 | 8), "type {id}: {enumeration:?}");
                for value in enumeration.values() {
                    let value = value.unwrap();
                    assert!(!value.name.is_empty(), "type {id}: an enumerator without a name");
                    check_name(value.name, id);
                }
            }
            Type::FuncProto(proto) => {
                check(proto.ret, id);
                for parameter in proto.params() {
                    let parameter = parameter.unwrap();
                    check(parameter.ty, id);
                    check_name(parameter.name, id);
                }
            }
            Type::Func { proto, .. } => assert!(matches!(btf.ty(proto).unwrap(), Type::FuncProto(_)), "type {id}"),
            Type::Array { element, index, .. } => {
                check(element, id);
                assert!(matches!(btf.ty(index).unwrap(), Type::Int { .. }), "type {id}: indexed by {index}");
            }
            Type::Datasec(section) => {
                let mut end = 0;
                for place in section.vars() {
                    let place = place.unwrap();
                    assert!(place.offset.0 >= end, "type {id}: {place:?} overlaps the variable before it");
                    end = place.offset.0 + place.size.0;
                    assert!(matches!(btf.ty(place.ty).unwrap(), Type::Var { .. }), "type {id}: {place:?}");
                }
                assert!(end <= section.size.0, "type {id}: variables beyond its end");
            }
            _ => {}
        }
    }
}

/// An identifier, or nothing.
fn check_name(name: &str, id: TypeId) {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '.';
    let mut characters = name.chars();
    let valid = characters.next().is_none_or(letter) && characters.all(|c| letter(c) || c.is_ascii_digit());
    assert!(valid, "type {id}: the name {name:?} is no identifier");
}
