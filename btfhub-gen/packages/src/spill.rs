//! Where an unpacked kernel is put: memory when small, an unlinked temporary file that is then mapped when large.
//!
//! A vmlinux is 200 to 700 MB. Written to a file, its pages are cache that the kernel may drop, and it is never held
//! twice. The file has no name (`O_TMPFILE`, in `$TMPDIR` or `/tmp`), so nothing is left behind however the run ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::fault::Fault;
use crate::map;

/// Up to this size an image is kept in memory.
const IN_MEMORY: u64 = 64 << 20;

/// No kernel image is larger; more is a decompression bomb.
pub const LARGEST_IMAGE: u64 = 16 << 30;

/// The bytes of an image, cheap to clone.
#[derive(Clone)]
pub struct Bytes(Owner);

#[derive(Clone)]
enum Owner {
    Memory(Arc<Vec<u8>>),
    Mapped(Arc<memmap2::Mmap>),
}

impl Bytes {
    /// Bytes in memory.
    pub fn new(bytes: Vec<u8>) -> Self {
        Bytes(Owner::Memory(Arc::new(bytes)))
    }

    /// The content of a file, mapped.
    ///
    /// # Errors
    /// The file cannot be mapped.
    pub fn of_file(file: &File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Self::mapped(file, 0, len)
    }

    /// The content of a file, mapped, all of which will be read.
    ///
    /// # Errors
    /// The file cannot be mapped.
    pub fn of_whole_file(file: &File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Self::mapped_as(file, 0, len, true)
    }

    fn mapped(file: &File, offset: u64, len: u64) -> io::Result<Self> {
        Self::mapped_as(file, offset, len, false)
    }

    fn mapped_as(file: &File, offset: u64, len: u64, whole: bool) -> io::Result<Self> {
        if len == 0 {
            return Ok(Bytes::new(Vec::new()));
        }
        map::file(file, offset, len, whole).map(|map| Bytes(Owner::Mapped(Arc::new(map))))
    }

    /// Tells that `part` of these bytes will hardly be read again: the memory of a mapped file is given back.
    pub fn release(&self, part: &[u8]) {
        if let Owner::Mapped(map) = &self.0 {
            map::release(map, part);
        }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Owner::Memory(bytes) => bytes,
            Owner::Mapped(map) => map,
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

/// A place for `len` bytes that several threads write, each its own part.
#[derive(Debug)]
pub struct SparseFile(File);

impl SparseFile {
    /// An empty unlinked file.
    ///
    /// # Errors
    /// The folder for temporary files cannot be written.
    pub fn new() -> io::Result<Self> {
        tempfile::tempfile().map(SparseFile).map_err(temporary)
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// The disk is full, or another failure of the file system.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset).map_err(temporary)
    }

    /// Maps `len` bytes from `offset`, all of which were written.
    ///
    /// # Errors
    /// The file is shorter, or cannot be mapped.
    pub fn map(self, offset: u64, len: u64) -> io::Result<Bytes> {
        if self.0.metadata()?.len() < offset + len {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "temporary file is shorter than what was written",
            ));
        }
        Bytes::mapped(&self.0, offset, len).map_err(temporary)
    }
}

/// Reads `reader` to its end, or `len` bytes of it where the length is known.
///
/// # Errors
/// The reader's; the temporary file's; `reader` ends before `len`; it gives more than [`LARGEST_IMAGE`].
pub fn collect(section: &str, reader: &mut dyn Read, len: Option<u64>) -> Result<Bytes, Fault> {
    if let Some(len) = len
        && len > LARGEST_IMAGE
    {
        return Err(Fault::malformed(section, 0, format!("{len} bytes: no kernel image is that large")));
    }
    let mut limited = reader.take(len.unwrap_or(LARGEST_IMAGE + 1));
    let mut memory = Vec::with_capacity(len.unwrap_or(0).min(IN_MEMORY) as usize);
    (&mut limited).take(IN_MEMORY).read_to_end(&mut memory)?;
    let mut done = memory.len() as u64;
    let bytes = if done < IN_MEMORY {
        Bytes::new(memory)
    } else {
        let mut file = tempfile::tempfile().map_err(temporary)?;
        file.write_all(&memory).map_err(temporary)?;
        drop(memory);
        let mut buffer = vec![0; 1 << 20];
        loop {
            match limited.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    file.write_all(&buffer[..n]).map_err(temporary)?;
                    done += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Bytes::of_file(&file).map_err(temporary)?
    };
    match len {
        Some(len) if done < len => {
            Err(Fault::malformed(section, done, format!("truncated: {len} bytes wanted, {done} there")))
        }
        None if done > LARGEST_IMAGE => Err(Fault::malformed(section, done, "no kernel image is that large")),
        _ => Ok(bytes),
    }
}

/// Says in an I/O error that the temporary file is meant.
fn temporary(error: io::Error) -> io::Error {
    let folder = std::env::temp_dir();
    io::Error::new(error.kind(), format!("temporary file in {}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_stays_in_memory_and_large_goes_to_a_file() {
        for len in [0, 10, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 12345] {
            let expected = |i: usize| (i % 251) as u8;
            let mut source = (0..len as usize).map(expected);
            let mut all: Vec<u8> = source.by_ref().collect();
            all.push(1);
            let bytes = collect("x", &mut &all[..], Some(len)).unwrap();
            assert_eq!(bytes.len() as u64, len);
            assert!(bytes.iter().enumerate().all(|(i, b)| *b == expected(i)));
        }
    }

    #[test]
    fn a_short_stream_is_an_error() {
        let error = collect("vmlinux", &mut &b"abc"[..], Some(5)).unwrap_err();
        assert_eq!(error.to_string(), "vmlinux at offset 0x3: truncated: 5 bytes wanted, 3 there");
        let error = collect("vmlinux", &mut &b"abc"[..], Some(u64::MAX)).unwrap_err();
        assert!(error.to_string().contains("no kernel image is that large"), "{error}");
    }

    #[test]
    fn parts_are_written_in_any_order() {
        let file = SparseFile::new().unwrap();
        file.write_at(5000, b"world").unwrap();
        file.write_at(4994, b"hello ").unwrap();
        assert_eq!(&*file.map(4994, 11).unwrap(), b"hello world");
        assert!(SparseFile::new().unwrap().map(0, 1).is_err());
    }
}
