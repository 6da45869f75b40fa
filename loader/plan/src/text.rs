//! A plan for people.

use std::fmt::Write;

use crate::decide::{Outcome, Plan, ProgramPlan, Reason};
use crate::requirement::{Need, Status};

impl Outcome {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Works => "works",
            Outcome::Unknown => "unknown",
            Outcome::Degraded => "degraded",
            Outcome::Fails => "fails",
        }
    }
}

impl Reason {
    /// In words, behind "on" or "off".
    pub fn words(self) -> &'static str {
        match self {
            Reason::Met => "all that it needs is there",
            Reason::NothingUnmet => "as far as is known",
            Reason::Unmet => "something that it needs is not there",
            Reason::NotAutoloaded => "not loaded by default",
            Reason::Unwanted => "not wanted",
            Reason::AnotherServes => "another of its group serves",
            Reason::OthersMissing => "others of its group cannot work",
        }
    }
}

/// The plan as lines: a line for each program, and below it what is not met or not known; with `all`, also what is met.
pub fn lines(plan: &Plan, all: bool) -> String {
    let mut out = String::new();
    let kernel = plan.kernel.as_deref().unwrap_or("an unknown kernel");
    let arch = plan.arch.as_deref().map_or_else(String::new, |arch| format!(" ({arch})"));
    let _ = writeln!(out, "{} on {kernel}{arch}: {}", plan.object, plan.outcome.word());
    let width = plan.programs.iter().map(|program| program.name.len()).max().unwrap_or(0);
    for program in &plan.programs {
        line(&mut out, program, width, all);
    }
    for group in &plan.groups {
        let taken = match group.taken.and_then(|rank| group.ranks.get(&rank)) {
            Some(programs) => programs.join(", "),
            None => "none works".to_owned(),
        };
        let _ = writeln!(out, "  group {}: {taken}", group.name);
    }
    for note in &plan.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    out
}

fn line(out: &mut String, program: &ProgramPlan, width: usize, all: bool) {
    let state = if program.enabled { "on " } else { "off" };
    let _ = writeln!(out, "  {state} {:width$}  {}: {}", program.name, program.section, program.reason.words());
    for requirement in &program.requirements {
        if requirement.status == Status::Met && !all {
            continue;
        }
        let evidence =
            if requirement.evidence.is_empty() { String::new() } else { format!(": {}", requirement.evidence) };
        let _ = writeln!(out, "      {} {}{evidence}", requirement.status.word(), requirement.need);
        let (access, line) = match &requirement.need {
            Need::Relocation { line, .. } => (None, line.as_ref()),
            Need::Consent { access, line, .. } => (access.as_ref(), line.as_ref()),
            _ => (None, None),
        };
        if let Some(line) = line {
            let _ = writeln!(out, "        at {line}");
        }
        if let Some(access) = access {
            let _ = writeln!(out, "        reading {access}");
        }
        if let Some(remedy) = &requirement.remedy {
            let _ = writeln!(out, "        {remedy}");
        }
    }
}
