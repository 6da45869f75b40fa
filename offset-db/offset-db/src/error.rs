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

/// The result of using a database.
pub type Result<T> = std::result::Result<T, Error>;
