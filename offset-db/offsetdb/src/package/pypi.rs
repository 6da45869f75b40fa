//! Python's packages, by pip as it is set up on the machine.

use super::cache::Cache;
use super::recipe::{Recipe, Version, is_sane};
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
    // they become the names of files
    let sane = list.split(',').map(str::trim).filter(|version| is_sane(version));
    let mut versions: Vec<Version> = sane.map(Version::parse).collect();
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
    let Some(path) = download(&folder, package, version, python, &PLATFORMS)? else {
        std::fs::write(&none, "")?;
        return Ok(None);
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(path).filter(|_| name.starts_with(&format!("{package}-{}-cp{python}-", version.text()))))
}

/// Lets pip download the best wheel for a Python on one of the platforms into `folder`. `None` where there is none.
fn download(
    folder: &Path,
    package: &str,
    version: &Version,
    python: &str,
    platforms: &[&str],
) -> Result<Option<PathBuf>> {
    // whole or not there: pip writes as it reads
    let unfinished = tempfile::Builder::new().prefix(".pip-").tempdir_in(folder)?;
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
    command.args(platforms.iter().flat_map(|platform| ["--platform", platform]));
    command.args(["--abi", &format!("cp{python}"), "--abi", &format!("cp{python}m"), "--abi", "abi3"]);
    command.arg("--dest").arg(unfinished.path()).arg(format!("{package}=={}", version.text()));
    let output = command.output().context("python3 -m pip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        if said.contains("No matching distribution") {
            return Ok(None);
        }
        bail!("pip download {package}=={}: {}", version.text(), said.trim());
    }
    // the name is the registry's: it is taken as pip made a file of it, in the folder that was given
    let begin = format!("{package}-{}-", version.text());
    for entry in std::fs::read_dir(unfinished.path())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && name.starts_with(&begin) && name.ends_with("x86_64.whl") {
            let kept = folder.join(name);
            std::fs::rename(entry.path(), &kept)?;
            return Ok(Some(kept));
        }
    }
    bail!("pip download {package}=={}: no wheel came", version.text())
}

/// A version's wheels: for each Python, and for each platform that the recipe has, the one that pip would install. From the cache, or
/// downloaded. What went wrong with one is told beside the others.
pub fn wheels(
    cache: &Cache,
    recipe: &Recipe,
    version: &Version,
    pythons: &[String],
) -> (Vec<PathBuf>, Vec<anyhow::Error>) {
    if !recipe.platforms.is_empty() {
        return match best_wheels(cache, recipe, version, pythons) {
            Ok(found) => (found, Vec::new()),
            Err(error) => (Vec::new(), vec![error]),
        };
    }
    let answers = pythons.iter().map(|python| wheel(cache, &recipe.package, version, python));
    let (found, errors): (Vec<_>, Vec<_>) = answers.partition(Result::is_ok);
    (found.into_iter().flatten().flatten().collect(), errors.into_iter().filter_map(Result::err).collect())
}

fn best_wheels(cache: &Cache, recipe: &Recipe, version: &Version, pythons: &[String]) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    let folder = cache.folder("wheels")?;
    // newest first: what is the best for a newer one and fits an older one is the best for that, too
    let mut pythons: Vec<u32> = pythons.iter().filter_map(|python| python.parse().ok()).collect();
    pythons.sort_by_key(|python| std::cmp::Reverse(minor(*python)));
    let mut newer: Vec<Option<String>> = Vec::new();
    for python in pythons {
        let mut answers: Vec<Option<String>> = Vec::new();
        for (at, platform) in recipe.platforms.iter().enumerate() {
            let of_newer = newer.get(at).cloned().flatten().filter(|name| fits_python(name, python));
            let of_younger = match at.checked_sub(1).and_then(|before| Some((before, answers.get(before)?))) {
                // nothing for a newer platform is nothing for this one
                Some((_, None)) => Some(None),
                Some((before, Some(name))) if !platforms_of(name).contains(&recipe.platforms[before].as_str()) => {
                    Some(Some(name.clone()))
                }
                _ => None,
            };
            let answer = match (of_newer, of_younger) {
                (Some(name), _) => Some(name),
                (None, Some(answer)) => answer,
                (None, None) => asked(&folder, recipe, version, python, platform, at)?,
            };
            answers.push(answer);
        }
        found.extend(answers.iter().flatten().map(|name| folder.join(name)));
        newer = answers;
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// What pip gives for a Python and a platform, and those that are older; what it gave once is noted beside.
fn asked(
    folder: &Path,
    recipe: &Recipe,
    version: &Version,
    python: u32,
    platform: &str,
    at: usize,
) -> Result<Option<String>> {
    let note = folder.join(format!("{}-{}-cp{python}-{platform}.note", recipe.package, version.text()));
    if let Ok(name) = std::fs::read_to_string(&note)
        && (name.is_empty() || is_sane(&name) && folder.join(&name).is_file())
    {
        return Ok(Some(name).filter(|name| !name.is_empty()));
    }
    let older = recipe.platforms[at..].iter().map(String::as_str);
    let aliases = PLATFORMS.iter().copied().filter(|alias| !alias.starts_with("manylinux_"));
    let platforms: Vec<&str> = older.chain(aliases).collect();
    let path = download(folder, &recipe.package, version, &python.to_string(), &platforms)?;
    let name = path.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    std::fs::write(&note, name.as_deref().unwrap_or_default())?;
    Ok(name)
}

/// `311` is 3.11.
pub fn minor(python: u32) -> u32 {
    let text = python.to_string();
    text.get(1..).and_then(|minor| minor.parse().ok()).unwrap_or_default()
}

/// Whether a wheel of the stable ABI is for that Python, too.
fn fits_python(wheel: &str, python: u32) -> bool {
    let parts: Vec<&str> = wheel.split('-').collect();
    let [.., tag, "abi3", _] = parts.as_slice() else { return false };
    let since = tag.strip_prefix("cp").and_then(|python| python.parse().ok());
    since.is_some_and(|since: u32| minor(since) <= minor(python))
}

/// The platforms in a wheel's name.
fn platforms_of(wheel: &str) -> Vec<&str> {
    let tag = wheel.trim_end_matches(".whl").rsplit('-').next().unwrap_or_default();
    tag.split('.').collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_wheel_is_for() {
        let check = |wheel: &str, python: u32, expected: bool| {
            assert_eq!(fits_python(wheel, python), expected, "{wheel} {python}")
        };
        check("cryptography-41.0.7-cp37-abi3-manylinux_2_28_x86_64.whl", 311, true);
        check("cryptography-41.0.7-cp37-abi3-manylinux_2_28_x86_64.whl", 37, true);
        check("cryptography-46.0.3-cp311-abi3-manylinux_2_28_x86_64.whl", 39, false);
        check("grpcio-1.60.1-cp310-cp310-manylinux_2_17_x86_64.whl", 310, false);
        check("x.whl", 310, false);
        let name = "cryptography-42.0.8-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl";
        assert_eq!(platforms_of(name), ["manylinux_2_17_x86_64", "manylinux2014_x86_64"]);
    }
}
