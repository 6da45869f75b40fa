//! Kernels from Debian's registry, in a cache.
//!
//! ```text
//! kernels.toml ─> a private apt for each suite and architecture ─> the newest package of that line, at this moment
//!      ─> kernel and modules, each with its hash ─┬─> resolved.json: what was found, for a run without network
//!         the debug package, as it is             ┘
//! ```
//!
//! Packages vanish from the registry when newer ones replace them: the newest that can really be had is taken. What is in the cache is
//! checked before it is used; what is damaged is fetched again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail};
use apt::{AptRoot, Mirrors, Package, Suite};
use serde::{Deserialize, Serialize};

use crate::catalogue::{Architecture, Entry, Kernel};
use crate::kept::{self, Contents};
use crate::own;

/// The modules that objects and tests need, where they are not built in; none of them needs another one.
const MODULES: [&str; 6] = ["veth", "sch_ingress", "cls_bpf", "sch_tbf", "sch_netem", "tun"];

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Image {
    /// The package that it is of, and its version.
    pub package: String,
    /// That of the package.
    pub version: String,
    /// What is booted.
    pub kernel: PathBuf,
    /// In the order of insertion.
    pub modules: Vec<PathBuf>,
    /// What has its DWARF: a debug package, or a vmlinux. `None` where it was not asked for.
    pub debug: Option<PathBuf>,
    /// What was wished for and cannot be had.
    pub missing: Vec<String>,
}

/// Which packages a kernel of the catalogue is, as it was found last.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Resolved {
    image: Found,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    debug: Option<Found>,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    name: String,
    version: String,
    architecture: String,
    size: u64,
    sha256: String,
}

impl Found {
    fn of(package: &Package) -> Found {
        let Package { name, version, architecture, size, sha256 } = package.clone();
        Found { name, version, architecture, size, sha256 }
    }

    fn package(&self) -> Package {
        let Found { name, version, architecture, size, sha256 } = self.clone();
        Package { name, version, architecture, size, sha256 }
    }
}

/// Where what is downloaded stays: `$LCC_CACHE`, or `lcc` in the user's cache folder. An absolute path.
///
/// # Errors
/// None of `LCC_CACHE`, `XDG_CACHE_HOME` and `HOME` is set.
pub fn cache_folder() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("LCC_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("lcc")))
        .or_else(|| Some(variable("HOME")?.join(".cache/lcc")));
    std::path::absolute(folder.context("find the cache: set LCC_CACHE")?).context("find the cache")
}

/// The cache, and the registry behind it.
pub struct Store {
    cache: PathBuf,
    /// Without network: what is not in the cache is an error.
    offline: bool,
    mirrors: Option<Mirrors>,
    roots: Mutex<BTreeMap<String, Arc<AptRoot>>>,
}

impl Store {
    /// Opens the cache ([`cache_folder`], or another absolute path); makes it if need be.
    ///
    /// # Errors
    /// The machine's apt has no Debian mirror (unless offline), or the folder cannot be made.
    pub fn open(cache: &Path, offline: bool) -> Result<Store> {
        fs::create_dir_all(cache.join("matrix")).with_context(|| format!("create {}", cache.display()))?;
        let mirrors = if offline { None } else { Some(apt::mirrors(Path::new("/etc/apt"))?) };
        Ok(Store { cache: cache.to_owned(), offline, mirrors, roots: Mutex::default() })
    }

    /// A private apt of a suite and an architecture; updated once.
    ///
    /// # Errors
    /// There is no network.
    pub fn root(&self, suite: Suite, architecture: &str) -> Result<Arc<AptRoot>> {
        let Some(mirrors) = &self.mirrors else { bail!("it is not in the cache, and the registry is not asked") };
        let name = format!("{}-{architecture}", suite.name);
        let mut roots = self.roots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(root) = roots.get(&name) {
            return Ok(Arc::clone(root));
        }
        let root = Arc::new(AptRoot::open(self.cache.join("apt").join(&name), mirrors, suite, architecture)?);
        if let Some(why) = root.incomplete() {
            eprintln!("vm: {name}: the registry's index is not whole: {why}");
        }
        roots.insert(name, Arc::clone(&root));
        Ok(root)
    }

