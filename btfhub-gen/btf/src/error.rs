//! The library's one error type.

use crate::raw::{Kind, TypeId};

/// What can go wrong. Format errors carry the section and the byte offset in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not start with BTF's magic in either byte order.
    #[error("not BTF: starts with {found:02x?}, expected [9f, eb] or [eb, 9f]")]
    Magic {
        /// The first bytes found, at most two.
        found: Vec<u8>,
    },
    /// Something in a section is not as the format has it.
    #[error("{section} at offset {offset:#x}: {reason}")]
    Format {
        /// The section: `BTF header`, `BTF types`, `BTF strings`, `.BTF.ext`, …
        section: &'static str,
        /// Offset in bytes from the start of that section.
        offset: u64,
        /// What is wrong, lower case.
        reason: String,
    },
    /// An id that no type has.
    #[error("type id {id} does not exist: the last one is {last}")]
    NoSuchType {
        /// The id asked for.
        id: TypeId,
        /// The last id there is.
        last: TypeId,
    },
    /// A type of another kind than the operation needs.
    #[error("type {id} is of kind {found}, expected {expected}")]
    WrongKind {
        /// The type.
        id: TypeId,
        /// Its kind.
        found: Kind,
        /// What was expected, in words.
        expected: &'static str,
    },
    /// A chain of references that is too long to be honest, most likely a cycle.
    #[error("type {id}: its references do not end within {limit} steps")]
    TooDeep {
        /// Where the walk started.
        id: TypeId,
        /// The limit that was hit.
        limit: u32,
    },
    /// A type's size does not fit 32 bits.
    #[error("type {id} is larger than 4 GiB")]
    TooLarge {
        /// The type.
        id: TypeId,
    },
    /// A type that has no size (`void`, a function, a forward declaration).
    #[error("type {id}, a {kind}, has no size")]
    NoSize {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
    },
    /// BTF cannot express what was to be written.
    #[error("cannot write type {id}: {reason}")]
    Unrepresentable {
        /// The type, or the id it would have had.
        id: TypeId,
        /// What does not fit, lower case.
        reason: String,
    },
    /// A distilled base does not fit the base it is to be replaced by.
    #[error("distilled base, type {id}: {reason}")]
    Distilled {
        /// The type in the distilled base.
        id: TypeId,
        /// Why it has no counterpart, lower case.
        reason: String,
    },
    /// The types kept for an object's relocations would not give the results of all types: an error of this library.
    #[error("minimal BTF for {object} would resolve relocations of type {root} differently")]
    NotMinimizable {
        /// The object's name.
        object: String,
        /// The local root type.
        root: String,
    },
    /// The ELF file cannot be read.
    #[error("reading ELF: {reason}")]
    Elf {
        /// What the ELF reader said.
        reason: String,
    },
}

impl Error {
    pub(crate) fn format(section: &'static str, offset: impl TryInto<u64>, reason: impl Into<String>) -> Error {
        Error::Format { section, offset: offset.try_into().unwrap_or(u64::MAX), reason: reason.into() }
    }
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
