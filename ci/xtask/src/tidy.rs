//! What no compiler checks: the layering, the licences, and what must never be committed.

use crate::{cargo, process, workspace};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which workspace crates each crate may use, besides what cargo itself forbids (cycles). A new crate gets a row.
const LAYERS: &[(&str, &[&str])] = &[
    ("apt", &[]),
    ("btf", &[]),
    ("dwarf", &["btf"]),
    ("pack", &[]),
    ("packages", &[]),
    ("lcc-plan", &["btf"]),
    ("lcc-loader", &["btf", "pack", "lcc-plan"]),
    ("lcc-load", &["btf", "lcc-plan", "lcc-loader", "offset-db"]),
    ("lcc-loader-c", &["btf", "lcc-plan", "lcc-loader"]),
    ("lcc-btf", &["btf", "dwarf", "pack", "packages", "lcc-plan"]),
    ("archive", &[]),
    ("image", &[]),
    ("identify", &["image"]),
    ("offset-db", &["image", "lcc-loader"]),
    ("lcc-offsets-c", &["offset-db"]),
    ("offsetdb", &["apt", "archive", "image", "identify", "offset-db", "packages", "symbols", "lcc-loader"]),
    ("symbols", &["image"]),
    ("vm-guest", &["btf", "lcc-plan", "lcc-loader"]),
    ("lcc-vm", &["apt", "vm-guest"]),
    ("lcc-bpf-compile", &[]),
    ("xtask", &["apt", "btf", "dwarf", "pack", "lcc-btf", "lcc-bpf-compile", "lcc-vm", "vm-guest"]),
    ("pingtrace", &["btf", "lcc-plan", "lcc-loader", "lcc-bpf-compile"]),
    ("tcprt", &["btf", "lcc-plan", "lcc-loader", "lcc-bpf-compile"]),
    ("lcc-tests", &["lcc-bpf-compile", "lcc-loader"]),
];

/// Crates that take bytes and return values: no unsafe code, no files, no processes, no environment.
const CORES: &[&str] = &[
    "btfhub-gen/btf",
    "btfhub-gen/dwarf",
    "loader/plan",
    "offset-db/archive",
    "offset-db/image",
    "offset-db/identify",
    "offset-db/symbols",
];
const IO_MODULES: &[&str] = &["std::fs", "std::net", "std::process", "std::env", "std::os", "memmap2"];

/// Module names that say nothing. (`helpers` would too, but BPF has helper functions.)
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "misc"];

/// Folders of one machine, and words for code that is not finished. Split, so that this file passes its own check.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("FIX", "ME"), "unfinished code"),
    (concat!("XX", "X:"), "unfinished code"),
    (concat!("TO", "DO"), "unfinished code"),
];

/// A file in git larger than this needs a reason, in [`LARGE_FILES`].
const LARGEST_FILE: u64 = 1 << 20;
/// Larger files, how large they may be, and why: a database of SQLite is one file, and users install it as it is. Packed by git it is a
/// third of that.
const LARGE_FILES: &[(&str, u64)] = &[("data/offsets.sqlite", 8 << 20)];

