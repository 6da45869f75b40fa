//! What a kernel image says of its own code: where ftrace can hook in, what kprobes must not touch, what boot frees.

use object::read::elf::{ElfFile, FileHeader};
use object::{Object, ObjectSection, ObjectSymbol};
use rustc_hash::FxHashMap;

/// Tables that the kernel's linker script delimits with symbols.
#[derive(Default)]
pub(crate) struct Text {
    /// Addresses of ftrace's call sites, sorted; none where the image does not tell.
    call_sites: Option<Vec<u64>>,
    /// Addresses of functions that kprobes are forbidden on, sorted.
    blacklist: Option<Vec<u64>>,
    /// Code that kprobes are forbidden in.
    forbidden: Vec<(u64, u64)>,
    /// Code that is freed after boot.
    init: Option<(u64, u64)>,
}

/// Delimiting symbols (include/asm-generic/vmlinux.lds.h).
pub(crate) const LANDMARKS: [&[u8]; 12] = [
    b"__start_mcount_loc",
    b"__stop_mcount_loc",
    b"__start_kprobe_blacklist",
    b"__stop_kprobe_blacklist",
    b"_sinittext",
    b"_einittext",
    b"__kprobes_text_start",
    b"__kprobes_text_end",
    b"__noinstr_text_start",
    b"__noinstr_text_end",
    b"__entry_text_start",
    b"__entry_text_end",
];

/// A call site lies less than this far behind its function's first byte: after `endbr64`, a BTI or patchable no-ops.
const PROLOGUE: u64 = 16;
/// Or this far before it: arm64's tables name the no-ops that precede a function (`-fpatchable-function-entry=4,2`), and
/// boot adjusts them (`ftrace_call_adjust`).
const BEFORE: u64 = 8;

impl Text {
    pub(crate) fn read<Elf: FileHeader<Endian = object::Endianness>>(elf: &ElfFile<'_, Elf>) -> Text {
        let mut marks: FxHashMap<&[u8], u64> = FxHashMap::default();
        for symbol in elf.symbols() {
            if let Ok(name) = symbol.name_bytes()
                && name.first() == Some(&b'_')
                && LANDMARKS.contains(&name)
            {
                marks.insert(name, symbol.address());
            }
        }
        let range = |start: &[u8], end: &[u8]| Some((*marks.get(start)?, *marks.get(end)?)).filter(|(a, b)| a < b);
        let table = |start, end| range(start, end).and_then(|range| addresses(elf, range));
        let forbidden = [
            range(b"__kprobes_text_start", b"__kprobes_text_end"),
            range(b"__noinstr_text_start", b"__noinstr_text_end"),
            range(b"__entry_text_start", b"__entry_text_end"),
        ];
        Text {
            call_sites: table(b"__start_mcount_loc", b"__stop_mcount_loc"),
            blacklist: table(b"__start_kprobe_blacklist", b"__stop_kprobe_blacklist"),
            forbidden: forbidden.into_iter().flatten().collect(),
            init: range(b"_sinittext", b"_einittext"),
        }
    }

    pub(crate) fn has_call_sites(&self) -> bool {
        self.call_sites.is_some()
    }

    pub(crate) fn has_blacklist(&self) -> bool {
        self.blacklist.is_some()
    }

    /// Whether ftrace has a call site at the entry of the function of `size` bytes at `address`; 0 for an unknown size.
    pub(crate) fn is_traced(&self, address: u64, size: u64) -> Option<bool> {
        let sites = self.call_sites.as_ref()?;
        let from = address.saturating_sub(BEFORE);
        let next = sites.partition_point(|&site| site < from);
        // a tiny function that is not traced ends before the call site of the next one
        let end = address.saturating_add(if size == 0 { PROLOGUE } else { size.min(PROLOGUE) });
        Some(sites.get(next).is_some_and(|&site| site < end))
    }

    pub(crate) fn is_blacklisted(&self, address: u64) -> Option<bool> {
        let inside = |&(start, end): &(u64, u64)| (start..end).contains(&address);
        if self.forbidden.iter().any(inside) {
            return Some(true);
        }
        self.blacklist.as_ref().map(|list| list.binary_search(&address).is_ok())
    }

    pub(crate) fn is_init(&self, address: u64) -> bool {
        self.init.is_some_and(|(start, end)| (start..end).contains(&address))
    }
}

/// The addresses that a table holds: as they stand there, or as boot's relocations will put them there. None where the
/// table lies in no section, or nothing is known to fill it.
fn addresses<Elf: FileHeader<Endian = object::Endianness>>(
    elf: &ElfFile<'_, Elf>,
    (start, end): (u64, u64),
) -> Option<Vec<u64>> {
    let section = elf.sections().find(|section| {
        section.address() <= start && end <= section.address().saturating_add(section.size()) && section.address() != 0
    })?;
    let data = section.data_range(start, end - start).ok().flatten()?;
    let mut addresses: Vec<u64> = words(elf, data).filter(|&address| address != 0).collect();
    if addresses.is_empty() {
        // a relocatable image (arm64's and s390's KASLR): place, type and address in triples
        let relocations = elf.section_by_name(".rela.dyn").and_then(|section| section.data().ok())?;
        let mut relocations = words(elf, relocations);
        while let (Some(place), Some(_), Some(address)) = (relocations.next(), relocations.next(), relocations.next()) {
            if (start..end).contains(&place) && address != 0 {
                addresses.push(address);
            }
        }
    }
    addresses.sort_unstable();
    (!addresses.is_empty()).then_some(addresses)
}

/// The words of some data, of the size of an address.
fn words<'w, Elf: FileHeader<Endian = object::Endianness>>(
    elf: &ElfFile<'_, Elf>,
    data: &'w [u8],
) -> impl Iterator<Item = u64> + 'w + use<'w, Elf> {
    let little = elf.is_little_endian();
    data.chunks_exact(if elf.is_64() { 8 } else { 4 }).map(move |bytes| {
        let shift = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if little { bytes.iter().rev().fold(0, shift) } else { bytes.iter().fold(0, shift) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_site_belongs_to_the_function_that_it_is_in() {
        let text = Text { call_sites: Some(vec![0x1010, 0x1024, 0x1038]), ..Text::default() };
        for (address, size, traced) in [
            (0x1000, 16, false), // the site at 0x1010 is the next function's
            (0x1010, 16, true),
            (0x1020, 16, true), // behind endbr64
            (0x1040, 64, true), // before the function: no-ops that boot adjusts for
            (0x1050, 64, false),
        ] {
            assert_eq!(text.is_traced(address, size), Some(traced), "{address:#x}");
        }
        assert_eq!(Text::default().is_traced(0x1000, 16), None);
    }
}
