//! Go's own table of functions, which programs keep when they are stripped: it is what their stack traces are made of.
//!
//! The layouts (`src/debug/gosym/pclntab.go`, `src/runtime/symtab.go` and `src/cmd/link/internal/ld/pcln.go` of Go):
//!
//! ```text
//! magic (4 bytes: its order is the file's) │ 0 0 │ least size of an instruction │ size of an address
//! 1.2   fffffffb  count │ (address, function)* │ address of the end
//! 1.16  fffffffa  count, files, offsets of: names, units, files, lines, functions
//! 1.18  fffffff0  count, files, text, the same offsets; entries are of 32 bits, addresses relative to text
//! 1.20  fffffff1  the same
//! ```
//!
//! From Go 1.26 on, the header's text is 0: it is in the runtime's `moduledata`, which points to the header.

use crate::error::{Error, Result};
use image::{Image, Section, VirtualAddress};

/// Which of its layouts the table has, by the version of Go that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Layout {
    /// Go 1.2 to 1.15.
    Go1_2,
    /// Go 1.16 and 1.17.
    Go1_16,
    /// Go 1.18 and 1.19.
    Go1_18,
    /// Go 1.20 and later.
    Go1_20,
}

/// How it is known where the code begins that addresses are relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextBy {
    /// Addresses are not relative.
    Absolute,
    /// The table's header.
    Header,
    /// `moduledata`, whose least address is that of the first function.
    ModuleData,
    /// The begin of `.text`: right but for programs that begin with C.
    Section,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoFunction<'d> {
    /// As stack traces have it: `net/http.(*Transport).RoundTrip`.
    pub name: &'d [u8],
    /// Where it begins.
    pub address: VirtualAddress,
    /// Where the next one begins: padding is part of it.
    pub end: VirtualAddress,
}

/// The table.
#[derive(Clone, Debug)]
pub struct GoTable<'d> {
    /// Its layout.
    pub layout: Layout,
    /// Where it is loaded.
    pub address: VirtualAddress,
    /// How addresses were made.
    pub text_by: TextBy,
    /// The functions that have code of their own, in order of address. What was inlined everywhere is none.
    pub functions: Vec<GoFunction<'d>>,
    /// What of it could not be read.
    pub diagnostics: Vec<Error>,
}

const SECTION: &str = ".gopclntab";
const MAGICS: [(u32, Layout); 4] = [
    (0xffff_fffb, Layout::Go1_2),
    (0xffff_fffa, Layout::Go1_16),
    (0xffff_fff0, Layout::Go1_18),
    (0xffff_fff1, Layout::Go1_20),
];

/// Reads a program's table: of its section, or, where sections have no names, of where its header is in what is loaded.
/// `None`: the file is no Go program.
///
/// # Errors
/// There is a section of that name, but no table in it.
pub fn go_table<'d>(image: &Image<'d>) -> Result<Option<GoTable<'d>>> {
    let is_table = |section: &&Section<'_>| section.name.ends_with(b"gopclntab") && !section.data.is_empty();
    if let Some(section) = image.sections().iter().find(is_table) {
        return read(image, section.address, section.data).map(Some);
    }
    Ok(search(image))
}

/// Looks for a header in all that is loaded: the first that a table follows, of a few that look like one.
fn search<'d>(image: &Image<'d>) -> Option<GoTable<'d>> {
    let needles = MAGICS.map(|(magic, _)| {
        let mut needle = [0; 6];
        needle[..4].copy_from_slice(&if image.is_little_endian() { magic.to_le_bytes() } else { magic.to_be_bytes() });
        needle
    });
    let mut tries = 0..16;
    for segment in image.segments() {
        let data = image.bytes_from(segment.address);
        // three bytes of all four magics are the same: they are looked for at once
        let common: &[u8] = if image.is_little_endian() { &[0xff, 0xff, 0xff, 0, 0] } else { &[0xff, 0xff, 0xff] };
        let lead = usize::from(image.is_little_endian());
        for found in memchr::memmem::find_iter(data, common) {
            let Some(at) = found.checked_sub(lead) else { continue };
            let Some(rest) = data.get(at..).filter(|rest| needles.iter().any(|needle| rest.starts_with(needle))) else {
                continue;
            };
            let Some(address) = segment.address.0.checked_add(at as u64) else { continue };
            if !address.is_multiple_of(4) || header(image, rest).is_err() {
                continue;
            }
            tries.next()?;
            if let Ok(table) = read(image, VirtualAddress(address), rest)
                && !table.functions.is_empty()
            {
                return Some(table);
            }
        }
    }
    None
}

