//! Units: their headers, and the attributes of their first entry that the rest depends on.

use crate::abbrev::Encoding;
use crate::error::{Result, SectionName};
use crate::sections::{File, Section};

/// Where a unit lies: the part of the input that offsets of entries count in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Source {
    /// `.debug_info`
    Info,
    /// `.debug_types` (DWARF 4)
    Types,
    /// `.debug_info` of the supplementary file (dwz)
    Supplementary,
}

pub(crate) const SOURCES: [Source; 3] = [Source::Info, Source::Types, Source::Supplementary];

/// An entry anywhere in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryAt {
    pub(crate) source: Source,
    /// Byte offset in the section.
    pub(crate) offset: u64,
}

impl EntryAt {
    /// A number that orders all entries of the input.
    pub(crate) fn position(self) -> u64 {
        (self.source as u64) << 60 | self.offset
    }
}

/// The header of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) source: Source,
    /// Byte offset of the header in the section.
    pub(crate) start: usize,
    /// Byte offset of the first entry in the section.
    pub(crate) entries: usize,
    /// Byte offset of the end in the section.
    pub(crate) end: usize,
    pub(crate) encoding: Encoding,
    pub(crate) abbrev: u64,
    /// A skeleton by its header's unit type (DWARF 5).
    pub(crate) skeleton: bool,
    /// A type unit's signature, and its type's byte offset from the start of the unit.
    pub(crate) type_unit: Option<(u64, u64)>,
}

impl Unit {
    /// Its place among all entries of the input.
    pub(crate) fn position(&self) -> u64 {
        EntryAt { source: self.source, offset: self.start as u64 }.position()
    }
}

/// The files of the input: the kernel's, and its supplementary one.
pub(crate) struct Files<'d> {
    pub(crate) main: File<'d>,
    pub(crate) supplementary: Option<File<'d>>,
}

impl<'d> Files<'d> {
    pub(crate) fn file(&self, source: Source) -> &File<'d> {
        match (source, &self.supplementary) {
            (Source::Supplementary, Some(file)) => file,
            _ => &self.main,
        }
    }

    pub(crate) fn section(&self, source: Source) -> &Section<'d> {
        let sections = &self.file(source).sections;
        if source == Source::Types { &sections.types } else { &sections.info }
    }

    /// The headers of all units, in the order of the input.
    pub(crate) fn units(&self) -> Result<Vec<Unit>> {
        let mut units = Vec::new();
        for source in SOURCES {
            if source == Source::Supplementary && self.supplementary.is_none() {
                continue;
            }
            let big = self.file(source).sections.big;
            let section = self.section(source);
            let mut pos = 0;
            while pos < section.data.len() {
                let unit = header(section, source, pos, big)?;
                pos = unit.end;
                units.push(unit);
            }
        }
        Ok(units)
    }
}

/// The number of the unit that an entry lies in.
pub(crate) fn unit_of(units: &[Unit], entry: EntryAt) -> Option<usize> {
    let at = units.partition_point(|unit| (unit.source, unit.start as u64) <= (entry.source, entry.offset));
    let unit = units.get(at.checked_sub(1)?)?;
    (unit.source == entry.source && entry.offset < unit.end as u64).then_some(at - 1)
}

const DW_UT_TYPE: u8 = 2;
const DW_UT_SKELETON: u8 = 4;
const DW_UT_SPLIT_TYPE: u8 = 6;

fn header(section: &Section<'_>, source: Source, start: usize, big: bool) -> Result<Unit> {
    let mut at = section.at(start, big);
    let first = at.u32()?;
    let (dwarf64, length) = match first {
        0xffff_ffff => (true, at.u64()?),
        0xffff_fff0.. => return Err(at.malformed(start, format!("a unit of the reserved length {first:#x}"))),
        _ => (false, u64::from(first)),
    };
    let end = usize::try_from(length).ok().and_then(|length| at.pos().checked_add(length));
    let end = match end {
        Some(end) if end <= section.data.len() => end,
        _ => {
            let left = section.data.len() - at.pos();
            return Err(at.malformed(start, format!("a unit of {length} bytes where {left} are left")));
        }
    };
    if end - start >= 1 << 30 {
        return Err(at.malformed(start, "a unit of 1 GiB or more"));
    }
    at.limit(end);
    let version = at.u16()?;
    if !(2..=5).contains(&version) {
        return Err(at.malformed(start, format!("dwarf version {version}; 2 to 5 are known")));
    }
    let unit_type = if version >= 5 { at.u8()? } else { 0 };
    let (address_size, abbrev) = if version >= 5 {
        let address_size = at.u8()?;
        (address_size, at.offset(dwarf64)?)
    } else {
        let abbrev = at.offset(dwarf64)?;
        (at.u8()?, abbrev)
    };
    if !matches!(address_size, 2 | 4 | 8) {
        return Err(at.malformed(start, format!("an address size of {address_size}")));
    }
    let is_type = source == Source::Types || matches!(unit_type, DW_UT_TYPE | DW_UT_SPLIT_TYPE);
    let type_unit = if is_type { Some((at.u64()?, at.offset(dwarf64)?)) } else { None };
    let skeleton = unit_type == DW_UT_SKELETON;
    if skeleton {
        at.u64()?; // dwo_id
    }
    Ok(Unit {
        source,
        start,
        entries: at.pos(),
        end,
        encoding: Encoding { version, dwarf64, address_size },
        abbrev,
        skeleton,
        type_unit,
    })
}

/// The name of the section that holds a unit, for messages.
pub(crate) fn section_name(source: Source) -> SectionName {
    let name = if source == Source::Types { ".debug_types" } else { ".debug_info" };
    SectionName { name, supplementary: source == Source::Supplementary }
}
