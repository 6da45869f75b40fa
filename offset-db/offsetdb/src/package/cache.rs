//! The folder of what was downloaded and made.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Where wheels, sources and compiled references are kept.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// `folder`, or `$XDG_CACHE_HOME/lcc/offsets`, or `~/.cache/lcc/offsets`.
    ///
    /// # Errors
    /// There is no home.
    pub fn at(folder: Option<&Path>) -> Result<Cache> {
        if let Some(folder) = folder {
            return Ok(Cache(folder.to_owned()));
        }
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
        Ok(Cache(base.context("neither XDG_CACHE_HOME nor HOME is set; give --cache")?.join("lcc/offsets")))
    }

    /// A folder of it, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}
