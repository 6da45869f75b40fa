//! Reading a pack's trailer and index: nothing in them is believed before it was checked.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{Blob, Frame, IndexEntry, Pack, decompress};
use crate::cursor::Cursor;
use crate::error::{Result, malformed};
use crate::format::{HEADER, Hash, LARGEST_BLOB, LARGEST_INDEX, NO_BLOB, TAIL_MAGIC, TRAILER};
use crate::kernel_id::check_part;

impl Pack<'_> {
    pub(super) fn read_strings(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        for n in 0..cursor.count(2)? {
            let at = cursor.at();
            let len = cursor.u16()?;
            let string = cursor.bytes(usize::from(len))?;
            if std::str::from_utf8(string).is_err() {
                return malformed("index", at, "string is not UTF-8");
            }
            if n > 0 && self.text[self.strings[n - 1].clone()] >= *string {
                return malformed("index", at, "strings are not in order");
            }
            let start = self.text.len();
            self.text.extend(string);
            self.strings.push(start..self.text.len());
        }
        Ok(())
    }

    pub(super) fn read_frames(&mut self, cursor: &mut Cursor<'_>, end: usize) -> Result<()> {
        let mut start = HEADER;
        for _ in 0..cursor.count(8)? {
            let at = cursor.at();
            let (len, raw_len) = (cursor.u32()? as usize, cursor.u32()?);
            let stored = start..start.saturating_add(len);
            if stored.end > end || u64::from(raw_len) > LARGEST_BLOB {
                return malformed("index", at, "frame leaves the pack");
            }
            start = stored.end;
            self.frames.push(Frame { stored, raw_len });
        }
        if start != end {
            return malformed("index", cursor.at(), format!("{} bytes before the index are in no frame", end - start));
        }
        Ok(())
    }

    pub(super) fn read_blobs(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        // Where the next blob must begin.
        let (mut frame, mut offset) = (0u32, 0u32);
        for n in 0..cursor.count(28)? {
            let at = cursor.at();
            let blob =
                Blob { hash: Hash(cursor.u128()?), frame: cursor.u32()?, offset: cursor.u32()?, len: cursor.u32()? };
            if n > 0 && blob.frame == frame + 1 && self.frames.get(frame as usize).is_some_and(|f| f.raw_len == offset)
            {
                (frame, offset) = (blob.frame, 0);
            }
            let end = blob.offset.checked_add(blob.len);
            let frame_len = self.frames.get(blob.frame as usize).map(|f| f.raw_len);
            let (Some(end), Some(frame_len)) = (end, frame_len) else {
                return malformed("index", at, "blob is in no frame");
            };
            if blob.frame != frame || blob.offset != offset || end > frame_len {
                return malformed("index", at, "blob is not behind the one before");
            }
            offset = end;
            self.blobs.push(blob);
        }
        let full = match self.frames.last() {
            Some(last) => frame as usize + 1 == self.frames.len() && last.raw_len == offset && !self.blobs.is_empty(),
            None => self.blobs.is_empty(),
        };
        if !full {
            return malformed("index", cursor.at(), "frames are not full of blobs");
        }
        self.by_hash = (0..self.blobs.len() as u32).collect();
        self.by_hash.sort_unstable_by_key(|&b| self.blobs[b as usize].hash);
        if self.by_hash.is_sorted_by(|&a, &b| self.blobs[a as usize].hash < self.blobs[b as usize].hash) {
            return Ok(());
        }
        malformed("index", cursor.at(), "a blob is there twice")
    }

    pub(super) fn read_entries(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        for n in 0..cursor.count(28)? {
            let at = cursor.at();
            let mut names = [0; 5];
            for name in &mut names {
                *name = cursor.u32()?;
                if *name as usize >= self.strings.len() {
                    return malformed("index", at, format!("entry has string {name} of {}", self.strings.len()));
                }
            }
            let entry = IndexEntry { names, btf: cursor.u32()?, surface: cursor.u32()? };
            let known = |blob: u32| (blob as usize) < self.blobs.len();
            if !known(entry.btf) || !(known(entry.surface) || entry.surface == NO_BLOB) {
                return malformed("index", at, "entry has a blob that is not there");
            }
            // Strings ascend, so their numbers order the entries as their texts would.
            if n > 0 && self.entries[n - 1].names >= names {
                return malformed("index", at, "entries are not in order");
            }
            let [distro, version, arch, release, module] = names.map(|name| self.string(name));
            for (what, part) in
                [("distribution", distro), ("version", version), ("architecture", arch), ("release", release)]
            {
                if let Err(e) = check_part(what, part) {
                    return malformed("index", at, e.to_string());
                }
            }
            if !module.is_empty()
                && let Err(e) = check_part("module", module)
            {
                return malformed("index", at, e.to_string());
            }
            self.entries.push(entry);
        }
        Ok(())
    }
}

/// The last 64 bytes.
pub(super) struct Trailer {
    pub(super) index_at: usize,
    index_len: usize,
    index_raw_len: usize,
    hash: u128,
}

impl Trailer {
    pub(super) fn read(bytes: &[u8]) -> Result<Trailer> {
        let at = bytes.len() - TRAILER;
        let trailer = &bytes[at..];
        let number = |from: usize, len: usize| -> u64 {
            trailer[from..from + len].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
        };
        if &trailer[56..] != TAIL_MAGIC {
            return malformed("trailer", at as u64 + 56, "no trailer: the pack is cut off, or something is behind it");
        }
        if xxh3_64(&trailer[..48]) != number(48, 8) {
            return malformed("trailer", at as u64, "wrong checksum");
        }
        if number(0, 8) != bytes.len() as u64 {
            return malformed("trailer", at as u64, format!("length {} in a file of {}", number(0, 8), bytes.len()));
        }
        let (index_at, index_len) = (number(8, 8), number(16, 4));
        let fits = index_at >= HEADER as u64 && index_at.checked_add(index_len) == Some(at as u64);
        if !fits {
            return malformed("trailer", at as u64 + 8, "the index is not before the trailer");
        }
        if number(20, 4) > LARGEST_INDEX {
            return malformed("trailer", at as u64 + 20, format!("an index of {} bytes", number(20, 4)));
        }
        let hash = trailer[24..40].iter().rev().fold(0u128, |n, &b| n << 8 | u128::from(b));
        Ok(Trailer {
            index_at: index_at as usize,
            index_len: index_len as usize,
            index_raw_len: number(20, 4) as usize,
            hash,
        })
    }

    pub(super) fn index(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let stored = &bytes[self.index_at..self.index_at + self.index_len];
        if index_hash(&bytes[..HEADER], stored) != self.hash {
            return malformed("index", self.index_at as u64, "wrong checksum of the header and the index");
        }
        match decompress(stored, self.index_raw_len) {
            Ok(index) => Ok(index),
            Err(what) => malformed("index", self.index_at as u64, what),
        }
    }
}

/// The hash of header and index.
pub(crate) fn index_hash(header: &[u8], stored: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(header);
    hasher.update(stored);
    hasher.digest128()
}
