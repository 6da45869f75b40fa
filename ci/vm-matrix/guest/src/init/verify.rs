//! An object, held against the kernel: a process of its own, that may be a user's who may do nothing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use btf::object_file::ObjectFile;
use loader::choose::{Places, choose};
use plan::{Plan, Status};

use super::{name_of, say};
use crate::words::{Line, Program, Verified};

/// The first argument of such a process, which no command of a host has. Then come the object and the packs.
pub(super) const WORD: &str = "guest-verify";

pub(super) fn main(args: &[String]) -> ExitCode {
    let [object, packs @ ..] = args else { return ExitCode::from(2) };
    match verify(object, packs) {
        Ok(verified) => say(&Line::Object(verified)),
        Err(error) => say(&Line::Failed { what: name_of(object), error: format!("{error:#}") }),
    }
    ExitCode::SUCCESS
}

/// What is known of the kernel, without its lists of thousands of names.
pub(super) fn facts() -> serde_json::Value {
    let mut facts = loader::probe(Path::new("/"));
    (facts.config, facts.kprobe_functions, facts.kprobe_functions_asked, facts.tracepoints) = (None, None, None, None);
    facts.helpers.clear();
    serde_json::to_value(&facts).unwrap_or_default()
}

fn verify(object: &str, packs: &[String]) -> Result<Verified> {
    let name = name_of(object);
    let bytes = std::fs::read(object).context("read it")?;
    let parsed = ObjectFile::parse(&name, &bytes)?;
    let facts = loader::probe_for(Path::new("/"), &parsed);
    let read = |pack: &String| Ok((name_of(pack), std::fs::read(pack).with_context(|| pack.clone())?));
    let packs = packs.iter().map(read).collect::<Result<_>>()?;
    let chosen = choose(&parsed, &facts, &Places { packs, near: true, ..Places::here() })?;
    let (plan, observed) = loader::verify(&name, &bytes, &facts, chosen.btf.as_ref())?;
    let programs = observed.iter().map(|one| program(&plan, one)).collect();
    let places = chosen.steps.iter().map(ToString::to_string).collect();
    let btf = chosen.btf.as_ref().map(|types| types.place.clone());
    Ok(Verified { object: name, outcome: plan.outcome.word().to_owned(), btf, places, programs })
}

fn program(plan: &Plan, one: &loader::Observed) -> Program {
    let planned = plan.programs.iter().find(|program| program.name == one.program);
    let unmet = planned.iter().flat_map(|program| &program.requirements);
    let unmet = unmet.filter(|requirement| requirement.status == Status::Unmet);
    let why = unmet.map(|requirement| match requirement.evidence.as_str() {
        "" => requirement.need.to_string(),
        evidence => format!("{}: {evidence}", requirement.need),
    });
    Program {
        program: one.program.clone(),
        section: planned.map(|program| program.section.clone()).unwrap_or_default(),
        predicted: one.predicted.word().to_owned(),
        enabled: planned.is_some_and(|program| program.enabled),
        why: why.collect(),
        refused: one.refused.as_ref().map(|(stage, why)| format!("{stage}: {why}")),
        silently: one.silently,
        differs: one.differs(),
    }
}
