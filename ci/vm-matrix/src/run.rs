//! The matrix: entries, each fetched, booted and asked, a few at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use vm_guest::words::{self, Fault, Job, Line, Program, Verified};

use crate::boot::{self, Accelerator, End, Heard, Limits, Machine};
use crate::catalogue::{Architecture, Btf, Entry};
use crate::fetch::{Image, Store};
use crate::initramfs::{self, File};
use crate::progress::Progress;
use crate::results::EntryResult;

/// What is put into every machine of an architecture.
#[derive(Clone, Debug, Default)]
pub struct Kit {
    /// `lcc-vm` itself, which is the first process there, and whatever else is needed: names there, and files here.
    pub files: Vec<File>,
    /// Programs of tests, by their names there.
    pub tests: Vec<String>,
    /// Those that are run where an entry is thorough.
    pub thorough: Vec<String>,
    /// What tests find in their environment.
    pub environment: BTreeMap<String, String>,
}

/// How a matrix is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Machines at a time.
    pub jobs: usize,
    /// The accelerator; `None`: KVM where it is found to work, else TCG.
    pub accelerator: Option<Accelerator>,
    /// What each machine may take.
    pub limits: Limits,
    /// Where the consoles' logs go, and what is made for a boot.
    pub folder: PathBuf,
    /// The objects that are held against each kernel.
    pub objects: Vec<PathBuf>,
    /// `lcc-btf`, which makes BTF of a kernel's DWARF.
    pub lcc_btf: Option<PathBuf>,
    /// The shipped pack.
    pub pack: Option<PathBuf>,
    /// Whether tests are run.
    pub tests: bool,
    /// Whether all are, where an entry is thorough.
    pub thorough: bool,
    /// Of the tests only those with one of these in their names.
    pub filters: Vec<String>,
    /// A program to run there, by its path there, with its arguments: what it prints is printed here.
    pub program: Vec<String>,
}

/// MiB of a machine. The archive is in it, and what tests unpack.
const MEMORY: u32 = 1024;

/// How long KVM is given to show that it works: to boot a kernel takes a second or two by it.
const KVM: Duration = Duration::from_secs(20);

/// Whether KVM works here: not tried, being tried, no, yes.
static KVM_WORKS: AtomicU8 = AtomicU8::new(0);

/// What becomes true with the first SIGINT or SIGTERM, so that no machine is left behind.
///
/// # Errors
/// A handler cannot be set.
pub fn cancelled_by_signals() -> Result<Arc<AtomicBool>> {
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&cancelled)).context("set a handler of signals")?;
    }
    Ok(cancelled)
}

/// Runs all entries; the results are in their order. Where `cancelled` becomes true, what runs is stopped and the rest is not begun.
pub fn run(
    entries: &[Entry],
    kits: &BTreeMap<Architecture, Kit>,
    store: &Store,
    options: &Options,
    cancelled: &AtomicBool,
) -> Vec<EntryResult> {
    let progress = Progress::new(entries.len());
    let results: Vec<Mutex<Option<EntryResult>>> = entries.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, entries.len().max(1)) {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < entries.len()) {
                    if cancelled.load(Ordering::Relaxed) {
                        return;
                    }
                    let entry = &entries[at];
                    let line = progress.begin(&entry.name);
                    let begun = Instant::now();
                    let mut result = EntryResult::of(entry);
                    let work = Work { entry, kits, store, options, cancelled, say: &|what| line.say(what) };
                    if let Err(error) = work.run(&mut result) {
                        result.failures.push(format!("{error:#}"));
                    }
                    result.seconds = begun.elapsed().as_secs_f64();
                    line.end(&result);
                    *results[at].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
                }
            });
        }
    });
    let taken = |slot: Mutex<Option<EntryResult>>| slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.into_iter().filter_map(taken).collect()
}

