//! What can go wrong with packages.

use std::path::{Path, PathBuf};

/// Why a package cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program is missing or failed.
    #[error("{command}: {said}")]
    Program {
        /// As one would type it.
        command: String,
        /// What it said.
        said: String,
    },
    /// The machine's apt knows no mirror of Debian.
    #[error("{}: no enabled apt source has a suite of Debian", etc.display())]
    NoMirror {
        /// The folder of apt's settings.
        etc: PathBuf,
    },
    /// The registry does not know a package.
    #[error("the registry has no usable record of {package}")]
    Unknown {
        /// Its name.
        package: String,
    },
    /// A downloaded file is not the one that the registry's signed index describes.
    #[error("{}: not the {size} bytes with sha256 {sha256}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// Bytes that it should have.
        size: u64,
        /// What it should have.
        sha256: String,
    },
    /// The disk is too full.
    #[error("{}: {free} MiB free, {needed} MiB needed", folder.display())]
    Full {
        /// A folder on it.
        folder: PathBuf,
        /// Mebibytes.
        free: u64,
        /// Mebibytes.
        needed: u64,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        |source| Error::Io { path, source }
    }
}

/// The result of asking for packages.
pub type Result<T> = std::result::Result<T, Error>;
