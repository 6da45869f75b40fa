//! Writing a pack.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Write};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Error, Result};
use crate::format::{Entry, FRAME, HEADER, Hash, LARGEST_BLOB, MAGIC, NO_BLOB, TAIL_MAGIC, TRAILER, VERSION};
use crate::kernel_id::KernelId;
use crate::read::index_hash;

/// How a pack is compressed. The default is what `cargo xtask bench --only pack` found best; readers take any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Contents stand together in frames of up to this many bytes.
    pub frame: usize,
    /// zstd's level for these frames, and for the index.
    pub level: i32,
    /// zstd's level for a content that is larger, and than 1 MiB: it has a frame of its own.
    pub level_large: i32,
}

impl Default for Compression {
    fn default() -> Self {
        Compression { frame: FRAME, level: 19, level_large: 9 }
    }
}

/// Gives a content by its hash; may be called from several threads.
pub type BlobSource<'s> = dyn Fn(Hash) -> io::Result<Vec<u8>> + Sync + 's;

/// Entries that are to become a pack. Contents are asked for when the pack is written, a few at a time.
#[derive(Debug, Default)]
pub struct Builder {
    entries: BTreeMap<(KernelId, String), (Hash, Option<Hash>)>,
    compression: Compression,
}

impl Builder {
    /// No entries.
    pub fn new() -> Self {
        Builder::default()
    }

    /// No entries, and another compression.
    pub fn compressed(compression: Compression) -> Self {
        Builder { compression, ..Builder::default() }
    }

    /// Adds an entry; one of the same name is replaced.
    pub fn add(&mut self, entry: Entry) {
        self.entries.insert((entry.id, entry.module), (entry.btf, entry.surface));
    }

