//! What host and guest say to each other, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a line of the console with something of ours begins with; all others are the kernel's, and what tests print.
pub const MARK: &str = "@lcc ";

/// Where the guest finds its [`Job`].
pub const JOB: &str = "job.json";

/// Where BTF is that was made for a kernel that has none: `LCC_BTF` names it.
pub const BTF: &str = "kernel.btf";

/// What the guest is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Modules to insert, in this order: files.
    pub modules: Vec<String>,
    /// An empty file system over `/sys/kernel/btf`.
    pub hide_btf: bool,
    /// What is written below `/proc/sys`: `kernel/kptr_restrict`, and the value.
    pub sysctls: BTreeMap<String, String>,
    /// Objects whose plan is held against the kernel: files.
    pub objects: Vec<String>,
    /// The packs in which BTF is looked for: files.
    pub packs: Vec<String>,
    /// Whom objects are verified as: a user's number, else root.
    pub user: Option<u32>,
    /// What tests and commands find in their environment.
    pub environment: BTreeMap<String, String>,
    /// Programs of tests, as `cargo test` builds them: files.
    pub tests: Vec<String>,
    /// Of the tests only those whose names have one of these in them; all, if there is none.
    pub filters: Vec<String>,
    /// Programs to run, with their arguments. What they print is a value of JSON.
    pub commands: Vec<Vec<String>>,
    /// A program to run with its arguments, whose exit status is told: what a user of `lcc-vm run` asks for.
    pub program: Vec<String>,
    /// What is done wrong on purpose, to see that the host tells it.
    pub fault: Option<Fault>,
}

/// Something that a machine may do instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The kernel panics.
    Panic,
    /// It stands still before the guest has said anything.
    HangInBoot,
    /// It stands still in the middle of its work.
    Hang,
    /// It prints without end.
    Flood,
    /// It writes until there is no room.
    Full,
    /// It says nothing, as there is no console. (The host does this.)
    NoConsole,
}

/// A line of the guest's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first one: the kernel has booted.
    Started {
        /// `uname -r`.
        release: String,
        /// `uname -m`.
        machine: String,
    },
    /// Something begins; where a machine hangs this is what it hangs in.
    Begins {
        /// What.
        what: String,
    },
    /// Something is not as it should be, and what comes after it is done all the same.
    Warning {
        /// What.
        text: String,
    },
    /// What is known of the kernel: `lcc-load facts`, less its long lists.
    Facts {
        /// As `plan::KernelFacts` is written.
        facts: serde_json::Value,
    },
    /// An object, held against the kernel.
    Object(Verified),
    /// A test.
    Test(Test),
    /// A command.
    Command {
        /// Its program.
        command: String,
        /// Whether it ended with 0.
        passed: bool,
        /// What it printed.
        told: serde_json::Value,
    },
    /// The program of `lcc-vm run` has ended.
    Exit {
        /// With this status; 128 and the signal's number where a signal ended it.
        code: i32,
    },
    /// Something could not be done, and the rest of its part was not.
    Failed {
        /// What.
        what: String,
        /// Why.
        error: String,
    },
    /// The last one.
    Done,
}

/// What was found of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Its file's name.
    pub object: String,
    /// `works`, `degraded`, `fails`, `unknown`.
    pub outcome: String,
    /// The place of the BTF that was taken.
    pub btf: Option<String>,
    /// The places that were looked at: what was found there.
    pub places: Vec<String>,
    /// Its programs, in the order of the file.
    pub programs: Vec<Program>,
}

impl Verified {
    /// Of how many programs the plan said that it does not know.
    pub fn unknown(&self) -> usize {
        self.programs.iter().filter(|program| program.predicted == "unknown").count()
    }
}

/// A program: what the plan said of it, and what the kernel did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub program: String,
    /// Its section.
    pub section: String,
    /// `met`, `unmet` or `unknown`.
    pub predicted: String,
    /// Whether the plan enables it.
    pub enabled: bool,
    /// What is not met.
    pub why: Vec<String>,
    /// What the kernel refused it with, by stage.
    pub refused: Option<String>,
    /// The kernel takes it, and it would do something else than it was written for.
    pub silently: bool,
    /// Whether the kernel did otherwise than the plan said.
    pub differs: bool,
}

/// A test: one function of a program of tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The program's name.
    pub program: String,
    /// Its name; empty where the program itself failed.
    pub test: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took, by the guest's clock.
    pub seconds: f64,
    /// What it said: of a failed one, its end; of one that was skipped, why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}

/// What came of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It found that it cannot be done here, and said why.
    Skipped,
    /// It failed.
    Failed,
}
