//! Compatibility of types: whether a field or type of the target can stand for the local one. Weaker than identity: sizes and
//! signedness of integers, names behind pointers and array lengths do not matter.

use super::refusal::Refusal;
use super::words::{self, kinds_compatible, stripped};
use crate::index::essential_len;
use crate::parse::{Btf, Record};
use crate::raw::{Kind, TypeId};

/// Pointers, arrays and return types followed at most, as in libbpf.
pub(crate) const MAX_DEPTH: u32 = 32;

/// What a comparison saw in the target, for whoever wants to keep just that.
pub(crate) trait Observer {
    /// The candidate itself, before qualifiers and typedefs are skipped.
    fn root(&mut self, _id: TypeId) {}
    /// What is behind the qualifiers and typedefs of this type was looked at.
    fn ty(&mut self, _id: TypeId) {}
    /// The name of this type, behind its qualifiers and typedefs, was compared.
    fn named(&mut self, _id: TypeId) {}
    /// A pointer was followed.
    fn followed(&mut self, _pointer: TypeId) {}
    /// A member was found to be the one.
    fn member(&mut self, _composite: TypeId, _index: u32) {}
    /// An enumerator was found to be the one.
    fn enumerator(&mut self, _enumeration: TypeId, _index: u32) {}
}

impl Observer for () {}

/// A type of one BTF.
#[derive(Clone, Copy)]
pub(crate) struct Node<'b> {
    pub(crate) btf: &'b Btf<'b>,
    pub(crate) id: TypeId,
}

impl<'b> Node<'b> {
    pub(crate) fn new(btf: &'b Btf<'b>, id: TypeId) -> Node<'b> {
        Node { btf, id }
    }

    pub(crate) fn at(self, id: TypeId) -> Node<'b> {
        Node { id, ..self }
    }

    /// The type behind qualifiers and typedefs, and its record (`None` for `void`).
    pub(crate) fn strip(self) -> Result<(Node<'b>, Option<Record<'b>>), Refusal> {
        let (id, record) = stripped(self.btf, self.id)?;
        Ok((self.at(id), record))
    }
}

/// The kind of a record, `None` for `void`.
pub(crate) fn kind(record: &Option<Record<'_>>) -> Option<Kind> {
    record.as_ref().map(|record| record.info.kind())
}

/// Can the target's field stand for the local one? libbpf's `bpf_core_fields_are_compat`.
pub(crate) fn fields_are_compatible(local: Node<'_>, target: Node<'_>) -> Result<bool, Refusal> {
    let (mut local, mut target) = (local, target);
    for _ in 0..crate::resolve::MAX_RESOLVE_DEPTH {
        let (_, local_type) = local.strip()?;
        let (_, target_type) = target.strip()?;
        let (Some(a), Some(b)) = (local_type, target_type) else {
            // `void` against `void` falls through all of libbpf's cases.
            return Ok(false);
        };
        let (a_kind, b_kind) = (a.info.kind(), b.info.kind());
        if a_kind.is_composite() && b_kind.is_composite() {
            return Ok(true);
        }
        if !kinds_compatible(Some(a_kind), Some(b_kind)) {
            return Ok(false);
        }
        return match a_kind {
            Kind::Ptr | Kind::Float => Ok(true),
            Kind::Fwd | Kind::Enum | Kind::Enum64 => {
                let a = essential(local.btf, &a)?;
                let b = essential(target.btf, &b)?;
                Ok(a.is_empty() || b.is_empty() || a == b)
            }
            Kind::Int => Ok(words::int_offset(&a) == 0 && words::int_offset(&b) == 0),
            Kind::Array => {
                local = local.at(words::array(&a).element);
                target = target.at(words::array(&b).element);
                continue;
            }
            _ => Ok(false),
        };
    }
    Err(Refusal::Nesting)
}

fn essential<'b>(btf: &'b Btf<'_>, record: &Record<'_>) -> Result<&'b [u8], Refusal> {
    let name = btf.str_bytes(record.name)?;
    Ok(&name[..essential_len(name)])
}

/// Can the target's type stand for the local one, of the same name? libbpf's `__bpf_core_types_are_compat`.
pub(crate) fn types_are_compatible(
    local: Node<'_>,
    target: Node<'_>,
    observer: &mut impl Observer,
) -> Result<bool, Refusal> {
    types_are_compatible_within(local, target, MAX_DEPTH, observer)
}

fn types_are_compatible_within(
    local: Node<'_>,
    target: Node<'_>,
    level: u32,
    observer: &mut impl Observer,
) -> Result<bool, Refusal> {
    let (mut local, mut target) = (local, target);
    if !kinds_compatible(local.btf.kind_of(local.id)?, target.btf.kind_of(target.id)?) {
        return Ok(false);
    }
    for _ in 0..MAX_DEPTH {
        observer.ty(target.id);
        let (_, a) = local.strip()?;
        let (stripped_target, b) = target.strip()?;
        if !kinds_compatible(kind(&a), kind(&b)) {
            return Ok(false);
        }
        let (Some(a), Some(b)) = (a, b) else { return Ok(true) };
        match a.info.kind() {
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => return Ok(true),
            Kind::Int => return Ok(words::int_offset(&a) == 0 && words::int_offset(&b) == 0),
            Kind::Ptr => {
                observer.followed(stripped_target.id);
                local = local.at(TypeId(a.size_or_type));
                target = target.at(TypeId(b.size_or_type));
            }
            Kind::Array => {
                observer.ty(words::array(&b).index);
                local = local.at(words::array(&a).element);
                target = target.at(words::array(&b).element);
            }
            Kind::FuncProto => {
                if a.info.vlen() != b.info.vlen() {
                    return Ok(false);
                }
                for index in 0..a.info.vlen() {
                    let level = level.checked_sub(1).ok_or(Refusal::Nesting)?;
                    let (a, _) = local.at(words::parameter(&a, index)).strip()?;
                    let (b, _) = target.at(words::parameter(&b, index)).strip()?;
                    if !types_are_compatible_within(a, b, level, observer)? {
                        return Ok(false);
                    }
                }
                local = local.at(TypeId(a.size_or_type)).strip()?.0;
                target = target.at(TypeId(b.size_or_type)).strip()?.0;
            }
            _ => return Ok(false),
        }
    }
    Err(Refusal::Nesting)
}
