//! Programs that stay attached when their loader ends, and are found again by the next.
//!
//! ```text
//! FOLDER/                maps that the object itself wants pinned (LIBBPF_PIN_BY_NAME), kept from version to version
//! FOLDER/<key>/maps/     all maps of what is loaded
//! FOLDER/<key>/links/    its attachments, by program
//! ```
//!
//! The key is a hash of the object, of its configuration and of what else the caller decides: the same again is not loaded anew, and anything
//! else takes its place. The folder is one of a BPF file system (`mount -t bpf`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use libbpf_rs::{Link, MapHandle};

use crate::attach::{Attachment, How};
use crate::session::Options;

/// `include/uapi/linux/magic.h`
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

/// Digits of a key.
const KEY: usize = 32;

/// The folder of what is loaded with these options.
pub(crate) fn folder(pins: &Path, object: &[u8], options: &Options) -> PathBuf {
    let mut text = object.to_vec();
    text.extend(&options.config);
    let Options { map_entries, cgroup, pid, by_caller, .. } = options;
    text.extend(format!("{map_entries:?}{cgroup:?}{pid:?}{by_caller:?}{:?}", options.hints).bytes());
    pins.join(format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&text)))
}

/// What was pinned before.
pub(crate) struct Found {
    pub(crate) maps: BTreeMap<String, MapHandle>,
    pub(crate) attachments: Vec<Attachment>,
}

/// What is pinned in a folder; `None` where there is none, or one that was not finished.
pub(crate) fn find(folder: &Path) -> io::Result<Option<Found>> {
    let links = match names(&folder.join("links")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        links => links?,
    };
    if links.is_empty() {
        return Ok(None);
    }
    let mut found = Found { maps: BTreeMap::new(), attachments: Vec::new() };
    for (program, path) in links {
        let link = Link::open(&path).map_err(|error| told(&path, &error))?;
        found.attachments.push(Attachment { program, how: How::Link(link) });
    }
    for (name, path) in names(&folder.join("maps"))? {
        let map = MapHandle::from_pinned_path(&path).map_err(|error| told(&path, &error))?;
        found.maps.insert(name, map);
    }
    Ok(Some(found))
}

/// Pins all, or nothing. The links' folder takes its name when all are in it: what is not finished is not found.
pub(crate) fn pin(
    folder: &Path,
    maps: &mut BTreeMap<String, MapHandle>,
    attachments: &mut [Attachment],
) -> io::Result<()> {
    pin_each(folder, maps, attachments).inspect_err(|_| {
        if folder.exists() {
            // why it cannot be pinned is what counts
            let _ = remove(folder);
        }
    })
}

/// Whether a file system of this `f_type` (`statfs(2)`) is BPF's. Where a long has 32 bits, it is negative, and its upper bits are set here.
fn is_bpf(kind: u64) -> bool {
    kind as u32 == BPF_FS_MAGIC
}

fn pin_each(folder: &Path, maps: &mut BTreeMap<String, MapHandle>, attachments: &mut [Attachment]) -> io::Result<()> {
    let mut existing = folder;
    while !existing.exists() {
        existing = existing.parent().unwrap_or(Path::new("/"));
    }
    let kind = rustix::fs::statfs(existing).map_err(|error| beside(existing, error.into()))?.f_type;
    if !is_bpf(kind as u64) {
        let what = format!("{}: no BPF file system (mount -t bpf bpf FOLDER)", existing.display());
        return Err(io::Error::other(what));
    }
    let unfinished = folder.join("unfinished");
    for path in [folder.join("maps"), unfinished.clone()] {
        fs::create_dir_all(&path).map_err(|error| beside(&path, error))?;
    }
    for (name, map) in maps {
        // bpffs takes no dots: the maps of variables have one, and are their programs' own
        if name.contains('.') {
            continue;
        }
        let path = folder.join("maps").join(name);
        map.pin(&path).map_err(|error| told(&path, &error))?;
    }
    for attachment in attachments {
        let path = unfinished.join(&attachment.program);
        match &mut attachment.how {
            How::Link(link) => link.pin(&path).map_err(|error| match error.kind() {
                // what the kernel says of the descriptor of a perf event, which is all that there was
                libbpf_rs::ErrorKind::InvalidInput => {
                    let why = "this kernel has no link of it to pin: of kprobes and uprobes since 5.15";
                    io::Error::other(format!("{}: {why}", path.display()))
                }
                _ => told(&path, &error),
            })?,
            How::Cgroup(_) => return Err(io::Error::other("this kernel has no links of control groups to pin")),
        }
    }
    let links = folder.join("links");
    fs::rename(&unfinished, &links).map_err(|error| beside(&links, error))
}

/// Removes what sessions have pinned in a folder: with its links it is detached.
///
/// # Errors
/// A file or folder cannot be read or removed; the error names it.
pub fn retire(pins: &Path) -> io::Result<()> {
    all(pins)?.iter().try_for_each(|folder| remove(folder))
}

/// The folders that sessions have made in a folder of pins.
pub(crate) fn all(pins: &Path) -> io::Result<Vec<PathBuf>> {
    let is_key = |name: &str| name.len() == KEY && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let all = match names(pins) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        all => all?,
    };
    Ok(all.into_iter().filter(|(name, _)| is_key(name)).map(|(_, folder)| folder).collect())
}

/// Removes one of them.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    for part in ["links", "unfinished", "maps"] {
        let part = folder.join(part);
        for (_, path) in names(&part).unwrap_or_default() {
            fs::remove_file(&path).map_err(|error| beside(&path, error))?;
        }
        match fs::remove_dir(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(beside(&part, error)),
            _ => {}
        }
    }
    fs::remove_dir(folder).map_err(|error| beside(folder, error))
}

fn names(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        all.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    all.sort();
    Ok(all)
}

fn beside(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn told(path: &Path, error: &libbpf_rs::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian's 5.10.0-32-686-pae and 6.1.0-50-686-pae pinned nothing.
    #[test]
    fn the_bpf_file_system_is_known_where_a_long_has_32_bits() {
        let negative = BPF_FS_MAGIC.cast_signed();
        assert!(is_bpf(BPF_FS_MAGIC.into()) && is_bpf(negative as u64));
        // tmpfs
        assert!(!is_bpf(0x0102_1994));
    }
}
