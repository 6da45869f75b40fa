//! The model: what a type record says, decoded on demand from the bytes of a [`Btf`].

use crate::elements::Parts;
pub use crate::elements::{Elements, Members, Params, SecVars, Values};
use crate::error::{Error, Result};
use crate::parse::{Btf, Record};
use crate::raw::{BitOffset, ByteOffset, ByteSize, Kind, TypeId};

/// A decoded type. Elements of composites, enumerations, prototypes and sections are decoded while iterating over them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Type<'a> {
    /// Id 0.
    Void,
    /// An integer, boolean or character type.
    Int {
        /// Its name (`long unsigned int`).
        name: &'a str,
        /// Its size.
        size: ByteSize,
        /// Signed, char, bool.
        encoding: IntEncoding,
        /// Where the value starts in the storage, in bits; 0 in practice.
        offset: BitOffset,
        /// Bits of the value.
        bits: u8,
    },
    /// A pointer to this type.
    Ptr(TypeId),
    /// One dimension of an array.
    Array {
        /// Type of an element, an array again for the next dimension.
        element: TypeId,
        /// Type of the index.
        index: TypeId,
        /// Number of elements; 0 for a flexible array.
        len: u32,
    },
    /// A structure.
    Struct(Composite<'a>),
    /// A union.
    Union(Composite<'a>),
    /// An enumeration of values up to 32 bits.
    Enum(Enum<'a>),
    /// A forward declaration.
    Fwd {
        /// The tag.
        name: &'a str,
        /// Whether a union was declared, not a struct.
        is_union: bool,
    },
    /// A typedef.
    Typedef {
        /// The new name.
        name: &'a str,
        /// What it stands for.
        ty: TypeId,
    },
    /// `volatile` of this type.
    Volatile(TypeId),
    /// `const` of this type.
    Const(TypeId),
    /// `restrict` of this type.
    Restrict(TypeId),
    /// A function.
    Func {
        /// Its name.
        name: &'a str,
        /// Its prototype.
        proto: TypeId,
        /// Static, global or extern.
        linkage: FuncLinkage,
    },
    /// A prototype.
    FuncProto(FuncProto<'a>),
    /// A variable.
    Var {
        /// Its name.
        name: &'a str,
        /// Its type.
        ty: TypeId,
        /// Static, global or extern.
        linkage: VarLinkage,
    },
    /// A section with variables.
    Datasec(Datasec<'a>),
    /// A floating point type.
    Float {
        /// Its name.
        name: &'a str,
        /// Its size.
        size: ByteSize,
    },
    /// A tag on a declaration.
    DeclTag {
        /// The tag's text.
        name: &'a str,
        /// What is tagged: a struct, union, typedef, function or variable.
        target: TypeId,
        /// The member or parameter that is tagged; `None` for the target itself.
        component_idx: Option<u32>,
        /// `kind_flag`: the name is that of any attribute, not of `btf_decl_tag` (Linux 6.15).
        is_attr: bool,
    },
    /// A tag on a type.
    TypeTag {
        /// The tag's text.
        name: &'a str,
        /// The type that is tagged.
        ty: TypeId,
        /// `kind_flag`: the name is that of any attribute, not of `btf_type_tag` (Linux 6.15).
        is_attr: bool,
    },
    /// An enumeration of values up to 64 bits.
    Enum64(Enum<'a>),
    /// A kind that this library does not know but whose length the layout section tells.
    Unknown(Record<'a>),
}

impl<'a> Type<'a> {
    pub(crate) fn decode(btf: &'a Btf<'a>, record: Record<'a>) -> Result<Type<'a>> {
        let name = || btf.str(record.name);
        let ty = TypeId(record.size_or_type);
        let size = ByteSize(record.size_or_type);
        let flag = record.info.kind_flag();
        let elements = Parts { btf, payload: record.payload, flag, endian: record.endian };
        Ok(match record.info.kind() {
            Kind::Int => {
                let word = record.word(0);
                Type::Int {
                    name: name()?,
                    size,
                    encoding: IntEncoding((word >> 24) as u8 & 0x0f),
                    offset: BitOffset(word >> 16 & 0xff),
                    bits: word as u8,
                }
            }
            Kind::Ptr => Type::Ptr(ty),
            Kind::Array => {
                Type::Array { element: TypeId(record.word(0)), index: TypeId(record.word(1)), len: record.word(2) }
            }
            Kind::Struct => Type::Struct(Composite { name: name()?, size, elements }),
            Kind::Union => Type::Union(Composite { name: name()?, size, elements }),
            Kind::Enum => Type::Enum(Enum { name: name()?, size, wide: false, elements }),
            Kind::Enum64 => Type::Enum64(Enum { name: name()?, size, wide: true, elements }),
            Kind::Fwd => Type::Fwd { name: name()?, is_union: flag },
            Kind::Typedef => Type::Typedef { name: name()?, ty },
            Kind::Volatile => Type::Volatile(ty),
            Kind::Const => Type::Const(ty),
            Kind::Restrict => Type::Restrict(ty),
            Kind::Func => Type::Func { name: name()?, proto: ty, linkage: FuncLinkage::from_raw(record.info.vlen()) },
            Kind::FuncProto => Type::FuncProto(FuncProto { ret: ty, elements }),
            Kind::Var => Type::Var { name: name()?, ty, linkage: VarLinkage::from_raw(record.word(0)) },
            Kind::Datasec => Type::Datasec(Datasec { name: name()?, size, elements }),
            Kind::Float => Type::Float { name: name()?, size },
            Kind::DeclTag => {
                let component_idx = match record.word(0) {
                    u32::MAX => None,
                    idx if idx > i32::MAX as u32 => {
                        let reason = format!("type {}: component index {} is negative", record.id, idx as i32);
                        return Err(Error::format("BTF types", btf.record_offset(record.id)?, reason));
                    }
                    idx => Some(idx),
                };
                Type::DeclTag { name: name()?, target: ty, component_idx, is_attr: flag }
            }
            Kind::TypeTag => Type::TypeTag { name: name()?, ty, is_attr: flag },
            Kind::Unknown(_) => Type::Unknown(record),
        })
    }

    /// The kind; `None` for `void`.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Type::Void => return None,
            Type::Int { .. } => Kind::Int,
            Type::Ptr(_) => Kind::Ptr,
            Type::Array { .. } => Kind::Array,
            Type::Struct(_) => Kind::Struct,
            Type::Union(_) => Kind::Union,
            Type::Enum(_) => Kind::Enum,
            Type::Fwd { .. } => Kind::Fwd,
            Type::Typedef { .. } => Kind::Typedef,
            Type::Volatile(_) => Kind::Volatile,
            Type::Const(_) => Kind::Const,
            Type::Restrict(_) => Kind::Restrict,
            Type::Func { .. } => Kind::Func,
            Type::FuncProto(_) => Kind::FuncProto,
            Type::Var { .. } => Kind::Var,
            Type::Datasec(_) => Kind::Datasec,
            Type::Float { .. } => Kind::Float,
            Type::DeclTag { .. } => Kind::DeclTag,
            Type::TypeTag { .. } => Kind::TypeTag,
            Type::Enum64(_) => Kind::Enum64,
            Type::Unknown(record) => record.info.kind(),
        })
    }

    /// The name; empty for a type that has none.
    pub fn name(&self) -> &'a str {
        match *self {
            Type::Int { name, .. }
            | Type::Fwd { name, .. }
            | Type::Typedef { name, .. }
            | Type::Func { name, .. }
            | Type::Var { name, .. }
            | Type::Float { name, .. }
            | Type::DeclTag { name, .. }
            | Type::TypeTag { name, .. } => name,
            Type::Struct(ref c) | Type::Union(ref c) => c.name,
            Type::Enum(ref e) | Type::Enum64(ref e) => e.name,
            Type::Datasec(ref d) => d.name,
            _ => "",
        }
    }

    /// The single type that this one refers to: of a pointer, qualifier, typedef, tag, function or variable.
    pub fn referent(&self) -> Option<TypeId> {
        match *self {
            Type::Ptr(ty) | Type::Const(ty) | Type::Volatile(ty) | Type::Restrict(ty) => Some(ty),
            Type::Typedef { ty, .. } | Type::TypeTag { ty, .. } | Type::Var { ty, .. } => Some(ty),
            Type::Func { proto, .. } => Some(proto),
            Type::DeclTag { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// `BTF_INT_*`: how an integer is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntEncoding(pub u8);

impl IntEncoding {
    /// Neither signed, nor char, nor bool.
    pub const NONE: IntEncoding = IntEncoding(0);
    /// Signed.
    pub const SIGNED: IntEncoding = IntEncoding(1);
    /// A character.
    pub const CHAR: IntEncoding = IntEncoding(2);
    /// A boolean.
    pub const BOOL: IntEncoding = IntEncoding(4);

    /// Whether the value is signed.
    pub fn is_signed(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether it is a character.
    pub fn is_char(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether it is a boolean.
    pub fn is_bool(self) -> bool {
        self.0 & 4 != 0
    }
}

/// Linkage of a function, stored in its `vlen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FuncLinkage {
    /// `BTF_FUNC_STATIC`; also what encoders of kernel BTF give every function.
    Static,
    /// `BTF_FUNC_GLOBAL`.
    Global,
    /// `BTF_FUNC_EXTERN`.
    Extern,
    /// A number that has no name yet.
    Other(u32),
}

impl FuncLinkage {
    /// The linkage with this number.
    pub fn from_raw(number: u32) -> FuncLinkage {
        match number {
            0 => FuncLinkage::Static,
            1 => FuncLinkage::Global,
            2 => FuncLinkage::Extern,
            n => FuncLinkage::Other(n),
        }
    }

    /// The linkage's number.
    pub fn raw(self) -> u32 {
        match self {
            FuncLinkage::Static => 0,
            FuncLinkage::Global => 1,
            FuncLinkage::Extern => 2,
            FuncLinkage::Other(n) => n,
        }
    }
}

/// Linkage of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VarLinkage {
    /// `BTF_VAR_STATIC`.
    Static,
    /// `BTF_VAR_GLOBAL_ALLOCATED`.
    Global,
    /// `BTF_VAR_GLOBAL_EXTERN`.
    Extern,
    /// A number that has no name yet.
    Other(u32),
}

impl VarLinkage {
    /// The linkage with this number.
    pub fn from_raw(number: u32) -> VarLinkage {
        match number {
            0 => VarLinkage::Static,
            1 => VarLinkage::Global,
            2 => VarLinkage::Extern,
            n => VarLinkage::Other(n),
        }
    }

    /// The linkage's number.
    pub fn raw(self) -> u32 {
        match self {
            VarLinkage::Static => 0,
            VarLinkage::Global => 1,
            VarLinkage::Extern => 2,
            VarLinkage::Other(n) => n,
        }
    }
}

/// A struct or union.
#[derive(Clone, Copy, Debug)]
pub struct Composite<'a> {
    /// The tag; empty for an anonymous one.
    pub name: &'a str,
    /// Its size.
    pub size: ByteSize,
    elements: Parts<'a>,
}

impl<'a> Composite<'a> {
    /// Its members, in the order of the file.
    pub fn members(&self) -> Members<'a> {
        Elements::new(self.elements)
    }

    /// Whether the record uses the bit-field encoding of offsets (`kind_flag`).
    pub fn kind_flag(&self) -> bool {
        self.elements.flag
    }
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name; empty for an anonymous struct or union.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeId,
    /// Where it starts. In a bit-field: of its first bit, counted as the byte order has it.
    pub offset: BitOffset,
    /// Width in bits of a bit-field; 0 for a plain member. Without `kind_flag` a bit-field is told only by the bits of its
    /// INT type (encoders before Linux 5.0), and this is 0.
    pub bitfield_size: u32,
}

/// An enumeration of either width.
#[derive(Clone, Copy, Debug)]
pub struct Enum<'a> {
    /// The tag; empty for an anonymous one.
    pub name: &'a str,
    /// Its size.
    pub size: ByteSize,
    wide: bool,
    elements: Parts<'a>,
}

impl<'a> Enum<'a> {
    /// Whether the values are signed (`kind_flag`). Encoders before Linux 6.0 never set it.
    pub fn signed(&self) -> bool {
        self.elements.flag
    }

    /// Whether this is an ENUM64.
    pub fn is_enum64(&self) -> bool {
        self.wide
    }

    /// Its enumerators, in the order of the file.
    pub fn values(&self) -> Values<'a> {
        Values::new(self.elements, self.wide)
    }
}

/// An enumerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumValue<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value, by the signedness of the enumeration: -2^31..2^32 in an ENUM, -2^63..2^64 in an ENUM64.
    pub value: i128,
}

/// A prototype.
#[derive(Clone, Copy, Debug)]
pub struct FuncProto<'a> {
    /// The type returned.
    pub ret: TypeId,
    elements: Parts<'a>,
}

impl<'a> FuncProto<'a> {
    /// Its parameters. A variadic prototype ends in one without name and type.
    pub fn params(&self) -> Params<'a> {
        Elements::new(self.elements)
    }

    /// Whether the last parameter stands for `...`.
    pub fn is_variadic(&self) -> bool {
        self.params().next_back().is_some_and(|p| p.is_ok_and(|p| p.is_ellipsis()))
    }
}

/// A parameter of a prototype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name, which may be empty.
    pub name: &'a str,
    /// Its type.
    pub ty: TypeId,
}

impl Param<'_> {
    /// Whether this stands for `...` (the last one, no name, type 0).
    pub fn is_ellipsis(&self) -> bool {
        self.name.is_empty() && self.ty.is_void()
    }
}

/// A section with variables.
#[derive(Clone, Copy, Debug)]
pub struct Datasec<'a> {
    /// The section's name (`.data..percpu`).
    pub name: &'a str,
    /// Its size; 0 in an object that is not linked yet.
    pub size: ByteSize,
    elements: Parts<'a>,
}

impl<'a> Datasec<'a> {
    /// Its variables, in the order of the file.
    pub fn vars(&self) -> SecVars<'a> {
        Elements::new(self.elements)
    }
}

/// A variable's place in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecVar {
    /// The VAR (or, in a BPF object, the FUNC of a kfunc).
    pub ty: TypeId,
    /// Where it starts in the section.
    pub offset: ByteOffset,
    /// Its size.
    pub size: ByteSize,
}
