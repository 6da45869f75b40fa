//! What a file's own names say of one name: the tables are read once, for all names that are asked for.

use crate::facts;
use image::{FileOffset, Image, VirtualAddress};
use offset_db::{Fact, Kind, Method, whole};
use std::collections::BTreeMap;
use symbols::{Coverage, Functions, Name, Sources};

/// The names of a file's functions, by its own tables or its debug file's.
#[derive(Debug)]
pub struct Labels<'i, 'd> {
    image: &'i Image<'d>,
    functions: Functions,
}

/// What they say of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Said {
    /// It begins there.
    Found {
        /// Bytes from the file's begin.
        offset: FileOffset,
        /// What is known.
        fact: Box<Fact>,
        /// What is to be known besides, for people.
        note: Option<String>,
    },
    /// No function has it.
    Absent,
    /// It cannot be told, in these words; what has the name.
    Unknown(String, Vec<Fact>),
}

impl<'i, 'd> Labels<'i, 'd> {
    /// Reads the tables of a file, and those of its debug file where there is one.
    ///
    /// # Errors
    /// The file is not loaded, or the debug file is of another build.
    pub fn read(image: &'i Image<'d>, debug_file: Option<&Image<'d>>) -> symbols::Result<Labels<'i, 'd>> {
        let functions = symbols::functions(&Sources { debug_file, ..Sources::of(image) })?;
        Ok(Labels { image, functions })
    }

    /// How many names each table has, of those that the file has.
    #[must_use]
    pub fn tables(&self) -> Vec<(Method, usize)> {
        let count = |one: &Coverage| Some((facts::method(one.source)?, one.names?));
        self.functions.coverage.iter().filter_map(count).collect()
    }

    /// How many functions have a name.
    #[must_use]
    pub fn len(&self) -> usize {
        self.functions.functions.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.functions.functions.is_empty()
    }

    /// All names, as their tables have them and without parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.functions.functions.iter().flat_map(|function| &function.names);
        names.flat_map(|name| [name.text.as_str(), name.qualified.as_str()])
    }

    /// Looks a name up: as a table has it, without parameters, or with its version (`memcpy@GLIBC_2.14`). Of a name that the file
    /// has several versions of, the one that programs are linked with today counts.
    #[must_use]
    pub fn find(&self, asked: &str) -> Said {
        let mut named: Vec<(Fact, &Name)> = Vec::new();
        for function in self.functions.find(asked) {
            let Some(name) = function.names.iter().find(|name| name.is(asked)) else { continue };
            named.extend(facts::fact(self.image, function, name).map(|fact| (fact, name)));
        }
        let parts = self.parts_of(whole(asked).unwrap_or(named.first().map_or(asked, |(_, name)| &name.qualified)));
        if named.is_empty() {
            named.extend(parts.iter().filter(|(fact, _)| fact.is_part(asked)).cloned());
        }
        let mut by_place: BTreeMap<VirtualAddress, (Fact, &Name)> = BTreeMap::new();
        for (fact, name) in named {
            by_place.entry(fact.address).or_insert((fact, name));
        }
        let mut note = None;
        if by_place.len() > 1 {
            let is_default = |name: &Name| name.version.as_ref().map(|version| version.is_default);
            let versions: Vec<Option<bool>> = by_place.values().map(|(_, name)| is_default(name)).collect();
            let is_clear = versions.iter().all(Option::is_some)
                && versions.iter().filter(|version| **version == Some(true)).count() == 1;
            if is_clear {
                let all: Vec<String> = by_place.values().map(|(_, name)| name.versioned().into_owned()).collect();
                note = Some(format!("the default one of {}", all.join(", ")));
                by_place.retain(|_, (_, name)| is_default(name) == Some(true));
            }
        }
        let found: Vec<Fact> = by_place.into_values().map(|(fact, _)| fact).collect();
        let [fact] = found.as_slice() else {
            return match found.is_empty() {
                true => Said::Absent,
                false => Said::Unknown(format!("{} functions have this name", found.len()), found),
            };
        };
        let why = match fact.kind {
            Kind::Ifunc => "it is chosen when the program starts (IFUNC): its code is in another function",
            Kind::Part if whole(&fact.title()) != Some(asked) => "",
            Kind::Part => "only a piece of it is left",
            Kind::Cold => "only a piece of it is left",
            _ => "",
        };
        if !why.is_empty() {
            return Said::Unknown(why.to_owned(), found);
        }
        if let Some((part, _)) = parts.first().filter(|_| fact.kind == Kind::Entry) {
            let why = format!("it was split, and callers go past its begin, into {}", part.title());
            return Said::Unknown(why, vec![fact.clone(), part.clone()]);
        }
        if fact.kind == Kind::Clone {
            note = Some("a copy made for some of its callers: its arguments may differ".to_owned());
        }
        if fact.kind == Kind::Part {
            note = Some(PIECE.to_owned());
        }
        match self.image.file_offset(fact.address) {
            Some(offset) => Said::Found { offset, fact: Box::new(fact.clone()), note },
            None => Said::Unknown("its address is in no segment of the file".to_owned(), found),
        }
    }

    /// The parts that were split off a function, by its name without parameters.
    fn parts_of(&self, function: &str) -> Vec<(Fact, &Name)> {
        let is_part = |name: &&Name| name.kind == symbols::Kind::Part && name.qualified == function;
        let mut parts: Vec<(Fact, &Name)> = Vec::new();
        for one in &self.functions.functions {
            let name = one.names.iter().find(is_part);
            parts.extend(name.and_then(|name| Some((facts::fact(self.image, one, name)?, name))));
        }
        parts
    }
}

/// What is told of a part that was split off.
pub const PIECE: &str = "split off, without the function's begin: its arguments may differ";

/// A table of names, as people know it.
#[must_use]
pub fn table(method: Method) -> &'static str {
    match method {
        Method::Symtab => ".symtab",
        Method::Dynsym => ".dynsym",
        Method::Minidebuginfo => ".gnu_debugdata",
        Method::Debugfile => "its debug file",
        Method::Dwarf => "DWARF",
        Method::Gopclntab => ".gopclntab",
        _ => "other builds",
    }
}
