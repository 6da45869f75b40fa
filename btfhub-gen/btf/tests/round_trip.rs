//! `parse(write(x)) == x` for random types in both byte orders, alone and split.

use std::sync::Arc;

use btf::write::{Builder, EnumValueDef, MemberDef, ParamDef, SecVarDef};
use btf::{
    BitOffset, Btf, ByteOffset, ByteSize, Endian, FuncLinkage, IntEncoding, Kind, StrOffset, Type, TypeId, VarLinkage,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A type as plain data.
#[derive(Clone, Debug, PartialEq)]
enum Model {
    Int(String, u32, u8, u8, u8),
    Ptr(u32),
    Array(u32, u32, u32),
    Composite(bool, String, u32, Vec<(String, u32, u32, u32)>),
    Enum(bool, String, u32, bool, Vec<(String, i128)>),
    Fwd(String, bool),
    Typedef(String, u32),
    Modifier(u8, u32),
    Func(String, u32, u32),
    FuncProto(u32, Vec<(String, u32)>),
    Var(String, u32, u32),
    Datasec(String, u32, Vec<(u32, u32, u32)>),
    Float(String, u32),
    DeclTag(String, u32, Option<u32>, bool),
    TypeTag(String, u32, bool),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z_]{1,3}", "[a-zA-Z_][a-zA-Z0-9_]{0,20}", "\\PC{1,4}"]
}

fn values(wide: bool, signed: bool) -> impl Strategy<Value = Vec<(String, i128)>> {
    let value = match (wide, signed) {
        (false, true) => any::<i32>().prop_map(i128::from).boxed(),
        (false, false) => any::<u32>().prop_map(i128::from).boxed(),
        (true, true) => any::<i64>().prop_map(i128::from).boxed(),
        (true, false) => any::<u64>().prop_map(i128::from).boxed(),
    };
    vec((name(), value), 0..6)
}

fn model() -> impl Strategy<Value = Model> {
    let id = any::<u32>;
    let bitfields = (any::<bool>(), name(), id(), vec((name(), id(), 0..1u32 << 24, 0..256u32), 0..6));
    let plain = (any::<bool>(), name(), id(), vec((name(), id(), any::<u32>(), Just(0)), 0..6));
    prop_oneof![
        (name(), id(), 0..16u8, any::<u8>(), any::<u8>()).prop_map(|(n, s, e, o, b)| Model::Int(n, s, e, o, b)),
        id().prop_map(Model::Ptr),
        (id(), id(), id()).prop_map(|(e, i, n)| Model::Array(e, i, n)),
        bitfields.prop_map(|(u, n, s, m)| Model::Composite(u, n, s, m)),
        plain.prop_map(|(u, n, s, m)| Model::Composite(u, n, s, m)),
        (any::<bool>(), any::<bool>()).prop_flat_map(move |(wide, signed)| {
            (name(), id(), values(wide, signed)).prop_map(move |(n, s, v)| Model::Enum(wide, n, s, signed, v))
        }),
        (name(), any::<bool>()).prop_map(|(n, u)| Model::Fwd(n, u)),
        (name(), id()).prop_map(|(n, t)| Model::Typedef(n, t)),
        (9..=11u8, id()).prop_map(|(k, t)| Model::Modifier(k, t)),
        (name(), id(), 0..5u32).prop_map(|(n, t, l)| Model::Func(n, t, l)),
        (id(), vec((name(), id()), 0..6)).prop_map(|(r, p)| Model::FuncProto(r, p)),
        (name(), id(), 0..5u32).prop_map(|(n, t, l)| Model::Var(n, t, l)),
        (name(), id(), vec((id(), id(), id()), 0..6)).prop_map(|(n, s, v)| Model::Datasec(n, s, v)),
        (name(), id()).prop_map(|(n, s)| Model::Float(n, s)),
        (name(), id(), proptest::option::of(0..1u32 << 31), any::<bool>())
            .prop_map(|(n, t, c, a)| Model::DeclTag(n, t, c, a)),
        (name(), id(), any::<bool>()).prop_map(|(n, t, a)| Model::TypeTag(n, t, a)),
    ]
}

