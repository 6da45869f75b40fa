//! Loading and attaching by the plan.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use btf::core_relo::{Module, Target};
use btf::object_file::ObjectFile;
use libbpf_rs::{MapHandle, Object};
use plan::{Attach, Hints, Kernel, KernelFacts, MapDefinition, Plan, Refused, SectionKind};

use crate::attach::{self, Attachment};
use crate::cause::Cause;
use crate::choose::{Types, as_file};
use crate::configuration::Configuration;
use crate::open::{self, Failed, Work};
use crate::stream::{Event, Listener, Stream};
use crate::uprobe::{self, Resolver, SymbolTables};
use crate::{pins, verifier, words};

/// Where a load tells how it goes, a line at a time: what was attached, refused, resolved, and libbpf's warnings.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What the caller decides.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// What is known of the programs besides the object.
    pub hints: Hints,
    /// The configuration: the bytes of `LCC_CONFIG`'s struct, or its first; what is not given is zero.
    pub config: Vec<u8>,
    /// The control group that programs for control groups are attached to; else the root of the unified hierarchy.
    pub cgroup: Option<PathBuf>,
    /// Programs that are loaded, and attached by the caller.
    pub by_caller: Vec<String>,
    /// The process whose calls uprobes see; else all.
    pub pid: Option<u32>,
    /// Who knows where functions begin; else [`SymbolTables`].
    pub resolver: Option<Arc<dyn Resolver>>,
    /// Entries of maps, where they are not to be the object's own.
    pub map_entries: Vec<(String, u32)>,
    /// A folder in a BPF file system. What is attached stays attached when the session ends, and is found there by the next
    /// one with the same object and options, which loads nothing; one with others takes its place.
    pub pins: Option<PathBuf>,
    /// Who is told how it goes; of this load, whatever other threads do.
    pub log: Option<Log>,
}

impl Options {
    fn say(&self, line: &str) {
        if let Some(log) = &self.log {
            log(line);
        }
    }
}

/// What was loaded, for as long as it lives.
pub struct Session {
    /// What was decided, and why.
    pub plan: Plan,
    /// The verifier's log of each program that was refused.
    pub logs: Vec<(String, String)>,
    /// Where uprobes were attached, by program: `FILE+OFFSET`, and how that is known.
    pub resolved: Vec<(String, String)>,
    /// It was found pinned, and not loaded.
    pub reused: bool,
    /// Attachments; they go before the object does.
    pub attachments: Vec<Attachment>,
    /// The maps that were made, by name.
    pub maps: BTreeMap<String, MapHandle>,
    /// The object; none where what was pinned serves.
    pub object: Option<Object>,
    /// The streams of events.
    pub streams: Vec<Stream>,
    pins: Option<PathBuf>,
}

impl Session {
    /// Hears all streams of events, from now on.
    ///
    /// # Errors
    /// Their buffers cannot be made.
    pub fn listen<'h>(&self, handler: impl FnMut(Event<'_>) + Send + 'h) -> libbpf_rs::Result<Listener<'h>> {
        Listener::new(&self.streams, &self.maps, self.reused, handler)
    }

    /// Detaches everything, also what is pinned.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn unload(self) -> std::io::Result<()> {
        self.pins.as_deref().map_or(Ok(()), pins::remove)
    }
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object cannot be read.
    #[error("{name}: {source}")]
    Object {
        /// The object's name.
        name: String,
        /// What is wrong.
        source: btf::Error,
    },
    /// libbpf does not take the object, whatever the kernel.
    #[error("{name}: libbpf: {source}")]
    Library {
        /// The object's name.
        name: String,
        /// What is wrong.
        source: libbpf_rs::Error,
    },
    /// There is no memory for a copy of the types, which libbpf wants as a file.
    #[error("a copy of the BTF: {source}")]
    Memory {
        /// What is wrong.
        source: std::io::Error,
    },
    /// The configuration is none of this object's.
    #[error("{name}: the configuration: {what}")]
    Configuration {
        /// The object's name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// What is pinned cannot be read, or it cannot be pinned.
    #[error("{name}: pins: {source}")]
    Pins {
        /// The object's name.
        name: String,
        /// What is wrong; it names the path.
        source: std::io::Error,
    },
    /// The kernel refuses the object, not one of its programs: its words, and the plan so far.
    #[error("{name}: {}", refusal(.cause, .source, .said))]
    Refused {
        /// The object's name.
        name: String,
        /// Why, in one of few ways.
        cause: Cause,
        /// The kernel's words.
        source: libbpf_rs::Error,
        /// What libbpf said of it.
        said: Vec<String>,
        /// The plan so far.
        plan: Box<Plan>,
    },
}

