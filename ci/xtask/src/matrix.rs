//! `cargo xtask matrix`: boots real kernels and holds every claim against what they do.
//!
//! ```text
//! kernels.toml ─> entries ─┐
//! targets: a sysroot of Debian's packages, clang, lld ─> kits: lcc-vm, agents, tests, objects, for each architecture
//!                          └──────────────────────────────┴─> lcc_vm::run ─> target/matrix, docs/compatibility.md
//! ```
//!
//! What boots and reports is the crate `lcc-vm`, for others too; here is what of this project goes into the machines.

pub(crate) mod instructions;
mod kits;
mod target;

pub(crate) use kits::zoo;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lcc_vm::boot::{Accelerator, End, Limits};
use lcc_vm::catalogue::{self, Architecture, Entry, KERNELS};
use lcc_vm::fetch::Store;
use lcc_vm::results::{EntryResult, Results};
use lcc_vm::run::{self, Kit, Options};

use crate::{cargo, process, setup, workspace};

/// Which kernels, and what is done there.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only this entry of ci/vm-matrix/kernels.toml, or those of a pattern (`6.1*`, `*+*`); repeatable.
    #[arg(long, value_name = "NAME")]
    kernel: Vec<String>,
    /// Only the few that every run of CI boots, with the programs of this machine's own tests.
    #[arg(long, conflicts_with = "kernel")]
    fast: bool,
    /// A BPF object; repeatable. Else a program of every kind, and the project's own objects.
    #[arg(long, value_name = "FILE")]
    object: Vec<PathBuf>,
    /// Run no tests there, only hold objects against the kernels.
    #[arg(long)]
    no_tests: bool,
    /// Of the tests only those with this in their names; repeatable.
    #[arg(long, value_name = "TEXT")]
    test: Vec<String>,
    /// Machines at a time; else one for each processor.
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// This machine's share, of N in all that are given the same arguments: 0/4 to 3/4.
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
    /// Run nothing: make one report of those that shards wrote (results.json); repeatable. What none of them has is a failure.
    #[arg(long, value_name = "FILE", conflicts_with = "shard")]
    merge: Vec<PathBuf>,
    /// Ask no registry: all is in the cache.
    #[arg(long)]
    offline: bool,
    /// What runs the machines' instructions; else KVM where it is found to work.
    #[arg(long, value_name = "WHAT", value_parser = ["kvm", "tcg"])]
    accelerator: Option<String>,
    /// See also that machines which panic, hang, print without end, fill their disk or have no console are told as such.
    #[arg(long)]
    faults: bool,
    /// Write docs/compatibility.md.
    #[arg(long)]
    docs: bool,
    /// Where results and consoles go; else target/matrix.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the matrix; exit 1 where something is not as predicted, or a test failed.
///
/// # Errors
/// Nothing can be built, or the results not be written.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    Ok(ExitCode::from(u8::from(!passes(args)?)))
}

/// Whether all is as predicted, and all tests passed.
fn passes(args: &Args) -> Result<bool> {
    let out = match &args.out {
        Some(folder) => std::path::absolute(folder).context("find --out")?,
        None => workspace::target()?.join("matrix"),
    };
    let out = workspace::create(out)?;
    let all = catalogue::read(KERNELS)?;
    let results = match args.merge.as_slice() {
        [] => boot(args, &all, &out)?,
        parts => {
            Results::merge(parts.iter().map(|path| Results::read(path)).collect::<Result<_>>()?, &asked(args, &all)?)
        }
    };
    results.write(&out)?;
    if args.docs {
        let docs = workspace::root()?.join("docs/compatibility.md");
        std::fs::copy(out.join("compatibility.md"), &docs).with_context(|| format!("write {}", docs.display()))?;
    }
    let passed = results.entries.iter().filter(|entry| entry.passed()).count();
    println!(
        "{passed} of {} entries passed in {:.0} s: {}",
        results.entries.len(),
        results.seconds,
        out.join("report.html").display()
    );
    Ok(results.passed())
}

