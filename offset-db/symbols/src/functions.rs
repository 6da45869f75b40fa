//! All functions of a file, each once, with all of its names, from whatever says them.

use crate::debug_file::{belongs, is_alternate, mini_debug_info};
use crate::dwarf::{self, Dwarf};
use crate::error::{Error, Result};
use crate::go::{GoTable, go_table};
use crate::names::{Kind, qualified, split};
use crate::unpack::Decompress;
use crate::versions::{Version, Versions};
use image::{Image, Machine, Table, VirtualAddress};
use rayon::prelude::*;
use std::borrow::Cow;
use std::fmt;

/// Where a name is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// `.symtab` of the file.
    Symtab,
    /// `.dynsym` of the file.
    Dynsym,
    /// `.symtab` of the separate debug file.
    DebugFile,
    /// `.symtab` of what `.gnu_debugdata` holds.
    MiniDebugInfo,
    /// Go's `.gopclntab`.
    Gopclntab,
    /// DWARF's subprograms, of the file or of its debug file.
    Dwarf,
}

impl Source {
    const ALL: [Source; 6] =
        [Source::Symtab, Source::Dynsym, Source::DebugFile, Source::MiniDebugInfo, Source::Gopclntab, Source::Dwarf];

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Source::Symtab => "symtab",
            Source::Dynsym => "dynsym",
            Source::DebugFile => "debug-file",
            Source::MiniDebugInfo => "minidebuginfo",
            Source::Gopclntab => "gopclntab",
            Source::Dwarf => "dwarf",
        }
    }
}

/// Some of the sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceSet(u8);

impl SourceSet {
    /// Whether one is among them.
    #[must_use]
    pub fn contains(self, source: Source) -> bool {
        self.0 >> source as u8 & 1 == 1
    }

    /// Those that are, in the order of [`Source`].
    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(move |source| self.contains(*source))
    }

    fn insert(&mut self, source: Source) {
        self.0 |= 1 << source as u8;
    }
}

/// A name of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// As the table has it: C++'s and Rust's are mangled. Bytes that are no UTF-8 are replaced.
    pub text: String,
    /// As it is in the source, without its parameters: what users type.
    pub qualified: String,
    /// What the function is by this name.
    pub kind: Kind,
    /// Its version, of a dynamic symbol that has one.
    pub version: Option<Version>,
    /// Other files can see it.
    pub is_global: bool,
    /// Who says it.
    pub sources: SourceSet,
}

impl Name {
    /// With its version: `SSL_write@@OPENSSL_3.0.0`, `memcpy@GLIBC_2.2.5`.
    #[must_use]
    pub fn versioned(&self) -> Cow<'_, str> {
        match &self.version {
            None => Cow::Borrowed(&self.text),
            Some(version) => {
                let at = if version.is_default { "@@" } else { "@" };
                Cow::Owned(format!("{}{at}{}", self.text, version.name))
            }
        }
    }

    /// Whether this is what somebody means who types `asked`: the name as the table has it, as the source has it, or with its
    /// version (`memcpy@GLIBC_2.2.5`; `@` finds `@@` too).
    #[must_use]
    pub fn is(&self, asked: &str) -> bool {
        if self.text == asked || self.qualified == asked {
            return true;
        }
        let (Some(version), Some((name, wanted))) = (&self.version, asked.split_once('@')) else { return false };
        let (wanted, default) = wanted.strip_prefix('@').map_or((wanted, false), |wanted| (wanted, true));
        version.name == wanted && (version.is_default || !default) && (self.text == name || self.qualified == name)
    }
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it begins.
    pub address: VirtualAddress,
    /// Its bytes; 0 where nothing says. Go's table counts padding in, other sources do not.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Its names, the one to show first; all others are aliases. Never empty.
    pub names: Vec<Name>,
}

/// What a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The source.
    pub source: Source,
    /// Its names of functions; `None`: the file does not have it, or it was not asked for.
    pub names: Option<usize>,
}

