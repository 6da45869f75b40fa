//! The header is that of the crate, and the examples do what they say: in C under valgrind and the address sanitizer, in Python
//! under the address sanitizer, and with the loader. `UPDATE_GOLDEN=1` rewrites the header.

use image::Image;
use offset_db::{Confidence, Fact, Field, Fingerprint, Kind, Layout, Method, Origin, Store};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {why}");
    eprintln!("skipped: {why}");
}

#[test]
fn the_header_is_that_of_the_crate() {
    let mut config = cbindgen::Config::from_file(here().join("cbindgen.toml")).unwrap();
    config.parse.parse_deps = false;
    let mut made = Vec::new();
    cbindgen::Builder::new().with_crate(here()).with_config(config).generate().unwrap().write(&mut made);
    // what Rust wants to be told of pointers, C's users know
    let mut text = String::new();
    let mut is_safety = false;
    for line in String::from_utf8(made).unwrap().lines() {
        is_safety = (is_safety || line.trim() == "* # Safety") && line.trim() != "*/";
        if !is_safety {
            text += line;
            text.push('\n');
        }
    }
    let text = text.replace(" *\n */", " */");
    let path = here().join("include/lcc_offsets.h");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{}: not that of the crate (UPDATE_GOLDEN=1 writes it)", path.display());
}

/// Where cargo has put a library.
fn library(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folders = own.ancestors().skip(1).take(2);
    let found: Option<PathBuf> = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {name} beside {}", own.display()))
}

fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            skip(&format!("{}: {error}", command.get_program().to_string_lossy()));
            None
        }
    }
}

#[track_caller]
fn must(command: &mut Command) -> Option<Output> {
    let output = run(command)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}{errors}", String::from_utf8_lossy(&output.stdout));
    Some(output)
}

/// A stripped library, and a database that knows a function of it and a struct.
struct Place {
    folder: TempDir,
    offset: u64,
}

impl Place {
    fn new() -> Option<Place> {
        let folder = tempfile::tempdir().unwrap();
        let source = "static __attribute__((noinline)) int hidden(int x) { __asm__ volatile(\"\"); return x + 7; }\n\
            int shown(int x) { return hidden(x) * 5; }\n";
        std::fs::write(folder.path().join("library.c"), source).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-shared", "-fPIC", "-O1", "-Wl,--build-id=sha1", "library.c", "-o", "labelled.so"]);
        must(gcc.current_dir(folder.path()))?;
        must(Command::new("strip").args(["labelled.so", "-o", "library.so"]).current_dir(folder.path()))?;
        let bytes = std::fs::read(folder.path().join("labelled.so")).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let address = image.functions().find(|symbol| symbol.name == b"hidden").unwrap().address;
        let fact = Fact {
            name: "hidden".to_owned(),
            qualified: None,
            address,
            size: 0,
            kind: Kind::Entry,
            method: Method::Symtab,
            confidence: Confidence::Labelled,
            evidence: Vec::new(),
            returns: Vec::new(),
        };
        let origin = Origin {
            ecosystem: "pypi".to_owned(),
            package: "one".to_owned(),
            version: "1.0".to_owned(),
            tag: String::new(),
            platform: String::new(),
            path: String::new(),
        };
        let layout = Layout {
            ecosystem: origin.ecosystem.clone(),
            package: origin.package.clone(),
            version: origin.version.clone(),
            machine: image.machine().name(),
            configuration: "NDEBUG".to_owned(),
            name: "state".to_owned(),
            size: 32,
            source: "compiled".to_owned(),
            evidence: Vec::new(),
            fields: vec![Field { path: "in.y".to_owned(), offset_bits: 128, size_bits: 64 }],
        };
        let mut store = Store::create(&folder.path().join("offsets.sqlite")).unwrap();
        store.add(&Fingerprint::of(&image), &[origin], &[fact]).unwrap();
        store.add_layouts(&[layout]).unwrap();
        let offset = image.file_offset(address).unwrap().0;
        Some(Place { folder, offset })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, source: &str, arguments: &[&str], libraries: &[PathBuf]) -> Option<PathBuf> {
        let out = self.path(source);
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-g"]).args(arguments);
        gcc.arg("-I").arg(here().join("include")).arg("-I").arg(here().join("../../loader/c/include"));
        gcc.arg(here().join("examples").join(format!("{source}.c")));
        for library in libraries {
            gcc.arg(library).arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
        }
        // built with the whole workspace, the static library has the loader in it, and that libbpf
        must(gcc.args(["-lelf", "-lz", "-lpthread", "-ldl", "-lm"]).arg("-o").arg(&out)).map(|_| out)
    }

