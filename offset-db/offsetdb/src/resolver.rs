//! Look-ups for agents that bring all of it: what neither a file nor the database tells is found while the agent runs, by the names
//! that [`offset_db::Resolver`] does not read, and by builds that have names.

use crate::facts::{self, Build};
use crate::input;
use crate::labels::{Labels, Said, table};
use anyhow::{Context, Result};
use identify::{Model, Witness};
use image::Image;
use offset_db::{Confidence, Fact, Fingerprint, Kind, Resolved};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// As [`offset_db::Resolver`], which is asked first; then a file's other tables (`.gnu_debugdata`, Go's), and then the builds that it
/// was given. Only what two independent witnesses say is told.
///
/// ```no_run
/// use identify::Witness;
/// use offsetdb::resolver::Resolver;
/// use std::path::Path;
/// let mut resolver = Resolver::new(offset_db::Resolver::without_database());
/// resolver.add(Witness::Lineage, Path::new("app-1.0-labelled.so")).unwrap();
/// resolver.add(Witness::Compiled, Path::new("app-1.1-from-source.so")).unwrap();
/// println!("{:?}", resolver.resolve(Path::new("/opt/app-1.1.so"), "app_read"));
/// ```
#[derive(Debug)]
pub struct Resolver {
    known: offset_db::Resolver,
    builds: Vec<(Witness, Build)>,
    /// What was found of files, by their keys: identified once, for all names.
    found: Mutex<BTreeMap<String, Vec<Fact>>>,
}

impl Resolver {
    /// On top of a resolver, with no build yet.
    #[must_use]
    pub fn new(known: offset_db::Resolver) -> Resolver {
        Resolver { known, builds: Vec::new(), found: Mutex::default() }
    }

    /// Adds a build that has names, or all of an archive, and what it is to the files that are asked of: another version
    /// ([`Witness::Lineage`]), or their own source, compiled by somebody ([`Witness::Compiled`]).
    ///
    /// # Errors
    /// It cannot be read, or has no names, or no `.eh_frame`.
    pub fn add(&mut self, witness: Witness, build: &Path) -> Result<()> {
        self.builds.extend(facts::builds(build)?.into_iter().map(|build| (witness, build)));
        self.found = Mutex::default();
        Ok(())
    }

    /// Looks a function of a file up, by its symbol or its name without parameters.
    ///
    /// # Errors
    /// The file or the database cannot be read.
    pub fn resolve(&self, file: &Path, function: &str) -> Result<Resolved> {
        let said = self.known.resolve(file, function)?;
        let Resolved::Unknown(why) = said else { return Ok(said) };
        let inputs = match input::open(file, "") {
            Ok(inputs) => inputs,
            // it was told what it is: no ELF file
            Err(_) => return Ok(Resolved::Unknown(why)),
        };
        let [input] = inputs.as_slice() else { return Ok(Resolved::Unknown(why)) };
        let image = Image::parse(&input.bytes).with_context(|| input.name.clone())?;
        if let Ok(labels) = Labels::read(&image, None) {
            match labels.find(function) {
                Said::Found { offset, fact, .. } => {
                    return Ok(Resolved::Found { offset, how: table(fact.method).to_owned() });
                }
                Said::Unknown(why, _) => return Ok(Resolved::Unknown(format!("{function}: {why}"))),
                Said::Absent => {}
            }
        }
        if self.builds.is_empty() {
            return Ok(Resolved::Unknown(why));
        }
        let facts = self.facts(&image, function);
        let sure: BTreeSet<_> = facts
            .iter()
            .filter(|fact| fact.confidence >= Confidence::Verified && fact.kind == Kind::Entry)
            .map(|fact| (fact.address, fact.evidence.join("; ")))
            .collect();
        let mut sure = sure.into_iter();
        Ok(match (sure.next(), sure.next(), facts.is_empty()) {
            (Some((address, evidence)), None, _) => match image.file_offset(address) {
                Some(offset) => Resolved::Found { offset, how: format!("verified now: {evidence}") },
                None => Resolved::Unknown(format!("{function}: its address is in no segment of the file")),
            },
            (Some(_), Some(_), _) => {
                Resolved::Unknown(format!("{function}: there are several, or what is known differs"))
            }
            (None, _, false) => Resolved::Unknown(format!("{function}: there is one witness only")),
            (None, _, true) => Resolved::Unknown(format!("{why}, and no build tells")),
        })
    }

    fn facts(&self, image: &Image<'_>, function: &str) -> Vec<Fact> {
        let key = Fingerprint::of(image).key();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let all = found.entry(key).or_insert_with(|| {
            let builds: Vec<(Witness, &Build)> = self.builds.iter().map(|(witness, build)| (*witness, build)).collect();
            facts::identified(&Model::of(image), &builds, &BTreeSet::new()).0
        });
        let is_it = |fact: &&Fact| fact.name == function || fact.qualified.as_deref() == Some(function);
        all.iter().filter(is_it).cloned().collect()
    }
}

#[cfg(feature = "loader")]
impl loader::uprobe::Resolver for Resolver {
    fn resolve(&self, file: &Path, function: &str) -> loader::uprobe::Resolved {
        Resolver::resolve(self, file, function)
            .map_or_else(|error| loader::uprobe::Resolved::Unknown(format!("{error:#}")), Into::into)
    }
}
