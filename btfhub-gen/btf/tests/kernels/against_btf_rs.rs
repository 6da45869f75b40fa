//! Every type as btf-rs reads it.

use btf::{Btf, Type, TypeId};
use btf_rs::BtfType;

use crate::corpus;

#[test]
fn every_type_is_as_btf_rs_reads_it() {
    for kernel in corpus::all() {
        let ours = Btf::parse(&kernel.btf).unwrap();
        let theirs = btf_rs::Btf::from_bytes(&kernel.btf).unwrap();
        assert_eq!(ours.diagnostics(), []);
        for id in ours.ids() {
            let expected = describe_theirs(&theirs, id.0);
            let found = describe(ours.ty(id).unwrap());
            assert_eq!(found, expected, "{} type {id}", kernel.name);
        }
        let end = ours.end_id();
        assert!(theirs.resolve_type_by_id(end.0).is_err(), "{}: btf-rs has more types", kernel.name);
        assert!(ours.ty(end).is_err());
    }
}

#[test]
fn names_are_found_where_btf_rs_finds_them() {
    for kernel in corpus::all() {
        let theirs = btf_rs::Btf::from_bytes(&kernel.btf).unwrap();
        let indexed = Btf::parse(&kernel.btf).unwrap();
        indexed.candidates("").for_each(drop);
        let mut scanning = Btf::parse(&kernel.btf).unwrap();
        let named: Vec<_> = indexed.ids().map(|id| indexed.name_of(id).unwrap()).filter(|n| !n.is_empty()).collect();
        for (count, name) in named.iter().step_by(named.len() / 100).enumerate() {
            if count % 8 == 0 {
                // The next one would build the index.
                scanning = Btf::parse(&kernel.btf).unwrap();
            }
            let mut expected = theirs.resolve_ids_by_name(name).unwrap();
            expected.sort_unstable();
            let by_scan: Vec<u32> = scanning.find_any(name).map(|f| f.0.0).collect();
            let by_index: Vec<u32> = indexed.find_any(name).map(|f| f.0.0).collect();
            assert_eq!(by_scan, expected, "{} {name}", kernel.name);
            assert_eq!(by_index, expected, "{} {name}", kernel.name);
        }
    }
}

fn describe(ty: Type<'_>) -> String {
    let id = |id: TypeId| id.0;
    let list = |items: Vec<String>| items.join(", ");
    match ty {
        Type::Void => "void".to_owned(),
        Type::Int { name, size, encoding, .. } => {
            format!("int {name} {size} {} {} {}", encoding.is_signed(), encoding.is_char(), encoding.is_bool())
        }
        Type::Ptr(to) => format!("ptr {to}"),
        Type::Array { element, len, .. } => format!("array {element} {len}"),
        Type::Struct(c) | Type::Union(c) => {
            let members = c.members().map(|m| m.unwrap());
            let members = members.map(|m| format!("{} {} {} {}", m.name, id(m.ty), m.offset.0, m.bitfield_size));
            let what = if matches!(ty, Type::Struct(_)) { "struct" } else { "union" };
            format!("{what} {} {} {{ {} }}", c.name, c.size, list(members.collect()))
        }
        Type::Enum(e) => {
            // btf-rs gives the word as it is.
            let values = e.values().map(|v| v.unwrap()).map(|v| format!("{} {}", v.name, v.value as u32));
            format!("enum {} {} {} {{ {} }}", e.name, e.size, e.signed(), list(values.collect()))
        }
        Type::Enum64(e) => {
            let values = e.values().map(|v| v.unwrap()).map(|v| format!("{} {}", v.name, v.value as u64));
            format!("enum64 {} {} {} {{ {} }}", e.name, e.size, e.signed(), list(values.collect()))
        }
        Type::Fwd { name, is_union } => format!("fwd {name} {is_union}"),
        Type::Typedef { name, ty } => format!("typedef {name} {ty}"),
        Type::Volatile(ty) => format!("volatile {ty}"),
        Type::Const(ty) => format!("const {ty}"),
        Type::Restrict(ty) => format!("restrict {ty}"),
        Type::Func { name, proto, linkage } => {
            let linkage = linkage.raw();
            format!("func {name} {proto} {} {} {}", linkage == 0, linkage == 1, linkage == 2)
        }
        Type::FuncProto(proto) => {
            let params = proto.params().map(|p| p.unwrap());
            let params = params.map(|p| format!("{} {} {}", p.name, p.ty, p.is_ellipsis()));
            format!("proto {} ({})", proto.ret, list(params.collect()))
        }
        Type::Var { name, ty, linkage } => {
            let linkage = linkage.raw();
            format!("var {name} {ty} {} {} {}", linkage == 0, linkage == 1, linkage == 2)
        }
        Type::Datasec(section) => {
            let vars = section.vars().map(|v| v.unwrap()).map(|v| format!("{} {} {}", v.ty, v.offset.0, v.size));
            format!("datasec {} {} {{ {} }}", section.name, section.size, list(vars.collect()))
        }
        Type::Float { name, size } => format!("float {name} {size}"),
        Type::DeclTag { name, target, component_idx, is_attr } => {
            format!("decl_tag {name} {target} {component_idx:?} {is_attr}")
        }
        Type::TypeTag { name, ty, is_attr } => format!("type_tag {name} {ty} {is_attr}"),
        other => panic!("btf-rs has no such type: {other:?}"),
    }
}

