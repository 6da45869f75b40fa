//! The places: the checkout, cargo's target folder, the cache outside git.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

pub(crate) use lcc_vm::fetch::cache_folder as cache;

/// The checkout's root: the nearest folder upwards whose Cargo.toml is a workspace.
///
/// # Errors
/// The working folder is not inside a workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let start = std::env::current_dir().context("find the working folder")?;
    for folder in start.ancestors() {
        let manifest = folder.join("Cargo.toml");
        if std::fs::read_to_string(&manifest).is_ok_and(|text| text.contains("[workspace]")) {
            return Ok(folder.to_path_buf());
        }
    }
    bail!("{} is not inside the checkout", start.display())
}

/// Cargo's target folder.
///
/// # Errors
/// As [`root`].
pub(crate) fn target() -> Result<PathBuf> {
    let root = root()?;
    Ok(std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder)))
}

/// Creates the folder with its parents, and returns it.
///
/// # Errors
/// It cannot be created.
pub(crate) fn create(folder: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// The name under which a file or folder is made, before it is renamed to `path`.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(UNFINISHED);
    name.into()
}

/// True for what an interrupted run left behind.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(UNFINISHED)
}

const UNFINISHED: &str = ".unfinished";
