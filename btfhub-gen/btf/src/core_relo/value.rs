//! What a relocation comes to: the value expected in the instruction, and the one to put there. libbpf's
//! `bpf_core_calc_relo` and what it calls.

use super::kind::{CoreReloKind, Family};
use super::refusal::Refusal;
use super::spec::AccessSpec;
use super::words::{self, stripped};
use crate::parse::{Btf, Record};
use crate::raw::{Endian, Kind, TypeId};
use crate::resolve::size_of;

/// The result of a relocation against a candidate, or against none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the instruction should hold before, by the local types.
    pub local: u64,
    /// What it holds afterwards. Meaningless where `poison` is set.
    pub target: u64,
    /// The instruction becomes an invalid call.
    pub poison: bool,
    /// Is `local` what the compiler must have put into the instruction? Not for bit-fields and type ids.
    pub validate: bool,
    /// Sizes in bytes of the field here and there, where a load or store has to be adjusted; else both 0.
    pub sizes: (u32, u32),
    /// The sizes differ and the field's types do not allow to adjust the load or store, which is then poisoned.
    pub size_conflict: bool,
}

/// What a relocation comes to by the types of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    value: u64,
    /// Of the field, for a load or store; else 0.
    size: u32,
    size_type: TypeId,
    validate: bool,
}

/// Calculates one side of a relocation: the access `spec` in its BTF.
pub(crate) fn side(btf: &Btf<'_>, spec: &AccessSpec) -> Result<Side, Refusal> {
    let plain = |(value, validate)| Side { value, size: 0, size_type: TypeId::VOID, validate };
    match spec.kind.family().ok_or(Refusal::UnknownKind(spec.kind))? {
        Family::Field => field_value(btf, spec),
        Family::Type => type_value(btf, spec).map(plain),
        Family::Enumval => enumerator_value(btf, spec).map(|value| plain((value, true))),
    }
}

/// What a relocation comes to where the target has what is asked for.
pub(crate) fn found((local_btf, a): (&Btf<'_>, &Side), (target_btf, b): (&Btf<'_>, &Side)) -> Result<Outcome, Refusal> {
    Ok(Outcome {
        local: a.value,
        target: b.value,
        poison: false,
        validate: a.validate,
        sizes: (a.size, b.size),
        size_conflict: a.size != b.size && !sizes_adjustable((local_btf, a.size_type), (target_btf, b.size_type))?,
    })
}

/// What a relocation comes to where the target has no such thing.
pub(crate) fn absent(kind: CoreReloKind, local: &Side) -> Outcome {
    let poison = match kind {
        CoreReloKind::FieldExists | CoreReloKind::EnumvalExists => false,
        kind => kind.family() != Some(Family::Type),
    };
    // The id of a local type is not searched for.
    let target = if kind == CoreReloKind::TypeIdLocal { local.value } else { 0 };
    let validate = local.validate;
    Outcome { local: local.value, target, poison, validate, sizes: (0, 0), size_conflict: false }
}

fn field_value(btf: &Btf<'_>, spec: &AccessSpec) -> Result<Side, Refusal> {
    let plain = |value| Side { value, size: 0, size_type: TypeId::VOID, validate: true };
    if spec.kind == CoreReloKind::FieldExists {
        return Ok(plain(1));
    }
    let accessor = spec.accessors.last().ok_or(Refusal::TooDeep)?;
    if accessor.name.is_none() {
        return match spec.kind {
            CoreReloKind::FieldByteOffset => Ok(Side {
                size: element_size(btf, accessor.ty)?,
                size_type: accessor.ty,
                ..plain((spec.bit_offset / 8).into())
            }),
            CoreReloKind::FieldByteSize => Ok(plain(size_of(btf, accessor.ty)?.0.into())),
            kind => Err(Refusal::ArrayElement(kind)),
        };
    }
    let composite = btf.record(accessor.ty)?;
    let member = words::member(&composite, accessor.index);
    let (ty, record) = stripped(btf, member.ty)?;
    let bits = u64::from(spec.bit_offset);
    let is_bitfield = member.bitfield_size > 0;
    let (byte_offset, byte_size, bit_size) = if is_bitfield {
        let size = u64::from(record.as_ref().map_or(0, |record| record.size_or_type));
        let (offset, size) = bitfield_load(bits, member.bitfield_size.into(), size)?;
        (offset, size, u64::from(member.bitfield_size))
    } else {
        let size = u64::from(size_of(btf, ty)?.0);
        (bits / 8, size, size * 8)
    };
    let mut result = Side { validate: !is_bitfield, ..plain(0) };
    // libbpf computes in 32 bits.
    let wrapped = |value: u64| u64::from(value as u32);
    match spec.kind {
        CoreReloKind::FieldByteOffset => {
            result.value = byte_offset;
            if !is_bitfield {
                result.size = element_size(btf, ty)?;
                result.size_type = ty;
            }
        }
        CoreReloKind::FieldByteSize => result.value = byte_size,
        CoreReloKind::FieldSigned => {
            result.value = record.as_ref().is_some_and(is_signed).into();
            result.validate = true;
        }
        CoreReloKind::FieldLshiftU64 => {
            let start = bits.wrapping_sub(byte_offset.wrapping_mul(8));
            result.value = wrapped(match btf.endian() {
                Endian::Little => 64u64.wrapping_sub(start.wrapping_add(bit_size)),
                Endian::Big => 8u64.wrapping_sub(byte_size).wrapping_mul(8).wrapping_add(start),
            });
        }
        CoreReloKind::FieldRshiftU64 => {
            result.value = wrapped(64u64.wrapping_sub(bit_size));
            result.validate = true;
        }
        kind => return Err(Refusal::UnknownKind(kind)),
    }
    Ok(result)
}

