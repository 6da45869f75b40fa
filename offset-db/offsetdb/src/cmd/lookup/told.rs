//! What is told of a file: its functions, its fields, and what is not known.

use super::advice::{Advice, advice};
use crate::cmd::layout;
use crate::debug::DebugFiles;
use crate::input;
use crate::labels::{Labels, PIECE, Said, table};
use crate::owner;
use anyhow::{Context, Result};
use image::Image;
use offset_db::{Answer, Confidence, Fact, FieldAnswer, Fingerprint, Kind, Known, Layout, Method, Origin, Store};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use symbols::Dwarf;

/// A file's answer.
#[derive(Debug, Default, Serialize)]
pub(super) struct File {
    pub(super) file: String,
    /// Its package was updated, or it was removed, while processes have it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_deleted: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) processes: Vec<u32>,
    /// What a probe is put on, where that is not the file by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probe: Option<PathBuf>,
    /// Where the file begins in what a probe is put on: offsets count from that one's begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) begin: Option<u64>,
    /// Missing where nothing but its build-id is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    pub(super) key: String,
    pub(super) machine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) go_build_id: Option<String>,
    pub(super) known: bool,
    /// The database knows the build-id, and other code under it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_changed: bool,
    pub(super) origins: Vec<Origin>,
    /// Its tables of names, where they were read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tables: BTreeMap<Method, usize>,
    pub(super) functions: Vec<Function>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) advice: Vec<Advice>,
}

/// A function's.
#[derive(Debug, Default, Serialize)]
pub(super) struct Function {
    pub(super) name: String,
    /// What a probe wants: bytes from the file's begin. `None` where it is not known.
    pub(super) offset: Option<u64>,
    /// What the tables have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<u64>,
    pub(super) how: String,
    /// Where it returns, of Go's functions: offsets in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) returns: Vec<u64>,
    /// Why there is no offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) candidates: Vec<Fact>,
}

/// A field's.
#[derive(Debug, Default, Serialize)]
pub(super) struct Field {
    pub(super) name: String,
    /// Bits from the struct's begin. `None` where it is not known.
    pub(super) offset_bits: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size_bits: Option<u64>,
    pub(super) how: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) candidates: Vec<Layout>,
}

/// A file that is looked into.
pub(super) struct Subject<'s> {
    /// For people.
    pub(super) name: &'s str,
    /// Where it is; `None` where it is in an archive.
    pub(super) path: Option<&'s Path>,
    /// The root that the path is of: `/`, or a process's.
    pub(super) root: &'s Path,
    pub(super) image: &'s Image<'s>,
    /// Where debug files are looked for.
    pub(super) debug_files: &'s DebugFiles,
}

impl File {
    /// Takes the file for one that is mapped from an archive, where it is stored as it is: offsets are the archive's.
    pub(super) fn within(&mut self, archive: &Path, begin: u64) {
        (self.probe, self.begin) = (Some(archive.to_owned()), Some(begin));
        for one in &mut self.functions {
            one.offset = one.offset.and_then(|offset| offset.checked_add(begin));
            one.returns.iter_mut().for_each(|offset| *offset = offset.saturating_add(begin));
        }
    }

    /// Whether something was told of what was asked for.
    pub(super) fn has(&self, name: &str) -> bool {
        self.functions.iter().any(|one| one.name == name && (one.offset.is_some() || one.address.is_some()))
            || self.fields.iter().any(|one| one.name == name && one.offset_bits.is_some())
    }
}

/// Names that are listed of a file that is not known, at most.
const MOST: usize = 40;

/// All that is told of a file. Without names, what the database knows of it; else the file's own names that the database knows of
/// others.
pub(super) fn told(store: Option<&Store>, subject: &Subject<'_>, names: &[String]) -> Result<File> {
    let image = subject.image;
    let fingerprint = Fingerprint::to_look_up(image);
    let known = store.map(|store| store.known(&fingerprint)).transpose()?.flatten();
    let known = store.zip(known.as_ref());
    let mut file = File {
        file: subject.name.to_owned(),
        size: Some(image.data().len() as u64),
        key: fingerprint.key(),
        machine: fingerprint.machine.clone(),
        go_build_id: fingerprint.go_build_id.clone(),
        known: known.is_some(),
        origins: known.map(|(store, file)| store.origins(file)).transpose()?.unwrap_or_default(),
        ..File::default()
    };
    if let (Some(store), None, Some(id)) = (store, known, &fingerprint.build_id) {
        file.is_changed = !store.files_of_build_id(id)?.is_empty();
    }
    match (known, names) {
        (Some((store, of)), []) => {
            let facts = store.facts(of)?;
            let all: BTreeSet<String> = facts.iter().map(Fact::title).collect();
            for name in all {
                file.functions.push(by_database(store, of, image, &name)?);
            }
        }
        _ => by_labels(store, known, subject, names, &mut file)?,
    }
    file.advice = advice(store.is_some(), subject, names, &file, || {
        match (subject.path, input::parts(Path::new(subject.name))) {
            (Some(path), _) => owner::owner(subject.root, path),
            (None, (archive, _)) => owner::of_wheel(&archive),
        }
    });
    Ok(file)
}

