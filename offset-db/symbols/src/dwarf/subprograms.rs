//! Functions: subprograms that have code.

use super::{Dwarf, Place, Slice, Units, at};
use crate::error::{Error, Result};
use crate::names::qualified;
use gimli::{AttributeValue, Unit, constants};
use image::VirtualAddress;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// A function that has code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subprogram {
    pub(crate) address: VirtualAddress,
    /// Its bytes, without what is out of line.
    pub(crate) size: u64,
    /// With its namespaces and classes.
    pub(crate) name: String,
    /// Mangled.
    pub(crate) linkage_name: Option<String>,
    pub(crate) is_external: bool,
}

/// What one entry says of a function.
#[derive(Clone, Copy, Default)]
struct Entry<'a> {
    name: Option<Slice<'a>>,
    linkage_name: Option<Slice<'a>>,
    is_external: bool,
    /// Index in [`Walked::scopes`].
    scope: Option<u32>,
    /// The entry that says the rest.
    rest: Option<Place>,
}

/// Code of a function, and the entry that has it.
struct Code<'a> {
    address: u64,
    size: u64,
    entry: Entry<'a>,
}

struct Scope<'a> {
    parent: Option<u32>,
    name: Option<Slice<'a>>,
}

/// A unit, walked through.
#[derive(Default)]
struct Walked<'a> {
    scopes: Vec<Scope<'a>>,
    /// By their offset in the unit.
    entries: FxHashMap<usize, Entry<'a>>,
    codes: Vec<Code<'a>>,
    diagnostics: Vec<Error>,
}

/// What is known of a function whose entries are followed.
struct Followed<'a> {
    address: u64,
    size: u64,
    name: Option<Slice<'a>>,
    linkage_name: Option<Slice<'a>>,
    is_external: bool,
    /// The name's scopes, innermost first.
    scopes: Vec<Option<Slice<'a>>>,
    rest: Option<Place>,
}

/// All functions that have code, in no order, and what could not be read.
///
/// # Errors
/// None today: a unit that cannot be read is a diagnostic.
pub(crate) fn functions(dwarf: &Dwarf<'_>) -> Result<(Vec<Subprogram>, Vec<Error>)> {
    let units = Units::of(dwarf);
    let mut diagnostics = units.diagnostics.clone();
    let parts: Vec<(Vec<Followed<'_>>, Vec<Error>)> = (0..units.count())
        .into_par_iter()
        .map(|index| {
            let mut walked = walk(&units, index);
            let codes = std::mem::take(&mut walked.codes);
            let followed = codes.into_iter().map(|code| {
                let mut followed = Followed::of(&code);
                followed.add(&walked, &code.entry);
                followed.follow(&units, &|at| (at == index).then_some(&walked));
                followed
            });
            (followed.collect(), std::mem::take(&mut walked.diagnostics))
        })
        .collect();
    let mut all = Vec::new();
    for (followed, errors) in parts {
        all.extend(followed);
        diagnostics.extend(errors);
    }
    // what refers to other units (link-time optimization, dwz): these are walked again, and kept
    let mut others: FxHashMap<usize, Walked<'_>> = FxHashMap::default();
    for _ in 0..8 {
        let mut wanted: Vec<usize> = all
            .iter()
            .filter_map(|followed| units.index_of(followed.rest?))
            .filter(|at| !others.contains_key(at))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            break;
        }
        let walked: Vec<_> = wanted.into_par_iter().map(|index| (index, walk(&units, index))).collect();
        others.extend(walked);
        all.par_iter_mut().for_each(|followed| followed.follow(&units, &|at| others.get(&at)));
    }
    Ok((all.into_par_iter().filter_map(Followed::finish).collect(), diagnostics))
}

impl<'a> Followed<'a> {
    fn of(code: &Code<'a>) -> Followed<'a> {
        Followed {
            address: code.address,
            size: code.size,
            name: None,
            linkage_name: None,
            is_external: false,
            scopes: Vec::new(),
            rest: None,
        }
    }

    fn add(&mut self, walked: &Walked<'a>, entry: &Entry<'a>) {
        self.name = self.name.or(entry.name);
        self.linkage_name = self.linkage_name.or(entry.linkage_name);
        self.is_external |= entry.is_external;
        self.rest = entry.rest;
        // the entry that has no other to say more is where the name is declared
        if entry.rest.is_none() {
            let mut at = entry.scope;
            while let Some(scope) = at.and_then(|index| walked.scopes.get(index as usize)) {
                self.scopes.push(scope.name);
                at = scope.parent;
            }
        }
    }

    /// Follows entries as far as units are there.
    fn follow<'w>(&mut self, units: &Units<'a>, walked: &dyn Fn(usize) -> Option<&'w Walked<'a>>)
    where
        'a: 'w,
    {
        for _ in 0..8 {
            let Some(place) = self.rest else { return };
            let Some(index) = units.index_of(place) else {
                self.rest = None;
                return;
            };
            let Some(walked) = walked(index) else { return };
            match walked.entries.get(&(place.offset - units.place(index).offset)) {
                Some(entry) => self.add(walked, entry),
                None => self.rest = None,
            }
        }
        self.rest = None;
    }

