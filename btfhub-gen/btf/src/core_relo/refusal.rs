//! Why a relocation cannot be carried out at all, so that libbpf refuses the whole object.

use super::kind::CoreReloKind;
use crate::error::Error;

/// Why libbpf would refuse to load an object because of one relocation. Distinct from a target without the field or type,
/// which only makes the instruction invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The kind is not one of those known.
    #[error("relocation kind {0}")]
    UnknownKind(CoreReloKind),
    /// The access string is none, or none for this kind and root type.
    #[error("access string \"{0}\" does not fit the relocation's kind and type")]
    AccessString(String),
    /// More than 64 steps.
    #[error("more than 64 nested steps")]
    TooDeep,
    /// An element of the access string goes beyond the members or the array.
    #[error("element {element} of the access string: there is no member or array element {index}")]
    NoSuchElement {
        /// Which element of the string.
        element: usize,
        /// Its value.
        index: u32,
    },
    /// An element of the access string is applied to what has neither members nor elements.
    #[error("element {element} of the access string is applied to neither a struct, a union nor an array")]
    NotIndexable {
        /// Which element of the string.
        element: usize,
    },
    /// The root type has no name, so that no candidate can be searched for.
    #[error("the type has no name, so that it cannot be searched for")]
    Anonymous,
    /// This kind cannot be asked of an array element.
    #[error("{0} of an array element")]
    ArrayElement(CoreReloKind),
    /// A bit-field that no load of up to 8 bytes covers.
    #[error("a bit-field that no load of 8 bytes or less covers")]
    Bitfield,
    /// Prototypes or pointers nested beyond 32 levels.
    #[error("types nested more than 32 levels deep")]
    Nesting,
    /// Candidates disagree where the field is, or what the value is.
    #[error("ambiguous: {first} in one candidate, {other} in another")]
    Ambiguous {
        /// What the first candidate gives.
        first: String,
        /// What another one gives.
        other: String,
    },
    /// The instruction does not hold what the compiler should have put there.
    #[error("the instruction holds {found}, expected {expected}")]
    UnexpectedValue {
        /// What it holds.
        found: i128,
        /// What the relocation says it should hold.
        expected: u64,
    },
    /// An offset that an instruction cannot hold.
    #[error("offset {0} does not fit the instruction")]
    OffsetTooBig(u64),
    /// A load or store whose size is not that of the field.
    #[error("the instruction accesses {found} bytes, expected {expected}")]
    AccessSize {
        /// Bytes accessed, 0 for a size that no instruction has.
        found: u32,
        /// Bytes of the field.
        expected: u32,
    },
    /// An instruction that cannot be relocated.
    #[error("instruction with opcode {0:#04x} cannot be relocated")]
    Instruction(u8),
    /// The types themselves are malformed.
    #[error(transparent)]
    Malformed(#[from] Error),
}