/// One entry's.
struct Work<'w> {
    entry: &'w Entry,
    kits: &'w BTreeMap<Architecture, Kit>,
    store: &'w Store,
    options: &'w Options,
    cancelled: &'w AtomicBool,
    say: &'w dyn Fn(&str),
}

impl Work<'_> {
    fn run(&self, result: &mut EntryResult) -> Result<()> {
        (self.say)("fetching");
        let image = self.store.image(self.entry)?;
        result.package.clone_from(&image.package);
        result.version.clone_from(&image.version);
        result.warnings.extend(image.missing.iter().cloned());
        if !self.entry.kernel.boot {
            (self.say)("planning");
            return self.plan(&image, result);
        }
        let scratch = tempfile::Builder::new().prefix(&self.entry.name).tempdir_in(&self.options.folder);
        let scratch = scratch.context("a folder for the boot")?;
        let btf = match self.entry.btf() {
            Some(Btf::Debug) => {
                (self.say)("making BTF");
                Some(self.make_btf(&image, scratch.path(), result)?)
            }
            _ => None,
        };
        let archive = scratch.path().join("initramfs.cpio");
        let job = self.job(&image, None)?;
        self.write_archive(&archive, &image, btf.as_deref(), &job)?;
        let log = self.options.folder.join(format!("{}.log", self.entry.name));
        self.boot(&image, &archive, &log, result)
    }

    /// What the guest is asked.
    fn job(&self, image: &Image, fault: Option<Fault>) -> Result<Job> {
        let kit = self.kit()?;
        let variant = self.entry.variant.as_ref();
        let names = |paths: &[PathBuf], folder: &str| -> Vec<String> {
            let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            paths.iter().map(|path| format!("/{folder}/{}", name(path))).collect()
        };
        let mut tests = Vec::new();
        if self.options.tests && self.entry.has_tests() {
            tests.extend(kit.tests.iter().cloned());
            if self.options.thorough && self.entry.is_thorough() {
                tests.extend(kit.thorough.iter().cloned());
            }
        }
        let packs = if self.entry.btf() == Some(Btf::Pack) { self.options.pack.clone() } else { None };
        Ok(Job {
            modules: names(&image.modules, "modules"),
            hide_btf: variant.is_some_and(|variant| variant.hide_btf),
            sysctls: variant.map(|variant| variant.sysctl.clone()).unwrap_or_default(),
            objects: names(&self.options.objects, "objects"),
            packs: names(packs.as_slice(), "packs"),
            user: variant.and_then(|variant| variant.user),
            environment: kit.environment.clone(),
            tests,
            filters: self.options.filters.clone(),
            program: self.options.program.clone(),
            fault,
            ..Job::default()
        })
    }

    fn kit(&self) -> Result<&Kit> {
        let architecture = self.entry.kernel.arch;
        self.kits.get(&architecture).with_context(|| format!("nothing is built for {}", architecture.name()))
    }

    fn write_archive(&self, archive: &Path, image: &Image, btf: Option<&Path>, job: &Job) -> Result<()> {
        let mut files = self.kit()?.files.clone();
        let mut put = |folder: &str, paths: &[PathBuf]| {
            for path in paths {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                files.push((format!("{folder}{name}"), path.clone(), false));
            }
        };
        put("modules/", &image.modules);
        put("objects/", &self.options.objects);
        put("packs/", self.options.pack.as_slice());
        let folder = archive.parent().context("a folder")?;
        let (told, release) = (folder.join(words::JOB), folder.join("os-release"));
        fs::write(&told, serde_json::to_vec_pretty(job).context("write JSON")?).context("write the job")?;
        fs::write(&release, os_release(&self.entry.kernel.suite)).context("write os-release")?;
        put("", &[told]);
        put("etc/", &[release]);
        files.extend(btf.map(|btf| (words::BTF.to_owned(), btf.to_owned(), false)));
        initramfs::write(archive, &files)
    }

    /// BTF of the kernel's own DWARF.
    fn make_btf(&self, image: &Image, folder: &Path, result: &mut EntryResult) -> Result<PathBuf> {
        let lcc_btf = self.options.lcc_btf.as_ref().context("lcc-btf is needed, for the kernel has no BTF")?;
        let debug = image.debug.as_ref().context("the kernel's debug information")?;
        let (btf, begun) = (folder.join(words::BTF), Instant::now());
        let mut make = Command::new(lcc_btf);
        let output = make.arg("gen").arg(debug).arg("-o").arg(&btf).output().context("start lcc-btf")?;
        if !output.status.success() || !btf.is_file() {
            bail!("lcc-btf gen {}: {}", debug.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        result.btf_seconds = Some(begun.elapsed().as_secs_f64());
        Ok(btf)
    }

    fn boot(&self, image: &Image, archive: &Path, log: &Path, result: &mut EntryResult) -> Result<()> {
        let arguments = self.entry.arguments();
        let mut machine = Machine {
            architecture: self.entry.kernel.arch,
            kernel: &image.kernel,
            initramfs: archive,
            arguments: &arguments,
            memory: MEMORY,
            log,
            limits: self.options.limits,
            accelerator: self.options.accelerator.unwrap_or(Accelerator::Tcg),
            console: true,
        };
        if self.options.accelerator.is_none() && self.entry.kernel.arch.is_here() && may_try_kvm() {
            machine.accelerator = Accelerator::Kvm;
            machine.limits.boot = KVM;
        }
        (self.say)("booting");
        let program = self.options.program.join(" ");
        let is_its = std::cell::Cell::new(false);
        let say = |heard: Heard<'_>| match heard {
            Heard::Line(Line::Begins { what }) => {
                is_its.set(!program.is_empty() && *what == program);
                (self.say)(what);
            }
            Heard::Line(Line::Started { .. }) => (self.say)("booted"),
            Heard::Line(Line::Exit { .. }) => is_its.set(false),
            Heard::Line(_) => {}
            Heard::Text(text) if is_its.get() => println!("{text}"),
            Heard::Text(_) => {}
        };
        let mut booted = boot::boot(&machine, self.cancelled, say)?;
        if machine.accelerator == Accelerator::Kvm {
            let works = booted.until_guest.is_some();
            KVM_WORKS.store(if works { YES } else { NO }, Ordering::Relaxed);
            if !works {
                (machine.accelerator, machine.limits) = (Accelerator::Tcg, self.options.limits);
                (self.say)("booting, for KVM does not work here");
                booted = boot::boot(&machine, self.cancelled, say)?;
            }
        }
        result.accelerator = Some(machine.accelerator);
        result.take(booted, log);
        Ok(())
    }

    /// What would work on a kernel that is not booted, by its debug information.
    fn plan(&self, image: &Image, result: &mut EntryResult) -> Result<()> {
        let lcc_btf = self.options.lcc_btf.as_ref().context("lcc-btf is needed, for the kernel is not booted")?;
        let debug = image.debug.as_ref().context("the kernel's debug information")?;
        let mut check = Command::new(lcc_btf);
        check
            .args(["check", "--json"])
            .args(self.options.objects.iter().flat_map(|object| ["--obj".as_ref(), object.as_os_str()]));
        let output = check.arg(debug).output().context("start lcc-btf")?;
        // 1: something does not work there
        if !matches!(output.status.code(), Some(0 | 1)) {
            bail!("lcc-btf check {}: {}", debug.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        let report: Value = serde_json::from_slice(&output.stdout).context("read what lcc-btf check prints")?;
        let kernel = &report["kernels"][0];
        result.release = kernel["kernel"].as_str().unwrap_or_default().to_owned();
        result.objects = kernel["plans"].as_array().into_iter().flatten().map(planned).collect();
        Ok(())
    }
}

/// A plan of `lcc-btf check`.
fn planned(plan: &Value) -> Verified {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let program = |program: &Value| {
        let requirements = program["requirements"].as_array().into_iter().flatten();
        let unmet = requirements.filter(|requirement| requirement["status"] == "unmet");
        Program {
            program: text(&program["name"]),
            section: text(&program["section"]),
            predicted: text(&program["status"]),
            enabled: program["enabled"] == true,
            why: unmet.map(|requirement| text(&requirement["evidence"])).collect(),
            refused: None,
            silently: false,
            differs: false,
        }
    };
    Verified {
        object: text(&plan["object"]),
        outcome: text(&plan["outcome"]),
        btf: None,
        places: Vec::new(),
        programs: plan["programs"].as_array().into_iter().flatten().map(program).collect(),
    }
}

const NO: u8 = 2;
const YES: u8 = 3;

/// Whether a machine may be booted by KVM: it works, or this is the one that tries it out. That the device is there says nothing.
fn may_try_kvm() -> bool {
    const NOT_TRIED: u8 = 0;
    const TRIED: u8 = 1;
    let opens = || fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    match KVM_WORKS.load(Ordering::Relaxed) {
        YES => true,
        NOT_TRIED if !opens() => {
            KVM_WORKS.store(NO, Ordering::Relaxed);
            false
        }
        NOT_TRIED => KVM_WORKS.compare_exchange(NOT_TRIED, TRIED, Ordering::Relaxed, Ordering::Relaxed).is_ok(),
        _ => false,
    }
}

/// What tells the loader whose kernel it is, where it looks into packs.
fn os_release(suite: &str) -> String {
    let version = match suite {
        "bullseye" => "VERSION_ID=\"11\"\n",
        "bookworm" => "VERSION_ID=\"12\"\n",
        "trixie" => "VERSION_ID=\"13\"\n",
        // what is not released has none
        _ => "",
    };
    format!("ID=debian\n{version}")
}

/// Boots an entry's kernel once for each fault, and gives how each ended: a check of the matrix itself.
///
/// # Errors
/// The kernel cannot be had.
pub fn faults(
    entry: &Entry,
    kits: &BTreeMap<Architecture, Kit>,
    store: &Store,
    options: &Options,
) -> Result<Vec<(Fault, End, EntryResult)>> {
    const FAULTS: [Fault; 6] =
        [Fault::Panic, Fault::HangInBoot, Fault::Hang, Fault::Flood, Fault::Full, Fault::NoConsole];
    let image = store.image(entry)?;
    let next = AtomicUsize::new(0);
    let ends = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let worker = || -> Result<()> {
            while let Some(fault) = FAULTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                let end = one_fault(entry, &image, kits, store, options, *fault)?;
                ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(end);
            }
            Ok(())
        };
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(ends.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn one_fault(
    entry: &Entry,
    image: &Image,
    kits: &BTreeMap<Architecture, Kit>,
    store: &Store,
    options: &Options,
    fault: Fault,
) -> Result<(Fault, End, EntryResult)> {
    let cancelled = AtomicBool::new(false);
    let work = Work { entry, kits, store, options, cancelled: &cancelled, say: &|_| {} };
    let scratch = tempfile::tempdir_in(&options.folder).context("a folder for the boot")?;
    let archive = scratch.path().join("initramfs.cpio");
    work.write_archive(&archive, image, None, &work.job(image, Some(fault))?)?;
    let log = options.folder.join(format!("fault-{fault:?}.log").to_lowercase());
    let arguments = entry.arguments();
    let machine = Machine {
        architecture: entry.kernel.arch,
        kernel: &image.kernel,
        initramfs: &archive,
        arguments: &arguments,
        memory: MEMORY,
        log: &log,
        limits: options.limits,
        accelerator: Accelerator::Tcg,
        console: fault != Fault::NoConsole,
    };
    let booted = boot::boot(&machine, &cancelled, |_| {})?;
    let mut result = EntryResult::of(entry);
    let end = booted.end.clone();
    result.take(booted, &log);
    Ok((fault, end, result))
}
