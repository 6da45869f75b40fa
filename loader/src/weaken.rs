//! libbpf refuses a whole object for one kernel function or variable that the kernel does not have, also where only
//! programs use it that are not to be loaded. In the copy that it is given, such symbols are made weak: done without.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};

/// Bytes of an ELF64 symbol, and which of them has its binding in the upper half (`Elf64_Sym`).
const SYMBOL: usize = 24;
const INFO: usize = 4;
const STB_WEAK: u8 = 2;

/// Makes undefined symbols of these names weak. What is no object is left as it is.
pub(crate) fn weaken(bytes: &mut [u8], names: &[&str]) {
    let mut places = Vec::new();
    if let Ok(elf) = ElfFile64::<object::Endianness>::parse(&*bytes) {
        let Some((table, _)) = elf.section_by_name(".symtab").and_then(|section| section.file_range()) else { return };
        let wanted = elf.symbols().filter(|symbol| symbol.is_undefined());
        let wanted = wanted.filter(|symbol| symbol.name().is_ok_and(|name| names.contains(&name)));
        places.extend(wanted.map(|symbol| table as usize + symbol.index().0 * SYMBOL + INFO));
    }
    for place in places {
        if let Some(info) = bytes.get_mut(place) {
            *info = STB_WEAK << 4 | *info & 0xf;
        }
    }
}
