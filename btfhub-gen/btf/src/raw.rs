//! The words of the format: ids, offsets, kinds and the packed `info` word of a type record.
//!
//! Source: `include/uapi/linux/btf.h`. Everything on disk is made of 32-bit words (and a 16-bit magic) in the byte order of
//! the machine that the BTF describes.

use std::fmt;

/// `BTF_MAGIC`: the first two bytes of a BTF header, as a 16-bit word in the file's byte order.
pub const MAGIC: u16 = 0xeb9f;
/// `BTF_VERSION`: the only version of the format so far.
pub const VERSION: u8 = 1;
/// Length of the header that every reader knows (up to and with `str_len`).
pub const HEADER_LEN: u32 = 24;
/// Length of the header with `layout_off` and `layout_len` (Linux 7.1 and later).
pub const HEADER_LEN_LAYOUT: u32 = 32;
/// Length of `struct btf_type`, the fixed part of every type record.
pub const RECORD_LEN: usize = 12;
/// The largest `vlen` that readers before Linux 7.2 understand (16 bits); later ones take 24 bits.
pub const MAX_VLEN_16: u32 = 0xffff;
/// The largest `vlen` that the `info` word can hold (24 bits).
pub const MAX_VLEN: u32 = 0x00ff_ffff;
/// The largest bit offset of a member in a composite that has bit-fields (`kind_flag` set): 24 bits.
pub const MAX_KIND_FLAG_BIT_OFFSET: u32 = 0x00ff_ffff;

/// Id of a type: its position in the type section, counted from 1. In split BTF the count goes on from the base's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct TypeId(pub u32);

impl TypeId {
    /// The id of `void`, which has no record.
    pub const VOID: TypeId = TypeId(0);

    /// Whether this is `void`.
    pub fn is_void(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Offset of a NUL-terminated string in the string section, in bytes. In split BTF offsets go on from the base's section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct StrOffset(pub u32);

impl StrOffset {
    /// Offset of the empty string, which stands for "no name".
    pub const EMPTY: StrOffset = StrOffset(0);
}

/// Offset of a member in bits, from the start of its composite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct BitOffset(pub u32);

impl BitOffset {
    /// The byte that holds the first bit.
    pub fn byte(self) -> ByteOffset {
        ByteOffset(self.0 / 8)
    }

    /// The bit within that byte, 0 to 7.
    pub fn bit_in_byte(self) -> u32 {
        self.0 % 8
    }
}

/// Size of a type in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct ByteSize(pub u32);

impl ByteSize {
    /// The size in bits.
    pub fn bits(self) -> u64 {
        u64::from(self.0) * 8
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Offset in bytes, from the start of what the context names (a composite, a section).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct ByteOffset(pub u32);

/// Byte order of the machine that the BTF describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte first (x86, arm64, riscv64, ppc64le).
    Little,
    /// Most significant byte first (s390x, ppc64).
    Big,
}

impl Endian {
    /// The byte order of the machine this program runs on.
    pub const NATIVE: Endian = if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };

    /// Decodes a 16-bit word.
    #[inline]
    pub fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        }
    }

    /// Decodes a 32-bit word.
    #[inline]
    pub fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Encodes a 16-bit word.
    #[inline]
    pub fn u16_bytes(self, value: u16) -> [u8; 2] {
        match self {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }

    /// Encodes a 32-bit word.
    #[inline]
    pub fn u32_bytes(self, value: u32) -> [u8; 4] {
        match self {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }

    /// The word at byte `at` of `data`, or `None` where `data` ends before it does.
    #[inline]
    pub fn u32_at(self, data: &[u8], at: usize) -> Option<u32> {
        let bytes = data.get(at..)?.first_chunk::<4>()?;
        Some(self.u32(*bytes))
    }
}

/// `BTF_KIND_*`: what a type record describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An integer, boolean or character type.
    Int,
    /// A pointer.
    Ptr,
    /// One dimension of an array.
    Array,
    /// A structure.
    Struct,
    /// A union.
    Union,
    /// An enumeration of values up to 32 bits.
    Enum,
    /// A declaration without a definition, of a struct or union.
    Fwd,
    /// A typedef.
    Typedef,
    /// The `volatile` qualifier.
    Volatile,
    /// The `const` qualifier.
    Const,
    /// The `restrict` qualifier.
    Restrict,
    /// A function (Linux 5.0).
    Func,
    /// A function's prototype (Linux 5.0).
    FuncProto,
    /// A variable (Linux 5.2).
    Var,
    /// A section with variables (Linux 5.2).
    Datasec,
    /// A floating point type (Linux 5.13).
    Float,
    /// `btf_decl_tag("…")` on a declaration (Linux 5.16).
    DeclTag,
    /// `btf_type_tag("…")` on a pointer's target (Linux 5.17).
    TypeTag,
    /// An enumeration of values up to 64 bits (Linux 6.0).
    Enum64,
    /// A kind that this library does not know.
    Unknown(u8),
}

impl Kind {
    /// The kind with this number.
    #[inline]
    pub fn from_raw(number: u8) -> Kind {
        match number {
            1 => Kind::Int,
            2 => Kind::Ptr,
            3 => Kind::Array,
            4 => Kind::Struct,
            5 => Kind::Union,
            6 => Kind::Enum,
            7 => Kind::Fwd,
            8 => Kind::Typedef,
            9 => Kind::Volatile,
            10 => Kind::Const,
            11 => Kind::Restrict,
            12 => Kind::Func,
            13 => Kind::FuncProto,
            14 => Kind::Var,
            15 => Kind::Datasec,
            16 => Kind::Float,
            17 => Kind::DeclTag,
            18 => Kind::TypeTag,
            19 => Kind::Enum64,
            n => Kind::Unknown(n),
        }
    }

