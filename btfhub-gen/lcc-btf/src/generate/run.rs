//! A run: units on threads, what failed beside what was done.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use btf::Btf;
use btf::object_file::ObjectFile;
use pack::{Hash, KernelId};

use super::archive::{Archive, Destination};
use super::kernel::{self, Wanted};
use super::modules::Modules;
use super::objects::Objects;
use super::plan::{self, Shard, Unit};
use super::state::KeyHasher;
use crate::error::Error;
use crate::input::expand::{Input, expand};
use crate::input::{self, Content, Image, Kernel, running};
use crate::kernel_id::Identity;
use crate::report::{Failure, KernelReport, Report, UnitRecord};

/// What a run is asked to do.
#[derive(Debug)]
pub struct Settings {
    /// Where results go.
    pub destination: Destination,
    /// What is asked of each kernel.
    pub wanted: Wanted,
    /// The objects that minimal BTF is made for; with none, the whole BTF is kept.
    pub objects: Objects,
    /// Threads, over all kernels.
    pub jobs: usize,
    /// Whether the modules of packages, folders and the running kernel are wanted too.
    pub modules: bool,
    /// The name of the one kernel there is.
    pub id: Option<KernelId>,
    /// The part of the inputs to work on.
    pub shard: Shard,
    /// Whether results of a run before are taken.
    pub resume: bool,
    /// Where `running` finds `/sys`, `/proc` and `/etc`.
    pub root: PathBuf,
}

/// Is told how a run goes on; from several threads.
pub trait Progress: Sync {
    /// There are `units` to do.
    fn begin(&self, units: usize) {
        let _ = units;
    }

    /// An input is begun.
    fn started(&self, input: &str) {
        let _ = input;
    }

    /// An input is done, or failed.
    fn done(&self, input: &str, error: Option<&Error>) {
        let _ = (input, error);
    }
}

/// Nobody looks.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {}

/// Runs: reads `arguments`, makes the BTF of each kernel, and stores it.
///
/// An input that fails is in the report, and the others are done nevertheless. The archive does not depend on the number of
/// jobs, nor on whether the run was interrupted before.
///
/// # Errors
/// Nothing could be done: the objects cannot be read, the destination cannot be written.
pub fn run(arguments: &[PathBuf], settings: &Settings, progress: &dyn Progress) -> Result<Report, Error> {
    let begin = Instant::now();
    let objects = settings.objects.parse()?;
    let (inputs, mut errors) = expand(arguments);
    let (units, unfit) = plan::units(inputs, settings.modules, &settings.root);
    errors.extend(unfit);
    if settings.destination.is_single() && units.len() > 1 {
        return Err(Error::Usage(format!(
            "{} kernels cannot go to one file: give -o a folder, or --pack",
            units.len()
        )));
    }
    if settings.id.is_some() && units.len() > 1 {
        return Err(Error::Usage(format!("--id names one kernel, and there are {}", units.len())));
    }
    let units = settings.shard.of(units);
    // A folder that cannot be read concerns all shards.
    let mut failures: Vec<Failure> =
        errors.iter().map(|e| Failure { input: String::new(), error: e.to_string() }).collect();
    errors.iter().for_each(|e| progress.done("", Some(e)));
    let archive = Archive::open(settings.destination.clone())?;
    progress.begin(units.len());

    let run = Run { settings, objects: &objects, archive: &archive, progress, left: AtomicUsize::new(units.len()) };
    let results = run.all(&units);
    let mut kernels = Vec::new();
    let mut passed_over = Vec::new();
    let mut owners: BTreeMap<String, (String, String, Option<String>)> = BTreeMap::new();
    for (Unit { input, .. }, result) in units.iter().zip(results) {
        let failure = |e: &Error| Failure { input: input.name(), error: e.to_string() };
        match result {
            Ok(kernel) => {
                let contents = (input.name(), kernel.record.btf.clone(), kernel.record.surface.clone());
                match kernel.kernel.as_ref().and_then(|id| owners.get(id)) {
                    None => {
                        if let Some(id) = &kernel.kernel {
                            owners.insert(id.clone(), contents);
                        }
                        kernels.push(kernel);
                    }
                    Some(owner) if (&owner.1, &owner.2) == (&contents.1, &contents.2) => {
                        tracing::info!("{} is the same kernel as {}, with the same result", contents.0, owner.0);
                    }
                    Some(owner) => {
                        let error = conflict(&kernel, &owner.0);
                        progress.done(&input.name(), Some(&error));
                        failures.push(failure(&error));
                    }
                }
            }
            Err(e @ Error::NoKernel { .. }) if matches!(input, Input::Found(_)) && !settings.wanted.strict => {
                passed_over.push(failure(&e));
            }
            Err(e) => failures.push(failure(&e)),
        }
    }
    kernels.sort_by(|a, b| (&a.kernel, &a.input).cmp(&(&b.kernel, &b.input)));
    let records: Vec<&UnitRecord> = kernels.iter().map(|kernel| &kernel.record).collect();
    archive.finish(&records, settings.jobs)?;
    let distinct = records.iter().map(|record| &record.btf).collect::<HashSet<_>>().len();
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Report { version: 1, kernels, failures, passed_over, distinct, seconds })
}