impl fmt::Display for Coverage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names {
            None => write!(out, "{}: none", self.source.name()),
            Some(count) => write!(out, "{}: {count}", self.source.name()),
        }
    }
}

/// All functions of a file that have a name.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// In order of address, each address once.
    pub functions: Vec<Function>,
    /// What each source has, in the order of [`Source`].
    pub coverage: Vec<Coverage>,
    /// What could not be read. The rest is there.
    pub diagnostics: Vec<Error>,
}

impl Functions {
    /// The functions that somebody means who types a name ([`Name::is`]): those that are a function or chosen by one; parts,
    /// clones and cold parts only by the name that says it, or where there is nothing else of the name.
    #[must_use]
    pub fn find(&self, asked: &str) -> Vec<&Function> {
        let best = |function: &Function| {
            let names = function.names.iter().filter(|name| name.is(asked));
            names.map(|name| if name.text == asked { Kind::Function } else { name.kind }).min()
        };
        let mut found: Vec<(Kind, &Function)> =
            self.functions.iter().filter_map(|function| Some((best(function)?, function))).collect();
        let is_entry = |kind: Kind| matches!(kind, Kind::Function | Kind::Ifunc);
        if found.iter().any(|(kind, _)| is_entry(*kind)) {
            found.retain(|(kind, _)| is_entry(*kind));
        }
        found.into_iter().map(|(_, function)| function).collect()
    }

    /// The function whose bytes an address is of.
    #[must_use]
    pub fn at(&self, address: VirtualAddress) -> Option<&Function> {
        let after = self.functions.partition_point(|function| function.address <= address);
        let function = self.functions[..after].last()?;
        (address.0 - function.address.0 < function.size.max(1)).then_some(function)
    }
}

/// What to read.
#[derive(Clone, Copy)]
pub struct Sources<'i, 'd> {
    /// The file that is loaded.
    pub image: &'i Image<'d>,
    /// Its separate debug file. Its addresses count, never its offsets.
    pub debug_file: Option<&'i Image<'d>>,
    /// What the debug file shares with others (`.gnu_debugaltlink`).
    pub alternate: Option<&'i Image<'d>>,
    /// Whether to read DWARF too, which may take seconds.
    pub dwarf: bool,
    /// Unpacks what is packed.
    pub decompress: &'i Decompress<'i>,
}

impl<'i, 'd> Sources<'i, 'd> {
    /// Of a file alone, without DWARF.
    #[must_use]
    pub fn of(image: &'i Image<'d>) -> Sources<'i, 'd> {
        Sources { image, debug_file: None, alternate: None, dwarf: false, decompress: &crate::decompress }
    }

    /// The DWARF sections: of the file, or, where it has none, of its debug file.
    ///
    /// # Errors
    /// Neither has any, or they cannot be unpacked.
    pub fn dwarf(&self) -> Result<Dwarf<'d>> {
        let has = |image: &&Image<'_>| Dwarf::is_in(image);
        let holder = Some(self.image).filter(has).or(self.debug_file.filter(has)).unwrap_or(self.image);
        Dwarf::load(holder, self.alternate, self.decompress)
    }
}

/// One name from one source.
struct Raw<'d> {
    address: VirtualAddress,
    size: u64,
    text: Cow<'d, [u8]>,
    /// In the source, where the source says it.
    qualified: Option<String>,
    version: Option<Version>,
    is_ifunc: bool,
    is_global: bool,
    source: Source,
}

