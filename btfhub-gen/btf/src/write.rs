//! Writing BTF: a builder that encodes each type as it comes.
//!
//! Types go straight into the type section, strings into the string section (each once). Ids may be used before their type
//! is written, so cycles need no second pass: [`Builder::next_id`] tells what the next id will be.

use std::hash::Hasher;

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use crate::error::{Error, Result};
use crate::raw::{
    BitOffset, ByteOffset, ByteSize, Endian, HEADER_LEN, HEADER_LEN_LAYOUT, Info, Kind, MAGIC,
    MAX_KIND_FLAG_BIT_OFFSET, MAX_VLEN_16, StrOffset, TypeId, VERSION,
};
use crate::types::{FuncLinkage, IntEncoding, Type, VarLinkage};

/// Encodes one BTF.
///
/// What the format cannot express (a member beyond 2 MiB next to a bit-field, more than 65,535 members, a name with a NUL)
/// is remembered and reported by [`Builder::finish`], so that the methods can return plain ids.
#[derive(Clone, Debug)]
pub struct Builder {
    endian: Endian,
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Hashes of the strings and their offsets into `strings`.
    interned: HashTable<(u64, u32)>,
    str_start: u32,
    next_id: u32,
    with_layout: bool,
    error: Option<Error>,
}

/// A member to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberDef {
    /// Its name; [`StrOffset::EMPTY`] for an anonymous struct or union.
    pub name: StrOffset,
    /// Its type.
    pub ty: TypeId,
    /// Where it starts.
    pub offset: BitOffset,
    /// Width in bits of a bit-field, at most 255; 0 for a plain member.
    pub bitfield_size: u32,
}

/// An enumerator to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumValueDef {
    /// Its name.
    pub name: StrOffset,
    /// Its value: up to 2^31 - 1 in a signed ENUM, 2^32 - 1 in an unsigned one; 2^63 - 1 and 2^64 - 1 in an ENUM64. A negative
    /// value in an unsigned one is written as its two's complement, as encoders before Linux 6.0 did.
    pub value: i128,
}

/// A parameter to be written; without name and type as the last one it stands for `...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamDef {
    /// Its name.
    pub name: StrOffset,
    /// Its type.
    pub ty: TypeId,
}

/// A variable's place in a section, to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecVarDef {
    /// The VAR.
    pub ty: TypeId,
    /// Where it starts in the section.
    pub offset: ByteOffset,
    /// Its size.
    pub size: ByteSize,
}

impl Builder {
    /// An empty BTF of this byte order.
    pub fn new(endian: Endian) -> Builder {
        Builder::at(endian, 0, TypeId(1))
    }

    /// Empty split BTF: its strings go on after a base's `base_str_len` bytes, its ids start at `first_id`.
    pub fn split(endian: Endian, base_str_len: u32, first_id: TypeId) -> Builder {
        Builder::at(endian, base_str_len, first_id)
    }

    fn at(endian: Endian, str_start: u32, first_id: TypeId) -> Builder {
        // The base's first string is the empty one; alone, this BTF needs its own.
        let strings = if str_start == 0 { vec![0] } else { Vec::new() };
        Builder {
            endian,
            types: Vec::new(),
            strings,
            interned: HashTable::new(),
            str_start,
            next_id: first_id.0,
            with_layout: false,
            error: None,
        }
    }

    /// Whether to write a layout section, which lets older readers skip kinds they do not know (read by Linux 7.1 and
    /// later; earlier kernels refuse it).
    pub fn with_layout(mut self, with_layout: bool) -> Builder {
        self.with_layout = with_layout;
        self
    }

    /// Makes room for so many bytes of types and strings.
    pub fn reserve(&mut self, types: usize, strings: usize) {
        self.types.reserve(types);
        self.strings.reserve(strings);
    }

    /// The id that the next type gets.
    pub fn next_id(&self) -> TypeId {
        TypeId(self.next_id)
    }

