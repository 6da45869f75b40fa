//! What can be wrong with a file.

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It does not begin as ELF files do.
    #[error("no ELF file ({size} bytes)")]
    NoElf {
        /// Of the file, bytes.
        size: u64,
    },
    /// Neither of 32 nor of 64 bits.
    #[error("ELF header, offset 4: class {class} is neither 32 nor 64 bits")]
    Class {
        /// `EI_CLASS`.
        class: u8,
    },
    /// A table is not where the file says.
    #[error("{table}, offset {offset:#x}: {source}")]
    Table {
        /// Which.
        table: &'static str,
        /// Where it should begin.
        offset: u64,
        /// What is wrong.
        source: object::Error,
    },
    /// A table has more entries than any file that is loaded.
    #[error("{table}, offset {offset:#x}: {count} entries are more than {most}")]
    Count {
        /// Which.
        table: &'static str,
        /// Where it begins.
        offset: u64,
        /// How many it has.
        count: u64,
        /// The most.
        most: u64,
    },
}

impl Error {
    pub(crate) fn table(table: &'static str, offset: u64, source: object::Error) -> Error {
        Error::Table { table, offset, source }
    }
}

/// The result of reading a file.
pub type Result<T> = std::result::Result<T, Error>;
