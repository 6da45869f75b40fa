//! The statement of compatibility: what is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use vm_guest::words::{Outcome, Program};

use super::{FEATURES, btf, duration, feature, objects, observed, program_names, programs};
use crate::boot::Accelerator;
use crate::results::{EntryResult, Results};

/// The page, in Markdown.
pub fn markdown(results: &Results) -> String {
    let mut out = String::from("# Compatibility\n\n");
    summary(&mut out, results);
    differences(&mut out, results);
    kernels(&mut out, results);
    features(&mut out, results);
    for object in objects(&results.entries) {
        object_table(&mut out, results, object);
    }
    tests(&mut out, results);
    remarks(&mut out, results);
    out
}

/// `a|b` would be two cells, and a line's end the row's.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn summary(out: &mut String, results: &Results) {
    let entries = &results.entries;
    let booted: Vec<&EntryResult> = entries.iter().filter(|entry| entry.booted).collect();
    let versions: BTreeSet<&str> =
        booted.iter().map(|entry| &*entry.release).filter(|release| !release.is_empty()).collect();
    let architectures: BTreeSet<&str> = booted.iter().map(|entry| entry.architecture.name()).collect();
    let programs: usize = booted.iter().map(|entry| entry.programs()).sum();
    let unknown: usize = booted.iter().map(|entry| entry.unknown()).sum();
    let differing: usize = booted.iter().map(|entry| entry.differing()).sum();
    let tests = |outcome| entries.iter().map(|entry| entry.count(outcome)).sum::<usize>();
    let by_kvm = booted.iter().filter(|entry| entry.accelerator == Some(Accelerator::Kvm)).count();
    let _ = write!(
        out,
        "Made by `cargo xtask matrix --docs` on {}: {} entries booted ({} kernels of {}), {} only planned for. In each, every program \
         of each object was loaded and attached by itself, also those that the plan has off{}.\n\n\
         **{programs} programs held against kernels, {differing} did otherwise than predicted, {unknown} could not be predicted; {} tests passed, {} failed, {} found \
         that they cannot be done there.** {} entries of {} passed.\n\n\
         {}, {}, {} at a time on {} processors: {}, after {} to build what runs there.\n\n",
        results.date,
        booted.len(),
        versions.len(),
        architectures.into_iter().collect::<Vec<_>>().join(", "),
        entries.len() - booted.len(),
        match entries.iter().any(|entry| !entry.tests.is_empty()) {
            true => ", and the programs of tests were run",
            false => "; in this run no tests were run",
        },
        tests(Outcome::Passed),
        tests(Outcome::Failed),
        tests(Outcome::Skipped),
        entries.iter().filter(|entry| entry.passed()).count(),
        entries.len(),
        results.emulator,
        if by_kvm > 0 { "with KVM where it works" } else { "without KVM" },
        results.jobs,
        results.processors,
        duration(results.seconds),
        duration(results.build_seconds),
    );
}

fn differences(out: &mut String, results: &Results) {
    if results.passed() {
        return;
    }
    out.push_str("## What is not as it should be\n\n");
    for entry in results.entries.iter().filter(|entry| !entry.passed()) {
        for failure in &entry.failures {
            let _ = writeln!(out, "- {}: {}", entry.name, cell(failure));
        }
        for object in &entry.objects {
            for program in object.programs.iter().filter(|program| program.differs) {
                let did = observed(entry, program);
                let _ = writeln!(
                    out,
                    "- {}: {} of {}: predicted {}, {}",
                    entry.name,
                    program.program,
                    object.object,
                    program.predicted,
                    cell(&did)
                );
            }
        }
        for test in entry.tests.iter().filter(|test| test.outcome == Outcome::Failed) {
            let last = test.said.lines().last().unwrap_or_default();
            let _ = writeln!(out, "- {}: test {} {}: {}", entry.name, test.program, test.test, cell(last));
        }
    }
    out.push('\n');
}

fn kernels(out: &mut String, results: &Results) {
    let objects = objects(&results.entries);
    out.push_str("## Kernels\n\n| entry | kernel | package | BTF |");
    for object in &objects {
        let _ = write!(out, " {object} |");
    }
    out.push_str(" programs as predicted | tests | boot | in all |\n|---|---|---|---|");
    objects.iter().for_each(|_| out.push_str("---|"));
    out.push_str("--:|--:|--:|--:|\n");
    for entry in &results.entries {
        let about = if entry.about.is_empty() { String::new() } else { format!(" ({})", entry.about) };
        let _ = write!(
            out,
            "| {}{about} | {} {} | {} {} | {} |",
            entry.name,
            entry.release,
            entry.architecture.name(),
            entry.package,
            entry.version,
            btf(entry),
        );
        for object in &objects {
            let outcome = entry.objects.iter().find(|one| one.object == *object).map_or("–", |one| &one.outcome);
            let _ = write!(out, " {outcome} |");
        }
        let as_predicted = match entry.booted {
            true => format!("{} of {}", entry.programs() - entry.differing(), entry.programs()),
            false => "not booted".to_owned(),
        };
        let failed = match entry.count(Outcome::Failed) {
            0 => String::new(),
            count => format!(", {count} failed"),
        };
        let tests = match entry.tests.len() {
            0 => "–".to_owned(),
            _ => format!("{}{failed}", entry.count(Outcome::Passed)),
        };
        let boot = entry.boot_seconds.map_or_else(|| "–".to_owned(), duration);
        let _ = writeln!(out, " {as_predicted} | {tests} | {boot} | {} |", duration(entry.seconds));
    }
    out.push_str(
        "\nAn object works, is degraded (without something that it can do without), or fails; as root, if the entry does not say \
         otherwise. Times are of this run, packages being in the cache.\n\n",
    );
}

