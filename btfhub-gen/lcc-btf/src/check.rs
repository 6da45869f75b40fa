//! `lcc-btf check`: which program of which object works on which kernel, without booting any.
//!
//! ```text
//! KERNEL ─ input ─▶ its BTF, its DWARF's attach surface ─┐
//! pack   ───────▶ each kernel's BTF and surface ─────────┼─▶ plan::plan for each object ─▶ table, JSON, JUnit, page
//! objects ───────────────────────────────────────────────┘
//! ```

pub mod junit;
pub mod page;
pub mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;
use btf::surface::Surface;
use pack::{Hash, KernelId, Pack};
use plan::{Answer, Hints, Kernel, KernelFacts, Outcome, Plan};
use serde::Serialize;

use crate::error::Error;
use crate::generate::kernel::{self, Source, encode};
use crate::generate::run::Progress;
use crate::input::expand::{Input, expand};
use crate::input::package::module_stem;
use crate::input::{self, Image, running};
use crate::kernel_id::Identity;
use crate::report::Failure;

/// What a check is asked to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the attach surface is from: [`Source::Btf`] goes without, and needs no DWARF.
    pub source: Source,
    /// Threads, over all kernels.
    pub jobs: usize,
    /// Where `running` finds `/sys`, `/proc` and `/etc`.
    pub root: PathBuf,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// Version of this format.
    pub version: u32,
    /// The objects, in the order given.
    pub objects: Vec<String>,
    /// The kernels, ascending by name.
    pub kernels: Vec<CheckedKernel>,
    /// The inputs that failed.
    pub failures: Vec<Failure>,
}

/// A kernel, and the plan of each object on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedKernel {
    /// `distro/version/arch/release`, or what the input is called.
    pub kernel: String,
    /// The input, as it was given.
    pub input: String,
    /// Whether the functions' fates are known: the kernel's DWARF was there.
    pub surface: bool,
    /// In the order of the objects.
    pub plans: Vec<Plan>,
}

impl CheckReport {
    /// 0, 1 where something that an object needs does not work on some kernel, 2 where an input failed.
    pub fn code(&self) -> u8 {
        let fails = |kernel: &CheckedKernel| kernel.plans.iter().any(|plan| plan.outcome == Outcome::Fails);
        match self.kernels.iter().any(fails) {
            _ if !self.failures.is_empty() => 2,
            true => 1,
            false => 0,
        }
    }
}

/// The kernels of one input.
type Checked = Result<Vec<CheckedKernel>, Error>;

