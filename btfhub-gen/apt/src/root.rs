//! A private apt: its own lists and cache for one suite and architecture, nothing of the system's touched.

use crate::sources::{Mirror, Mirrors};
use crate::{Error, Result, Suite};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's own keyring, for sources that name none.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One package as the registry has it now.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, with its epoch.
    pub version: String,
    /// Its architecture, by Debian's name; `all` where it is for all.
    pub architecture: String,
    /// Bytes of the file.
    pub size: u64,
    /// Of the file, in hexadecimal digits.
    pub sha256: String,
}

impl Package {
    /// The name that apt-get gives the downloaded file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    /// Whether a file is this package, by its size and hash.
    ///
    /// # Errors
    /// It is there, and `sha256sum` cannot read it.
    pub fn is_intact(&self, path: &Path) -> Result<bool> {
        let found = std::fs::symlink_metadata(path).ok().filter(|meta| meta.is_file());
        if found.map(|meta| meta.len()) != Some(self.size) {
            return Ok(false);
        }
        let printed = stdout_of(Command::new("sha256sum").arg(path))?;
        Ok(printed.trim_start_matches('\\').starts_with(&self.sha256))
    }
}

/// A private apt root that has been updated.
#[derive(Debug)]
pub struct AptRoot {
    folder: PathBuf,
    incomplete: Option<String>,
}