/// What every run of CI does: the few entries, and each fault.
///
/// # Errors
/// As [`run`], and where something is not as predicted.
pub(crate) fn check() -> Result<()> {
    if !passes(&Args { fast: true, faults: true, ..Args::default() })? {
        bail!("kernels did otherwise than predicted, or tests failed there; see target/matrix/report.html");
    }
    Ok(())
}

/// What is to be known of the object of every kind.
const ABOUT_ZOO: &str = "A program of every kind that a plan has to judge, made for tests, some of them for what no kernel has: as a whole \
                         it works nowhere.";

/// Of the agents the plan has to know everything: that it does not know is a failure.
fn judge_agents(entries: &mut [EntryResult]) {
    for entry in entries {
        for object in entry.objects.iter().filter(|object| object.object != kits::ZOO && object.unknown() > 0) {
            entry.failures.push(format!("{}: {} programs could not be predicted", object.object, object.unknown()));
        }
    }
}

/// Boots what is asked for.
fn boot(args: &Args, all: &[Entry], out: &std::path::Path) -> Result<Results> {
    setup::install_missing()?;
    let entries = asked(args, all)?;
    setup::install_for(&entries)?;
    let begun = Instant::now();
    let cache = workspace::cache()?;
    let store = Store::open(&cache, args.offline)?;
    let objects = if args.object.is_empty() { kits::objects()? } else { args.object.clone() };
    let mut kits = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.kernel.boot) {
        let architecture = entry.kernel.arch;
        let of = |other: &&Entry| other.kernel.boot && other.kernel.arch == architecture;
        let tests = !args.no_tests && entries.iter().filter(of).any(Entry::has_tests);
        if let Slot::Vacant(slot) = kits.entry(architecture) {
            slot.insert(kits::build(&store, architecture, tests, args.fast)?);
        }
    }
    let needs_btf = |entry: &Entry| entry.btf() == Some(catalogue::Btf::Debug);
    let lcc_btf = if entries.iter().any(needs_btf) { Some(cargo::build_lcc_btf()?) } else { None };
    let options = Options {
        jobs: args.jobs.unwrap_or_else(processors),
        accelerator: args
            .accelerator
            .as_deref()
            .map(|word| if word == "kvm" { Accelerator::Kvm } else { Accelerator::Tcg }),
        limits: Limits::default(),
        folder: out.to_owned(),
        objects,
        lcc_btf,
        pack: Some(workspace::root()?.join("data/btf/debian.pack")),
        tests: !args.no_tests,
        thorough: !args.fast,
        filters: args.test.clone(),
        program: Vec::new(),
    };
    let build_seconds = begun.elapsed().as_secs_f64();
    eprintln!("matrix: {} entries, {} at a time", entries.len(), options.jobs);
    if args.faults {
        check_faults(all, &kits, &store, &options)?;
    }
    let booting = Instant::now();
    let cancelled = run::cancelled_by_signals()?;
    let mut results = run::run(&entries, &kits, &store, &options, &cancelled);
    if cancelled.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    let seconds = booting.elapsed().as_secs_f64();
    let mut about = BTreeMap::new();
    if args.object.is_empty() {
        judge_agents(&mut results);
        about.insert(kits::ZOO.to_owned(), ABOUT_ZOO.to_owned());
    }
    eprintln!("matrix: {build_seconds:.0} s to build, {seconds:.0} s to run");
    Ok(Results {
        date: process::stdout_of(process::command("date", std::path::Path::new("/")).args(["-u", "+%F"]))?
            .trim()
            .to_owned(),
        emulator: emulator()?,
        processors: processors(),
        jobs: options.jobs,
        build_seconds,
        seconds,
        about,
        entries: results,
    })
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `QEMU emulator version 7.2.22`.
fn emulator() -> Result<String> {
    let said = process::stdout_of(process::command("qemu-system-x86_64", std::path::Path::new("/")).arg("--version"))?;
    let first = said.lines().next().unwrap_or_default();
    Ok(first.split(" (").next().unwrap_or(first).to_owned())
}

