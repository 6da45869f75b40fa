//! Names while units are read: where they lie, not what they are.
//!
//! A linker holds each string of `.debug_str` once, so that its offset is as good as the name, and the string itself is
//! looked at when the tables of all threads are merged, once for each type instead of once for each entry. Should one turn
//! out to be empty then (no compiler writes a name so, but a name so written is none), all is read once more, looking.

use rustc_hash::FxHashMap;

use crate::error::Result;
use crate::names::{KABI_HIDE, NameId, Names};
use crate::sections::{LONGEST_NAME, Section};
use crate::unit::Files;

/// The string sections of the input: `.debug_str` and `.debug_line_str`, then those of the supplementary file.
#[derive(Clone, Copy)]
pub(crate) struct StringSections<'f> {
    sections: [Option<&'f Section<'f>>; 4],
    /// Offsets in it stand for its strings.
    unique: [bool; 4],
    big: bool,
}

impl<'f> StringSections<'f> {
    /// Has each name looked at as it is read.
    pub(crate) fn distrust(&mut self) {
        self.unique = [false; 4];
    }

    pub(crate) fn new(files: &'f Files<'_>) -> Self {
        let (main, other) = (&files.main.sections, files.supplementary.as_ref().map(|file| &file.sections));
        let sections =
            [Some(&main.str), Some(&main.line_str), other.map(|other| &other.str), other.map(|other| &other.line_str)];
        let unique = sections.map(|section| section.is_some_and(|section| is_unique(&section.data)));
        StringSections { sections, unique, big: main.big }
    }
}

/// A string that units in C have, but for those without an unsigned number.
const USUAL: &[u8] = b"\0unsigned int\0";

/// Whether each string is in the section once, so that equal names have equal offsets. (Were it not so, the result would
/// be the same, but each unit's types would be held on their own until the end.)
fn is_unique(data: &[u8]) -> bool {
    data.last() == Some(&0)
        && data.len() < 1 << PLACE
        && memchr::memmem::find_iter(data, USUAL).nth(2).is_none()
        && memchr::memmem::find(data, KABI_HIDE).is_none()
}

/// Bits of a place within its class.
const PLACE: u32 = 29;

/// Names that are not in a string section by themselves: [`Strings::own`].
const OWN: u32 = 0;
/// The offset in the string section of this number, less one.
const SECTION: u32 = 1;
/// Up to three bytes, as they are.
const SHORT: u32 = 5;

/// The names of the units that one thread reads. Equal ids are equal names; one name may have several ids.
pub(crate) struct Strings<'f> {
    places: StringSections<'f>,
    own: Names<'f>,
    /// Names by section and offset, where the section may hold one string twice.
    by_offset: FxHashMap<(u8, u64), NameId>,
    shorts: FxHashMap<u32, &'f [u8]>,
    /// Of `shorts`, what was asked for last, by a hash.
    recent: Vec<u32>,
}

const RECENT_BITS: u32 = 10;

impl<'f> Strings<'f> {
    pub(crate) fn new(places: StringSections<'f>) -> Self {
        Strings {
            places,
            own: Names::new(),
            by_offset: FxHashMap::default(),
            shorts: FxHashMap::default(),
            recent: vec![0; 1 << RECENT_BITS],
        }
    }

    /// A name that lies anywhere: in `.debug_info` itself, or nowhere in the input.
    pub(crate) fn intern(&mut self, name: &'f [u8]) -> NameId {
        match *name {
            [] => NameId(0),
            [a] => self.short(name, u32::from(a)),
            [a, b] => self.short(name, u32::from_le_bytes([a, b, 0, 0])),
            [a, b, c] => self.short(name, u32::from_le_bytes([a, b, c, 0])),
            _ => self.own.intern(name),
        }
    }

    #[inline]
    fn short(&mut self, name: &'f [u8], bytes: u32) -> NameId {
        let place = (bytes.wrapping_mul(0x9e37_79b9) >> (32 - RECENT_BITS)) as usize;
        if self.recent[place] != bytes {
            self.recent[place] = bytes;
            self.shorts.insert(bytes, name);
        }
        NameId(SHORT << PLACE | bytes)
    }