    /// A package as a file in the cache.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn package(&self, suite: Suite, architecture: &str, package: &Package) -> Result<PathBuf> {
        let folder = self.cache.join("debs");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        if self.offline {
            let path = folder.join(package.file_name());
            if !package.is_intact(&path)? {
                bail!("{}: missing or damaged, and the registry is not asked", path.display());
            }
            return Ok(path);
        }
        let root = self.root(suite, architecture)?;
        if !package.is_intact(&folder.join(package.file_name()))? {
            eprintln!("+ {} ({} MiB)", package.file_name(), package.size >> 20);
        }
        Ok(root.download(package, &folder)?)
    }

    /// The kernel of an entry.
    ///
    /// # Errors
    /// The registry has none, or it cannot be fetched, unpacked or built.
    pub fn image(&self, entry: &Entry) -> Result<Image> {
        let (kernel, suite) = (&entry.kernel, entry.suite()?);
        let image = match &kernel.source {
            Some(source) => self.built(kernel, suite, source),
            None => self.fetched(kernel, suite, entry.btf() == Some(crate::catalogue::Btf::Debug)),
        };
        image.with_context(|| format!("the kernel {}", kernel.name))
    }

    /// One that is built here.
    fn built(&self, kernel: &Kernel, suite: Suite, source: &str) -> Result<Image> {
        let package = match self.offline {
            true => self.resolved(&kernel.name)?.image.package(),
            false => newest(&*self.root(suite, "amd64")?, source)?,
        };
        let deb = self.package(suite, "amd64", &package)?;
        let fragments: Vec<&str> = kernel.config.iter().map(|name| own::fragment(name)).collect::<Result<_>>()?;
        let built = own::build(&own::Recipe { source: &deb, fragments: &fragments }, &self.cache)?;
        self.record(&kernel.name, Resolved { image: Found::of(&package), debug: None })?;
        Ok(Image {
            package: package.name,
            version: package.version,
            kernel: built.image,
            modules: Vec::new(),
            debug: Some(built.vmlinux),
            missing: Vec::new(),
        })
    }

    fn fetched(&self, kernel: &Kernel, suite: Suite, with_debug: bool) -> Result<Image> {
        let architecture = kernel.arch.name();
        if self.offline {
            let resolved = self.resolved(&kernel.name)?;
            return self.in_cache(kernel, suite, &resolved, with_debug);
        }
        let root = self.root(suite, architecture)?;
        let flavour = kernel.flavour.as_deref().unwrap_or_default();
        let mut why = Vec::new();
        for (name, release) in candidates(&root, kernel.line.as_deref(), flavour)? {
            let attempt = || -> Result<Image> {
                let image = newest(&root, &name)?;
                let debug = match with_debug {
                    true => Some(newest(&root, &format!("linux-image-{release}-dbg"))?),
                    false => None,
                };
                let resolved = Resolved { image: Found::of(&image), debug: debug.as_ref().map(Found::of) };
                let image = self.in_cache(kernel, suite, &resolved, with_debug)?;
                self.record(&kernel.name, resolved)?;
                Ok(image)
            };
            match attempt() {
                Ok(image) => return Ok(image),
                Err(error) => why.push(format!("{name}: {error:#}")),
            }
        }
        bail!(
            "the registry has no linux-image-{}*-{flavour} in {} that can be had; {}",
            kernel.line.as_deref().unwrap_or_default(),
            suite.name,
            why.join("; ")
        )
    }

    /// The packages' kernel, unpacked; fetched, if it is not there or damaged.
    fn in_cache(&self, kernel: &Kernel, suite: Suite, resolved: &Resolved, with_debug: bool) -> Result<Image> {
        let (package, architecture) = (resolved.image.package(), kernel.arch.name());
        let folder = self.cache.join("matrix").join(package.file_name().trim_end_matches(".deb"));
        let kept = Contents::of_intact(&folder).filter(|contents| contents.of == package.sha256);
        let contents = match kept {
            Some(contents) => contents,
            None if self.offline => bail!("{}: missing or damaged, and the registry is not asked", folder.display()),
            None => self.unpack(suite, architecture, &package, &folder)?,
        };
        let debug = match (&resolved.debug, with_debug) {
            (Some(debug), true) => Some(self.package(suite, architecture, &debug.package())?),
            (None, true) => bail!("its debug package was not looked for when it was fetched"),
            (_, false) => None,
        };
        let modules = MODULES.map(|module| format!("{module}.ko"));
        let modules = modules.iter().filter(|file| contents.files.contains_key(*file)).map(|file| folder.join(file));
        Ok(Image {
            package: package.name,
            version: package.version,
            kernel: folder.join(KERNEL),
            modules: modules.collect(),
            debug,
            missing: contents.missing,
        })
    }

    /// Fetches a package, takes out of it what is needed, and forgets the package.
    fn unpack(&self, suite: Suite, architecture: &str, package: &Package, folder: &Path) -> Result<Contents> {
        let parent = folder.parent().context("a folder with a parent")?;
        let fresh = tempfile::tempdir_in(parent).context("a folder to unpack into")?;
        let deb = self.package(suite, architecture, package)?;
        extract(&deb, fresh.path())?;
        let _ = fs::remove_file(&deb);
        let mut missing = Vec::new();
        // from 6.19 on modules are a package of their own
        let release = package.name.strip_prefix("linux-binary-");
        if let Some(modules) = release.map(|release| format!("linux-modules-{release}")) {
            let fetched = newest(&*self.root(suite, architecture)?, &modules)
                .and_then(|package| self.package(suite, architecture, &package))
                .and_then(|deb| extract(&deb, fresh.path()).map(|()| deb));
            match fetched {
                Ok(deb) => drop(fs::remove_file(deb)),
                Err(error) => missing.push(format!("{modules} cannot be had: {error:#}")),
            }
        }
        if !fresh.path().join(KERNEL).exists() {
            bail!("no kernel in the package");
        }
        Contents::keep(&fresh.keep(), folder, package.sha256.clone(), missing)
    }

    /// Packages, unpacked into one folder of the cache: made, unless it is there as it was written.
    ///
    /// # Errors
    /// The packages cannot be had, or dpkg-deb failed.
    pub fn folder(&self, name: &str, debs: impl FnOnce() -> Result<Vec<PathBuf>>) -> Result<PathBuf> {
        let parent = self.cache.join("matrix");
        let folder = parent.join(name);
        if Contents::of_intact(&folder).is_some() {
            return Ok(folder);
        }
        let debs = debs().with_context(|| format!("{}: missing or damaged", folder.display()))?;
        let fresh = tempfile::tempdir_in(&parent).context("a folder to unpack into")?;
        for deb in &debs {
            let status =
                Command::new("dpkg-deb").arg("-x").arg(deb).arg(fresh.path()).status().context("start dpkg-deb")?;
            if !status.success() {
                bail!("dpkg-deb -x {}: {status}", deb.display());
            }
        }
        let names = debs.iter().filter_map(|deb| deb.file_name()?.to_str());
        Contents::keep(&fresh.keep(), &folder, names.collect::<Vec<_>>().join(" "), Vec::new())?;
        Ok(folder)
    }

    fn records(&self) -> PathBuf {
        self.cache.join("matrix/resolved.json")
    }

    fn resolved(&self, kernel: &str) -> Result<Resolved> {
        let records = read_records(&self.records())?;
        records.get(kernel).cloned().ok_or_else(|| anyhow!("it was never fetched, and the registry is not asked"))
    }

    /// Notes what a kernel was found to be. The debug package that is known of the same image stays known: another entry of the
    /// kernel may need it, and have been first.
    fn record(&self, kernel: &str, mut resolved: Resolved) -> Result<()> {
        let _lock = kept::lock(&self.cache.join("matrix"))?;
        let path = self.records();
        let mut records = read_records(&path)?;
        if let Some(known) = records.remove(kernel).filter(|known| known.image.sha256 == resolved.image.sha256) {
            resolved.debug = resolved.debug.or(known.debug);
        }
        records.insert(kernel.to_owned(), resolved);
        let text = serde_json::to_vec_pretty(&records).context("write JSON")?;
        let mut file = tempfile::NamedTempFile::new_in(self.cache.join("matrix")).context("a temporary file")?;
        std::io::Write::write_all(&mut file, &text).with_context(|| format!("write {}", path.display()))?;
        file.persist(&path).with_context(|| format!("write {}", path.display()))?;
        Ok(())
    }
}