fn by_labels(
    store: Option<&Store>,
    known: Option<(&Store, &Known)>,
    subject: &Subject<'_>,
    names: &[String],
    file: &mut File,
) -> Result<()> {
    let labels = Labels::read(subject.image, None).with_context(|| subject.name.to_owned())?;
    file.tables = labels.tables().into_iter().collect();
    if names.is_empty() {
        // of thousands of names, those that somebody looked for elsewhere
        let wanted: BTreeSet<String> = store.map(Store::names).transpose()?.unwrap_or_default().into_iter().collect();
        let listed: BTreeSet<&str> = labels.names().filter(|name| wanted.contains(*name)).collect();
        let found = listed.into_iter().map(|name| by_own(&labels, name)).filter(|one| one.offset.is_some());
        file.functions.extend(found.take(MOST));
        return Ok(());
    }
    let mut open: Vec<&String> = Vec::new();
    for name in names {
        let own = by_own(&labels, name);
        let known = match known {
            Some((store, of)) if own.offset.is_none() && own.candidates.is_empty() => {
                Some(by_database(store, of, subject.image, name)?)
            }
            _ => None,
        };
        let said = known.unwrap_or(own);
        if said.offset.is_none() && said.candidates.is_empty() {
            open.push(name);
        }
        file.functions.push(said);
    }
    if open.is_empty() {
        return Ok(());
    }
    let search = subject.debug_files.find(subject.path, subject.image);
    for tried in &search.tried {
        eprintln!("{}: no debug file of it: {}", tried.place, tried.why);
    }
    let debug = search.found.as_ref().map(|found| Image::parse(&found.bytes)).transpose()?;
    if let Some(debug) = &debug {
        let labels = Labels::read(subject.image, Some(debug)).with_context(|| subject.name.to_owned())?;
        for one in &mut file.functions {
            if open.contains(&&one.name) {
                let said = by_own(&labels, &one.name);
                if said.offset.is_some() || !said.candidates.is_empty() {
                    *one = said;
                }
            }
        }
    }
    let is_open = |one: &&Function| one.offset.is_none() && one.candidates.is_empty() && one.name.contains('.');
    let asked: Vec<String> = file.functions.iter().filter(is_open).map(|one| one.name.clone()).collect();
    let fields = fields(known, subject, debug.as_ref(), &asked, file)?;
    file.functions.retain(|one| one.offset.is_some() || !fields.iter().any(|field| field.name == one.name));
    file.fields = fields;
    Ok(())
}

fn by_own(labels: &Labels<'_, '_>, name: &str) -> Function {
    let mut told = Function { name: name.to_owned(), ..Function::default() };
    match labels.find(name) {
        Said::Found { offset, fact, note } => {
            let note = note.map(|note| format!("; {note}")).unwrap_or_default();
            told.how = format!("{}, {}{note}", fact.confidence.word(), table(fact.method));
            told.offset = Some(offset.0);
            told.address = Some(fact.address.0);
            told.returns = returns(offset.0, &fact);
        }
        Said::Unknown(why, facts) => (told.why, told.candidates) = (Some(why), facts),
        Said::Absent => told.why = Some("none of its names, and the file is not in the database".to_owned()),
    }
    told
}

fn by_database(store: &Store, of: &Known, image: &Image<'_>, name: &str) -> Result<Function> {
    let mut told = Function { name: name.to_owned(), ..Function::default() };
    match store.look_up_in(of, image, name)? {
        Answer::Found(found) => {
            told.how = how(&found.fact);
            told.offset = Some(found.offset.0);
            told.address = Some(found.fact.address.0);
            told.returns = returns(found.offset.0, &found.fact);
        }
        Answer::Absent => told.why = Some("not in the database, for this file".to_owned()),
        Answer::Unknown(why, candidates) => {
            let why = why.strip_prefix(&format!("{name}: ")).unwrap_or(&why).to_owned();
            (told.why, told.candidates) = (Some(why), candidates);
        }
        _ => told.why = Some("unknown".to_owned()),
    }
    Ok(told)
}

