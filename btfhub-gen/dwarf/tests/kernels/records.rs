//! How many types there are of each kind and name: deduplicated as libbpf does it, two encoders have the same numbers.

use std::collections::{BTreeMap, HashSet};

use btf::{Btf, Kind, Type, TypeId};

/// How many records of each kind and name.
pub(crate) type Records = BTreeMap<(Kind, String), usize>;

/// The types of a BTF that stand for themselves, not for what other types are made of.
pub(crate) struct Counted {
    /// Those that structs, functions, variables and typedefs lead to, or that are such.
    pub(crate) used: Records,
    /// Declarations that nothing leads to.
    pub(crate) unused: Records,
}

pub(crate) fn count(data: &[u8]) -> Counted {
    let btf = Btf::parse(data).unwrap();
    let reached = reached(&btf);
    let mut counted = Counted { used: Records::new(), unused: Records::new() };
    for id in btf.ids() {
        let kind = kind(&btf, id);
        if !is_made_of_others(kind) {
            let records = if reached.contains(&id) { &mut counted.used } else { &mut counted.unused };
            *records.entry((kind, btf.name_of(id).unwrap().to_owned())).or_default() += 1;
        }
    }
    counted
}

fn kind(btf: &Btf<'_>, id: TypeId) -> Kind {
    btf.ty(id).unwrap().kind().unwrap()
}

fn is_made_of_others(kind: Kind) -> bool {
    use Kind::{Array, Const, DeclTag, Func, FuncProto, Ptr, Restrict, TypeTag, Volatile};
    matches!(kind, Array | Const | DeclTag | Func | FuncProto | Ptr | Restrict | TypeTag | Volatile)
}

fn reached(btf: &Btf<'_>) -> HashSet<TypeId> {
    let is_root = |id: &TypeId| {
        let kind = kind(btf, *id);
        kind == Kind::Func || (kind != Kind::Fwd && !is_made_of_others(kind))
    };
    let mut open: Vec<TypeId> = btf.ids().filter(is_root).collect();
    let mut reached: HashSet<TypeId> = open.iter().copied().collect();
    while let Some(id) = open.pop() {
        let mut referents = Vec::new();
        match btf.ty(id).unwrap() {
            Type::Struct(composite) | Type::Union(composite) => {
                referents.extend(composite.members().map(|member| member.unwrap().ty));
            }
            Type::FuncProto(proto) => {
                referents.push(proto.ret);
                referents.extend(proto.params().map(|parameter| parameter.unwrap().ty));
            }
            Type::Array { element, .. } => referents.push(element),
            ty => referents.extend(ty.referent()),
        }
        open.extend(referents.into_iter().filter(|&id| id != TypeId::VOID && reached.insert(id)));
    }
    reached
}

#[test]
fn a_declaration_is_used_where_something_leads_to_it() {
    #[track_caller]
    fn check(is_member: bool, used: &[(Kind, &str)], unused: &[(Kind, &str)]) {
        let mut out = btf::write::Builder::new(btf::Endian::Little);
        let declared = out.string("declared");
        let fwd = out.fwd(declared, false);
        let pointer = out.ptr(fwd);
        if is_member {
            let name = out.string("alias");
            out.typedef(name, pointer);
        }
        let counted = count(&out.finish().unwrap());
        let records = |expected: &[(Kind, &str)]| -> Records {
            expected.iter().map(|&(kind, name)| ((kind, name.to_owned()), 1)).collect()
        };
        assert_eq!((counted.used, counted.unused), (records(used), records(unused)));
    }
    check(true, &[(Kind::Fwd, "declared"), (Kind::Typedef, "alias")], &[]);
    check(false, &[], &[(Kind::Fwd, "declared")]);
}