fn read_records(path: &Path) -> Result<BTreeMap<String, Resolved>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("read {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn newest(root: &AptRoot, name: &str) -> Result<Package> {
    root.newest(&[name.to_owned()])?.pop().with_context(|| format!("the record of {name}"))
}

/// What the kernel is called in its folder.
const KERNEL: &str = "vmlinuz";

/// Takes the kernel and the modules that there are out of a package.
fn extract(deb: &Path, folder: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir_in(folder.parent().context("a folder with a parent")?).context("a folder")?;
    let mut packer = Command::new("dpkg-deb");
    packer.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()).stdin(Stdio::null());
    let mut packing = packer.spawn().context("start dpkg-deb")?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "--wildcards", "--no-anchored", "-C"]).arg(unpacked.path()).arg("vmlinuz*");
    tar.args(MODULES.map(|module| format!("{module}.ko*")));
    // what is not there is no error
    tar.stdin(packing.stdout.take().context("dpkg-deb's output")?).stderr(Stdio::null());
    tar.status().context("start tar")?;
    drop(tar);
    let packed = packing.wait().context("wait for dpkg-deb")?;
    if !packed.success() {
        bail!("{}: dpkg-deb: {packed}", deb.display());
    }
    let mut open = vec![unpacked.path().to_path_buf()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(&inner).with_context(|| format!("list {}", inner.display()))?.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().context("a file's type")?;
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && name.starts_with(KERNEL) {
                fs::rename(&path, folder.join(KERNEL)).context("move the kernel")?;
            } else if kind.is_file() && name.contains(".ko") {
                let path = uncompressed(path)?;
                let name = path.file_name().unwrap_or_default().to_owned();
                fs::rename(&path, folder.join(name)).context("move a module")?;
            }
        }
    }
    Ok(())
}

