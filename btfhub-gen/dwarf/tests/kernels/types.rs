//! Types and variables: the same as pahole's, and as the kernel's own but for what its encoder did otherwise.

use std::collections::{BTreeMap, BTreeSet};

use btf::Btf;

use crate::describe::describe_all;
use crate::document;
use crate::kernel::{Kernel, each_kernel};
use crate::older::{HABITS, Habit};
use crate::records::{Records, count};

/// Descriptions by kind and name: several where types share a name.
type Blocks = BTreeMap<(String, String), Vec<String>>;

fn blocks(btf: &[u8]) -> Blocks {
    let mut blocks = Blocks::new();
    for block in describe_all(&Btf::parse(btf).unwrap()) {
        let (kind, rest) = block.split_once(' ').unwrap_or((&block, ""));
        // numbers are looked up by name whatever they are
        let kind = if kind == "float" { "int" } else { kind };
        if matches!(kind, "func" | "tag" | "declared") {
            continue;
        }
        // an unnamed enumeration goes by its first enumerator
        let name = match rest.strip_prefix("{ ").and_then(|inner| inner.split("; ").nth(1)) {
            Some(first) => first.split(' ').next().unwrap_or_default(),
            None => rest.split(['\n', '#', '=', ':']).next().unwrap_or_default().trim_end(),
        };
        blocks.entry((kind.to_owned(), name.to_owned())).or_default().push(block);
    }
    blocks
}

/// Those whose descriptions differ, or that only one has.
fn differing<'b>(ours: &'b Blocks, theirs: &'b Blocks) -> Vec<&'b (String, String)> {
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).collect()
}

#[test]
#[ignore = "reads gigabytes"]
fn types_and_variables_are_paholes() {
    each_kernel(|kernel, elf| {
        let Some(theirs) = kernel.pahole() else { return };
        let ours = &kernel.ours(elf).btf;
        let (ours_blocks, theirs_blocks) = (blocks(ours), blocks(theirs));
        assert!(ours_blocks.len() > 5_000, "{}: only {} types", kernel.release, ours_blocks.len());
        let differing = differing(&ours_blocks, &theirs_blocks);
        let first = differing.first().map(|&name| (name, ours_blocks.get(name), theirs_blocks.get(name)));
        assert!(first.is_none(), "{}: {} differ: {first:#?}", kernel.release, differing.len());
        let (ours, theirs) = (count(ours), count(theirs));
        assert_eq!(ours.used, theirs.used, "{}: numbers of records", kernel.release);
        let unused = |records: &Records| match records.keys().map(|(_, name)| format!("`{name}`")).collect::<Vec<_>>() {
            names if names.is_empty() => "0".to_owned(),
            names => names.join(", "),
        };
        let total: usize = ours.used.values().sum();
        let row =
            format!("| {} | {total} | 0 | {} | {} |", kernel.release, unused(&theirs.unused), unused(&ours.unused));
        document::check(&kernel.release, &[row]);
    });
}

/// The smallest set of habits that makes ours theirs.
fn why(ours: Option<&Vec<String>>, theirs: Option<&Vec<String>>) -> Option<Vec<Habit>> {
    let without_numbers = |block: &String| without_numbers(block);
    let normal = |blocks: Option<&Vec<String>>, habits: &[Habit]| {
        let apply = |block: String| habits.iter().fold(block, |block, habit| habit.apply(&block));
        let mut normal: Vec<String> = blocks.into_iter().flatten().map(without_numbers).map(apply).collect();
        // the order of several types of one name is that of their normal forms
        normal.sort();
        // what was told apart by a declaration and its definition
        if habits.contains(&Habit::Declared) {
            normal.dedup();
        }
        normal
    };
    let mut sets: Vec<Vec<Habit>> = (0..1 << HABITS.len())
        .map(|set: usize| {
            HABITS.into_iter().enumerate().filter(|&(at, _)| set >> at & 1 == 1).map(|(_, habit)| habit).collect()
        })
        .collect();
    sets.sort_by_key(Vec::len);
    sets.into_iter().find(|habits| normal(ours, habits) == normal(theirs, habits))
}

