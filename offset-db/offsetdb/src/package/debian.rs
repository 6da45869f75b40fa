//! Debian's packages, by apt as it is set up on the machine.

use super::cache::Cache;
use super::recipe::{Recipe, fits};
use anyhow::{Context, Result};
use apt::{AptRoot, Mirrors, Package, Suite};
use std::path::{Path, PathBuf};

/// A suite of the registry, for one architecture.
#[derive(Debug)]
pub struct Registry {
    root: AptRoot,
}

impl Registry {
    /// The mirrors that the machine uses.
    ///
    /// # Errors
    /// apt has none of Debian.
    pub fn mirrors() -> Result<Mirrors> {
        Ok(apt::mirrors(Path::new("/etc/apt"))?)
    }

    /// Opens a suite, and learns what is in it now.
    ///
    /// # Errors
    /// apt-get failed, or the cache cannot be written.
    pub fn open(cache: &Cache, mirrors: &Mirrors, suite: Suite, architecture: &str) -> Result<Registry> {
        let folder = cache.folder("apt")?.join(format!("{}-{architecture}", suite.name));
        let folder = std::path::absolute(&folder).with_context(|| folder.display().to_string())?;
        Ok(Registry { root: AptRoot::open(folder, mirrors, suite, architecture)? })
    }

    /// Every version that the suite has of a recipe's packages, or of those of them that are named; in order of name and version.
    ///
    /// # Errors
    /// apt-cache failed.
    pub fn packages(&self, recipe: &Recipe, named: &str) -> Result<Vec<Package>> {
        let mut names = Vec::new();
        for pattern in &recipe.packages {
            let begin = pattern.split('*').next().unwrap_or_default();
            let all = self.root.names(begin)?;
            let is_wanted = |name: &String| fits(pattern, name) && (named == recipe.package || fits(named, name));
            names.extend(all.into_iter().filter(is_wanted));
        }
        names.sort();
        names.dedup();
        let mut found = Vec::new();
        for name in names {
            // a name may be known for what depends on it only
            match self.root.versions(&[name]) {
                Ok(packages) => found.extend(packages),
                Err(apt::Error::Unknown { .. } | apt::Error::Program { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| apt::compare_versions(&a.version, &b.version)));
        found.dedup();
        Ok(found)
    }

    /// The newest version of one package.
    ///
    /// # Errors
    /// apt-cache failed, or the suite does not have it.
    pub fn newest(&self, name: &str) -> Result<Package> {
        let mut found = self.root.versions(&[name.to_owned()])?;
        found.sort_by(|a, b| apt::compare_versions(&a.version, &b.version));
        found.pop().with_context(|| format!("no package {name}"))
    }

    /// A package's file, from the cache or downloaded; its size and hash are the registry's.
    ///
    /// # Errors
    /// apt-get failed, or the file is another.
    pub fn file(&self, cache: &Cache, package: &Package) -> Result<PathBuf> {
        Ok(self.root.download(package, &cache.folder("debs")?)?)
    }
}
