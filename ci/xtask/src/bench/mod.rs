//! `cargo xtask bench`: this project's programs against those that users have today, in one run on the same files.
//!
//! ```text
//! kernels in the cache ──> encode    lcc-btf gen, every pahole, a bare gimli walk: wall, CPU, memory
//! BTFHub archives ───────> minimize  one lcc-btf gen for all kernels, bpftool for each: wall, sizes, same results?
//! BTF files ─────────────> open      this project's reader, btf-rs
//! both, whole and minimal > pack     compressions: size, time to write, time to read one kernel's
//! the running kernel ────> load      loading by a plan, libbpf alone: from the object's bytes to attached
//! BTFHub archives ───────> check     lcc-btf check of a thousand kernels
//! the running kernel ────> events    telling user space of an event: a log, ring buffers, a queue, perf buffers
//! labelled wheels ───────> offsets   identification against the truth, and lines of the source; only where it is named
//! wheels in the cache ───> lookup    offsets of a stripped library: offsetdb, readelf and sqlite3, bpftrace; identification
//! nginx and redis ───────> tcprt     answering alone, and looked at by tcprt, bpftrace, tcplife, …
//! kernels in qemu ───────> ranks     each way of tcprt's object, in instructions; only where it is named
//! ```
//!
//! Contenders take turns, so that whatever else the machine does hits them alike; the least and the median are shown.

mod check;
mod encode;
mod events;
mod load;
mod lookup;
mod measure;
mod minimize;
mod open;
mod pack;
mod ranks;
mod table;
mod tcprt;

use crate::{cargo, kernels, objects, process, setup, workspace};
use anyhow::{Context, Result, bail};
use encode::Pahole;
use std::path::{Path, PathBuf};

/// What to measure and where the results go besides stdout.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these cached kernels (`6.1-amd64`, …).
    #[arg(long)]
    kernel: Vec<String>,
    /// How often each program runs on each file.
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// A folder of BTFHub's `*.btf.tar.xz`; `btfhub` in the cache unless given.
    #[arg(long)]
    btfhub: Option<PathBuf>,
    /// Write the figures here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the tables here, as Markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Only these parts.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The same.
    #[arg(value_enum)]
    parts: Vec<Part>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Encode,
    Minimize,
    Open,
    Pack,
    Load,
    Check,
    Events,
    Lookup,
    /// Downloads and compiles all versions of a package: not unless it is named.
    Offsets,
    Tcprt,
    /// In an emulator, for a quarter of an hour: not unless it is named.
    Ranks,
}

/// Processes for a repetition: what takes milliseconds is measured more often.
const LOADS: usize = 10;

/// The programs that are measured.
pub(crate) struct Programs {
    pub(crate) lcc_btf: PathBuf,
    pub(crate) gimli_walk: PathBuf,
    pub(crate) open_find: PathBuf,
    pub(crate) compress_pack: PathBuf,
    pub(crate) load_cost: PathBuf,
    pub(crate) paholes: Vec<Pahole>,
    /// The system's and newer ones, with their versions.
    pub(crate) bpftools: Vec<(String, PathBuf)>,
}

/// Measures and prints.
///
/// # Errors
/// Nothing to measure on, a build or a measured program failed, or a result cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install_missing()?;
    let only: Vec<Part> = args.only.iter().chain(&args.parts).copied().collect();
    if only.contains(&Part::Offsets) {
        offsets()?;
        if only.iter().all(|part| *part == Part::Offsets) {
            return Ok(());
        }
    }
    let mut tables = Vec::new();
    let mut show = |table: table::Table| {
        println!("{}", table.terminal());
        tables.push(table);
    };
    if only.is_empty() || only.contains(&Part::Lookup) {
        for table in look_ups(args.repetitions)? {
            show(table);
        }
    }
    // the rest needs the project's objects
    if only.is_empty() || only.iter().any(|part| *part != Part::Lookup) {
        let objects = objects::build()?;
        if only.contains(&Part::Ranks) {
            for table in ranks::tables(tcprt_object(&objects)?)? {
                show(table);
            }
        }
        if only.iter().any(|part| ![Part::Ranks, Part::Lookup].contains(part)) || only.is_empty() {
            measure_here(args, &only, &objects, show)?;
        }
    }

    if let Some(path) = &args.json {
        let json = serde_json::json!({"machine": machine()?, "tables": tables.iter().map(table::Table::json).collect::<Vec<_>>()});
        write(path, &(serde_json::to_string_pretty(&json).context("write JSON")? + "\n"))?;
    }
    if let Some(path) = &args.markdown {
        let text: Vec<String> = tables.iter().map(table::Table::markdown).collect();
        write(path, &text.join("\n"))?;
    }
    Ok(())
}