fn write(out: &mut Builder, model: &Model) -> TypeId {
    let mut s = |text: &str| out.string(text);
    match model {
        Model::Int(n, size, encoding, offset, bits) => {
            let n = s(n);
            out.int(n, ByteSize(*size), IntEncoding(*encoding), BitOffset(u32::from(*offset)), *bits)
        }
        Model::Ptr(t) => out.ptr(TypeId(*t)),
        Model::Array(e, i, n) => out.array(TypeId(*e), TypeId(*i), *n),
        Model::Composite(is_union, n, size, members) => {
            let n = s(n);
            let members: Vec<_> = members
                .iter()
                .map(|(name, ty, offset, bits)| MemberDef {
                    name: out.string(name),
                    ty: TypeId(*ty),
                    offset: BitOffset(*offset),
                    bitfield_size: *bits,
                })
                .collect();
            out.composite(if *is_union { Kind::Union } else { Kind::Struct }, n, ByteSize(*size), members)
        }
        Model::Enum(wide, n, size, signed, values) => {
            let n = s(n);
            let values: Vec<_> =
                values.iter().map(|(name, value)| EnumValueDef { name: out.string(name), value: *value }).collect();
            match wide {
                true => out.enum64(n, ByteSize(*size), *signed, values),
                false => out.enum_(n, ByteSize(*size), *signed, values),
            }
        }
        Model::Fwd(n, is_union) => {
            let n = s(n);
            out.fwd(n, *is_union)
        }
        Model::Typedef(n, t) => {
            let n = s(n);
            out.typedef(n, TypeId(*t))
        }
        Model::Modifier(kind, t) => out.modifier(Kind::from_raw(*kind), TypeId(*t)),
        Model::Func(n, t, linkage) => {
            let n = s(n);
            out.func(n, TypeId(*t), FuncLinkage::from_raw(*linkage))
        }
        Model::FuncProto(ret, params) => {
            let params: Vec<_> =
                params.iter().map(|(name, ty)| ParamDef { name: out.string(name), ty: TypeId(*ty) }).collect();
            out.func_proto(TypeId(*ret), params)
        }
        Model::Var(n, t, linkage) => {
            let n = s(n);
            out.var(n, TypeId(*t), VarLinkage::from_raw(*linkage))
        }
        Model::Datasec(n, size, vars) => {
            let n = s(n);
            let var = |&(ty, offset, size): &(u32, u32, u32)| SecVarDef {
                ty: TypeId(ty),
                offset: ByteOffset(offset),
                size: ByteSize(size),
            };
            out.datasec(n, ByteSize(*size), vars.iter().map(var))
        }
        Model::Float(n, size) => {
            let n = s(n);
            out.float(n, ByteSize(*size))
        }
        Model::DeclTag(n, t, idx, attr) => {
            let n = s(n);
            out.decl_tag(n, TypeId(*t), *idx, *attr)
        }
        Model::TypeTag(n, t, attr) => {
            let n = s(n);
            out.type_tag(n, TypeId(*t), *attr)
        }
    }
}

fn read(ty: Type<'_>) -> Model {
    let text = |s: &str| s.to_owned();
    let values = |e: btf::Enum<'_>| e.values().map(|v| v.map(|v| (text(v.name), v.value)).unwrap()).collect();
    let composite = |is_union, c: btf::Composite<'_>| {
        let members = c.members().map(|m| m.unwrap()).map(|m| (text(m.name), m.ty.0, m.offset.0, m.bitfield_size));
        Model::Composite(is_union, text(c.name), c.size.0, members.collect())
    };
    match ty {
        Type::Int { name, size, encoding, offset, bits } => {
            Model::Int(text(name), size.0, encoding.0, offset.0 as u8, bits)
        }
        Type::Ptr(t) => Model::Ptr(t.0),
        Type::Array { element, index, len } => Model::Array(element.0, index.0, len),
        Type::Struct(c) => composite(false, c),
        Type::Union(c) => composite(true, c),
        Type::Enum(e) => Model::Enum(false, text(e.name), e.size.0, e.signed(), values(e)),
        Type::Enum64(e) => Model::Enum(true, text(e.name), e.size.0, e.signed(), values(e)),
        Type::Fwd { name, is_union } => Model::Fwd(text(name), is_union),
        Type::Typedef { name, ty } => Model::Typedef(text(name), ty.0),
        Type::Volatile(t) => Model::Modifier(9, t.0),
        Type::Const(t) => Model::Modifier(10, t.0),
        Type::Restrict(t) => Model::Modifier(11, t.0),
        Type::Func { name, proto, linkage } => Model::Func(text(name), proto.0, linkage.raw()),
        Type::FuncProto(p) => {
            Model::FuncProto(p.ret.0, p.params().map(|p| p.unwrap()).map(|p| (text(p.name), p.ty.0)).collect())
        }
        Type::Var { name, ty, linkage } => Model::Var(text(name), ty.0, linkage.raw()),
        Type::Datasec(d) => {
            let vars = d.vars().map(|v| v.unwrap()).map(|v| (v.ty.0, v.offset.0, v.size.0));
            Model::Datasec(text(d.name), d.size.0, vars.collect())
        }
        Type::Float { name, size } => Model::Float(text(name), size.0),
        Type::DeclTag { name, target, component_idx, is_attr } => {
            Model::DeclTag(text(name), target.0, component_idx, is_attr)
        }
        Type::TypeTag { name, ty, is_attr } => Model::TypeTag(text(name), ty.0, is_attr),
        other => panic!("nothing wrote {other:?}"),
    }
}

