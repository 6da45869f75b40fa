//! Loading and attaching by the plan.

use std::path::Path;

use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;
use libbpf_rs::{Link, Object, ObjectBuilder};
use plan::{Attach, Hints, Kernel, KernelFacts, Plan, SectionKind};

use crate::choose::{Types, as_file};
use crate::{attempt, verifier};

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
    #[error("{name}: {source}")]
    Refused {
        /// The object's name.
        name: String,
        /// The kernel's words.
        source: libbpf_rs::Error,
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
    let parsed = types.map(|types| Btf::parse(&types.bytes).map_err(|source| (types, source))).transpose();
    let parsed = parsed.map_err(|(types, source)| Error::Types { place: types.place.clone(), source })?;
    // libbpf finds the kernel's own by itself
    let custom = types.filter(|types| !types.own).map(|types| as_file(&types.bytes)).transpose();
    let custom = custom.map_err(|source| Error::Memory { source })?;
    let custom = custom.as_ref().map(|(_, path)| path.as_path());
    let kernel = Kernel::new(facts, parsed.as_ref().map(Target::kernel), None);
    let mut hints = hints.clone();
    let mut logs = Vec::new();
    loop {
        let plan = plan::plan(&object, &kernel, &hints);
        match attempt(name, bytes, custom, &plan) {
            Ok((object, links)) => return Ok(Session { plan, logs, object, links }),
            Err(Failed::Program { name, stage, why, log }) => {
                logs.extend(log.map(|log| (name.clone(), log)));
                hints.refused.push((name, stage, why));
            }
            Err(Failed::Object(source)) => {
                let (name, plan) = (name.to_owned(), Box::new(plan));
                return Err(match source.kind() {
                    libbpf_rs::ErrorKind::PermissionDenied => Error::NotPermitted { name, source, plan },
                    _ => Error::Refused { name, source, plan },
                });
            }
        }
    }
}

enum Failed {
    /// One program is refused.
    Program { name: String, stage: &'static str, why: String, log: Option<String> },
    /// It cannot be told which.
    Object(libbpf_rs::Error),
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
    let mut open = builder.open_memory(bytes).map_err(Failed::Object)?;
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