/// How good identification is: labelled wheels are taken without their labels; and what the shipped database has verified of stripped
/// ones is held against the lines of source that their code tells.
fn offsets() -> Result<()> {
    let programs = build_offsetdb()?;
    let database = workspace::root()?.join("data/offsets.sqlite");
    let mut command = process::command(programs.offsetdb, &workspace::root()?);
    command.arg("--database").arg(database).args(["verify", "grpcio", "--versions", "1.20.."]);
    process::run(command.args(["--python", "38,39,310,311,312,313,314"]))?;
    Ok(())
}

/// None where the cache has nothing to look up.
fn look_ups(repetitions: usize) -> Result<Vec<table::Table>> {
    let Some(wheels) = lookup::wheels()? else {
        eprintln!(
            "bench: lookup: skipped, no two wheels of grpcio in the cache; `offsetdb pull pypi grpcio` fetches them"
        );
        return Ok(Vec::new());
    };
    let scratch = scratch()?;
    lookup::tables(&build_offsetdb()?, &wheels, repetitions, scratch.path())
}

fn scratch() -> Result<tempfile::TempDir> {
    tempfile::tempdir_in(workspace::create(workspace::target()?.join("bench"))?).context("make a folder")
}

/// The parts that measure this machine.
fn measure_here(args: &Args, only: &[Part], objects: &[PathBuf], mut show: impl FnMut(table::Table)) -> Result<()> {
    let programs = build()?;
    let scratch = scratch()?;
    let wants = |part: Part| only.is_empty() || only.contains(&part);

    let mut cached = kernels::cached_kernels()?;
    cached.retain(|kernel| args.kernel.is_empty() || args.kernel.contains(&kernel.name));
    if wants(Part::Encode) {
        if cached.is_empty() {
            bail!("no such kernel in {}; `cargo xtask kernels` fetches them", workspace::cache()?.display());
        }
        for kernel in &cached {
            show(encode::table(&programs, kernel, args.repetitions, scratch.path())?);
        }
    }
    let archives = args.btfhub.clone().map_or_else(|| workspace::cache().map(|cache| cache.join("btfhub")), Ok)?;
    if wants(Part::Minimize) {
        if archives.is_dir() {
            for table in minimize::tables(&programs, &archives, objects, args.repetitions, scratch.path())? {
                show(table);
            }
        } else {
            eprintln!("bench: minimize: skipped, {} does not exist; see --btfhub", archives.display());
        }
    }
    if wants(Part::Open) {
        let mut files = vec![("this machine's kernel".to_owned(), PathBuf::from("/sys/kernel/btf/vmlinux"))];
        files.retain(|(_, path)| path.exists());
        for kernel in &cached {
            let raw = scratch.path().join(format!("{}.btf", kernel.name));
            process::run(
                process::command(&programs.lcc_btf, scratch.path()).arg("gen").arg(&kernel.vmlinux).arg("-o").arg(&raw),
            )?;
            files.push((kernel.name.clone(), raw));
        }
        show(open::table(&programs.open_find, &files)?);
    }
    if wants(Part::Pack) {
        let mut inputs: Vec<PathBuf> = cached.iter().map(|kernel| kernel.vmlinux.clone()).collect();
        inputs.extend(Some(archives.clone()).filter(|folder| folder.is_dir()));
        if inputs.is_empty() {
            bail!("no kernel to make a pack of; `cargo xtask kernels` fetches them, see also --btfhub");
        }
        show(pack::table(&programs, &inputs, objects, args.repetitions, scratch.path())?);
    }

    if wants(Part::Load) {
        show(load::table(&programs.load_cost, objects, LOADS * args.repetitions)?);
    }
    if wants(Part::Check) {
        if archives.is_dir() {
            let mut three = objects.to_vec();
            three.push(crate::matrix::zoo()?);
            show(check::table(&programs.lcc_btf, &archives, &three, args.repetitions, scratch.path())?);
        } else {
            eprintln!("bench: check: skipped, {} does not exist; see --btfhub", archives.display());
        }
    }

    if wants(Part::Events) {
        let object = workspace::target()?.join("bpf/transports.bpf.o");
        compile::object(&workspace::root()?, Path::new("tests/tests/fixtures/transports.bpf.c"), &object, &[])?;
        cargo::build_release(&["--package", "lcc-tests", "--example", "event_cost"])?;
        show(events::table(&workspace::target()?.join("release/examples/event_cost"), &object)?);
    }

    if wants(Part::Tcprt) {
        setup::install_onlookers()?;
        for table in tcprt::tables(&build_tcprt()?, tcprt_object(objects)?, args.repetitions)? {
            show(table);
        }
    }
    Ok(())
}

