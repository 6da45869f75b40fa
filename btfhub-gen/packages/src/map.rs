//! The one place where files are mapped.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};

/// Maps `len` bytes of `file` from `offset`, read-only. `len` is not 0. `whole` says that all of it will be read.
///
/// The caller has seen that the file is that long. Should another process shorten it while it is read, the system ends
/// this one with SIGBUS, as it does with every tool that maps its input; packages are therefore not mapped, and what is
/// unpacked from them lies in a file that nobody else can open.
pub(crate) fn file(file: &File, offset: u64, len: u64, whole: bool) -> io::Result<Mmap> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut options = MmapOptions::new();
    options.offset(offset).len(len);
    if whole {
        // All pages at once, instead of a fault for each few.
        options.populate();
    }
    // SAFETY: the mapping is read-only, and only ever seen as `&[u8]`. That nobody writes to the file
    // meanwhile cannot be enforced for the user's own vmlinux; the parsers treat every byte as untrusted, each read
    // being bounds-checked against the length that was mapped.
    unsafe { options.map(file) }
}

/// Gives the memory of `part` of a mapping back; should it be read again, it comes from the file again.
pub(crate) fn release(map: &Mmap, part: &[u8]) {
    const PAGE: usize = 4096;
    let start = (part.as_ptr() as usize).wrapping_sub(map.as_ptr() as usize);
    let end = start.saturating_add(part.len());
    if start >= map.len() || end > map.len() {
        return;
    }
    // Only whole pages, reckoned from the beginning of the mapping, which may lie within a page of the file.
    let (first, last) = (start.next_multiple_of(PAGE), end / PAGE * PAGE);
    if first >= last {
        return;
    }
    // SAFETY: the mapping is a shared, read-only one of a file: a page that is dropped is read from the file again, with the
    // same content as long as nobody writes to the file, which is assumed of every mapping here (see `file`).
    let dropped = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, first, last - first) };
    if let Err(error) = dropped {
        tracing::debug!("madvise: {error}");
    }
}
