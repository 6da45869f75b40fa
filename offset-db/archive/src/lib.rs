//! The libraries in wheels, zips and APKs.
//!
//! Bytes in, values out: the crate opens no file, and writes none: paths in archives are told, and nothing more.
//!
//! ```no_run
//! let bytes = std::fs::read("app.apk").unwrap();
//! for library in archive::libraries(&bytes, "", archive::MOST).unwrap() {
//!     println!("{}: {} bytes, in the archive at {:?}", library.path, library.bytes.len(), library.offset);
//! }
//! ```
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io::{Cursor, Read};
use zip::{CompressionMethod, ZipArchive};

/// The most bytes that are unpacked of an archive, all of its libraries together.
pub const MOST: u64 = 2 << 30;

/// A library of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'d> {
    /// Its path in the archive, which may be any.
    pub path: String,
    /// Where its bytes are in the archive, if they are stored as they are: so Android loads libraries of an APK without unpacking it.
    pub offset: Option<u64>,
    /// What is in it. Of stored ones the checksum was not looked at, and they may begin at an odd address.
    pub bytes: Cow<'d, [u8]>,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It has no directory, or a damaged one.
    #[error("the archive's directory: {0}")]
    Directory(zip::result::ZipError),
    /// An entry is damaged, encrypted, or compressed by a method that is not known.
    #[error("entry {index}, {path}: {source}")]
    Entry {
        /// Its place in the directory, from 0.
        index: usize,
        /// Its path, as far as that can be read.
        path: String,
        /// What is wrong.
        source: zip::result::ZipError,
    },
    /// There is more in it than is unpacked.
    #[error("entry {index}, {path}: more than {most} bytes unpacked")]
    Large {
        /// Its place in the directory, from 0.
        index: usize,
        /// Its path.
        path: String,
        /// The most.
        most: u64,
    },
}

/// The result of reading an archive.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether bytes begin as a zip does.
#[must_use]
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// The files of an archive that are ELF files, are named as libraries are (`.so`, or `.so.` in it) and whose names begin with
/// `module`; in the order of the directory. At most `most` bytes are unpacked.
///
/// # Errors
/// It is damaged, or there is more in it.
pub fn libraries<'d>(bytes: &'d [u8], module: &str, most: u64) -> Result<Vec<Member<'d>>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(Error::Directory)?;
    let mut found = Vec::new();
    let mut left = most;
    for index in 0..archive.len() {
        let path = match archive.name_for_index(index) {
            Some(Ok(path)) => path.into_owned(),
            // a name that cannot be read is no library's
            _ => continue,
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        if !name.starts_with(module) || !(name.ends_with(".so") || name.contains(".so.")) {
            continue;
        }
        let wrong = |source| Error::Entry { index, path: path.clone(), source };
        let large = || Error::Large { index, path: path.clone(), most };
        let mut entry = archive.by_index(index).map_err(wrong)?;
        if !entry.is_file() {
            continue;
        }
        let stored = (entry.compression() == CompressionMethod::Stored && !entry.encrypted())
            .then(|| entry.data_start().zip(Some(entry.size())))
            .flatten();
        let (offset, bytes) = match stored.and_then(|(begin, size)| Some((begin, within(bytes, begin, size)?))) {
            Some((begin, bytes)) => (Some(begin), Cow::Borrowed(bytes)),
            None => {
                // what the directory says of the size may be a lie
                if entry.size() > left {
                    return Err(large());
                }
                let mut magic = Vec::new();
                let read = |error: std::io::Error| wrong(error.into());
                entry.by_ref().take(4).read_to_end(&mut magic).map_err(read)?;
                if magic != b"\x7fELF" {
                    continue;
                }
                let mut unpacked = magic;
                entry.by_ref().take(left.saturating_sub(3)).read_to_end(&mut unpacked).map_err(read)?;
                if unpacked.len() as u64 > left {
                    return Err(large());
                }
                left -= unpacked.len() as u64;
                (None, Cow::Owned(unpacked))
            }
        };
        if bytes.starts_with(b"\x7fELF") {
            found.push(Member { path: path.clone(), offset, bytes });
        }
    }
    Ok(found)
}

