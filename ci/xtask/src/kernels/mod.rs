//! `cargo xtask kernels`: real kernels and newer tools from Debian's registry, cached outside git.
//!
//! ```text
//! /etc/apt/sources.list… ─> mirrors ─> a private apt per suite and architecture
//!      ─> the newest matching package at this moment ─> debs/ (size and sha256 checked)
//!      ─> kernels/<line>-<architecture>/boot/vmlinux-<release>, tools/<name>-<version>/run
//! ```
//!
//! Packages vanish when a newer one replaces them, so nothing is pinned: what was found is recorded in
//! `kernels.json` in the cache.

mod catalogue;
mod unpack;

use crate::{process, setup, workspace};
use anyhow::{Context, Result, bail};
use apt::{AptRoot, Package};
use catalogue::{KERNELS, TOOLS, WantedKernel, WantedTool};
use lcc_vm::fetch::Store;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to fetch; without a restriction, everything in the catalogue.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only this kernel line (5.10, 6.1, 6.12, newest); repeatable.
    #[arg(long)]
    line: Vec<String>,
    /// Only this architecture, by Debian's name; repeatable.
    #[arg(long)]
    arch: Vec<String>,
    /// Only the newer tools.
    #[arg(long, conflicts_with_all = ["line", "arch", "no_tools"])]
    only_tools: bool,
    /// No newer tools.
    #[arg(long)]
    no_tools: bool,
    /// Only say what is in the cache.
    #[arg(long)]
    list: bool,
}

/// A vmlinux with DWARF in the cache.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct CachedKernel {
    /// `<line>-<architecture>`.
    pub(crate) name: String,
    pub(crate) vmlinux: PathBuf,
}

/// A tool in the cache.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct CachedTool {
    /// `<program>-<version>`.
    pub(crate) name: String,
    /// Runs it with its own libraries.
    pub(crate) run: PathBuf,
}

