//! The files in a Debian package, read as a stream: nothing is written under their names, links are passed over.

use anyhow::{Context, Result, bail};
use packages::entries::Archive;
use packages::region::Region;
use packages::spill::Bytes;
use packages::tar::TarReader;
use packages::{control, stream};
use std::fs::File;
use std::path::Path;

/// The most bytes that are unpacked of one file.
const LARGEST_FILE: u64 = 1 << 30;
/// The most bytes that all of a package unpacks to: more is made to fill disks.
const LARGEST: u64 = 16 << 30;

/// Whether bytes begin as a Debian package does.
#[must_use]
pub fn is_deb(bytes: &[u8]) -> bool {
    bytes.starts_with(packages::ar::MAGIC)
}

/// The ELF files in a package whose names begin with `module`: their paths, as the package has them, and what is in them.
///
/// # Errors
/// It cannot be read, is no package, is damaged, or unpacks to more than is sane.
pub fn files(path: &Path, module: &str) -> Result<Vec<(String, Bytes)>> {
    let name = || path.display().to_string();
    let file = File::open(path).with_context(name)?;
    let package = control::open(Region::of_file(&file).with_context(name)?).with_context(name)?;
    let stream = stream::open(package.data, &package.data_name, 1).with_context(name)?;
    let mut tar = TarReader::limited(stream, LARGEST);
    let mut found = Vec::new();
    while let Some(entry) = tar.next().with_context(name)? {
        let file = entry.name.rsplit('/').next().unwrap_or_default();
        if !file.starts_with(module) || entry.size < 4 {
            continue;
        }
        let may_be_data = module.is_empty() && !file.ends_with(".so") && !file.contains(".so.");
        if entry.size > LARGEST_FILE && may_be_data {
            continue;
        }
        if entry.size > LARGEST_FILE {
            bail!("{}!{}: {} bytes unpacked are more than {LARGEST_FILE}", name(), entry.name, entry.size);
        }
        let bytes = tar.take().with_context(name)?;
        if !bytes.starts_with(b"\x7fELF") {
            continue;
        }
        let inside = entry.name.trim_start_matches("./").to_owned();
        if found.iter().any(|(other, _): &(String, Bytes)| *other == inside) {
            bail!("{}!{inside}: it is twice in the package", name());
        }
        found.push((inside, bytes));
    }
    Ok(found)
}