    /// The name at `offset` of a string section.
    #[inline(always)]
    pub(crate) fn at(&mut self, section: u8, offset: u64) -> Result<NameId> {
        let which = usize::from(section);
        if self.places.unique[which]
            && let Some(found) = self.places.sections[which]
            && offset < found.data.len() as u64
        {
            return Ok(NameId((SECTION + u32::from(section)) << PLACE | offset as u32));
        }
        self.rare(section, offset)
    }

    #[cold]
    fn rare(&mut self, section: u8, offset: u64) -> Result<NameId> {
        if let Some(&known) = self.by_offset.get(&(section, offset)) {
            return Ok(known);
        }
        let Some(found) = self.places.sections[usize::from(section)] else { return Ok(NameId(0)) };
        let id = self.own.intern(found.string(offset, self.places.big)?);
        self.by_offset.insert((section, offset), id);
        Ok(id)
    }

    pub(crate) fn get(&self, id: NameId) -> &'f [u8] {
        let (class, place) = (id.0 >> PLACE, id.0 & ((1 << PLACE) - 1));
        match class {
            OWN => self.own.get(id),
            SHORT => self.shorts.get(&place).copied().unwrap_or_default(),
            _ => {
                let section = self.places.sections.get((class - SECTION) as usize).copied().flatten();
                let name = section.and_then(|section| section.data.get(place as usize..)).unwrap_or_default();
                let name = &name[..name.len().min(LONGEST_NAME)];
                &name[..memchr::memchr(0, name).unwrap_or(name.len())]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SectionName;
    use std::borrow::Cow;

    fn section(data: &'static [u8]) -> Section<'static> {
        Section { name: SectionName { name: ".debug_str", supplementary: false }, data: Cow::Borrowed(data) }
    }

    fn places<'f>(section: &'f Section<'f>) -> StringSections<'f> {
        let unique = is_unique(&section.data);
        StringSections { sections: [Some(section), None, None, None], unique: [unique; 4], big: false }
    }

    #[test]
    fn names_are_got_back_from_where_they_lie() {
        let section = section(b"page_tail\0long int\0");
        for trusted in [true, false] {
            let mut places = places(&section);
            if !trusted {
                places.distrust();
            }
            let mut strings = Strings::new(places);
            for (offset, name) in [(0, "page_tail"), (5, "tail"), (10, "long int"), (15, "int"), (18, "")] {
                let id = strings.at(0, offset).unwrap();
                assert_eq!(std::str::from_utf8(strings.get(id)), Ok(name), "{trusted}");
                assert_eq!(strings.at(0, offset).unwrap(), id);
            }
            assert_eq!(strings.at(0, 19).unwrap_err().to_string(), ".debug_str offset 0x13: a string without its end");
        }
    }

    #[test]
    fn names_in_the_units_are_told_apart() {
        let section = section(b"");
        let mut strings = Strings::new(places(&section));
        for name in [b"".as_slice(), b"a", b"b", b"ab", b"ba", b"abc", b"abcd", b"abc\xff"] {
            let id = strings.intern(name);
            assert_eq!(strings.get(id), name);
            assert_eq!(strings.intern(name), id);
        }
        assert_eq!(strings.intern(b""), NameId(0));
    }

    #[test]
    fn a_section_that_holds_strings_more_than_once_is_known() {
        let check = |data: &[u8], unique| assert_eq!(is_unique(data), unique, "{}", data.escape_ascii());
        check(b"unsigned int\0char\0", true);
        check(b"\0unsigned int\0short unsigned int\0", true);
        check(&b"\0unsigned int\0char\0".repeat(3), false);
        check(b"a\0__UNIQUE_ID_rh_kabi_hide42\0", false);
        check(b"no end", false);
        check(b"", false);
    }
}