impl Error {
    /// The plan, where there is one.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Error::Refused { plan, .. } => Some(plan),
            _ => None,
        }
    }
}

pub(crate) fn refusal(cause: &Cause, source: &libbpf_rs::Error, said: &[String]) -> String {
    match cause {
        Cause::Other => format!("{source}{}", warnings(said)),
        // libbpf's hints for this number are wrong more often than right
        cause => format!("{cause} ({source})"),
    }
}

/// The first of libbpf's warnings, which says what the others follow from.
pub(crate) fn warnings(said: &[String]) -> String {
    said.first().map_or_else(String::new, |first| format!(" ({})", first.lines().next().unwrap_or_default()))
}

/// What an attempt that succeeds comes to.
pub(crate) struct Loaded {
    object: Object,
    maps: BTreeMap<String, MapHandle>,
    attachments: Vec<Attachment>,
}

/// All that does not change from one attempt to the next.
pub(crate) struct Prepared<'p> {
    name: &'p str,
    bytes: &'p [u8],
    options: &'p Options,
    types: Option<&'p Types>,
    modules: Vec<Module<'p>>,
    /// Types for libbpf, as a file.
    file: Option<(File, PathBuf)>,
    configuration: Option<Configuration>,
    declared: Vec<MapDefinition>,
    places: attach::Places,
    resolved: Vec<(String, String)>,
    /// Uprobes whose function is not found.
    pub(crate) unresolved: Vec<Refused>,
}

