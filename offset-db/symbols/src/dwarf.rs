//! DWARF: functions and the layouts of structs.

pub(crate) mod definitions;
pub(crate) mod layout;
mod subprograms;
mod types;

pub(crate) use subprograms::{Subprogram, functions};

use crate::error::{Error, Result};
use crate::unpack::{self, Decompress};
use gimli::{
    AttributeValue, EndianSlice, Reader as _, RunTimeEndian, Section as _, SectionId, Unit, UnitHeader,
    UnitSectionOffset, UnitType,
};
use image::Image;
use rustc_hash::FxHashMap;
use std::borrow::Cow;

pub(crate) type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// The DWARF sections of a file, unpacked.
pub struct Dwarf<'d> {
    sections: gimli::DwarfSections<Cow<'d, [u8]>>,
    alternate: Option<gimli::DwarfSections<Cow<'d, [u8]>>>,
    endian: RunTimeEndian,
}

/// The sections that are read; others may be as large, and are not unpacked.
const WANTED: &[SectionId] = &[
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTypes,
];

impl<'d> Dwarf<'d> {
    /// Finds and unpacks the sections; `alternate` is what the file shares with others (`.gnu_debugaltlink`).
    ///
    /// # Errors
    /// The file has no `.debug_info`, or a section cannot be unpacked.
    pub fn load(image: &Image<'d>, alternate: Option<&Image<'d>>, unpack: &Decompress<'_>) -> Result<Dwarf<'d>> {
        let load = |image: &Image<'d>| {
            gimli::DwarfSections::load(|id| match WANTED.contains(&id) {
                true => unpack::section(image, id.name(), unpack).map(Option::unwrap_or_default),
                false => Ok(Cow::default()),
            })
        };
        let endian = if image.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let dwarf = Dwarf { sections: load(image)?, alternate: alternate.map(load).transpose()?, endian };
        let is_missing = |name: &str| !matches!(unpack::size(image, name), Some(1..));
        if is_missing(".debug_info") {
            return Err(Error::NoDwarf(".debug_info"));
        }
        if is_missing(".debug_abbrev") {
            return Err(Error::NoDwarf(".debug_abbrev"));
        }
        Ok(dwarf)
    }

    /// Whether a file has debug information.
    #[must_use]
    pub fn is_in(image: &Image<'_>) -> bool {
        matches!(unpack::size(image, ".debug_info"), Some(1..))
    }

    /// For gimli.
    fn borrow(&self) -> gimli::Dwarf<Slice<'_>> {
        let mut dwarf =
            self.sections.borrow_with_sup(self.alternate.as_ref(), |section| EndianSlice::new(section, self.endian));
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        dwarf
    }
}

/// Which of the two files an entry is in, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) is_alternate: bool,
    /// In `.debug_types`, not in `.debug_info`.
    pub(crate) is_types: bool,
    /// In the section.
    pub(crate) offset: usize,
}

/// The units of a file and of its alternate, each found by the place of an entry.
pub(crate) struct Units<'a> {
    pub(crate) dwarf: gimli::Dwarf<Slice<'a>>,
    /// Where each begins, in order; with its header.
    headers: Vec<(Place, UnitHeader<Slice<'a>>)>,
    /// Types by their signature.
    signatures: FxHashMap<u64, Place>,
    pub(crate) diagnostics: Vec<Error>,
}