/// The functions of a file that have a name, from all sources.
///
/// # Errors
/// The file is not loaded, or the debug file is of another build. A source that cannot be read is a diagnostic.
pub fn functions(sources: &Sources<'_, '_>) -> Result<Functions> {
    let image = sources.image;
    if !image.is_loaded() {
        return Err(Error::NotLoaded);
    }
    if let Some(debug) = sources.debug_file {
        belongs(image, debug)?;
        if let Some(alternate) = sources.alternate {
            is_alternate(debug, alternate)?;
        }
    }
    let mut found = Vec::new();
    let mut diagnostics = Vec::new();
    let mut has = SourceSet::default();
    tables(image, &mut found, &mut has);
    if let Some(debug) = sources.debug_file {
        table(debug, Table::Symtab, Source::DebugFile, &mut found, &mut has);
    }
    let packed = mini_debug_info(image, sources.decompress).unwrap_or_else(|error| {
        diagnostics.push(error);
        None
    });
    let mini = packed.as_deref().and_then(|packed| match Image::parse(packed) {
        Ok(mini) => Some(mini),
        Err(error) => {
            diagnostics.push(Error::Packed(error.to_string()));
            None
        }
    });
    if let Some(mini) = &mini {
        table(mini, Table::Symtab, Source::MiniDebugInfo, &mut found, &mut has);
    }
    match go_table(image) {
        Ok(Some(mut go)) => {
            has.insert(Source::Gopclntab);
            diagnostics.append(&mut go.diagnostics);
            found.extend(of_go(&go));
        }
        Ok(None) => {}
        Err(error) => diagnostics.push(error),
    }
    if sources.dwarf {
        match sources.dwarf().and_then(|dwarf| dwarf::functions(&dwarf)) {
            Ok((functions, mut errors)) => {
                has.insert(Source::Dwarf);
                diagnostics.append(&mut errors);
                found.extend(functions.into_iter().map(of_dwarf));
            }
            Err(Error::NoDwarf(_)) => {}
            Err(error) => diagnostics.push(error),
        }
    }
    if image.machine() == Machine::Other(ARM) {
        // the lowest bit says which instruction set the function has
        found.iter_mut().for_each(|raw| raw.address.0 &= !1);
    }
    found.retain(|raw| !raw.text.is_empty() && image.is_code(raw.address));
    let count = |source| found.iter().filter(|raw| raw.source == source).count();
    let coverage = Source::ALL.map(|source| Coverage { source, names: has.contains(source).then(|| count(source)) });
    Ok(Functions { functions: merge(found), coverage: coverage.to_vec(), diagnostics })
}

/// `EM_ARM`.
const ARM: u16 = 40;

/// `.symtab` and `.dynsym` with its versions.
fn tables<'d>(image: &Image<'d>, found: &mut Vec<Raw<'d>>, has: &mut SourceSet) {
    table(image, Table::Symtab, Source::Symtab, found, has);
    let versions = Versions::read(image);
    let begin = found.len();
    table(image, Table::Dynsym, Source::Dynsym, found, has);
    let symbols = image.functions().filter(|symbol| symbol.table == Table::Dynsym);
    for (raw, symbol) in found[begin..].iter_mut().zip(symbols) {
        raw.version = versions.of(image, symbol.index);
    }
}

fn table<'d>(image: &Image<'d>, table: Table, source: Source, found: &mut Vec<Raw<'d>>, has: &mut SourceSet) {
    const SYMTAB: u32 = 2;
    const DYNSYM: u32 = 11;
    let kind = if table == Table::Symtab { SYMTAB } else { DYNSYM };
    if image.sections().iter().any(|section| section.kind == kind && !section.data.is_empty()) {
        has.insert(source);
    }
    found.extend(image.functions().filter(|symbol| symbol.table == table).map(|symbol| {
        let (text, version) = if table == Table::Symtab { versioned(symbol.name) } else { (symbol.name, None) };
        Raw {
            address: symbol.address,
            size: symbol.size,
            text: Cow::Borrowed(text),
            qualified: None,
            version,
            is_ifunc: symbol.is_ifunc,
            is_global: symbol.is_global,
            source,
        }
    }));
}

/// In `.symtab`, versions are part of names (`third@@NEW_2.0`), as the assembler was told them.
fn versioned(name: &[u8]) -> (&[u8], Option<Version>) {
    let Some(at) = memchr::memchr(b'@', name).filter(|at| *at > 0) else { return (name, None) };
    let (text, rest) = name.split_at(at);
    let (version, is_default) = rest.strip_prefix(b"@@").map_or((&rest[1..], false), |version| (version, true));
    if version.is_empty() {
        return (name, None);
    }
    (text, Some(Version { name: String::from_utf8_lossy(version).into_owned(), is_default }))
}

