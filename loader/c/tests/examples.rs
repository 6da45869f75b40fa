//! The header is that of the crate, and the examples do what they say: in C under valgrind and the address sanitizer, in Python
//! under the address sanitizer. As root. `UPDATE_GOLDEN=1` rewrites the header.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    let path = here().join("include/lcc_loader.h");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{}: not that of the crate (UPDATE_GOLDEN=1 writes it)", path.display());
}

/// Where cargo has put the library.
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

fn may_load() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    let types = Path::new("/sys/kernel/btf/vmlinux").exists();
    if !root || !types {
        skip("needs root, and a kernel with BTF of its own");
    }
    root && types
}

fn object(folder: &Path) -> Option<PathBuf> {
    let out = folder.join("switches.o");
    let object = compile::for_test(&here().join("../.."), Path::new("loader/c/examples/switches.bpf.c"), &[])?;
    std::fs::write(&out, object).unwrap();
    Some(out)
}

fn program(folder: &Path, arguments: &[&str], library: &Path) -> Option<PathBuf> {
    let out = folder.join("events");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-g"]).args(arguments);
    gcc.arg("-I").arg(here().join("include")).arg(here().join("examples/events.c")).arg(library);
    if library.extension().is_some_and(|extension| extension == "a") {
        gcc.args(["-lelf", "-lz", "-lpthread", "-ldl", "-lm"]);
    } else {
        gcc.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display()));
    }
    must(gcc.arg("-o").arg(&out)).map(|_| out)
}

/// A task that sleeps and wakes all the time, to be seen.
struct Busy(std::process::Child);

impl Busy {
    fn new() -> Busy {
        Busy(Command::new("sh").args(["-c", "while sleep 0.01; do :; done"]).spawn().unwrap())
    }

    fn setting(&self) -> String {
        format!("pid={}", self.0.id())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What both examples print of the same object.
#[track_caller]
fn check(output: &Output, busy: &Busy, on: &str) {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains(on) && text.contains("off nowhere"), "{text}");
    // JSON in C, a dictionary in Python
    let (one, other) = (format!("\"pid\":{},", busy.0.id()), format!("'pid': {},", busy.0.id()));
    let is_event = |line: &&str| line.starts_with("switches ");
    let of_busy = text.lines().filter(is_event).filter(|line| line.contains(&one) || line.contains(&other));
    assert_eq!((text.lines().filter(is_event).count(), of_busy.count()), (5, 5), "{text}");
}

#[test]
fn root_the_c_example_is_clean_under_valgrind() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = object(folder.path()) else { return };
    let Some(program) = program(folder.path(), &[], &library("liblcc_loader.so")) else { return };
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=99"]);
    // it does not know that bpf(2) writes: what the kernel answers would seem uninitialised
    valgrind.arg("--undef-value-errors=no");
    valgrind.arg(&program).arg(&object);
    let busy = Busy::new();
    valgrind.args(["5", &busy.setting()]);
    let Some(output) = run(&mut valgrind) else { return };
    check(&output, &busy, "on  switch_typed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("log: BTF: the kernel's own BTF: taken"), "{errors}");
    assert!(errors.contains("log: switch_typed is attached"), "{errors}");
}

/// With the archive, which has all but libelf, zlib and the C library.
#[test]
fn root_the_c_example_is_clean_under_the_address_sanitizer() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = object(folder.path()) else { return };
    let Some(program) = program(folder.path(), &["-fsanitize=address,undefined"], &library("liblcc_loader.a")) else {
        return;
    };
    let busy = Busy::new();
    let Some(output) = run(Command::new(&program).arg(&object).args(["5", &busy.setting()])) else { return };
    check(&output, &busy, "on  switch_typed");
    // errors are values, and leak nothing either
    for (arguments, code, words) in [
        (&["/absent.o", "1"][..], "2", "/absent.o: No such file"),
        (&["/proc/self/status", "1"], "3", "status: "),
        (&["OBJECT", "1", "pid=x"], "5", "pid=x: x is no number"),
        (&["OBJECT", "1", "pid"], "1", "the value is null"),
    ] {
        let mut command = Command::new(&program);
        for argument in arguments {
            match *argument {
                "OBJECT" => command.arg(&object),
                argument => command.arg(argument),
            };
        }
        let Some(output) = run(&mut command) else { return };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(&format!("error {code}: ")) && errors.contains(words), "{errors}");
    }
}

#[test]
fn root_the_python_example_is_clean_under_the_address_sanitizer() {
    if !may_load() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(object) = object(folder.path()) else { return };
    let Some(sanitizer) = must(Command::new("gcc").arg("-print-file-name=libasan.so")) else { return };
    let mut python = Command::new("python3");
    // what Python itself leaves behind at its end is of no account
    python.env("LD_PRELOAD", String::from_utf8(sanitizer.stdout).unwrap().trim()).env("ASAN_OPTIONS", "detect_leaks=0");
    python.arg(here().join("examples/events.py")).arg(library("liblcc_loader.so"));
    let busy = Busy::new();
    let Some(output) = run(python.arg(&object).args(["5", &busy.setting()])) else { return };
    check(&output, &busy, "on  switch_typed");
}
