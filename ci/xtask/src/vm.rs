//! `cargo xtask vm`: boots real kernels in qemu and holds plans against what they do.
//!
//! ```text
//! the registry's cloud kernels ─> vmlinuz ─┐
//! vm-guest, linked statically ─> initramfs ┴─> qemu ─> lines of JSON on the serial console ─> a table
//! ```
//!
//! Without KVM, which many machines have and cannot use; a kernel boots in seconds all the same. One processor: with two,
//! qemu's threads let some kernels panic.

mod boot;
mod images;
mod initramfs;

use crate::{cargo, process, setup, workspace};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Which kernels, and which objects.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kernel line (5.10, 6.1, 6.12, newest); repeatable.
    #[arg(long)]
    line: Vec<String>,
    /// A BPF object; repeatable. Else a program of every kind, and the project's own objects.
    #[arg(long, value_name = "FILE")]
    object: Vec<PathBuf>,
    /// Run also the tests of tcprt there, by each way that the kernel allows.
    #[arg(long)]
    tests: bool,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

/// Boots each kernel and prints a line for each object on it; exit 1 where a kernel did otherwise than predicted.
///
/// # Errors
/// A kernel cannot be fetched or does not boot, the guest cannot be built.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::install_missing()?;
    setup::install_emulator()?;
    let objects = if args.object.is_empty() { default_objects()? } else { args.object.clone() };
    let guest = build_guest()?;
    let folder = workspace::create(workspace::target()?.join("vm"))?;
    let archive = folder.join("initramfs.cpio");
    let mut files = vec![("init".to_owned(), guest, true)];
    for object in &objects {
        let name = object.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((format!("objects/{name}"), object.clone(), false));
    }
    let tests = if args.tests { tests()? } else { Vec::new() };
    let expected = objects.len() + tests.iter().filter(|(_, _, is_program)| *is_program).count();
    files.extend(tests);
    initramfs::write(&archive, &files)?;
    let mut differs = false;
    let mut all = Vec::new();
    for image in images::fetch(&args.line)? {
        eprintln!("vm: booting {}", image.release);
        let log = folder.join(format!("{}.log", image.release));
        let results = boot::boot(&image.vmlinuz, &archive, &log, if args.tests { WITH_TESTS } else { LIMIT })?;
        if results.len() != expected {
            bail!(
                "{}: {} of {} objects and tests have a result; see {}",
                image.release,
                results.len(),
                expected,
                log.display()
            );
        }
        for result in &results {
            differs |= report(&image.release, result, args.json);
        }
        all.extend(results);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all).context("write JSON")?);
    }
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints one object's line, and one for each program that differs. Gives whether any does.
fn report(release: &str, result: &Value, quiet: bool) -> bool {
    if let Some(tests) = result["tests"].as_str() {
        let passed = result["passed"] == true;
        if !quiet {
            println!("{release:28} {tests:16} {}", if passed { "passed" } else { "FAILED" });
        }
        return !passed;
    }
    let programs = result["programs"].as_array().map_or(&[][..], Vec::as_slice);
    let count = |word: &str| programs.iter().filter(|program| program["predicted"] == word).count();
    let differing: Vec<&Value> = programs.iter().filter(|program| program["differs"] == true).collect();
    if !quiet {
        println!(
            "{release:28} {:16} {:3} programs: {:3} met, {:3} unmet, {:3} unknown; {} differ",
            result["object"].as_str().unwrap_or_default(),
            programs.len(),
            count("met"),
            count("unmet"),
            count("unknown"),
            differing.len()
        );
        for program in &differing {
            println!("    {} predicted {}, {}", program["program"], program["predicted"], program["refused"]);
        }
    }
    !differing.is_empty()
}

/// The object with a program of every kind, and the project's own.
fn default_objects() -> Result<Vec<PathBuf>> {
    let mut objects = crate::objects::build()?;
    objects.insert(0, zoo()?);
    Ok(objects)
}

/// Compiles the object with a program of every kind.
///
/// # Errors
/// clang failed.
pub(crate) fn zoo() -> Result<PathBuf> {
    let root = workspace::root()?;
    let zoo = workspace::create(workspace::target()?.join("vm"))?.join("zoo.bpf.o");
    compile::object(&root, Path::new("loader/lcc-load/tests/fixtures/zoo.bpf.c"), &zoo, &[])?;
    Ok(zoo)
}

/// The slowest kernel takes a sixth of this.
const LIMIT: Duration = Duration::from_secs(120);

/// The same with tests.
const WITH_TESTS: Duration = Duration::from_secs(900);

/// The programs of tests that run in a virtual machine.
const TESTS: [&str; 2] = ["tcprt_http", "tcprt_payload"];

/// Builds the tests, and the objects that they load: where each goes, the file, whether it is a program.
fn tests() -> Result<Vec<(String, PathBuf, bool)>> {
    let mut build = static_build("test", "lcc-loader/static")?;
    build.args(["--no-run", "--package", "lcc-tests", "--package", "lcc-loader"]);
    build.arg("--message-format=json-render-diagnostics");
    build.args(TESTS.iter().flat_map(|test| ["--test", test]));
    let said = process::stdout_of(&mut build)?;
    let mut files = Vec::new();
    for message in said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let name = message["target"]["name"].as_str().filter(|name| TESTS.contains(name));
        if let (Some(name), Some(path)) = (name, message["executable"].as_str()) {
            files.push((format!("tests/{name}"), PathBuf::from(path), true));
        }
    }
    if files.len() != TESTS.len() {
        bail!("cargo built {} of {} programs of tests", files.len(), TESTS.len());
    }
    let folder = workspace::create(workspace::target()?.join("vm"))?;
    for (source, name) in [("bpf/tcprt/tcprt.bpf.c", "tcprt.o"), ("tests/tests/fixtures/lossy.bpf.c", "lossy.o")] {
        let object = folder.join(name);
        compile::object(&workspace::root()?, Path::new(source), &object, &[])?;
        files.push((format!("tests/objects/{name}"), object, false));
    }
    Ok(files)
}

/// Builds the guest as a program that needs no other file.
fn build_guest() -> Result<PathBuf> {
    process::run(static_build("build", "static")?.args(["--package", "vm-guest"]))?;
    Ok(workspace::target()?.join(host()?).join("release/vm-guest"))
}

/// A cargo command for programs that need no other file.
fn static_build(what: &str, features: &str) -> Result<std::process::Command> {
    let folders = process::stdout_of(process::command("gcc", Path::new(".")).arg("-print-file-name=libelf.a"))?;
    let libraries = Path::new(folders.trim()).parent().context("find libelf.a")?.to_owned();
    let mut build = cargo::command()?;
    // a target of its own: what is built for this machine's own programs stays
    build.args([what, "--release", "--features", features, "--target", &host()?]);
    build.env("RUSTFLAGS", "-C target-feature=+crt-static").env("LIBBPF_SYS_LIBRARY_PATH", libraries);
    Ok(build)
}

/// This machine's target, as rustc calls it.
fn host() -> Result<String> {
    let rustc = process::stdout_of(process::command("rustc", Path::new(".")).arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("find rustc's host")?;
    Ok(host.to_owned())
}
