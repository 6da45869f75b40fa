//! libbpf refuses a whole object for one kernel function or variable that the kernel does not have, also where only
//! programs use it that are not to be loaded. In the copy that it is given, such symbols are made weak: done without. And where the
//! kernel has no types of its own, it refuses each object that names a kernel function: such names are taken out.

use std::collections::BTreeSet;

use object::read::elf::{ElfFile64, FileHeader, Rel, SectionHeader};
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

/// Bytes of a section header, and which of them its size begins at (`Elf64_Shdr`); of a relocation (`Elf64_Rel`); of an instruction.
const SECTION_SIZE: usize = 32;
const RELOCATION: usize = 16;
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
/// The number of a helper that no kernel has, as libbpf puts it where a function is called that is not there
/// (`POISON_CALL_KFUNC_BASE`): the verifier takes it where it cannot come to it.
const NO_HELPER: u32 = 2_002_000_000;

/// Takes the kernel's functions out of an object, for a kernel without types of its own: libbpf would look for theirs there, and find no
/// object worth loading without (`obj_needs_vmlinux_btf`). Who asks whether there is one is told that there is none; a call of one is not
/// passed by the verifier, nor by the plan. What is no object is left as it is. The object's own types keep these names, with which no kernel
/// takes them: libbpf loads the object without.
pub(crate) fn without_kernel_functions(bytes: &mut [u8]) {
    let Some(Edits { patches, moves }) = edits(bytes) else { return };
    for (at, patch) in patches {
        if let Some(place) = bytes.get_mut(at..at + patch.len()) {
            place.copy_from_slice(&patch);
        }
    }
    for (to, from) in moves {
        if from + RELOCATION <= bytes.len() {
            bytes.copy_within(from..from + RELOCATION, to);
        }
    }
}

/// What is to be changed: bytes that are put somewhere; then relocations that take the place of others before them.
struct Edits {
    patches: Vec<(usize, Vec<u8>)>,
    moves: Vec<(usize, usize)>,
}

fn edits(bytes: &[u8]) -> Option<Edits> {
    let elf = ElfFile64::<object::Endianness>::parse(bytes).ok()?;
    let endian = elf.endian();
    let number = |value: u64, len: usize| match endian {
        object::Endianness::Little => value.to_le_bytes()[..len].to_vec(),
        object::Endianness::Big => value.to_be_bytes()[8 - len..].to_vec(),
    };
    let sections = elf.elf_section_table();
    // of each relocation of a program: its place in the file, its symbol, and the place of its instruction
    let relocations =
        |header: &object::elf::SectionHeader64<object::Endianness>| -> Option<Vec<(usize, usize, usize)>> {
            let (entries, _) = header.rel(endian, bytes).ok()??;
            let code = sections.section(object::SectionIndex(header.sh_info(endian) as usize)).ok()?;
            let is_code = code.sh_flags(endian).0 & object::elf::SHF_EXECINSTR.0 != 0;
            let begin = header.sh_offset(endian) as usize;
            let place = |(index, entry): (usize, &object::elf::Rel64<object::Endianness>)| {
                let instruction = code.sh_offset(endian).checked_add(entry.r_offset(endian))? as usize;
                Some((begin + index * RELOCATION, entry.r_sym(endian) as usize, instruction))
            };
            is_code.then(|| entries.iter().enumerate().filter_map(place).collect())
        };
    let of_programs: Vec<_> =
        sections.iter().enumerate().filter_map(|(index, header)| Some((index, relocations(header)?))).collect();
    let is_extern = |symbol: usize| {
        let symbol = elf.symbol_by_index(object::SymbolIndex(symbol));
        symbol.is_ok_and(|symbol| symbol.is_undefined() && symbol.is_global())
    };
    let is_call = |at: usize| bytes.get(at) == Some(&CALL);
    let all = of_programs.iter().flat_map(|(_, relocations)| relocations);
    let functions: BTreeSet<usize> =
        all.filter(|(_, symbol, at)| is_call(*at) && is_extern(*symbol)).map(|(_, symbol, _)| *symbol).collect();
    let (table, _) = elf.section_by_name(".symtab")?.file_range()?;
    let mut edits = Edits { patches: Vec::new(), moves: Vec::new() };
    for symbol in &functions {
        let at = table as usize + symbol * SYMBOL + INFO;
        // no longer global, it is nobody's
        edits.patches.push((at, vec![bytes.get(at)? & 0xf]));
    }
    let header = elf.elf_header();
    for (index, relocations) in &of_programs {
        let kept: Vec<_> = relocations.iter().filter(|(_, symbol, _)| !functions.contains(symbol)).collect();
        for (_, _, instruction) in relocations.iter().filter(|(_, symbol, _)| functions.contains(symbol)) {
            if is_call(*instruction) {
                let call = [vec![CALL, 0, 0, 0], number(NO_HELPER.into(), 4)].concat();
                debug_assert_eq!(call.len(), INSTRUCTION);
                edits.patches.push((*instruction, call));
            }
        }
        edits
            .moves
            .extend(relocations.iter().zip(&kept).map(|(to, from)| (to.0, from.0)).filter(|(to, from)| to != from));
        let at = header.e_shoff(endian) as usize + index * usize::from(header.e_shentsize(endian)) + SECTION_SIZE;
        edits.patches.push((at, number((kept.len() * RELOCATION) as u64, 8)));
    }
    Some(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn an_object_names_kernel_functions_no_more_and_keeps_the_rest() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let source = Path::new("loader/lcc-load/tests/fixtures/zoo.bpf.c");
        let Some(mut bytes) = compile::for_test(&root, source, &[]) else { return };
        let all = |bytes: &[u8]| {
            let elf = ElfFile64::<object::Endianness>::parse(bytes).unwrap();
            let externs: Vec<String> = elf
                .symbols()
                .filter(|symbol| symbol.is_undefined() && symbol.is_global())
                .map(|symbol| symbol.name().unwrap().to_owned())
                .collect();
            let mut relocated = BTreeSet::new();
            for section in elf.sections().filter(|section| section.kind() == object::SectionKind::Text) {
                relocated.extend(
                    section.relocations().map(|(at, to)| (section.index().0, at, format!("{:?}", to.target()))),
                );
            }
            (externs, relocated)
        };
        let (externs, before) = all(&bytes);
        assert_eq!(externs, ["bpf_rcu_read_lock", "bpf_rcu_read_unlock"]);
        without_kernel_functions(&mut bytes);
        let (externs, after) = all(&bytes);
        assert!(externs.is_empty(), "{externs:?}");
        assert!(after.is_subset(&before) && !after.is_empty());
        assert_eq!(before.len() - after.len(), 2);
        let again = bytes.clone();
        without_kernel_functions(&mut bytes);
        assert!(again == bytes, "there is nothing more to take out");
    }
}
