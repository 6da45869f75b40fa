//! What a program needs, and whether a kernel has it.

use std::fmt;

use serde::Serialize;

/// Whether a requirement is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is.
    Met,
    /// What is known does not tell.
    Unknown,
    /// It is not: the program cannot work.
    Unmet,
}

/// What is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Need {
    /// A section that says what the program is.
    Section {
        /// The section's name.
        name: String,
    },
    /// A program type.
    ProgramType {
        /// Enumerator of `enum bpf_prog_type`, whole.
        name: String,
    },
    /// A way to attach.
    AttachType {
        /// Enumerator of `enum bpf_attach_type`, whole.
        name: String,
    },
    /// Types of the kernel, from wherever, for the CO-RE relocations.
    Types,
    /// The kernel's own BTF, from the kernel itself.
    OwnBtf,
    /// A feature of the kernel.
    Feature {
        /// Which.
        feature: crate::facts::Feature,
    },
    /// What the program is attached to.
    Target {
        /// What kind of thing: `function`, `modifiable function`, `tracepoint`, `security hook`, `iterator`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An argument of the target.
    Argument {
        /// The target.
        function: String,
        /// From 1, as people count.
        number: usize,
        /// What the program takes it for, as C would write it; empty where it is only read.
        structure: String,
    },
    /// A helper.
    Helper {
        /// Its number.
        number: u32,
        /// Its name, `bpf_…`, where that is known.
        name: Option<String>,
    },
    /// A kernel function that the program calls.
    Kfunc {
        /// Its name.
        name: String,
    },
    /// A map's type.
    MapType {
        /// The map.
        map: String,
        /// The value in `enum bpf_map_type`.
        number: u32,
        /// Its enumerator, where that is known.
        name: Option<String>,
    },
    /// What a CO-RE relocation asks for.
    Relocation {
        /// As C would write it: `struct tcp_sock.rtt_min`.
        access: String,
        /// What is asked of it.
        kind: String,
        /// File and line of the source, where the object tells.
        line: Option<String>,
    },
    /// All other CO-RE relocations.
    Relocations {
        /// Answered.
        resolved: usize,
        /// Without an answer, and not reached then.
        guarded: usize,
    },
    /// A variable of the kernel.
    Variable {
        /// Its name.
        name: String,
    },
    /// A value of the kernel's configuration.
    Config {
        /// `CONFIG_…`
        name: String,
    },
    /// That the kernel takes it, which was tried.
    Consent {
        /// What was tried: `load`, `attach`; `resolve`, the place of a function in a user's file.
        stage: &'static str,
        /// What the instruction reads that its words are about, where a relocation tells: as C would write it.
        #[serde(skip_serializing_if = "Option::is_none")]
        access: Option<String>,
        /// File and line of the source that they are about.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<String>,
    },
    /// A capability of the process.
    Capability {
        /// `CAP_…`
        name: &'static str,
    },
}

/// A requirement and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// What is needed.
    #[serde(flatten)]
    pub need: Need,
    /// Whether it is there.
    pub status: Status,
    /// How that is known, in words; empty where there is nothing to say.
    pub evidence: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Requirement {
    pub(crate) fn met(need: Need, evidence: impl Into<String>) -> Requirement {
        Requirement { need, status: Status::Met, evidence: evidence.into(), remedy: None }
    }

    pub(crate) fn unmet(need: Need, evidence: impl Into<String>) -> Requirement {
        Requirement { need, status: Status::Unmet, evidence: evidence.into(), remedy: None }
    }

    pub(crate) fn unknown(need: Need, why: impl Into<String>) -> Requirement {
        Requirement { need, status: Status::Unknown, evidence: why.into(), remedy: None }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Requirement {
        if self.status != Status::Met {
            self.remedy = Some(remedy.into());
        }
        self
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Section { name } => write!(f, "section \"{name}\""),
            Need::ProgramType { name } => write!(f, "program type {name}"),
            Need::AttachType { name } => write!(f, "attach type {name}"),
            Need::Types => f.write_str("types of the kernel (BTF)"),
            Need::OwnBtf => f.write_str("the kernel's own BTF"),
            Need::Feature { feature } => write!(f, "{}", feature.words()),
            Need::Target { kind, name } => write!(f, "{kind} {name}"),
            Need::Argument { function, number, structure } if structure.is_empty() => {
                write!(f, "argument {number} of {function}")
            }
            Need::Argument { function, number, structure } => {
                write!(f, "argument {number} of {function} as struct {structure} *")
            }
            Need::Helper { number, name: None } => write!(f, "helper {number}"),
            Need::Helper { name: Some(name), .. } => write!(f, "helper {name}"),
            Need::Kfunc { name } => write!(f, "kernel function {name}()"),
            Need::MapType { map, name: Some(name), .. } => write!(f, "map {map} of type {name}"),
            Need::MapType { map, number, name: None } => write!(f, "map {map} of type {number}"),
            Need::Relocation { access, kind, .. } => write!(f, "{kind} of {access}"),
            Need::Relocations { resolved, guarded } => {
                write!(f, "{resolved} relocations resolved, {guarded} guarded")
            }
            Need::Variable { name } => write!(f, "kernel variable {name}"),
            Need::Config { name } => write!(f, "configuration {name}"),
            Need::Consent { stage, .. } => write!(f, "the kernel's consent to {stage} it"),
            Need::Capability { name } => f.write_str(name),
        }
    }
}

impl Status {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Status::Met => "met",
            Status::Unknown => "unknown",
            Status::Unmet => "unmet",
        }
    }
}
