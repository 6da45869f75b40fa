//! What goes into the machines of an architecture: `lcc-vm`, the agents, tests with what they load and run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lcc_vm::catalogue::Architecture;
use lcc_vm::fetch::{self, Store};
use lcc_vm::initramfs::File;
use lcc_vm::programs;
use lcc_vm::run::Kit;
use serde_json::Value;

use super::target::Target;
use crate::{process, workspace};

/// The programs of tests, by their sources (several packages have one of a name), and whether only thorough entries run them.
const TESTS: [(&str, bool); 7] = [
    ("loader/tests/agent.rs", false),
    ("tests/tests/kernel_truth.rs", false),
    ("tests/tests/stripped_uprobe.rs", false),
    ("loader/lcc-load/tests/unprivileged.rs", false),
    ("tests/tests/agents_in_kernels.rs", false),
    ("tests/tests/tcprt_http.rs", true),
    ("tests/tests/tcprt_payload.rs", true),
];

/// The sources of the objects that they load.
const OBJECTS: [&str; 6] = [
    "bpf/tcprt/tcprt.bpf.c",
    "loader/lcc-load/tests/fixtures/zoo.bpf.c",
    "loader/tests/fixtures/agent.bpf.c",
    "tests/tests/fixtures/lossy.bpf.c",
    "tests/tests/fixtures/truth.bpf.c",
    "tests/tests/fixtures/victim.bpf.c",
];

/// Programs that tests run, and the packages that they are in.
const TOOLS: [(&str, &str); 2] = [("ip", "iproute2"), ("openssl", "openssl")];

/// What OpenSSL reads.
const OPENSSL_CNF: &str = "usr/lib/ssl/openssl.cnf";

/// The packages with the feature that links libbpf statically.
const LOADERS: [&str; 5] = ["lcc-vm", "lcc-load", "tcprt", "pingtrace", "lcc-loader"];

/// With these, the packages of all that is built: one set for programs and tests, so that nothing is built twice.
const OTHERS: [&str; 1] = ["lcc-tests"];

/// Builds the kit of an architecture; with tests, or only what verifies objects. Where it may be dynamic, programs for this machine's
/// architecture are those of its own tests, with their libraries, and no time goes into building others.
///
/// # Errors
/// Something cannot be built or fetched.
pub(crate) fn build(store: &Store, architecture: Architecture, tests: bool, dynamic: bool) -> Result<Kit> {
    let is_here = architecture == Architecture::Amd64 && cfg!(target_arch = "x86_64");
    let target = if dynamic && is_here { Target::here() } else { Target::of(store, architecture)? };
    let folder = target.folder()?;
    if !tests {
        process::run(target.cargo("build", &["lcc-vm"], &[])?.arg("--bins"))?;
        return Ok(Kit { files: program(&target, "init", &folder.join("lcc-vm"))?, ..Kit::default() });
    }
    process::run(target.cargo("build", &LOADERS, &OTHERS)?.arg("--bins"))?;
    let mut files = program(&target, "init", &folder.join("lcc-vm"))?;
    for name in ["lcc-load", "tcprt", "pingtrace"] {
        files.extend(program(&target, &format!("bin/{name}"), &folder.join(name))?);
    }
    let mut kit = Kit { files, ..Kit::default() };
    let mut build = target.cargo("test", &LOADERS, &OTHERS)?;
    build.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let name =
        |source: &'static str| source.rsplit('/').next().and_then(|file| file.strip_suffix(".rs")).unwrap_or(source);
    build.args(TESTS.iter().flat_map(|(source, _)| ["--test", name(source)]));
    let said = process::stdout_of(&mut build)?;
    for message in said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let is_of = |source: &str| message["target"]["src_path"].as_str().is_some_and(|path| path.ends_with(source));
        let found = TESTS.iter().find(|(source, _)| is_of(source));
        if let (Some((source, thorough)), Some(path)) = (found, message["executable"].as_str()) {
            let there = format!("tests/{}", name(source));
            kit.files.extend(program(&target, &there, Path::new(path))?);
            let list = if *thorough { &mut kit.thorough } else { &mut kit.tests };
            list.push(format!("/{there}"));
        }
    }
    if kit.tests.len() + kit.thorough.len() != TESTS.len() {
        bail!("cargo built {} of {} programs of tests", kit.tests.len() + kit.thorough.len(), TESTS.len());
    }
    kit.files.extend(fixtures(store, &target, architecture)?);
    kit.files.extend(tools(store, architecture)?);
    let variables = [
        ("LCC_OBJECTS", "/tests/objects"),
        ("LCC_FIXTURES", "/tests/fixtures"),
        ("LCC_AGENTS", "/bin"),
        ("LCC_EMULATED", "1"),
    ];
    kit.environment = BTreeMap::from(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Ok(kit)
}

