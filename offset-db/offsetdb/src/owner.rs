//! Which package installed a file: by what pip and dpkg leave beside it.

use std::path::{Path, PathBuf};

/// A package that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Whose package it is, as the database has it: `pypi`, `debian`.
    pub ecosystem: &'static str,
    /// The package.
    pub package: String,
    /// Its version, where that is told.
    pub version: Option<String>,
}

/// The package of a file, by its path in a system whose root is `root`: `/`, or a process's. `None`: nobody says.
#[must_use]
pub fn owner(root: &Path, path: &Path) -> Option<Owner> {
    pypi(root, path).or_else(|| debian(root, path))
}

/// The package of a wheel, by its name: `PACKAGE-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl` (PEP 427).
#[must_use]
pub fn of_wheel(path: &Path) -> Option<Owner> {
    let name = path.file_name()?.to_str()?.strip_suffix(".whl")?;
    let mut parts = name.split('-');
    let (package, version) = (parts.next()?, parts.next()?);
    (parts.count() >= 3).then(|| Owner {
        ecosystem: "pypi",
        package: package.replace('_', "-"),
        version: Some(version.to_owned()),
    })
}

fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// `RECORD` in the folder `NAME-VERSION.dist-info` lists the files of a wheel ("Recording installed projects" of the Python
/// Packaging User Guide).
fn pypi(root: &Path, path: &Path) -> Option<Owner> {
    for folder in path.ancestors().skip(1) {
        let name = folder.file_name()?;
        if name != "site-packages" && name != "dist-packages" {
            continue;
        }
        let line = format!("{},", path.strip_prefix(folder).ok()?.display());
        for entry in within(root, folder).read_dir().ok()?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((package, version)) = name.strip_suffix(".dist-info").and_then(|name| name.split_once('-')) else {
                continue;
            };
            let record = std::fs::read_to_string(entry.path().join("RECORD")).unwrap_or_default();
            if record.lines().any(|record| record.starts_with(&line)) {
                let version = Some(version.to_owned());
                return Some(Owner { ecosystem: "pypi", package: package.to_owned(), version });
            }
        }
    }
    None
}

/// `/var/lib/dpkg/info/PACKAGE.list`, or `PACKAGE:ARCHITECTURE.list`, has a line for each file of a package; before the system's
/// merge of `/usr`, without it.
fn debian(root: &Path, path: &Path) -> Option<Owner> {
    let path = path.to_str()?;
    let short = path.strip_prefix("/usr").filter(|short| short.starts_with("/lib") || short.starts_with("/bin"));
    for entry in within(root, Path::new("/var/lib/dpkg/info")).read_dir().ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(package) = name.strip_suffix(".list") else { continue };
        let list = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if list.lines().any(|line| line == path || Some(line) == short) {
            let package = package.split(':').next().unwrap_or(package).to_owned();
            return Some(Owner { ecosystem: "debian", package, version: None });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_packages() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "opt/lib/site-packages/grpcio-1.60.1.dist-info/RECORD",
            "grpc/_cython/cygrpc.so,sha256=x,1\ngrpc/a.py,,\n",
        );
        write("opt/lib/site-packages/pip-23.dist-info/RECORD", "pip/a.py,,\n");
        write("var/lib/dpkg/info/libssl3:amd64.list", "/.\n/usr/lib/libssl.so.3\n");
        write("var/lib/dpkg/info/libold.list", "/lib/libold.so\n");
        let check = |path: &str, expected: Option<(&str, &str, Option<&str>)>| {
            let found = owner(root.path(), Path::new(path));
            let found = found.as_ref().map(|one| (one.ecosystem, one.package.as_str(), one.version.as_deref()));
            assert_eq!(found, expected, "{path}");
        };
        check("/opt/lib/site-packages/grpc/_cython/cygrpc.so", Some(("pypi", "grpcio", Some("1.60.1"))));
        check("/opt/lib/site-packages/grpc/_cython/other.so", None);
        check("/usr/lib/libssl.so.3", Some(("debian", "libssl3", None)));
        check("/usr/lib/libold.so", Some(("debian", "libold", None)));
        check("/usr/lib/libssl.so", None);
        check("libssl.so.3", None);
        let wheel = |path: &str| of_wheel(Path::new(path)).map(|owner| (owner.package, owner.version.unwrap()));
        let grpcio = Some(("grpcio".to_owned(), "1.60.1".to_owned()));
        assert_eq!(wheel("/a/grpcio-1.60.1-cp311-cp311-manylinux_2_17_x86_64.whl"), grpcio);
        assert_eq!(wheel("/a/grpcio-1.60.1-1-cp311-cp311-linux_x86_64.whl"), grpcio);
        assert_eq!(wheel("/a/grpcio.whl"), None);
    }
}