fn model_of(btf: &Btf<'_>) -> Vec<Model> {
    btf.ids().map(|id| read(btf.ty(id).unwrap())).collect()
}

fn build(mut out: Builder, models: &[Model]) -> Vec<u8> {
    for model in models {
        let expected = out.next_id();
        assert_eq!(write(&mut out, model), expected);
    }
    out.finish().unwrap()
}

fn endian() -> impl Strategy<Value = Endian> {
    prop_oneof![Just(Endian::Little), Just(Endian::Big)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(models in vec(model(), 0..40), endian in endian(), layout in any::<bool>()) {
        let bytes = build(Builder::new(endian).with_layout(layout), &models);
        let btf = Btf::parse(&bytes).unwrap();
        prop_assert_eq!(model_of(&btf), &models[..]);
        // A copy, type by type, into the other byte order says the same.
        let mut copy = Builder::new(if endian == Endian::Little { Endian::Big } else { Endian::Little });
        for id in btf.ids() {
            copy.copy(&btf.ty(id).unwrap(), |id| id).unwrap();
        }
        let copy = copy.finish().unwrap();
        prop_assert_eq!(model_of(&Btf::parse(&copy).unwrap()), &models[..]);
    }

    #[test]
    fn split_goes_on_from_its_base(base in vec(model(), 0..20), split in vec(model(), 0..20), endian in endian()) {
        let base_bytes = build(Builder::new(endian), &base);
        let base_btf = Arc::new(Btf::parse(&base_bytes).unwrap());
        let out = Builder::split(endian, base_btf.str_len(), base_btf.end_id());
        let split_bytes = build(out, &split);
        let btf = Btf::parse_split(&split_bytes, base_btf.clone()).unwrap();
        prop_assert_eq!(model_of(&btf), &split[..]);
        prop_assert_eq!(btf.first_id().0 as usize, base.len() + 1);
        let all: Vec<_> = btf.all_ids().map(|id| read(btf.ty(id).unwrap())).collect();
        prop_assert_eq!(all, [base, split].concat());
    }

    #[test]
    fn find_agrees_with_looking_at_every_type(models in vec(model(), 0..60), split in 0..60usize) {
        let split = split.min(models.len());
        let base = build(Builder::new(Endian::Little), &models[..split]);
        let base = Arc::new(Btf::parse(&base).unwrap());
        let bytes = build(Builder::split(Endian::Little, base.str_len(), base.end_id()), &models[split..]);
        let btf = Btf::parse_split(&bytes, base.clone()).unwrap();
        let names: Vec<String> = btf.all_ids().map(|id| btf.name_of(id).unwrap().to_owned()).collect();
        // Twice as many rounds as scans are made, so that both ways are seen.
        for name in names.iter().filter(|n| !n.is_empty()).chain([&"absent".to_owned()]) {
            let expected: Vec<_> = btf.all_ids().filter(|&id| btf.name_of(id).unwrap() == name).collect();
            prop_assert_eq!(btf.find_any(name).map(|f| f.0).collect::<Vec<_>>(), expected.clone());
            for id in expected {
                let kind = btf.kind_of(id).unwrap().unwrap();
                prop_assert!(btf.find(name, kind).any(|found| found == id));
            }
            let essential = btf::essential_name(name);
            let expected: Vec<_> = btf.all_ids()
                .filter(|&id| btf::essential_name(btf.name_of(id).unwrap()) == essential)
                .collect();
            let fresh = Btf::parse_split(&bytes, base.clone()).unwrap();
            prop_assert_eq!(fresh.candidates(essential).map(|f| f.0).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn what_the_format_cannot_hold_is_an_error() {
    let far = |bits| {
        let mut out = Builder::new(Endian::Little);
        let member = |offset, bitfield_size| MemberDef {
            name: StrOffset::EMPTY,
            ty: TypeId(1),
            offset: BitOffset(offset),
            bitfield_size,
        };
        out.composite(Kind::Struct, StrOffset::EMPTY, ByteSize(1 << 22), [member(0, bits), member(1 << 24, 0)]);
        out.finish().map_err(|e| e.to_string())
    };
    assert!(far(0).is_ok());
    assert_eq!(
        far(3).unwrap_err(),
        "cannot write type 1: a member at bit 16777216, beyond 16777215, in a composite that has bit-fields"
    );

    let mut out = Builder::new(Endian::Big);
    out.string("a\0b");
    assert_eq!(out.finish().unwrap_err().to_string(), "cannot write type 1: the name \"a\\0b\" contains a NUL");

    let mut out = Builder::new(Endian::Big);
    out.enum_(StrOffset::EMPTY, ByteSize(4), true, [EnumValueDef { name: StrOffset::EMPTY, value: 1 << 31 }]);
    assert_eq!(
        out.finish().unwrap_err().to_string(),
        "cannot write type 1: enumerator 2147483648 does not fit 32 bits"
    );
}
