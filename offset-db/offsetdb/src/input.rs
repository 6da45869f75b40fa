//! Files: by path, and in wheels, zips and Debian packages.

use crate::package::deb;
use anyhow::{Context, Result, bail};
use memmap2::Mmap;
use offset_db::Tables;
use std::fs::File;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The bytes of a file.
#[derive(Debug)]
pub enum Bytes {
    /// Mapped.
    Mapped(Mmap),
    /// Unpacked.
    Owned(Vec<u8>),
    /// Read, but for its holes: mapped, each page of them would be made.
    Sparse(Tables),
    /// Unpacked, perhaps into a file without a name.
    Unpacked(packages::spill::Bytes),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
            Bytes::Sparse(tables) => tables.bytes(),
            Bytes::Unpacked(bytes) => bytes,
        }
    }
}

/// A file, or what is in one.
#[derive(Debug)]
pub struct Input {
    /// For people: its path, and behind `!` its path in the archive.
    pub name: String,
    /// Its path in the archive; the file's name where it is in none.
    pub path: String,
    /// Where it is in the archive, if it is stored there as it is.
    pub begin: Option<u64>,
    /// What is in it.
    pub bytes: Bytes,
}

/// Of files that are no larger, holes may cost what they cost.
const SMALL: u64 = 64 << 20;

/// Opens a file: an ELF file is one, of an archive all that look like libraries or programs and whose names begin with `module`; of
/// `ARCHIVE!PATH` the one in the archive.
///
/// # Errors
/// It cannot be read, is no ELF file and no archive, or has no ELF file.
pub fn open(path: &Path, module: &str) -> Result<Vec<Input>> {
    let (path, member) = parts(path);
    let name = path.display().to_string();
    // a pipe would be waited for when it is opened
    let metadata = path.metadata().with_context(|| name.clone())?;
    if !metadata.is_file() {
        bail!("{name}: no regular file");
    }
    if metadata.len() == 0 {
        bail!("{name}: it is empty");
    }
    let file = File::open(&path).with_context(|| name.clone())?;
    // SAFETY: who changes a file while it is read gets wrong answers, or SIGBUS where it is cut: as with every tool that maps it.
    let map = unsafe { Mmap::map(&file) }.with_context(|| name.clone())?;
    if archive::is_archive(&map) {
        let libraries = archive::libraries(&map, module, archive::MOST).with_context(|| name.clone())?;
        let input = |found: archive::Member<'_>| Input {
            name: format!("{name}!{}", found.path),
            path: found.path,
            begin: found.offset,
            bytes: Bytes::Owned(found.bytes.into_owned()),
        };
        return chosen(&name, module, member.as_deref(), libraries.into_iter().map(input).collect());
    }
    if deb::is_deb(&map) {
        let input =
            |(path, bytes)| Input { name: format!("{name}!{path}"), path, begin: None, bytes: Bytes::Unpacked(bytes) };
        return chosen(&name, module, member.as_deref(), deb::files(&path, module)?.into_iter().map(input).collect());
    }
    if let Some(member) = member {
        bail!("{name}: no archive, in which {member} could be");
    }
    if !map.starts_with(b"\x7fELF") {
        bail!("{name}: neither an ELF file nor a wheel, zip, APK or Debian package");
    }
    // blocks of 512 bytes, whatever the file system's are
    let is_sparse = metadata.len() > SMALL && metadata.blocks().saturating_mul(512) < metadata.len() / 2;
    let bytes = if is_sparse { Bytes::Sparse(Tables::read_whole(&path)?) } else { Bytes::Mapped(map) };
    let path = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(vec![Input { name, path, begin: None, bytes }])
}

/// An archive and the path in it, as Android's linker and this program name them: `app.apk!/lib/x.so`, `one.whl!pkg/x.so`. A file
/// that is there by the whole name is that.
#[must_use]
pub fn parts(path: &Path) -> (PathBuf, Option<String>) {
    let split = path.to_str().filter(|_| !path.exists()).and_then(|text| text.split_once('!'));
    match split {
        Some((archive, member)) => (PathBuf::from(archive), Some(member.trim_start_matches('/').to_owned())),
        None => (path.to_owned(), None),
    }
}

/// What was found in an archive; of it only `member`, where one was named.
fn chosen(name: &str, module: &str, member: Option<&str>, mut found: Vec<Input>) -> Result<Vec<Input>> {
    if found.is_empty() {
        let begins = if module.is_empty() { String::new() } else { format!(" begins with {module}") };
        bail!("{name}: no library in it{begins}");
    }
    if let Some(member) = member {
        found.retain(|input| input.path == member);
        if found.is_empty() {
            bail!("{name}: no library {member} in it");
        }
    }
    Ok(found)
}
