//! The kernels to boot: the newest cloud kernel of each line, from the registry.

use crate::kernels::{self, Suite};
use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// A kernel in the cache.
pub(super) struct Image {
    /// `6.1.0-56-cloud-amd64`
    pub(super) release: String,
    pub(super) vmlinuz: PathBuf,
}

/// A line, or `None` for the newest there is, and where it is.
const LINES: [(Option<&str>, Suite); 4] = [
    (Some("5.10"), kernels::BULLSEYE),
    (Some("6.1"), kernels::BOOKWORM),
    (Some("6.12"), kernels::TRIXIE),
    (None, kernels::TRIXIE),
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
        if vmlinuz.is_file() {
            return Ok(Image { release, vmlinuz });
        }
        let package =
            root.newest(std::slice::from_ref(&name))?.pop().with_context(|| format!("the record of {name}"))?;
        match root.download(&package, &workspace::create(cache.join("debs"))?) {
            Ok(deb) if unpack(&deb, &vmlinuz)? => return Ok(Image { release, vmlinuz }),
            Ok(_) => {}
            Err(error) => eprintln!("vm: {name}: {error:#}; trying the one before"),
        }
    }
    bail!("the registry has no cloud kernel {} in {} that can be had", line.unwrap_or("newest"), suite.name)
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

/// Copies the kernel out of a package. Gives false for a package without one.
fn unpack(deb: &Path, vmlinuz: &Path) -> Result<bool> {
    let folder = workspace::create(vmlinuz.parent().context("a path with a folder")?.to_path_buf())?;
    let unpacked = tempfile::tempdir_in(&folder).context("a folder to unpack into")?;
    process::stdout_of(process::command("dpkg-deb", Path::new("/")).arg("-x").arg(deb).arg(unpacked.path()))?;
    let mut open = vec![unpacked.path().to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?.flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                open.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                std::fs::rename(&path, vmlinuz).with_context(|| format!("write {}", vmlinuz.display()))?;
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
