//! What can go wrong with the bytes of a kernel's debug information.

use std::fmt;

/// A section of the input, as errors name it: `.debug_info`, or `.debug_info (supplementary)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionName {
    /// Name in the ELF section header.
    pub name: &'static str,
    /// The section lies in the supplementary (dwz) file.
    pub supplementary: bool,
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.supplementary { f.write_str(" (supplementary file)") } else { Ok(()) }
    }
}

/// Error of [`encode`](crate::encode). Format errors carry the section and the byte offset in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not an ELF file that can be read.
    #[error("cannot read the elf file: {0}")]
    Elf(#[from] object::Error),
    /// A section that is needed is missing.
    #[error("no {0} section: the file has no dwarf debug information")]
    MissingSection(SectionName),
    /// A compressed section cannot be unpacked.
    #[error("{section}: cannot decompress: {reason}")]
    Decompress {
        /// The section.
        section: SectionName,
        /// What the decompressor said.
        reason: String,
    },
    /// Bytes that do not follow the format.
    #[error("{section} offset {offset:#x}: {what}")]
    Malformed {
        /// The section.
        section: SectionName,
        /// Byte offset in the section.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// A skeleton unit: its types are in a `.dwo` file that this file does not contain.
    #[error(
        "{section} offset {offset:#x}: skeleton unit of split dwarf: its debug information is in {dwo}, which was not given"
    )]
    Skeleton {
        /// The section.
        section: SectionName,
        /// Byte offset of the unit.
        offset: u64,
        /// Name of the `.dwo` file as the unit gives it.
        dwo: String,
    },
    /// The file refers to a supplementary (dwz) file that was not given.
    #[error("{section} offset {offset:#x}: reference into the supplementary file {name}, which was not given")]
    MissingSupplementary {
        /// The section.
        section: SectionName,
        /// Byte offset of the reference.
        offset: u64,
        /// File name in `.gnu_debugaltlink` or `.debug_sup`.
        name: String,
    },
    /// The base BTF of a module cannot be read.
    #[error("base btf: {0}")]
    Base(String),
    /// More types, names or bytes than BTF can hold.
    #[error("{0}")]
    TooLarge(String),
}

/// Shorthand of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that was wrong with the input and did not end the conversion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Byte offset in `.debug_info` of the entry concerned.
    pub offset: u64,
    /// What was found and what was done about it, lower case.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ".debug_info offset {:#x}: {}", self.offset, self.message)
    }
}
