//! Compilers that are not the machine's: packages of a suite of Debian, unpacked into the cache. GCC finds its parts by where it lies.

use super::cache::Cache;
use super::debian::Registry;
use super::recipe::Toolchain;
use anyhow::{Context, Result, bail};
use apt::Suite;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler, downloaded by apt and unpacked where it is missing.
///
/// # Errors
/// apt or dpkg-deb is not there, the suite is not known, or it has no such package.
pub fn unpacked(cache: &Cache, toolchain: &Toolchain) -> Result<PathBuf> {
    let folder = cache.folder("toolchains")?;
    let program = Path::new(&toolchain.program).file_name().unwrap_or_default().to_string_lossy();
    let short = program.trim_start_matches("x86_64-linux-gnu-");
    let root = folder.join(format!("{}-{short}", toolchain.suite));
    let path = root.join(&toolchain.program);
    if path.exists() {
        return Ok(path);
    }
    let suite = Suite::of(&toolchain.suite).with_context(|| format!("no suite {}", toolchain.suite))?;
    let registry = Registry::open(cache, &Registry::mirrors()?, suite, "amd64")?;
    // whole or not there
    let unfinished = tempfile::Builder::new().prefix(".unpack-").tempdir_in(&folder)?;
    for name in &toolchain.packages {
        let file = registry.file(cache, &registry.newest(name)?)?;
        let output =
            Command::new("dpkg-deb").arg("-x").arg(&file).arg(unfinished.path()).output().context("dpkg-deb")?;
        if !output.status.success() {
            bail!("dpkg-deb -x {}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    std::fs::rename(unfinished.keep(), &root).with_context(|| root.display().to_string())?;
    if !path.exists() {
        bail!("{} is in none of {}", toolchain.program, toolchain.packages.join(", "));
    }
    Ok(path)
}
