//! What can go wrong with a database.

use std::path::PathBuf;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite's own: damaged, full, locked by another, read-only.
    #[error("{path}: {source}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// Another program's database.
    #[error("{path}: no database of offsets (application id {id:#x})")]
    Foreign {
        /// The database.
        path: PathBuf,
        /// Its `application_id`.
        id: u32,
    },
    /// It was made by a newer version.
    #[error("{path}: schema {found} is newer than this program's, {known}: update offsetdb")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its `user_version`.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// It was made by an older version, and is opened for look-ups only.
    #[error(
        "{path}: schema {found} is older than this program's, {known}: any command that adds to it brings it up to date"
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its `user_version`.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// A line of an export says nothing that can be merged.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A row holds what no version has written.
    #[error("{path}: {what}: {value:?} is none")]
    Value {
        /// The database.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What it is.
        value: String,
    },
}

impl Error {
    /// Whether a writer was ended in the middle, and nobody took back yet what it had begun.
    pub(crate) fn wants_rollback(&self) -> bool {
        let Error::Sqlite { source: rusqlite::Error::SqliteFailure(failure, _), .. } = self else { return false };
        failure.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK
    }
}

/// The result of using a database.
pub type Result<T> = std::result::Result<T, Error>;
