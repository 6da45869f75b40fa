//! The elements of a type record as words: what the resolution compares, without decoding names.

use crate::error::{Error, Result};
use crate::parse::{Btf, Record};
use crate::raw::{Kind, StrOffset, TypeId};
use crate::resolve::MAX_RESOLVE_DEPTH;

/// A member of a composite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemberWords {
    pub(crate) name: StrOffset,
    pub(crate) ty: TypeId,
    pub(crate) bit_offset: u32,
    pub(crate) bitfield_size: u32,
}

/// The dimension and element of an array.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArrayWords {
    pub(crate) element: TypeId,
    pub(crate) index: TypeId,
    pub(crate) len: u32,
}

/// The member at `index`; all zero beyond the last.
pub(crate) fn member(composite: &Record<'_>, index: u32) -> MemberWords {
    let at = index as usize * 3;
    let offset = composite.word(at + 2);
    let (bit_offset, bitfield_size) =
        if composite.info.kind_flag() { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
    MemberWords { name: StrOffset(composite.word(at)), ty: TypeId(composite.word(at + 1)), bit_offset, bitfield_size }
}

/// The names of the members, or of an ENUM64's enumerators, in order.
#[inline]
pub(crate) fn names_by_three(record: &Record<'_>) -> impl Iterator<Item = StrOffset> {
    let endian = record.endian;
    record.payload.chunks_exact(12).map(move |words| StrOffset(endian.u32([words[0], words[1], words[2], words[3]])))
}

/// The members in order.
pub(crate) fn members(composite: &Record<'_>) -> impl Iterator<Item = MemberWords> {
    (0..composite.info.vlen()).map(move |index| member(composite, index))
}

/// Name of the enumerator at `index`.
pub(crate) fn enumerator_name(enumeration: &Record<'_>, index: u32) -> StrOffset {
    let words = if enumeration.info.kind() == Kind::Enum64 { 3 } else { 2 };
    StrOffset(enumeration.word(index as usize * words))
}

/// The enumerator's value as libbpf puts it into an instruction: the 32 bits of an ENUM extended by its sign where the
/// value was read as `__s32`, the 64 bits of an ENUM64.
pub(crate) fn enumerator_value(enumeration: &Record<'_>, index: u32) -> u64 {
    if enumeration.info.kind() == Kind::Enum64 {
        let at = index as usize * 3;
        u64::from(enumeration.word(at + 2)) << 32 | u64::from(enumeration.word(at + 1))
    } else {
        i64::from(enumeration.word(index as usize * 2 + 1) as i32) as u64
    }
}

/// An array's dimension.
pub(crate) fn array(record: &Record<'_>) -> ArrayWords {
    ArrayWords { element: TypeId(record.word(0)), index: TypeId(record.word(1)), len: record.word(2) }
}

/// Type of the parameter at `index` of a prototype.
pub(crate) fn parameter(proto: &Record<'_>, index: u32) -> TypeId {
    TypeId(proto.word(index as usize * 2 + 1))
}

/// The bits of `BTF_INT_OFFSET`.
pub(crate) fn int_offset(int: &Record<'_>) -> u32 {
    int.word(0) >> 16 & 0xff
}

/// The bits of `BTF_INT_ENCODING`.
pub(crate) fn int_encoding(int: &Record<'_>) -> u32 {
    int.word(0) >> 24 & 0x0f
}

/// The record behind qualifiers, type tags and typedefs, with its id. `None` for `void`.
#[inline]
pub(crate) fn stripped<'b>(btf: &'b Btf<'_>, id: TypeId) -> Result<(TypeId, Option<Record<'b>>)> {
    let mut at = id;
    for _ in 0..MAX_RESOLVE_DEPTH {
        if at.is_void() {
            return Ok((at, None));
        }
        let record = btf.record(at)?;
        let kind = record.info.kind();
        if !kind.is_modifier() && kind != Kind::Typedef {
            return Ok((at, Some(record)));
        }
        at = TypeId(record.size_or_type);
    }
    Err(Error::TooDeep { id, limit: MAX_RESOLVE_DEPTH })
}

/// libbpf's `btf_kind_core_compat`: the same kind, or two enumerations of any width. `None` is `void`.
pub(crate) fn kinds_compatible(a: Option<Kind>, b: Option<Kind>) -> bool {
    a == b || a.is_some_and(Kind::is_enum) && b.is_some_and(Kind::is_enum)
}
