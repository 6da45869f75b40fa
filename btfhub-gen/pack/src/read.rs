//! Reading a pack.

mod index;

use std::cmp::Ordering;
use std::io::Read;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use self::index::Trailer;
pub(crate) use self::index::index_hash;
use crate::cursor::Cursor;
use crate::error::{Error, Result, malformed};
use crate::format::{Entry, HEADER, Hash, MAGIC, TRAILER, VERSION};
use crate::kernel_id::KernelId;

/// What a lookup gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is there.
    Found(T),
    /// The pack does not have it.
    Absent,
}

impl<T> Lookup<T> {
    /// `Some` of what was found.
    pub fn found(self) -> Option<T> {
        match self {
            Lookup::Found(found) => Some(found),
            Lookup::Absent => None,
        }
    }
}

/// An entry of a pack's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'p> {
    /// Distribution.
    pub distro: &'p str,
    /// Version of the distribution.
    pub version: &'p str,
    /// Architecture.
    pub arch: &'p str,
    /// The kernel's release.
    pub release: &'p str,
    /// The module; empty for vmlinux.
    pub module: &'p str,
    /// The BTF, for [`Pack::read`].
    pub btf: Hash,
    /// The attach surface, for [`Pack::read`].
    pub surface: Option<Hash>,
}

impl EntryRef<'_> {
    /// The kernel's name.
    pub fn id(&self) -> KernelId {
        // The parts were checked when the index was read.
        KernelId::from_checked(self.distro, self.version, self.arch, self.release)
    }

    /// The entry with its own strings.
    pub fn to_owned(&self) -> Entry {
        Entry { id: self.id(), module: self.module.to_owned(), btf: self.btf, surface: self.surface }
    }
}

/// A frame of blobs, where it is in the pack.
#[derive(Debug, Clone)]
struct Frame {
    stored: Range<usize>,
    raw_len: u32,
}

#[derive(Debug, Clone, Copy)]
struct Blob {
    hash: Hash,
    frame: u32,
    offset: u32,
    len: u32,
}

/// Strings by number: distribution, version, architecture, release, module; then the blobs.
#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    names: [u32; 5],
    btf: u32,
    surface: u32,
}

/// An open pack: its index is read and checked, its contents are not.
#[derive(Debug)]
pub struct Pack<'a> {
    bytes: &'a [u8],
    text: Vec<u8>,
    strings: Vec<Range<usize>>,
    frames: Vec<Frame>,
    blobs: Vec<Blob>,
    entries: Vec<IndexEntry>,
    /// Blobs by hash.
    by_hash: Vec<u32>,
}

impl<'a> Pack<'a> {
    /// Reads the index of a pack.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the bytes are not those of a pack, are cut off, or the index is damaged.
    pub fn open(bytes: &'a [u8]) -> Result<Pack<'a>> {
        if bytes.len() < 12 || &bytes[..8] != MAGIC {
            return malformed("header", 0, "no pack");
        }
        let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if version != VERSION {
            return malformed("header", 8, format!("version {version}, known is {VERSION}"));
        }
        if bytes.len() < HEADER + TRAILER {
            return malformed("header", 12, "truncated");
        }
        let trailer = Trailer::read(bytes)?;
        let index = trailer.index(bytes)?;
        let mut pack = Pack {
            bytes,
            text: Vec::new(),
            strings: Vec::new(),
            frames: Vec::new(),
            blobs: Vec::new(),
            entries: Vec::new(),
            by_hash: Vec::new(),
        };
        let mut cursor = Cursor::new(&index);
        pack.read_strings(&mut cursor)?;
        pack.read_frames(&mut cursor, trailer.index_at)?;
        pack.read_blobs(&mut cursor)?;
        pack.read_entries(&mut cursor)?;
        if !cursor.is_at_end() {
            return malformed("index", cursor.at(), "bytes that belong to nothing");
        }
        Ok(pack)
    }

    fn string(&self, n: u32) -> &str {
        let range = self.strings.get(n as usize).cloned().unwrap_or_default();
        // All of them were checked to be UTF-8.
        std::str::from_utf8(&self.text[range]).unwrap_or_default()
    }

    fn entry(&self, entry: &IndexEntry) -> EntryRef<'_> {
        let [distro, version, arch, release, module] = entry.names.map(|name| self.string(name));
        let hash = |blob: u32| self.blobs.get(blob as usize).map(|b| b.hash);
        EntryRef {
            distro,
            version,
            arch,
            release,
            module,
            btf: hash(entry.btf).unwrap_or(Hash(0)),
            surface: hash(entry.surface),
        }
    }

