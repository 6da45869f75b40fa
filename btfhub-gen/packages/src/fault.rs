//! What can go wrong while bytes are read: the medium fails, or the bytes are not what they should be.

use std::fmt;
use std::io;

/// Bytes that are not of the format they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The part of the input: `data.tar.xz`, `.rodata`, `cpio`, …
    pub section: String,
    /// Where in that part, in bytes from its beginning.
    pub offset: u64,
    /// What was expected and what is there.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {:#x}: {}", self.section, self.offset, self.what)
    }
}

impl std::error::Error for Malformed {}

/// Why reading an input failed, not yet knowing the input's path.
#[derive(Debug)]
pub enum Fault {
    /// The medium: the file cannot be read, the disk for the temporary file is full.
    Io(io::Error),
    /// The content.
    Malformed(Malformed),
}

impl Fault {
    /// The content is wrong at `offset` of `section`.
    pub fn malformed(section: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Fault::Malformed(Malformed { section: section.into(), offset, what: what.into() })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(e) => e.fmt(f),
            Fault::Malformed(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

/// A [`Malformed`] travels through `Read` inside an [`io::Error`]; here it comes out again.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Malformed>() {
            Ok(malformed) => Fault::Malformed(malformed),
            Err(error) => Fault::Io(error),
        }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Fault::Malformed(malformed)
    }
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, malformed)
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(error) => error,
            Fault::Malformed(malformed) => malformed.into(),
        }
    }
}
