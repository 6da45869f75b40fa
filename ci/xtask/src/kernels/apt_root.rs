//! A private apt: its own lists and cache for one suite and architecture, nothing of the system's touched.

use super::apt_sources::{Mirror, Mirrors};
use super::catalogue::Suite;
use crate::process;
use anyhow::{Context, Result, bail};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's own keyring, for sources that name none.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One package as the registry has it now.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

impl Package {
    /// The name that apt-get gives the downloaded file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }
}

/// A private apt root that has been updated.
pub(crate) struct AptRoot {
    folder: PathBuf,
}

impl AptRoot {
    /// Creates the root below `folder` if need be, and runs `apt-get update` in it.
    ///
    /// # Errors
    /// A file cannot be written, or apt-get failed.
    pub(crate) fn open(folder: PathBuf, mirrors: &Mirrors, suite: Suite, architecture: &str) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).with_context(|| format!("create {}", part.display()))?;
        }
        write(&folder.join("state/status"), "")?;
        write(&folder.join("sources.list"), &source_lines(mirrors, suite, architecture))?;
        write(&folder.join("apt.conf"), &configuration(&folder, architecture))?;
        let root = Self { folder };
        process::run(root.apt("apt-get").args(["-qq", "update"]).stdout(std::io::stderr()))?;
        Ok(root)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = process::command(program, &self.folder);
        command.env("LC_ALL", "C").env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    /// The names of all packages that begin with `prefix`.
    ///
    /// # Errors
    /// apt-cache failed.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let listed = process::stdout_of(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// The newest version of each of these packages.
    ///
    /// # Errors
    /// apt-cache failed, a package is unknown, or its record lacks a field.
    pub(crate) fn newest(&self, names: &[String]) -> Result<Vec<Package>> {
        let records = process::stdout_of(self.apt("apt-cache").args(["show", "--no-all-versions"]).args(names))?;
        let found: Vec<Package> = records.split("\n\n").filter_map(parse_record).collect();
        for name in names {
            if !found.iter().any(|package| package.name == *name) {
                bail!("the registry has no usable record of {name}");
            }
        }
        Ok(found)
    }

    /// A package and everything it needs to run, down to the C library.
    ///
    /// # Errors
    /// apt-cache failed or the package is unknown.
    pub(crate) fn closure(&self, name: &str) -> Result<Vec<Package>> {
        const NOT: [&str; 6] =
            ["--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"];
        let listed = process::stdout_of(self.apt("apt-cache").args(["depends", "--recurse"]).args(NOT).arg(name))?;
        self.newest(&closure_names(&listed))
    }

    /// Downloads into `folder`, through `folder/partial`, and checks size and hash; a file that is there and right
    /// is kept.
    ///
    /// # Errors
    /// apt-get failed (the package may have vanished since the update), the disk is too full, or the file is not
    /// the one that the registry's signed index describes.
    pub(crate) fn download(&self, package: &Package, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(package.file_name());
        if is_intact(package, &path)? {
            return Ok(path);
        }
        require_free(folder, package.size)?;
        let partial = folder.join("partial");
        std::fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
        let mut command = self.apt("apt-get");
        command.current_dir(&partial).args(["-q", "download"]).arg(format!("{}={}", package.name, package.version));
        process::run(command.stdout(std::io::stderr()))?;
        let downloaded = partial.join(package.file_name());
        if !is_intact(package, &downloaded)? {
            bail!("{}: not the {} bytes with sha256 {}", downloaded.display(), package.size, package.sha256);
        }
        std::fs::rename(&downloaded, &path).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
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
    Some(Package {
        name: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
        size: field("Size")?.parse().ok()?,
        sha256: field("SHA256")?,
    })
}

/// The real packages in `apt-cache depends --recurse`'s output: lines without indentation; `<x>` is virtual.
fn closure_names(listed: &str) -> Vec<String> {
    let names = listed.lines().filter(|line| !line.starts_with([' ', '|', '<']) && !line.is_empty());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

fn is_intact(package: &Package, path: &Path) -> Result<bool> {
    if std::fs::metadata(path).map(|meta| meta.len()).ok() != Some(package.size) {
        return Ok(false);
    }
    let printed = process::stdout_of(process::command("sha256sum", Path::new("/")).arg(path))?;
    Ok(printed.trim_start_matches('\\').starts_with(&package.sha256))
}

/// Debian's order of versions, deb-version(7): pieces of non-digits and of digits in turn, `~` before everything.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    let split = |version: &str| {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch.parse::<u64>().unwrap_or(0), upstream.to_owned(), revision.to_owned())
    };
    let (a, b) = (split(a), split(b));
    a.0.cmp(&b.0).then_with(|| compare_part(&a.1, &b.1)).then_with(|| compare_part(&a.2, &b.2))
}

fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    fn weight(letter: Option<u8>) -> i32 {
        match letter {
            Some(b'~') => -1,
            None => 0,
            Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
            Some(letter) => i32::from(letter) + 256,
        }
    }
    fn take<'a>(text: &mut &'a str, digits: bool) -> &'a str {
        let end = text.find(|letter: char| letter.is_ascii_digit() != digits).unwrap_or(text.len());
        let (head, tail) = text.split_at(end);
        *text = tail;
        head
    }
    while !a.is_empty() || !b.is_empty() {
        let (x, y) = (take(&mut a, false).as_bytes(), take(&mut b, false).as_bytes());
        for at in 0..=x.len().max(y.len()) {
            match weight(x.get(at).copied()).cmp(&weight(y.get(at).copied())) {
                Ordering::Equal => {}
                different => return different,
            }
        }
        let number = |digits: &str| digits.parse::<u128>().unwrap_or(0);
        match number(take(&mut a, true)).cmp(&number(take(&mut b, true))) {
            Ordering::Equal => {}
            different => return different,
        }
    }
    Ordering::Equal
}

/// Fails where the file system of `folder` has less than `bytes` and a gibibyte's reserve.
///
/// # Errors
/// Too little is free, or df failed.
pub(crate) fn require_free(folder: &Path, bytes: u64) -> Result<()> {
    const RESERVE: u64 = 1 << 30;
    let printed =
        process::stdout_of(process::command("df", Path::new("/")).args(["--output=avail", "-B1"]).arg(folder))?;
    let free: u64 = printed.split_whitespace().last().unwrap_or_default().parse().context("read df's output")?;
    if free < bytes + RESERVE {
        bail!("{}: {} MiB free, {} MiB needed", folder.display(), free >> 20, (bytes + RESERVE) >> 20);
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
        check(whole, Some("libbpf1_1%3a1.7.0-1_amd64.deb"));
        check(&whole.replace("SHA256: ab\n", ""), None);
        check(&whole.replace("178912", "x"), None);
        check("", None);
    }

    #[test]
    fn version_order() {
        fn check(newer: &str, older: &str) {
            let dpkg = std::process::Command::new("dpkg").args(["--compare-versions", newer, "gt", older]).status();
            assert!(dpkg.unwrap().success(), "dpkg itself: {newer} > {older}");
            assert_eq!(compare_versions(newer, older), Ordering::Greater, "{newer} > {older}");
            assert_eq!(compare_versions(older, newer), Ordering::Less, "{older} < {newer}");
            assert_eq!(compare_versions(newer, newer), Ordering::Equal);
        }
        check("6.1.192-2", "6.1.176-1");
        check("6.12.117-1", "6.2.1-1");
        check("7.3.4-1", "7.3.4-1~bpo13+1");
        check("7.3.4-1~bpo13+2", "7.3.4-1~bpo13+1");
        check("1:1.7.0-1", "2.0-1");
        check("1.0+b1", "1.0");
        check("1.0a", "1.0");
        check("1.0", "1.0~rc1");
        check("1.0-1.1", "1.0-1");
        check("5.10.262-1", "5.10.46-4");
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
        let suite = Suite { name: "trixie", security: true, backports: true };
        assert_eq!(
            source_lines(&mirrors, suite, "arm64"),
            "deb [arch=arm64] m: trixie main\ndeb [arch=arm64] s: trixie-security main\n\
             deb [arch=arm64] m: trixie-backports main\n"
        );
        let suite = Suite { name: "sid", security: false, backports: false };
        assert_eq!(source_lines(&mirrors, suite, "amd64"), "deb [arch=amd64] m: sid main\n");
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
            assert_eq!(is_intact(&package, &path).unwrap(), expected, "{content:?}");
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
}