/// How a fact of the database is known.
pub(super) fn how(fact: &Fact) -> String {
    let how = match fact.confidence {
        Confidence::Verified => {
            let words: BTreeSet<&str> = fact.evidence.iter().filter_map(|line| line.split(':').next()).collect();
            format!("verified by {}", words.into_iter().collect::<Vec<_>>().join(" and "))
        }
        other => format!("{}, {}", other.word(), table(fact.method)),
    };
    match fact.kind {
        Kind::Part => format!("{how}; {PIECE}"),
        _ => how,
    }
}

fn returns(begin: u64, fact: &Fact) -> Vec<u64> {
    fact.returns.iter().map(|offset| begin + u64::from(*offset)).collect()
}

/// By the file's debug information; where it has none, by the database.
fn fields(
    known: Option<(&Store, &Known)>,
    subject: &Subject<'_>,
    debug: Option<&Image<'_>>,
    asked: &[String],
    file: &File,
) -> Result<Vec<Field>> {
    let holder = debug.filter(|_| !Dwarf::is_in(subject.image)).unwrap_or(subject.image);
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    if Dwarf::is_in(holder) {
        let shared = subject.debug_files.find_alternate(holder);
        let shared = shared.found.as_ref().map(|found| Image::parse(&found.bytes)).transpose()?;
        let dwarf = Dwarf::load(holder, shared.as_ref(), &symbols::decompress);
        let dwarf = dwarf.with_context(|| subject.name.to_owned())?;
        let splits: Vec<Vec<(&str, &str)>> = asked.iter().map(|asked| layout::splits(asked)).collect();
        let names: Vec<&str> = splits.iter().flatten().map(|(name, _)| *name).collect();
        let mut found = symbols::layouts_of(&dwarf, &names).into_iter();
        let of = |(splits, name): (&Vec<(&str, &str)>, &String)| {
            let results: Vec<_> = found.by_ref().take(splits.len()).collect();
            by_dwarf(name, layout::answer(splits, results))
        };
        return Ok(splits.iter().zip(asked).map(of).collect());
    }
    let mut told = Vec::new();
    for name in asked {
        let Some((store, _)) = known else { continue };
        let mut field = Field { name: name.clone(), ..Field::default() };
        match store.look_up_field(&file.origins, &file.machine, name)? {
            FieldAnswer::Found(found) => {
                field.offset_bits = Some(found.field.offset_bits);
                field.size_bits = Some(found.field.size_bits);
                field.how = found.how();
            }
            FieldAnswer::Unknown(why, layouts) => (field.why, field.candidates) = (Some(why), layouts),
            _ => continue,
        }
        told.push(field);
    }
    Ok(told)
}

fn by_dwarf(name: &str, answer: Result<(&str, Vec<symbols::Defined>), String>) -> Field {
    let mut told = Field { name: name.to_owned(), ..Field::default() };
    let (path, layouts) = match answer {
        Ok(found) => found,
        Err(why) => return Field { why: Some(why), ..told },
    };
    let places: BTreeSet<(u64, u64)> = layouts
        .iter()
        .filter_map(|one| one.layout.field(path))
        .map(|field| (field.offset_bits, field.size_bits))
        .collect();
    match places.into_iter().collect::<Vec<_>>().as_slice() {
        [(offset, size)] => {
            (told.offset_bits, told.size_bits) = (Some(*offset), Some(*size));
            told.how = "debug information".to_owned();
        }
        [] => told.why = Some("a struct, not a field: offsetdb layout tells all of it".to_owned()),
        several => told.why = Some(format!("units of the file differ: {} places", several.len())),
    }
    told
}

/// What the database knows of a build-id.
pub(super) fn of_build_id(store: &Store, of: &Known, names: &[String]) -> Result<File> {
    let mut file = File {
        file: "a file that is not here".to_owned(),
        key: of.key.clone(),
        machine: of.machine.clone(),
        go_build_id: of.go_build_id.clone(),
        known: true,
        origins: store.origins(of)?,
        ..File::default()
    };
    let all: BTreeSet<String> = match names {
        [] => store.facts(of)?.iter().map(Fact::title).collect(),
        some => some.iter().cloned().collect(),
    };
    for name in all {
        let mut told = Function::default();
        match store.best_fact(of, &name)? {
            Ok(Some(fact)) => {
                told.address = Some(fact.address.0);
                told.how = how(&fact);
            }
            Ok(None) => told.why = Some("not in the database, for this file".to_owned()),
            Err(doubt) => (told.why, told.candidates) = (Some(doubt.why), doubt.facts),
        }
        told.name = name;
        file.functions.push(told);
    }
    Ok(file)
}
