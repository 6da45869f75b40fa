//! Loading and attaching by the plan.

use std::fs::File;
use std::path::{Path, PathBuf};

use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;
use libbpf_rs::{Link, Object, ObjectBuilder};
use plan::{Attach, Feature, Hints, Kernel, KernelFacts, Need, Plan, ProgramPlan, SectionKind, Status};

use crate::choose::{Types, as_file};
use crate::weaken::weaken;
use crate::{attempt, verifier, words};

/// What was loaded, for as long as it lives.
pub struct Session {
    /// What was decided, and why.
    pub plan: Plan,
    /// The verifier's log of each program that was refused.
    pub logs: Vec<(String, String)>,
    /// Attachments, by program; they go before the object does.
    pub links: Vec<(String, Link)>,
    /// The object.
    pub object: Object,
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
    /// The types cannot be read.
    #[error("{place}: {source}")]
    Types {
        /// Where they are from.
        place: String,
        /// What is wrong.
        source: btf::Error,
    },
    /// There is no memory for a copy of the types, which libbpf wants as a file.
    #[error("a copy of the BTF: {source}")]
    Memory {
        /// What is wrong.
        source: std::io::Error,
    },
    /// The kernel refuses the object, not one of its programs: its words, and the plan so far.
    #[error("{name}: {source}{}", warnings(.said))]
    Refused {
        /// The object's name.
        name: String,
        /// The kernel's words.
        source: libbpf_rs::Error,
        /// What libbpf said of it.
        said: Vec<String>,
        /// The plan so far.
        plan: Box<Plan>,
    },
    /// The process may not load BPF at all.
    #[error("{name}: the process may not load BPF programs ({source}): run as root, or with CAP_BPF and CAP_PERFMON")]
    NotPermitted {
        /// The object's name.
        name: String,
        /// The kernel's words.
        source: libbpf_rs::Error,
        /// The plan so far.
        plan: Box<Plan>,
    },
}

impl Error {
    /// The plan, where there is one.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Error::Refused { plan, .. } | Error::NotPermitted { plan, .. } => Some(plan),
            _ => None,
        }
    }
}

/// Bytes of a log: what the verifier says of a refusal stands at its end, and libbpf keeps the end.
const LOG: usize = 1 << 20;

/// Loads what works of an object, and attaches it. `types` are those that were [chosen](crate::choose::choose).
///
/// # Errors
/// See [`Error`]. That some program does not work is none: the plan says so.
pub fn load(
    name: &str,
    bytes: &[u8],
    facts: &KernelFacts,
    types: Option<&Types>,
    hints: &Hints,
) -> Result<Session, Error> {
    let object = ObjectFile::parse(name, bytes).map_err(|source| Error::Object { name: name.to_owned(), source })?;
    let parsed = parse(types)?;
    let custom = custom(types)?;
    let custom = custom.as_ref().map(|(_, path)| path.as_path());
    let kernel = Kernel::new(facts, parsed.as_ref().map(Target::kernel), None);
    let mut hints = hints.clone();
    let mut logs = Vec::new();
    loop {
        let plan = plan::plan(&object, &kernel, &hints);
        let (result, said) = words::listen(|| attempt(name, bytes, custom, &plan));
        match result {
            Ok((object, links)) => return Ok(Session { plan, logs, object, links }),
            Err(Failed::Program { name, stage, why, log }) => {
                logs.extend(log.map(|log| (name.clone(), log)));
                hints.refused.push((name, stage, why));
            }
            Err(Failed::Object(source)) => {
                let (name, plan) = (name.to_owned(), Box::new(plan));
                return Err(match source.kind() {
                    libbpf_rs::ErrorKind::PermissionDenied => Error::NotPermitted { name, source, plan },
                    _ => Error::Refused { name, source, said, plan },
                });
            }
        }
    }
}

fn parse(types: Option<&Types>) -> Result<Option<Btf<'_>>, Error> {
    let Some(types) = types else { return Ok(None) };
    Btf::parse(&types.bytes).map(Some).map_err(|source| Error::Types { place: types.place.clone(), source })
}

/// The types as a file for libbpf, which finds the kernel's own by itself.
fn custom(types: Option<&Types>) -> Result<Option<(File, PathBuf)>, Error> {
    let custom = types.filter(|types| !types.own).map(|types| as_file(&types.bytes)).transpose();
    custom.map_err(|source| Error::Memory { source })
}

/// The first of libbpf's warnings, which says what the others follow from.
fn warnings(said: &[String]) -> String {
    said.first().map_or_else(String::new, |first| format!(" ({})", first.lines().next().unwrap_or_default()))
}