impl<'a> Units<'a> {
    pub(crate) fn of(dwarf: &'a Dwarf<'_>) -> Units<'a> {
        let mut units = Units {
            dwarf: dwarf.borrow(),
            headers: Vec::new(),
            signatures: FxHashMap::default(),
            diagnostics: Vec::new(),
        };
        let mut add = |dwarf: &gimli::Dwarf<Slice<'a>>, is_alternate: bool| {
            let mut headers = dwarf.units();
            loop {
                match headers.next() {
                    Ok(Some(header)) => units.headers.push((place_of(&header, is_alternate), header)),
                    Ok(None) => break,
                    Err(error) => {
                        let behind = units
                            .headers
                            .last()
                            .map_or(0, |(place, header)| place.offset + header.length_including_self());
                        units.diagnostics.push(Error::malformed(".debug_info", behind as u64, error.to_string()));
                        break;
                    }
                }
            }
            let mut headers = dwarf.type_units();
            while let Ok(Some(header)) = headers.next() {
                units.headers.push((place_of(&header, is_alternate), header));
            }
        };
        let borrowed = dwarf.borrow();
        add(&borrowed, false);
        if let Some(alternate) = borrowed.sup() {
            add(alternate, true);
        }
        units.headers.sort_by_key(|(place, _)| *place);
        for (place, header) in &units.headers {
            if let UnitType::Type { type_signature, type_offset } = header.type_() {
                let entry = Place { offset: place.offset.saturating_add(type_offset.0), ..*place };
                units.signatures.insert(type_signature.0, entry);
            }
        }
        units
    }

    pub(crate) fn count(&self) -> usize {
        self.headers.len()
    }

    pub(crate) fn place(&self, index: usize) -> Place {
        self.headers[index].0
    }

    /// The file that a unit is of.
    pub(crate) fn dwarf_of(&self, place: Place) -> &gimli::Dwarf<Slice<'a>> {
        match self.dwarf.sup() {
            Some(alternate) if place.is_alternate => alternate,
            _ => &self.dwarf,
        }
    }

    /// A unit with its abbreviations.
    pub(crate) fn unit(&self, index: usize) -> Result<Unit<Slice<'a>>> {
        let (place, header) = self.headers[index];
        self.dwarf_of(place).unit(header).map_err(|error| at(place, error))
    }

    /// The type of a signature.
    pub(crate) fn signed(&self, signature: gimli::DebugTypeSignature) -> Option<Place> {
        self.signatures.get(&signature.0).copied()
    }

    pub(crate) fn is_little_endian(&self) -> bool {
        self.dwarf.debug_info.reader().endian() == RunTimeEndian::Little
    }

    /// The unit that has an entry.
    pub(crate) fn index_of(&self, place: Place) -> Option<usize> {
        let index = self.headers.partition_point(|(begin, _)| *begin <= place).checked_sub(1)?;
        let (begin, header) = &self.headers[index];
        let is_inside = begin.is_alternate == place.is_alternate
            && begin.is_types == place.is_types
            && place.offset - begin.offset < header.length_including_self();
        is_inside.then_some(index)
    }

    /// Where the entry is that an attribute of a unit refers to. `None`: it refers to none, or by a type unit's signature.
    pub(crate) fn target(&self, unit: Place, value: &AttributeValue<Slice<'a>>) -> Option<Place> {
        match value {
            AttributeValue::UnitRef(offset) => Some(Place { offset: unit.offset.checked_add(offset.0)?, ..unit }),
            AttributeValue::DebugInfoRef(offset) => Some(Place { is_types: false, offset: offset.0, ..unit }),
            AttributeValue::DebugInfoRefSup(offset) => {
                Some(Place { is_alternate: true, is_types: false, offset: offset.0 })
            }
            _ => None,
        }
    }

    /// A text of an attribute.
    pub(crate) fn text(
        &self,
        unit: &Unit<Slice<'a>>,
        place: Place,
        value: AttributeValue<Slice<'a>>,
    ) -> Option<Slice<'a>> {
        self.dwarf_of(place).attr_string(unit, value).ok()
    }
}

fn place_of(header: &UnitHeader<Slice<'_>>, is_alternate: bool) -> Place {
    match header.offset() {
        UnitSectionOffset(offset) => {
            Place { is_alternate, is_types: header.section() == SectionId::DebugTypes, offset }
        }
    }
}

/// An error of gimli's in a unit.
pub(crate) fn at(place: Place, error: gimli::Error) -> Error {
    let section = if place.is_types { ".debug_types" } else { ".debug_info" };
    Error::malformed(section, place.offset as u64, error.to_string())
}