/// Fetches what is asked for and prints one line for each kernel and tool.
///
/// # Errors
/// The machine's apt has no Debian mirror, a package is not there, a download or unpacking failed, the disk is
/// too full. What was complete by then stays in the cache, and a second run goes on from there.
pub(crate) fn run(args: &Args) -> Result<()> {
    let cache = workspace::cache()?;
    if args.list {
        for kernel in cached_kernels()? {
            println!("{}\t{}", kernel.name, kernel.vmlinux.display());
        }
        for tool in cached_tools("")? {
            println!("{}\t{}", tool.name, tool.run.display());
        }
        return Ok(());
    }
    setup::install_missing()?;
    let store = Store::open(&cache, false)?;
    if !args.no_tools && args.line.is_empty() && args.arch.is_empty() {
        let host = process::stdout_of(process::command("dpkg", Path::new("/")).arg("--print-architecture"))?;
        for tool in TOOLS {
            let root = store.root(tool.suite, host.trim())?;
            println!("{}", fetch_tool(&root, tool, &cache)?.display());
        }
    }
    if args.only_tools {
        return Ok(());
    }
    let wanted = KERNELS.iter().filter(|kernel| {
        (args.line.is_empty() || args.line.iter().any(|asked| asked == kernel.line.unwrap_or(NEWEST)))
            && (args.arch.is_empty() || args.arch.iter().any(|asked| asked == kernel.architecture))
    });
    let wanted: Vec<&WantedKernel> = wanted.collect();
    if wanted.is_empty() {
        bail!("no kernel in the catalogue is of that line and architecture");
    }
    let mut found = Vec::new();
    let mut failed = Vec::new();
    for kernel in wanted {
        match store.root(kernel.suite, kernel.architecture).and_then(|root| fetch_kernel(&root, kernel, &cache)) {
            Ok((package, vmlinux)) => {
                println!("{}", vmlinux.display());
                found.push((package, vmlinux));
            }
            Err(error) => {
                let name = format!("{} {}", kernel.line.unwrap_or(NEWEST), kernel.architecture);
                eprintln!("kernels: {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    record(&cache, &found)?;
    if !failed.is_empty() {
        bail!("kernels: not fetched: {}", failed.join(", "));
    }
    Ok(())
}

/// As [`AptRoot::download`], and says so: some take minutes.
pub(crate) fn download(root: &AptRoot, package: &Package, folder: &Path) -> Result<PathBuf> {
    eprintln!("+ {} ({} MiB)", package.file_name(), package.size >> 20);
    Ok(root.download(package, folder)?)
}

/// Fetches everything in the catalogue.
///
/// # Errors
/// As [`run`].
pub(crate) fn fetch_all() -> Result<()> {
    run(&Args::default())
}

/// What `--line` calls the newest kernel of all.
const NEWEST: &str = "newest";

/// The debug packages of that line, newest first; not real-time, cloud or 16k kernels.
fn candidates(root: &AptRoot, wanted: &WantedKernel) -> Result<Vec<Package>> {
    let prefix = format!("linux-image-{}", wanted.line.unwrap_or_default());
    let mut names = root.names(&prefix)?;
    names.retain(|name| release_of(name, wanted).is_some());
    if names.is_empty() {
        bail!("the registry has no {prefix}*-{}-dbg in {}", wanted.flavour(), wanted.suite.name);
    }
    let mut packages = root.newest(&names)?;
    packages.sort_by(|a, b| apt::compare_versions(&b.version, &a.version).then_with(|| a.name.cmp(&b.name)));
    Ok(packages)
}

/// `linux-image-6.1.0-56-amd64-dbg` → `6.1.0-56`, if it is of that line and the plain flavour. Metapackages
/// (`linux-image-6.1-amd64-dbg`) have a release of two numbers only.
fn release_of<'a>(name: &'a str, wanted: &WantedKernel) -> Option<&'a str> {
    let release = name.strip_prefix("linux-image-")?.strip_suffix("-dbg")?.strip_suffix(wanted.flavour())?;
    let release = release.strip_suffix('-')?;
    let mut numbers = release.splitn(3, '.');
    let line = (numbers.next()?, numbers.next()?);
    numbers.next()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(line.0)
        || !is_number(line.1)
        || release.split(['-', '+', '.']).any(|part| part == "rt" || part == "cloud")
    {
        return None;
    }
    let of_line = |asked: &str| asked.split_once('.') == Some(line);
    wanted.line.is_none_or(of_line).then_some(release)
}

/// The newest package of that line that the registry really gives, and its vmlinux in the cache.
///
/// # Errors
/// No package can be had (each failure is said on stderr), or it cannot be unpacked.
fn fetch_kernel(root: &AptRoot, wanted: &WantedKernel, cache: &Path) -> Result<(Package, PathBuf)> {
    for package in candidates(root, wanted)? {
        let release = release_of(&package.name, wanted).context("read the kernel's release from the package's name")?;
        let line: Vec<&str> = release.splitn(3, '.').take(2).collect();
        let folder = cache.join("kernels").join(format!("{}-{}", line.join("."), wanted.architecture));
        let vmlinux = folder.join("boot").join(format!("vmlinux-{release}-{}", wanted.flavour()));
        if vmlinux.is_file() {
            return Ok((package, vmlinux));
        }
        match download(root, &package, &workspace::create(cache.join("debs"))?) {
            Ok(deb) => {
                unpack::vmlinux(&deb, &vmlinux)?;
                return Ok((package, vmlinux));
            }
            // The index may name packages that are gone.
            Err(error) => eprintln!("kernels: {} {}: {error:#}; trying the one before", package.name, package.version),
        }
    }
    bail!("none of the packages that the index names can be had")
}

/// Downloads a tool with its libraries and unpacks them into one folder.
fn fetch_tool(root: &AptRoot, wanted: &WantedTool, cache: &Path) -> Result<PathBuf> {
    let packages = root.closure(wanted.package)?;
    let tool = packages.iter().find(|package| package.name == wanted.package).context("find the tool itself")?;
    let upstream = tool.version.split_once(':').map_or(&*tool.version, |(_epoch, rest)| rest);
    let upstream = upstream.split(['-', '+']).next().unwrap_or(upstream);
    let folder = cache.join("tools").join(format!("{}-{upstream}", wanted.package));
    let run = folder.join("run");
    if !run.is_file() {
        let debs = workspace::create(cache.join("debs"))?;
        let files = packages.iter().map(|package| download(root, package, &debs)).collect::<Result<Vec<_>>>()?;
        unpack::tool(&files, wanted.program, &folder)?;
    }
    Ok(run)
}

/// Writes what was found: `kernels.json`, with what earlier runs found of other kernels.
fn record(cache: &Path, found: &[(Package, PathBuf)]) -> Result<()> {
    let path = cache.join("kernels.json");
    let mut entries = read_record(cache)?;
    for (package, vmlinux) in found {
        let relative = vmlinux.strip_prefix(cache).unwrap_or(vmlinux);
        let entry = serde_json::json!({
            "version": package.version, "architecture": package.architecture,
            "size": package.size, "sha256": package.sha256, "deb": package.file_name(), "vmlinux": relative,
        });
        entries.insert(package.name.clone(), entry);
    }
    let text = serde_json::to_string_pretty(&entries).context("write JSON")? + "\n";
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// A kernel's debug package in the cache, as [`run`] found it.
#[derive(Debug, Clone)]
pub(crate) struct RecordedPackage {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    pub(crate) sha256: String,
    pub(crate) deb: PathBuf,
}

/// The packages that `kernels.json` has and that are still there; of one line and architecture only the newest.
///
/// # Errors
/// The record exists and cannot be read.
pub(crate) fn recorded() -> Result<Vec<RecordedPackage>> {
    let cache = workspace::cache()?;
    let mut newest: BTreeMap<(Vec<u64>, String), RecordedPackage> = BTreeMap::new();
    for (name, entry) in read_record(&cache)? {
        let text = |key: &str| entry[key].as_str().map(str::to_owned).with_context(|| format!("find {key} of {name}"));
        let package = RecordedPackage {
            name: name.clone(),
            version: text("version")?,
            architecture: text("architecture")?,
            sha256: text("sha256")?,
            deb: cache.join("debs").join(text("deb")?),
        };
        if !package.deb.is_file() {
            continue;
        }
        let line = numbers_in(&name).into_iter().take(2).collect();
        let slot = newest.entry((line, package.architecture.clone())).or_insert_with(|| package.clone());
        if apt::compare_versions(&package.version, &slot.version).is_gt() {
            *slot = package;
        }
    }
    Ok(newest.into_values().collect())
}

fn read_record(cache: &Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    let path = cache.join("kernels.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("read {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(serde_json::Map::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Every vmlinux in the cache, by version; of one line and architecture only the newest.
///
/// # Errors
/// The cache exists and cannot be read.
pub(crate) fn cached_kernels() -> Result<Vec<CachedKernel>> {
    let mut found = Vec::new();
    for folder in subfolders(&workspace::cache()?.join("kernels"))? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let boot = folder.join("boot");
        let mut images: Vec<PathBuf> = match std::fs::read_dir(&boot) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(_) => continue,
        };
        images.retain(|path| {
            path.is_file()
                && !workspace::is_unfinished(path)
                && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinux-"))
        });
        images.sort_by_key(|path| numbers_in(&path.to_string_lossy()));
        if let Some(vmlinux) = images.pop() {
            found.push(CachedKernel { name, vmlinux });
        }
    }
    found.sort_by_key(|kernel| (numbers_in(&kernel.name), kernel.name.clone()));
    Ok(found)
}

/// The cached tools whose name begins with `prefix`, oldest first.
///
/// # Errors
/// The cache exists and cannot be read.
pub(crate) fn cached_tools(prefix: &str) -> Result<Vec<CachedTool>> {
    let mut found = Vec::new();
    for folder in subfolders(&workspace::cache()?.join("tools"))? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let run = folder.join("run");
        if name.starts_with(prefix) && run.is_file() && !workspace::is_unfinished(&folder) {
            found.push(CachedTool { name, run });
        }
    }
    found.sort_by_key(|tool| (numbers_in(&tool.name), tool.name.clone()));
    Ok(found)
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
            Ok(paths.with_context(|| format!("read {}", folder.display()))?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", folder.display())),
    }
}

/// The numbers in a name, for sorting versions: `6.12-amd64` after `6.1-amd64`.
fn numbers_in(text: &str) -> Vec<u64> {
    text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        fn check(name: &str, line: Option<&'static str>, expected: Option<&str>) {
            let wanted = WantedKernel { line, ..KERNELS[0] };
            assert_eq!(wanted.architecture, "amd64");
            assert_eq!(release_of(name, &wanted), expected, "{name}");
        }
        check("linux-image-6.1.0-56-amd64-dbg", Some("6.1"), Some("6.1.0-56"));
        check("linux-image-6.12.117+deb13-amd64-dbg", Some("6.1"), None);
        check("linux-image-6.12.117+deb13-amd64-dbg", Some("6.12"), Some("6.12.117+deb13"));
        check("linux-image-7.3.4+deb13-amd64-dbg", None, Some("7.3.4+deb13"));
        check("linux-image-6.1-amd64-dbg", Some("6.1"), None);
        check("linux-image-amd64-dbg", None, None);
        check("linux-image-6.1.0-56-rt-amd64-dbg", None, None);
        check("linux-image-6.1.0-56-cloud-amd64-dbg", None, None);
        check("linux-image-6.1.0-56-arm64-dbg", None, None);
        check("linux-image-6.1.0-56-amd64", None, None);
    }

    #[test]
    fn version_order() {
        let mut names = ["6.12-amd64", "6.1-arm64", "5.10-amd64", "7.3-amd64"];
        names.sort_by_key(|name| numbers_in(name));
        assert_eq!(names, ["5.10-amd64", "6.1-arm64", "6.12-amd64", "7.3-amd64"]);
    }
}
