//! The fate of each relocation of an object on a target, for people and for programs to decide on.

use super::candidates::Target;
use super::kind::CoreReloKind;
use super::patch::patch;
use super::refusal::Refusal;
use super::resolve::Resolution;
use super::spec::AccessSpec;
use crate::insn::Insn;
use crate::object_file::{CoreRelo, ObjectFile, ObjectHash};
use crate::reach::reachable;

/// What becomes of a relocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The instruction holds the answer. For a question whether something exists the answer may be that it does not.
    Resolved {
        /// What the instruction holds: an offset, a size, an id, 0 or 1.
        value: u64,
        /// Is what was asked for there?
        exists: bool,
    },
    /// What was asked for is not there, and the instruction became invalid; but no program that is loaded with it gets there.
    AbsentGuarded {
        /// What is missing, in words.
        reason: String,
    },
    /// What was asked for is not there, and a program may get to the instruction: the verifier refuses it.
    AbsentUnguarded {
        /// What is missing, in words.
        reason: String,
    },
    /// Types of one name disagree: libbpf refuses the object.
    Ambiguous {
        /// How they disagree.
        reason: String,
    },
    /// libbpf refuses the object for another reason: it is malformed, or the value does not fit the instruction.
    Refused {
        /// Why.
        reason: String,
    },
    /// The function was dropped by the linker; libbpf skips what it left.
    Dropped,
}

/// A relocation, where it is, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelocationFate {
    /// What is asked.
    pub kind: CoreReloKind,
    /// Of what, as C would write it: `struct tcp_sock.rtt_min`.
    pub access: String,
    /// Name of the code section, without a leading `?`.
    pub section: String,
    /// Name of the program or subprogram, where there is one.
    pub function: Option<String>,
    /// The instruction, counted from the function's start, or from the section's where there is no function.
    pub insn: usize,
    /// Does any program that is loaded by default have the instruction? `false` for a section whose name starts with `?`.
    pub autoload: bool,
    /// The BTF that the answer is from: `vmlinux` or a module's name.
    pub found_in: Option<String>,
    /// The source line, where the object tells it.
    pub line: Option<OwnedSourceLine>,
    /// What becomes of it.
    pub fate: Fate,
}

/// A place in an object's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedSourceLine {
    /// File name, as the compiler was given it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Text of the line.
    pub text: String,
}

/// The fates of an object's relocations on one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectReport {
    /// The object's name.
    pub object: String,
    /// Hash of the object file.
    pub hash: ObjectHash,
    /// In the order of the object's relocations.
    pub relocations: Vec<RelocationFate>,
}

impl Fate {
    /// Does this keep a program from being loaded?
    pub fn is_failure(&self) -> bool {
        matches!(self, Fate::AbsentUnguarded { .. } | Fate::Ambiguous { .. } | Fate::Refused { .. })
    }
}

impl RelocationFate {
    /// Does this keep a program from being loaded that is loaded by default?
    pub fn is_failure(&self) -> bool {
        self.autoload && self.fate.is_failure()
    }
}

impl ObjectReport {
    /// The relocations that keep the object from being loaded.
    pub fn failures(&self) -> impl Iterator<Item = &RelocationFate> {
        self.relocations.iter().filter(|relocation| relocation.is_failure())
    }
}

/// The object's code with its relocations carried out.
#[derive(Clone, Debug)]
pub struct RelocatedCode {
    /// The instructions of each code section.
    pub sections: Vec<Vec<Insn>>,
    /// By relocation: was the instruction made invalid? Or why it could not be changed; it is then left as it was.
    pub results: Vec<Result<bool, Refusal>>,
}

/// Carries an object's relocations out.
pub fn relocate(object: &ObjectFile<'_>, resolutions: &[Resolution]) -> RelocatedCode {
    let mut sections: Vec<Vec<Insn>> = object.sections().iter().map(|section| section.insns.clone()).collect();
    let one = |(relo, resolution): (&CoreRelo, &Resolution)| {
        let outcome = resolution.outcome.as_ref().map_err(Clone::clone)?;
        patch(&mut sections[relo.section], relo.insn, outcome)
    };
    let results = object.relocations().iter().zip(resolutions).map(one).collect();
    RelocatedCode { sections, results }
}