    /// Byte order being written.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// The offset of a string, which is added unless it is there already. The empty string has offset 0.
    pub fn string(&mut self, string: &str) -> StrOffset {
        if string.is_empty() {
            return StrOffset::EMPTY;
        }
        if string.as_bytes().contains(&0) {
            self.fail(format!("the name {string:?} contains a NUL"));
            return StrOffset::EMPTY;
        }
        let bytes = string.as_bytes();
        let strings = &self.strings;
        let hash = hash(bytes);
        let is_same = |&(other, at): &(u64, u32)| {
            let tail = &strings[at as usize..];
            other == hash && tail.starts_with(bytes) && tail.get(bytes.len()) == Some(&0)
        };
        let entry = match self.interned.entry(hash, is_same, |entry| entry.0) {
            hashbrown::hash_table::Entry::Occupied(known) => known.get().1,
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                let at = self.strings.len() as u32;
                vacant.insert((hash, at));
                self.strings.extend_from_slice(bytes);
                self.strings.push(0);
                at
            }
        };
        StrOffset(self.str_start.wrapping_add(entry))
    }

    /// An integer, boolean or character type.
    pub fn int(
        &mut self,
        name: StrOffset,
        size: ByteSize,
        encoding: IntEncoding,
        offset: BitOffset,
        bits: u8,
    ) -> TypeId {
        if offset.0 > 0xff {
            self.fail(format!("bit offset {} of an integer exceeds 255", offset.0));
        }
        let word = u32::from(encoding.0 & 0x0f) << 24 | (offset.0 & 0xff) << 16 | u32::from(bits);
        self.raw(name, Info::new(Kind::Int, false, 0), size.0, &[word])
    }

    /// A pointer.
    pub fn ptr(&mut self, to: TypeId) -> TypeId {
        self.reference(StrOffset::EMPTY, Kind::Ptr, false, to)
    }

    /// One dimension of an array.
    pub fn array(&mut self, element: TypeId, index: TypeId, len: u32) -> TypeId {
        self.raw(StrOffset::EMPTY, Info::new(Kind::Array, false, 0), 0, &[element.0, index.0, len])
    }

    /// A struct or union (`kind`). `kind_flag` is set where a member is a bit-field.
    pub fn composite(
        &mut self,
        kind: Kind,
        name: StrOffset,
        size: ByteSize,
        members: impl IntoIterator<Item = MemberDef>,
    ) -> TypeId {
        debug_assert!(kind.is_composite());
        let at = self.begin(name, size.0);
        let (mut count, mut has_bitfield, mut too_far) = (0, false, None);
        for member in members {
            let far = member.offset.0 > MAX_KIND_FLAG_BIT_OFFSET;
            if far && too_far.is_none() {
                too_far = Some(member.offset.0);
            }
            if member.bitfield_size > 0xff {
                self.fail(format!("a bit-field of {} bits exceeds 255", member.bitfield_size));
            }
            has_bitfield |= member.bitfield_size != 0;
            self.words(&[member.name.0, member.ty.0, member.offset.0 | member.bitfield_size << 24]);
            count += 1;
        }
        if let (true, Some(offset)) = (has_bitfield, too_far) {
            self.fail(format!(
                "a member at bit {offset}, beyond {MAX_KIND_FLAG_BIT_OFFSET}, in a composite that has bit-fields"
            ));
        }
        self.end(at, kind, has_bitfield, count)
    }

    /// An enumeration of values up to 32 bits.
    pub fn enum_(
        &mut self,
        name: StrOffset,
        size: ByteSize,
        signed: bool,
        values: impl IntoIterator<Item = EnumValueDef>,
    ) -> TypeId {
        let at = self.begin(name, size.0);
        let mut count = 0;
        for EnumValueDef { name, value } in values {
            let max = if signed { i128::from(i32::MAX) } else { i128::from(u32::MAX) };
            if value < i128::from(i32::MIN) || value > max {
                self.fail(format!("enumerator {value} does not fit 32 bits"));
            }
            self.words(&[name.0, value as u32]);
            count += 1;
        }
        self.end(at, Kind::Enum, signed, count)
    }

    /// An enumeration of values up to 64 bits (Linux 6.0).
    pub fn enum64(
        &mut self,
        name: StrOffset,
        size: ByteSize,
        signed: bool,
        values: impl IntoIterator<Item = EnumValueDef>,
    ) -> TypeId {
        let at = self.begin(name, size.0);
        let mut count = 0;
        for EnumValueDef { name, value } in values {
            let max = if signed { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
            if value < i128::from(i64::MIN) || value > max {
                self.fail(format!("enumerator {value} does not fit 64 bits"));
            }
            self.words(&[name.0, value as u32, (value >> 32) as u32]);
            count += 1;
        }
        self.end(at, Kind::Enum64, signed, count)
    }

    /// A forward declaration of a struct or union.
    pub fn fwd(&mut self, name: StrOffset, is_union: bool) -> TypeId {
        self.reference(name, Kind::Fwd, is_union, TypeId::VOID)
    }

    /// A typedef.
    pub fn typedef(&mut self, name: StrOffset, ty: TypeId) -> TypeId {
        self.reference(name, Kind::Typedef, false, ty)
    }

    /// A qualifier (`kind`: `Const`, `Volatile` or `Restrict`).
    pub fn modifier(&mut self, kind: Kind, ty: TypeId) -> TypeId {
        debug_assert!(matches!(kind, Kind::Const | Kind::Volatile | Kind::Restrict));
        self.reference(StrOffset::EMPTY, kind, false, ty)
    }

    /// A function.
    pub fn func(&mut self, name: StrOffset, proto: TypeId, linkage: FuncLinkage) -> TypeId {
        self.raw(name, Info::new(Kind::Func, false, linkage.raw()), proto.0, &[])
    }

    /// A prototype.
    pub fn func_proto(&mut self, ret: TypeId, params: impl IntoIterator<Item = ParamDef>) -> TypeId {
        let at = self.begin(StrOffset::EMPTY, ret.0);
        let mut count = 0;
        for param in params {
            self.words(&[param.name.0, param.ty.0]);
            count += 1;
        }
        self.end(at, Kind::FuncProto, false, count)
    }

    /// A variable.
    pub fn var(&mut self, name: StrOffset, ty: TypeId, linkage: VarLinkage) -> TypeId {
        self.raw(name, Info::new(Kind::Var, false, 0), ty.0, &[linkage.raw()])
    }

    /// A section with variables.
    pub fn datasec(&mut self, name: StrOffset, size: ByteSize, vars: impl IntoIterator<Item = SecVarDef>) -> TypeId {
        let at = self.begin(name, size.0);
        let mut count = 0;
        for var in vars {
            self.words(&[var.ty.0, var.offset.0, var.size.0]);
            count += 1;
        }
        self.end(at, Kind::Datasec, false, count)
    }

    /// A floating point type (Linux 5.13).
    pub fn float(&mut self, name: StrOffset, size: ByteSize) -> TypeId {
        self.raw(name, Info::new(Kind::Float, false, 0), size.0, &[])
    }

    /// A tag on a declaration (Linux 5.16); `component_idx` is the member or parameter, `None` for the target itself.
    pub fn decl_tag(&mut self, name: StrOffset, target: TypeId, component_idx: Option<u32>, is_attr: bool) -> TypeId {
        let word = component_idx.unwrap_or(u32::MAX);
        self.raw(name, Info::new(Kind::DeclTag, is_attr, 0), target.0, &[word])
    }

    /// A tag on a type (Linux 5.17).
    pub fn type_tag(&mut self, name: StrOffset, ty: TypeId, is_attr: bool) -> TypeId {
        self.reference(name, Kind::TypeTag, is_attr, ty)
    }

    /// A record given as its words, for encoders that have them at hand. `payload` must be as long as the kind has it.
    pub fn raw(&mut self, name: StrOffset, info: Info, size_or_type: u32, payload: &[u32]) -> TypeId {
        let id = self.next_id();
        debug_assert!(info.kind().layout().is_none_or(|l| {
            let vlen = if l.element_size == 0 { 0 } else { info.vlen() };
            l.record_len(vlen) == crate::raw::RECORD_LEN + payload.len() * 4
        }));
        self.words(&[name.0, info.0, size_or_type]);
        self.words(payload);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }

    /// Writes a decoded type, with its references mapped by `map`, its strings copied, and its flags as they are. `None` for
    /// `void`, which has no record.
    ///
    /// # Errors
    /// A bad name in the source, or [`Error::Unrepresentable`] for a type of an unknown kind.
    pub fn copy(&mut self, ty: &Type<'_>, mut map: impl FnMut(TypeId) -> TypeId) -> Result<Option<TypeId>> {
        let name = self.string(ty.name());
        Ok(Some(match *ty {
            Type::Void => return Ok(None),
            Type::Int { size, encoding, offset, bits, .. } => self.int(name, size, encoding, offset, bits),
            Type::Ptr(to) => self.ptr(map(to)),
            Type::Array { element, index, len } => self.array(map(element), map(index), len),
            Type::Struct(c) | Type::Union(c) => {
                let kind = if matches!(ty, Type::Struct(_)) { Kind::Struct } else { Kind::Union };
                let mut words = Vec::with_capacity(c.members().len() * 3);
                for member in c.members() {
                    let member = member?;
                    let offset = member.offset.0 | member.bitfield_size << 24;
                    words.extend([self.string(member.name).0, map(member.ty).0, offset]);
                }
                self.raw(name, Info::new(kind, c.kind_flag(), words.len() as u32 / 3), c.size.0, &words)
            }
            Type::Enum(e) | Type::Enum64(e) => {
                let mut values = Vec::with_capacity(e.values().len());
                for value in e.values() {
                    let value = value?;
                    values.push(EnumValueDef { name: self.string(value.name), value: value.value });
                }
                match e.is_enum64() {
                    true => self.enum64(name, e.size, e.signed(), values),
                    false => self.enum_(name, e.size, e.signed(), values),
                }
            }
            Type::Fwd { is_union, .. } => self.fwd(name, is_union),
            Type::Typedef { ty, .. } => self.typedef(name, map(ty)),
            Type::Volatile(ty) => self.modifier(Kind::Volatile, map(ty)),
            Type::Const(ty) => self.modifier(Kind::Const, map(ty)),
            Type::Restrict(ty) => self.modifier(Kind::Restrict, map(ty)),
            Type::Func { proto, linkage, .. } => self.func(name, map(proto), linkage),
            Type::FuncProto(proto) => {
                let mut params = Vec::with_capacity(proto.params().len());
                for param in proto.params() {
                    let param = param?;
                    params.push(ParamDef { name: self.string(param.name), ty: map(param.ty) });
                }
                self.func_proto(map(proto.ret), params)
            }
            Type::Var { ty, linkage, .. } => self.var(name, map(ty), linkage),
            Type::Datasec(section) => {
                let mut vars = Vec::with_capacity(section.vars().len());
                for var in section.vars() {
                    let var = var?;
                    vars.push(SecVarDef { ty: map(var.ty), offset: var.offset, size: var.size });
                }
                self.datasec(name, section.size, vars)
            }
            Type::Float { size, .. } => self.float(name, size),
            Type::DeclTag { target, component_idx, is_attr, .. } => {
                self.decl_tag(name, map(target), component_idx, is_attr)
            }
            Type::TypeTag { ty, is_attr, .. } => self.type_tag(name, map(ty), is_attr),
            Type::Unknown(record) => {
                let reason = format!("kind {} is unknown", record.info.kind());
                return Err(Error::Unrepresentable { id: record.id, reason });
            }
        }))
    }

    /// The finished BTF: header, types, the layout where asked for, strings.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`]: the first thing that the format could not express.
    pub fn finish(self) -> Result<Vec<u8>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let layout: Vec<u8> = match self.with_layout {
            true => (0..=19)
                .flat_map(|kind| {
                    let known = Kind::from_raw(kind).layout();
                    [known.map_or(0, |l| l.info_size), known.map_or(0, |l| l.element_size), 0, 0]
                })
                .collect(),
            false => Vec::new(),
        };
        let total = self.types.len() + layout.len() + self.strings.len();
        let ids_fit = self.next_id > 0 && self.next_id <= u32::MAX >> 1;
        if u32::try_from(total + self.str_start as usize).is_err() || !ids_fit {
            let reason = format!("{total} bytes of types and strings exceed what 32-bit offsets and ids reach");
            return Err(Error::Unrepresentable { id: TypeId(self.next_id), reason });
        }
        let header_len = if layout.is_empty() { HEADER_LEN } else { HEADER_LEN_LAYOUT };
        let mut out = Vec::with_capacity(header_len as usize + total);
        out.extend_from_slice(&self.endian.u16_bytes(MAGIC));
        out.extend_from_slice(&[VERSION, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [header_len, 0, types, types + layout.len() as u32, strings] {
            out.extend_from_slice(&self.endian.u32_bytes(word));
        }
        if !layout.is_empty() {
            for word in [types, layout.len() as u32] {
                out.extend_from_slice(&self.endian.u32_bytes(word));
            }
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&layout);
        out.extend_from_slice(&self.strings);
        Ok(out)
    }

    fn reference(&mut self, name: StrOffset, kind: Kind, kind_flag: bool, ty: TypeId) -> TypeId {
        self.raw(name, Info::new(kind, kind_flag, 0), ty.0, &[])
    }

    /// Starts a record whose `info` is known only after its elements; returns where to put it.
    fn begin(&mut self, name: StrOffset, size_or_type: u32) -> usize {
        self.words(&[name.0, 0, size_or_type]);
        self.types.len() - 8
    }

    fn end(&mut self, info_at: usize, kind: Kind, kind_flag: bool, count: u32) -> TypeId {
        if count > MAX_VLEN_16 {
            self.fail(format!("{kind} with {count} elements: readers before Linux 7.2 take at most {MAX_VLEN_16}"));
        }
        let info = self.endian.u32_bytes(Info::new(kind, kind_flag, count).0);
        self.types[info_at..info_at + 4].copy_from_slice(&info);
        let id = self.next_id();
        self.next_id = self.next_id.wrapping_add(1);
        id
    }

    #[inline]
    fn words(&mut self, words: &[u32]) {
        match self.endian {
            Endian::Little => words.iter().for_each(|w| self.types.extend_from_slice(&w.to_le_bytes())),
            Endian::Big => words.iter().for_each(|w| self.types.extend_from_slice(&w.to_be_bytes())),
        }
    }

    fn fail(&mut self, reason: String) {
        let id = self.next_id();
        self.error.get_or_insert(Error::Unrepresentable { id, reason });
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish()
}