fn features(out: &mut String, results: &Results) {
    out.push_str("## Features\n\n| entry |");
    for (name, _) in &FEATURES {
        let _ = write!(out, " {name} |");
    }
    out.push_str("\n|---|");
    FEATURES.iter().for_each(|_| out.push_str(":-:|"));
    out.push('\n');
    for entry in results.entries.iter().filter(|entry| entry.booted) {
        let _ = write!(out, "| {} |", entry.name);
        for (_, key) in &FEATURES {
            let _ = write!(out, " {} |", feature(entry, key).sign());
        }
        out.push('\n');
    }
    out.push_str("\nAs `lcc-load facts` found them there, as root: ● is there, – is not, ? could not be told.\n\n");
}

/// A program on the kernels where it does the same, for the same reason.
fn object_table(out: &mut String, results: &Results, object: &str) {
    let _ = writeln!(out, "## {object}\n");
    if let Some(about) = results.about.get(object) {
        let _ = writeln!(out, "{about}\n");
    }
    out.push_str("| program | works | does not work, and why |\n|---|--:|---|\n");
    for name in program_names(&results.entries, object) {
        let mut why: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let (mut works, mut all) = (0, 0);
        for entry in &results.entries {
            let Some(program) = programs(entry, object).iter().find(|program| program.program == name) else {
                continue;
            };
            all += 1;
            match reason(entry, program) {
                None => works += 1,
                Some(reason) => why.entry(reason).or_default().push(&entry.name),
            }
        }
        let mut why: Vec<(String, Vec<&str>)> = why.into_iter().collect();
        why.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
        let why: Vec<String> =
            why.iter().map(|(reason, entries)| format!("{}: {}", entries.join(", "), cell(reason))).collect();
        let _ = writeln!(out, "| {name} | {works} of {all} | {} |", why.join("<br>"));
    }
    out.push('\n');
}

/// Why a program does not work on a kernel. `None`: it does.
fn reason(entry: &EntryResult, program: &Program) -> Option<String> {
    let works = if entry.booted { program.refused.is_none() && !program.silently } else { program.predicted == "met" };
    if works && !program.differs {
        return None;
    }
    let why = program.why.first().cloned();
    match program.differs {
        false => Some(why.unwrap_or_else(|| observed(entry, program))),
        true => {
            let did = format!("**predicted {}, {}**", program.predicted, observed(entry, program));
            Some(why.map_or(did.clone(), |why| format!("{did}; {why}")))
        }
    }
}

fn tests(out: &mut String, results: &Results) {
    // what was found where it cannot be done or failed, and the entries
    type Others<'e> = BTreeMap<String, Vec<&'e str>>;
    // by program and test; how often it passed
    let mut found: BTreeMap<(&str, &str), (usize, Others<'_>)> = BTreeMap::new();
    for entry in &results.entries {
        for test in &entry.tests {
            let (passed, others) = found.entry((&test.program, &test.test)).or_default();
            match test.outcome {
                Outcome::Passed => *passed += 1,
                Outcome::Skipped => others.entry(test.said.clone()).or_default().push(&entry.name),
                Outcome::Failed => others.entry("**failed**".to_owned()).or_default().push(&entry.name),
            }
        }
    }
    if found.is_empty() {
        return;
    }
    out.push_str("## Tests\n\n| program | test | passed on | elsewhere |\n|---|---|--:|---|\n");
    for ((program, test), (passed, others)) in found {
        let others: Vec<String> =
            others.iter().map(|(said, entries)| format!("{}: {}", entries.join(", "), cell(said))).collect();
        let _ = writeln!(out, "| {program} | {} | {passed} | {} |", test.replace('_', " "), others.join("<br>"));
    }
    out.push('\n');
}

fn remarks(out: &mut String, results: &Results) {
    let mut remarks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in &results.entries {
        entry.warnings.iter().for_each(|text| remarks.entry(text).or_default().push(&entry.name));
    }
    if !remarks.is_empty() {
        out.push_str("## Remarks\n\n");
        for (text, entries) in &remarks {
            let _ = writeln!(out, "- {}: {}", entries.join(", "), cell(text));
        }
    }
}
