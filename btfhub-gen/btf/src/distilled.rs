//! Distilled base: split BTF that was made for another build of the kernel than the one it is loaded into.
//!
//! A module built outside the kernel's tree carries in `.BTF.base` the few base types it refers to, by name and size only.
//! Before use, its references are moved to the types of the real base, by the rules of libbpf's and the kernel's
//! `btf_relocate` (Linux 6.11): INT, FLOAT and enumerations agree in name and size; a struct or union in its name, and in its
//! size where a type of the split BTF embeds it or the name alone does not tell which one is meant.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::{Error, Result};
use crate::parse::{Btf, Record};
use crate::raw::{Kind, TypeId};
use crate::resolve::MAX_RESOLVE_DEPTH;
use crate::types::Type;
use crate::write::Builder;

/// Split BTF whose references were moved from a distilled base to a real one.
#[derive(Debug)]
pub struct Relocated<'a> {
    /// The split BTF, over the real base.
    pub btf: Btf<'a>,
    /// For each id of the distilled base and the old split BTF, its id now; index 0 is `void`.
    pub ids: Vec<TypeId>,
}

impl<'a> Btf<'a> {
    /// Opens split BTF (`.BTF`) that was made over a distilled base (`.BTF.base`), over the real `base`.
    ///
    /// # Errors
    /// As for [`Btf::parse_split`] for either input; [`Error::Distilled`] where a type of the distilled base has no
    /// counterpart in `base`, or several.
    pub fn parse_distilled(split: &[u8], distilled: &[u8], base: Arc<Btf<'a>>) -> Result<Relocated<'a>> {
        let distilled = Arc::new(Btf::parse(distilled)?);
        let split = Btf::parse_split(split, distilled.clone())?;
        if let Some(diagnostic) = split.diagnostics().first() {
            let offset = split.record_offset(split.end_id()).unwrap_or(0);
            return Err(Error::format("BTF types", offset, format!("cannot relocate all of it: {diagnostic}")));
        }
        let counterparts = counterparts(&split, &distilled, &base)?;
        let mut ids = vec![TypeId::VOID; split.end_id().0 as usize];
        for (old, new) in ids.iter_mut().enumerate().skip(1) {
            let old = TypeId(old as u32);
            *new = match counterparts.get(&old) {
                Some(&found) => found,
                None => TypeId(base.end_id().0 + (old.0 - split.first_id().0)),
            };
        }
        let map = |id: TypeId| ids.get(id.0 as usize).copied().unwrap_or(id);
        let mut out = Builder::split(split.endian(), base.str_end()?, base.end_id());
        for id in split.ids() {
            out.copy(&split.ty(id)?, map)?;
        }
        let btf = Btf::parse_split_owned(out.finish()?, base)?;
        Ok(Relocated { btf, ids })
    }
}

/// For each type of the distilled base its counterpart in the real one.
fn counterparts(split: &Btf<'_>, distilled: &Btf<'_>, base: &Btf<'_>) -> Result<FxHashMap<TypeId, TypeId>> {
    let embedded = embedded(split, distilled)?;
    let mut found = FxHashMap::default();
    for id in distilled.ids() {
        let wanted = distilled.record(id)?;
        let failed = |reason: String| Error::Distilled { id, reason };
        let kind = wanted.info.kind();
        let name = distilled.str(wanted.name)?;
        if name.is_empty() {
            return Err(failed(format!("a {kind} without a name")));
        }
        if !matches!(kind, Kind::Int | Kind::Float | Kind::Enum | Kind::Struct | Kind::Union | Kind::Fwd) {
            return Err(failed(format!("a {kind} does not belong into a distilled base")));
        }
        let candidates: Vec<(TypeId, Kind)> = base.find_any(name).collect();
        let composites = candidates.iter().filter(|c| c.1.is_composite()).count();
        let (mut same, mut related) = (Vec::new(), Vec::new());
        for (candidate, base_kind) in candidates {
            if agrees(&wanted, &base.record(candidate)?, embedded.contains(&id), composites > 1) {
                let is_same = kind == base_kind || base_kind == Kind::Enum64;
                if is_same { same.push(candidate) } else { related.push(candidate) }
            }
        }
        // Where libbpf refuses a definition beside a forward declaration, the one of the same kind is meant.
        match if same.is_empty() { &related[..] } else { &same[..] } {
            [one] => found.insert(id, *one),
            [] => return Err(failed(format!("no {kind} {name} of size {} in the base", wanted.size_or_type))),
            [a, b, ..] => return Err(failed(format!("{kind} {name} may be type {a} or {b} of the base"))),
        };
    }
    Ok(found)
}

fn agrees(wanted: &Record<'_>, base: &Record<'_>, embedded: bool, name_is_ambiguous: bool) -> bool {
    let same_size = wanted.size_or_type == base.size_or_type;
    let encoding = |record: &Record<'_>| record.word(0) >> 24 & 0x0f;
    match (wanted.info.kind(), base.info.kind()) {
        (Kind::Fwd, Kind::Fwd) => wanted.info.kind_flag() == base.info.kind_flag(),
        // The size of a forward declaration is 0, which libbpf compares too where the base's name is ambiguous.
        (Kind::Fwd, Kind::Struct | Kind::Union) => is_union(wanted) == is_union(base) && !name_is_ambiguous,
        (Kind::Struct | Kind::Union, Kind::Fwd) => is_union(wanted) == is_union(base) && !embedded,
        (Kind::Int, Kind::Int) => same_size && encoding(wanted) == encoding(base),
        (Kind::Float, Kind::Float) | (Kind::Enum, Kind::Enum | Kind::Enum64) => same_size,
        (Kind::Struct, Kind::Struct) | (Kind::Union, Kind::Union) => same_size || !(embedded || name_is_ambiguous),
        _ => false,
    }
}

fn is_union(record: &Record<'_>) -> bool {
    match record.info.kind() {
        Kind::Fwd => record.info.kind_flag(),
        kind => kind == Kind::Union,
    }
}

/// Types of the distilled base that a struct or union of the split BTF holds by value.
fn embedded(split: &Btf<'_>, distilled: &Btf<'_>) -> Result<FxHashSet<TypeId>> {
    let mut embedded = FxHashSet::default();
    for id in split.ids() {
        let (Type::Struct(composite) | Type::Union(composite)) = split.ty(id)? else { continue };
        for member in composite.members() {
            let mut at = member?.ty;
            for step in 0.. {
                if step == MAX_RESOLVE_DEPTH {
                    return Err(Error::TooDeep { id, limit: MAX_RESOLVE_DEPTH });
                }
                let Some(kind) = split.kind_of(at)? else { break };
                let record = split.record(at)?;
                match kind {
                    Kind::Array => at = TypeId(record.word(0)),
                    _ if kind.is_modifier() || kind == Kind::Typedef => at = TypeId(record.size_or_type),
                    Kind::Struct | Kind::Union => {
                        if at < distilled.end_id() {
                            embedded.insert(at);
                        }
                        break;
                    }
                    _ => break,
                }
            }
        }
    }
    Ok(embedded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{BitOffset, ByteSize, Endian, StrOffset};
    use crate::types::IntEncoding;
    use crate::write::{EnumValueDef, MemberDef};

    fn member(out: &mut Builder, name: &str, ty: TypeId) -> MemberDef {
        MemberDef { name: out.string(name), ty, offset: BitOffset(0), bitfield_size: 0 }
    }

    fn int(out: &mut Builder, name: &str, size: u32) -> TypeId {
        let name = out.string(name);
        out.int(name, ByteSize(size), IntEncoding::NONE, BitOffset(0), (size * 8) as u8)
    }

    fn composite(out: &mut Builder, name: &str, size: u32) -> TypeId {
        let name = out.string(name);
        out.composite(Kind::Struct, name, ByteSize(size), [])
    }

    /// int (1), struct plain of 16 bytes (2), enum e (3); over it: pointer to plain (4), a struct that embeds plain (5).
    fn module(embeds: bool) -> (Vec<u8>, Vec<u8>) {
        let mut base = Builder::new(Endian::Little);
        int(&mut base, "int", 4);
        let plain = composite(&mut base, "plain", 16);
        let e = base.string("e");
        base.enum_(e, ByteSize(8), false, []);
        let base = base.finish().unwrap();
        let mut split = Builder::split(Endian::Little, Btf::parse(&base).unwrap().str_len(), TypeId(4));
        let ptr = split.ptr(plain);
        let name = split.string("mod");
        let members = [
            member(&mut split, "pointer", ptr),
            member(&mut split, "second", if embeds { plain } else { ptr }),
            member(&mut split, "kind", TypeId(3)),
        ];
        split.composite(Kind::Struct, name, ByteSize(32), members);
        (split.finish().unwrap(), base)
    }

    #[track_caller]
    fn check(embeds: bool, base: impl FnOnce(&mut Builder), expected: Result<[u32; 6], &str>) {
        let (split, distilled) = module(embeds);
        let mut real = Builder::new(Endian::Little);
        base(&mut real);
        let real = real.finish().unwrap();
        let real = Arc::new(Btf::parse(&real).unwrap());
        let found = Btf::parse_distilled(&split, &distilled, real.clone());
        let Ok(relocated) = found else {
            return assert_eq!(found.unwrap_err().to_string(), expected.expect_err("an error"));
        };
        assert_eq!(relocated.ids.iter().map(|id| id.0).collect::<Vec<_>>(), expected.expect("no error"));
        let btf = &relocated.btf;
        assert_eq!(btf.first_id(), real.end_id());
        let Ok(Type::Struct(found)) = btf.ty(relocated.ids[5]) else { panic!("type 5 is no struct") };
        let members: Vec<_> = found.members().map(|m| m.unwrap()).map(|m| (m.name, m.ty)).collect();
        let second = if embeds { relocated.ids[2] } else { relocated.ids[4] };
        assert_eq!(members, [("pointer", relocated.ids[4]), ("second", second), ("kind", relocated.ids[3])]);
        assert!(matches!(btf.ty(relocated.ids[4]), Ok(Type::Ptr(to)) if to == relocated.ids[2]));
    }

    fn rest(out: &mut Builder) {
        let (e, a) = (out.string("e"), out.string("A"));
        out.enum64(e, ByteSize(8), false, [EnumValueDef { name: a, value: 1 << 40 }]);
        int(out, "int", 4);
    }

    #[test]
    fn references_move_to_the_types_of_the_same_name() {
        let base = |out: &mut Builder| {
            composite(out, "other", 16);
            composite(out, "plain", 16);
            rest(out);
        };
        check(true, base, Ok([0, 4, 2, 3, 5, 6]));
    }

    #[test]
    fn a_struct_may_have_grown_unless_it_is_embedded() {
        let base = |out: &mut Builder| {
            composite(out, "plain", 24);
            rest(out);
        };
        check(false, base, Ok([0, 3, 1, 2, 4, 5]));
        check(true, base, Err("distilled base, type 2: no STRUCT plain of size 16 in the base"));
    }

    #[test]
    fn an_ambiguous_name_is_told_apart_by_size() {
        let base = |sizes: [u32; 2]| {
            move |out: &mut Builder| {
                for size in sizes {
                    composite(out, "plain", size);
                }
                rest(out);
            }
        };
        check(false, base([24, 16]), Ok([0, 4, 2, 3, 5, 6]));
        check(false, base([24, 32]), Err("distilled base, type 2: no STRUCT plain of size 16 in the base"));
        check(false, base([16, 16]), Err("distilled base, type 2: STRUCT plain may be type 1 or 2 of the base"));
    }

    #[test]
    fn a_forward_declaration_stands_in_where_only_a_pointer_needs_it() {
        let base = |out: &mut Builder| {
            let name = out.string("plain");
            out.fwd(name, false);
            rest(out);
        };
        check(false, base, Ok([0, 3, 1, 2, 4, 5]));
        check(true, base, Err("distilled base, type 2: no STRUCT plain of size 16 in the base"));
        let both = |out: &mut Builder| {
            base(out);
            composite(out, "plain", 16);
        };
        check(true, both, Ok([0, 3, 4, 2, 5, 6]));
    }

    #[test]
    fn a_distilled_base_holds_named_types_only() {
        let mut distilled = Builder::new(Endian::Little);
        distilled.composite(Kind::Struct, StrOffset::EMPTY, ByteSize(1), []);
        let distilled = distilled.finish().unwrap();
        let split = Builder::split(Endian::Little, 1, TypeId(2)).finish().unwrap();
        let real = Arc::new(Btf::parse(&distilled).unwrap());
        let error = Btf::parse_distilled(&split, &distilled, real.clone()).unwrap_err();
        assert_eq!(error.to_string(), "distilled base, type 1: a STRUCT without a name");
    }
}
