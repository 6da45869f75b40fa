//! The plan: what of an object is enabled on a kernel, and why.

use btf::core_relo::{self, Fate, Refusal, RelocationFate, Resolution, Target};
use btf::object_file::{CoreRelo, Function, ObjectFile};
use btf::reach::{Reachable, reachable};
use serde::Serialize;

use crate::alternatives::{self, Choice, Group, Rule};
use crate::arguments;
use crate::judge;
use crate::kernel::Kernel;
use crate::needs::{self, MapDefinition, Uses};
use crate::requirement::{Need, Requirement, Status};
use crate::section::SectionKind;
use crate::signature;

/// The version of [`Plan`] in its serialised form.
pub const VERSION: u32 = 1;

/// What of an object is enabled on a kernel, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// The object's name.
    pub object: String,
    /// xxh3-128 of the object file, in hexadecimal.
    pub object_hash: String,
    /// The kernel's release, where it is known.
    pub kernel: Option<String>,
    /// Its architecture, where it is known.
    pub arch: Option<String>,
    /// What comes of it.
    pub outcome: Outcome,
    /// In the order of the file.
    pub programs: Vec<ProgramPlan>,
    /// By name.
    pub groups: Vec<Group>,
    /// The maps, in the order of the object.
    pub maps: Vec<MapPlan>,
    /// What is strange about the object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What comes of an object on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All that the object needs works.
    Works,
    /// It works as far as is known.
    Unknown,
    /// It works without what it can do without.
    Degraded,
    /// Something that it needs does not work.
    Fails,
}

/// What becomes of a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapPlan {
    /// The map's name.
    pub name: String,
    /// Whether it is to be made: not where the kernel has no such maps, nor where it is for programs of which none that is enabled
    /// comes to it.
    pub enabled: bool,
    /// The type that it is to be made of, a value of `enum bpf_map_type`: for a stream of events what the code asks for
    /// on this kernel, a ring buffer or a perf buffer; else the object's.
    pub map_type: u32,
    /// Its type, and whether the kernel has it.
    pub requirement: Requirement,
}

/// What becomes of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProgramPlan {
    /// The program's name.
    pub name: String,
    /// Its section, without a leading `?`, and with the target that it was given by the API, if it was.
    pub section: String,
    /// Whether it is to be loaded.
    pub enabled: bool,
    /// Why, or why not.
    pub reason: Reason,
    /// Whether it could work.
    pub status: Status,
    /// The object does without it.
    pub optional: bool,
    /// The group it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it needs; those that are not met first.
    pub requirements: Vec<Requirement>,
}

/// Why a program is enabled or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Everything that it needs is there.
    Met,
    /// As far as is known.
    NothingUnmet,
    /// Something that it needs is not there.
    Unmet,
    /// Its section begins with `?`.
    NotAutoloaded,
    /// Whoever loads the object does not want it.
    Unwanted,
    /// Another program of its group serves.
    AnotherServes,
    /// Another program of its group cannot work, and it is of no use alone.
    OthersMissing,
}

/// What is known of an object's programs besides the object, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// What they are to the object; goes before its tags.
    pub choices: Vec<(String, Choice)>,
    /// What they are attached to, in place of what their sections say: the program, and what stands behind the slash.
    pub targets: Vec<(String, String)>,
    /// There are no types of this kernel anywhere: no relocation can be carried out. Else, without types, it is just not known
    /// what comes of them.
    pub no_types: bool,
    /// What was refused.
    pub refused: Vec<Refused>,
    /// What is not to be enabled, whether it works or not.
    pub unwanted: Vec<String>,
}

/// What was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The program's name.
    pub program: String,
    /// What was tried: `load`, `attach`, `resolve`.
    pub stage: &'static str,
    /// The kernel's words, or the resolver's.
    pub why: String,
    /// The instruction that they are about, counted from the program's first, where they tell.
    pub insn: Option<usize>,
}

impl Refused {
    /// Without an instruction.
    pub fn new(program: impl Into<String>, stage: &'static str, why: impl Into<String>) -> Refused {
        Refused { program: program.into(), stage, why: why.into(), insn: None }
    }