/// Where the parts of a table are.
struct Parts {
    layout: Layout,
    /// The size of an address.
    word: usize,
    count: usize,
    /// The header's, 0 where it does not say.
    text: u64,
    /// Names begin here.
    names: usize,
    /// Entries begin here, and offsets of functions count from here.
    entries: usize,
}

impl Parts {
    fn is_relative(&self) -> bool {
        self.layout >= Layout::Go1_18
    }

    /// Bytes of half an entry.
    fn half(&self) -> usize {
        if self.is_relative() { 4 } else { self.word }
    }
}

fn header(image: &Image<'_>, data: &[u8]) -> Result<Parts> {
    let wrong = |offset: usize, what: String| Error::malformed(SECTION, offset as u64, what);
    let Some(start) = data.get(..8) else { return Err(wrong(0, format!("a header of {} bytes", data.len()))) };
    let magic = image.number(&start[..4]) as u32;
    let Some((_, layout)) = MAGICS.iter().find(|(known, _)| *known == magic) else {
        return Err(wrong(0, format!("unknown magic {magic:08x}")));
    };
    let (quantum, word) = (start[6], usize::from(start[7]));
    if start[4..6] != [0, 0] || !matches!(quantum, 1 | 2 | 4) || !matches!(word, 4 | 8) {
        return Err(wrong(4, format!("no header: {:02x?}", &start[4..])));
    }
    let field = |index: usize| {
        let at = 8 + index * word;
        data.get(at..at + word).map(|bytes| image.number(bytes)).ok_or_else(|| wrong(at, "the header ends".to_owned()))
    };
    let place = |index: usize| {
        let inside = |value: &usize| *value <= data.len();
        let value = field(index)?;
        usize::try_from(value).ok().filter(inside).ok_or_else(|| {
            wrong(8 + index * word, format!("offset {value:#x} is outside of the table's {} bytes", data.len()))
        })
    };
    let count = place(0)?;
    let (text, names, entries) = match layout {
        Layout::Go1_2 => (0, 0, 8 + word),
        Layout::Go1_16 => (0, place(2)?, place(6)?),
        Layout::Go1_18 | Layout::Go1_20 => (field(2)?, place(3)?, place(7)?),
    };
    Ok(Parts {
        layout: *layout,
        word,
        count,
        text,
        names,
        entries: if *layout == Layout::Go1_2 { 8 + word } else { entries },
    })
}

