//! What `docs/loader.md` shows is true: its examples compile, and it has every code of the header.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn guide() -> String {
    fs::read_to_string(here().join("../../docs/loader.md")).unwrap()
}

/// The first block of a language.
fn block<'g>(guide: &'g str, language: &str) -> &'g str {
    let (_, rest) = guide.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

fn header() -> String {
    fs::read_to_string(here().join("include/lcc_loader.h")).unwrap()
}

/// Whether a tool takes a source. A missing tool is a failure where `CI=true`.
fn check(tool: &str, arguments: &[&str], name: &str, source: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    fs::write(&path, source).unwrap();
    match Command::new(tool).args(arguments).arg(&path).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {tool}: {error}");
            eprintln!("skipped: {tool}: {error}");
        }
    }
}

#[test]
fn the_c_example_compiles() {
    let include = format!("-I{}", here().join("include").display());
    let arguments = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", &include];
    check("gcc", &arguments, "example.c", block(&guide(), "c"));
}

#[test]
fn the_python_example_is_python_and_calls_what_there_is() {
    let guide = guide();
    let source = block(&guide, "python");
    check("python3", &["-m", "py_compile"], "example.py", source);
    let header = header();
    let calls: Vec<&str> = source
        .split("lib.")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .filter(|name| name.starts_with("lcc_"))
        .collect();
    assert!(calls.len() > 5, "{calls:?}");
    for name in calls {
        assert!(header.contains(&format!("{name}(")), "the header has no {name}()");
    }
}

#[test]
fn the_rust_example_is_that_of_the_crate() {
    let crate_root = fs::read_to_string(here().join("../src/lib.rs")).unwrap();
    let documented = block(&crate_root, "no_run");
    let documented: String = documented
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    assert_eq!(documented.trim_end(), block(&guide(), "rust").trim_end());
}

#[test]
fn every_code_is_told() {
    let (guide, header) = (guide(), header());
    let codes: Vec<(&str, &str)> =
        header.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")).collect();
    assert!(codes.len() > 10, "{codes:?}");
    for (name, number) in codes {
        assert!(guide.contains(&format!("{number} `{name}`")), "docs/loader.md does not tell {name}, {number}");
    }
}