impl<'p> Prepared<'p> {
    pub(crate) fn new(
        name: &'p str,
        bytes: &'p [u8],
        object: &ObjectFile<'_>,
        types: Option<&'p Types>,
        options: &'p Options,
    ) -> Result<Prepared<'p>, Error> {
        let wrong = |what| Error::Configuration { name: name.to_owned(), what };
        let configuration = Configuration::of(object, bytes).map_err(wrong)?;
        let (given, size) = (options.config.len(), configuration.as_ref().map_or(0, |found| found.size));
        if given > size {
            return Err(wrong(match size {
                0 => "the object has none (LCC_CONFIG)".to_owned(),
                size => format!("{given} bytes are given, and the object's has {size}"),
            }));
        }
        let modules = types.map_or_else(Vec::new, Types::modules);
        let for_libbpf = match types {
            Some(types) => types.for_relocations(object, &modules),
            // libbpf refuses an object with relocations where it finds no types, whatever is to be loaded of it
            None => Some(
                btf::write::Builder::new(object.endian())
                    .finish()
                    .map_err(|source| Error::Object { name: name.to_owned(), source })?,
            ),
        };
        let file = for_libbpf.map(|types| as_file(&types)).transpose().map_err(|source| Error::Memory { source })?;
        let mut prepared = Prepared {
            name,
            bytes,
            options,
            types,
            modules,
            file,
            configuration,
            declared: plan::maps(object),
            places: attach::Places::new(),
            resolved: Vec::new(),
            unresolved: Vec::new(),
        };
        prepared.resolve(object);
        Ok(prepared)
    }

    /// The kernel that plans are made for.
    pub(crate) fn kernel<'k>(&'k self, facts: &'k KernelFacts) -> Kernel<'k> {
        let target = self.types.map(|types| Target { vmlinux: &types.btf, modules: &self.modules });
        Kernel::new(facts, target, None)
    }

    /// Looks the functions of all uprobes up.
    fn resolve(&mut self, object: &ObjectFile<'_>) {
        let resolver: &dyn Resolver = self.options.resolver.as_deref().unwrap_or(&SymbolTables);
        for function in object.functions().iter().filter(|function| object.is_entry(function)) {
            let section = self.options.hints.section(object, function);
            let target = match SectionKind::of(&section) {
                Some(kind) if kind.attach == Attach::Uprobe => kind.target,
                _ => None,
            };
            let Some(target) = target else { continue };
            let name = function.name.clone();
            let place = match uprobe::Target::parse(target) {
                Some(target) => target.resolve(resolver),
                None => Err(format!("{target} is not FILE:FUNCTION")),
            };
            match place {
                Ok((file, offset, how)) => {
                    self.resolved.push((name.clone(), format!("{}+{offset:#x}, by its {how}", file.display())));
                    self.places.insert(name, (file, offset));
                }
                Err(why) => self.unresolved.push(Refused::new(name, "resolve", why)),
            }
        }
    }

    fn work(&self) -> Work<'_> {
        Work {
            name: self.name,
            bytes: self.bytes,
            types: self.file.as_ref().map(|(_, path)| path.as_path()),
            options: self.options,
            configuration: self.configuration.as_ref(),
            declared: &self.declared,
        }
    }

    /// Whether libbpf takes the object.
    pub(crate) fn opens(&self, plan: &Plan) -> Result<(), Error> {
        open::opens(&self.work(), plan).map_err(|source| Error::Library { name: self.name.to_owned(), source })
    }

    /// Loads and attaches by a plan.
    pub(crate) fn attempt(&self, plan: &Plan) -> Result<Loaded, Failed> {
        let (object, maps) = open::load(&self.work(), plan)?;
        let attachments = attach::attach(&object, plan, self.options, &self.places)?;
        Ok(Loaded { object, maps, attachments })
    }

    /// The streams that a plan makes.
    fn streams(&self, plan: &Plan) -> Vec<Stream> {
        let is_made = |name: &str| plan.maps.iter().any(|map| map.enabled && map.name == name);
        let stream = |map: &MapDefinition| {
            let lost = self.declared.iter().find(|other| other.lost_of() == Some(&map.name));
            Some(Stream {
                name: map.name.clone(),
                event: map.stream().or(map.log())?.to_owned(),
                lost: lost.map(|lost| lost.name.clone()),
                bytes: map.max_entries,
            })
        };
        self.declared.iter().filter(|map| is_made(&map.name)).filter_map(stream).collect()
    }
}

/// What would be loaded.
pub fn plan(object: &ObjectFile<'_>, facts: &KernelFacts, types: Option<&Types>, hints: &Hints) -> Plan {
    let modules = types.map_or_else(Vec::new, Types::modules);
    let target = types.map(|types| Target { vmlinux: &types.btf, modules: &modules });
    let hints = Hints { no_types: hints.no_types || types.is_none(), ..hints.clone() };
    plan::plan(object, &Kernel::new(facts, target, None), &hints)
}

