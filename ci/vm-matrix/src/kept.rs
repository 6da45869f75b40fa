//! Folders of the cache: each is there whole or not at all, and is checked before it is used.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// What a folder has: files and their hashes.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// What it was made of: a package's SHA-256, say.
    pub(crate) of: String,
    /// By path in the folder, xxh3-128 in hexadecimal.
    pub(crate) files: BTreeMap<String, String>,
    /// What was wished for and cannot be had.
    #[serde(default)]
    pub(crate) missing: Vec<String>,
}

/// The name of [`Contents`] in its folder.
const CONTENTS: &str = "contents.json";

impl Contents {
    /// What a folder has, if all of it is as it was written; what is not is told.
    pub(crate) fn of_intact(folder: &Path) -> Option<Contents> {
        let text = fs::read(folder.join(CONTENTS)).ok()?;
        let contents = serde_json::from_slice::<Contents>(&text).ok();
        let is_intact = |(name, expected): (&String, &String)| {
            fs::read(folder.join(name)).is_ok_and(|bytes| hash(&bytes) == *expected)
        };
        let whole = contents.filter(|contents| contents.files.iter().all(is_intact));
        if whole.is_none() {
            eprintln!("vm: {}: it is not what was written there", folder.display());
        }
        whole
    }

    /// Puts a fresh folder of the same file system into the place of one of the cache. Links and what is no file are kept, and not checked.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn keep(fresh: &Path, folder: &Path, of: String, missing: Vec<String>) -> Result<Contents> {
        let mut contents = Contents { of, missing, ..Contents::default() };
        let mut open = vec![fresh.to_path_buf()];
        while let Some(inner) = open.pop() {
            for entry in fs::read_dir(&inner).with_context(|| format!("list {}", inner.display()))?.flatten() {
                let (path, kind) = (entry.path(), entry.file_type().context("a file's type")?);
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_file() {
                    let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                    let name = path.strip_prefix(fresh).unwrap_or(&path);
                    contents.files.insert(name.to_string_lossy().into_owned(), hash(&bytes));
                }
            }
        }
        let text = serde_json::to_vec_pretty(&contents).context("write JSON")?;
        fs::write(fresh.join(CONTENTS), text).with_context(|| format!("write {}", fresh.display()))?;
        let _lock = lock(folder.parent().context("a folder with a parent")?)?;
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        fs::rename(fresh, folder).with_context(|| format!("write {}", folder.display()))?;
        Ok(contents)
    }
}

/// While it is held, nobody else replaces what is in a folder of the cache: no thread, and no process that has the same cache.
///
/// # Errors
/// The lock's file cannot be made.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.with_context(|| format!("lock {}", path.display()))
}

fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_in_the_cache_is_not_taken() {
        let cache = tempfile::tempdir().unwrap();
        let [fresh, folder] = ["fresh", "kept"].map(|name| cache.path().join(name));
        let make = |kernel: &[u8]| {
            fs::create_dir_all(fresh.join("usr/lib")).unwrap();
            fs::write(fresh.join("vmlinuz"), kernel).unwrap();
            fs::write(fresh.join("usr/lib/libc.a"), b"!<arch>").unwrap();
            std::os::unix::fs::symlink("/usr/lib/libc.a", fresh.join("link")).unwrap();
            Contents::keep(&fresh, &folder, "12".to_owned(), Vec::new()).unwrap()
        };
        assert_eq!(Contents::of_intact(&folder), None);
        let contents = make(b"kernel");
        assert_eq!(contents.files.keys().collect::<Vec<_>>(), ["usr/lib/libc.a", "vmlinuz"]);
        assert_eq!(Contents::of_intact(&folder), Some(contents));
        let damages: [&dyn Fn(); 4] = [
            &|| fs::write(folder.join("vmlinuz"), b"kernem").unwrap(),
            &|| fs::write(folder.join("usr/lib/libc.a"), b"").unwrap(),
            &|| fs::remove_file(folder.join("vmlinuz")).unwrap(),
            &|| fs::write(folder.join(CONTENTS), b"{").unwrap(),
        ];
        for damage in damages {
            damage();
            assert_eq!(Contents::of_intact(&folder), None);
            // made again, in its place
            let again = make(b"kernel");
            assert_eq!(Contents::of_intact(&folder), Some(again));
        }
    }
}
