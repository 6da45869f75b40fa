//! The running kernel.

use std::fs;
use std::path::Path;

use super::banner::Banner;
use super::distro::{Distro, Evidence, distro};
use super::{Kernel, Options, of_btf};
use crate::error::Error;
use crate::kernel_id::Identity;
use packages::spill::Bytes;

/// The word that stands for the running kernel where a KERNEL is wanted.
pub const RUNNING: &str = "running";

/// Reads the running kernel's own BTF, and its name.
///
/// # Errors
/// The kernel has no BTF of its own (`CONFIG_DEBUG_INFO_BTF`), or does not show it.
pub fn read(options: &Options) -> Result<Kernel, Error> {
    let path = options.root.join("sys/kernel/btf/vmlinux");
    let bytes = fs::read(&path).map_err(Error::io("reading the running kernel's BTF", &path))?;
    let mut kernel = of_btf(Bytes::new(bytes), RUNNING);
    kernel.identity = identity(&options.root);
    Ok(kernel)
}

/// The split BTF that the running kernel's modules have, ascending by name.
///
/// # Errors
/// A file cannot be read.
pub fn modules(root: &Path) -> Result<Vec<(String, Bytes)>, Error> {
    let folder = root.join("sys/kernel/btf");
    let entries = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(Error::io("reading the folder", &folder))?;
    let mut names: Vec<_> = entries.into_iter().map(|e| e.file_name()).filter(|n| n != "vmlinux").collect();
    names.sort();
    let read = |name: std::ffi::OsString| {
        let path = folder.join(&name);
        let bytes = fs::read(&path).map_err(Error::io("reading", &path))?;
        Ok((name.to_string_lossy().into_owned(), Bytes::new(bytes)))
    };
    names.into_iter().map(read).collect()
}

/// The running kernel's name: the banner tells who made the kernel, and where it does not, os-release tells who made the
/// system. (In a container that is another's.)
pub fn identity(root: &Path) -> Identity {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_owned());
    let banner = read("proc/version").unwrap_or_default();
    let release = read("proc/sys/kernel/osrelease").or_else(|| Banner::parse(&banner).map(|b| b.release));
    // Linux 6.1 and later say which architecture they are; before, it is that of this program.
    let arch = read("proc/sys/kernel/arch").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let evidence = Evidence { release: release.as_deref().unwrap_or_default(), banner: &banner, ..Evidence::default() };
    let distro = distro(evidence)
        .or_else(|| os_release(&read("etc/os-release").or_else(|| read("usr/lib/os-release")).unwrap_or_default()));
    Identity { distro, arch: Some(pack::arch_of_name(&arch).to_owned()), release }
}

/// `ID` and `VERSION_ID` of `os-release(5)`, in BTFHub's spelling.
fn os_release(text: &str) -> Option<Distro> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let id = value("ID")?;
    let name = match id.as_str() {
        "amzn" | "debian" | "ubuntu" | "fedora" | "centos" | "rhel" | "sles" | "opensuse-leap" | "ol" => id.as_str(),
        "alinux" | "alios" => "alinux",
        "archlinux" => "arch",
        other => other,
    };
    // Rolling distributions have no version; Debian in preparation has none either.
    let version = value("VERSION_ID").unwrap_or_else(|| if name == "debian" { "sid" } else { "rolling" }.to_owned());
    // BTFHub has one folder for all of EL 8.
    let version = match name {
        "centos" | "rhel" | "ol" | "almalinux" | "rocky" => version.split('.').next().unwrap_or_default().to_owned(),
        _ => version,
    };
    Some(Distro { name: name.to_owned(), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &str) {
        let root = system(files);
        assert_eq!(identity(root.path()).complete().unwrap().unwrap().to_string(), expected);
    }

    #[test]
    fn the_banner_goes_before_os_release() {
        let own =
            "Linux version 6.1.0-18-cloud-amd64 (x) (gcc-12 (Debian 12.2.0-14)) #1 SMP Debian 6.1.76-1 (2024-02-01)\n";
        check(
            &[
                ("proc/version", own),
                ("proc/sys/kernel/osrelease", "6.1.0-18-cloud-amd64\n"),
                ("proc/sys/kernel/arch", "x86_64\n"),
                ("etc/os-release", "ID=alpine\nVERSION_ID=3.19\n"),
            ],
            "debian/12/x86_64/6.1.0-18-cloud-amd64",
        );
        check(
            &[
                ("proc/version", "Linux version 6.6.1-own (me@here) (gcc 13) #1 SMP\n"),
                ("proc/sys/kernel/arch", "aarch64\n"),
                ("usr/lib/os-release", "NAME=x\nID=\"rhel\"\nVERSION_ID=\"9.3\"\n"),
            ],
            "rhel/9/arm64/6.6.1-own",
        );
    }

    #[test]
    fn without_btf_the_error_names_the_file() {
        let root = system(&[]);
        let options = Options { root: root.path().to_owned(), ..Options::default() };
        let error = read(&options).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "/sys/kernel/btf/vmlinux: reading the running kernel's BTF: No such file or directory (os error 2)"
            ),
            "{error}"
        );
    }
}
