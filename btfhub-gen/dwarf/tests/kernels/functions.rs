//! Functions: every name that one encoder has and the other has not, or has otherwise, with its reason.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use btf::{Btf, Kind};

use crate::document;
use crate::evidence::{gather, registers};
use crate::kernel::{Kernel, each_kernel};
use crate::prototypes::{self, differing, prototypes, why_otherwise};
use crate::reasons::{Reason, why_absent, why_only_ours};

/// Functions with their reasons.
#[derive(Default)]
struct Differences {
    only_theirs: BTreeMap<Reason, Vec<String>>,
    only_ours: BTreeMap<Reason, Vec<String>>,
    /// Both have them, with other prototypes.
    otherwise: BTreeMap<prototypes::Reason, Vec<String>>,
    unexplained: Vec<String>,
}

fn compare(kernel: &Kernel, elf: &[u8], theirs: &[u8]) -> Differences {
    let (ours_all, theirs_all) = (prototypes(&kernel.ours(elf).btf), prototypes(theirs));
    assert!(ours_all.len() > 10_000, "{}: only {} functions", kernel.release, ours_all.len());
    let names: HashSet<&str> = ours_all.keys().map(String::as_str).collect();
    let otherwise = differing(&ours_all, &theirs_all);
    let one_side = |name: &&String| ours_all.contains_key(*name) != theirs_all.contains_key(*name);
    let mut wanted: HashSet<String> = ours_all.keys().chain(theirs_all.keys()).filter(one_side).cloned().collect();
    wanted.extend(otherwise);
    let registers = registers(elf);
    let mut found = Differences::default();
    for (name, evidence) in gather(elf, &wanted) {
        let (side, reason) = match (ours_all.get(&name), theirs_all.get(&name)) {
            (Some(ours), Some(theirs)) => {
                let has_impl = theirs_all.contains_key(&format!("{name}_impl"));
                match why_otherwise(&evidence, ours, theirs, has_impl) {
                    Some(reason) => found.otherwise.entry(reason).or_default().push(name),
                    None => found.unexplained.push(format!("{name}: {evidence:#?}")),
                }
                continue;
            }
            (Some(_), None) => (&mut found.only_ours, why_only_ours(&evidence)),
            (None, _) => (&mut found.only_theirs, why_absent(&name, &evidence, registers, &names)),
        };
        if reason == Reason::Unexplained {
            found.unexplained.push(format!("{name}: {evidence:#?}"));
        }
        side.entry(reason).or_default().push(name);
    }
    found
}

/// The document's row: `| 6.1.0-56-amd64 | its own | 305 (3), 10 (4) | 121 (9) | 0 |`.
fn row(kernel: &Kernel, against: &str, found: &Differences) -> String {
    let theirs = cell(found.only_theirs.iter().map(|(reason, names)| (names.len(), reason.number())));
    let ours = cell(found.only_ours.iter().map(|(reason, names)| (names.len(), reason.number())));
    let otherwise = cell(found.otherwise.iter().map(|(reason, names)| (names.len(), reason.number())));
    format!("| {} | {against} | {theirs} | {ours} | {otherwise} |", kernel.release)
}

/// `305 (3), 10 (4)`
fn cell(reasons: impl Iterator<Item = (usize, &'static str)>) -> String {
    let counts: Vec<String> = reasons.map(|(count, number)| format!("{count} ({number})")).collect();
    if counts.is_empty() { "0".to_owned() } else { counts.join(", ") }
}

/// The document's list of names: "- 5.10.0-46-amd64: `a`, `b`".
fn list(kernel: &Kernel, names: &[String]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    (!quoted.is_empty()).then(|| format!("- {}: {}", kernel.release, quoted.join(", ")))
}

fn check_explained(kernel: &Kernel, against: &str, found: &Differences) {
    let few: Vec<&String> = found.unexplained.iter().take(5).collect();
    assert!(few.is_empty(), "{}, {against}: {} unexplained: {few:#?}", kernel.release, found.unexplained.len());
}

#[test]
#[ignore = "reads gigabytes"]
fn functions_are_paholes_but_for_those_it_does_not_see_transformed() {
    each_kernel(|kernel, elf| {
        let Some(theirs) = kernel.pahole() else { return };
        let mut found = compare(kernel, elf, theirs);
        check_explained(kernel, "pahole", &found);
        let mut lines = vec![row(kernel, "pahole 1.32", &found)];
        let transformed = found.only_theirs.remove(&Reason::TransformedWithColdPart).unwrap_or_default();
        lines.extend(list(kernel, &transformed));
        lines.extend(found.otherwise.values().filter_map(|names| list(kernel, names)));
        assert!(found.only_theirs.is_empty(), "{}: only pahole: {:#?}", kernel.release, found.only_theirs);
        assert!(found.only_ours.is_empty(), "{}: only ours: {:#?}", kernel.release, found.only_ours);
        document::check(&kernel.release, &lines);
    });
}

#[test]
#[ignore = "reads gigabytes"]
fn functions_differ_from_the_kernels_own_for_known_reasons() {
    each_kernel(|kernel, elf| {
        let Some(theirs) = kernel.own(elf) else { return };
        let found = compare(kernel, elf, theirs);
        check_explained(kernel, "its own", &found);
        document::check(&kernel.release, &[row(kernel, "its own", &found)]);
    });
}

/// Names that several functions have.
fn twice(btf: &[u8]) -> BTreeSet<String> {
    let btf = Btf::parse(btf).unwrap();
    let (mut seen, mut twice) = (HashSet::new(), BTreeSet::new());
    for id in btf.ids().filter(|&id| btf.ty(id).unwrap().kind() == Some(Kind::Func)) {
        let name = btf.name_of(id).unwrap().to_owned();
        if !seen.insert(name.clone()) {
            twice.insert(name);
        }
    }
    twice
}

#[test]
#[ignore = "reads gigabytes"]
fn a_function_is_there_once() {
    each_kernel(|kernel, elf| {
        assert_eq!(twice(&kernel.ours(elf).btf), BTreeSet::new(), "{}", kernel.release);
        match kernel.own(elf).map_or(0, |own| twice(own).len()) {
            0 => {}
            own => document::check(&kernel.release, &[format!("- {}: {own} names", kernel.release)]),
        }
    });
}
