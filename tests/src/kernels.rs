//! Real kernels' types: Debian's kernels in the cache (`cargo xtask kernels`), and BTFHub's archives.
//!
//! `LCC_KERNELS="6.1-amd64 btfhub"` restricts them to these.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use memmap2::Mmap;

fn cache() -> Option<PathBuf> {
    let of_user = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/lcc"));
    std::env::var_os("LCC_CACHE").map(PathBuf::from).or_else(of_user)
}

fn is_wanted(name: &str) -> bool {
    let only = std::env::var("LCC_KERNELS").ok();
    only.as_deref().is_none_or(|only| only.split_whitespace().any(|one| one == name))
}

fn files_below(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if wanted(&entry.file_name().to_string_lossy()) {
                // packages link to one from several places
                found.extend(path.canonicalize());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The vmlinux of Debian's kernels that are in the cache.
pub fn debian() -> Vec<PathBuf> {
    let folders = cache().into_iter().flat_map(|cache| std::fs::read_dir(cache.join("kernels")).into_iter().flatten());
    let mut folders: Vec<PathBuf> = folders.flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.file_name().is_some_and(|name| is_wanted(&name.to_string_lossy())));
    folders.sort();
    folders.iter().flat_map(|folder| files_below(folder, &|name| name.starts_with("vmlinux"))).collect()
}

/// BTFHub's archives, `RELEASE.btf.tar.xz`: of the folder `LCC_BTFHUB`, else of `btfhub` in the cache, else of `../shared/btfhub`.
pub fn btfhub() -> Vec<PathBuf> {
    if !is_wanted("btfhub") {
        return Vec::new();
    }
    let named = std::env::var_os("LCC_BTFHUB").map(PathBuf::from);
    let others =
        || cache().map(|cache| cache.join("btfhub")).into_iter().chain([super::project().join("../shared/btfhub")]);
    let folders: Vec<PathBuf> = named.map_or_else(|| others().collect(), |named| vec![named]);
    let archives = folders.iter().map(|folder| files_below(folder, &|name| name.ends_with(".btf.tar.xz")));
    archives.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

/// A file of a kernel in memory.
///
/// # Panics
/// It cannot be read.
pub fn map(kernel: &Path) -> Mmap {
    let file = File::open(kernel).unwrap_or_else(|error| panic!("{}: {error}", kernel.display()));
    // SAFETY: nothing writes to the kernels while the tests run.
    unsafe { Mmap::map(&file) }.unwrap_or_else(|error| panic!("{}: {error}", kernel.display()))
}

/// What is in one of BTFHub's archives: raw BTF.
///
/// # Panics
/// `tar` cannot read it.
pub fn unpack(archive: &Path) -> Vec<u8> {
    let content = Command::new("tar").arg("-xJOf").arg(archive).output().expect("running tar");
    assert!(content.status.success(), "tar: {}", archive.display());
    content.stdout
}
