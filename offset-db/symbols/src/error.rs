//! What can be wrong with labels.

/// Why a source of labels cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something in a section is not as its format asks.
    #[error("{section}, offset {offset:#x}: {what}")]
    Malformed {
        /// The section, by its name.
        section: String,
        /// Where in it, bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A section cannot be unpacked.
    #[error("{section}: cannot unpack: {reason}")]
    Unpack {
        /// The section, by its name.
        section: String,
        /// What the decompressor says.
        reason: String,
    },
    /// What `.gnu_debugdata` holds is no ELF file.
    #[error(".gnu_debugdata: what is packed in it: {0}")]
    Packed(String),
    /// The debug file is of another build.
    #[error("the debug file's build-id is {debug}, the file's {file}")]
    OtherBuild {
        /// The file's, in hexadecimal.
        file: String,
        /// The debug file's.
        debug: String,
    },
    /// The debug file is not the one that `.gnu_debuglink` means.
    #[error("the debug file's checksum is {debug:08x}, .gnu_debuglink asks for {file:08x}")]
    OtherChecksum {
        /// What the file asks for.
        file: u32,
        /// CRC-32 of the debug file.
        debug: u32,
    },
    /// Neither a build-id nor a checksum says which debug file it is.
    #[error("nothing says that the debug file is of this build: no build-id in both, and no .gnu_debuglink")]
    NoProof,
    /// The file is a relocatable object or a core: nothing of it is loaded at an address.
    #[error("neither a program nor a library: its functions have no addresses")]
    NotLoaded,
    /// The file has no debug information.
    #[error("no debug information: {0} is missing or empty")]
    NoDwarf(&'static str),
    /// The type is not there.
    #[error("no struct, class or union of this name: {0}")]
    NoType(String),
    /// The type is only declared.
    #[error("{0} is declared, but defined in no unit of this file")]
    OnlyDeclared(String),
}

impl Error {
    pub(crate) fn malformed(section: &str, offset: u64, what: impl Into<String>) -> Error {
        Error::Malformed { section: section.to_owned(), offset, what: what.into() }
    }
}

/// The result of reading labels.
pub type Result<T> = std::result::Result<T, Error>;