/// Checks every object on every kernel. An input that fails is in the report, and the others are done nevertheless.
pub fn check(
    arguments: &[PathBuf],
    objects: &[ObjectFile<'_>],
    settings: &Settings,
    progress: &dyn Progress,
) -> CheckReport {
    let (inputs, errors) = expand(arguments);
    let mut failures: Vec<Failure> =
        errors.iter().map(|error| Failure { input: String::new(), error: error.to_string() }).collect();
    errors.iter().for_each(|error| progress.done("", Some(error)));
    // a kernel's modules have no plan of their own
    let inputs: Vec<Input> = inputs
        .into_iter()
        .filter(|input| input.path().is_none_or(|path| module_stem(&path.to_string_lossy()).is_none()))
        .collect();
    progress.begin(inputs.len());
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Checked)>> = Mutex::default();
    let jobs = settings.jobs.max(1);
    let threads = (jobs / jobs.min(inputs.len().max(1))).max(1);
    let work = || {
        while let Some((at, input)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, inputs.get(at)?)))
        {
            progress.started(&input.name());
            let result = one(input, objects, settings, threads);
            progress.done(&input.name(), result.as_ref().err());
            results.lock().unwrap_or_else(|error| error.into_inner()).push((at, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.min(inputs.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(|error| error.into_inner());
    results.sort_by_key(|&(at, _)| at);
    let mut kernels = Vec::new();
    for (at, result) in results {
        match result {
            Ok(found) => kernels.extend(found),
            Err(Error::NoKernel { .. }) if matches!(inputs[at], Input::Found(_)) => {}
            Err(error) => failures.push(Failure { input: inputs[at].name(), error: error.to_string() }),
        }
    }
    kernels.sort_by(|a, b| (&a.kernel, &a.input).cmp(&(&b.kernel, &b.input)));
    CheckReport {
        version: 1,
        objects: objects.iter().map(|object| object.name().to_owned()).collect(),
        kernels,
        failures,
    }
}

fn one(input: &Input, objects: &[ObjectFile<'_>], settings: &Settings, threads: usize) -> Checked {
    let options = input::Options { threads, root: settings.root.clone() };
    let name = input.name();
    let (kernel, own) = match input.path() {
        None => (running::read(&options)?, Answer::Yes),
        Some(path) => match pack_bytes(path)? {
            Some(bytes) => return of_pack(&name, path, &bytes, objects, settings.jobs),
            None => (input::read(path, &options)?, Answer::NotAsked),
        },
    };
    let input::Kernel { origin, identity, image } = kernel;
    kernel::refuse_object(&origin, &image)?;
    let encoded = match settings.source {
        Source::Btf => None,
        _ if image.has_dwarf() => Some(encode(&origin, &image, dwarf::Compat::LATEST, None, threads)?),
        Source::Dwarf => return Err(kernel::no_types(&origin, "has no DWARF (.debug_info)")),
        Source::Auto => None,
    };
    // programs are relocated against, and attached by, the BTF that the kernel has itself
    let (types, own) = match (image.own_btf(), &encoded, &image) {
        (Some(types), _, Image::Elf { facts, .. }) if facts.btf_has_address => (types, Answer::Yes),
        (Some(types), ..) => (types, own),
        (None, Some(encoded), _) => {
            (encoded.btf.as_slice(), Answer::No("this vmlinux has no BTF of its own (.BTF)".to_owned()))
        }
        (None, None, _) => return Err(kernel::no_types(&origin, "has no BTF (.BTF)")),
    };
    let types = Btf::parse(types).map_err(Error::btf(&origin))?;
    let surface = encoded.as_ref().map(|encoded| Surface::parse(&encoded.surface));
    let surface = surface.transpose().map_err(Error::btf(&origin))?;
    let facts = facts(&identity, own);
    let called = identity.complete().ok().flatten().map_or_else(|| name.clone(), |id: KernelId| id.to_string());
    Ok(vec![checked(called, name, &facts, &types, surface.as_ref(), objects)])
}

fn facts(identity: &Identity, own_btf: Answer) -> KernelFacts {
    let mut facts = KernelFacts::unknown();
    facts.release = identity.release.clone();
    facts.arch = identity.arch.clone();
    facts.distribution = identity.distro.as_ref().map(|distro| (distro.name.clone(), distro.version.clone()));
    facts.own_btf = own_btf;
    facts
}

fn checked(
    kernel: String,
    input: String,
    facts: &KernelFacts,
    types: &Btf<'_>,
    surface: Option<&Surface<'_>>,
    objects: &[ObjectFile<'_>],
) -> CheckedKernel {
    let kernel_of = Kernel::new(facts, Some(Target::kernel(types)), surface);
    plan::prepare(&kernel_of, objects);
    let plans = objects.iter().map(|object| plan::plan(object, &kernel_of, &Hints::default())).collect();
    CheckedKernel { kernel, input, surface: surface.is_some(), plans }
}

/// The bytes of a file that is a pack.
fn pack_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    use std::io::Read;
    let failed = || Error::io("reading", path);
    let mut file = std::fs::File::open(path).map_err(failed())?;
    let mut head = [0; pack::MAGIC.len()];
    if file.read_exact(&mut head).is_err() || head != *pack::MAGIC {
        return Ok(None);
    }
    std::fs::read(path).map(Some).map_err(failed())
}

/// The kernels of a pack. What several have in common is looked at once.
fn of_pack(name: &str, path: &Path, bytes: &[u8], objects: &[ObjectFile<'_>], jobs: usize) -> Checked {
    let failed = |source| Error::Pack { path: path.to_owned(), source };
    let pack = Pack::open(bytes).map_err(failed)?;
    // an entry's plan depends on these, and on its name
    type Same = (Hash, Option<Hash>, String, String);
    let mut same: HashMap<Same, Vec<KernelId>> = HashMap::new();
    for entry in pack.entries() {
        let entry = entry.to_owned();
        if !entry.module.is_empty() {
            continue;
        }
        let key = (entry.btf, entry.surface, entry.id.release().to_owned(), entry.id.arch().to_owned());
        same.entry(key).or_default().push(entry.id);
    }
    let mut work: Vec<(Same, Vec<KernelId>)> = same.into_iter().collect();
    work.sort_by(|a, b| a.1.cmp(&b.1));
    let next = AtomicUsize::new(0);
    let results: Mutex<Checked> = Mutex::new(Ok(Vec::new()));
    let run = || {
        while let Some((key, ids)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = (|| {
                let types = pack.read(key.0).map_err(failed)?;
                let types = Btf::parse(&types).map_err(Error::btf(name))?;
                let surface = key.1.map(|hash| pack.read(hash)).transpose().map_err(failed)?;
                let surface = surface.as_deref().map(Surface::parse).transpose().map_err(Error::btf(name))?;
                let each = ids.iter().map(|id| {
                    let facts = facts(&Identity::from(id), Answer::NotAsked);
                    checked(id.to_string(), name.to_owned(), &facts, &types, surface.as_ref(), objects)
                });
                Ok::<_, Error>(each.collect::<Vec<_>>())
            })();
            let mut results = results.lock().unwrap_or_else(|error| error.into_inner());
            match (&mut *results, found) {
                (Ok(all), Ok(found)) => all.extend(found),
                (Ok(_), Err(error)) => *results = Err(error),
                (Err(_), _) => {}
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.min(work.len()) {
            scope.spawn(run);
        }
        run();
    });
    results.into_inner().unwrap_or_else(|error| error.into_inner())
}