/// A program, by its name there. One with libraries comes with these, and without what only a debugger reads, which is most of it: the
/// archive is the machine's memory.
fn program(target: &Target, name: &str, path: &Path) -> Result<Vec<File>> {
    if !target.is_dynamic() {
        return Ok(vec![(name.to_owned(), path.to_owned(), true)]);
    }
    let folder = workspace::create(workspace::target()?.join("matrix/stripped"))?;
    let to = folder.join(name.replace('/', "-"));
    process::stdout_of(process::command("strip", Path::new("/")).args(["--strip-debug", "-o"]).arg(&to).arg(path))?;
    let mut files = programs::libraries(&to)?;
    files.push((name.to_owned(), to, true));
    Ok(files)
}

/// The object with a program of every kind, and the project's own.
///
/// # Errors
/// clang failed.
pub(crate) fn objects() -> Result<Vec<PathBuf>> {
    let mut objects = vec![zoo()?];
    objects.extend(crate::objects::build()?);
    Ok(objects)
}

/// What the object with a program of every kind is called.
pub(crate) const ZOO: &str = "zoo.o";

/// The object with a program of every kind.
///
/// # Errors
/// clang failed.
pub(crate) fn zoo() -> Result<PathBuf> {
    compiled(Path::new("loader/lcc-load/tests/fixtures/zoo.bpf.c"))
}

/// Compiles a BPF source of the project's into `target/matrix/objects`.
fn compiled(source: &Path) -> Result<PathBuf> {
    let folder = workspace::create(workspace::target()?.join("matrix/objects"))?;
    let name = source.file_name().unwrap_or_default().to_string_lossy().replace(".bpf.c", ".o");
    let object = folder.join(name);
    compile::object(&workspace::root()?, source, &object, &[])?;
    Ok(object)
}

/// What tests load: objects, and the stripped program that one of them probes, with the database that knows it.
fn fixtures(store: &Store, target: &Target, architecture: Architecture) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for source in OBJECTS {
        let object = compiled(Path::new(source))?;
        let name = object.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((format!("tests/objects/{name}"), object, false));
    }
    let folder = workspace::create(workspace::target()?.join("matrix/fixtures").join(architecture.name()))?;
    // it runs here, whatever it is made for
    let here = if target.is_dynamic() { Target::here() } else { Target::of(store, Architecture::Amd64)? };
    process::run(here.cargo("build", &LOADERS, &OTHERS)?.args(["--example", "victim"]))?;
    let mut make = process::command(here.folder()?.join("examples/victim"), &workspace::root()?);
    process::run(make.args(["--cc", &target.c_compiler()]).arg(&folder))?;
    files.push(("tests/fixtures/victim".to_owned(), folder.join("victim"), true));
    files.push(("tests/fixtures/victim.sqlite".to_owned(), folder.join("victim.sqlite"), false));
    Ok(files)
}

/// What tests run: this machine's own programs, or for another architecture those of Debian's packages, each with its libraries.
fn tools(store: &Store, architecture: Architecture) -> Result<Vec<File>> {
    if architecture == Architecture::Amd64 && cfg!(target_arch = "x86_64") {
        let mut files = Vec::new();
        for (program, _) in TOOLS {
            files.extend(programs::with_libraries(program)?.with_context(|| format!("{program} is not installed"))?);
        }
        let configuration = Path::new("/").join(OPENSSL_CNF);
        if configuration.exists() {
            files.push((OPENSSL_CNF.to_owned(), configuration, false));
        }
        return Ok(files);
    }
    let folder = fetch::programs(store, architecture, &TOOLS.map(|(_, package)| package))?;
    let mut files = Vec::new();
    let mut open = vec![folder.clone()];
    while let Some(inner) = open.pop() {
        for entry in std::fs::read_dir(&inner).with_context(|| format!("list {}", inner.display()))?.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let relative = path.strip_prefix(&folder).unwrap_or(&path).to_string_lossy().into_owned();
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if path.is_dir() && !is_link {
                let skipped = ["share", "gconv", "audit", "perl-base", "perl"];
                if !skipped.contains(&&*name) {
                    open.push(path);
                }
            } else if path.is_file()
                && (name.contains(".so") || TOOLS.iter().any(|(tool, _)| relative.ends_with(&format!("bin/{tool}"))))
            {
                // Debian's folders are one since 12, and packages have both names
                let relative = if name.contains(".so") { relative } else { format!("bin/{name}") };
                files.push((relative, path, true));
            }
        }
    }
    Ok(files)
}