enum Failed {
    /// One program is refused.
    Program { name: String, stage: &'static str, why: String, log: Option<String> },
    /// It cannot be told which.
    Object(libbpf_rs::Error),
}

/// The kernel functions, variables and configuration values that the kernel does not have.
fn absent(plan: &Plan) -> Vec<&str> {
    let requirements = plan.programs.iter().flat_map(|program| &program.requirements);
    let unmet = requirements.filter(|requirement| requirement.status == Status::Unmet);
    let named = unmet.filter_map(|requirement| match &requirement.need {
        Need::Kfunc { name } | Need::Variable { name } | Need::Config { name } => Some(name.as_str()),
        _ => None,
    });
    named.collect()
}

/// One attempt at a plan.
fn attempt(
    name: &str,
    bytes: &[u8],
    types: Option<&Path>,
    plan: &Plan,
) -> Result<(Object, Vec<(String, Link)>), Failed> {
    let enabled = |name: &str| plan.programs.iter().any(|program| program.enabled && program.name == name);
    let mut builder = ObjectBuilder::default();
    builder.name(name.trim_end_matches(".o")).map_err(Failed::Object)?;
    if let Some(path) = types {
        builder.btf_custom_path(path).map_err(Failed::Object)?;
    }
    let mut bytes = bytes.to_vec();
    weaken(&mut bytes, &absent(plan));
    let mut open = builder.open_memory(&bytes).map_err(Failed::Object)?;
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if plan.maps.iter().any(|planned| !planned.enabled && planned.name == name) {
            map.set_autocreate(false).map_err(Failed::Object)?;
        }
    }
    let mut logs: Vec<(String, Vec<u8>)> = Vec::new();
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        program.set_autoload(enabled(&name));
        if enabled(&name) {
            let mut log = vec![0; LOG];
            attempt::set_log(&mut program, &mut log);
            logs.push((name, log));
        }
    }
    let object = match open.load() {
        Ok(object) => object,
        Err(error) => {
            let text = |log: &[u8]| {
                String::from_utf8_lossy(log.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
            };
            let spoken = logs.into_iter().map(|(name, log)| (name, text(&log))).find(|(_, log)| !log.trim().is_empty());
            return Err(match spoken {
                Some((name, log)) => {
                    let why = verifier::summary(&log).map_or_else(|| error.to_string(), |(why, _)| why);
                    Failed::Program { name, stage: "load", why, log: Some(log) }
                }
                None => Failed::Object(error),
            });
        }
    };
    let mut links = Vec::new();
    for program in object.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let section = program.section().to_string_lossy().into_owned();
        // what a section does not say all of is attached by the caller
        let by_section = SectionKind::of(&section).is_some_and(|kind| {
            kind.target.is_some() && !matches!(kind.attach, Attach::Extension | Attach::StructOps | Attach::Uprobe)
        });
        if !enabled(&name) || !by_section {
            continue;
        }
        match program.attach() {
            Ok(link) => links.push((name, link)),
            Err(error) => {
                return Err(Failed::Program { name, stage: "attach", why: error.to_string(), log: None });
            }
        }
    }
    Ok((object, links))
}

/// What a program was predicted to do, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its name.
    pub program: String,
    /// Whether it could work, by the plan.
    pub predicted: Status,
    /// All that speaks against it is that the kernel would take it and it would do something else than it was written for:
    /// read what is not there, or never run.
    pub silently: bool,
    /// What was tried that failed, and the kernel's words; `None` where it was loaded and, as far as its section says what
    /// to, attached.
    pub refused: Option<(&'static str, String)>,
}

impl Observed {
    /// Whether the kernel did otherwise than the plan said. What the plan did not know cannot differ.
    pub fn differs(&self) -> bool {
        match self.predicted {
            Status::Met => self.refused.is_some(),
            Status::Unmet => self.refused.is_none() && !self.silently,
            Status::Unknown => false,
        }
    }
}

/// Loads and attaches each program of an object by itself, also those that the plan has off, to hold the plan against what
/// the kernel does. Nothing stays attached.
///
/// # Errors
/// See [`Error`]: the object or the types cannot be read.
pub fn verify(
    name: &str,
    bytes: &[u8],
    facts: &KernelFacts,
    types: Option<&Types>,
) -> Result<(Plan, Vec<Observed>), Error> {
    let object = ObjectFile::parse(name, bytes).map_err(|source| Error::Object { name: name.to_owned(), source })?;
    let parsed = parse(types)?;
    let custom = custom(types)?;
    let custom = custom.as_ref().map(|(_, path)| path.as_path());
    let kernel = Kernel::new(facts, parsed.as_ref().map(Target::kernel), None);
    let plan = plan::plan(&object, &kernel, &Hints::default());
    let one = |program: &ProgramPlan| {
        let mut alone = plan.clone();
        alone.programs.iter_mut().for_each(|other| other.enabled = other.name == program.name);
        let (result, said) = words::listen(|| attempt(name, bytes, custom, &alone));
        let refused = match result {
            Ok(_) => None,
            Err(Failed::Program { stage, why, .. }) => Some((stage, format!("{why}{}", warnings(&said)))),
            Err(Failed::Object(error)) => Some(("load", format!("{error}{}", warnings(&said)))),
        };
        let unmet = program.requirements.iter().filter(|requirement| requirement.status == Status::Unmet);
        let is_silent =
            |need: &Need| matches!(need, Need::Argument { .. } | Need::Feature { feature: Feature::BpfLsm });
        let silently = unmet.clone().count() > 0 && unmet.clone().all(|requirement| is_silent(&requirement.need));
        Observed { program: program.name.clone(), predicted: program.status, silently, refused }
    };
    let observed = plan.programs.iter().map(one).collect();
    Ok((plan, observed))
}