    fn finish(self) -> Option<Subprogram> {
        let text = |slice: Slice<'_>| String::from_utf8_lossy(slice.slice()).into_owned();
        let name = text(self.name?);
        let linkage_name = self.linkage_name.map(text).filter(|linkage_name| *linkage_name != name);
        let demangled = linkage_name.as_deref().map(|mangled| (qualified(mangled), mangled));
        let name = match demangled {
            Some((demangled, mangled)) if demangled != mangled => demangled,
            _ => self.scopes.iter().fold(name, |name, scope| match scope {
                Some(scope) => format!("{}::{name}", text(*scope)),
                None => format!("(anonymous namespace)::{name}"),
            }),
        };
        let address = VirtualAddress(self.address);
        Some(Subprogram { address, size: self.size, name, linkage_name, is_external: self.is_external })
    }
}

/// Walks through a unit. What is behind an entry that cannot be read is not read.
fn walk<'a>(units: &Units<'a>, index: usize) -> Walked<'a> {
    let mut walked = Walked::default();
    let place = units.place(index);
    match units.unit(index) {
        Ok(unit) => {
            if let Err(error) = walk_unit(units, place, &unit, &mut walked) {
                walked.diagnostics.push(at(place, error));
            }
        }
        Err(error) => walked.diagnostics.push(error),
    }
    walked
}

fn walk_unit<'a>(
    units: &Units<'a>,
    place: Place,
    unit: &Unit<Slice<'a>>,
    walked: &mut Walked<'a>,
) -> gimli::Result<()> {
    let mut raw = unit.entries_raw(None)?;
    // the scope of the children of the entry at each depth
    let mut inside: Vec<Option<u32>> = Vec::new();
    while !raw.is_empty() {
        let depth = usize::try_from(raw.next_depth()).unwrap_or_default();
        let offset = raw.next_offset().0;
        let Some(abbreviation) = raw.read_abbreviation()? else { continue };
        inside.truncate(depth);
        let outer = inside.last().copied().flatten();
        let mut scope = outer;
        match abbreviation.tag() {
            constants::DW_TAG_subprogram => {
                let mut parts = Parts::default();
                let mut entry = Entry { scope: outer, ..Entry::default() };
                for specification in abbreviation.attributes() {
                    let attribute = raw.read_attribute(*specification)?;
                    let value = attribute.value();
                    match attribute.name() {
                        constants::DW_AT_name => entry.name = units.text(unit, place, value),
                        constants::DW_AT_linkage_name | constants::DW_AT_MIPS_linkage_name => {
                            entry.linkage_name = units.text(unit, place, value);
                        }
                        constants::DW_AT_external => entry.is_external = matches!(value, AttributeValue::Flag(true)),
                        constants::DW_AT_abstract_origin | constants::DW_AT_specification => {
                            entry.rest = units.target(place, &value)
                        }
                        constants::DW_AT_low_pc => parts.low = Some(value),
                        constants::DW_AT_high_pc => parts.high = Some(value),
                        constants::DW_AT_entry_pc => parts.entry = Some(value),
                        constants::DW_AT_ranges => parts.ranges = Some(value),
                        _ => {}
                    }
                }
                if let Some((address, size)) = parts.code(units, place, unit) {
                    walked.codes.push(Code { address, size, entry });
                }
                walked.entries.insert(offset, entry);
            }
            constants::DW_TAG_namespace
            | constants::DW_TAG_module
            | constants::DW_TAG_class_type
            | constants::DW_TAG_structure_type
            | constants::DW_TAG_union_type
            | constants::DW_TAG_interface_type
            | constants::DW_TAG_enumeration_type
                if abbreviation.has_children() =>
            {
                let mut name = None;
                for specification in abbreviation.attributes() {
                    let attribute = raw.read_attribute(*specification)?;
                    if attribute.name() == constants::DW_AT_name {
                        name = units.text(unit, place, attribute.value());
                    }
                }
                scope = u32::try_from(walked.scopes.len()).ok();
                walked.scopes.push(Scope { parent: outer, name });
            }
            _ => raw.skip_attributes(abbreviation.attributes())?,
        }
        if abbreviation.has_children() {
            inside.resize(depth, outer);
            inside.push(scope);
        }
    }
    Ok(())
}

/// What an entry says of where its code is.
#[derive(Default)]
struct Parts<'a> {
    low: Option<AttributeValue<Slice<'a>>>,
    high: Option<AttributeValue<Slice<'a>>>,
    entry: Option<AttributeValue<Slice<'a>>>,
    ranges: Option<AttributeValue<Slice<'a>>>,
}

impl<'a> Parts<'a> {
    /// Begin and bytes of the range that a function is entered by. `None`: it has no code, or the linker dropped it.
    fn code(&self, units: &Units<'a>, place: Place, unit: &Unit<Slice<'a>>) -> Option<(u64, u64)> {
        let dwarf = units.dwarf_of(place);
        let address = |value: &Option<AttributeValue<Slice<'a>>>| dwarf.attr_address(unit, (*value)?).ok().flatten();
        let is_dropped = |address: u64| address == 0 || unit.header.is_tombstone_address(address);
        if let Some(low) = address(&self.low)
            && let Some(high) = self.high
        {
            let size = match high {
                AttributeValue::Udata(size) => size,
                other => dwarf.attr_address(unit, other).ok().flatten()?.checked_sub(low)?,
            };
            return (size > 0 && !is_dropped(low)).then_some((low, size));
        }
        let mut ranges = dwarf.attr_ranges(unit, self.ranges?).ok().flatten()?;
        let entry = address(&self.entry);
        let mut first = None;
        while let Ok(Some(range)) = ranges.next() {
            if range.end <= range.begin || is_dropped(range.begin) {
                continue;
            }
            let code = (range.begin, range.end - range.begin);
            if entry == Some(range.begin) {
                return Some(code);
            }
            first = first.or(Some(code));
        }
        // compilers write the range that is entered first
        first
    }
}