    /// As a need that is not met, with the line of source and the relocation that the kernel's words are about.
    fn requirement(&self, object: &ObjectFile<'_>, function: &Function) -> Requirement {
        // behind the program's own instructions are those of subprograms, in an order that is libbpf's
        let at = self.insn.filter(|&insn| insn < function.len).map(|insn| function.start + insn);
        let line = at.and_then(|at| object.source_line(function.section, at));
        let is_it = |relo: &&CoreRelo| relo.section == function.section && Some(relo.insn) == at;
        let access = object.relocations().iter().find(is_it).and_then(|relo| {
            let spec = core_relo::AccessSpec::parse(object.btf(), relo.kind, relo.root, relo.access).ok()?;
            Some(spec.display(object.btf()))
        });
        let line = line.map(|line| format!("{}:{}: {}", line.file, line.line, line.text));
        Requirement::unmet(Need::Consent { stage: self.stage, access, line }, &self.why)
    }
}

impl Hints {
    /// A program's section, without a leading `?` and with the target that it has by these hints.
    pub fn section(&self, object: &ObjectFile<'_>, function: &Function) -> String {
        let section = object.sections()[function.section].name.trim_start_matches('?');
        match self.targets.iter().find(|(program, _)| *program == function.name) {
            Some((_, target)) => {
                let kind = section.split_once('/').map_or(section, |(kind, _)| kind);
                format!("{kind}/{target}")
            }
            None => section.to_owned(),
        }
    }
}

/// Looks up at once what the plans of several objects will ask a kernel's types for. That is most of their cost where the
/// types are whole; each plan would else do it for itself.
pub fn prepare<'o, 'a: 'o>(kernel: &Kernel<'_>, objects: impl IntoIterator<Item = &'o ObjectFile<'a>>) {
    kernel.look_up(crate::kernel::always_asked().chain(objects.into_iter().flat_map(needs::names)));
}