/// Runs the checks and prints each finding on stderr; exit 1 if there is any.
///
/// # Errors
/// The checkout cannot be read, or `cargo metadata` failed.
pub(crate) fn run() -> Result<ExitCode> {
    let findings = findings()?;
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As [`run`], with findings as an error.
///
/// # Errors
/// As [`run`], and when there is a finding.
pub(crate) fn check() -> Result<()> {
    let findings = findings()?;
    if !findings.is_empty() {
        bail!("{} findings:\n  {}", findings.len(), findings.join("\n  "));
    }
    Ok(())
}

fn findings() -> Result<Vec<String>> {
    let root = workspace::root()?;
    let metadata = process::stdout_of(cargo::command()?.args(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo metadata's output")?;
    let mut findings = layering(&metadata);
    findings.extend(dependency_licences(&metadata, &Licences::read(&root)?));
    for relative in tracked_files(&root)? {
        let path = root.join(&relative);
        let Ok(bytes) = std::fs::read(&path) else { continue }; // deleted, not yet committed
        let allowed =
            LARGE_FILES.iter().find(|(path, _)| Path::new(path) == relative).map_or(LARGEST_FILE, |(_, most)| *most);
        if bytes.len() as u64 > allowed {
            findings.push(format!("{}: {} bytes, too large for git", relative.display(), bytes.len()));
        }
        // Paths are found in binary files too.
        findings.extend(text_findings(&relative, &String::from_utf8_lossy(&bytes)));
    }
    Ok(findings)
}

/// Edges between workspace crates that [`LAYERS`] does not have. Only normal and build dependencies count.
fn layering(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let ours: BTreeSet<&str> =
        packages.iter().filter(|package| package["source"].is_null()).filter_map(|p| p["name"].as_str()).collect();
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            findings.push(format!("crate {name} has no row in tidy's table of layers"));
            continue;
        };
        for dependency in package["dependencies"].as_array().map_or(&[][..], Vec::as_slice) {
            let on = dependency["name"].as_str().unwrap_or_default();
            if dependency["kind"] != "dev" && ours.contains(on) && !allowed.contains(&on) {
                findings.push(format!("crate {name} must not depend on {on}"));
            }
        }
    }
    findings
}

/// What `deny.toml` says of licences.
struct Licences {
    allowed: BTreeSet<String>,
    /// Crates with a licence of their own, for development only.
    exceptions: Vec<(String, BTreeSet<String>)>,
}

impl Licences {
    fn read(root: &Path) -> Result<Self> {
        let path = root.join("deny.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("find the licences in {}", path.display()))
    }

    /// `allow = [ "…" ]` and the lines `{ crate = "…", allow = ["…"] }`.
    fn parse(text: &str) -> Option<Self> {
        let quoted = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let (list, _) = text.split_once("\nallow = [")?.1.split_once(']')?;
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("{ crate = "));
        let exceptions = lines.filter_map(|line| {
            let (name, licences) = line.split_once(", allow = ")?;
            Some((quoted(name).pop()?, quoted(licences).into_iter().collect()))
        });
        Some(Self { allowed: quoted(list).into_iter().collect(), exceptions: exceptions.collect() })
    }

    fn allow(&self, name: &str, expression: &str) -> bool {
        let exception = self.exceptions.iter().find(|(excepted, _)| excepted == name);
        is_allowed(expression, &self.allowed) || exception.is_some_and(|(_, allowed)| is_allowed(expression, allowed))
    }
}

fn dependency_licences(metadata: &Value, licences: &Licences) -> Vec<String> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if !licences.allow(name, package["license"].as_str().unwrap_or_default()) {
            findings.push(format!("{name} {}: licence {} is not in deny.toml", package["version"], package["license"]));
        }
        for dependency in package["dependencies"].as_array().map_or(&[][..], Vec::as_slice) {
            let on = dependency["name"].as_str().unwrap_or_default();
            let is_excepted = |name: &str| licences.exceptions.iter().any(|(excepted, _)| excepted == name);
            if is_excepted(on) && !is_excepted(name) && dependency["kind"] != "dev" {
                findings.push(format!("{name}: {on} has a licence for development only"));
            }
        }
    }
    findings
}

/// An SPDX expression of AND, OR and parentheses (and the old `/` for OR): is some choice of licences all allowed?
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "_WITH_");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace("_WITH_", " WITH ")).collect();
    fn any_of(words: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
        let mut result = all_of(words, at, allowed);
        while words.get(*at).is_some_and(|word| word == "OR") {
            *at += 1;
            result |= all_of(words, at, allowed);
        }
        result
    }
    fn all_of(words: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
        let mut result = one(words, at, allowed);
        while words.get(*at).is_some_and(|word| word == "AND") {
            *at += 1;
            result &= one(words, at, allowed);
        }
        result
    }
    fn one(words: &[String], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
        let Some(word) = words.get(*at) else { return false };
        *at += 1;
        if word != "(" {
            return allowed.contains(word);
        }
        let result = any_of(words, at, allowed);
        *at += 1;
        result
    }
    let mut at = 0;
    any_of(&words, &mut at, allowed) && at == words.len()
}

/// What git tracks or would add; without git, every file outside the build's folders.
fn tracked_files(root: &Path) -> Result<Vec<PathBuf>> {
    let listed = process::stdout_of(process::command("git", root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]));
    if let Ok(listed) = listed {
        return Ok(listed.split_terminator('\0').map(PathBuf::from).collect());
    }
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(root.join(&folder)).with_context(|| format!("read {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("read {}", folder.display()))?;
            let name = entry.file_name();
            let relative = folder.join(&name);
            match entry.file_type() {
                Ok(kind) if kind.is_file() => files.push(relative),
                Ok(kind) if kind.is_dir() && name != "target" && name != ".git" => folders.push(relative),
                _ => {}
            }
        }
    }
    Ok(files)
}