fn of_go<'d>(table: &GoTable<'d>) -> Vec<Raw<'d>> {
    let of_one = |function: &crate::go::GoFunction<'d>| Raw {
        address: function.address,
        size: function.end.0 - function.address.0,
        text: Cow::Borrowed(function.name),
        qualified: Some(String::from_utf8_lossy(function.name).into_owned()),
        version: None,
        is_ifunc: false,
        is_global: false,
        source: Source::Gopclntab,
    };
    table.functions.iter().map(of_one).collect()
}

fn of_dwarf<'d>(function: dwarf::Subprogram) -> Raw<'d> {
    Raw {
        address: function.address,
        size: function.size,
        text: Cow::Owned(function.linkage_name.unwrap_or_else(|| function.name.clone()).into_bytes()),
        qualified: Some(function.name),
        version: None,
        is_ifunc: false,
        is_global: function.is_external,
        source: Source::Dwarf,
    }
}

/// Those at one address are one function.
fn merge(mut found: Vec<Raw<'_>>) -> Vec<Function> {
    found.sort_by(|a, b| (a.address, &a.text, &a.version, a.source).cmp(&(b.address, &b.text, &b.version, b.source)));
    let groups: Vec<&[Raw<'_>]> = found.chunk_by(|a, b| a.address == b.address).collect();
    groups.into_par_iter().map(function).collect()
}

fn function(group: &[Raw<'_>]) -> Function {
    let mut names: Vec<Name> = Vec::new();
    // what is from tables first: DWARF's names do not tell a clone from what it was made of
    let (dwarf, tables): (Vec<_>, Vec<_>) = group.iter().partition(|raw| raw.source == Source::Dwarf);
    for raw in tables.into_iter().chain(dwarf) {
        let text = String::from_utf8_lossy(&raw.text);
        let known = names.iter_mut().find(|name| {
            let same_version = name.version == raw.version || name.version.is_none() || raw.version.is_none();
            let same = name.text == text && same_version;
            same || raw.source == Source::Dwarf && split(&name.text).0 == text
                || raw.source == Source::Dwarf && raw.qualified.as_ref() == Some(&name.qualified)
        });
        if let Some(name) = known {
            name.sources.insert(raw.source);
            name.is_global |= raw.is_global;
            name.version = name.version.take().or_else(|| raw.version.clone());
            if raw.source == Source::Gopclntab {
                // Go's names have dots of their own
                name.kind = Kind::Function;
                name.qualified.clone_from(&name.text);
            }
            continue;
        }
        let kind = match raw.source {
            _ if raw.is_ifunc => Kind::Ifunc,
            Source::Gopclntab => Kind::Function,
            _ => split(&text).1,
        };
        let mut sources = SourceSet::default();
        sources.insert(raw.source);
        let name = raw.qualified.clone().unwrap_or_else(|| qualified(&text));
        names.push(Name {
            text: text.into_owned(),
            qualified: name,
            kind,
            version: raw.version.clone(),
            is_global: raw.is_global,
            sources,
        });
    }
    let underscores = |name: &Name| name.text.bytes().take_while(|byte| *byte == b'_').count();
    // the one to show: a function's rather than a part's, what others see, the plain one
    let order = |name: &Name| (name.kind, !name.is_global, underscores(name), name.text.len());
    names.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.versioned().cmp(&b.versioned())));
    let sized = group.iter().filter(|raw| raw.size > 0);
    let size = sized.min_by_key(|raw| (raw.source, u64::MAX - raw.size)).map_or(0, |raw| raw.size);
    let is_ifunc = names.iter().any(|name| name.kind == Kind::Ifunc);
    let kind = if is_ifunc { Kind::Ifunc } else { names.first().map_or(Kind::Function, |name| name.kind) };
    Function { address: group[0].address, size, kind, names }
}
