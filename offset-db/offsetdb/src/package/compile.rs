//! A reference from a version's own source: the units that define the targets, compiled with the flags of the package's own build.

use super::cache::Cache;
use super::pypi;
use super::recipe::{Recipe, Version};
use super::toolchain;
use anyhow::{Context, Result, bail};
use image::Image;
use offset_db::{Field, Layout};
use rayon::prelude::*;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use xxhash_rust::xxh3::xxh3_64;

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
    /// Where the source is.
    #[serde(skip)]
    root: PathBuf,
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

/// A compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    program: PathBuf,
    /// Its name and version: `g++ 10.2.1`.
    pub name: String,
}

/// The compiler for a version: the recipe's, downloaded and unpacked where it is missing, or the machine's.
///
/// # Errors
/// There is none, or it cannot be downloaded.
pub fn compiler(cache: &Cache, recipe: &Recipe, version: &Version) -> Result<Compiler> {
    let program = match recipe.toolchain(version) {
        Some(toolchain) => toolchain::unpacked(cache, toolchain)?,
        None => PathBuf::from("g++"),
    };
    let output = Command::new(&program).arg("-dumpfullversion").output().context("g++ (apt-get install g++)")?;
    Ok(Compiler { program, name: format!("g++ {}", String::from_utf8_lossy(&output.stdout).trim()) })
}

/// Compiles a version's units, or takes what was compiled before. Where a unit cannot be compiled, the others are a reference, and the next
/// call tries again.
///
/// # Errors
/// There is no source, its build does not say its flags, or no unit can be compiled.
pub fn reference(cache: &Cache, recipe: &Recipe, version: &Version) -> Result<Compiled> {
    let compiler = compiler(cache, recipe, version)?;
    let folder = cache.folder("references")?;
    // what is compiled otherwise is another reference
    let how =
        xxh3_64(recipe.units.iter().chain(&recipe.flags).flat_map(|one| [one, "\n"]).collect::<String>().as_bytes());
    let name =
        format!("{}-{}-{}-{how:016x}.so", recipe.package, version.text(), compiler.name.replace([' ', '+'], "_"));
    let mut compiled = Compiled { path: folder.join(name), version: version.clone(), compiler: compiler.name.clone() };
    if compiled.path.exists() {
        return Ok(compiled);
    }
    let work = tempfile::Builder::new().prefix(".compile-").tempdir_in(&folder)?;
    let build = Build::of(cache, recipe, version, work.path())?;
    let objects: Vec<Result<PathBuf>> = build
        .units(recipe)
        .par_iter()
        .enumerate()
        .map(|(number, unit)| {
            let object = work.path().join(format!("{number}.o"));
            let mut command = build.command(&compiler, recipe);
            run(command.arg("-g1").arg("-c").arg(unit).arg("-o").arg(&object)).map(|()| object)
        })
        .collect();
    let (objects, errors): (Vec<_>, Vec<_>) = objects.into_iter().partition(Result::is_ok);
    if !errors.is_empty() {
        compiled.path.set_extension("part.so");
    }
    for error in errors.into_iter().filter_map(Result::err) {
        tracing::warn!("{} {}: {error:#}", recipe.package, version.text());
    }
    if objects.is_empty() {
        bail!("{} {}: no unit was compiled", recipe.package, version.text());
    }
    let library = work.path().join("reference.so");
    // by the machine's own, whose libraries are there; it makes no code
    let mut link = Command::new("g++");
    run(link.args(LINK).arg(&library).args(objects.into_iter().flatten()))?;
    std::fs::rename(&library, &compiled.path).with_context(|| compiled.path.display().to_string())?;
    Ok(compiled)
}

