//! What came of a run, for people and for machines: Markdown, a page, JUnit.

mod junit;
mod markdown;
mod page;

pub use junit::junit;
pub use markdown::markdown;
pub use page::page;

use std::collections::BTreeSet;

use serde_json::Value;
use vm_guest::words::Program;

use crate::catalogue::Btf;
use crate::results::EntryResult;

/// Where a kernel's BTF is from, in a word or two.
fn btf(entry: &EntryResult) -> &'static str {
    match (entry.btf, entry.own_btf()) {
        (Some(Btf::Debug), _) => "of its DWARF",
        (Some(Btf::Pack), _) => "shipped pack",
        (None, Some(false)) => "none",
        (None, _) => "own",
    }
}

/// What is known of a kernel beyond its BTF, in the order of columns: what it is called there, and where it is in the facts.
const FEATURES: [(&str, &str); 12] = [
    ("fentry", "fentry"),
    ("kprobe", "kprobe"),
    ("kprobe.multi", "kprobe_multi"),
    ("uprobe", "uprobe"),
    ("uprobe.multi", "uprobe_multi"),
    ("BPF LSM", "bpf_lsm"),
    ("tracefs", "tracefs"),
    ("cgroup v2", "control_groups"),
    ("bpf_link", "bpf_link"),
    ("cookie", "bpf_cookie"),
    ("ring buffer", "ring_buffer"),
    ("sk_storage in tracing", "sk_storage_in_tracing"),
];

/// A feature's answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Yes,
    No,
    Unknown,
}

impl Known {
    fn sign(self) -> &'static str {
        match self {
            Known::Yes => "●",
            Known::No => "–",
            Known::Unknown => "?",
        }
    }
}

fn feature(entry: &EntryResult, key: &str) -> Known {
    match &entry.facts["features"][key] {
        answer if answer == "yes" => Known::Yes,
        Value::Object(answer) if answer.contains_key("no") => Known::No,
        _ => Known::Unknown,
    }
}

/// What the kernel did with a program.
fn observed(entry: &EntryResult, program: &Program) -> String {
    match (&program.refused, entry.booted) {
        (_, false) => "not tried".to_owned(),
        (None, true) if program.silently => "taken, and would do something else".to_owned(),
        (None, true) => "works".to_owned(),
        (Some(why), true) => format!("refused: {why}"),
    }
}

/// The objects of a run, by name.
fn objects(entries: &[EntryResult]) -> BTreeSet<&str> {
    entries.iter().flat_map(|entry| &entry.objects).map(|object| &*object.object).collect()
}

/// An object's programs on an entry.
fn programs<'e>(entry: &'e EntryResult, object: &str) -> &'e [Program] {
    entry.objects.iter().find(|one| one.object == object).map_or(&[], |one| &one.programs)
}

/// The names of an object's programs, in the order of the file.
fn program_names<'e>(entries: &'e [EntryResult], object: &str) -> Vec<&'e str> {
    let longest = entries.iter().map(|entry| programs(entry, object)).max_by_key(|programs| programs.len());
    longest.into_iter().flatten().map(|program| &*program.program).collect()
}

/// A time as people read it.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        _ if whole < 120 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

/// Text as XML and HTML want it; characters that XML cannot have become `?`.
fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => "?".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests;