fn describe_theirs(btf: &btf_rs::Btf, id: u32) -> String {
    use btf_rs::Type;

    fn name(btf: &btf_rs::Btf, ty: &dyn BtfType) -> String {
        match ty.get_name_offset() {
            Some(0) | None => String::new(),
            Some(_) => btf.resolve_name(ty).unwrap(),
        }
    }
    let to = |ty: &dyn BtfType| ty.get_type_id().unwrap();
    let list = |items: Vec<String>| items.join(", ");
    let ty = btf.resolve_type_by_id(id).unwrap();
    let own = ty.as_btf_type().map(|ty| name(btf, ty)).unwrap_or_default();
    match &ty {
        Type::Void => "void".to_owned(),
        Type::Int(i) => format!("int {own} {} {} {} {}", i.size(), i.is_signed(), i.is_char(), i.is_bool()),
        Type::Ptr(p) => format!("ptr {}", to(p)),
        Type::Array(a) => format!("array {} {}", to(a), a.len()),
        Type::Struct(c) | Type::Union(c) => {
            let member = |m: &btf_rs::Member| {
                format!("{} {} {} {}", name(btf, m), to(m), m.bit_offset(), m.bitfield_size().unwrap_or(0))
            };
            let what = if matches!(ty, Type::Struct(_)) { "struct" } else { "union" };
            format!("{what} {own} {} {{ {} }}", c.size(), list(c.members.iter().map(member).collect()))
        }
        Type::Enum(e) => {
            let values = e.members.iter().map(|v| format!("{} {}", name(btf, v), v.val()));
            format!("enum {own} {} {} {{ {} }}", e.size(), e.is_signed(), list(values.collect()))
        }
        Type::Enum64(e) => {
            let values = e.members.iter().map(|v| format!("{} {}", name(btf, v), v.val()));
            format!("enum64 {own} {} {} {{ {} }}", e.size(), e.is_signed(), list(values.collect()))
        }
        Type::Fwd(f) => format!("fwd {own} {}", f.is_union()),
        Type::Typedef(t) => format!("typedef {own} {}", to(t)),
        Type::Volatile(t) => format!("volatile {}", to(t)),
        Type::Const(t) => format!("const {}", to(t)),
        Type::Restrict(t) => format!("restrict {}", to(t)),
        Type::Func(f) => {
            format!("func {own} {} {} {} {}", to(f), f.is_static(), f.is_global(), f.is_extern())
        }
        Type::FuncProto(proto) => {
            let params = proto.parameters.iter();
            let params = params.map(|p| format!("{} {} {}", name(btf, p), to(p), p.is_variadic()));
            format!("proto {} ({})", proto.return_type_id(), list(params.collect()))
        }
        Type::Var(v) => format!("var {own} {} {} {} {}", to(v), v.is_static(), v.is_global(), v.is_extern()),
        Type::Datasec(section) => {
            let vars = section.variables.iter().map(|v| format!("{} {} {}", to(v), v.offset(), v.size()));
            format!("datasec {own} {} {{ {} }}", section.size(), list(vars.collect()))
        }
        Type::Float(f) => format!("float {own} {}", f.size()),
        Type::DeclTag(t) => format!("decl_tag {own} {} {:?} {}", to(t), t.component_index(), t.is_attribute()),
        Type::TypeTag(t) => format!("type_tag {own} {} {}", to(t), t.is_attribute()),
        other => panic!("btf-rs learnt of a kind that is not compared: {other:?}"),
    }
}
