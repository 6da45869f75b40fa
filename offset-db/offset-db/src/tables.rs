//! What a look-up needs of a file, without the rest of it: its headers, notes and symbols in memory, and its code hashed as it is read.
//!
//! Files are not mapped here. A library can be written over while an agent looks at it, and whoever has it mapped then dies of
//! `SIGBUS` where it became shorter. What was read stays as it was read. Holes of sparse files cost neither memory nor reading.

use crate::{Error, Fingerprint, Result};
use image::Image;
use memmap2::{MmapMut, MmapOptions};
use rustix::fs::SeekFrom;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use xxhash_rust::xxh3::Xxh3;

/// A file whose tables were read.
#[derive(Debug)]
pub struct Tables {
    path: PathBuf,
    file: File,
    size: u64,
    modified: SystemTime,
    /// As long as the file; zeros where it was not read.
    bytes: MmapMut,
}

/// What is read at a time to be hashed: what fits into a processor's cache.
const CHUNK: usize = 256 << 10;

/// The most bytes of headers: of more segments or sections than there are, no file is loaded.
const LARGEST: u64 = 64 << 20;

impl Tables {
    /// Reads a file's headers, notes and symbols. Of what is no ELF file, its begin.
    ///
    /// # Errors
    /// It cannot be read, or is no regular file.
    pub fn read(path: &Path) -> Result<Tables> {
        let wrong = |source| Error::Io { path: path.to_owned(), source };
        // a pipe would be waited for when it is opened
        let metadata = path.metadata().map_err(wrong)?;
        if !metadata.is_file() {
            return Err(wrong(std::io::Error::other("no regular file")));
        }
        let file = File::open(path).map_err(wrong)?;
        let metadata = file.metadata().map_err(wrong)?;
        let (size, modified) = (metadata.len(), metadata.modified().map_err(wrong)?);
        let length = usize::try_from(size).map_err(|error| wrong(std::io::Error::other(error)))?;
        // of no length, nothing can be mapped
        let bytes = MmapOptions::new().len(length.max(1)).no_reserve_swap().map_anon().map_err(wrong)?;
        let mut tables = Tables { path: path.to_owned(), file, size, modified, bytes };
        tables.fill(0, HEADER)?;
        // the first time, the first section's header, which may have the numbers of both
        for _ in 0..2 {
            for (offset, size) in image::header_tables(tables.data()).into_iter().flatten() {
                tables.fill(offset.0, size.min(LARGEST))?;
            }
        }
        let places = Image::parse(tables.data()).map(|image| image.tables()).unwrap_or_default();
        for (offset, size) in places {
            tables.fill(offset.0, size)?;
        }
        tables.is_as_it_was()?;
        Ok(tables)
    }

    /// Reads the whole file, but for its holes: for those who want more than look-ups of a file that is mostly a hole.
    ///
    /// # Errors
    /// As [`Tables::read`].
    pub fn read_whole(path: &Path) -> Result<Tables> {
        let mut tables = Tables::read(path)?;
        tables.fill(0, tables.size)?;
        tables.is_as_it_was()?;
        Ok(tables)
    }

    /// As many bytes as the file has, zeros where it was not read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.data()
    }

    /// The file as far as it was read: its segments, sections, build-ids and symbols are right, code and data are zeros.
    ///
    /// # Errors
    /// It is no ELF file, or a table lies outside of it.
    pub fn image(&self) -> image::Result<Image<'_>> {
        Image::parse(self.data())
    }

    /// What tells the file from others, as [`Fingerprint::to_look_up`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn fingerprint(&self, image: &Image<'_>) -> Result<Fingerprint> {
        let fingerprint = Fingerprint::by(image, |part, hash| self.hash(part, hash))?;
        self.is_as_it_was()?;
        Ok(fingerprint)
    }

    /// What is read in parts has to be of one file.
    fn is_as_it_was(&self) -> Result<()> {
        let wrong = |source| Error::Io { path: self.path.clone(), source };
        let metadata = self.file.metadata().map_err(wrong)?;
        if metadata.len() != self.size || metadata.modified().map_err(wrong)? != self.modified {
            return Err(wrong(std::io::Error::other("it was changed while it was read")));
        }
        Ok(())
    }

    fn data(&self) -> &[u8] {
        &self.bytes[..usize::try_from(self.size).unwrap_or_default()]
    }

    /// Reads a part of the file into memory, as far as there is any.
    fn fill(&mut self, offset: u64, size: u64) -> Result<()> {
        let end = offset.saturating_add(size).min(self.size);
        let mut at = offset;
        while let Some((begin, stop)) = self.written(at, end) {
            let part = &mut self.bytes[begin as usize..stop as usize];
            self.file.read_exact_at(part, begin).map_err(|source| Error::Io { path: self.path.clone(), source })?;
            at = stop;
        }
        Ok(())
    }

    /// Hashes what the file has where a part of its image is.
    fn hash(&self, part: &[u8], hash: &mut Xxh3) -> Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        let mut at = (part.as_ptr() as usize - self.bytes.as_ptr() as usize) as u64;
        let end = at + part.len() as u64;
        let mut buffer = vec![0; CHUNK.min(part.len())];
        let zeros = vec![0; buffer.len()];
        while at < end {
            let (begin, stop) = self.written(at, end).unwrap_or((end, end));
            while at < begin {
                let part = &zeros[..zeros.len().min((begin - at) as usize)];
                hash.update(part);
                at += part.len() as u64;
            }
            while at < stop {
                let length = buffer.len().min((stop - at) as usize);
                let part = &mut buffer[..length];
                self.file.read_exact_at(part, at).map_err(|source| Error::Io { path: self.path.clone(), source })?;
                hash.update(part);
                at += length as u64;
            }
        }
        Ok(())
    }

    /// The next part of the file, from `at` on and before `end`, that is no hole. All of it where the file system does not tell.
    fn written(&self, at: u64, end: u64) -> Option<(u64, u64)> {
        if at >= end {
            return None;
        }
        let begin = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // behind the last
            Err(rustix::io::Errno::NXIO) => return None,
            Err(_) => return Some((at, end)),
        };
        let stop = rustix::fs::seek(&self.file, SeekFrom::Hole(begin)).unwrap_or(end);
        (begin < end).then_some((begin, stop.min(end)))
    }
}

/// Bytes of an ELF header; of 32 bits, it is shorter.
const HEADER: u64 = 64;
