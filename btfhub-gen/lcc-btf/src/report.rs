//! What a run did: for people a table, for programs JSON, for the shell an exit code.

mod table;

pub(crate) use table::{aligned_left, some};

use std::collections::BTreeMap;

use btf::core_relo::{Fate, ObjectReport, RelocationFate};
use serde::{Deserialize, Serialize};

/// All that `--json` prints.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Version of this format.
    pub version: u32,
    /// The kernels, ascending by name.
    pub kernels: Vec<KernelReport>,
    /// The inputs that failed, in their order.
    pub failures: Vec<Failure>,
    /// Files in the given folders that look like a package but have no kernel, in their order.
    pub passed_over: Vec<Failure>,
    /// How many different results there are.
    pub distinct: usize,
    /// Seconds the run took.
    pub seconds: f64,
}

/// An input that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The input, as it was given.
    pub input: String,
    /// Why; names the file.
    pub error: String,
}

/// A kernel of the run.
#[derive(Debug, Clone, Serialize)]
pub struct KernelReport {
    /// `distro/version/arch/release`; `None` for a single output of a kernel that nothing names.
    pub kernel: Option<String>,
    /// The input, as it was given.
    pub input: String,
    /// Whether the result is from a run before.
    pub kept: bool,
    /// Seconds it took; 0 where the result was kept.
    pub seconds: f64,
    /// What it gave.
    #[serde(flatten)]
    pub record: UnitRecord,
}

/// What a unit gave, as far as it depends on its content only: this is what a later run finds again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// Path in the package, or empty.
    pub member: String,
    /// `distro/version/arch/release`, if that is known.
    pub id: Option<String>,
    /// `dwarf` where the BTF was encoded, `btf` where it was there.
    pub source: String,
    /// Types of the kernel's BTF, `void` not counted.
    pub types_in: usize,
    /// Types of the result.
    pub types_out: usize,
    /// Bytes of the result.
    pub bytes: usize,
    /// xxh3-128 of the result.
    pub btf: String,
    /// xxh3-128 of the attach surface.
    pub surface: Option<String>,
    /// The modules' split BTF.
    pub modules: Vec<ModuleRecord>,
    /// Files written, with the xxh3-128 of their content.
    pub files: BTreeMap<String, String>,
    /// The objects' relocations.
    pub objects: Vec<ObjectRecord>,
    /// What was not quite right with the input.
    pub diagnostics: Vec<String>,
    /// How many more diagnostics there were.
    pub more_diagnostics: usize,
}

/// A module's result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRecord {
    /// Name with `_`.
    pub name: String,
    /// xxh3-128 of the split BTF.
    pub btf: String,
    /// Types of the result.
    pub types: usize,
    /// Bytes of the result.
    pub bytes: usize,
}

/// What became of an object's relocations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// File name of the object.
    pub object: String,
    /// xxh3-128 of the object.
    pub hash: String,
    /// Relocations by fate.
    pub fates: Fates,
    /// The relocations that are not resolved, guarded or not.
    pub unresolved: Vec<Unresolved>,
}

/// Numbers of relocations by fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fates {
    /// The instruction holds the answer.
    pub resolved: usize,
    /// Absent, and no program gets there.
    pub guarded: usize,
    /// Absent, and a program may get there: it will not be loaded.
    pub unguarded: usize,
    /// Several types that disagree.
    pub ambiguous: usize,
    /// Cannot be carried out.
    pub refused: usize,
    /// Left over by the linker.
    pub dropped: usize,
}

impl std::ops::AddAssign for Fates {
    fn add_assign(&mut self, other: Fates) {
        self.resolved += other.resolved;
        self.guarded += other.guarded;
        self.unguarded += other.unguarded;
        self.ambiguous += other.ambiguous;
        self.refused += other.refused;
        self.dropped += other.dropped;
    }
}

/// A relocation that is not resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unresolved {
    /// `guarded`, `unguarded`, `ambiguous` or `refused`.
    pub fate: String,
    /// Whether it keeps a program from being loaded that is loaded by default.
    pub fatal: bool,
    /// `field byte offset`, …
    pub kind: String,
    /// As C would write it: `struct tcp_sock.rtt_min`.
    pub access: String,
    /// Program or subprogram, or the section.
    pub function: String,
    /// Instruction, counted from the function's start.
    pub insn: usize,
    /// `file:line` where the object tells it.
    pub line: Option<String>,
    /// What is missing.
    pub reason: String,
}