impl Build {
    /// Unpacks a version's source in `work`, and asks its build.
    fn of(cache: &Cache, recipe: &Recipe, version: &Version, work: &Path) -> Result<Build> {
        let needs = recipe.needs(version);
        let archive = pypi::source(cache, &recipe.package, version, needs)?;
        run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(work))?;
        let root = work.join(format!("{}-{}", recipe.package, version.text()));
        let python = pypi::environment(cache, needs)?;
        let answer = work.join("build.json");
        run(Command::new(&python).arg("-c").arg(ASK).arg(&root).arg(&answer))?;
        let mut build: Build = serde_json::from_slice(&std::fs::read(&answer)?).context("what setup.py says")?;
        let ask = ["-c", "import sysconfig; print(sysconfig.get_paths()['include'])"];
        let include = Command::new(&python).args(ask).output()?;
        build.include.push(String::from_utf8_lossy(&include.stdout).trim().to_owned());
        build.root = root;
        Ok(build)
    }

    /// Those of the recipe.
    fn units(&self, recipe: &Recipe) -> Vec<&String> {
        let is_asked = |source: &&String| recipe.units.iter().any(|unit| source.ends_with(unit.as_str()));
        self.sources.iter().filter(is_asked).collect()
    }

    /// The compiler with all flags, in the source's folder.
    fn command(&self, compiler: &Compiler, recipe: &Recipe) -> Command {
        let mut command = Command::new(&compiler.program);
        command.current_dir(&self.root).arg("-w").args(&recipe.flags).args(&self.arguments);
        command.args(self.include.iter().map(|folder| format!("-I{folder}")));
        command.args(self.macros.iter().filter_map(definition));
        command
    }
}

/// The structs of a recipe in a version: what its headers say to the compiler, with the flags of its build. `machine` is the compiler's.
///
/// # Errors
/// As [`reference`].
pub fn layouts(cache: &Cache, recipe: &Recipe, version: &Version, machine: &str) -> Result<Vec<Layout>> {
    let compiler = compiler(cache, recipe, version)?;
    let work = tempfile::Builder::new().prefix(".layout-").tempdir_in(cache.folder("references")?)?;
    let build = Build::of(cache, recipe, version, work.path())?;
    let mut all = Vec::new();
    for one in &recipe.structs {
        let Some(header) = one.headers.iter().find(|header| build.root.join(header).exists()) else { continue };
        // the debug information of what a variable points to is whole
        let unit = format!("#include \"{header}\"\n{} *lcc_layout;\n", one.name);
        let (source, object, library) =
            (work.path().join("layout.cc"), work.path().join("layout.o"), work.path().join("layout.so"));
        std::fs::write(&source, unit)?;
        let mut command = build.command(&compiler, recipe);
        // also where virtual functions are defined elsewhere
        command.args(["-I.", "-g", "-femit-class-debug-always", "-c"]).arg(&source).arg("-o").arg(&object);
        let compiled = run(&mut command)
            .and_then(|()| run(Command::new("g++").args(LINK).arg(&library).arg(&object)))
            .and_then(|()| layout_in(&library, &one.name));
        let found = match compiled {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("{} {}: {}: {error:#}", recipe.package, version.text(), one.name);
                continue;
            }
        };
        let is_asked = |field: &&symbols::Field| one.fields.contains(&field.path);
        let field = |field: &symbols::Field| Field {
            path: field.path.clone(),
            offset_bits: field.offset_bits,
            size_bits: field.size_bits,
        };
        all.push(Layout {
            ecosystem: recipe.ecosystem.clone(),
            package: recipe.package.clone(),
            version: version.text().to_owned(),
            machine: machine.to_owned(),
            configuration: recipe.configuration(),
            name: one.name.clone(),
            size: found.size,
            source: "compiled".to_owned(),
            evidence: Vec::new(),
            fields: found.fields.iter().filter(is_asked).map(field).collect(),
        });
    }
    Ok(all)
}

fn layout_in(library: &Path, name: &str) -> Result<symbols::Layout> {
    let bytes = std::fs::read(library)?;
    let image = Image::parse(&bytes).context("layout.so")?;
    let dwarf = symbols::Dwarf::load(&image, None, &symbols::decompress).context("layout.so")?;
    Ok(symbols::layouts(&dwarf, name)?.into_iter().next().context("no layout")?.layout)
}

/// A library of what does not define all that it refers to.
const LINK: [&str; 4] = ["-shared", "-Wl,--unresolved-symbols=ignore-all", "-Wl,--build-id=none", "-o"];

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
