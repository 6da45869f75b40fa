//! What the archives within packages have in common: entries in a stream, of which few are wanted.

use crate::fault::Fault;
use crate::spill::Bytes;

/// A regular file in an archive. Folders, links and devices are passed over: nothing is ever written under an entry's
/// name, so that neither a hostile path nor a link leads anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path as the archive has it, with control characters replaced.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
}

/// Entries in a stream.
pub trait Archive {
    /// The next regular file. What was not taken of the one before is passed over.
    ///
    /// # Errors
    /// The archive is damaged or cut off.
    fn next(&mut self) -> Result<Option<Entry>, Fault>;

    /// The content of the entry that [`Archive::next`] gave last; once.
    ///
    /// # Errors
    /// The archive is damaged or cut off; the temporary file cannot be written.
    fn take(&mut self) -> Result<Bytes, Fault>;
}

/// An archive's path as text that can be printed on a terminal.
pub(crate) fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