/// A module as the kernel takes it.
fn uncompressed(mut path: PathBuf) -> Result<PathBuf> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return Ok(path),
    };
    let status =
        Command::new(program).args(["-d", "-q"]).arg(&path).status().with_context(|| format!("start {program}"))?;
    if !status.success() {
        bail!("{program} -d {}: {status}", path.display());
    }
    path.set_extension("");
    Ok(path)
}

/// The packages of a line and flavour, newest first: their names, and the releases with the flavour.
fn candidates(root: &AptRoot, line: Option<&str>, flavour: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    // from 6.19 on linux-image-* is a metapackage, and the kernel is in linux-binary-*: of one release that comes first
    for prefix in ["linux-binary-", "linux-image-"] {
        for name in root.names(&format!("{prefix}{}", line.unwrap_or_default()))? {
            let Some(release) = name.strip_prefix(prefix).filter(|release| is_of(release, line, flavour)) else {
                continue;
            };
            found.push((numbers(release), name.clone(), release.to_owned()));
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    Ok(found.into_iter().map(|(_, name, release)| (name, release)).collect())
}

/// `6.1.0-56-cloud-amd64` of line 6.1 and flavour cloud-amd64; not a metapackage's `6.1-cloud-amd64`, nor another flavour's
/// `6.1.0-56-rt-amd64`, nor a debug package.
fn is_of(release: &str, line: Option<&str>, flavour: &str) -> bool {
    let Some(version) = release.strip_suffix(flavour).and_then(|rest| rest.strip_suffix('-')) else { return false };
    let mut parts = version.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let is_version = |c: char| c.is_ascii_digit() || "+-.deb".contains(c);
    let first = major.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    first && rest.chars().all(is_version) && line.is_none_or(|line| line == format!("{major}.{minor}"))
}

/// The numbers in a release, to compare.
fn numbers(release: &str) -> Vec<u64> {
    let digits = |c: char| !c.is_ascii_digit();
    release.split(digits).filter_map(|part| part.parse().ok()).collect()
}

/// Programs of a package and all that they need, for a root folder of the guest: the files, by their paths there.
///
/// # Errors
/// The packages cannot be had.
pub fn programs(store: &Store, architecture: Architecture, packages: &[&str]) -> Result<PathBuf> {
    let (suite, name) = (Suite::BOOKWORM, architecture.name());
    store.folder(&format!("programs-{}-{name}", packages.join("-")), || {
        let root = store.root(suite, name)?;
        let mut needed = Vec::new();
        for package in packages {
            needed.extend(root.closure(package)?);
        }
        needed.sort_by(|a, b| a.name.cmp(&b.name));
        needed.dedup();
        needed.iter().map(|package| store.package(suite, name, package)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 6.1-686-pae is booted with its DWARF, and 6.1-686-pae+packed without: in whichever order, both are there offline.
    #[test]
    fn a_debug_package_is_not_forgotten_by_an_entry_that_needs_none() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::open(cache.path(), true).unwrap();
        let found = |name: &str, version: &str| Found {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "i386".to_owned(),
            size: 1,
            sha256: format!("{name} {version}"),
        };
        let debug = || Some(found("debug", "1"));
        let known = || store.resolved("6.1-686-pae").unwrap().debug.map(|debug| debug.version);
        store.record("6.1-686-pae", Resolved { image: found("image", "1"), debug: debug() }).unwrap();
        store.record("6.1-686-pae", Resolved { image: found("image", "1"), debug: None }).unwrap();
        assert_eq!(known().as_deref(), Some("1"));
        // that of another image is not this one's
        store.record("6.1-686-pae", Resolved { image: found("image", "2"), debug: None }).unwrap();
        assert_eq!(known(), None);
    }

    #[test]
    fn releases_are_told_from_their_names() {
        let check = |release, line, flavour, expected| assert_eq!(is_of(release, line, flavour), expected, "{release}");
        check("6.1.0-56-cloud-amd64", Some("6.1"), "cloud-amd64", true);
        check("6.1.0-56-cloud-amd64", Some("6.12"), "cloud-amd64", false);
        check("6.1.0-56-cloud-amd64", Some("6.1"), "amd64", false);
        check("6.1-cloud-amd64", Some("6.1"), "cloud-amd64", false);
        check("6.1.0-56-cloud-amd64-dbg", Some("6.1"), "cloud-amd64", false);
        check("6.1.0-56-rt-amd64", Some("6.1"), "amd64", false);
        check("6.1.0-56-amd64", Some("6.1"), "amd64", true);
        check("6.1.0-50-686-pae", Some("6.1"), "686-pae", true);
        check("6.1.0-50-rt-686-pae", Some("6.1"), "686-pae", false);
        check("7.3.4+deb13-cloud-amd64", None, "cloud-amd64", true);
        assert!(numbers("7.3.4+deb13-cloud-amd64") > numbers("7.2.12+deb13-cloud-amd64"));
    }
}