/// The entries that are asked for, and of these the share of this machine.
fn asked(args: &Args, all: &[Entry]) -> Result<Vec<Entry>> {
    let is_asked = |entry: &&Entry| match (args.kernel.as_slice(), args.fast) {
        ([], fast) => !fast || entry.is_fast(),
        (patterns, _) => patterns.iter().any(|pattern| catalogue::matches(pattern, &entry.name)),
    };
    let asked: Vec<Entry> = all.iter().filter(is_asked).cloned().collect();
    for pattern in &args.kernel {
        if !asked.iter().any(|entry| catalogue::matches(pattern, &entry.name)) {
            bail!("no entry of kernels.toml is called {pattern}");
        }
    }
    let Some(shard) = &args.shard else { return Ok(asked) };
    let share = shard.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    let (i, n): (usize, usize) =
        share.filter(|(i, n)| i < n).with_context(|| format!("--shard {shard}: not I/N with I below N"))?;
    Ok(asked.into_iter().enumerate().filter(|(at, _)| at % n == i).map(|(_, entry)| entry).collect())
}

/// Lets a machine go wrong in each way, and sees that each is told.
fn check_faults(all: &[Entry], kits: &BTreeMap<Architecture, Kit>, store: &Store, options: &Options) -> Result<()> {
    let name = "5.10-cloud";
    let entry = all.iter().find(|entry| entry.name == name).with_context(|| format!("no entry {name}"))?;
    let [boot, silence, total] = [25, 10, 40].map(Duration::from_secs);
    // these have nothing to do but to go wrong
    let options = Options {
        limits: Limits { boot, silence, total, console: 1 << 20 },
        objects: Vec::new(),
        tests: false,
        ..options.clone()
    };
    for (fault, end, result) in run::faults(entry, kits, store, &options)? {
        use vm_guest::words::Fault;
        let is_told = match (fault, &end) {
            (Fault::Panic, End::Panicked(_)) => true,
            (Fault::HangInBoot, End::Hung(at)) => at.starts_with("boot"),
            (Fault::Hang, End::Hung(at)) => at.starts_with("a fault"),
            (Fault::Flood, End::Flooded(at)) => at == "a fault",
            (Fault::Full, End::Done) => result.failures.iter().any(|failure| failure.contains("No space left")),
            (Fault::NoConsole, End::Silent) => true,
            _ => false,
        };
        eprintln!("matrix: {fault:?}: {}", result.verdict());
        if !is_told || result.passed() {
            bail!("a machine that was to go wrong ({fault:?}) was told otherwise: {end}; {}", result.verdict());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use vm_guest::words::{Program, Verified};

    use super::*;

    #[test]
    fn agents_programs_have_to_be_predicted() {
        let object = |name: &str, predicted: &str| Verified {
            object: name.to_owned(),
            outcome: "unknown".to_owned(),
            btf: None,
            places: Vec::new(),
            programs: vec![Program {
                program: "a".to_owned(),
                section: "kprobe/a".to_owned(),
                predicted: predicted.to_owned(),
                enabled: false,
                why: Vec::new(),
                refused: None,
                silently: false,
                differs: false,
            }],
        };
        let of = |objects| EntryResult { objects, ..EntryResult::default() };
        let mut entries = [
            of(vec![object("tcprt.o", "met"), object(kits::ZOO, "unknown")]),
            of(vec![object("pingtrace.o", "unmet"), object("tcprt.o", "unknown")]),
        ];
        judge_agents(&mut entries);
        assert!(entries[0].passed());
        assert_eq!(entries[1].failures, ["tcprt.o: 1 programs could not be predicted"]);
    }
}