/// Makes the plan.
pub fn plan(object: &ObjectFile<'_>, kernel: &Kernel<'_>, hints: &Hints) -> Plan {
    prepare(kernel, [object]);
    let mut maps = needs::maps(object);
    let tags = needs::function_tags(object);
    let fates = Fates::of(object, kernel);
    let config = needs::extern_section(object, ".kconfig");
    let mut notes = Vec::new();
    let mut programs: Vec<(ProgramPlan, Choice)> = Vec::new();
    let reached: Vec<Reached<'_>> = needs::programs(object)
        .map(|(number, function)| {
            let code = reachable(object, &fates.code, [number]);
            let section = hints.section(object, function);
            Reached { number, function, section, uses: needs::uses(object, &fates.code, &code), code }
        })
        .collect();
    for map in maps.iter_mut().filter(|map| map.stream().is_some()) {
        map.map_type = stream_type(map, &reached);
    }
    for program in &reached {
        let function = program.function;
        let section = &object.sections()[function.section];
        let declared = tags.get(&function.name).map(|tags| alternatives::choice(tags)).unwrap_or_default();
        notes.extend(declared.1.into_iter().map(|tag| format!("{}: the tag {tag} is not understood", function.name)));
        let given = hints.choices.iter().find(|(name, _)| *name == function.name).map(|(_, choice)| choice.clone());
        let choice = given.unwrap_or(declared.0);
        let mut requirements = requirements(object, kernel, &maps, &fates, &config, program);
        let mut relocations = object.relocations().iter();
        if hints.no_types && relocations.any(|relo| program.code.contains(relo.section, relo.insn)) {
            let remedy = "give some: by LCC_BTF, in a pack, or in a folder as BTFHub's";
            requirements.push(Requirement::unmet(Need::Types, "there are none of this kernel").remedy(remedy));
        }
        let refused = hints.refused.iter().filter(|refused| refused.program == function.name);
        requirements.extend(refused.map(|refused| refused.requirement(object, function)));
        requirements.sort_by_key(|requirement| std::cmp::Reverse(requirement.status));
        let status = requirements.iter().map(|requirement| requirement.status).max().unwrap_or(Status::Met);
        let is_unwanted = hints.unwanted.contains(&function.name);
        let reason = match status {
            _ if is_unwanted => Reason::Unwanted,
            _ if !section.autoload => Reason::NotAutoloaded,
            Status::Met => Reason::Met,
            Status::Unknown => Reason::NothingUnmet,
            Status::Unmet => Reason::Unmet,
        };
        let program = ProgramPlan {
            name: function.name.clone(),
            section: program.section.clone(),
            enabled: section.autoload && !is_unwanted && status != Status::Unmet,
            reason,
            status,
            optional: choice.optional,
            group: choice.group.as_ref().map(|member| member.group.clone()),
            requirements,
        };
        programs.push((program, choice));
    }
    let groups = alternatives::decide(programs.iter().map(|(program, choice)| {
        // what is not loaded by default is enabled by the group that it is in
        let works = program.status != Status::Unmet && program.reason != Reason::Unwanted;
        (program.name.as_str(), choice, works)
    }));
    for (program, choice) in programs.iter_mut().filter(|(program, _)| program.reason != Reason::Unwanted) {
        let Some(member) = &choice.group else { continue };
        let Some(group) = groups.iter().find(|group| group.name == member.group) else { continue };
        let is_taken = group.taken == Some(member.rank);
        program.enabled = is_taken;
        program.reason = match (is_taken, program.status, group.taken, group.rule) {
            (true, Status::Met, ..) => Reason::Met,
            (true, ..) => Reason::NothingUnmet,
            (false, Status::Unmet, ..) => Reason::Unmet,
            (false, _, Some(_), _) => Reason::AnotherServes,
            (false, _, None, Rule::One | Rule::All) => Reason::OthersMissing,
        };
    }
    let outcome = outcome(&programs, &groups);
    let is_asked = |map: &MapDefinition| {
        let mut users = reached.iter().filter(|program| program.uses.maps.contains(&map.name));
        users.any(|user| programs.iter().any(|(program, _)| program.enabled && program.name == user.function.name))
    };
    // one that no code names at all may be there for user space
    let named = needs::named(object, ".maps");
    let maps: Vec<MapPlan> = maps
        .iter()
        .map(|map| {
            let requirement = judge::map_type(kernel, map);
            let enabled = requirement.status != Status::Unmet && (!named.contains(map.name.as_str()) || is_asked(map));
            MapPlan { name: map.name.clone(), enabled, map_type: map.map_type, requirement }
        })
        .collect();
    Plan {
        version: VERSION,
        object: object.name().to_owned(),
        object_hash: object.hash().to_string(),
        kernel: kernel.facts.release.clone(),
        arch: kernel.facts.arch.clone(),
        outcome,
        programs: programs.into_iter().map(|(program, _)| program).collect(),
        groups,
        maps,
        notes,
    }
}

fn outcome(programs: &[(ProgramPlan, Choice)], groups: &[Group]) -> Outcome {
    let mut outcome = Outcome::Works;
    let lost = |optional| if optional { Outcome::Degraded } else { Outcome::Fails };
    for (program, choice) in programs {
        if choice.group.is_none() && program.reason == Reason::Unmet {
            outcome = outcome.max(lost(program.optional));
        }
        if program.reason == Reason::NothingUnmet {
            outcome = outcome.max(Outcome::Unknown);
        }
    }
    for group in groups {
        if group.taken.is_none() {
            outcome = outcome.max(lost(group.optional));
        }
    }
    outcome
}

/// The relocations of an object on a kernel.
struct Fates<'k> {
    /// The code of each section after relocation; as it was where the types are not known.
    code: Vec<Vec<btf::insn::Insn>>,
    /// Where the types are known.
    found: Option<Found<'k>>,
}

struct Found<'k> {
    target: Target<'k>,
    /// By relocation: what was found.
    resolutions: Vec<Resolution>,
    /// By relocation: what became of the instruction.
    results: Vec<Result<bool, Refusal>>,
}

impl<'k> Fates<'k> {
    fn of(object: &ObjectFile<'_>, kernel: &Kernel<'k>) -> Fates<'k> {
        let Some(target) = kernel.types else {
            let code = object.sections().iter().map(|section| section.insns.clone()).collect();
            return Fates { code, found: None };
        };
        let candidates = core_relo::search_candidates(&target, [object]);
        let resolutions = core_relo::resolve_all(object, &target, &candidates);
        let relocated = core_relo::relocate(object, &resolutions);
        Fates { code: relocated.sections, found: Some(Found { target, resolutions, results: relocated.results }) }
    }
}

