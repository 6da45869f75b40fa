//! `cargo xtask vm`: boots real kernels in qemu and holds plans against what they do.
//!
//! ```text
//! the registry's cloud kernels ─> vmlinuz, veth ───┐
//! vm-guest, tests, agents, linked statically ──────┴─> initramfs ─> qemu ─> lines of JSON on the serial console ─> a table
//! ```
//!
//! Without KVM, which many machines have and cannot use; a kernel boots in seconds all the same. One processor: with two,
//! qemu's threads let some kernels panic.

mod boot;
mod images;
mod initramfs;
mod programs;

use crate::{cargo, process, setup, workspace};
use anyhow::{Context, Result, bail};
use boot::{Clock, Machine};
use initramfs::File;
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
    /// Run also the tests of tcprt there, by each way that the kernel allows, and those of the agents as users run them.
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
    let folder = workspace::create(workspace::target()?.join("vm"))?;
    let mut files = vec![guest()?];
    for object in &objects {
        let name = object.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((format!("objects/{name}"), object.clone(), false));
    }
    let mut expected = objects.len();
    if args.tests {
        expected += TESTS.len();
        files.extend(tests()?);
    }
    let mut differs = false;
    let mut all = Vec::new();
    for image in images::fetch(&args.line)? {
        eprintln!("vm: booting {}", image.release);
        let archive = folder.join("initramfs.cpio");
        write_initramfs(&archive, &image, &files)?;
        let log = folder.join(format!("{}.log", image.release));
        let limit = if args.tests { WITH_TESTS } else { LIMIT };
        let results = boot::boot(&Machine {
            vmlinuz: &image.vmlinuz,
            initramfs: &archive,
            log: &log,
            limit,
            clock: Clock::Real,
        })?;
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

/// Writes the archive for a kernel: these files, and its modules.
fn write_initramfs(archive: &Path, image: &images::Image, files: &[File]) -> Result<()> {
    let modules = image.veth.iter().map(|module| ("modules/veth.ko".to_owned(), module.clone(), false));
    initramfs::write(archive, &files.iter().cloned().chain(modules).collect::<Vec<_>>())
}

/// What `cargo xtask bench` has a virtual machine do.
pub(crate) struct Job {
    /// The line of its kernel, as `--line` has it.
    pub(crate) line: &'static str,
    /// Programs of `lcc-tests`' examples, built statically; each is `bin/NAME`.
    pub(crate) examples: Vec<&'static str>,
    /// Programs of this machine; each is `bin/NAME`, with its libraries.
    pub(crate) programs: Vec<&'static str>,
    /// Whether the agents are there: `bin/tcprt`, `bin/pingtrace`.
    pub(crate) agents: bool,
    /// Other files: their names there, and where they are here.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// What is run: words, of which the first is a program's path.
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) limit: Duration,
}

