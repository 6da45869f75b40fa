//! Where functions are written: file and line of each definition, also of those that are only inlined.

use super::{Dwarf, Place, Slice, Units};
use crate::names::qualified;
use gimli::{AttributeValue, Unit, constants};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// A function in the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Definition {
    /// The file, as the compiler was given it.
    pub file: String,
    /// Where it begins, from 1.
    pub line: u64,
    /// Its name without parameters, as its symbol has it; a lambda's is `operator()`.
    pub name: String,
}

/// All functions that were compiled, inlined ones too, in order of file and line. What cannot be read is left out: this is no more than
/// a table of what is where.
#[must_use]
pub fn definitions(dwarf: &Dwarf<'_>) -> Vec<Definition> {
    let units = Units::of(dwarf);
    let mut all: Vec<Definition> =
        (0..units.count()).into_par_iter().flat_map_iter(|index| of_unit(&units, index)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What one entry says.
#[derive(Clone, Copy, Default)]
struct Entry<'a> {
    name: Option<Slice<'a>>,
    linkage_name: Option<Slice<'a>>,
    file: Option<u64>,
    line: Option<u64>,
    is_declaration: bool,
    rest: Option<Place>,
}

fn of_unit(units: &Units<'_>, index: usize) -> Vec<Definition> {
    let place = units.place(index);
    let Ok(unit) = units.unit(index) else { return Vec::new() };
    let mut entries: FxHashMap<usize, Entry<'_>> = FxHashMap::default();
    // what was read before damage counts
    let _ = read(units, place, &unit, &mut entries);
    let mut files: FxHashMap<u64, Option<String>> = FxHashMap::default();
    let mut all = Vec::new();
    for entry in entries.values().filter(|entry| !entry.is_declaration) {
        let (Some(line), Some(number)) = (entry.line, entry.file) else { continue };
        let mut whole = *entry;
        for _ in 0..4 {
            let Some(rest) = whole.rest.and_then(|rest| entries.get(&rest.offset.checked_sub(place.offset)?)) else {
                break;
            };
            whole.name = whole.name.or(rest.name);
            whole.linkage_name = whole.linkage_name.or(rest.linkage_name);
            whole.rest = rest.rest;
        }
        let text = |slice: Slice<'_>| String::from_utf8_lossy(slice.slice()).into_owned();
        let name = whole.linkage_name.map(text).map(|mangled| qualified(&mangled)).or(whole.name.map(text));
        let file = files.entry(number).or_insert_with(|| name_of(units, place, &unit, number));
        if let (Some(file), Some(name)) = (file, name) {
            all.push(Definition { file: file.clone(), line, name });
        }
    }
    all
}

fn read<'a>(
    units: &Units<'a>,
    place: Place,
    unit: &Unit<Slice<'a>>,
    entries: &mut FxHashMap<usize, Entry<'a>>,
) -> gimli::Result<()> {
    let mut raw = unit.entries_raw(None)?;
    while !raw.is_empty() {
        let offset = raw.next_offset().0;
        let Some(abbreviation) = raw.read_abbreviation()? else { continue };
        if abbreviation.tag() != constants::DW_TAG_subprogram {
            raw.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut entry = Entry::default();
        for specification in abbreviation.attributes() {
            let attribute = raw.read_attribute(*specification)?;
            let value = attribute.value();
            match attribute.name() {
                constants::DW_AT_name => entry.name = units.text(unit, place, value),
                constants::DW_AT_linkage_name | constants::DW_AT_MIPS_linkage_name => {
                    entry.linkage_name = units.text(unit, place, value);
                }
                constants::DW_AT_decl_file => {
                    entry.file = match value {
                        AttributeValue::FileIndex(index) => Some(index),
                        other => other.udata_value(),
                    }
                }
                constants::DW_AT_decl_line => entry.line = value.udata_value(),
                constants::DW_AT_declaration => entry.is_declaration = matches!(value, AttributeValue::Flag(true)),
                constants::DW_AT_abstract_origin | constants::DW_AT_specification => {
                    entry.rest = units.target(place, &value);
                }
                _ => {}
            }
        }
        entries.insert(offset, entry);
    }
    Ok(())
}

/// A file of a unit's table, with its folder.
fn name_of(units: &Units<'_>, place: Place, unit: &Unit<Slice<'_>>, number: u64) -> Option<String> {
    let header = unit.line_program.as_ref()?.header();
    let file = header.file(number)?;
    let dwarf = units.dwarf_of(place);
    let text =
        |value| dwarf.attr_string(unit, value).ok().map(|slice| String::from_utf8_lossy(slice.slice()).into_owned());
    let name = text(file.path_name())?;
    // folder 0 is where the compiler ran
    match file.directory_index() {
        0 => Some(name),
        _ => Some(format!("{}/{name}", text(file.directory(header)?)?)),
    }
}
