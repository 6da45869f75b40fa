//! What people name, as the kernel knows it: control groups, containers and network namespaces by their inode numbers.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tcprt::Config;

use crate::args::Filters;
use crate::owners;

/// The configuration of the object.
///
/// # Errors
/// What is named is not there, or several are.
pub(crate) fn config(filters: &Filters) -> Result<Config> {
    let mut config = Config {
        local: filters.lport.concat(),
        peer: filters.pport.concat(),
        pid: filters.pid.unwrap_or(0),
        mode: filters.mode.unwrap_or_default().into(),
        ..Config::default()
    };
    if let Some(cgroup) = &filters.cgroup {
        config.cgroup = match cgroup.parse() {
            Ok(id) => id,
            Err(_) => folder(Path::new(cgroup), owners::hierarchy().as_deref())?,
        };
    }
    if let Some(id) = &filters.container {
        let root = owners::hierarchy().context("--container: there are no control groups of version 2 here")?;
        config.cgroup = container(&root, id)?;
    }
    if let Some(netns) = &filters.netns {
        config.netns = match netns.parse() {
            Ok(inode) => inode,
            Err(_) => {
                let inode = std::fs::metadata(netns).with_context(|| format!("--netns {netns}"))?.ino();
                u32::try_from(inode).map_err(|_| anyhow!("--netns {netns}: it is no network namespace"))?
            }
        };
    }
    Ok(config)
}

/// A control group by its folder, or by its path in the hierarchy.
fn folder(path: &Path, root: Option<&Path>) -> Result<u64> {
    let told = || format!("--cgroup {}", path.display());
    let in_hierarchy = root.map(|root| root.join(path.strip_prefix("/").unwrap_or(path)));
    let candidates = [Some(path.to_owned()), in_hierarchy].into_iter().flatten();
    let is_below = |path: &PathBuf| match (std::fs::canonicalize(path), root.map(std::fs::canonicalize)) {
        (Ok(path), Some(Ok(root))) => path.starts_with(root),
        _ => false,
    };
    let found = candidates.filter(|path| path.is_dir()).find(is_below);
    let found = found.with_context(|| format!("{}: no control group of version 2", told()))?;
    Ok(std::fs::metadata(found).with_context(told)?.ino())
}

/// The container whose id begins so.
fn container(root: &Path, id: &str) -> Result<u64> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("--container {id}: an id has hexadecimal digits");
    }
    let id = id.to_ascii_lowercase();
    // the outermost control group of each, which those of its parts are below
    let mut found: Vec<(String, u64)> = Vec::new();
    owners::walk(root, &mut |path, inode| {
        if let Some(container) = tcprt::containers::of_path(path)
            && container.id.starts_with(&id)
            && !found.iter().any(|(known, _)| *known == container.id)
        {
            found.push((container.id, inode));
        }
    });
    match found.as_slice() {
        [] => bail!("--container {id}: no control group below {} is named so", root.display()),
        [(_, inode)] => Ok(*inode),
        several => {
            let ids: Vec<&str> = several.iter().filter_map(|(id, _)| id.get(..12)).collect();
            bail!("--container {id}: there are several: {}", ids.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_found_by_its_first_digits() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = ("ab".repeat(32), "ac".repeat(32));
        let folder = root.path().join(format!("system.slice/docker-{one}.scope"));
        std::fs::create_dir_all(folder.join("init")).unwrap();
        std::fs::create_dir_all(root.path().join("docker").join(&other)).unwrap();
        let told = |id: &str| container(root.path(), id).map_err(|error| error.to_string());
        assert_eq!(told("ABAB"), Ok(std::fs::metadata(&folder).unwrap().ino()));
        assert_eq!(told("a").unwrap_err().split(": ").nth(1), Some("there are several"));
        assert!(told("ff").unwrap_err().contains("no control group below"));
        assert_eq!(told("nginx").unwrap_err(), "--container nginx: an id has hexadecimal digits");
    }

    #[test]
    fn a_control_group_is_named_by_its_folder_or_path() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("system.slice");
        std::fs::create_dir(&inside).unwrap();
        let inode = std::fs::metadata(&inside).unwrap().ino();
        assert_eq!(folder(&inside, Some(root.path())).unwrap(), inode);
        assert_eq!(folder(Path::new("/system.slice"), Some(root.path())).unwrap(), inode);
        let error = folder(Path::new("/tmp"), Some(root.path())).unwrap_err().to_string();
        assert_eq!(error, "--cgroup /tmp: no control group of version 2");
    }
}