/// Offset and size in bytes of the smallest aligned load that covers a bit-field, from the size of its type up.
fn bitfield_load(bits: u64, width: u64, type_size: u64) -> Result<(u64, u64), Refusal> {
    let mut size = type_size;
    if size == 0 {
        return Err(Refusal::Bitfield);
    }
    let mut offset = bits / 8 / size * size;
    while bits + width - offset * 8 > size * 8 {
        if size >= 8 {
            return Err(Refusal::Bitfield);
        }
        size *= 2;
        offset = bits / 8 / size * size;
    }
    Ok((offset, size))
}

fn is_signed(record: &Record<'_>) -> bool {
    match record.info.kind() {
        Kind::Enum | Kind::Enum64 => record.info.kind_flag(),
        Kind::Int => words::int_encoding(record) & 1 != 0,
        _ => false,
    }
}

/// Size of a field for a load or store: of an array, that of its innermost element.
fn element_size(btf: &Btf<'_>, mut id: TypeId) -> Result<u32, Refusal> {
    for _ in 0..crate::resolve::MAX_RESOLVE_DEPTH {
        let (ty, record) = stripped(btf, id)?;
        match record {
            Some(record) if record.info.kind() == Kind::Array => id = words::array(&record).element,
            _ => return Ok(size_of(btf, ty)?.0),
        }
    }
    Err(Refusal::Nesting)
}

/// May a load or store be narrowed or widened: pointers to pointers, unsigned integers to unsigned integers.
fn sizes_adjustable(
    (local_btf, local): (&Btf<'_>, TypeId),
    (target_btf, target): (&Btf<'_>, TypeId),
) -> Result<bool, Refusal> {
    if local.is_void() || target.is_void() {
        return Ok(false);
    }
    let (a, b) = (local_btf.record(local)?, target_btf.record(target)?);
    Ok(match (a.info.kind(), b.info.kind()) {
        (Kind::Ptr, Kind::Ptr) => true,
        // As libbpf has it: an encoding of exactly "signed" is excluded, `char` or `bool` is not.
        (Kind::Int, Kind::Int) => words::int_encoding(&a) != 1 && words::int_encoding(&b) != 1,
        _ => false,
    })
}

/// The value of a relocation of a type that exists, and whether the compiler must have put it into the instruction.
fn type_value(btf: &Btf<'_>, spec: &AccessSpec) -> Result<(u64, bool), Refusal> {
    match spec.kind {
        CoreReloKind::TypeIdLocal | CoreReloKind::TypeIdTarget => Ok((spec.root.0.into(), false)),
        CoreReloKind::TypeExists | CoreReloKind::TypeMatches => Ok((1, true)),
        CoreReloKind::TypeSize => Ok((size_of(btf, spec.root)?.0.into(), true)),
        kind => Err(Refusal::UnknownKind(kind)),
    }
}

fn enumerator_value(btf: &Btf<'_>, spec: &AccessSpec) -> Result<u64, Refusal> {
    if spec.kind == CoreReloKind::EnumvalExists {
        return Ok(1);
    }
    let accessor = spec.accessors.first().ok_or(Refusal::TooDeep)?;
    Ok(words::enumerator_value(&btf.record(accessor.ty)?, accessor.index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitfield_is_loaded_by_the_smallest_aligned_load_that_covers_it() {
        let check = |bits, width, type_size, expected| {
            assert_eq!(bitfield_load(bits, width, type_size), expected);
        };
        check(0, 1, 4, Ok((0, 4)));
        check(37, 3, 4, Ok((4, 4)));
        check(37, 3, 1, Ok((4, 1)));
        // Straddles a byte, then a word.
        check(6, 4, 1, Ok((0, 2)));
        check(30, 4, 4, Ok((0, 8)));
        check(62, 4, 8, Err(Refusal::Bitfield));
        check(0, 1, 0, Err(Refusal::Bitfield));
    }
}
