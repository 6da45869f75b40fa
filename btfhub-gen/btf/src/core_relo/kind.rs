//! The kinds of CO-RE relocation, `enum bpf_core_relo_kind` of `include/uapi/linux/bpf.h`.

use std::fmt;

/// What a relocation asks about the target kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoreReloKind {
    /// Where a field starts, in bytes.
    FieldByteOffset,
    /// Bytes of a field.
    FieldByteSize,
    /// 1 where the field exists, else 0.
    FieldExists,
    /// 1 where the field is signed, else 0.
    FieldSigned,
    /// By how much to shift a 64-bit load left to drop the bits above the field.
    FieldLshiftU64,
    /// By how much to shift that right afterwards.
    FieldRshiftU64,
    /// Id of a type in the object's own BTF.
    TypeIdLocal,
    /// Id of a type in the target's BTF, 0 where it does not exist.
    TypeIdTarget,
    /// 1 where a compatible type of that name exists, else 0.
    TypeExists,
    /// Bytes of a type, 0 where it does not exist.
    TypeSize,
    /// 1 where the enumerator exists, else 0.
    EnumvalExists,
    /// Value of the enumerator.
    EnumvalValue,
    /// 1 where a type of that name with the same members exists, else 0.
    TypeMatches,
    /// A number that is none of the above.
    Unknown(u32),
}

/// The three families that are resolved alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    Field,
    Type,
    Enumval,
}

impl CoreReloKind {
    /// The kind with this number.
    pub fn from_raw(number: u32) -> CoreReloKind {
        use CoreReloKind::*;
        match number {
            0 => FieldByteOffset,
            1 => FieldByteSize,
            2 => FieldExists,
            3 => FieldSigned,
            4 => FieldLshiftU64,
            5 => FieldRshiftU64,
            6 => TypeIdLocal,
            7 => TypeIdTarget,
            8 => TypeExists,
            9 => TypeSize,
            10 => EnumvalExists,
            11 => EnumvalValue,
            12 => TypeMatches,
            n => Unknown(n),
        }
    }

    /// The word that libbpf's messages use: `byte_off`, `field_exists`, …
    pub fn name(self) -> &'static str {
        use CoreReloKind::*;
        match self {
            FieldByteOffset => "byte_off",
            FieldByteSize => "byte_sz",
            FieldExists => "field_exists",
            FieldSigned => "signed",
            FieldLshiftU64 => "lshift_u64",
            FieldRshiftU64 => "rshift_u64",
            TypeIdLocal => "local_type_id",
            TypeIdTarget => "target_type_id",
            TypeExists => "type_exists",
            TypeSize => "type_size",
            EnumvalExists => "enumval_exists",
            EnumvalValue => "enumval_value",
            TypeMatches => "type_matches",
            Unknown(_) => "unknown",
        }
    }

    pub(crate) fn family(self) -> Option<Family> {
        use CoreReloKind::*;
        match self {
            FieldByteOffset | FieldByteSize | FieldExists | FieldSigned | FieldLshiftU64 | FieldRshiftU64 => {
                Some(Family::Field)
            }
            TypeIdLocal | TypeIdTarget | TypeExists | TypeSize | TypeMatches => Some(Family::Type),
            EnumvalExists | EnumvalValue => Some(Family::Enumval),
            Unknown(_) => None,
        }
    }
}

impl fmt::Display for CoreReloKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreReloKind::Unknown(number) => write!(f, "unknown ({number})"),
            known => f.write_str(known.name()),
        }
    }
}