/// Says what becomes of every relocation of an object; `resolutions` has one for each.
///
/// An absent field counts as guarded where no program gets to it; for a relocation that no program has that is loaded by
/// default, where none of the programs that have it does.
pub fn report(object: &ObjectFile<'_>, target: &Target<'_>, resolutions: &[Resolution]) -> ObjectReport {
    let code = relocate(object, resolutions);
    let loaded = autoloaded(object);
    let entries = |autoload: bool| {
        let functions = object.functions().iter().enumerate();
        let wanted = functions
            .filter(move |(_, function)| object.is_entry(function) && object.is_autoloaded(function) == autoload);
        wanted.map(|(number, _)| number)
    };
    // Only an invalid instruction makes it worth to look where programs get.
    let poisoned = |autoload: bool| {
        let mut relocations = object.relocations().iter().zip(&code.results);
        relocations.any(|(relo, result)| *result == Ok(true) && is_loaded(&loaded, relo) == autoload)
    };
    let reach = |autoload: bool| poisoned(autoload).then(|| reachable(object, &code.sections, entries(autoload)));
    let (reached, reached_otherwise) = (reach(true), reach(false));
    let relocations = object.relocations().iter().zip(resolutions).zip(&code.results);
    let relocations = relocations.map(|((relo, resolution), result)| {
        let autoload = is_loaded(&loaded, relo);
        let reached = if autoload { &reached } else { &reached_otherwise };
        let reached = reached.as_ref().is_some_and(|reached| reached.contains(relo.section, relo.insn));
        describe(object, target, relo, resolution, result, (autoload, reached))
    });
    ObjectReport { object: object.name().to_owned(), hash: object.hash(), relocations: relocations.collect() }
}

/// What becomes of one relocation: `resolution` is its own, `result` what [`relocate`] came to with it. Of the flags, whether a
/// program that is loaded by default has it, and whether one gets there.
pub fn describe(
    object: &ObjectFile<'_>,
    target: &Target<'_>,
    relo: &CoreRelo,
    resolution: &Resolution,
    result: &Result<bool, Refusal>,
    (autoload, reached): (bool, bool),
) -> RelocationFate {
    let spec = AccessSpec::parse(object.btf(), relo.kind, relo.root, relo.access);
    let function = relo.function.map(|number| &object.functions()[number]);
    RelocationFate {
        kind: relo.kind,
        access: match &spec {
            Ok(spec) => spec.display(object.btf()),
            Err(_) => super::spec::type_name(object.btf(), relo.root),
        },
        section: object.sections()[relo.section].name.trim_start_matches('?').to_owned(),
        function: function.map(|function| function.name.clone()),
        insn: relo.insn - function.map_or(0, |function| function.start),
        autoload,
        found_in: resolution.candidate.map(|candidate| target.name(candidate.origin).to_owned()),
        line: object.source_line(relo.section, relo.insn).map(|line| OwnedSourceLine {
            file: line.file.to_owned(),
            line: line.line,
            text: line.text.to_owned(),
        }),
        fate: fate(object, relo, resolution, result, (spec.as_ref().ok(), reached)),
    }
}

fn fate(
    object: &ObjectFile<'_>,
    relo: &CoreRelo,
    resolution: &Resolution,
    result: &Result<bool, Refusal>,
    (spec, reached): (Option<&AccessSpec>, bool),
) -> Fate {
    if relo.function.is_none() {
        return Fate::Dropped;
    }
    match (result, &resolution.outcome) {
        (Err(refusal @ Refusal::Ambiguous { .. }), _) => Fate::Ambiguous { reason: refusal.to_string() },
        (Err(refusal), _) | (_, Err(refusal)) => Fate::Refused { reason: refusal.to_string() },
        (Ok(false), Ok(outcome)) => {
            let exists = resolution.candidate.is_some() || relo.kind == CoreReloKind::TypeIdLocal;
            Fate::Resolved { value: outcome.target, exists }
        }
        (Ok(true), Ok(outcome)) => {
            let reason = match (resolution.mismatch, spec) {
                (Some(mismatch), Some(spec)) => mismatch.describe(object.btf(), spec),
                _ => {
                    let (local, target) = outcome.sizes;
                    format!("a load or store of {local} bytes cannot stand for one of {target}")
                }
            };
            if reached { Fate::AbsentUnguarded { reason } } else { Fate::AbsentGuarded { reason } }
        }
    }
}

fn is_loaded(loaded: &[bool], relo: &CoreRelo) -> bool {
    relo.function.is_some_and(|function| loaded[function])
}

/// By function: is it an entry program that is loaded by default, or a subprogram that such a program may come to call?
fn autoloaded(object: &ObjectFile<'_>) -> Vec<bool> {
    let mut loaded: Vec<bool> = object.functions().iter().map(|function| object.is_autoloaded(function)).collect();
    let mut pending: Vec<usize> = (0..loaded.len()).filter(|&number| loaded[number]).collect();
    while let Some(number) = pending.pop() {
        let function = &object.functions()[number];
        for insn in function.start..function.start + function.len {
            if let Some(callee) = object.referred_function(function.section, insn)
                && !loaded[callee]
            {
                loaded[callee] = true;
                pending.push(callee);
            }
        }
    }
    loaded
}
