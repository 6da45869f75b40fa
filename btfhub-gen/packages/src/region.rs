//! A range of a file or of memory, read at any place without a mapping.
//!
//! Packages are read through this and not through a mapping: a 1 GB package must not show up as 1 GB of resident
//! memory, and a file that shrinks meanwhile is an error here where it is a SIGBUS there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::fault::Fault;

/// Where the bytes of a [`Region`] are.
#[derive(Debug, Clone, Copy)]
enum Medium<'a> {
    File(&'a File),
    Memory(&'a [u8]),
}

/// A range of bytes in a file or in memory.
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    medium: Medium<'a>,
    start: u64,
    len: u64,
}

impl<'a> Region<'a> {
    /// The whole of an open file.
    ///
    /// # Errors
    /// The file's size cannot be read.
    pub fn of_file(file: &'a File) -> io::Result<Self> {
        Ok(Region { medium: Medium::File(file), start: 0, len: file.metadata()?.len() })
    }

    /// Bytes in memory.
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Region { medium: Medium::Memory(bytes), start: 0, len: bytes.len() as u64 }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part from `offset`, `len` bytes long; `None` where it would leave the region.
    pub fn sub(&self, offset: u64, len: u64) -> Option<Region<'a>> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then(|| Region { start: self.start + offset, len, ..*self })
    }

    /// Fills `buffer` from `offset`, as far as there are bytes; returns how many there were.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..left];
        match self.medium {
            Medium::Memory(bytes) => {
                let at = (self.start + offset.min(self.len)) as usize;
                buffer.copy_from_slice(&bytes[at..at + left]);
                Ok(left)
            }
            Medium::File(file) => {
                let mut done = 0;
                while done < left {
                    match file.read_at(&mut buffer[done..], self.start + offset + done as u64) {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                Ok(done)
            }
        }
    }

    /// `N` bytes at `offset` of the part called `section`.
    ///
    /// # Errors
    /// The region ends before, or the file cannot be read.
    pub fn array<const N: usize>(&self, section: &str, offset: u64) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        let got = self.read_at(offset, &mut bytes)?;
        if got < N {
            return Err(truncated(section, offset, N as u64, got as u64));
        }
        Ok(bytes)
    }

    /// `len` bytes at `offset` of the part called `section`.
    ///
    /// # Errors
    /// The region ends before, or the file cannot be read.
    pub fn bytes(&self, section: &str, offset: u64, len: u64) -> Result<Vec<u8>, Fault> {
        let left = self.len.saturating_sub(offset);
        if left < len {
            return Err(truncated(section, offset, len, left));
        }
        let mut bytes = vec![0; len as usize];
        let got = self.read_at(offset, &mut bytes)?;
        if (got as u64) < len {
            return Err(truncated(section, offset, len, got as u64));
        }
        Ok(bytes)
    }

    /// Reads the region from its beginning to its end.
    pub fn reader(self) -> RegionReader<'a> {
        RegionReader { region: self, position: 0 }
    }
}

fn truncated(section: &str, offset: u64, want: u64, got: u64) -> Fault {
    Fault::malformed(section, offset, format!("truncated: {want} bytes wanted, {got} left"))
}

/// A [`Read`] over a [`Region`]. It does not buffer.
#[derive(Debug)]
pub struct RegionReader<'a> {
    region: Region<'a>,
    position: u64,
}

impl Read for RegionReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.region.read_at(self.position, buffer)?;
        self.position += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_stays_in_its_range() {
        let data = b"0123456789";
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, data).unwrap();
        for whole in [Region::of_bytes(data), Region::of_file(&file).unwrap()] {
            let part = whole.sub(2, 5).unwrap();
            assert_eq!(part.bytes("x", 1, 3).unwrap(), b"345");
            assert_eq!(&part.array::<2>("x", 3).unwrap(), b"56");
            assert_eq!(
                part.bytes("x", 3, 3).unwrap_err().to_string(),
                "x at offset 0x3: truncated: 3 bytes wanted, 2 left"
            );
            assert_eq!(part.read_at(99, &mut [0; 4]).unwrap(), 0);
            assert!(whole.sub(6, 5).is_none());
            assert!(whole.sub(u64::MAX, 5).is_none());
            let mut all = String::new();
            part.reader().read_to_string(&mut all).unwrap();
            assert_eq!(all, "23456");
        }
    }
}
