//! Symbols of functions.

use crate::{Image, Section, VirtualAddress};
use object::elf;

/// Which table a symbol is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `.symtab`.
    Symtab,
    /// `.dynsym`.
    Dynsym,
}

/// A symbol of a function that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'d> {
    /// Its name, as the table has it, without the terminating zero.
    pub name: &'d [u8],
    /// Where it begins.
    pub address: VirtualAddress,
    /// Its bytes; 0 where the table does not say.
    pub size: u64,
    /// It is a function that chooses one (`STT_GNU_IFUNC`).
    pub is_ifunc: bool,
    /// It is no function, but data (`STT_OBJECT`).
    pub is_object: bool,
    /// Other files can see it: global or weak.
    pub is_global: bool,
    /// The table.
    pub table: Table,
    /// Its index in the table.
    pub index: usize,
}

impl<'d> Image<'d> {
    /// The symbols of functions that the file defines: `.symtab`'s, then `.dynsym`'s, in each table's order.
    pub fn functions(&self) -> impl Iterator<Item = Symbol<'d>> + '_ {
        self.symbols().filter(|symbol| !symbol.is_object)
    }

    /// The symbols of functions and of data that the file defines: `.symtab`'s, then `.dynsym`'s, in each table's order.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol<'d>> + '_ {
        [(elf::SHT_SYMTAB.0, Table::Symtab), (elf::SHT_DYNSYM.0, Table::Dynsym)].into_iter().flat_map(
            move |(kind, table)| {
                // a file has one of each ("Sections" of the ELF specification)
                let section = self.sections.iter().find(move |section| section.kind == kind);
                section.into_iter().flat_map(move |section| self.symbols_of(section, table))
            },
        )
    }

    fn symbols_of(&self, section: &Section<'d>, table: Table) -> impl Iterator<Item = Symbol<'d>> + '_ {
        let strings = self.sections.get(section.link as usize).map(|strings| strings.data).unwrap_or_default();
        let entries = section.data.chunks_exact(if self.is_64 { 24 } else { 16 });
        entries.enumerate().filter_map(move |(index, entry)| {
            let raw = self.raw(entry);
            let kind = elf::SymbolType(raw.info & 0xf);
            let is_code = matches!(kind, elf::STT_FUNC | elf::STT_GNU_IFUNC);
            let is_defined = raw.section != elf::SHN_UNDEF.0 && raw.value != 0;
            if !is_defined || !(is_code || kind == elf::STT_OBJECT) {
                return None;
            }
            Some(Symbol {
                name: text_at(strings, raw.name),
                address: VirtualAddress(raw.value),
                size: raw.size,
                is_ifunc: kind == elf::STT_GNU_IFUNC,
                is_object: kind == elf::STT_OBJECT,
                is_global: raw.info >> 4 != elf::STB_LOCAL.0,
                table,
                index,
            })
        })
    }

    fn raw(&self, entry: &[u8]) -> Raw {
        // Elf64_Sym: name, info, other, shndx, value, size; Elf32_Sym: name, value, size, info, other, shndx
        let number = |at: usize, size: usize| self.number(&entry[at..at + size]);
        let name = number(0, 4) as u32;
        if self.is_64 {
            Raw { name, info: entry[4], section: number(6, 2) as u16, value: number(8, 8), size: number(16, 8) }
        } else {
            Raw { name, info: entry[12], section: number(14, 2) as u16, value: number(4, 4), size: number(8, 4) }
        }
    }

    /// The address of a symbol that a relocation names: of the table that the section of relocations links to. `None`: it is
    /// another file's.
    pub(crate) fn dynamic_symbol_at(&self, table: u32, index: usize) -> Option<u64> {
        let size = if self.is_64 { 24 } else { 16 };
        let entry = self.sections.get(table as usize)?.data.chunks_exact(size).nth(index)?;
        let raw = self.raw(entry);
        (raw.section != elf::SHN_UNDEF.0).then_some(raw.value)
    }

    /// The functions of other files that are called through slots of data, by the name of the symbol: `(slot, name)`, in order
    /// of slot (`R_*_JUMP_SLOT`, `R_*_GLOB_DAT`).
    #[must_use]
    pub fn imports(&self) -> Vec<(VirtualAddress, &'d [u8])> {
        let mut found = Vec::new();
        let (size, shift) = if self.is_64 { (24, 32) } else { (12, 8) };
        for section in self.apart(|section| section.kind == elf::SHT_RELA.0) {
            let Some(symbols) = self.sections.get(section.link as usize) else { continue };
            let Some(strings) = self.sections.get(symbols.link as usize) else { continue };
            let word = if self.is_64 { 8 } else { 4 };
            for entry in section.data.chunks_exact(size) {
                let index = (self.number(&entry[word..word * 2]) >> shift) as usize;
                if index == 0 {
                    continue;
                }
                let size = if self.is_64 { 24 } else { 16 };
                let Some(symbol) = symbols.data.get(index.saturating_mul(size)..).and_then(|rest| rest.get(..size))
                else {
                    continue;
                };
                let raw = self.raw(symbol);
                if raw.section == elf::SHN_UNDEF.0 {
                    found.push((VirtualAddress(self.number(&entry[..word])), text_at(strings.data, raw.name)));
                }
            }
        }
        found.sort_unstable();
        found
    }
}

/// A symbol's entry.
struct Raw {
    name: u32,
    info: u8,
    section: u16,
    value: u64,
    size: u64,
}

/// A text of a string table, up to its zero; empty where there is none.
fn text_at(strings: &[u8], at: u32) -> &[u8] {
    let rest = strings.get(at as usize..).unwrap_or_default();
    rest.split(|byte| *byte == 0).next().unwrap_or_default()
}
