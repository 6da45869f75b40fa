//! What a run keeps beside its output, so that an interrupted or repeated run does nothing twice.
//!
//! ```text
//! <folder>/.lcc-btf/         beside a BTFHub layout        <file>.lcc-btf/   beside a pack
//!   lock                     held while a run writes
//!   done/<key>               what a unit gave: JSON behind a line with its hash
//!   blobs/<hash>             contents that are not yet in the pack
//!   tmp/                     files being written
//! ```
//!
//! A unit's key is a hash over its input's content, the objects and all settings that have a part in the result. Nothing in
//! here is trusted: a record or content whose hash is wrong is as one that is not there.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use pack::Hash;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::disk;
use crate::error::Error;
use crate::input::Content;
use crate::report::UnitRecord;
use packages::region::Region;

/// The work folder of an output.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    /// Held until the run ends, however it does.
    _lock: File,
}

impl State {
    /// Opens the work folder `folder`, making it if it is not there, and takes it for this run.
    ///
    /// # Errors
    /// Another run has it; or the folder cannot be written.
    pub fn open(folder: PathBuf) -> Result<Self, Error> {
        disk::make_folder(&folder.join("done"))?;
        disk::make_folder(&folder.join("blobs"))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(Error::io("opening the lock", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: folder }),
            // A file system without locks.
            Err(TryLockError::Error(error)) => tracing::debug!("{}: {error}", path.display()),
        }
        // What a killed run left half-written.
        let tmp = folder.join("tmp");
        match fs::remove_dir_all(&tmp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("emptying", &tmp)(e)),
            _ => disk::make_folder(&tmp)?,
        }
        Ok(State { folder, _lock: lock })
    }

    /// Where files are written before they are renamed.
    pub fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// What a unit gave in a run before.
    pub fn record(&self, key: Hash) -> Option<UnitRecord> {
        let content = fs::read(self.folder.join("done").join(key.to_string())).ok()?;
        let (hash, json) = content.split_at_checked(33)?;
        let hash: Hash = std::str::from_utf8(&hash[..32]).ok()?.parse().ok()?;
        if hash != Hash::of(json) {
            return None;
        }
        serde_json::from_slice(json).ok()
    }

    /// Keeps what a unit gave.
    ///
    /// # Errors
    /// The work folder cannot be written.
    pub fn keep(&self, key: Hash, record: &UnitRecord) -> Result<(), Error> {
        let path = self.folder.join("done").join(key.to_string());
        let json = serde_json::to_vec(record).map_err(|e| Error::io("writing", &path)(e.into()))?;
        let content = [Hash::of(&json).to_string().as_bytes(), b"\n", &json].concat();
        disk::put(&path, &self.tmp(), &content)
    }

    /// Keeps a content until it is in the pack.
    ///
    /// # Errors
    /// The work folder cannot be written.
    pub fn keep_blob(&self, content: &[u8]) -> Result<Hash, Error> {
        let hash = Hash::of(content);
        let path = self.blob_path(hash);
        if fs::metadata(&path).is_ok_and(|m| m.len() == content.len() as u64) && self.has_blob(hash) {
            return Ok(hash);
        }
        disk::put(&path, &self.tmp(), content)?;
        Ok(hash)
    }

    fn blob_path(&self, hash: Hash) -> PathBuf {
        self.folder.join("blobs").join(hash.to_string())
    }

    /// Whether a content is kept, and is what its name says.
    pub fn has_blob(&self, hash: Hash) -> bool {
        self.blob(hash).is_ok_and(|content| Hash::of(&content) == hash)
    }

    /// A content that is kept.
    ///
    /// # Errors
    /// It is not there.
    pub fn blob(&self, hash: Hash) -> io::Result<Vec<u8>> {
        fs::read(self.blob_path(hash))
    }

    /// Drops the contents that are kept: they are in the pack now.
    ///
    /// # Errors
    /// The work folder cannot be written.
    pub fn drop_blobs(&self) -> Result<(), Error> {
        let blobs = self.folder.join("blobs");
        fs::remove_dir_all(&blobs).map_err(Error::io("emptying", &blobs))?;
        disk::make_folder(&blobs)
    }
}

/// Makes a unit's key.
#[derive(Clone)]
pub struct KeyHasher(Xxh3);

impl KeyHasher {
    /// The key of nothing yet. Results of other versions of this program are not taken for those of this one.
    pub fn new() -> Self {
        let mut hasher = KeyHasher(Xxh3::new());
        hasher.part(concat!("lcc-btf ", env!("CARGO_PKG_VERSION"), " 1").as_bytes());
        hasher
    }

    /// Adds a part. Parts are told apart: `ab`, `c` is not `a`, `bc`.
    pub fn part(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Adds the content of an input. That of a large file is read piece by piece.
    ///
    /// # Errors
    /// The file at `path` cannot be read.
    pub fn content(&mut self, content: &Content, path: &Path) -> Result<(), Error> {
        let hash = match content {
            Content::Small(bytes) => xxh3_128(bytes),
            Content::Large(file) => {
                let mut hasher = Xxh3::new();
                let mut buffer = vec![0; 1 << 20];
                let mut at = 0;
                let region = Region::of_file(file).map_err(Error::io("reading", path))?;
                while let n @ 1.. = region.read_at(at, &mut buffer).map_err(Error::io("reading", path))? {
                    hasher.update(&buffer[..n]);
                    at += n as u64;
                }
                hasher.digest128()
            }
        };
        self.part(&hash.to_le_bytes());
        Ok(())
    }

    /// The key.
    pub fn finish(&self) -> Hash {
        Hash(self.0.digest128())
    }
}

impl Default for KeyHasher {
    fn default() -> Self {
        KeyHasher::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path().join("s")).unwrap();
        let record = UnitRecord::default();
        state.keep(Hash(1), &record).unwrap();
        assert_eq!(state.record(Hash(1)), Some(record));
        assert_eq!(state.record(Hash(2)), None);
        let path = folder.path().join("s/done").join(Hash(1).to_string());
        let content = fs::read(&path).unwrap();
        for at in 0..content.len() {
            let mut broken = content.clone();
            broken[at] ^= 1;
            fs::write(&path, &broken).unwrap();
            // Only the line's end does not matter.
            assert_eq!(state.record(Hash(1)).is_some(), at == 32, "{at}");
            fs::write(&path, &content[..at]).unwrap();
            assert_eq!(state.record(Hash(1)), None);
        }
    }

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = State::open(path.clone()).unwrap();
        let error = State::open(path.clone()).unwrap_err().to_string();
        assert_eq!(error, format!("{}: another run is writing here", path.display()));
        drop(first);
        State::open(path).unwrap();
    }

    #[test]
    fn keys_tell_parts_apart() {
        let key = |parts: &[&[u8]]| {
            let mut hasher = KeyHasher::new();
            parts.iter().for_each(|part| hasher.part(part));
            hasher.finish()
        };
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_eq!(key(&[b"ab", b"c"]), key(&[b"ab", b"c"]));
    }
}