fn conflict(kernel: &KernelReport, other: &str) -> Error {
    let id = kernel.kernel.clone().unwrap_or_default();
    Error::Conflict { origin: kernel.input.clone(), id, other: other.to_owned() }
}

/// What the threads of a run share.
struct Run<'r> {
    settings: &'r Settings,
    objects: &'r [ObjectFile<'r>],
    archive: &'r Archive,
    progress: &'r dyn Progress,
    /// Units not yet done.
    left: AtomicUsize,
}

impl Run<'_> {
    /// The results of all units, in their order.
    fn all(&self, units: &[Unit]) -> Vec<Result<KernelReport, Error>> {
        // The largest first, so that no thread is left with one at the end.
        let size = |unit: &Unit| unit.input.path().and_then(|p| p.metadata().ok()).map_or(0, |m| m.len());
        let mut order: Vec<(usize, u64)> = units.iter().map(size).enumerate().collect();
        order.sort_by_key(|&(n, size)| (std::cmp::Reverse(size), n));
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<Option<Result<KernelReport, Error>>>> = Mutex::new(units.iter().map(|_| None).collect());
        let work = || {
            while let Some(&(n, _)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                let name = units[n].input.name();
                self.progress.started(&name);
                // A panic is a fault of this program, not of the other kernels.
                let unit = AssertUnwindSafe(|| self.unit(n, &units[n]));
                let result = catch_unwind(unit).unwrap_or_else(|_| Err(Error::Panic { origin: name.clone() }));
                self.progress.done(&name, result.as_ref().err());
                self.left.fetch_sub(1, Ordering::Relaxed);
                results.lock().unwrap_or_else(|e| e.into_inner())[n] = Some(result);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.settings.jobs.min(units.len()) {
                scope.spawn(work);
            }
            work();
        });
        let results = results.into_inner().unwrap_or_else(|e| e.into_inner());
        results.into_iter().flatten().collect()
    }

    /// Threads for one unit: all there are when it is the only one left.
    fn threads(&self) -> usize {
        let jobs = self.settings.jobs.max(1);
        (jobs / jobs.min(self.left.load(Ordering::Relaxed).max(1))).max(1)
    }

    fn unit(&self, n: usize, unit: &Unit) -> Result<KernelReport, Error> {
        let input = &unit.input;
        let begin = Instant::now();
        let report = |record: UnitRecord, kept: bool| KernelReport {
            kernel: record.id.clone(),
            input: input.name(),
            kept,
            seconds: if kept { 0.0 } else { begin.elapsed().as_secs_f64() },
            record,
        };
        let content = input.path().map(Content::open).transpose()?;
        let mut key = None;
        if self.archive.keeps() {
            let hash = self.key(unit, content.as_ref())?;
            if self.settings.resume
                && let Some(record) = self.archive.kept(hash)
            {
                self.archive.claim(&record, n);
                return Ok(report(record, true));
            }
            key = Some(hash);
        }
        let options = input::Options { threads: self.threads(), root: self.settings.root.clone() };
        let kernel = match (input.path(), content) {
            (Some(path), Some(content)) => input::kernel(content, path, &options)?,
            _ => running::read(&options)?,
        };
        let id = self.name(&kernel).or_else(|error| match &kernel.image {
            // That it is damaged, or no kernel at all, is worth more than that it has no name.
            Image::Btf(bytes) => Btf::parse(bytes).map_err(Error::btf(&kernel.origin)).and(Err(error)),
            Image::Elf { .. } => kernel::refuse_object(&kernel.origin, &kernel.image).and(Err(error)),
        })?;
        let member = kernel.origin.strip_prefix(&format!("{}: ", input.name())).unwrap_or_default().to_owned();
        let made = kernel::make(kernel, id, &unit.modules, self.settings.wanted, self.objects, &options)?;
        Ok(report(self.archive.store(key, n, &made, member)?, false))
    }

    /// The kernel's name: the one given, or the one the input tells.
    fn name(&self, kernel: &Kernel) -> Result<Option<KernelId>, Error> {
        if let Some(id) = &self.settings.id {
            return Ok(Some(id.clone()));
        }
        let origin = &kernel.origin;
        let complete = kernel.identity.complete();
        let id = complete.map_err(|source| Error::KernelId { origin: origin.clone(), source });
        if !self.settings.destination.wants_names() {
            return Ok(id.unwrap_or_default());
        }
        match id? {
            Some(id) => Ok(Some(id)),
            None => {
                let what = match &kernel.identity.release {
                    None => "nothing tells the kernel's release",
                    Some(_) => "nothing tells the kernel's architecture",
                };
                Err(Error::Unidentified { origin: origin.clone(), what: what.to_owned() })
            }
        }
    }

    /// The key of a unit: all that its result depends on.
    fn key(&self, unit: &Unit, content: Option<&Content>) -> Result<Hash, Error> {
        let input = &unit.input;
        let Settings { wanted, objects, id, destination, .. } = self.settings;
        let mut key = KeyHasher::new();
        let Wanted { source, compat, surface, plan, strict } = wanted;
        key.part(format!("{source:?} {compat:?} {surface} {plan} {strict}").as_bytes());
        if let Destination::Layout { compress, .. } = destination {
            key.part(format!("{compress:?}").as_bytes());
        }
        key.part(id.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
        for hash in objects.hashes() {
            key.part(&hash.0.to_le_bytes());
        }
        let identity = match (input.path(), content) {
            (None, _) | (_, None) => {
                let path = self.settings.root.join("sys/kernel/btf/vmlinux");
                key.content(&Content::open(&path)?, &path)?;
                Some(running::identity(&self.settings.root))
            }
            (Some(path), Some(content)) => {
                key.content(content, path)?;
                // A name tells the release where nothing else does.
                key.part(path.file_name().unwrap_or_default().as_encoded_bytes());
                key.part(input::release_of_name(&input.name()).unwrap_or_default().as_bytes());
                Identity::of_path(path)
            }
        };
        key.part(format!("{identity:?}").as_bytes());
        match &unit.modules {
            Modules::None => key.part(b"no modules"),
            // What is in the package is in its hash.
            Modules::Package(_) => key.part(b"modules"),
            Modules::Files(paths) => {
                for path in paths {
                    key.part(path.file_name().unwrap_or_default().as_encoded_bytes());
                    key.content(&Content::open(path)?, path)?;
                }
            }
            Modules::Running(root) => {
                for (name, bytes) in running::modules(root)? {
                    key.part(name.as_bytes());
                    key.part(&Hash::of(&bytes).0.to_le_bytes());
                }
            }
        }
        Ok(key.finish())
    }
}
