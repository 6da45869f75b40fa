//! Values that lead elsewhere: strings, references, addresses.

use super::read::Pass;
use super::{ELSEWHERE, Ref};
use crate::abbrev::{At, Form};
use crate::attributes;
use crate::error::{Error, Result};
use crate::names::NameId;
use crate::unit::{EntryAt, Files, Source, section_name};

impl<'f> Pass<'_, 'f, '_> {
    /// The address of a location that is `DW_OP_addr` or `DW_OP_addrx` and nothing else.
    pub(super) fn plain_address(&mut self, form: Form, value: u64) -> Result<Option<u64>> {
        let big = self.reader.files.main.sections.big;
        let mut at = self.reader.files.section(self.unit.source).at(value as usize, big);
        let Some(expression) = attributes::block(&mut at, form)? else { return Ok(None) };
        at.seek(at.pos() - expression.len() + usize::from(!expression.is_empty()));
        match expression.first() {
            Some(0x03) if expression.len() == 1 + usize::from(self.unit.encoding.address_size) => {
                at.sized(self.unit.encoding.address_size).map(Some)
            }
            Some(0xa1 | 0xfb) => {
                let index = at.uleb()?;
                self.indexed_address(index).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn address(&self, what: At, start: usize) -> Result<Option<u64>> {
        match self.reader.attributes.get(what) {
            None => Ok(None),
            Some((Form::Addr, address)) => Ok(Some(address)),
            Some((Form::Addrx | Form::Addrx1 | Form::Addrx2 | Form::Addrx3 | Form::Addrx4, index)) => {
                self.indexed_address(index).map(Some)
            }
            Some((form, _)) => Err(self.malformed(start, format!("an address of the form {form:?}"))),
        }
    }

    fn malformed(&self, offset: usize, what: impl Into<String>) -> Error {
        Error::Malformed { section: section_name(self.unit.source), offset: offset as u64, what: what.into() }
    }

    fn indexed_address(&self, index: u64) -> Result<u64> {
        let sections = &self.reader.files.file(self.unit.source).sections;
        let size = self.unit.encoding.address_size;
        let default = if self.unit.encoding.version >= 5 { 8 } else { 0 };
        let base = self.entries.info.addr_base.unwrap_or(default);
        let pos = index.checked_mul(u64::from(size)).and_then(|offset| offset.checked_add(base));
        let pos = pos.and_then(|pos| usize::try_from(pos).ok()).unwrap_or(usize::MAX);
        sections.addr.at(pos, sections.big).sized(size)
    }

    /// The lowest address of a function in several pieces: the first of its ranges.
    pub(super) fn first_range(&self) -> Result<Option<u64>> {
        let Some((form, value)) = self.reader.attributes.get(At::Ranges) else { return Ok(None) };
        let sections = &self.reader.files.file(self.unit.source).sections;
        let (encoding, info) = (self.unit.encoding, self.entries.info);
        let size = encoding.address_size;
        if encoding.version < 5 {
            return sections.ranges.at(value as usize, sections.big).sized(size).map(Some);
        }
        let pos = if form == Form::Rnglistx {
            let base = info.rnglists_base.unwrap_or(if encoding.dwarf64 { 20 } else { 12 });
            let pos = value.checked_mul(if encoding.dwarf64 { 8 } else { 4 }).and_then(|at| at.checked_add(base));
            let mut at = sections.rnglists.at(pos.unwrap_or(u64::MAX) as usize, sections.big);
            at.offset(encoding.dwarf64)?.saturating_add(base)
        } else {
            value
        };
        let mut at = sections.rnglists.at(usize::try_from(pos).unwrap_or(usize::MAX), sections.big);
        Ok(match at.u8()? {
            // DW_RLE_base_addressx, startx_endx, startx_length
            1..=3 => {
                let index = at.uleb()?;
                Some(self.indexed_address(index)?)
            }
            // base_address, start_end, start_length
            5..=7 => Some(at.sized(size)?),
            _ => None,
        })
    }

    #[inline(always)]
    pub(super) fn name(&mut self) -> Result<NameId> {
        if !self.reader.attributes.has(At::Name) {
            return Ok(NameId(0));
        }
        self.string(self.reader.attributes.get(At::Name))
    }

    #[inline(always)]
    pub(super) fn string(&mut self, value: Option<(Form, u64)>) -> Result<NameId> {
        match value {
            None => Ok(NameId(0)),
            Some((Form::Strp, offset)) => self.strings.at(self.first_section(), offset),
            Some((Form::LineStrp, offset)) => self.strings.at(self.first_section() + 1, offset),
            Some((form, value)) => self.rare_string(form, value),
        }
    }

    /// Which of the string sections is the unit's `.debug_str`; its `.debug_line_str` comes next.
    #[inline(always)]
    fn first_section(&self) -> u8 {
        if self.unit.source == Source::Supplementary { 2 } else { 0 }
    }

    #[cold]
    fn rare_string(&mut self, form: Form, value: u64) -> Result<NameId> {
        let files: &'f Files<'_> = self.reader.files;
        let sections = &files.file(self.unit.source).sections;
        match form {
            Form::String => {
                let section = files.section(self.unit.source);
                Ok(self.strings.intern(section.string(value, sections.big)?))
            }
            Form::StrpSup => {
                if files.supplementary.is_none() {
                    return Err(self.no_supplementary(value));
                }
                self.strings.at(2, value)
            }
            Form::Strx | Form::Strx1 | Form::Strx2 | Form::Strx3 | Form::Strx4 => {
                let dwarf64 = self.unit.encoding.dwarf64;
                let default = if dwarf64 { 16 } else { 8 };
                let default = if self.unit.encoding.version >= 5 { default } else { 0 };
                let base = self.entries.info.str_offsets_base.unwrap_or(default);
                let pos = value.checked_mul(if dwarf64 { 8 } else { 4 }).and_then(|at| at.checked_add(base));
                let pos = pos.and_then(|pos| usize::try_from(pos).ok()).unwrap_or(usize::MAX);
                let offset = sections.str_offsets.at(pos, sections.big).offset(dwarf64)?;
                self.strings.at(0, offset)
            }
            form => Err(self.malformed(self.unit.start, format!("a string of the form {form:?} in this unit"))),
        }
    }

    fn no_supplementary(&self, offset: u64) -> Error {
        let name = self.reader.files.main.supplementary.clone();
        let name = name.unwrap_or_else(|| "(unnamed)".to_owned());
        Error::MissingSupplementary { section: section_name(self.unit.source), offset, name }
    }

    #[inline(always)]
    pub(super) fn reference(&mut self, at: At, start: usize) -> Result<Ref> {
        match self.reader.attributes.get(at) {
            None => Ok(Ref(0)),
            Some((Form::Ref4 | Form::Ref1 | Form::Ref2 | Form::Ref8 | Form::RefUdata, offset)) => {
                if offset as usize >= self.unit.end - self.unit.start || offset == 0 {
                    return Err(self.malformed(start, format!("a reference to {offset:#x}, outside of its unit")));
                }
                Ok(Ref(offset as u32))
            }
            Some((form, value)) => self.rare_reference(form, value, start),
        }
    }

    #[cold]
    fn rare_reference(&mut self, form: Form, value: u64, start: usize) -> Result<Ref> {
        let source = match form {
            Form::RefAddr if self.unit.source == Source::Supplementary => Source::Supplementary,
            Form::RefAddr => Source::Info,
            Form::RefSup4 | Form::RefSup8 | Form::GnuRefAlt => {
                if self.reader.files.supplementary.is_none() {
                    return Err(self.no_supplementary(start as u64));
                }
                Source::Supplementary
            }
            Form::RefSig8 => {
                return Ok(match self.reader.signatures.get(&value) {
                    Some(&entry) => self.elsewhere(entry),
                    None => {
                        self.note(start, format!("no type unit has the signature {value:#018x}; written as void"));
                        Ref(0)
                    }
                });
            }
            form => return Err(self.malformed(start, format!("a reference of the form {form:?}"))),
        };
        Ok(self.elsewhere(EntryAt { source, offset: value }))
    }

    fn elsewhere(&mut self, entry: EntryAt) -> Ref {
        if entry.source == self.unit.source {
            let unit = self.unit.start as u64..self.unit.end as u64;
            if unit.contains(&entry.offset) && entry.offset != unit.start {
                return Ref((entry.offset - unit.start) as u32);
            }
        }
        self.entries.elsewhere.push(entry);
        Ref((self.entries.elsewhere.len() - 1) as u32 | ELSEWHERE)
    }
}
