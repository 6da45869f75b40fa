//! The functions and per-CPU variables that the ELF symbol table knows.

use std::collections::HashSet;

use object::read::elf::{ElfFile, ElfSection, FileHeader, SectionHeader};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use rustc_hash::FxHashMap;

use crate::sections::Places;

/// One STT_FUNC symbol of a function name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FunctionSymbol {
    pub(crate) address: u64,
    /// Bytes of code; 0 when the table does not say.
    pub(crate) size: u64,
    /// `.isra` or `.constprop` in the symbol's name: the compiler changed the parameters.
    pub(crate) transformed: bool,
    /// The symbol has the name and no suffix.
    pub(crate) exact: bool,
    /// Global or weak.
    pub(crate) global: bool,
}

/// All symbols of one function name, the compiler's suffixes cut off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Function<'d> {
    pub(crate) symbols: Vec<FunctionSymbol>,
    /// From the first dot on, of all symbols that have one.
    pub(crate) suffixes: Vec<&'d [u8]>,
}

impl Function<'_> {
    /// The name stands for code at several addresses.
    pub(crate) fn ambiguous(&self) -> bool {
        self.symbols.windows(2).any(|pair| pair[0].address != pair[1].address)
    }
}

/// A section that per-CPU variables may lie in.
#[derive(Clone, Debug)]
pub(crate) struct PerCpu {
    pub(crate) address: u64,
    pub(crate) size: u64,
}

/// What the symbol table says.
#[derive(Default)]
pub(crate) struct Symbols<'d> {
    pub(crate) functions: FxHashMap<&'d [u8], Function<'d>>,
    pub(crate) percpu: Option<PerCpu>,
    /// Names of the STT_OBJECT symbols of the per-CPU section.
    pub(crate) percpu_objects: HashSet<&'d [u8]>,
    /// Allocated PROGBITS or NOBITS sections before the per-CPU one whose addresses overlap it.
    pub(crate) before_percpu: Vec<(u64, u64)>,
}

pub(crate) const PERCPU_SECTION: &str = ".data..percpu";

impl<'d> Symbols<'d> {
    pub(crate) fn read<Elf: FileHeader<Endian = object::Endianness>>(
        elf: &ElfFile<'d, Elf>,
        places: &Places,
    ) -> Symbols<'d> {
        let mut symbols = Symbols::default();
        let mut percpu_index = None;
        let address =
            |section: &ElfSection<'d, '_, Elf>| section.address().wrapping_add(places.section(section.index()));
        for section in elf.sections() {
            let kind = section.elf_section_header().sh_type(elf.endian());
            if kind != object::elf::SHT_PROGBITS && kind != object::elf::SHT_NOBITS {
                continue;
            }
            if section.name() == Ok(PERCPU_SECTION) {
                symbols.percpu = Some(PerCpu { address: address(&section), size: section.size() });
                percpu_index = Some(section.index());
                break;
            }
            symbols.before_percpu.push((address(&section), section.size()));
        }
        for symbol in elf.symbols() {
            let Ok(name) = symbol.name_bytes() else { continue };
            match symbol.kind() {
                SymbolKind::Text => {
                    symbols.add_function(name, (places.address(&symbol), symbol.size()), symbol.is_global())
                }
                SymbolKind::Data if percpu_index.is_some() && symbol.section_index() == percpu_index => {
                    symbols.percpu_objects.insert(name);
                }
                _ => {}
            }
        }
        for function in symbols.functions.values_mut() {
            function.symbols.sort_unstable();
            function.symbols.dedup();
            function.suffixes.sort_unstable();
            function.suffixes.dedup();
        }
        symbols
    }

    fn add_function(&mut self, name: &'d [u8], (address, size): (u64, u64), global: bool) {
        let dot = name.iter().position(|&byte| byte == b'.');
        let (stem, suffix) = name.split_at(dot.unwrap_or(name.len()));
        let has = |what: &[u8]| suffix.windows(what.len()).any(|window| window == what);
        let function = self.functions.entry(stem).or_default();
        if !suffix.is_empty() {
            function.suffixes.push(suffix);
        }
        // pieces of a function are no functions
        if !has(b".part") && !has(b".cold") {
            let transformed = has(b".isra") || has(b".constprop");
            function.symbols.push(FunctionSymbol { address, size, transformed, exact: suffix.is_empty(), global });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_cut_and_pieces_are_no_functions() {
        let mut symbols = Symbols::default();
        for (name, address) in
            [("a", 1), ("a.cold", 2), ("b.isra.0", 3), ("c.part.0", 4), ("d", 5), ("d", 6), ("e.constprop.0.isra.0", 7)]
        {
            symbols.add_function(name.as_bytes(), (address, 16), false);
        }
        let get = |name: &str| &symbols.functions[name.as_bytes()];
        assert_eq!(get("a").symbols.len(), 1);
        assert_eq!(get("a").suffixes, [b".cold"]);
        assert!(!get("a").ambiguous());
        assert!(get("b").symbols[0].transformed);
        assert!(get("c").symbols.is_empty());
        assert!(get("d").ambiguous());
        assert_eq!(get("e").suffixes, [b".constprop.0.isra.0"]);
    }
}
