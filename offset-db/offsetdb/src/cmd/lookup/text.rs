//! A file's answer, for people.

use super::told::{Field, File, Function};
use crate::cmd::table;
use crate::labels;
use offset_db::{Fact, Origin};
use std::collections::BTreeMap;

/// The answer as lines.
pub(super) fn text(file: &File) -> String {
    let deleted = if file.is_deleted { " (deleted)" } else { "" };
    let size = file.size.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
    let mut text = format!("{}{deleted}\n  {}{size}, {}\n", file.file, file.machine, file.key);
    if let Some(probe) = &file.probe {
        let begin = file.begin.map(|begin| format!(", where it begins at {begin:#x}: offsets are into that"));
        text.push_str(&format!("  attach to {}{}\n", probe.display(), begin.unwrap_or_default()));
    }
    for line in origins(&file.origins) {
        text.push_str(&format!("  {line}\n"));
    }
    if !file.known {
        text.push_str("  not in the database");
        if file.is_changed {
            text.push_str(", but a file of its build-id, whose code is another: it was changed");
        }
        text.push('\n');
    }
    if let Some(line) = tables(file) {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str(&rows(file));
    if !file.advice.is_empty() {
        text.push_str("  what can be done:\n");
        for one in &file.advice {
            text.push_str(&format!("    {}\n      {}\n", one.why, one.command));
        }
    }
    text
}

/// `17.2 MB`.
fn bytes(size: u64) -> String {
    match size {
        0..=9_999 => format!("{size} bytes"),
        10_000..=999_999 => format!("{} kB", size / 1000),
        _ => format!("{:.1} MB", size as f64 / 1e6),
    }
}

/// Each version of a package on a line, with the tags that have the same file.
fn origins(origins: &[Origin]) -> Vec<String> {
    let mut lines: BTreeMap<(usize, String), Vec<&str>> = BTreeMap::new();
    for (at, origin) in origins.iter().enumerate() {
        let version = format!("{} {} {}", origin.ecosystem, origin.package, origin.version);
        let first = origins.iter().position(|other| {
            (&other.ecosystem, &other.package, &other.version, &other.platform)
                == (&origin.ecosystem, &origin.package, &origin.version, &origin.platform)
        });
        lines
            .entry((first.unwrap_or(at), format!("{}\n{}", version.trim_end(), origin.platform)))
            .or_default()
            .push(&origin.tag);
    }
    let line = |((_, version), tags): ((usize, String), Vec<&str>)| {
        let (version, platform) = version.split_once('\n').unwrap_or((&version, ""));
        format!("{version} {} {platform}", tags.join(" ")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    lines.into_iter().map(line).collect()
}

fn tables(file: &File) -> Option<String> {
    if file.tables.is_empty() && (file.known || !file.functions.is_empty()) {
        return None;
    }
    let has: Vec<String> = file
        .tables
        .iter()
        .filter(|(_, names)| **names > 0)
        .map(|(method, names)| format!("{} {names}", labels::table(*method)))
        .collect();
    let is_stripped = file.tables.keys().all(|method| *method == offset_db::Method::Dynsym);
    Some(match (has.is_empty(), is_stripped) {
        (true, _) => "it is stripped: it names no function".to_owned(),
        (false, true) => format!("it is stripped: only what others call has names: {}", has.join(", ")),
        (false, false) => format!("its own names: {}", has.join(", ")),
    })
}

/// A row for each name; below it what has the name, where that is not clear.
fn rows(file: &File) -> String {
    let rows = table(&file.functions.iter().map(function).collect::<Vec<_>>());
    let mut text = String::new();
    for (row, one) in rows.lines().zip(&file.functions) {
        text.push_str(&format!("{row}\n"));
        // what differs: the place only, or the symbol too
        let is_one_name = one.candidates.iter().all(|fact| fact.name == one.candidates[0].name);
        for fact in one.candidates.iter().take(CANDIDATES) {
            let name = if is_one_name { String::new() } else { format!("{}: ", fact.name) };
            text.push_str(&format!("       at address {:#x}: {name}{}\n", fact.address.0, evidence(fact)));
        }
        if one.candidates.len() > CANDIDATES {
            text.push_str(&format!("       and {} more\n", one.candidates.len() - CANDIDATES));
        }
    }
    text + &table(&file.fields.iter().map(field).collect::<Vec<_>>())
}

/// Candidates of a name that are shown.
const CANDIDATES: usize = 8;

fn function(one: &Function) -> Vec<String> {
    let begin = "   ".to_owned();
    match (one.offset, one.address) {
        (Some(offset), _) => {
            let returns: Vec<String> = one.returns.iter().map(|offset| format!("{offset:#x}")).collect();
            let returns =
                if returns.is_empty() { String::new() } else { format!("; returns at {}", returns.join(" ")) };
            vec![begin, format!("{offset:#x}"), one.name.clone(), format!("{}{returns}", one.how)]
        }
        (None, Some(address)) => vec![begin, format!("address {address:#x}"), one.name.clone(), one.how.clone()],
        (None, None) => {
            vec![begin, "unknown".to_owned(), one.name.clone(), one.why.clone().unwrap_or_default()]
        }
    }
}

/// What speaks for a candidate, which is told by its address: nobody is to take it for an offset.
fn evidence(fact: &Fact) -> String {
    fact.evidence.first().cloned().unwrap_or_else(|| labels::table(fact.method).to_owned())
}

fn field(one: &Field) -> Vec<String> {
    let begin = "   ".to_owned();
    let (Some(offset), Some(size)) = (one.offset_bits, one.size_bits) else {
        return vec![begin, "unknown".to_owned(), one.name.clone(), one.why.clone().unwrap_or_default()];
    };
    let (at, size) = match offset % 8 == 0 && size % 8 == 0 {
        true if size == 8 => (format!("byte {}", offset / 8), "1 byte".to_owned()),
        true => (format!("byte {}", offset / 8), format!("{} bytes", size / 8)),
        false => (format!("byte {} bit {}", offset / 8, offset % 8), format!("{size} bits")),
    };
    vec![begin, at, one.name.clone(), format!("{size}; {}", one.how)]
}