fn read<'d>(image: &Image<'d>, address: VirtualAddress, data: &'d [u8]) -> Result<GoTable<'d>> {
    let parts = header(image, data)?;
    let half = parts.half();
    // of 1.2, offsets of functions count from the table's begin
    let base = if parts.layout == Layout::Go1_2 { 0 } else { parts.entries };
    let number = |at: usize, size: usize| {
        let bytes = at.checked_add(size).and_then(|end| data.get(at..end));
        bytes.map(|bytes| image.number(bytes)).ok_or_else(|| Error::malformed(SECTION, at as u64, "the table ends"))
    };
    // the last entry is an address alone: the end
    let size = parts.count.checked_mul(half * 2).and_then(|size| size.checked_add(half));
    if size.and_then(|size| parts.entries.checked_add(size)).is_none_or(|end| end > data.len()) {
        return Err(Error::malformed(SECTION, parts.entries as u64, format!("{} entries do not fit", parts.count)));
    }
    let first = number(parts.entries, half)?;
    let (text, text_by) = text(image, address, &parts, first);
    let mut functions = Vec::with_capacity(parts.count);
    let mut diagnostics = Vec::new();
    for index in 0..parts.count {
        let at = parts.entries + index * half * 2;
        let (begin, end) = (number(at, half)?, number(at + half * 2, half)?);
        let offset = number(at + half, half)? as usize;
        let name = || {
            // the function: its address, of the size of an entry's, then the name's offset
            let name = number(base.saturating_add(offset).saturating_add(half), 4)? as usize;
            let place = parts.names.saturating_add(name);
            let text = data.get(place..).and_then(|rest| Some(&rest[..memchr::memchr(0, rest)?]));
            text.ok_or_else(|| Error::malformed(SECTION, place as u64, "a name that does not end"))
        };
        match (name(), text.checked_add(begin), text.checked_add(end)) {
            _ if end <= begin => {
                let what = format!("function {index} ends at {end:#x}, before its begin {begin:#x}");
                diagnostics.push(Error::malformed(SECTION, at as u64, what));
            }
            (Ok(name), Some(address), Some(end)) => {
                functions.push(GoFunction { name, address: VirtualAddress(address), end: VirtualAddress(end) });
            }
            (Ok(_), ..) => {
                let what = format!("function {index} at {begin:#x} of text at {text:#x} is beyond all addresses");
                diagnostics.push(Error::malformed(SECTION, at as u64, what));
            }
            (Err(error), ..) => diagnostics.push(error),
        }
        // of damaged tables, the first few places are enough
        if diagnostics.len() > 16 {
            break;
        }
    }
    functions.retain(|function| !function.name.is_empty() && image.is_code(function.address));
    functions.sort_by_key(|function| function.address);
    Ok(GoTable { layout: parts.layout, address, text_by, functions, diagnostics })
}

/// Where the code begins that addresses are relative to.
fn text(image: &Image<'_>, table: VirtualAddress, parts: &Parts, first: u64) -> (u64, TextBy) {
    if !parts.is_relative() {
        return (0, TextBy::Absolute);
    }
    // The header's is a number of the linker's: without a relocation it is 0 in a file that is loaded anywhere. Where both are
    // there, they are the same.
    if let Some(text) = module_text(image, table, parts.word, first) {
        return (text, TextBy::ModuleData);
    }
    if parts.text != 0 {
        return (parts.text, TextBy::Header);
    }
    (image.section(".text").map_or(0, |section| section.address.0), TextBy::Section)
}

/// `text` of the `moduledata` whose first word points to the table (`src/runtime/symtab.go`): the address, six slices, an address,
/// the least and greatest address of code, text. The least one is where the first function begins.
fn module_text(image: &Image<'_>, table: VirtualAddress, word: usize, first: u64) -> Option<u64> {
    const LEAST: u64 = 1 + 6 * 3 + 1;
    const TEXT: u64 = LEAST + 2;
    // in files that are loaded anywhere, words that point are in relocations, and may be 0 in the file
    let pointers = image.pointers();
    let value = |place: u64| {
        let place = VirtualAddress(place);
        match pointers.binary_search_by_key(&place, |(at, _)| *at) {
            Ok(index) => Some(pointers[index].1.0),
            Err(_) => image.word_at(place),
        }
    };
    let is_module = |place: u64| {
        let least = value(place.checked_add(LEAST * word as u64)?)?;
        let text = value(place.checked_add(TEXT * word as u64)?)?;
        (text.checked_add(first) == Some(least) && image.is_code(VirtualAddress(text))).then_some(text)
    };
    for (place, _) in pointers.iter().filter(|(_, to)| *to == table) {
        if let Some(text) = is_module(place.0) {
            return Some(text);
        }
    }
    let bytes = table.0.to_le_bytes();
    let reversed = table.0.to_be_bytes();
    let needle = if image.is_little_endian() { &bytes[..word] } else { &reversed[8 - word..] };
    for segment in image.segments() {
        let data = image.bytes_from(segment.address);
        for at in memchr::memmem::find_iter(data, needle) {
            let Some(place) = segment.address.0.checked_add(at as u64) else { continue };
            if place.is_multiple_of(word as u64)
                && let Some(text) = is_module(place)
            {
                return Some(text);
            }
        }
    }
    None
}
