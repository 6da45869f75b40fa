//! Files that processes have mapped to execute: `/proc/PID/maps` of proc(5).

use anyhow::{Context, Result};
use memmap2::Mmap;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Its path, as the process has it.
    pub path: String,
    /// It has no path any more: its package was updated, or it was removed.
    pub is_deleted: bool,
    /// Paths by which it can be opened, the best first.
    pub open: Vec<PathBuf>,
    /// Which of its bytes are mapped first, of each mapping: more than one library of an APK may be.
    pub offsets: Vec<u64>,
    /// The processes that have it mapped.
    pub processes: Vec<u32>,
}

/// A file's device and inode, as `maps` has them.
type Identity = (String, u64);

/// The files that processes have mapped to execute, each once, in order of path. `proc` is where proc is mounted. With `all`,
/// processes that end meanwhile, and other users', are left out.
///
/// # Errors
/// There is no such process, or it is another user's.
pub fn mapped(proc: &Path, processes: &[u32], all: bool) -> Result<Vec<Mapped>> {
    let mut found: BTreeMap<Identity, Mapped> = BTreeMap::new();
    for process in processes {
        let folder = proc.join(process.to_string());
        let maps = folder.join("maps");
        let text = match std::fs::read(&maps) {
            Ok(text) => text,
            Err(_) if all => continue,
            Err(error) => return Err(error).with_context(|| maps.display().to_string()),
        };
        for line in String::from_utf8_lossy(&text).lines() {
            let Some((identity, mapped)) = parse(&folder, line, *process) else { continue };
            let known = found.entry(identity).or_insert_with(|| Mapped {
                processes: Vec::new(),
                offsets: Vec::new(),
                ..mapped.clone()
            });
            known.offsets.extend(&mapped.offsets);
            if known.processes.last() != Some(process) {
                known.processes.push(*process);
                known.open.extend(mapped.open);
            }
        }
    }
    let mut found: Vec<Mapped> = found.into_values().collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// All processes that there are; those of the kernel have nothing mapped.
///
/// # Errors
/// proc is not mounted there.
pub fn all(proc: &Path) -> Result<Vec<u32>> {
    let entries = std::fs::read_dir(proc).with_context(|| proc.display().to_string())?;
    let mut found: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    Ok(found)
}

/// Opens a file that is mapped: by which path, and what is in it. `None`: it cannot be read. A pipe or a device is not waited for.
///
/// # Errors
/// It cannot be mapped.
pub fn open(mapped: &Mapped) -> Result<Option<(PathBuf, Mmap)>> {
    let is_file = |path: &&PathBuf| path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0);
    let opened = mapped.open.iter().filter(is_file).find_map(|path| Some((path.clone(), File::open(path).ok()?)));
    let Some((path, file)) = opened else {
        tracing::info!("{}: it cannot be read", mapped.path);
        return Ok(None);
    };
    // SAFETY: who changes a file while it is read gets wrong answers, or SIGBUS where it is cut: as with every tool that maps it.
    let bytes = unsafe { Mmap::map(&file) }.with_context(|| mapped.path.clone())?;
    Ok(Some((path, bytes)))
}

/// A library: its name for people, where it begins in its archive if it is in one as it is, and its bytes.
pub type Library<'b> = (String, Option<u64>, Cow<'b, [u8]>);

/// The file that is mapped, or, of an APK, those of its libraries that are. Of an archive that nobody has mapped, all.
#[must_use]
pub fn libraries<'b>(mapped: &Mapped, bytes: &'b [u8]) -> Vec<Library<'b>> {
    if !archive::is_archive(bytes) {
        return vec![(mapped.path.clone(), None, Cow::Borrowed(bytes))];
    }
    let is_mapped = |begin: u64, size: u64| mapped.offsets.iter().any(|at| *at >= begin && *at - begin < size);
    // what is compressed is not mapped
    let is_wanted = |member: &archive::Member<'_>| {
        mapped.processes.is_empty() || member.offset.is_some_and(|begin| is_mapped(begin, member.bytes.len() as u64))
    };
    let members = archive::libraries(bytes, "", archive::MOST).unwrap_or_default().into_iter().filter(is_wanted);
    members.map(|member| (format!("{}!/{}", mapped.path, member.path), member.offset, member.bytes)).collect()
}

/// Whether two paths lead to one file.
#[must_use]
pub fn is_same(path: &Path, other: Option<&Path>) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    other.is_some_and(|other| identity(path).is_some() && identity(path) == identity(other))
}

/// A line: addresses, rights, offset, device, inode, path.
fn parse(folder: &Path, line: &str, process: u32) -> Option<(Identity, Mapped)> {
    let mut rest = line;
    let mut word = || {
        let (word, behind) = rest.trim_start().split_once(' ')?;
        rest = behind;
        Some(word)
    };
    let (addresses, rights, offset, device, inode) = (word()?, word()?, word()?, word()?, word()?);
    let inode: u64 = inode.parse().ok()?;
    let path = rest.trim_start();
    if inode == 0 || rights.as_bytes().get(2) != Some(&b'x') || !path.starts_with('/') {
        return None;
    }
    let offset = u64::from_str_radix(offset, 16).ok()?;
    let (path, is_deleted) = path.strip_suffix(" (deleted)").map_or((path, false), |path| (path, true));
    // by the mapping itself, which finds deleted files and those of other mounts; it needs CAP_CHECKPOINT_RESTORE
    let mut open = vec![folder.join("map_files").join(addresses)];
    if !is_deleted {
        open.push(folder.join("root").join(path.trim_start_matches('/')));
    }
    let mapped = Mapped { path: path.to_owned(), is_deleted, open, offsets: vec![offset], processes: vec![process] };
    Some(((device.to_owned(), inode), mapped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let check = |line: &str, expected: Option<(&str, bool, &[&str])>| {
            let found = parse(Path::new("/proc/7"), line, 7).map(|(_, mapped)| mapped);
            let found = found.as_ref().map(|mapped| {
                let open: Vec<&str> = mapped.open.iter().map(|path| path.to_str().unwrap()).collect();
                (mapped.path.as_str(), mapped.is_deleted, open)
            });
            assert_eq!(found, expected.map(|(path, deleted, open)| (path, deleted, open.to_vec())), "{line}");
        };
        check(
            "7f00-7f80 r-xp 00026000 fe:01 1234                       /usr/lib/libc.so.6",
            Some((
                "/usr/lib/libc.so.6",
                false,
                &["/proc/7/map_files/7f00-7f80", concat!("/proc/7/root", "/usr/lib/libc.so.6")],
            )),
        );
        check(
            "7f00-7f80 r-xp 00026000 fe:01 1234   /opt/a name (deleted)",
            Some(("/opt/a name", true, &["/proc/7/map_files/7f00-7f80"])),
        );
        check("7f00-7f80 r--p 00000000 fe:01 1234   /usr/lib/libc.so.6", None);
        check("7f00-7f80 r-xp 00000000 00:00 0      [vdso]", None);
        check("7f00-7f80 r-xp 00000000 00:00 0 ", None);
        check("7f00-7f80 rwxp 00000000 00:05 99     anon_inode:[jit]", None);
        check("nonsense", None);
        check("", None);
    }
}