/// Boots a kernel whose time is the number of instructions, and gives its release and what each command printed.
///
/// # Errors
/// A program is missing or cannot be built, the machine does not come to its end, or a command fails.
pub(crate) fn count_instructions(job: &Job) -> Result<(String, Vec<Value>)> {
    setup::install_emulator()?;
    let folder = workspace::create(workspace::target()?.join("vm"))?;
    let mut files = vec![guest()?];
    let mut build = static_build("build", "lcc-loader/static")?;
    build.args(["--package", "lcc-tests", "--package", "lcc-loader"]);
    process::run(build.args(job.examples.iter().flat_map(|example| ["--example", example])))?;
    for example in &job.examples {
        files.push(stripped(&static_folder()?.join("examples").join(example), &format!("bin/{example}"))?);
    }
    if job.agents {
        files.extend(agents()?);
    }
    for program in &job.programs {
        files.extend(programs::with_libraries(program)?.with_context(|| format!("{program} is not installed"))?);
    }
    files.extend(job.files.iter().map(|(name, path)| (name.clone(), path.clone(), false)));
    let commands = folder.join("commands.json");
    std::fs::write(&commands, serde_json::to_vec(&job.commands).context("write JSON")?)
        .with_context(|| format!("write {}", commands.display()))?;
    files.push(("commands.json".to_owned(), commands, false));
    let image = images::fetch(&[job.line.to_owned()])?.pop().context("a kernel")?;
    let log = folder.join(format!("{}-instructions.log", image.release));
    let archive = folder.join("instructions.cpio");
    write_initramfs(&archive, &image, &files)?;
    eprintln!("vm: booting {}, the console is in {}", image.release, log.display());
    let results = boot::boot(&Machine {
        vmlinuz: &image.vmlinuz,
        initramfs: &archive,
        log: &log,
        limit: job.limit,
        clock: Clock::Instructions,
    })?;
    let mut told = Vec::new();
    for mut result in results {
        if result["passed"] != true {
            bail!("{} failed in {}; see {}", result["command"], image.release, log.display());
        }
        told.push(result["told"].take());
    }
    if told.len() != job.commands.len() {
        bail!("{}: {} of {} commands have a result", image.release, told.len(), job.commands.len());
    }
    Ok((image.release, told))
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
const TESTS: [&str; 7] =
    ["agent", "agents_in_kernels", "kernel_truth", "stripped_uprobe", "tcprt_http", "tcprt_payload", "unprivileged"];

/// Sources of the objects that they load.
const OBJECTS: [&str; 6] = [
    "bpf/tcprt/tcprt.bpf.c",
    "loader/lcc-load/tests/fixtures/zoo.bpf.c",
    "loader/tests/fixtures/agent.bpf.c",
    "tests/tests/fixtures/lossy.bpf.c",
    "tests/tests/fixtures/truth.bpf.c",
    "tests/tests/fixtures/victim.bpf.c",
];

/// Programs of this machine that tests run, where there are such.
const TOOLS: [&str; 2] = ["ip", "openssl"];

/// What OpenSSL reads.
const OPENSSL_CNF: &str = "/usr/lib/ssl/openssl.cnf";

/// Builds the tests, and what they load and run.
fn tests() -> Result<Vec<File>> {
    let mut build = static_build("test", "lcc-loader/static")?;
    build.args(["--no-run", "--package", "lcc-tests", "--package", "lcc-loader", "--package", "lcc-load"]);
    build.arg("--message-format=json-render-diagnostics");
    build.args(TESTS.iter().flat_map(|test| ["--test", test]));
    let said = process::stdout_of(&mut build)?;
    let mut files = Vec::new();
    for message in said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let name = message["target"]["name"].as_str().filter(|name| TESTS.contains(name));
        if let (Some(name), Some(path)) = (name, message["executable"].as_str()) {
            files.push(stripped(Path::new(path), &format!("tests/{name}"))?);
        }
    }
    if files.len() != TESTS.len() {
        bail!("cargo built {} of {} programs of tests", files.len(), TESTS.len());
    }
    let folder = workspace::create(workspace::target()?.join("vm"))?;
    for source in OBJECTS {
        let name = source.rsplit('/').next().unwrap_or(source).replace(".bpf.c", ".o");
        let object = folder.join(&name);
        compile::object(&workspace::root()?, Path::new(source), &object, &[])?;
        files.push((format!("tests/objects/{name}"), object, false));
    }
    files.extend(victim()?);
    files.extend(agents()?);
    for tool in TOOLS {
        files.extend(programs::with_libraries(tool)?.unwrap_or_default());
    }
    if Path::new(OPENSSL_CNF).exists() {
        files.push((OPENSSL_CNF[1..].to_owned(), OPENSSL_CNF.into(), false));
    }
    Ok(files)
}

/// Makes the stripped program that a test probes, and the database that knows it.
fn victim() -> Result<Vec<File>> {
    let folder = workspace::create(workspace::target()?.join("vm/fixtures"))?;
    let mut build = static_build("build", "lcc-loader/static")?;
    process::run(build.args(["--package", "lcc-tests", "--package", "lcc-loader", "--example", "victim"]))?;
    let make = static_folder()?.join("examples/victim");
    process::run(process::command(make, &workspace::root()?).args(["--cc", "gcc"]).arg(&folder))?;
    let file = |name: &str, is_program| (format!("tests/fixtures/{name}"), folder.join(name), is_program);
    Ok(vec![file("victim", true), file("victim.sqlite", false)])
}

/// Builds the agents.
fn agents() -> Result<Vec<File>> {
    let mut build = static_build("build", "tcprt/static,pingtrace/static,lcc-load/static")?;
    process::run(build.args(["--package", "tcprt", "--package", "pingtrace", "--package", "lcc-load", "--bins"]))?;
    ["tcprt", "pingtrace", "lcc-load"]
        .map(|agent| stripped(&static_folder()?.join(agent), &format!("bin/{agent}")))
        .into_iter()
        .collect()
}

/// Builds the guest as a program that needs no other file.
fn guest() -> Result<File> {
    process::run(static_build("build", "static")?.args(["--package", "vm-guest"]))?;
    stripped(&static_folder()?.join("vm-guest"), "init")
}

/// A program without what only a debugger reads, which is most of it: the archive is the machine's memory. Functions that a test of uprobes
/// has for itself keep their names.
fn stripped(program: &Path, name: &str) -> Result<File> {
    let folder = workspace::create(workspace::target()?.join("vm/stripped"))?;
    let to = folder.join(name.replace('/', "-"));
    let keep = ["--wildcard", "--keep-symbol=lcc_*_function", "-o"];
    process::stdout_of(process::command("strip", Path::new("/")).args(keep).arg(&to).arg(program))?;
    Ok((name.to_owned(), to, true))
}

/// Where cargo puts what [`static_build`] builds.
fn static_folder() -> Result<PathBuf> {
    Ok(workspace::target()?.join(host()?).join("release"))
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
