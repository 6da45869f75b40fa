//! Where C puts members, and what must be written so that they end up where BTF says.
//!
//! The rules are those of the System V ABIs and of the BPF target: a member starts at the next multiple of its alignment; a
//! bit-field may not cross a boundary of its type's size; unnamed bit-fields take room but do not raise the alignment.

use std::fmt::Write;

use super::{Dumper, MAX_DEPTH};
use crate::error::{Error, Result};
use crate::raw::TypeId;
use crate::resolve::size_of;
use crate::types::{Composite, Member, Type};

/// The most bits of padding written as bit-fields: a page's worth of `long: 64;`.
const MAX_BITFIELD_PADDING: u64 = 4096 * 8;

/// How a composite is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Alignment in bytes of what is written.
    pub(super) align: u32,
    /// Whether it takes `packed` to put the members where they are.
    pub(super) packed: bool,
    /// How a union that is larger than its members gets its size.
    pub(super) growth: Growth,
}

/// How a union that is larger than its members gets its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// It needs none.
    None,
    /// By the attribute `aligned`.
    Aligned,
    /// By an anonymous struct of padding.
    Filler,
}

/// Where a member starts and ends, in bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Width of a bit-field, 0 for a plain member.
    pub(super) bitfield: u32,
    /// Size in bits of the type, the unit that a bit-field may not cross.
    unit: u64,
    align: u32,
}

impl Place {
    /// Where C would put the member after `cursor` bits.
    pub(super) fn natural(&self, cursor: u64, packed: bool) -> u64 {
        match (self.bitfield, packed) {
            (0, true) => cursor.next_multiple_of(8),
            (0, false) => cursor.next_multiple_of(u64::from(self.align) * 8),
            (_, true) => cursor,
            (width, false) if self.unit > 0 && cursor % self.unit + u64::from(width) > self.unit => {
                cursor.next_multiple_of(self.unit)
            }
            (_, false) => cursor,
        }
    }
}

impl Dumper<'_> {
    pub(super) fn place(&mut self, member: &Member<'_>, depth: u32) -> Result<Place> {
        let size = match size_of(self.btf, member.ty) {
            Ok(size) => size.bits(),
            Err(Error::NoSize { .. }) => 0,
            Err(other) => return Err(other),
        };
        let start = u64::from(member.offset.0);
        let bitfield = member.bitfield_size;
        let end = start + if bitfield == 0 { size } else { u64::from(bitfield) };
        Ok(Place { start, end, bitfield, unit: size, align: self.align(member.ty, depth + 1)? })
    }

    /// Alignment in bytes of a type as it is written, at least 1.
    fn align(&mut self, mut id: TypeId, mut depth: u32) -> Result<u32> {
        loop {
            self.step(id, depth)?;
            depth += 1;
            id = match self.btf.ty(id)? {
                Type::Int { size, .. } | Type::Float { size, .. } if size.0 > 8 => return Ok(16),
                Type::Int { size, .. } | Type::Float { size, .. } => return Ok(self.align_of_scalar(size.0)),
                Type::Enum(e) | Type::Enum64(e) => return Ok(self.align_of_scalar(e.size.0)),
                Type::Ptr(_) => return Ok(self.pointer_bits / 8),
                Type::Struct(composite) => return Ok(self.shape(id, &composite, false, depth)?.align),
                Type::Union(composite) => return Ok(self.shape(id, &composite, true, depth)?.align),
                Type::Array { element, .. } => element,
                Type::Typedef { ty, .. } | Type::TypeTag { ty, .. } => ty,
                Type::Const(ty) | Type::Volatile(ty) | Type::Restrict(ty) => ty,
                _ => return Ok(1),
            }
        }
    }

    fn align_of_scalar(&self, size: u32) -> u32 {
        size.clamp(1, (self.pointer_bits / 8).max(1)).next_power_of_two()
    }

    /// How a composite must be written to get its layout.
    pub(super) fn shape(&mut self, id: TypeId, composite: &Composite<'_>, is_union: bool, depth: u32) -> Result<Shape> {
        if let Some(known) = self.shapes.get(&id) {
            return Ok(*known);
        }
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep { id, limit: MAX_DEPTH });
        }
        let size = composite.size.bits();
        let (mut align, mut cursor, mut packed, mut longest) = (1, 0, false, 0);
        for member in composite.members() {
            let place = self.place(&member?, depth)?;
            align = align.max(place.align);
            longest = longest.max(place.end);
            packed |= place.natural(if is_union { 0 } else { cursor }, false) > place.start;
            cursor = place.end;
        }
        packed |= longest <= size && longest.next_multiple_of(u64::from(align) * 8) > size
            || !composite.size.0.is_multiple_of(align);
        if packed {
            align = 1;
        }
        let mut growth = Growth::None;
        if is_union && longest.next_multiple_of(u64::from(align) * 8) < size {
            let bytes = (1..=12).map(|bit| 1u32 << bit).find(|b| longest.next_multiple_of(u64::from(*b) * 8) == size);
            (align, growth) = match bytes {
                Some(bytes) if !packed => (bytes, Growth::Aligned),
                _ => (align, Growth::Filler),
            };
        }
        let shape = Shape { align, packed, growth };
        self.shapes.insert(id, shape);
        Ok(shape)
    }

    /// Unnamed bit-fields that fill the room from bit `from` to bit `to`; an array where that is a great deal.
    pub(super) fn padding(&self, mut from: u64, to: u64, indent: &str, out: &mut String) {
        let widest = u64::from(self.pointer_bits.max(32));
        let units = [("char", 8), ("short", 16), ("int", 32), ("long", widest)];
        if to - from.min(to) > MAX_BITFIELD_PADDING {
            self.padding(from, from.next_multiple_of(8), indent, out);
            let bytes = to / 8 - from.div_ceil(8);
            let _ = write!(out, "\n{indent}char __padding_at_{}[{bytes}];", from.div_ceil(8));
            from = to / 8 * 8;
        }
        while from < to {
            let bits = (to - from).min(widest - from % widest);
            let unit = units.iter().find(|(_, unit)| from % unit + bits <= *unit).map_or("long", |unit| unit.0);
            let _ = write!(out, "\n{indent}{unit}: {bits};");
            from += bits;
        }
    }
}
