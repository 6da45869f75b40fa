//! What can fail.

use std::io;

use crate::format::Hash;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not those of a pack, or damaged.
    #[error("{section} at offset {offset:#x}: {what}")]
    Malformed {
        /// Part of the pack: `header`, `frame 3`, `index`, `trailer`.
        section: String,
        /// Offset in bytes: from the pack's beginning, but for what the index has in it, from the index's.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The pack cannot be written, or a content cannot be had.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A content is not what its hash says.
    #[error("content given for {hash} has another hash")]
    WrongContent {
        /// The hash that was asked for.
        hash: Hash,
    },
    /// Two entries have one name and different contents.
    #[error("{name}: two different results")]
    Conflict {
        /// The kernel, and the module if it is one's.
        name: String,
    },
    /// More than the format can hold.
    #[error("{what} is more than a pack can hold")]
    TooLarge {
        /// What it is.
        what: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) fn malformed<T>(section: impl Into<String>, offset: u64, what: impl Into<String>) -> Result<T> {
    Err(Error::Malformed { section: section.into(), offset, what: what.into() })
}
