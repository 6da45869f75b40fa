//! A reference from a version's own source: the units that define the targets, compiled with the flags of the package's own build.

use super::cache::Cache;
use super::pypi;
use super::recipe::{Recipe, Version};
use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `setup.py` as far as its call of setup(), and prints what that was given.
const ASK: &str = r#"
import json, os, sys
root, answer = os.path.abspath(sys.argv[1]), sys.argv[2]
os.chdir(root)
sys.path[:0] = [root, os.path.join(root, "src/python/grpcio")]
import setuptools
def setup(**arguments):
    extension = arguments["ext_modules"][0]
    said = dict(include=extension.include_dirs, macros=extension.define_macros,
                arguments=extension.extra_compile_args, sources=extension.sources)
    with open(answer, "w") as file:
        json.dump({key: list(value) for key, value in said.items()}, file)
setuptools.setup = setup
sys.argv = ["setup.py", "build_ext"]
with open("setup.py") as file:
    exec(compile(file.read(), "setup.py", "exec"), {"__file__": os.path.join(root, "setup.py"), "__name__": "__main__"})
"#;

/// What the package's own build says.
#[derive(Debug, Deserialize)]
struct Build {
    include: Vec<String>,
    macros: Vec<(String, Option<serde_json::Value>)>,
    arguments: Vec<String>,
    sources: Vec<String>,
}

/// A compiled reference.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The library.
    pub path: PathBuf,
    /// The version that it is of.
    pub version: Version,
    /// The compiler: `g++ 12.2.0`.
    pub compiler: String,
}

/// The compiler, as a name and a version.
///
/// # Errors
/// There is no g++.
pub fn compiler() -> Result<String> {
    let output = Command::new("g++").arg("-dumpfullversion").output().context("g++ (apt-get install g++)")?;
    Ok(format!("g++ {}", String::from_utf8_lossy(&output.stdout).trim()))
}

/// Compiles a version's units, or takes what was compiled before.
///
/// # Errors
/// There is no source, its build does not say its flags, or no unit can be compiled.
pub fn reference(cache: &Cache, recipe: &Recipe, version: &Version) -> Result<Compiled> {
    let compiler = compiler()?;
    let folder = cache.folder("references")?;
    let name = format!("{}-{}-{}.so", recipe.package, version.text(), compiler.replace([' ', '+'], "_"));
    let compiled = Compiled { path: folder.join(name), version: version.clone(), compiler };
    if compiled.path.exists() {
        return Ok(compiled);
    }
    let needs = recipe.needs(version);
    let archive = pypi::source(cache, &recipe.package, version, needs)?;
    let work = tempfile::Builder::new().prefix(".compile-").tempdir_in(&folder)?;
    run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(work.path()))?;
    let root = work.path().join(format!("{}-{}", recipe.package, version.text()));
    let python = pypi::environment(cache, needs)?;
    let answer = work.path().join("build.json");
    run(Command::new(&python).arg("-c").arg(ASK).arg(&root).arg(&answer))?;
    let build: Build = serde_json::from_slice(&std::fs::read(&answer)?).context("what setup.py says")?;
    let include =
        Command::new(&python).args(["-c", "import sysconfig; print(sysconfig.get_paths()['include'])"]).output()?;
    let include = String::from_utf8_lossy(&include.stdout).trim().to_owned();
    let units: Vec<&String> =
        build.sources.iter().filter(|source| recipe.units.iter().any(|unit| source.ends_with(unit.as_str()))).collect();
    let objects: Vec<Result<PathBuf>> = units
        .par_iter()
        .enumerate()
        .map(|(number, unit)| {
            let object = work.path().join(format!("{number}.o"));
            let mut command = Command::new("g++");
            command.current_dir(&root).arg("-g1").arg("-w").args(&recipe.flags).args(&build.arguments);
            command.args(build.include.iter().chain([&include]).map(|folder| format!("-I{folder}")));
            command.args(build.macros.iter().filter_map(definition)).arg("-c").arg(unit).arg("-o").arg(&object);
            run(&mut command).map(|()| object)
        })
        .collect();
    let (objects, errors): (Vec<_>, Vec<_>) = objects.into_iter().partition(Result::is_ok);
    for error in errors.into_iter().filter_map(Result::err) {
        tracing::warn!("{} {}: {error:#}", recipe.package, version.text());
    }
    if objects.is_empty() {
        bail!("{} {}: none of {} units was compiled", recipe.package, version.text(), units.len());
    }
    let library = work.path().join("reference.so");
    let mut link = Command::new("g++");
    link.args(["-shared", "-Wl,--unresolved-symbols=ignore-all", "-Wl,--build-id=none", "-o"]).arg(&library);
    run(link.args(objects.into_iter().flatten()))?;
    std::fs::rename(&library, &compiled.path).with_context(|| compiled.path.display().to_string())?;
    Ok(compiled)
}

/// A macro as an argument. `PyMODINIT_FUNC` is Python's own, and is not C for the compiler's command line.
fn definition((name, value): &(String, Option<serde_json::Value>)) -> Option<String> {
    match value {
        _ if name == "PyMODINIT_FUNC" => None,
        None | Some(serde_json::Value::Null) => Some(format!("-D{name}")),
        Some(serde_json::Value::String(text)) => Some(format!("-D{name}={text}")),
        Some(other) => Some(format!("-D{name}={other}")),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.output().with_context(|| program.clone())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.lines().find(|line| line.contains("rror")).unwrap_or(said.trim()));
    }
    Ok(())
}