    /// What both examples print.
    #[track_caller]
    fn check(&self, mut command: Command) {
        command.arg(self.path("offsets.sqlite")).arg(self.path("library.so"));
        let Some(output) = run(command.args(["hidden", "state.in.y", "state.in.x", "nothing", "shown"])) else {
            return;
        };
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{text}{errors}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("hidden: {:#x}: symtab in the database", self.offset));
        assert_eq!(lines[1], "state.in.y: byte 16, 8 bytes: one 1.0, NDEBUG: compiled");
        assert!(lines[2].starts_with("shown: 0x") && lines[2].ends_with(": its symbol"), "{text}");
        for words in ["no field in.x is known of state", "no function nothing, by its symbols and by the database"] {
            assert!(errors.contains(words), "{errors}");
        }
    }
}

#[test]
fn the_c_example_is_clean_under_valgrind() {
    let Some(place) = Place::new() else { return };
    let Some(program) = place.program("offsets", &[], &[library("liblcc_offsets.so")]) else { return };
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=99"]);
    valgrind.arg(program);
    place.check(valgrind);
}

#[test]
fn the_c_example_is_clean_under_the_address_sanitizer() {
    let Some(place) = Place::new() else { return };
    let archive = library("liblcc_offsets.a");
    let Some(program) = place.program("offsets", &["-fsanitize=address,undefined"], &[archive]) else { return };
    place.check(Command::new(&program));
    let (database, file) = (place.path("offsets.sqlite"), place.path("library.so"));
    let text = place.path("library.c");
    for (database, file, words) in [
        (Path::new("/absent"), &file, "/absent: unable to open database file"),
        (&text, &file, "library.c: file is not a database"),
        (&database, &PathBuf::from("/absent.so"), "hidden: error 4: /absent.so: No such file"),
        (&database, &text, "hidden: error 2: "),
    ] {
        let Some(output) = run(Command::new(&program).arg(database).arg(file).arg("hidden")) else { return };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(words), "{errors}");
    }
}

#[test]
fn the_python_example_is_clean_under_the_address_sanitizer() {
    let Some(place) = Place::new() else { return };
    let Some(sanitizer) = must(Command::new("gcc").arg("-print-file-name=libasan.so")) else { return };
    let mut python = Command::new("python3");
    // what Python itself leaves behind at its end is of no account
    python.env("LD_PRELOAD", String::from_utf8(sanitizer.stdout).unwrap().trim()).env("ASAN_OPTIONS", "detect_leaks=0");
    python.arg(here().join("examples/offsets.py")).arg(library("liblcc_offsets.so"));
    place.check(python);
}

/// A uprobe on a function that the file itself has no symbol of is attached where the database says.
#[test]
fn root_the_loader_asks_the_database() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let is_root = status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    if !is_root || !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return skip("needs root, and a kernel with BTF of its own");
    }
    let Some(place) = Place::new() else { return };
    let source = "#include \"compat.bpf.h\"\n#include \"lcc.bpf.h\"\n\
        SEC(\"uprobe/\" FILE \":hidden\") int on_hidden(void *ctx) { return 0; }\n\
        LCC_OPTIONAL SEC(\"uprobe/\" FILE \":nothing\") int on_nothing(void *ctx) { return 0; }\n\
        char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";
    std::fs::write(place.path("probe.bpf.c"), source).unwrap();
    let file = format!("-DFILE=\"{}\"", place.path("library.so").display());
    let source = place.path("probe.bpf.c");
    let Some(object) = compile::for_test(&here().join("../.."), &source, &["-I", "bpf", &file]) else { return };
    std::fs::write(place.path("probe.o"), object).unwrap();
    let libraries = [library("liblcc_offsets.so"), library("liblcc_loader.so")];
    let Some(program) = place.program("probe", &[], &libraries) else { return };
    let mut probe = Command::new(program);
    let Some(output) = must(probe.arg(place.path("offsets.sqlite")).arg(place.path("probe.o"))) else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("on  on_hidden") && text.contains("off on_nothing"), "{text}");
    assert!(text.contains("the resolver says that there is no nothing"), "{text}");
}
