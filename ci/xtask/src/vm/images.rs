//! The kernels to boot: the newest cloud kernel of each line, from the registry, with the modules that tests need.

use crate::kernels;
use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use apt::{AptRoot, Suite};
use std::path::{Path, PathBuf};

/// A kernel in the cache.
pub(super) struct Image {
    /// `6.1.0-56-cloud-amd64`
    pub(super) release: String,
    pub(super) vmlinuz: PathBuf,
    /// Its veth, which Debian's kernels do not have built in. `None` where its package is gone.
    pub(super) veth: Option<PathBuf>,
}

/// A line, or `None` for the newest there is, and where it is.
const LINES: [(Option<&str>, Suite); 4] = [
    (Some("5.10"), Suite::BULLSEYE),
    (Some("6.1"), Suite::BOOKWORM),
    (Some("6.12"), Suite::TRIXIE),
    (None, Suite::TRIXIE),
];

/// Fetches the kernels of these lines (all, if none is named), for amd64.
///
/// # Errors
/// The registry does not have one, or it cannot be unpacked.
pub(super) fn fetch(lines: &[String]) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for (line, suite) in LINES {
        if lines.is_empty() || lines.iter().any(|asked| asked == line.unwrap_or("newest")) {
            images.push(fetch_one(line, suite)?);
        }
    }
    if images.is_empty() {
        bail!("no such line; there are 5.10, 6.1, 6.12 and newest");
    }
    Ok(images)
}

fn fetch_one(line: Option<&str>, suite: Suite) -> Result<Image> {
    let cache = workspace::cache()?;
    let root = kernels::apt_root(suite, "amd64")?;
    // from 6.19 on linux-image-* is a metapackage, and the kernel is in linux-binary-*
    let mut found = Vec::new();
    for prefix in ["linux-image-", "linux-binary-"] {
        let names = root.names(&format!("{prefix}{}", line.unwrap_or_default()))?;
        found.extend(names.into_iter().filter_map(|name| {
            let release = name.strip_prefix(prefix)?.to_owned();
            is_wanted(&release, line).then_some((version_of(&release), name, release))
        }));
    }
    // of one release the package with the kernel in it comes first
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    for (_, name, release) in found {
        let vmlinuz = cache.join("images").join(format!("vmlinuz-{release}"));
        if !vmlinuz.is_file() {
            match download(&root, &name) {
                Ok(deb) if unpack(&deb, "vmlinuz", &vmlinuz)? => {}
                Ok(_) => continue,
                Err(error) => {
                    eprintln!("vm: {name}: {error:#}; trying the one before");
                    continue;
                }
            }
        }
        let veth = module(&root, &release, &name, "veth")?;
        return Ok(Image { release, vmlinuz, veth });
    }
    bail!("the registry has no cloud kernel {} in {} that can be had", line.unwrap_or("newest"), suite.name)
}

fn download(root: &AptRoot, name: &str) -> Result<PathBuf> {
    let package =
        root.newest(std::slice::from_ref(&name.to_owned()))?.pop().with_context(|| format!("the record of {name}"))?;
    kernels::download(root, &package, &workspace::create(workspace::cache()?.join("debs"))?)
}

/// A module of the kernel in the package, or in a package of its own (from 6.19 on), as the kernel takes it. `None`, said, where
/// it cannot be had.
fn module(root: &AptRoot, release: &str, package: &str, module: &str) -> Result<Option<PathBuf>> {
    let path = workspace::cache()?.join("images").join(format!("{module}-{release}.ko"));
    if path.is_file() {
        return Ok(Some(path));
    }
    let file = format!("{module}.ko");
    for package in [package, &format!("linux-modules-{release}")] {
        match download(root, package) {
            Ok(deb) if unpack(&deb, &file, &path)? => return Ok(Some(path)),
            Ok(_) => {}
            Err(error) => eprintln!("vm: {package}: {error:#}"),
        }
    }
    eprintln!("vm: {release}: no {module}");
    Ok(None)
}

/// `6.1.0-56-cloud-amd64`, not `6.1-cloud-amd64` nor a debug package, and of the line asked for.
fn is_wanted(release: &str, line: Option<&str>) -> bool {
    let Some(version) = release.strip_suffix("-cloud-amd64") else { return false };
    let mut parts = version.splitn(3, '.');
    let (Some(major), Some(minor), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let backport = version.contains("deb11.") || version.contains("+deb12");
    !backport && line.is_none_or(|line| line == format!("{major}.{minor}"))
}

/// The numbers in a release, to compare.
fn version_of(release: &str) -> Vec<u64> {
    let digits = |c: char| !c.is_ascii_digit();
    release.split(digits).filter(|part| !part.is_empty()).filter_map(|part| part.parse().ok()).collect()
}

/// Copies the file whose name begins so out of a package, uncompressed if it is `.xz`. Gives false for a package without one.
fn unpack(deb: &Path, begin: &str, to: &Path) -> Result<bool> {
    let folder = workspace::create(to.parent().context("a path with a folder")?.to_path_buf())?;
    let unpacked = tempfile::tempdir_in(&folder).context("a folder to unpack into")?;
    process::stdout_of(process::command("dpkg-deb", Path::new("/")).arg("-x").arg(deb).arg(unpacked.path()))?;
    let mut open = vec![unpacked.path().to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?.flatten() {
            let mut path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if entry.file_name().to_string_lossy().starts_with(begin) {
                if path.extension().is_some_and(|extension| extension == "xz") {
                    process::stdout_of(process::command("xz", Path::new("/")).arg("-d").arg(&path))?;
                    path.set_extension("");
                }
                std::fs::rename(&path, to).with_context(|| format!("write {}", to.display()))?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_from_their_names() {
        let check = |release, line, wanted| assert_eq!(is_wanted(release, line), wanted, "{release}");
        check("6.1.0-56-cloud-amd64", Some("6.1"), true);
        check("6.1.0-56-cloud-amd64", Some("6.12"), false);
        check("6.1-cloud-amd64", Some("6.1"), false);
        check("6.1.0-56-cloud-amd64-dbg", Some("6.1"), false);
        check("6.1.0-56-amd64", Some("6.1"), false);
        check("6.12.117+deb12-cloud-amd64", Some("6.12"), false);
        check("7.3.4+deb13-cloud-amd64", None, true);
        assert!(version_of("7.3.4+deb13-cloud-amd64") > version_of("7.2.12+deb13-cloud-amd64"));
    }
}
