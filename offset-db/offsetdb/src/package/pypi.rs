//! Python's packages, by pip as it is set up on the machine.

use super::cache::Cache;
use super::recipe::Version;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    command.stdin(Stdio::null());
    command
}

/// The versions of a package, in order.
///
/// # Errors
/// pip is not there, or does not know the package.
pub fn versions(package: &str) -> Result<Vec<Version>> {
    let output = pip(Path::new("python3")).args(["index", "versions", package]).output().context("python3 -m pip")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let Some(list) = said.lines().find_map(|line| line.strip_prefix("Available versions: ")) else {
        bail!("pip index versions {package}: {}", String::from_utf8_lossy(&output.stderr).trim());
    };
    let mut versions: Vec<Version> = list.split(',').map(|version| Version::parse(version.trim())).collect();
    versions.sort();
    Ok(versions)
}

/// The platforms of x86-64's wheels with glibc, newest first.
const PLATFORMS: [&str; 5] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
];

/// A version's wheel for a Python (`310`) that is in the cache.
///
/// # Errors
/// The cache cannot be read.
pub fn cached(cache: &Cache, package: &str, version: &Version, python: &str) -> Result<Option<PathBuf>> {
    wheel_in(&cache.folder("wheels")?, package, version, python)
}

fn wheel_in(folder: &Path, package: &str, version: &Version, python: &str) -> Result<Option<PathBuf>> {
    let begin = format!("{package}-{}-cp{python}-", version.text());
    let is_it = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(&begin) && name.ends_with("x86_64.whl")
    };
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_it(path)).collect();
    paths.sort();
    Ok(paths.into_iter().next())
}

/// A version's wheel for a Python (`310`); from the cache, or downloaded. `None` where the package has none.
///
/// # Errors
/// pip is not there, or the cache cannot be written.
pub fn wheel(cache: &Cache, package: &str, version: &Version, python: &str) -> Result<Option<PathBuf>> {
    let folder = cache.folder("wheels")?;
    if let Some(path) = cached(cache, package, version, python)? {
        return Ok(Some(path));
    }
    let none = folder.join(format!("{package}-{}-cp{python}.none", version.text()));
    if none.exists() {
        return Ok(None);
    }
    // whole or not there: pip writes as it reads
    let unfinished = tempfile::Builder::new().prefix(".pip-").tempdir_in(&folder)?;
    let mut command = pip(Path::new("python3"));
    command.args([
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--python-version",
        python,
    ]);
    command.args(PLATFORMS.iter().flat_map(|platform| ["--platform", platform]));
    command.args(["--abi", &format!("cp{python}"), "--abi", &format!("cp{python}m"), "--abi", "abi3"]);
    command.arg("--dest").arg(unfinished.path()).arg(format!("{package}=={}", version.text()));
    let output = command.output().context("python3 -m pip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        if said.contains("No matching distribution") {
            std::fs::write(&none, "")?;
            return Ok(None);
        }
        bail!("pip download {package}=={}: {}", version.text(), said.trim());
    }
    let Some(path) = wheel_in(unfinished.path(), package, version, python)? else { return Ok(None) };
    let kept = folder.join(path.file_name().unwrap_or_default());
    std::fs::rename(&path, &kept)?;
    Ok(Some(kept))
}

/// A version's source, from the cache or downloaded. pip runs the package's own build for its name, which needs `needs`.
///
/// # Errors
/// There is none, or its build does not say its name.
pub fn source(cache: &Cache, package: &str, version: &Version, needs: &[String]) -> Result<PathBuf> {
    let folder = cache.folder("sources")?;
    let path = folder.join(format!("{package}-{}.tar.gz", version.text()));
    if path.exists() {
        return Ok(path);
    }
    let unfinished = tempfile::Builder::new().prefix(".pip-").tempdir_in(&folder)?;
    let mut command = pip(&environment(cache, needs)?);
    command.args(["download", "--quiet", "--no-deps", "--no-binary=:all:", "--no-build-isolation", "--dest"]);
    command.arg(unfinished.path()).arg(format!("{package}=={}", version.text()));
    let output = command.output().context("pip")?;
    let got = unfinished.path().join(path.file_name().unwrap_or_default());
    if !got.exists() {
        bail!("pip download {package}=={}: {}", version.text(), String::from_utf8_lossy(&output.stderr).trim());
    }
    std::fs::rename(&got, &path)?;
    Ok(path)
}

/// The Python of an environment that has `needs`; made where it is missing.
///
/// # Errors
/// python3 has no venv, or pip cannot install.
pub fn environment(cache: &Cache, needs: &[String]) -> Result<PathBuf> {
    let name = needs.concat().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    let folder = cache.folder("environments")?.join(name);
    let (python, done) = (folder.join("bin/python"), folder.join("done"));
    if done.exists() {
        return Ok(python);
    }
    let made =
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).output().context("python3 -m venv")?;
    if !made.status.success() {
        bail!("python3 -m venv: {}", String::from_utf8_lossy(&made.stdout).trim());
    }
    let installed = pip(&python).args(["install", "--quiet"]).args(needs).output().context("pip")?;
    if !installed.status.success() {
        bail!("pip install {}: {}", needs.join(" "), String::from_utf8_lossy(&installed.stderr).trim());
    }
    std::fs::write(done, "")?;
    Ok(python)
}
