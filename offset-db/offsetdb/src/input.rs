//! Files: by path, and in wheels and zips.

use anyhow::{Context, Result, bail};
use memmap2::Mmap;
use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file.
#[derive(Debug)]
pub enum Bytes {
    /// Mapped.
    Mapped(Mmap),
    /// Unpacked.
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
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
    /// What is in it.
    pub bytes: Bytes,
}

/// The most bytes that are unpacked of one file.
const LARGEST: u64 = 1 << 30;

/// Opens a file: an ELF file is one, of an archive all that look like libraries or programs and whose names begin with `module`.
///
/// # Errors
/// It cannot be read, is no ELF file and no archive, or has no ELF file.
pub fn open(path: &Path, module: &str) -> Result<Vec<Input>> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| name.clone())?;
    let metadata = file.metadata().with_context(|| name.clone())?;
    if !metadata.is_file() {
        bail!("{name}: no regular file");
    }
    if metadata.len() == 0 {
        bail!("{name}: it is empty");
    }
    // SAFETY: who changes a file while it is read gets wrong answers, or SIGBUS where it is cut: as with every tool that maps it.
    let map = unsafe { Mmap::map(&file) }.with_context(|| name.clone())?;
    if map.starts_with(b"PK\x03\x04") {
        return members(&name, &map, module);
    }
    if !map.starts_with(b"\x7fELF") {
        bail!("{name}: neither an ELF file nor a wheel, zip or APK");
    }
    let path = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(vec![Input { name, path, bytes: Bytes::Mapped(map) }])
}

fn members(name: &str, bytes: &[u8], module: &str) -> Result<Vec<Input>> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).with_context(|| name.to_owned())?;
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index).with_context(|| format!("{name}: entry {index}"))?;
        let path = member.name().with_context(|| format!("{name}: entry {index}"))?.into_owned();
        let file = path.rsplit('/').next().unwrap_or_default();
        if !member.is_file() || !file.starts_with(module) || !(file.ends_with(".so") || file.contains(".so.")) {
            continue;
        }
        let size = member.size();
        if size > LARGEST {
            bail!("{name}!{path}: {size} bytes unpacked are more than {LARGEST}");
        }
        let mut unpacked = Vec::new();
        member.take(LARGEST).read_to_end(&mut unpacked).with_context(|| format!("{name}!{path}"))?;
        if unpacked.starts_with(b"\x7fELF") {
            found.push(Input { name: format!("{name}!{path}"), path, bytes: Bytes::Owned(unpacked) });
        }
    }
    if found.is_empty() {
        bail!(
            "{name}: no library in it{}",
            if module.is_empty() { String::new() } else { format!(" begins with {module}") }
        );
    }
    Ok(found)
}