fn tcprt_object(objects: &[PathBuf]) -> Result<&Path> {
    let object = objects.iter().find(|object| object.file_name().is_some_and(|name| name == "tcprt.o"));
    object.map(PathBuf::as_path).context("tcprt.o is not among the objects")
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Builds what is measured with the release profile, and finds the programs to hold it against.
fn build() -> Result<Programs> {
    let lcc_btf = cargo::build_lcc_btf()?;
    cargo::build_release(&["--package", "dwarf", "--example", "gimli_walk"])?;
    cargo::build_release(&["--package", "btf", "--example", "open_find"])?;
    cargo::build_release(&["--package", "pack", "--example", "compress_pack"])?;
    cargo::build_release(&["--package", "lcc-loader", "--example", "load_cost"])?;
    let release = workspace::target()?.join("release");
    let mut paholes = Vec::new();
    let mut bpftools = Vec::new();
    if let Some(program) = process::find_program("pahole") {
        paholes.push(Pahole { version: version_of(&program)?, program });
    }
    for tool in kernels::cached_tools("pahole-")? {
        paholes.push(Pahole { version: version_of(&tool.run)?, program: tool.run });
    }
    if let Some(program) = process::find_program("bpftool") {
        bpftools.push((version_of(&program)?, program));
    }
    for tool in kernels::cached_tools("bpftool-")? {
        bpftools.push((version_of(&tool.run)?, tool.run));
    }
    Ok(Programs {
        lcc_btf,
        gimli_walk: release.join("examples/gimli_walk"),
        open_find: release.join("examples/open_find"),
        compress_pack: release.join("examples/compress_pack"),
        load_cost: release.join("examples/load_cost"),
        paholes,
        bpftools,
    })
}

/// Builds what looks offsets up.
fn build_offsetdb() -> Result<lookup::Programs> {
    cargo::build_release(&["--package", "offsetdb", "--bin", "offsetdb", "--example", "lookup_cost"])?;
    let release = workspace::target()?.join("release");
    Ok(lookup::Programs { offsetdb: release.join("offsetdb"), lookup_cost: release.join("examples/lookup_cost") })
}

/// Builds what looks at servers.
fn build_tcprt() -> Result<tcprt::Programs> {
    cargo::build_release(&["--package", "lcc-tests", "--example", "tcprt_cost", "--example", "tcprt_listen"])?;
    cargo::build_release(&["--package", "tcprt", "--bin", "tcprt"])?;
    let release = workspace::target()?.join("release");
    Ok(tcprt::Programs {
        cost: release.join("examples/tcprt_cost"),
        listen: release.join("examples/tcprt_listen"),
        agent: release.join("tcprt"),
    })
}

/// `v1.24` or `bpftool v7.1.0` → the number.
fn version_of(program: &Path) -> Result<String> {
    let printed = process::stdout_of(process::command(program, Path::new("/")).arg("--version"))?;
    let first = printed.lines().next().unwrap_or_default();
    Ok(first.rsplit(' ').next().unwrap_or_default().trim_start_matches('v').to_owned())
}

/// What the figures were measured on.
fn machine() -> Result<serde_json::Value> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    Ok(serde_json::json!({"cpu": model.map(|(_, name)| name), "threads": threads}))
}
