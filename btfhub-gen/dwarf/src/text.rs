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

/// A call site lies this far behind its function's first byte at most: after `endbr64`, a BTI or patchable no-ops.
const PROLOGUE: u64 = 16;

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

    /// Whether ftrace has a call site at the entry of the function at `address`.
    pub(crate) fn is_traced(&self, address: u64) -> Option<bool> {
        let sites = self.call_sites.as_ref()?;
        let next = sites.partition_point(|&site| site < address);
        Some(sites.get(next).is_some_and(|&site| site - address <= PROLOGUE))
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

/// The addresses that a table holds; none where it lies in no section, or relocations that only boot applies would fill it.
fn addresses<Elf: FileHeader<Endian = object::Endianness>>(
    elf: &ElfFile<'_, Elf>,
    (start, end): (u64, u64),
) -> Option<Vec<u64>> {
    let section = elf.sections().find(|section| {
        section.address() <= start && end <= section.address().saturating_add(section.size()) && section.address() != 0
    })?;
    let data = section.data_range(start, end - start).ok().flatten()?;
    let size = if elf.is_64() { 8 } else { 4 };
    let little = elf.is_little_endian();
    let value = |bytes: &[u8]| {
        let digits: &mut dyn Iterator<Item = &u8> = if little { &mut bytes.iter().rev() } else { &mut bytes.iter() };
        digits.fold(0u64, |value, &byte| value << 8 | u64::from(byte))
    };
    let mut addresses: Vec<u64> = data.chunks_exact(size).map(value).filter(|&address| address != 0).collect();
    addresses.sort_unstable();
    (!addresses.is_empty()).then_some(addresses)
}