/// Loads what works of an object, and attaches it. `types` are those that were [chosen](crate::choose::choose).
///
/// # Errors
/// See [`Error`]. That some program does not work is none: the plan says so.
pub fn load(
    name: &str,
    bytes: &[u8],
    facts: &KernelFacts,
    types: Option<&Types>,
    options: &Options,
) -> Result<Session, Error> {
    let object = ObjectFile::parse(name, bytes).map_err(|source| Error::Object { name: name.to_owned(), source })?;
    let prepared = Prepared::new(name, bytes, &object, types, options)?;
    let kernel = prepared.kernel(facts);
    let mut hints = options.hints.clone();
    hints.no_types |= types.is_none();
    hints.refused.extend(prepared.unresolved.iter().cloned());
    let pinned = options.pins.as_deref().map(|folder| (folder, pins::folder(folder, bytes, options)));
    let in_pins = |source| Error::Pins { name: name.to_owned(), source };
    if let Some((_, folder)) = &pinned
        && let Some(found) = pins::find(folder).map_err(in_pins)?
    {
        options.say(&format!("found pinned in {}, not loaded", folder.display()));
        return Ok(reuse(&prepared, &object, &kernel, hints, found, folder));
    }
    for (program, place) in &prepared.resolved {
        options.say(&format!("{program} is at {place}"));
    }
    let mut logs = Vec::new();
    loop {
        let plan = plan::plan(&object, &kernel, &hints);
        let (result, said) = words::listen(|| prepared.attempt(&plan));
        said.iter().for_each(|line| options.say(&format!("libbpf: {line}")));
        match result {
            Ok(Loaded { object, mut maps, mut attachments }) => {
                if let Some((pins, folder)) = &pinned {
                    pins::retire(pins).map_err(in_pins)?;
                    pins::pin(folder, &mut maps, &mut attachments).map_err(in_pins)?;
                }
                for attachment in &attachments {
                    options.say(&format!("{} is attached", attachment.program));
                }
                let streams = prepared.streams(&plan);
                let pins = pinned.map(|(_, folder)| folder);
                let resolved = prepared.resolved.clone();
                let object = Some(object);
                return Ok(Session { plan, logs, resolved, reused: false, attachments, maps, object, streams, pins });
            }
            Err(Failed::Program { name, stage, why, log }) => {
                options.say(&format!("the kernel refuses to {stage} {name}: {why}; the rest is tried without it"));
                let insn = log.as_deref().and_then(|log| verifier::summary(log)?.1);
                logs.extend(log.map(|log| (name.clone(), log)));
                hints.refused.push(Refused { program: name, stage, why, insn });
            }
            Err(Failed::Object(source)) => {
                let (name, plan, cause) = (name.to_owned(), Box::new(plan), Cause::of(errno(&source), facts));
                return Err(Error::Refused { name, cause, source, said, plan });
            }
        }
    }
}

/// What a session before this one has left.
fn reuse(
    prepared: &Prepared<'_>,
    object: &ObjectFile<'_>,
    kernel: &Kernel<'_>,
    mut hints: Hints,
    found: pins::Found,
    folder: &Path,
) -> Session {
    let is_pinned = |name: &str| found.attachments.iter().any(|attachment| attachment.program == name);
    let plan = plan::plan(object, kernel, &hints);
    let by_caller = &prepared.options.by_caller;
    for program in plan.programs.iter().filter(|program| program.enabled && !by_caller.contains(&program.name)) {
        let is_attached = SectionKind::of(&program.section).is_some_and(|kind| attach::is_ours(&kind));
        if is_attached && !is_pinned(&program.name) {
            let why = "it is not among what is pinned: it was refused when that was loaded".to_owned();
            hints.refused.push(Refused::new(&program.name, "attach", why));
        }
    }
    let plan = plan::plan(object, kernel, &hints);
    Session {
        streams: prepared.streams(&plan),
        plan,
        logs: Vec::new(),
        resolved: prepared.resolved.clone(),
        reused: true,
        attachments: found.attachments,
        maps: found.maps,
        object: None,
        pins: Some(folder.to_owned()),
    }
}

/// The kernel's error number; 0 where there is none.
pub(crate) fn errno(error: &libbpf_rs::Error) -> i32 {
    match error.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => 1,
        libbpf_rs::ErrorKind::Unsupported => 95,
        // the number stands in the words only
        _ => {
            let text = format!("{error:#}");
            let number = text.rsplit_once("os error ").map(|(_, rest)| rest.trim_end_matches(')'));
            number.and_then(|number| number.parse().ok()).unwrap_or(0)
        }
    }
}
