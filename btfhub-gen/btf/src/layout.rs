//! The layout of a struct or union: where its members are, how large, and the holes between them.
//!
//! [`of`] makes the model, [`gdb`] and [`pahole`] write it as those tools do.

pub mod gdb;
pub mod pahole;

use crate::dump::c::Dumper;
use crate::error::{Error, Result};
use crate::parse::Btf;
use crate::raw::{BitOffset, ByteOffset, ByteSize, Kind, TypeId};
use crate::resolve::size_of;
use crate::types::{Composite, Member, Type};

/// Deepest nesting of structs within structs that is followed.
const MAX_DEPTH: u32 = 64;

/// A struct or union.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Layout {
    /// The type.
    pub id: TypeId,
    /// Whether it is a union, not a struct.
    pub is_union: bool,
    /// Its tag; empty for an anonymous one.
    pub name: String,
    /// Its size.
    pub size: ByteSize,
    /// Its members.
    pub fields: Vec<Field>,
    /// Unused room after the last member; none in a union.
    pub padding: Gap,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Field {
    /// Its name; empty for an anonymous struct or union.
    pub name: String,
    /// Its type as C has it before the name, and what C has around and behind the name: `int` and `(*read)(void)`.
    pub declaration: Declaration,
    /// Where it starts, from the start of the outermost struct.
    pub offset: BitOffset,
    /// Width in bits of a bit-field, 0 for a plain member.
    pub bitfield_size: u32,
    /// Where the type of a bit-field that holds it starts, from the start of the outermost struct; else its own start.
    pub storage: ByteOffset,
    /// Size of its type; 0 for a flexible array.
    pub size: ByteSize,
    /// Unused room before it.
    pub hole: Gap,
    /// Unused room at the end of the struct that it is (also behind typedefs); 0 for other types.
    pub inner_padding: ByteSize,
    /// The members of the struct or union that it is, or is an array of where that is anonymous (then of the first element).
    /// `None` for other types, also for a typedef of one.
    pub nested: Option<Layout>,
}

/// Both halves of a declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Declaration {
    /// `const char`.
    pub specifier: String,
    /// `*name[3]`.
    pub declarator: String,
}

/// Unused room, in two parts as pahole counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Gap {
    /// Unused bits of a bit-field's storage.
    pub bits: u32,
    /// Whole bytes beside.
    pub bytes: u32,
}

impl Gap {
    /// Whether there is no room.
    pub fn is_empty(self) -> bool {
        self == Gap::default()
    }
}

impl Field {
    /// What stands before `struct` in its declaration: nothing, or `const `.
    fn qualifiers(&self) -> &str {
        let specifier = &self.declaration.specifier;
        let at = [specifier.find("struct"), specifier.find("union")].into_iter().flatten().min();
        &specifier[..at.unwrap_or(0)]
    }
}

impl Layout {
    /// `struct` or `union`.
    pub fn keyword(&self) -> &'static str {
        if self.is_union { "union" } else { "struct" }
    }
}

/// The layout of a struct or union, also behind typedefs and qualifiers.
///
/// # Errors
/// [`Error::WrongKind`] for another type, [`Error::NoSuchType`], [`Error::TooDeep`], or a bad name.
pub fn of(btf: &Btf<'_>, id: TypeId) -> Result<Layout> {
    let id = crate::resolve::strip_modifiers_typedefs(btf, id)?;
    let mut steps = 1 << 20;
    let ty = btf.ty(id)?;
    match ty {
        Type::Struct(composite) => build(btf, id, &composite, false, BitOffset(0), 0, &mut steps),
        Type::Union(composite) => build(btf, id, &composite, true, BitOffset(0), 0, &mut steps),
        _ => {
            let found = ty.kind().unwrap_or(Kind::Unknown(0));
            Err(Error::WrongKind { id, found, expected: "a struct or union" })
        }
    }
}