impl ObjectRecord {
    /// The record of an object's fates.
    pub fn of(report: &ObjectReport) -> Self {
        let mut record =
            ObjectRecord { object: report.object.clone(), hash: report.hash.to_string(), ..Self::default() };
        for relocation in &report.relocations {
            record.count(relocation);
        }
        record
    }

    fn count(&mut self, relocation: &RelocationFate) {
        let fates = &mut self.fates;
        let (counter, fate, reason) = match &relocation.fate {
            Fate::Resolved { .. } => (&mut fates.resolved, "", ""),
            Fate::Dropped => (&mut fates.dropped, "", ""),
            Fate::AbsentGuarded { reason } => (&mut fates.guarded, "guarded", &**reason),
            Fate::AbsentUnguarded { reason } => (&mut fates.unguarded, "unguarded", &**reason),
            Fate::Ambiguous { reason } => (&mut fates.ambiguous, "ambiguous", &**reason),
            Fate::Refused { reason } => (&mut fates.refused, "refused", &**reason),
            _ => (&mut fates.refused, "refused", "of a kind that this program does not know"),
        };
        *counter += 1;
        if fate.is_empty() {
            return;
        }
        self.unresolved.push(Unresolved {
            fate: fate.to_owned(),
            fatal: relocation.is_failure(),
            kind: relocation.kind.to_string(),
            access: relocation.access.clone(),
            function: relocation.function.clone().unwrap_or_else(|| relocation.section.clone()),
            insn: relocation.insn,
            line: relocation.line.as_ref().map(|line| format!("{}:{}", line.file, line.line)),
            reason: reason.to_owned(),
        });
    }
}

impl KernelReport {
    /// What the table calls it.
    fn name(&self) -> &str {
        self.kernel.as_deref().unwrap_or(&self.input)
    }
}

impl UnitRecord {
    /// The number of diagnostics.
    pub fn diagnostics(&self) -> usize {
        self.diagnostics.len() + self.more_diagnostics
    }

    /// The relocations of all objects.
    pub fn fates(&self) -> Fates {
        let mut sum = Fates::default();
        self.objects.iter().for_each(|object| sum += object.fates);
        sum
    }

    /// The relocations that keep a program from being loaded, with the object.
    pub fn fatal(&self) -> impl Iterator<Item = (&ObjectRecord, &Unresolved)> {
        let of = |object| move |unresolved| (object, unresolved);
        self.objects.iter().flat_map(move |object| object.unresolved.iter().filter(|u| u.fatal).map(of(object)))
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything was done.
    Done,
    /// Everything was done; some relocation has no answer on some kernel, and nothing guards it.
    Unresolved,
    /// Some input failed. What the others gave is written.
    Failed,
}

impl Verdict {
    /// The exit code: 0, 1, 2.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl Report {
    /// How the run ended.
    pub fn verdict(&self) -> Verdict {
        if !self.failures.is_empty() {
            Verdict::Failed
        } else if self.kernels.iter().any(|kernel| kernel.record.fatal().next().is_some()) {
            Verdict::Unresolved
        } else {
            Verdict::Done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_inputs_go_before_unresolved_relocations() {
        let unresolved = Unresolved { fatal: true, ..Unresolved::default() };
        let object = ObjectRecord { unresolved: vec![unresolved], ..ObjectRecord::default() };
        let record = UnitRecord { objects: vec![object], ..UnitRecord::default() };
        let kernel = KernelReport { kernel: None, input: "a".into(), kept: false, seconds: 0.0, record };
        let mut report = Report::default();
        assert_eq!(report.verdict().code(), 0);
        report.kernels.push(kernel);
        assert_eq!(report.verdict().code(), 1);
        report.failures.push(Failure { input: "b".into(), error: "b: is empty".into() });
        assert_eq!(report.verdict().code(), 2);
    }
}
