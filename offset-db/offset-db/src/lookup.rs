//! What a file's function is, by the database.

use crate::fact::{Confidence, Fact, Field, Kind, Layout, Origin, whole};
use crate::store::{Known, Store};
use crate::{Fingerprint, Result};
use image::{FileOffset, Image};
use std::collections::BTreeSet;

/// What a look-up finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It begins there.
    Found(Box<Found>),
    /// The file is known, and no function of that name.
    Absent,
    /// It cannot be told, in these words; the facts that there are.
    Unknown(String, Vec<Fact>),
}

/// Where a function begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Bytes from the file's begin, as the kernel wants it: by the segments of the file that was asked of, not of the one that the
    /// fact was learned from.
    pub offset: FileOffset,
    /// What is known.
    pub fact: Fact,
}

/// What a look-up of a struct's field finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldAnswer {
    /// It is there.
    Found(Box<FoundField>),
    /// Nothing is known of the struct, in the versions of the packages that the file comes from.
    Absent,
    /// It cannot be told, in these words; the layouts that there are.
    Unknown(String, Vec<Layout>),
}

/// Where a field is in its struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundField {
    /// Its path, its place and its size.
    pub field: Field,
    /// The struct, of the version that the file is of; where the file is of several, of the first of them.
    pub layout: Layout,
}

impl FoundField {
    /// How it is known, for people: `grpcio 1.60.1, NDEBUG: compiled`, and behind a `;` what checked that besides.
    #[must_use]
    pub fn how(&self) -> String {
        let Layout { package, version, configuration, source, evidence, .. } = &self.layout;
        let separator = if configuration.is_empty() { "" } else { ", " };
        let evidence: String = evidence.iter().map(|line| format!("; {line}")).collect();
        format!("{}{separator}{configuration}: {source}{evidence}", format!("{package} {version}").trim_end())
    }
}

impl Store {
    /// Looks a field up, `STRUCT.FIELD` or `STRUCT.FIELD.FIELD`, in the packages and versions that a file comes from. Where they,
    /// or the configurations of their builds, differ, it is unknown.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn look_up_field(&self, origins: &[Origin], machine: &str, asked: &str) -> Result<FieldAnswer> {
        let mut versions: Vec<&Origin> = origins.iter().collect();
        versions.dedup_by_key(|origin| (&origin.ecosystem, &origin.package, &origin.version));
        // the longest name first, for namespaces may have dots
        for (at, _) in asked.rmatch_indices('.') {
            let (name, path) = (&asked[..at], &asked[at + 1..]);
            let mut layouts = Vec::new();
            for origin in &versions {
                layouts.extend(self.layouts_of(origin, machine, name)?);
            }
            if !layouts.is_empty() {
                return Ok(decide_field(layouts, name, path));
            }
        }
        Ok(FieldAnswer::Absent)
    }

    /// Looks a function of a file up, by its linkage name or its name without parameters; a part that the compiler split off by
    /// [`Fact::title`].
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn look_up(&self, image: &Image<'_>, name: &str) -> Result<Answer> {
        match self.known(&Fingerprint::to_look_up(image))? {
            Some(file) => self.look_up_in(&file, image, name),
            None => Ok(Answer::Unknown("the file is not known".to_owned(), Vec::new())),
        }
    }

    /// The same, of a file that was looked for before.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn look_up_in(&self, file: &Known, image: &Image<'_>, name: &str) -> Result<Answer> {
        Ok(match self.best_fact(file, name)? {
            Ok(Some(fact)) => match image.file_offset(fact.address) {
                Some(offset) => Answer::Found(Box::new(Found { offset, fact })),
                None => Answer::Unknown(format!("{name}: its address is in no segment of the file"), vec![fact]),
            },
            Ok(None) => Answer::Absent,
            Err(Doubt { why, facts }) => Answer::Unknown(format!("{name}: {why}"), facts),
        })
    }

    /// What is known for sure of a name in a file, by itself: addresses, for offsets are by a file's segments. `None`: there is no such
    /// function.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn best_fact(&self, file: &Known, name: &str) -> Result<std::result::Result<Option<Fact>, Doubt>> {
        let mut facts = self.facts_of(file, name)?;
        if let Some(whole) = whole(name).filter(|_| facts.is_empty()) {
            facts = self.facts_of(file, whole)?.into_iter().filter(|fact| fact.is_part(name)).collect();
        }
        Ok(decide(facts, name))
    }
}