    /// All entries, ascending by kernel and module.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = EntryRef<'_>> {
        self.entries.iter().map(|entry| self.entry(entry))
    }

    /// The entry of a kernel's vmlinux.
    pub fn find(&self, distro: &str, version: &str, arch: &str, release: &str) -> Lookup<EntryRef<'_>> {
        self.find_module(distro, version, arch, release, "")
    }

    /// The entry of a module.
    pub fn find_module(
        &self,
        distro: &str,
        version: &str,
        arch: &str,
        release: &str,
        module: &str,
    ) -> Lookup<EntryRef<'_>> {
        let wanted = [distro, version, arch, release, module];
        let compare = |entry: &IndexEntry| -> Ordering { entry.names.map(|name| self.string(name)).cmp(&wanted) };
        match self.entries.binary_search_by(compare) {
            Ok(at) => Lookup::Found(self.entry(&self.entries[at])),
            Err(_) => Lookup::Absent,
        }
    }

    /// The BTF of a kernel's vmlinux.
    ///
    /// # Errors
    /// The frame that has it is damaged.
    pub fn get(&self, distro: &str, version: &str, arch: &str, release: &str) -> Result<Lookup<Vec<u8>>> {
        match self.find(distro, version, arch, release) {
            Lookup::Found(entry) => self.read(entry.btf).map(Lookup::Found),
            Lookup::Absent => Ok(Lookup::Absent),
        }
    }

    /// Whether a content is in the pack.
    pub fn has(&self, hash: Hash) -> bool {
        self.blob(hash).is_some()
    }

    /// The hashes of all contents.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = Hash> {
        self.blobs.iter().map(|blob| blob.hash)
    }

    /// How many different contents there are.
    pub fn blob_count(&self) -> usize {
        self.blobs.len()
    }

    fn blob(&self, hash: Hash) -> Option<Blob> {
        let at = self.by_hash.binary_search_by_key(&hash, |&b| self.blobs[b as usize].hash).ok()?;
        Some(self.blobs[self.by_hash[at] as usize])
    }

    /// A content, checked against its hash. Decompresses the one frame that has it.
    ///
    /// # Errors
    /// The pack has no content of this hash, or the frame is damaged.
    pub fn read(&self, hash: Hash) -> Result<Vec<u8>> {
        let Some(blob) = self.blob(hash) else {
            return malformed("index", 0, format!("no content {hash} in this pack"));
        };
        let mut content = self.frame(blob.frame)?;
        self.check(&blob, &content)?;
        content.truncate((blob.offset + blob.len) as usize);
        content.drain(..blob.offset as usize);
        Ok(content)
    }

    /// Calls `visit` for every content, each frame being decompressed once.
    ///
    /// # Errors
    /// A frame is damaged; or what `visit` returns.
    pub fn for_each<E: From<Error>>(&self, mut visit: impl FnMut(Hash, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut frame: Option<(u32, Vec<u8>)> = None;
        for blob in &self.blobs {
            let content = match frame.take() {
                Some((n, content)) if n == blob.frame => content,
                _ => self.frame(blob.frame)?,
            };
            self.check(blob, &content)?;
            visit(blob.hash, &content[blob.offset as usize..(blob.offset + blob.len) as usize])?;
            frame = Some((blob.frame, content));
        }
        Ok(())
    }

    /// Checks all of the pack: every byte of it is covered by a checksum.
    ///
    /// # Errors
    /// The first damage.
    pub fn verify(&self) -> Result<()> {
        self.for_each(|_, _| Ok::<(), Error>(()))?;
        let end = self.frames.last().map_or(HEADER, |f| f.stored.end);
        let at = self.bytes.len() - TRAILER + 40;
        let expected = self.bytes[at..at + 8].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        if xxh3_64(&self.bytes[HEADER..end]) != expected {
            return malformed("frames", HEADER as u64, "wrong checksum");
        }
        Ok(())
    }

    /// Decompresses a frame.
    fn frame(&self, n: u32) -> Result<Vec<u8>> {
        let frame = &self.frames[n as usize];
        let damaged = |what: String| malformed(format!("frame {n}"), frame.stored.start as u64, what);
        match decompress(&self.bytes[frame.stored.clone()], frame.raw_len as usize) {
            Ok(content) => Ok(content),
            Err(what) => damaged(what),
        }
    }

    fn check(&self, blob: &Blob, frame: &[u8]) -> Result<()> {
        let content = &frame[blob.offset as usize..(blob.offset + blob.len) as usize];
        if Hash::of(content) == blob.hash {
            return Ok(());
        }
        let at = self.frames[blob.frame as usize].stored.start as u64;
        malformed(format!("frame {}", blob.frame), at, format!("content {} has another hash", blob.hash))
    }
}

/// Decompresses one zstd frame of a known length. Memory grows with what really comes out.
fn decompress(stored: &[u8], raw_len: usize) -> Result<Vec<u8>, String> {
    let reason = |e: std::io::Error| format!("damaged zstd frame: {e}");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(reason)?.single_frame();
    let mut content = Vec::with_capacity(raw_len.min(crate::format::FRAME));
    decoder.by_ref().take(raw_len as u64 + 1).read_to_end(&mut content).map_err(reason)?;
    if content.len() != raw_len {
        return Err(format!("{} bytes or more where the index says {raw_len}", content.len()));
    }
    // The decoder must be asked once more to see the frame's end.
    if decoder.read(&mut [0]).map_err(reason)? != 0 || !decoder.finish().is_empty() {
        return Err("bytes behind the zstd frame".into());
    }
    Ok(content)
}
