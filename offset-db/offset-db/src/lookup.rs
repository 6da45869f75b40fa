//! What a file's function is, by the database.

use crate::fact::{Confidence, Fact, Kind};
use crate::store::{Known, Store};
use crate::{Fingerprint, Result};
use image::{FileOffset, Image};

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

impl Store {
    /// Looks a function of a file up, by its linkage name or its name without parameters.
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
        Ok(decide(self.facts_of(file, name)?, name, |fact| image.file_offset(fact.address)))
    }
}

/// The best fact of a name, if no other as good says otherwise.
fn decide(mut facts: Vec<Fact>, name: &str, offset: impl Fn(&Fact) -> Option<FileOffset>) -> Answer {
    if facts.is_empty() {
        return Answer::Absent;
    }
    let is_place = |fact: &Fact| matches!(fact.kind, Kind::Entry | Kind::Clone);
    let Some(best) = facts.iter().filter(|fact| is_place(fact)).map(|fact| fact.confidence).max() else {
        let why = match facts[0].kind {
            Kind::Ifunc => "it is chosen when the program starts (IFUNC)",
            _ => "only a piece of it is left",
        };
        return Answer::Unknown(format!("{name}: {why}"), facts);
    };
    let addresses = |least: Confidence| {
        let mut found: Vec<_> =
            facts.iter().filter(|fact| is_place(fact) && fact.confidence >= least).map(|fact| fact.address).collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    if best < Confidence::Verified {
        return Answer::Unknown(format!("{name}: there is one witness only"), facts);
    }
    if addresses(Confidence::Verified).len() > 1 {
        return Answer::Unknown(format!("{name}: there are several, or what is known differs"), facts);
    }
    let at = facts.iter().position(|fact| is_place(fact) && fact.confidence == best).unwrap_or_default();
    match offset(&facts[at]) {
        Some(offset) => Answer::Found(Box::new(Found { offset, fact: facts.swap_remove(at) })),
        None => Answer::Unknown(format!("{name}: its address is in no segment of the file"), facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Method;
    use image::VirtualAddress;

    fn fact(address: u64, kind: Kind, confidence: Confidence) -> Fact {
        Fact {
            name: "f".to_owned(),
            qualified: None,
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
        let facts = facts.iter().map(|(address, kind, confidence)| fact(*address, *kind, *confidence)).collect();
        let said = match decide(facts, "f", |fact| Some(FileOffset(fact.address.0))) {
            Answer::Found(found) => format!("{:#x}", found.offset.0),
            Answer::Absent => "absent".to_owned(),
            Answer::Unknown(why, facts) => format!("{why} ({})", facts.len()),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn only_what_is_verified_is_answered() {
        use Confidence::{Labelled, Probable, Verified};
        check(&[], "absent");
        check(&[(16, Kind::Entry, Labelled)], "0x10");
        check(&[(16, Kind::Entry, Verified), (32, Kind::Entry, Probable)], "0x10");
        check(&[(16, Kind::Entry, Probable)], "f: there is one witness only (1)");
        check(&[(16, Kind::Entry, Verified), (16, Kind::Entry, Labelled)], "0x10");
        check(
            &[(16, Kind::Entry, Verified), (32, Kind::Entry, Labelled)],
            "f: there are several, or what is known differs (2)",
        );
    }

    #[test]
    fn pieces_are_no_answer() {
        use Confidence::Labelled;
        check(&[(16, Kind::Cold, Labelled)], "f: only a piece of it is left (1)");
        check(&[(16, Kind::Cold, Labelled), (32, Kind::Entry, Labelled)], "0x20");
        check(&[(16, Kind::Part, Labelled), (32, Kind::Clone, Labelled)], "0x20");
        check(&[(16, Kind::Ifunc, Labelled)], "f: it is chosen when the program starts (IFUNC) (1)");
    }
}