fn build(
    btf: &Btf<'_>,
    id: TypeId,
    composite: &Composite<'_>,
    is_union: bool,
    start: BitOffset,
    depth: u32,
    steps: &mut u32,
) -> Result<Layout> {
    let mut fields = Vec::with_capacity(composite.members().len());
    let mut cursor = Cursor::default();
    for member in composite.members() {
        let member = member?;
        *steps = steps.saturating_sub(1);
        if depth > MAX_DEPTH || *steps == 0 {
            return Err(Error::TooDeep { id, limit: MAX_DEPTH });
        }
        let size = size_or_zero(btf, member.ty)?;
        let hole = cursor.place(&member, size);
        if is_union {
            cursor = Cursor::default();
        }
        let storage = storage_start(&member, size) / 8 + start.0 / 8;
        let offset = BitOffset(start.0.saturating_add(member.offset.0));
        let (inner_id, inner) = inner(btf, member.ty)?;
        let nested = match inner {
            Type::Struct(c) => Some(build(btf, inner_id, &c, false, offset, depth + 1, steps)?),
            Type::Union(c) => Some(build(btf, inner_id, &c, true, offset, depth + 1, steps)?),
            _ => None,
        };
        fields.push(Field {
            name: member.name.to_owned(),
            declaration: declaration(btf, &member)?,
            offset,
            bitfield_size: member.bitfield_size,
            storage: ByteOffset(storage),
            size,
            hole: if is_union { Gap::default() } else { hole },
            inner_padding: inner_padding(btf, member.ty)?,
            nested,
        });
    }
    let padding = if is_union { Gap::default() } else { cursor.finish(composite.size) };
    Ok(Layout { id, is_union, name: composite.name.to_owned(), size: composite.size, fields, padding })
}

/// The type of a member without qualifiers; of an array of anonymous structs, the struct.
fn inner<'b>(btf: &'b Btf<'_>, id: TypeId) -> Result<(TypeId, Type<'b>)> {
    let own = crate::resolve::strip_modifiers(btf, id)?;
    let mut element = own;
    for _ in 0..MAX_DEPTH {
        match btf.ty(element)? {
            Type::Array { element: next, .. } => element = crate::resolve::strip_modifiers(btf, next)?,
            ty if element == own || ty.name().is_empty() => return Ok((element, ty)),
            _ => return Ok((own, btf.ty(own)?)),
        }
    }
    Err(Error::TooDeep { id, limit: MAX_DEPTH })
}

fn size_or_zero(btf: &Btf<'_>, id: TypeId) -> Result<ByteSize> {
    match size_of(btf, id) {
        Err(Error::NoSize { .. } | Error::TooLarge { .. }) => Ok(ByteSize(0)),
        other => other,
    }
}

/// Both halves of a member's declaration, around its first star, parenthesis or name.
fn declaration(btf: &Btf<'_>, member: &Member<'_>) -> Result<Declaration> {
    const NAME: &str = "\u{1}";
    let text = Dumper::for_listing(btf).declaration(member.ty, NAME)?;
    let name = text.find(NAME).unwrap_or(text.len());
    let split = text[..name].find(['*', '(']).filter(|at| !text[..*at].ends_with("__attribute__")).unwrap_or(name);
    let declarator = text[split..].replace(NAME, &crate::dump::c::identifier(member.name));
    Ok(Declaration { specifier: text[..split].trim_end().to_owned(), declarator })
}

/// Unused bytes at the end of a struct.
fn inner_padding(btf: &Btf<'_>, id: TypeId) -> Result<ByteSize> {
    let id = crate::resolve::strip_modifiers_typedefs(btf, id)?;
    let Type::Struct(composite) = btf.ty(id)? else { return Ok(ByteSize(0)) };
    let mut cursor = Cursor::default();
    for member in composite.members() {
        let member = member?;
        cursor.place(&member, size_or_zero(btf, member.ty)?);
    }
    Ok(ByteSize(cursor.finish(composite.size).bytes))
}

/// Where the storage of a member starts, in bits: the aligned unit of its type's size that holds a bit-field's first bit.
fn storage_start(member: &Member<'_>, size: ByteSize) -> u32 {
    let unit = u64::from(size.0) * 8;
    if member.bitfield_size == 0 || unit == 0 {
        return member.offset.0;
    }
    let start = u64::from(member.offset.0);
    let aligned = start - start % unit;
    // In a packed struct a bit-field may cross into the next unit; then it is held by the bytes from its first on.
    let fits = aligned + unit >= start + u64::from(member.bitfield_size);
    (if fits { aligned } else { start - start % 8 }) as u32
}

/// How far the members of a struct have filled it, in bits.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    end: u64,
    /// End of the storage that the bit-fields before share; 0 after a plain member.
    storage_end: u64,
}

impl Cursor {
    /// Takes the next member; answers the unused room before it.
    fn place(&mut self, member: &Member<'_>, size: ByteSize) -> Gap {
        let start = u64::from(member.offset.0);
        let storage = u64::from(storage_start(member, size));
        let mut bits = self.storage_end.min(start).saturating_sub(self.end);
        let mut at = self.end + bits;
        let mut bytes = 0;
        if member.bitfield_size > 0 {
            if at < storage {
                bytes = storage / 8 - at / 8;
                at = storage;
            }
            bits += start.saturating_sub(at);
            self.end = start + u64::from(member.bitfield_size);
            self.storage_end = self.storage_end.max(storage + size.bits());
        } else {
            bytes += (start / 8).saturating_sub(at.div_ceil(8));
            self.end = start + size.bits();
            self.storage_end = 0;
        }
        Gap { bits: bits as u32, bytes: bytes as u32 }
    }

