//! Versions of dynamic symbols: `SSL_write@@OPENSSL_3.0.0` (LSB Core, "Symbol Versioning").

use image::{Image, Section};
use rustc_hash::FxHashMap;

const VERSYM: u32 = 0x6fff_ffff;
const VERDEF: u32 = 0x6fff_fffd;
const VERNEED: u32 = 0x6fff_fffe;

/// The version of a symbol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Its name: `OPENSSL_3.0.0`.
    pub name: String,
    /// A program that is linked today gets this one: `@@`.
    pub is_default: bool,
}

/// Of a file: those of its dynamic symbols, by their index.
pub(crate) struct Versions<'d> {
    /// `.gnu.version`: 16 bits for each symbol.
    of_symbols: &'d [u8],
    names: FxHashMap<u16, String>,
}

impl<'d> Versions<'d> {
    /// Reads `.gnu.version`, `.gnu.version_d` and `.gnu.version_r`. Where they are damaged, symbols have no version.
    pub(crate) fn read(image: &Image<'d>) -> Versions<'d> {
        let of_kind = |kind: u32| image.sections().iter().find(move |section| section.kind == kind);
        let mut names = FxHashMap::default();
        if let Some(section) = of_kind(VERDEF) {
            definitions(image, section, &mut names);
        }
        if let Some(section) = of_kind(VERNEED) {
            needs(image, section, &mut names);
        }
        Versions { of_symbols: of_kind(VERSYM).map_or(&[], |section| section.data), names }
    }

    /// That of the dynamic symbol of this index. `None`: it is local, has no version, or the library's own name as such.
    pub(crate) fn of(&self, image: &Image<'_>, index: usize) -> Option<Version> {
        let bytes = self.of_symbols.get(index.checked_mul(2)?..)?.get(..2)?;
        let number = image.number(bytes) as u16;
        let name = self.names.get(&(number & 0x7fff))?.clone();
        // bit 15: hidden
        Some(Version { name, is_default: number & 0x8000 == 0 })
    }
}

/// `Elf_Verdef`: version, flags, index, count, hash, offset of `Elf_Verdaux`, offset of the next.
fn definitions(image: &Image<'_>, section: &Section<'_>, names: &mut FxHashMap<u16, String>) {
    const BASE: u64 = 1;
    let number = |at: usize, size: usize| {
        at.checked_add(size).and_then(|end| section.data.get(at..end)).map(|b| image.number(b))
    };
    let mut at = 0usize;
    loop {
        let (Some(flags), Some(index)) = (number(at + 2, 2), number(at + 4, 2)) else { return };
        let (Some(first), Some(next)) = (number(at + 12, 4), number(at + 16, 4)) else { return };
        if flags & BASE == 0
            && let Some(name) = number(at.saturating_add(first as usize), 4).and_then(|name| text(image, section, name))
        {
            names.insert(index as u16 & 0x7fff, name);
        }
        match at.checked_add(next as usize) {
            Some(behind) if next > 0 => at = behind,
            _ => return,
        }
    }
}

/// `Elf_Verneed`: version, count, file, offset of `Elf_Vernaux`, offset of the next; `Elf_Vernaux`: hash, flags, index, name,
/// offset of the next.
fn needs(image: &Image<'_>, section: &Section<'_>, names: &mut FxHashMap<u16, String>) {
    let number = |at: usize, size: usize| {
        at.checked_add(size).and_then(|end| section.data.get(at..end)).map(|b| image.number(b))
    };
    let mut at = 0usize;
    loop {
        let (Some(first), Some(next)) = (number(at + 8, 4), number(at + 12, 4)) else { return };
        let mut auxiliary = at.saturating_add(first as usize);
        while let (Some(index), Some(name), Some(behind)) = (
            number(auxiliary.saturating_add(6), 2),
            number(auxiliary.saturating_add(8), 4),
            number(auxiliary.saturating_add(12), 4),
        ) {
            if let Some(name) = text(image, section, name) {
                names.entry(index as u16 & 0x7fff).or_insert(name);
            }
            if behind == 0 {
                break;
            }
            auxiliary = auxiliary.saturating_add(behind as usize);
        }
        match at.checked_add(next as usize) {
            Some(behind) if next > 0 => at = behind,
            _ => return,
        }
    }
}

fn text(image: &Image<'_>, section: &Section<'_>, at: u64) -> Option<String> {
    let strings = image.sections().get(section.link as usize)?.data.get(usize::try_from(at).ok()?..)?;
    let name = strings.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}