/// Without the numbers that tell types of one name apart: how many there are is another's matter.
pub(crate) fn without_numbers(block: &str) -> String {
    let mut parts = block.split('#');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn numbers_are_left_out() {
    assert_eq!(without_numbers("struct a#12 { b#3; c }"), "struct a { b; c }");
}

#[test]
#[ignore = "reads gigabytes"]
fn types_are_the_kernels_own() {
    each_kernel(|kernel, elf| {
        let Some(theirs) = kernel.own(elf) else { return };
        let (ours, theirs) = (blocks(&kernel.ours(elf).btf), blocks(theirs));
        let mut found: BTreeMap<Vec<Habit>, BTreeMap<&str, usize>> = BTreeMap::new();
        for name in differing(&ours, &theirs) {
            let (kind, _) = name;
            if matches!(kind.as_str(), "var" | "section") {
                continue;
            }
            let (ours, theirs) = (ours.get(name), theirs.get(name));
            match why(ours, theirs) {
                // the types of that name are told apart by what others are
                Some(habits) if habits.is_empty() => {}
                Some(habits) => *found.entry(habits).or_default().entry(kind).or_default() += 1,
                None => panic!("{}: {name:?}: ours {ours:#?}, its own {theirs:#?}", kernel.release),
            }
        }
        let reasons = found.iter().map(|(habits, kinds)| {
            let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let letters: String = habits.iter().map(|habit| habit.letter()).collect();
            format!("{} ({letters})", kinds.join(", "))
        });
        let row = format!("| {} | {} |", kernel.release, reasons.collect::<Vec<_>>().join("; "));
        document::check(&kernel.release, &[row]);
    });
}

/// Per-CPU variables, their types and places.
fn variables(blocks: &Blocks) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for ((kind, name), all) in blocks {
        match kind.as_str() {
            "var" => found.extend(all.iter().map(|block| without_numbers(block))),
            "section" => {
                let places = all.iter().flat_map(|block| block.lines().skip(1));
                found.extend(places.map(|place| format!("{name}: {}", place.trim())));
            }
            _ => {}
        }
    }
    found
}

#[test]
#[ignore = "reads gigabytes"]
fn variables_are_the_kernels_own() {
    each_kernel(|kernel: &Kernel, elf| {
        let Some(theirs) = kernel.own(elf) else { return };
        let (ours, theirs) = (variables(&blocks(&kernel.ours(elf).btf)), variables(&blocks(theirs)));
        assert!(ours.len() > 100, "{}: {ours:?}", kernel.release);
        if theirs.is_empty() {
            eprintln!("{}: no variables in its own BTF", kernel.release);
            return;
        }
        let only_theirs: Vec<_> = theirs.difference(&ours).collect();
        assert!(only_theirs.is_empty(), "{}: only in its own: {only_theirs:#?}", kernel.release);
        let only_ours: Vec<&str> = ours.difference(&theirs).map(String::as_str).collect();
        // a variable at offset 0 of the section was taken for a discarded one
        let at_zero = |place: &&str| place.starts_with(".data..percpu: 0 ");
        let discarded = only_ours.iter().copied().find(at_zero).and_then(|place| place.split([' ', ':']).nth(3));
        for line in only_ours {
            let explained = at_zero(&line)
                || discarded.is_some_and(|name| {
                    line.strip_prefix("var ").is_some_and(|rest| rest.starts_with(&format!("{name}:")))
                });
            assert!(explained, "{}: only here: {line}", kernel.release);
        }
        if let Some(name) = discarded {
            document::check(&kernel.release, &[format!("- {}: `{name}`", kernel.release)]);
        }
    });
}