fn within(bytes: &[u8], begin: u64, size: u64) -> Option<&[u8]> {
    let begin = usize::try_from(begin).ok()?;
    bytes.get(begin..begin.checked_add(usize::try_from(size).ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;

    const STORED: CompressionMethod = CompressionMethod::Stored;
    const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

    fn packed(entries: &[(&str, &[u8], CompressionMethod)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, bytes, method) in entries {
            writer.start_file(*path, SimpleFileOptions::default().compression_method(*method)).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn check(bytes: &[u8], module: &str, most: u64, expected: &str) {
        let said = match libraries(bytes, module, most) {
            Ok(found) => found.iter().map(|one| format!("{} {};", one.path, one.bytes.len())).collect(),
            Err(error) => error.to_string(),
        };
        assert!(said.starts_with(expected), "{said}");
        assert!(!expected.is_empty() || said.is_empty(), "{said}");
    }

    #[test]
    fn libraries_are_told_by_name_and_bytes() {
        let bytes = packed(&[
            ("pkg/one.so", b"\x7fELF and so on", STORED),
            ("lib/two.so.3", b"\x7fELF and so on, packed", DEFLATED),
            ("../../three.so", b"\x7fELF", DEFLATED),
            ("text.so", b"text", DEFLATED),
            ("short.so", b"\x7f", DEFLATED),
            ("elf.txt", b"\x7fELF", STORED),
            ("folder.so/", b"", STORED),
        ]);
        assert!(is_archive(&bytes));
        check(&bytes, "", MOST, "pkg/one.so 14;lib/two.so.3 22;../../three.so 4;");
        check(&bytes, "two", MOST, "lib/two.so.3 22;");
        check(&bytes, "none", MOST, "");
        let one = &libraries(&bytes, "one", MOST).unwrap()[0];
        let at = one.offset.unwrap() as usize;
        assert_eq!(bytes[at..at + one.bytes.len()], *one.bytes);
        assert_eq!(libraries(&bytes, "two", MOST).unwrap()[0].offset, None);
    }

    #[test]
    fn bombs_are_stopped() {
        let large = [b"\x7fELF".as_slice(), &vec![0; 1 << 20]].concat();
        let bytes = packed(&[("a.so", &large, DEFLATED), ("b.so", &large, DEFLATED)]);
        assert!(bytes.len() < 1 << 12);
        check(&bytes, "", 2 << 20, "entry 1, b.so: more than 2097152 bytes unpacked");
        check(&bytes, "a", 2 << 20, "a.so 1048580;");
        check(&bytes, "a", 1 << 20, "entry 0, a.so: more than 1048576 bytes unpacked");
        // stored ones cost nothing
        check(&packed(&[("a.so", &large, STORED)]), "", 0, "a.so 1048580;");
    }

    #[test]
    fn sizes_that_lie_are_found_out() {
        let large = [b"\x7fELF".as_slice(), &vec![0; 1 << 20]].concat();
        let mut bytes = packed(&[("a.so", &large, DEFLATED)]);
        let size = (large.len() as u32).to_le_bytes();
        while let Some(at) = bytes.windows(4).position(|window| window == size) {
            bytes[at..at + 4].copy_from_slice(&9u32.to_le_bytes());
        }
        check(&bytes, "", 1 << 10, "entry 0, a.so: ");
    }

    #[test]
    fn what_is_cut_is_an_error() {
        let bytes = packed(&[("a.so", b"\x7fELF and so on", STORED), ("b.so", &[b'\x7f'; 99], DEFLATED)]);
        for length in 0..bytes.len() {
            check(&bytes[..length], "", MOST, "the archive's directory: ");
        }
        // the directory is whole, what it tells of is not
        let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        let mut wrong = bytes.clone();
        wrong[..directory].fill(0);
        check(&wrong, "", MOST, "entry 0, a.so: ");
    }
}
