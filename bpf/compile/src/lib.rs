//! Compiles a BPF source: the one place that calls clang for it.
//!
//! ```no_run
//! // in an agent's build.rs; the agent has include_bytes!(concat!(env!("OUT_DIR"), "/tcprt.o"))
//! compile::for_build_script("bpf/tcprt/tcprt.bpf.c");
//! ```
//!
//! ```text
//! source ─▶ clang -g: code, BTF, DWARF ─▶ llvm-strip: without DWARF ─▶ renamed into its place
//! ```
//!
//! The same source gives the same bytes wherever the checkout lies. `CLANG` and `LLVM_STRIP` name other programs than `clang` and
//! `llvm-strip`. Tests take what is compiled from a folder where `LCC_OBJECTS` names one ([`for_test`]).
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};

/// Arguments of each compilation; -Wno-unused-parameter, as libbpf's `BPF_PROG` gives every program a `ctx`, used or not; the
/// checkout's root is the working folder, so that no path of one machine gets into BTF's line information.
const ARGUMENTS: [&str; 13] = [
    "-target",
    "bpf",
    "-mcpu=v2",
    "-g",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
    "-std=gnu11",
    "-fdebug-compilation-dir=.",
    "-I",
    "bpf",
];

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed.
    #[error("{program} is needed to compile BPF programs, and is not there: cargo xtask setup installs it")]
    Missing {
        /// The program.
        program: String,
    },
    /// A program cannot be started.
    #[error("starting {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What is wrong.
        source: io::Error,
    },
    /// A program did not do it.
    #[error("{program} {file}: {status}\n{said}")]
    Failed {
        /// The program.
        program: String,
        /// What was to be compiled or stripped.
        file: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        said: String,
    },
    /// A file cannot be written.
    #[error("writing {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

impl Error {
    /// True where clang or llvm-strip is not installed.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Missing { .. })
    }
}

/// Compiles `source`, a path from the checkout's root `root`, into the file `object`, which is there whole or not at all.
/// `arguments` are clang's, besides those that all have.
///
/// # Errors
/// See [`Error`].
pub fn object(root: &Path, source: &Path, object: &Path, arguments: &[&str]) -> Result<(), Error> {
    let object = std::path::absolute(object).map_err(|source| Error::Write { path: object.to_owned(), source })?;
    let mut unfinished = object.clone().into_os_string();
    unfinished.push(".unfinished");
    let clang = program("CLANG", "clang");
    let mut compile = Command::new(&clang);
    compile.args(ARGUMENTS).args(arguments).arg("-c").arg(source).arg("-o").arg(&unfinished);
    run(compile.current_dir(root), source)?;
    let strip = program("LLVM_STRIP", "llvm-strip");
    run(Command::new(&strip).arg("-g").arg(&unfinished), &object)?;
    std::fs::rename(&unfinished, &object).map_err(|source| Error::Write { path: object, source })
}