    /// The kind's number.
    #[inline]
    pub fn raw(self) -> u8 {
        match self {
            Kind::Int => 1,
            Kind::Ptr => 2,
            Kind::Array => 3,
            Kind::Struct => 4,
            Kind::Union => 5,
            Kind::Enum => 6,
            Kind::Fwd => 7,
            Kind::Typedef => 8,
            Kind::Volatile => 9,
            Kind::Const => 10,
            Kind::Restrict => 11,
            Kind::Func => 12,
            Kind::FuncProto => 13,
            Kind::Var => 14,
            Kind::Datasec => 15,
            Kind::Float => 16,
            Kind::DeclTag => 17,
            Kind::TypeTag => 18,
            Kind::Enum64 => 19,
            Kind::Unknown(n) => n,
        }
    }

    /// The name that `bpftool btf dump` prints: `INT`, `FUNC_PROTO`, …
    pub fn name(self) -> &'static str {
        match self {
            Kind::Int => "INT",
            Kind::Ptr => "PTR",
            Kind::Array => "ARRAY",
            Kind::Struct => "STRUCT",
            Kind::Union => "UNION",
            Kind::Enum => "ENUM",
            Kind::Fwd => "FWD",
            Kind::Typedef => "TYPEDEF",
            Kind::Volatile => "VOLATILE",
            Kind::Const => "CONST",
            Kind::Restrict => "RESTRICT",
            Kind::Func => "FUNC",
            Kind::FuncProto => "FUNC_PROTO",
            Kind::Var => "VAR",
            Kind::Datasec => "DATASEC",
            Kind::Float => "FLOAT",
            Kind::DeclTag => "DECL_TAG",
            Kind::TypeTag => "TYPE_TAG",
            Kind::Enum64 => "ENUM64",
            Kind::Unknown(_) => "UNKNOWN",
        }
    }

    /// Whether this is a struct or union.
    #[inline]
    pub fn is_composite(self) -> bool {
        matches!(self, Kind::Struct | Kind::Union)
    }

    /// Whether this is an enumeration of either width.
    #[inline]
    pub fn is_enum(self) -> bool {
        matches!(self, Kind::Enum | Kind::Enum64)
    }

    /// Whether this is `const`, `volatile`, `restrict` or a type tag, which leave a type's layout as it is.
    #[inline]
    pub fn is_modifier(self) -> bool {
        matches!(self, Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag)
    }

    /// What follows the fixed part of a record of this kind, or `None` for an unknown kind.
    #[inline]
    pub fn layout(self) -> Option<KindLayout> {
        let (info_size, element_size) = match self {
            Kind::Ptr
            | Kind::Fwd
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::Float
            | Kind::TypeTag => (0, 0),
            Kind::Int | Kind::Var | Kind::DeclTag => (4, 0),
            Kind::Array => (12, 0),
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => (0, 12),
            Kind::Enum | Kind::FuncProto => (0, 8),
            Kind::Unknown(_) => return None,
        };
        Some(KindLayout { info_size, element_size })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Unknown(n) => write!(f, "UNKNOWN({n})"),
            known => f.write_str(known.name()),
        }
    }
}

/// `struct btf_layout`: how long a record of a kind is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindLayout {
    /// Bytes that follow the fixed part once (`info_sz`).
    pub info_size: u8,
    /// Bytes that follow for each of `vlen` elements (`elem_sz`).
    pub element_size: u8,
}

impl KindLayout {
    /// Length in bytes of a whole record with `vlen` elements.
    #[inline]
    pub fn record_len(self, vlen: u32) -> usize {
        RECORD_LEN + usize::from(self.info_size) + vlen as usize * usize::from(self.element_size)
    }
}

/// The `info` word of a type record: `vlen` in bits 0–23 (before Linux 7.2: 0–15), the kind in 24–30 (before: 24–28), the
/// flag in 31. The bits that became used were zero before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info(pub u32);

impl Info {
    /// Packs the three parts. `vlen` is cut to 24 bits.
    #[inline]
    pub fn new(kind: Kind, kind_flag: bool, vlen: u32) -> Info {
        Info(u32::from(kind_flag) << 31 | u32::from(kind.raw() & 0x7f) << 24 | (vlen & MAX_VLEN))
    }

    /// The kind.
    #[inline]
    pub fn kind(self) -> Kind {
        Kind::from_raw((self.0 >> 24) as u8 & 0x7f)
    }

    /// Number of elements (members, values, parameters, variables); for a function its linkage.
    #[inline]
    pub fn vlen(self) -> u32 {
        self.0 & MAX_VLEN
    }

    /// `kind_flag`: bit-fields in a composite, union in a forward declaration, signed in an enumeration, attribute in a tag.
    #[inline]
    pub fn kind_flag(self) -> bool {
        self.0 >> 31 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_number_survives_the_info_word() {
        for number in 0..=0x7f {
            let kind = Kind::from_raw(number);
            assert_eq!(kind.raw(), number);
            for (flag, vlen) in [(false, 0), (true, 0xffff), (false, MAX_VLEN)] {
                let info = Info::new(kind, flag, vlen);
                assert_eq!((info.kind(), info.kind_flag(), info.vlen()), (kind, flag, vlen));
            }
        }
    }

    #[test]
    fn only_the_nineteen_kinds_of_the_kernel_have_a_known_layout() {
        let known: Vec<u8> = (0..=0x7f).filter(|&n| Kind::from_raw(n).layout().is_some()).collect();
        assert_eq!(known, (1..=19).collect::<Vec<u8>>());
    }
}