    fn finish(&self, size: ByteSize) -> Gap {
        let total = size.bits();
        let bits = self.storage_end.min(total).saturating_sub(self.end);
        let bytes = (total / 8).saturating_sub((self.end + bits).div_ceil(8));
        Gap { bits: bits as u32, bytes: bytes as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Endian;
    use crate::types::IntEncoding;
    use crate::write::{Builder, MemberDef};

    /// struct s { char c; hole; int i; int a: 3, b: 5; hole; union { int x; } u[2]; flexible }, packed or not.
    fn sample() -> Vec<u8> {
        let mut out = Builder::new(Endian::Little);
        let mut int = |name: &str, size: u32| {
            let name = out.string(name);
            out.int(name, ByteSize(size), IntEncoding::NONE, BitOffset(0), (size * 8) as u8)
        };
        let (int, char) = (int("int", 4), int("char", 1));
        let mut member = |name: &str, ty, offset, bitfield_size| {
            let name = out.string(name);
            MemberDef { name, ty, offset: BitOffset(offset), bitfield_size }
        };
        let x = member("x", int, 0, 0);
        let union_id = TypeId(3);
        let array = TypeId(4);
        let members = [
            member("c", char, 0, 0),
            member("i", int, 32, 0),
            member("a", int, 64, 3),
            member("b", int, 67, 5),
            member("u", array, 96, 0),
        ];
        out.composite(Kind::Union, Default::default(), ByteSize(4), [x]);
        out.array(union_id, int, 2);
        let name = out.string("s");
        out.composite(Kind::Struct, name, ByteSize(24), members);
        let name = out.string("s_t");
        out.typedef(name, TypeId(5));
        out.finish().unwrap()
    }

    #[test]
    fn holes_are_counted_in_storage_bits_and_bytes() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        let layout = of(&btf, TypeId(6)).unwrap();
        assert_eq!((layout.id, layout.name.as_str(), layout.size), (TypeId(5), "s", ByteSize(24)));
        let holes: Vec<_> = layout.fields.iter().map(|f| (f.name.as_str(), f.hole.bits, f.hole.bytes)).collect();
        assert_eq!(holes, [("c", 0, 0), ("i", 0, 3), ("a", 0, 0), ("b", 0, 0), ("u", 24, 0)]);
        assert_eq!(layout.padding, Gap { bits: 0, bytes: 4 });
        let union = layout.fields[4].nested.as_ref().expect("an array of an anonymous union");
        assert_eq!((union.is_union, union.fields[0].offset), (true, BitOffset(96)));
    }

    #[test]
    fn both_listings_show_them() {
        let bytes = sample();
        let layout = of(&Btf::parse(&bytes).unwrap(), TypeId(5)).unwrap();
        let expected = "\
struct s {
\tchar                       c;                    /*     0     1 */

\t/* XXX 3 bytes hole, try to pack */

\tint                        i;                    /*     4     4 */
\tint                        a:3;                  /*     8: 0  4 */
\tint                        b:5;                  /*     8: 3  4 */

\t/* XXX 24 bits hole, try to pack */

\tunion {
\t\tint                x;                    /*    12     4 */
\t} u[2];                                          /*    12     8 */

\t/* size: 24, cachelines: 1, members: 5 */
\t/* sum members: 13, holes: 1, sum holes: 3 */
\t/* sum bitfield members: 8 bits, bit holes: 1, sum bit holes: 24 bits */
\t/* padding: 4 */
\t/* last cacheline: 24 bytes */
};
";
        assert_eq!(pahole::listing(&layout, 64), expected);
        let gdb = gdb::listing(&layout);
        assert!(gdb.contains("/*      8: 3   |       4 */    int b : 5;\n/* XXX  3-byte hole      */\n"), "{gdb}");
        assert!(gdb.ends_with("/* total size (bytes):   24 */\n                             }\n"), "{gdb}");
    }

    #[test]
    fn only_composites_have_a_layout() {
        let bytes = sample();
        let error = of(&Btf::parse(&bytes).unwrap(), TypeId(1)).unwrap_err();
        assert_eq!(error.to_string(), "type 1 is of kind INT, expected a struct or union");
    }
}
