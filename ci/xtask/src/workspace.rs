//! The places: the checkout, cargo's target folder, the cache outside git.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

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