impl AptRoot {
    /// Creates the root below `folder`, an absolute path, if need be, and runs `apt-get update` in it. Where that fails and the suite's
    /// own index is there, the root is of what there is ([`AptRoot::incomplete`]): a mirror in the middle of its own update is no reason
    /// to have nothing, and packages have their hashes.
    ///
    /// # Errors
    /// A file cannot be written, or apt-get failed.
    pub fn open(folder: PathBuf, mirrors: &Mirrors, suite: Suite, architecture: &str) -> Result<Self> {
        create(&folder.join("state/lists/partial"))?;
        create(&folder.join("cache/archives/partial"))?;
        write(&folder.join("state/status"), "")?;
        write(&folder.join("sources.list"), &source_lines(mirrors, suite, architecture))?;
        write(&folder.join("apt.conf"), &configuration(&folder, architecture))?;
        let mut root = Self { folder, incomplete: None };
        // apt does not wait for another process that updates the same folder
        let lock = root.folder.join("lock");
        let _lock = File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(Error::io(&lock))?;
        match stdout_of(root.apt("apt-get").args(["-qq", "update"])) {
            Ok(_) => {}
            Err(error) if has_index(&root.folder, suite, architecture) => {
                tracing::warn!("{error}");
                root.incomplete = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(root)
    }

    /// Why not all indexes are those of now, if so.
    #[must_use]
    pub fn incomplete(&self) -> Option<&str> {
        self.incomplete.as_deref()
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env("LC_ALL", "C").env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    /// The names of all packages that begin with `prefix`.
    ///
    /// # Errors
    /// apt-cache failed.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let listed = stdout_of(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// The newest version of each of these packages.
    ///
    /// # Errors
    /// apt-cache failed, a package is unknown, or its record lacks a field.
    pub fn newest(&self, names: &[String]) -> Result<Vec<Package>> {
        self.show(names, &["--no-all-versions"])
    }

    /// Every version of each of these packages, of all the suite's pockets.
    ///
    /// # Errors
    /// As [`AptRoot::newest`].
    pub fn versions(&self, names: &[String]) -> Result<Vec<Package>> {
        self.show(names, &["--all-versions"])
    }

    fn show(&self, names: &[String], options: &[&str]) -> Result<Vec<Package>> {
        let records = stdout_of(self.apt("apt-cache").arg("show").args(options).args(names))?;
        let found: Vec<Package> = records.split("\n\n").filter_map(parse_record).collect();
        match names.iter().find(|name| !found.iter().any(|package| package.name == **name)) {
            Some(name) => Err(Error::Unknown { package: name.clone() }),
            None => Ok(found),
        }
    }

    /// A package and everything it needs to run, down to the C library.
    ///
    /// # Errors
    /// apt-cache failed or the package is unknown.
    pub fn closure(&self, name: &str) -> Result<Vec<Package>> {
        const NOT: [&str; 6] =
            ["--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"];
        let listed = stdout_of(self.apt("apt-cache").args(["depends", "--recurse"]).args(NOT).arg(name))?;
        self.newest(&closure_names(&listed))
    }

    /// Downloads into `folder`, through `folder/partial`, and checks size and hash; a file that is there and right
    /// is kept.
    ///
    /// # Errors
    /// apt-get failed (the package may have vanished since the update), the disk is too full, or the file is not
    /// the one that the registry's signed index describes.
    pub fn download(&self, package: &Package, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(package.file_name());
        if package.is_intact(&path)? {
            return Ok(path);
        }
        let partial = folder.join("partial");
        create(&partial)?;
        require_free(folder, package.size)?;
        let mut command = self.apt("apt-get");
        command.current_dir(&partial).args(["-qq", "download"]).arg(format!("{}={}", package.name, package.version));
        stdout_of(&mut command)?;
        let downloaded = partial.join(package.file_name());
        if !package.is_intact(&downloaded)? {
            return Err(Error::Differs { path: downloaded, size: package.size, sha256: package.sha256.clone() });
        }
        std::fs::rename(&downloaded, &path).map_err(Error::io(&path))?;
        Ok(path)
    }
}

/// Whether the index of the suite itself is there, whatever those of its other pockets are.
fn has_index(folder: &Path, suite: Suite, architecture: &str) -> bool {
    let index = format!("_dists_{}_main_binary-{architecture}_Packages", suite.name);
    let lists = std::fs::read_dir(folder.join("state/lists")).into_iter().flatten().flatten();
    lists.into_iter().any(|list| list.file_name().to_string_lossy().contains(&index))
}

fn create(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(Error::io(path))
}

/// Runs a program and returns what it prints.
fn stdout_of(command: &mut Command) -> Result<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let described = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    tracing::info!("{described}");
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return Err(Error::Program { command: described, said: error.to_string() }),
    };
    if !output.status.success() {
        let said = format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        return Err(Error::Program { command: described, said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// apt.conf(5). The machine's own settings (a proxy, say) still apply; its sources and pins do not.
fn configuration(folder: &Path, architecture: &str) -> String {
    let folder = folder.display();
    format!(
        "Dir::State \"{folder}/state\";\nDir::State::status \"{folder}/state/status\";\n\
         Dir::Cache \"{folder}/cache\";\nDir::Etc::sourcelist \"{folder}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\nAPT::Architecture \"{architecture}\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\nAcquire::Languages \"none\";\n\
         Acquire::Check-Valid-Until \"false\"; // old suites are no longer signed anew\n\
         APT::Sandbox::User \"root\";\n"
    )
}

fn source_lines(mirrors: &Mirrors, suite: Suite, architecture: &str) -> String {
    let line = |mirror: &Mirror, suite: String| {
        let keyring = mirror.signed_by.clone().unwrap_or_else(|| DEBIAN_KEYRING.into());
        let trust = if keyring.exists() { format!("signed-by={} ", keyring.display()) } else { String::new() };
        format!("deb [{trust}arch={architecture}] {} {suite} main\n", mirror.uri)
    };
    let mut lines = line(&mirrors.main, suite.name.to_owned());
    if let (true, Some(security)) = (suite.security, &mirrors.security) {
        lines += &line(security, format!("{}-security", suite.name));
    }
    if suite.backports {
        lines += &line(&mirrors.main, format!("{}-backports", suite.name));
    }
    lines
}

fn parse_record(record: &str) -> Option<Package> {
    let field = |name: &str| {
        record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(|value| value.trim().to_owned())
    };
    let package = Package {
        name: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
        size: field("Size")?.parse().ok()?,
        sha256: field("SHA256")?,
    };
    // they become the names of files
    let is_made_of = |text: &str, more: &[u8]| {
        text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let is_sane = is_made_of(&package.name, b"+-.")
        && is_made_of(&package.version, b"+-.~:")
        && is_made_of(&package.architecture, b"-")
        && package.sha256.len() == 64
        && package.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_sane.then_some(package)
}

/// The real packages in `apt-cache depends --recurse`'s output: lines without indentation; `<x>` is virtual.
fn closure_names(listed: &str) -> Vec<String> {
    let names = listed.lines().filter(|line| !line.starts_with([' ', '|', '<']) && !line.is_empty());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Fails where the file system of `folder` has less than `bytes` and a gibibyte's reserve.
///
/// # Errors
/// Too little is free, or the file system does not say.
pub fn require_free(folder: &Path, bytes: u64) -> Result<()> {
    const RESERVE: u64 = 1 << 30;
    let said = rustix::fs::statvfs(folder).map_err(|error| Error::io(folder)(error.into()))?;
    let (free, needed) = (said.f_bavail.saturating_mul(said.f_frsize), bytes.saturating_add(RESERVE));
    if free < needed {
        return Err(Error::Full { folder: folder.to_owned(), free: free >> 20, needed: needed >> 20 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        fn check(record: &str, expected: Option<&str>) {
            assert_eq!(parse_record(record).map(|package| package.file_name()).as_deref(), expected, "{record}");
        }
        let whole = "Package: libbpf1\nVersion: 1:1.7.0-1\nArchitecture: amd64\nSize: 178912\nSHA256: ab\n";
        let whole = whole.replace("ab\n", &("ab".repeat(32) + "\n"));
        check(&whole, Some("libbpf1_1%3a1.7.0-1_amd64.deb"));
        check(&whole.replace("SHA256: ", "SHA1: "), None);
        check(&whole.replace("SHA256: ab", "SHA256: "), None);
        check(&whole.replace("libbpf1", "../libbpf1"), None);
        check(&whole.replace("1:1.7.0-1", "1:/../../1.7.0-1"), None);
        check(&whole.replace("amd64", "amd64/.."), None);
        check(&whole.replace("178912", "x"), None);
        check("", None);
    }

    #[test]
    fn dependency_closures() {
        let listed = "pahole\n  Depends: libbpf1\n |Depends: <a>\nlibbpf1\n  Depends: libc6\n<a>\nlibc6\nlibbpf1\n";
        assert_eq!(closure_names(listed), ["libbpf1", "libc6", "pahole"]);
    }

    #[test]
    fn sources() {
        let mirror = |uri: &str| Mirror { uri: uri.into(), signed_by: Some("/nonexistent".into()) };
        let mirrors = Mirrors { main: mirror("m:"), security: Some(mirror("s:")) };
        assert_eq!(
            source_lines(&mirrors, Suite::TRIXIE, "arm64"),
            "deb [arch=arm64] m: trixie main\ndeb [arch=arm64] s: trixie-security main\n\
             deb [arch=arm64] m: trixie-backports main\n"
        );
        assert_eq!(source_lines(&mirrors, Suite::SID, "amd64"), "deb [arch=amd64] m: sid main\n");
    }

    #[test]
    fn a_file_must_be_the_one_described() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.deb");
        let package = Package {
            name: "x".into(),
            version: "1".into(),
            architecture: "all".into(),
            size: 3,
            // sha256 of "abc", FIPS 180-2 appendix B.1
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
        };
        let check = |content: Option<&str>, expected: bool| {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            assert_eq!(package.is_intact(&path).unwrap(), expected, "{content:?}");
        };
        check(None, false);
        check(Some("ab"), false);
        check(Some("abd"), false);
        check(Some("abc"), true);
    }

    #[test]
    fn free_space() {
        let folder = tempfile::tempdir().unwrap();
        require_free(folder.path(), 0).unwrap();
        assert!(require_free(folder.path(), u64::MAX >> 2).is_err());
    }

    #[test]
    fn the_suites_own_index_is_told_from_those_of_its_pockets() {
        let folder = tempfile::tempdir().unwrap();
        let lists = folder.path().join("state/lists");
        std::fs::create_dir_all(&lists).unwrap();
        let check = |expected| assert_eq!(has_index(folder.path(), Suite::BOOKWORM, "i386"), expected);
        check(false);
        std::fs::write(lists.join("mirror_debian-security_dists_bookworm-security_main_binary-i386_Packages"), "")
            .unwrap();
        check(false);
        std::fs::write(lists.join("mirror_debian_dists_bookworm_main_binary-amd64_Packages"), "").unwrap();
        check(false);
        std::fs::write(lists.join("mirror_debian_dists_bookworm_main_binary-i386_Packages.lz4"), "").unwrap();
        check(true);
    }
}