/// A program, and what of the object it comes to on a kernel.
struct Reached<'o> {
    /// Number of its function.
    number: usize,
    function: &'o Function,
    /// With the target that it has by hints.
    section: String,
    code: Reachable,
    uses: Uses,
}

/// What a stream of events is to be made of: what the code does that is left after relocation.
fn stream_type(map: &MapDefinition, reached: &[Reached<'_>]) -> u32 {
    // enum bpf_func_id: ringbuf_output, reserve, submit, discard; perf_event_output
    const RING: [u32; 4] = [130, 131, 132, 133];
    const PERF: u32 = 25;
    let users = || reached.iter().filter(|program| program.uses.maps.contains(&map.name));
    let calls = |helper: &u32| users().any(|program| program.uses.helpers.contains(helper));
    match (RING.iter().any(calls), calls(&PERF)) {
        (true, false) => needs::RING_BUFFER,
        (false, true) => needs::PERF_EVENT_ARRAY,
        _ => map.map_type,
    }
}

fn requirements(
    object: &ObjectFile<'_>,
    kernel: &Kernel<'_>,
    maps: &[MapDefinition],
    fates: &Fates<'_>,
    config: &std::collections::BTreeSet<String>,
    program: &Reached<'_>,
) -> Vec<Requirement> {
    let mut out = Vec::new();
    let Reached { number, function, section, code: reached, uses } = program;
    let Some(kind) = SectionKind::of(section) else {
        let need = Need::Section { name: section.clone() };
        return vec![Requirement::unmet(need, "libbpf knows no such section")];
    };
    judge::kind(kernel, &kind, &mut out);
    judge::target(kernel, &kind, &mut out);
    if let Some(place) = signature::place(kernel, &kind) {
        let read = arguments::arguments(object, reached, function, place);
        signature::arguments(kernel, &kind, &read, &mut out);
    }
    judge::uses(kernel, &kind, uses, maps, &mut out);
    for (name, &weak) in &uses.externs {
        out.push(judge::extern_(kernel, name, config.contains(name), weak));
    }
    let Some(Found { target, resolutions, results }) = &fates.found else {
        if !object.relocations().is_empty() {
            let need = Need::Relocations { resolved: 0, guarded: 0 };
            out.push(Requirement::unknown(need, "the kernel's types (BTF) are not known"));
        }
        return out;
    };
    let (mut resolved, mut guarded) = (0, 0);
    for ((relocation, resolution), result) in object.relocations().iter().zip(resolutions).zip(results) {
        let is_here = reached.contains(relocation.section, relocation.insn);
        let of_program = relocation.function.is_some_and(|at| at == *number) || is_here;
        // it made its instruction invalid, or could not be carried out
        let failed = !matches!(result, Ok(false));
        match (failed, is_here) {
            (true, true) => {
                out.push(failure(&core_relo::describe(object, target, relocation, resolution, result, (true, true))));
            }
            (true, false) if of_program => guarded += 1,
            (false, _) if of_program => resolved += 1,
            _ => {}
        }
    }
    if resolved + guarded > 0 {
        out.push(Requirement::met(Need::Relocations { resolved, guarded }, ""));
    }
    out
}

fn failure(fate: &RelocationFate) -> Requirement {
    let need = Need::Relocation {
        access: fate.access.clone(),
        kind: fate.kind.name().to_owned(),
        line: fate.line.as_ref().map(|line| format!("{}:{}: {}", line.file, line.line, line.text)),
    };
    let reason = match &fate.fate {
        Fate::AbsentGuarded { reason }
        | Fate::AbsentUnguarded { reason }
        | Fate::Ambiguous { reason }
        | Fate::Refused { reason } => reason.clone(),
        _ => "the instruction became invalid".to_owned(),
    };
    Requirement::unmet(need, reason)
        .remedy("ask first: bpf_core_field_exists(), bpf_core_enum_value_exists(), or a flavour of the type")
}
