//! `offsetdb lookup`: where functions begin in a file.

use crate::args::Lookup;
use crate::input::{self, Input};
use anyhow::{Context, Result};
use image::Image;
use offset_db::{Answer, Confidence, Fact, Fingerprint, Known, Origin, Store};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// A file's answer.
#[derive(Debug, Serialize)]
struct File {
    file: String,
    key: String,
    machine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    go_build_id: Option<String>,
    known: bool,
    origins: Vec<Origin>,
    functions: Vec<Function>,
}

/// A function's.
#[derive(Debug, Serialize)]
struct Function {
    name: String,
    /// `None` where it is not known.
    offset: Option<u64>,
    how: String,
    /// Where it returns, of Go's functions: offsets in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    returns: Vec<u64>,
    /// Why there is no offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<Fact>,
}

/// Prints the answers; exit 1 where one is missing.
///
/// # Errors
/// The file is none that can be looked into; the database cannot be read.
pub(super) fn run(database: Option<&Path>, what: &Lookup) -> Result<ExitCode> {
    let store = super::maybe(database)?;
    let mut files = Vec::new();
    for input in input::open(&what.file, "")? {
        files.push(answer(store.as_ref(), &input, &what.functions)?);
    }
    let mut out = std::io::stdout().lock();
    if what.json {
        serde_json::to_writer_pretty(&mut out, &files).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        for file in &files {
            write!(out, "{}", text(file))?;
        }
    }
    // of an archive, one file that has it is enough
    let has = |name: &String| {
        files.iter().any(|file| file.functions.iter().any(|one| one.name == *name && one.offset.is_some()))
    };
    let is_found = match what.functions.is_empty() {
        true => files.iter().any(|file| file.known || !file.functions.is_empty()),
        false => what.functions.iter().all(has),
    };
    Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn answer(store: Option<&Store>, input: &Input, functions: &[String]) -> Result<File> {
    let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
    let fingerprint = Fingerprint::of(&image);
    let known = store.map(|store| store.known(&fingerprint)).transpose()?.flatten();
    let known = store.zip(known.as_ref());
    let names: Vec<String> = match (functions, known) {
        ([], Some((store, file))) => {
            let facts = store.facts(file)?;
            facts.iter().map(|fact| super::title(fact).to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
        }
        _ => functions.to_vec(),
    };
    Ok(File {
        file: input.name.clone(),
        key: fingerprint.key(),
        machine: fingerprint.machine.clone(),
        go_build_id: fingerprint.go_build_id.clone(),
        known: known.is_some(),
        origins: known.map(|(store, file)| store.origins(file)).transpose()?.unwrap_or_default(),
        functions: names.iter().map(|name| function(known, &image, name)).collect::<Result<_>>()?,
    })
}

fn function(known: Option<(&Store, &Known)>, image: &Image<'_>, name: &str) -> Result<Function> {
    let mut said = Function {
        name: name.to_owned(),
        offset: None,
        how: String::new(),
        returns: Vec::new(),
        why: None,
        candidates: Vec::new(),
    };
    // what the file says itself needs no database
    let wanted = BTreeSet::from([name.to_owned()]);
    let own = crate::facts::labelled(image, &wanted).unwrap_or_default();
    let places: BTreeSet<_> =
        own.iter().filter(|fact| fact.kind == offset_db::Kind::Entry).map(|fact| fact.address).collect();
    if let ([place], Some(fact)) = (&*places.into_iter().collect::<Vec<_>>(), own.first()) {
        said.offset = image.file_offset(*place).map(|offset| offset.0);
        said.how = format!("{}, .{}", fact.confidence.word(), fact.method.word());
        said.returns = returns(said.offset, own.iter().find(|fact| !fact.returns.is_empty()));
        return Ok(said);
    }
    let Some((store, file)) = known else {
        said.why = Some("the file is not known".to_owned());
        return Ok(said);
    };
    match store.look_up_in(file, image, name)? {
        Answer::Found(found) => {
            said.offset = Some(found.offset.0);
            said.returns = returns(said.offset, Some(&found.fact));
            said.how = match found.fact.confidence {
                Confidence::Verified => {
                    let words = found.fact.evidence.iter().filter_map(|line| line.split(':').next());
                    let words: BTreeSet<&str> = words.collect();
                    format!("verified by {}", words.into_iter().collect::<Vec<_>>().join(" and "))
                }
                other => format!("{}, {}", other.word(), found.fact.method.word()),
            };
        }
        Answer::Absent => said.why = Some("not in the database, for this file".to_owned()),
        Answer::Unknown(why, candidates) => (said.why, said.candidates) = (Some(why), candidates),
        _ => said.why = Some("unknown".to_owned()),
    }
    Ok(said)
}

fn returns(begin: Option<u64>, fact: Option<&Fact>) -> Vec<u64> {
    let (Some(begin), Some(fact)) = (begin, fact) else { return Vec::new() };
    fact.returns.iter().map(|offset| begin + u64::from(*offset)).collect()
}

fn text(file: &File) -> String {
    let mut text = format!("{}\n  {} {}\n", file.file, file.machine, file.key);
    for origin in &file.origins {
        text.push_str(&format!(
            "  {} {} {} {} {}\n",
            origin.ecosystem, origin.package, origin.version, origin.tag, origin.platform
        ));
    }
    if !file.known {
        text.push_str("  not in the database\n");
    }
    let rows = file.functions.iter().map(|one| match (one.offset, &one.why) {
        (Some(offset), _) => {
            let returns: Vec<String> = one.returns.iter().map(|offset| format!("{offset:#x}")).collect();
            let returns =
                if returns.is_empty() { String::new() } else { format!("; returns at {}", returns.join(" ")) };
            vec!["   ".to_owned(), format!("{offset:#x}"), one.name.clone(), format!("{}{returns}", one.how)]
        }
        (None, why) => {
            vec!["   ".to_owned(), "unknown".to_owned(), one.name.clone(), why.clone().unwrap_or_default()]
        }
    });
    text + &super::table(&rows.collect::<Vec<_>>())
}