    /// Adds an entry that may be there already, with the same contents.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it is there with other contents; it is left as it was.
    pub fn merge(&mut self, entry: Entry) -> Result<()> {
        let contents = (entry.btf, entry.surface);
        let key = (entry.id, entry.module);
        match self.entries.get(&key) {
            Some(there) if *there != contents => {
                let module = if key.1.is_empty() { String::new() } else { format!(" module {}", key.1) };
                Err(Error::Conflict { name: format!("{}{module}", key.0) })
            }
            _ => {
                self.entries.insert(key, contents);
                Ok(())
            }
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The contents, in the order of the pack: BTF by entry, then attach surfaces.
    fn order(&self) -> Vec<Hash> {
        let mut seen = HashSet::new();
        let btf = self.entries.values().map(|(btf, _)| *btf);
        let surfaces = self.entries.values().filter_map(|(_, surface)| *surface);
        btf.chain(surfaces).filter(|hash| seen.insert(*hash)).collect()
    }

    /// Writes the pack, compressing on `threads` threads. The bytes depend on the entries and contents only.
    ///
    /// # Errors
    /// `output` or `contents` fails; a content is not what its hash says, or too large.
    pub fn write(&self, output: &mut dyn Write, threads: usize, contents: &BlobSource<'_>) -> Result<()> {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        output.write_all(&header)?;

        let order = self.order();
        let mut blobs = Vec::with_capacity(order.len());
        let mut frames: Vec<(u32, u32)> = Vec::new();
        let mut hasher = Xxh3::new();
        let mut end = HEADER as u64;
        let mut flush = |batch: &mut Vec<Vec<u8>>| -> Result<()> {
            for (raw, stored) in batch.iter().zip(compress(batch, self.compression)?) {
                hasher.update(&stored);
                output.write_all(&stored)?;
                end += stored.len() as u64;
                frames.push((fit(stored.len(), "a frame")?, raw.len() as u32));
            }
            batch.clear();
            Ok(())
        };
        let mut batch: Vec<Vec<u8>> = Vec::new();
        let mut frame = Vec::new();
        // Frames that were flushed or stand in the batch: the number of the one being filled.
        let mut number = 0u32;
        for hash in order {
            let content = contents(hash)?;
            if Hash::of(&content) != hash {
                return Err(Error::WrongContent { hash });
            }
            if content.len() as u64 > LARGEST_BLOB {
                return Err(Error::TooLarge { what: format!("content {hash} of {} bytes", content.len()) });
            }
            if !frame.is_empty() && frame.len() + content.len() > self.compression.frame {
                batch.push(std::mem::take(&mut frame));
                number += 1;
                if batch.len() >= threads.max(1) {
                    flush(&mut batch)?;
                }
            }
            blobs.push((hash, number, frame.len() as u32, content.len() as u32));
            frame.extend(content);
        }
        if !blobs.is_empty() {
            batch.push(frame);
        }
        flush(&mut batch)?;

        let raw = self.index(&blobs, &frames)?;
        let index = zstd::bulk::compress(&raw, self.compression.level)?;
        output.write_all(&index)?;
        let mut trailer = Vec::with_capacity(TRAILER);
        trailer.extend((end + index.len() as u64 + TRAILER as u64).to_le_bytes());
        trailer.extend(end.to_le_bytes());
        trailer.extend(fit(index.len(), "the index")?.to_le_bytes());
        trailer.extend(fit(raw.len(), "the index")?.to_le_bytes());
        trailer.extend(index_hash(&header, &index).to_le_bytes());
        trailer.extend(hasher.digest().to_le_bytes());
        trailer.extend(xxh3_64(&trailer).to_le_bytes());
        trailer.extend(TAIL_MAGIC);
        output.write_all(&trailer)?;
        Ok(())
    }

    /// The index, not compressed.
    fn index(&self, blobs: &[(Hash, u32, u32, u32)], frames: &[(u32, u32)]) -> Result<Vec<u8>> {
        let names = |(id, module): &'_ (KernelId, String)| {
            [id.distro(), id.version(), id.arch(), id.release(), module].map(str::to_owned)
        };
        let strings: BTreeSet<String> = self.entries.keys().flat_map(names).collect();
        let numbers: HashMap<&str, u32> = strings.iter().zip(0..).map(|(string, n)| (string.as_str(), n)).collect();
        let blob_numbers: HashMap<Hash, u32> = blobs.iter().zip(0..).map(|(blob, n)| (blob.0, n)).collect();
        let mut index = Vec::new();
        index.extend(fit(strings.len(), "the list of names")?.to_le_bytes());
        for string in &strings {
            let len = u16::try_from(string.len()).map_err(|_| Error::TooLarge { what: format!("name {string}") })?;
            index.extend(len.to_le_bytes());
            index.extend(string.bytes());
        }
        index.extend(fit(frames.len(), "the list of frames")?.to_le_bytes());
        for (len, raw_len) in frames {
            index.extend(len.to_le_bytes());
            index.extend(raw_len.to_le_bytes());
        }
        index.extend(fit(blobs.len(), "the list of contents")?.to_le_bytes());
        for (hash, frame, offset, len) in blobs {
            index.extend(hash.0.to_le_bytes());
            for number in [frame, offset, len] {
                index.extend(number.to_le_bytes());
            }
        }
        index.extend(fit(self.entries.len(), "the list of kernels")?.to_le_bytes());
        for (key, (btf, surface)) in &self.entries {
            for name in names(key) {
                index.extend(numbers[name.as_str()].to_le_bytes());
            }
            index.extend(blob_numbers[btf].to_le_bytes());
            index.extend(surface.map_or(NO_BLOB, |surface| blob_numbers[&surface]).to_le_bytes());
        }
        Ok(index)
    }
}

/// Compresses frames, each on a thread of its own.
fn compress(frames: &[Vec<u8>], compression: Compression) -> io::Result<Vec<Vec<u8>>> {
    let Compression { frame: together, level, level_large } = compression;
    let one = |frame: &Vec<u8>| {
        zstd::bulk::compress(frame, if frame.len() > together.max(FRAME) { level_large } else { level })
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = frames.iter().skip(1).map(|frame| scope.spawn(move || one(frame))).collect();
        let first = frames.first().map(one);
        let joined = others.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        first.into_iter().chain(joined).collect()
    })
}

fn fit(n: usize, what: &str) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::TooLarge { what: what.to_owned() })
}
