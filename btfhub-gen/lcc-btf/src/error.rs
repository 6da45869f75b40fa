//! What can fail, and where.

use std::io;
use std::path::{Path, PathBuf};

use packages::fault::Fault;

/// An error of this library. Messages name the file; those of a format also the section and the offset in bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// What was being done, such as `reading`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// An input's bytes are not of the format they should be.
    #[error("{origin}: {section} at offset {offset:#x}: {what}")]
    Malformed {
        /// The file, and the member of the package.
        origin: String,
        /// Part of the input, such as `data.tar.xz` or `.debug_info`.
        section: String,
        /// Where in that part, in bytes.
        offset: u64,
        /// What was expected and what is there.
        what: String,
    },
    /// The input is good but nothing that is wanted is in it.
    #[error("{origin}: {what}")]
    NoKernel {
        /// The file, and the member of the package.
        origin: String,
        /// What it is instead, and what to give.
        what: String,
    },
    /// Nothing tells which kernel an input is.
    #[error("{origin}: {what}; name it with --id distro/version/arch/release")]
    Unidentified {
        /// The file, and the member of the package.
        origin: String,
        /// What is not known.
        what: String,
    },
    /// BTF that is not well-formed, or cannot be cut.
    #[error("{origin}: {source}")]
    Btf {
        /// The file, and the member of the package.
        origin: String,
        /// What is wrong, with section and offset.
        source: btf::Error,
    },
    /// DWARF that cannot be encoded.
    #[error("{origin}: {source}")]
    Dwarf {
        /// The file, and the member of the package.
        origin: String,
        /// What is wrong, with section and offset.
        source: dwarf::Error,
    },
    /// A pack that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Pack {
        /// The pack's file.
        path: PathBuf,
        /// What is wrong, with section and offset.
        source: pack::Error,
    },
    /// A kernel's name has characters that it cannot have.
    #[error("{origin}: {source}")]
    KernelId {
        /// The file, and the member of the package.
        origin: String,
        /// The part that is wrong.
        source: pack::InvalidKernelId,
    },
    /// Something was not quite right with an input, and `--strict` makes that a failure.
    #[error("{origin}: {what}")]
    Strict {
        /// The file, and the member of the package.
        origin: String,
        /// What it is.
        what: String,
    },
    /// Two inputs are the same kernel and give different results.
    #[error("{origin}: is {id}, as is {other}, with another result; name one of them with --id")]
    Conflict {
        /// The later input.
        origin: String,
        /// The kernel.
        id: String,
        /// The earlier input.
        other: String,
    },
    /// Another run writes to the same output.
    #[error("{}: another run is writing here", path.display())]
    Busy {
        /// The work folder.
        path: PathBuf,
    },
    /// A fault of this program.
    #[error("{origin}: this program panicked, which is a fault in it: please report it, with the input")]
    Panic {
        /// The input.
        origin: String,
    },
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// An I/O error while `doing` something with `path`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    }

    /// BTF of `origin` is not well-formed.
    pub fn btf(origin: impl std::fmt::Display) -> impl FnOnce(btf::Error) -> Error {
        move |source| Error::Btf { origin: origin.to_string(), source }
    }

    /// The pack at `path` cannot be read or written.
    pub fn pack(path: &Path) -> impl FnOnce(pack::Error) -> Error {
        let path = path.to_owned();
        move |source| match source {
            pack::Error::Io(source) => Error::Io { doing: "writing", path, source },
            source => Error::Pack { path, source },
        }
    }

    /// A fault in the input called `origin`, read from `path`.
    pub(crate) fn fault(origin: &str, path: &Path) -> impl FnOnce(Fault) -> Error {
        let (origin, path) = (origin.to_owned(), path.to_owned());
        move |fault| match fault {
            Fault::Io(source) => Error::Io { doing: "reading", path, source },
            Fault::Malformed(m) => Error::Malformed { origin, section: m.section, offset: m.offset, what: m.what },
        }
    }
}