/// Why nothing is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// In words.
    pub why: String,
    /// The facts that there are.
    pub facts: Vec<Fact>,
}

/// The best fact of a name, if no other as good says otherwise.
fn decide(mut facts: Vec<Fact>, name: &str) -> std::result::Result<Option<Fact>, Doubt> {
    let is_part = whole(name).is_some();
    let is_place = |fact: &Fact| match fact.kind {
        Kind::Entry | Kind::Clone => !is_part,
        Kind::Part => is_part,
        _ => false,
    };
    let Some(first) = facts.first() else { return Ok(None) };
    let is_sure = |fact: &&Fact| fact.confidence >= Confidence::Verified;
    let part = facts.iter().filter(|_| !is_part).filter(is_sure).find(|fact| fact.kind == Kind::Part);
    let best = facts.iter().filter(|fact| is_place(fact)).map(|fact| fact.confidence).max();
    let places: BTreeSet<_> =
        facts.iter().filter(is_sure).filter(|fact| is_place(fact)).map(|one| one.address).collect();
    let why = match (part, best) {
        (Some(part), _) => format!("it was split, and callers go past its begin, into {}", part.title()),
        (None, None) if first.kind == Kind::Ifunc => "it is chosen when the program starts (IFUNC)".to_owned(),
        (None, None) => "only a piece of it is left".to_owned(),
        (None, Some(best)) if best < Confidence::Verified => "there is one witness only".to_owned(),
        _ if places.len() > 1 => "there are several, or what is known differs".to_owned(),
        _ => {
            let at = facts.iter().position(|fact| is_place(fact) && Some(fact.confidence) == best);
            return Ok(at.map(|at| facts.swap_remove(at)));
        }
    };
    Err(Doubt { why, facts })
}