/// Compiles `source`, a path from the checkout's root, into `OUT_DIR`, `NAME.bpf.c` as `NAME.o`; from the build script of a
/// crate two folders below that root. Cargo calls it again when a source or header of its folder, or one that all share, changes.
/// Where it cannot be done the script ends with 1, and says why.
pub fn for_build_script(source: &str) {
    let variable = |name| PathBuf::from(std::env::var_os(name).unwrap_or_default());
    let root = variable("CARGO_MANIFEST_DIR").join("../..");
    let source = Path::new(source);
    for name in ["CLANG", "LLVM_STRIP"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for path in sources(&root, source) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    if let Err(error) = object(&root, source, &variable("OUT_DIR").join(object_name(source)), &[]) {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
        std::process::exit(1);
    }
}

/// For tests: the object's bytes. `None`, said on standard error, where clang is not installed. As [`object`] else: with `root` a
/// folder of fixtures, names in the types' lines are from there on, and `arguments` say where the shared headers are.
///
/// Where there is no compiler, as in the machines that `cargo xtask matrix` boots, `LCC_OBJECTS` names a folder with what was compiled
/// before, `NAME.bpf.c` as `NAME.o`: then nothing is compiled.
///
/// # Panics
/// Where it cannot be compiled, or the folder does not have it; and where clang is not installed, and `CI=true`.
pub fn for_test(root: &Path, source: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    if let Some(folder) = std::env::var_os("LCC_OBJECTS") {
        return Some(of_folder(Path::new(&folder), source));
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("lcc-bpf-{}-{number}.o", std::process::id()));
    match object(root, source, &path, arguments) {
        Ok(()) => {
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let _ = std::fs::remove_file(path);
            Some(bytes)
        }
        Err(error) if error.is_missing() => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {error}");
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// What was compiled before.
fn of_folder(folder: &Path, source: &Path) -> Vec<u8> {
    let path = folder.join(object_name(source));
    std::fs::read(&path).unwrap_or_else(|error| panic!("LCC_OBJECTS: {}: {error}", path.display()))
}

/// `NAME.o`, of a source `NAME.bpf.c`.
fn object_name(source: &Path) -> String {
    source.file_name().unwrap_or_default().to_string_lossy().replace(".bpf.c", ".o")
}

/// What a source may include: the headers of all (`bpf/*.h`), and the sources and headers beside it. Sorted. Also the folders,
/// so that a new file counts.
fn sources(root: &Path, source: &Path) -> Vec<PathBuf> {
    let beside = root.join(source.parent().unwrap_or(Path::new("")));
    let mut all = Vec::new();
    for folder in [root.join("bpf"), beside] {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let is_c = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "h" || extension == "c");
        all.extend(entries.map(|entry| entry.path()).filter(is_c));
    }
    all.sort();
    all
}

fn program(variable: &str, usual: &str) -> OsString {
    std::env::var_os(variable).filter(|name| !name.is_empty()).unwrap_or_else(|| usual.into())
}

fn run(command: &mut Command, file: &Path) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Missing { program }),
        Err(source) => return Err(Error::Start { program, source }),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(Error::Failed { program, file: file.display().to_string(), status: output.status, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout with one source.
    fn checkout(source: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("bpf/agent")).unwrap();
        std::fs::write(folder.path().join("bpf/shared.h"), "#define ANSWER 42\n").unwrap();
        std::fs::write(folder.path().join("bpf/agent/agent.bpf.c"), source).unwrap();
        folder
    }

    /// The object's bytes; `None`, said, where there is no clang, which CI must have.
    fn compiled(source: &str) -> Option<Result<Vec<u8>, String>> {
        let folder = checkout(source);
        let path = folder.path().join("agent.o");
        match object(folder.path(), Path::new("bpf/agent/agent.bpf.c"), &path, &[]) {
            Ok(()) => Some(Ok(std::fs::read(path).unwrap())),
            Err(error) if error.is_missing() => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {error}");
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => {
                assert!(!path.exists() && !folder.path().join("agent.o.unfinished").exists());
                Some(Err(error.to_string()))
            }
        }
    }

    #[test]
    fn two_checkouts_give_the_same_bytes_without_dwarf() {
        let source = "#include \"shared.h\"\n__attribute__((section(\"socket\"))) int f(void *c) { return ANSWER; }\n";
        let Some(first) = compiled(source) else { return };
        let first = first.unwrap();
        assert_eq!(first, compiled(source).unwrap().unwrap());
        let has = |name: &[u8]| first.windows(name.len()).any(|part| part == name);
        assert!(has(b".BTF.ext") && !has(b".debug_info"));
    }

    #[test]
    fn what_clang_says_is_in_the_error() {
        let Some(result) = compiled("int f(void) { int unused; return 0; }\n") else { return };
        let error = result.unwrap_err();
        assert!(error.starts_with("clang bpf/agent/agent.bpf.c: exit status: 1\n"), "{error}");
        assert!(error.contains("bpf/agent/agent.bpf.c:1:19: error: unused variable 'unused'"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_the_remedy() {
        let error = run(&mut Command::new("no-such-clang"), Path::new("agent.bpf.c")).unwrap_err();
        assert!(error.is_missing());
        assert!(error.to_string().contains("no-such-clang is needed"), "{error}");
        assert!(error.to_string().contains("cargo xtask setup"), "{error}");
    }

    #[test]
    fn what_was_compiled_before_is_taken_by_its_sources_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("agent.o"), "compiled").unwrap();
        assert_eq!(of_folder(folder.path(), Path::new("bpf/agent/agent.bpf.c")), b"compiled");
    }

    #[test]
    #[should_panic(expected = "other.o: No such file or directory")]
    fn what_was_not_compiled_before_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        of_folder(folder.path(), Path::new("bpf/agent/other.bpf.c"));
    }

    #[test]
    fn an_agent_is_compiled_again_for_its_own_sources_and_shared_headers() {
        let folder = checkout("");
        std::fs::write(folder.path().join("bpf/agent/README"), "").unwrap();
        let all = sources(folder.path(), Path::new("bpf/agent/agent.bpf.c"));
        let all: Vec<_> = all.iter().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(all, [Path::new("bpf/agent/agent.bpf.c"), Path::new("bpf/shared.h")]);
    }
}