fn text_findings(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (word, reason) in FORBIDDEN {
            if line.contains(word) {
                findings.push(format!("{shown}:{}: {reason}: {word}", number + 1));
            }
        }
    }
    if path.file_stem().is_some_and(|stem| EMPTY_NAMES.iter().any(|name| stem == *name)) {
        findings.push(format!("{shown}: a name that says nothing; name the file after its concept"));
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if path.starts_with("bpf") && matches!(extension, "c" | "h") {
        const SPDX: &str = "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause";
        if !text.lines().next().is_some_and(|line| line.contains(SPDX)) {
            findings.push(format!("{shown}:1: the first line must say {SPDX}"));
        }
    }
    if let Some(core) = CORES.iter().find(|core| path.starts_with(Path::new(core).join("src"))) {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for module in IO_MODULES.iter().filter(|module| line.contains(**module)) {
                if !is_test_code(path, text, number) {
                    findings.push(format!("{shown}:{}: {core} does no I/O, but names {module}", number + 1));
                }
            }
        }
        if path.ends_with("lib.rs") && !text.contains("#![forbid(unsafe_code)]") {
            findings.push(format!("{shown}: {core} must say #![forbid(unsafe_code)]"));
        }
    }
    findings
}

/// Below a `#[cfg(test)]`, which this project keeps at a file's end, or in a file of tests.
fn is_test_code(path: &Path, text: &str, line: usize) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
        || path.components().any(|part| part.as_os_str() == "tests")
        || text.lines().take(line).any(|before| before.trim() == "#[cfg(test)]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        check().unwrap();
    }

    #[test]
    fn licences_of_dependencies() {
        fn check(name: &str, licence: Option<&str>, on: Option<(&str, Option<&str>)>, expected: usize) {
            let licences = Licences::parse(
                "[licenses]\nallow = [\n    \"MIT\",\n]\nexceptions = [\n    { crate = \"x\", allow = [\"LGPL\"] },\n]",
            );
            let dependencies: Vec<Value> =
                on.iter().map(|(on, kind)| serde_json::json!({"name": on, "kind": kind})).collect();
            let package = serde_json::json!({"name": name, "license": licence, "dependencies": dependencies});
            let findings = dependency_licences(&serde_json::json!({"packages": [package]}), &licences.unwrap());
            assert_eq!(findings.len(), expected, "{findings:?}");
        }
        check("a", Some("MIT"), None, 0);
        check("a", Some("LGPL"), None, 1);
        check("x", Some("LGPL"), None, 0);
        check("a", None, None, 1);
        check("a", Some("MIT"), Some(("x", None)), 1);
        check("a", Some("MIT"), Some(("x", Some("dev"))), 0);
        check("a", Some("MIT"), Some(("b", None)), 0);
    }

    #[test]
    fn licence_expressions() {
        fn check(expression: &str, expected: bool) {
            let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
        check("MIT", true);
        check("MIT OR GPL-3.0", true);
        check("MIT AND GPL-3.0", false);
        check("GPL-3.0 OR (MIT AND Apache-2.0)", true);
        check("(MIT OR GPL-3.0) AND GPL-2.0", false);
        check("MIT/Apache-2.0", true);
        check("Apache-2.0 WITH LLVM-exception", true);
        check("GPL-2.0 WITH LLVM-exception", false);
        check("", false);
        check("MIT MIT", false);
    }

    #[test]
    fn texts() {
        fn check(path: &str, text: &str, expected: &[&str]) {
            assert_eq!(text_findings(Path::new(path), text), expected);
        }
        check("a.rs", concat!("x\nlet p = \"/wo", "rk/x\";"), &[concat!("a.rs:2: a path of one machine: /wo", "rk/")]);
        check("x/utils.rs", "", &["x/utils.rs: a name that says nothing; name the file after its concept"]);
        check(
            "bpf/a.bpf.c",
            "int x;",
            &["bpf/a.bpf.c:1: the first line must say SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"],
        );
        check(
            "btfhub-gen/btf/src/a.rs",
            "use std::fs;\n// std::env\n#[cfg(test)]\nuse std::env;",
            &["btfhub-gen/btf/src/a.rs:1: btfhub-gen/btf does no I/O, but names std::fs"],
        );
        check(
            "btfhub-gen/dwarf/src/lib.rs",
            "",
            &["btfhub-gen/dwarf/src/lib.rs: btfhub-gen/dwarf must say #![forbid(unsafe_code)]"],
        );
    }

    #[test]
    fn layers() {
        fn check(name: &str, on: &str, kind: Option<&str>, expected: usize) {
            let package = |name: &str, dependencies: Value| serde_json::json!({"name": name, "source": null, "dependencies": dependencies});
            let packages =
                [package(name, serde_json::json!([{"name": on, "kind": kind}])), package(on, serde_json::json!([]))];
            assert_eq!(layering(&serde_json::json!({"packages": packages})).len(), expected, "{name} -> {on}");
        }
        check("dwarf", "btf", None, 0);
        check("btf", "dwarf", None, 1);
        check("btf", "dwarf", Some("dev"), 0);
        check("dwarf", "lcc-btf", Some("build"), 1);
        check("unheard-of", "btf", None, 1);
    }
}