/// The field, if all layouts have it at the same place.
fn decide_field(mut layouts: Vec<Layout>, name: &str, path: &str) -> FieldAnswer {
    let of = |layout: &Layout| layout.fields.iter().find(|field| field.path == path).cloned();
    let found: Vec<Option<Field>> = layouts.iter().map(of).collect();
    match &found[0] {
        None if found.iter().all(Option::is_none) => {
            FieldAnswer::Unknown(format!("no field {path} is known of {name}"), layouts)
        }
        Some(field) if found.iter().all(|other| other.as_ref() == Some(field)) => {
            FieldAnswer::Found(Box::new(FoundField { field: field.clone(), layout: layouts.swap_remove(0) }))
        }
        _ => FieldAnswer::Unknown(format!("{name}.{path} is not at one place in all builds of the version"), layouts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Method;
    use image::VirtualAddress;

    fn fact(address: u64, kind: Kind, confidence: Confidence) -> Fact {
        Fact {
            name: if kind == Kind::Part { "_Z1fv.part.0" } else { "_Z1fv" }.to_owned(),
            qualified: Some("f".to_owned()),
            address: VirtualAddress(address),
            size: 0,
            kind,
            method: Method::Identified,
            confidence,
            evidence: Vec::new(),
            returns: Vec::new(),
        }
    }

    fn check(facts: &[(u64, Kind, Confidence)], expected: &str) {
        check_name("f", facts, expected);
    }

    fn check_name(name: &str, facts: &[(u64, Kind, Confidence)], expected: &str) {
        let facts = facts.iter().map(|(address, kind, confidence)| fact(*address, *kind, *confidence)).collect();
        let said = match decide(facts, name) {
            Ok(Some(fact)) => format!("{:#x}", fact.address.0),
            Ok(None) => "absent".to_owned(),
            Err(Doubt { why, facts }) => format!("{why} ({})", facts.len()),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn only_what_is_verified_is_answered() {
        use Confidence::{Labelled, Probable, Verified};
        check(&[], "absent");
        check(&[(16, Kind::Entry, Labelled)], "0x10");
        check(&[(16, Kind::Entry, Verified), (32, Kind::Entry, Probable)], "0x10");
        check(&[(16, Kind::Entry, Probable)], "there is one witness only (1)");
        check(&[(16, Kind::Entry, Verified), (16, Kind::Entry, Labelled)], "0x10");
        check(
            &[(16, Kind::Entry, Verified), (32, Kind::Entry, Labelled)],
            "there are several, or what is known differs (2)",
        );
    }

    #[test]
    fn pieces_are_no_answer() {
        use Confidence::Labelled;
        check(&[(16, Kind::Cold, Labelled)], "only a piece of it is left (1)");
        check(&[(16, Kind::Cold, Labelled), (32, Kind::Entry, Labelled)], "0x20");
        check(
            &[(16, Kind::Part, Labelled), (32, Kind::Entry, Labelled)],
            "it was split, and callers go past its begin, into f.part (2)",
        );
        // what is like another build's part says nothing
        check(&[(16, Kind::Part, Confidence::Probable), (32, Kind::Entry, Labelled)], "0x20");
        let both = [(16, Kind::Part, Labelled), (32, Kind::Entry, Labelled)];
        check_name("f.part.0", &both, "0x10");
        check_name("f.part.0", &[(16, Kind::Part, Confidence::Probable)], "there is one witness only (1)");
        check(&[(16, Kind::Ifunc, Labelled)], "it is chosen when the program starts (IFUNC) (1)");
    }

    #[test]
    fn fields_are_told_where_all_builds_agree() {
        let layout = |version: &str, configuration: &str, at: u64| Layout {
            ecosystem: "pypi".to_owned(),
            package: "p".to_owned(),
            version: version.to_owned(),
            machine: "x86_64".to_owned(),
            configuration: configuration.to_owned(),
            name: "a.s".to_owned(),
            size: 16,
            source: "compiled".to_owned(),
            evidence: Vec::new(),
            fields: vec![Field { path: "in.x".to_owned(), offset_bits: at, size_bits: 32 }],
        };
        let mut store = Store::in_memory().unwrap();
        store.add_layouts(&[layout("1", "NDEBUG", 64), layout("2", "NDEBUG", 64), layout("3", "NDEBUG", 96)]).unwrap();
        store.add_layouts(&[layout("3", "", 64)]).unwrap();
        let origin = |version: &str| Origin {
            ecosystem: "pypi".to_owned(),
            package: "p".to_owned(),
            version: version.to_owned(),
            tag: String::new(),
            platform: String::new(),
            path: String::new(),
        };
        let check = |versions: &[&str], asked: &str, expected: &str| {
            let origins: Vec<Origin> = versions.iter().map(|version| origin(version)).collect();
            let said = match store.look_up_field(&origins, "x86_64", asked).unwrap() {
                FieldAnswer::Found(found) => format!("{} of {}", found.field.offset_bits, found.layout.version),
                FieldAnswer::Absent => "absent".to_owned(),
                FieldAnswer::Unknown(why, layouts) => format!("{why} ({})", layouts.len()),
            };
            assert_eq!(said, expected);
        };
        check(&["1"], "a.s.in.x", "64 of 1");
        check(&["1", "2"], "a.s.in.x", "64 of 1");
        check(&["1"], "a.s.in.y", "no field in.y is known of a.s (1)");
        check(&["1"], "s.in.x", "absent");
        check(&["4"], "a.s.in.x", "absent");
        check(&["3"], "a.s.in.x", "a.s.in.x is not at one place in all builds of the version (2)");
        check(&["1", "3"], "a.s.in.x", "a.s.in.x is not at one place in all builds of the version (3)");
    }
}
