//! Look-ups for agents: a file's own symbols first, then the database.

use crate::fact::Confidence;
use crate::lookup::{Answer, FieldAnswer};
use crate::store::Store;
use crate::{Fingerprint, Result, Tables};
use image::{FileOffset, Image, VirtualAddress};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where a function of a file begins, for agents: no compiler, no disassembler and no debug information is needed for it.
///
/// ```no_run
/// use offset_db::{Resolved, Resolver};
/// let resolver = Resolver::open(std::path::Path::new("/usr/share/lcc/offsets.sqlite")).unwrap();
/// match resolver.resolve(std::path::Path::new("/opt/app/cygrpc.so"), "SSL_write").unwrap() {
///     Resolved::Found { offset, how } => println!("{:#x}: {how}", offset.0),
///     Resolved::Absent(why) | Resolved::Unknown(why) => println!("{why}"),
///     _ => {}
/// }
/// ```
#[derive(Debug)]
pub struct Resolver {
    store: Option<Mutex<Store>>,
}

/// What a look-up of a function finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolved {
    /// It begins there.
    Found {
        /// Bytes from the begin of the file.
        offset: FileOffset,
        /// How that is known.
        how: String,
    },
    /// The file does not have it, in these words.
    Absent(String),
    /// It cannot be told, in these words.
    Unknown(String),
}

/// What a look-up of a field finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolvedField {
    /// It is there.
    Found {
        /// Bits from the struct's begin.
        offset_bits: u64,
        /// Its bits.
        size_bits: u64,
        /// How that is known.
        how: String,
    },
    /// It cannot be told, in these words.
    Unknown(String),
}

impl Resolver {
    /// With a database.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(database: &Path) -> Result<Resolver> {
        Ok(Resolver { store: Some(Mutex::new(Store::open(database)?)) })
    }

    /// By the files' own symbols only.
    #[must_use]
    pub fn without_database() -> Resolver {
        Resolver { store: None }
    }

    /// Looks a function of a file up, by its symbol or its name without parameters.
    ///
    /// # Errors
    /// The file or the database cannot be read. A file that is no ELF file is [`Resolved::Unknown`].
    pub fn resolve(&self, file: &Path, function: &str) -> Result<Resolved> {
        let tables = Tables::read(file)?;
        match tables.image() {
            Ok(image) => self.resolve_by(&image, || tables.fingerprint(&image), function),
            Err(error) => Ok(Resolved::Unknown(error.to_string())),
        }
    }

    /// Looks a field up, `STRUCT.FIELD`, by what the database has of the struct in the build that a file is. No debug information is
    /// read.
    ///
    /// # Errors
    /// The file or the database cannot be read. A file that is no ELF file is [`ResolvedField::Unknown`].
    pub fn resolve_field(&self, file: &Path, field: &str) -> Result<ResolvedField> {
        let Some(store) = &self.store else {
            return Ok(ResolvedField::Unknown("no database is asked".to_owned()));
        };
        let tables = Tables::read(file)?;
        let fingerprint = match tables.image() {
            Ok(image) => tables.fingerprint(&image)?,
            Err(error) => return Ok(ResolvedField::Unknown(error.to_string())),
        };
        let store = store.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = store.known(&fingerprint)? else {
            return Ok(ResolvedField::Unknown("the file is not in the database".to_owned()));
        };
        Ok(match store.look_up_field(&store.origins(&known)?, &known.machine, field)? {
            FieldAnswer::Found(found) => ResolvedField::Found {
                offset_bits: found.field.offset_bits,
                size_bits: found.field.size_bits,
                how: found.how(),
            },
            FieldAnswer::Absent => ResolvedField::Unknown(format!("no struct of {field} is known of its version")),
            FieldAnswer::Unknown(why, _) => ResolvedField::Unknown(why),
        })
    }

    /// As [`Resolver::resolve`], of a file that was read before.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn resolve_in(&self, image: &Image<'_>, function: &str) -> Result<Resolved> {
        self.resolve_by(image, || Ok(Fingerprint::to_look_up(image)), function)
    }

    fn resolve_by(
        &self,
        image: &Image<'_>,
        fingerprint: impl Fn() -> Result<Fingerprint>,
        function: &str,
    ) -> Result<Resolved> {
        if let Some(said) = own(image, function) {
            return Ok(said);
        }
        let Some(store) = &self.store else {
            return Ok(Resolved::Unknown(format!("no symbol {function}, and no database is asked")));
        };
        let fingerprint = fingerprint()?;
        let store = store.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = store.known(&fingerprint)? else {
            return Ok(Resolved::Unknown(format!("no symbol {function}, and the file is not in the database")));
        };
        Ok(match store.look_up_in(&known, image, function)? {
            Answer::Found(found) => {
                let how = match found.fact.confidence {
                    Confidence::Labelled => format!("{} in the database", found.fact.method.word()),
                    other => format!("{} in the database: {}", other.word(), found.fact.evidence.join("; ")),
                };
                Resolved::Found { offset: found.offset, how }
            }
            Answer::Absent => Resolved::Absent(format!("no function {function}, by its symbols and by the database")),
            Answer::Unknown(why, _) => Resolved::Unknown(why),
        })
    }
}

/// What the file's own symbols say; `None`: nothing.
fn own(image: &Image<'_>, function: &str) -> Option<Resolved> {
    let named = || image.functions().filter(|symbol| symbol.name == function.as_bytes());
    if named().any(|symbol| symbol.is_ifunc) {
        // its code chooses the function, it is not the function
        return Some(Resolved::Unknown(format!("{function} is chosen when the program starts (IFUNC)")));
    }
    let is_part = |name: &[u8]| name.strip_prefix(function.as_bytes()).is_some_and(|rest| rest.starts_with(b".part."));
    if named().next().is_some() && image.functions().any(|symbol| is_part(symbol.name)) {
        return Some(Resolved::Unknown(format!("{function} was split, and callers go past its begin, into its part")));
    }
    let places: BTreeSet<VirtualAddress> = named().map(|symbol| symbol.address).collect();
    let mut places = places.into_iter();
    let place = places.next()?;
    if places.next().is_some() {
        return Some(Resolved::Unknown(format!("{function} is the symbol of several functions")));
    }
    Some(match image.file_offset(place) {
        Some(offset) => Resolved::Found { offset, how: "its symbol".to_owned() },
        None => Resolved::Absent(format!("the symbol {function} is in no segment of the file")),
    })
}

#[cfg(feature = "loader")]
impl From<Resolved> for loader::uprobe::Resolved {
    fn from(said: Resolved) -> Self {
        match said {
            Resolved::Found { offset, how } => Self::Found { offset: offset.0, how },
            Resolved::Absent(why) => Self::Absent(why),
            Resolved::Unknown(why) => Self::Unknown(why),
        }
    }
}

#[cfg(feature = "loader")]
impl loader::uprobe::Resolver for Resolver {
    fn resolve(&self, file: &Path, function: &str) -> loader::uprobe::Resolved {
        Resolver::resolve(self, file, function)
            .map_or_else(|error| loader::uprobe::Resolved::Unknown(error.to_string()), Into::into)
    }
}
