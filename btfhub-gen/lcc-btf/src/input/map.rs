//! The one place where files are mapped.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// Maps `len` bytes of `file` from `offset`, read-only. `len` is not 0.
///
/// The caller has seen that the file is that long. Should another process shorten it while it is read, the system ends
/// this one with SIGBUS, as it does with every tool that maps its input; packages are therefore not mapped, and what is
/// unpacked from them lies in a file that nobody else can open.
pub(super) fn file(file: &File, offset: u64, len: u64) -> io::Result<Mmap> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    // SAFETY: the mapping is private and read-only, and only ever seen as `&[u8]`. That nobody writes to the file
    // meanwhile cannot be enforced for the user's own vmlinux; the parsers treat every byte as untrusted, each read
    // being bounds-checked against the length that was mapped.
    unsafe { MmapOptions::new().offset(offset).len(len).map(file) }
}
