//! The sections of one ELF file: found, decompressed and, in a relocatable file, relocated.

use std::borrow::Cow;

use object::read::elf::{ElfFile, FileHeader, SectionHeader};
use object::{Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget};

use rustc_hash::FxHashMap;

use crate::cursor::Cursor;
use crate::error::{Error, Result, SectionName};
use crate::kfuncs::{Kfunc, kfuncs};
use crate::symbols::Symbols;
use crate::text::Text;

/// Decompresses one section: `(compressed bytes, uncompressed size, format)`.
///
/// The crate does no decompression itself, so that it needs no C library; `lcc-btf` passes zlib and zstd.
pub type Decompress<'f> = dyn Fn(Compression, &[u8], usize) -> Result<Vec<u8>, String> + Sync + 'f;

/// How a debug section is compressed (`SHF_COMPRESSED`'s `ch_type`, or the older `.zdebug_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// `ELFCOMPRESS_ZLIB`, and `.zdebug_*` sections: a zlib stream.
    Zlib,
    /// `ELFCOMPRESS_ZSTD`: a zstd frame.
    Zstd,
}

/// Addresses of the sections. Those of a relocatable file are all 0; here each gets one of its own, so that an address
/// still tells which function is meant. Of debug sections of one name (each type unit has its own), it is the offset
/// where they are put one after the other.
#[derive(Default)]
pub(crate) struct Places {
    relocatable: Vec<u64>,
}

impl Places {
    fn new<'d, Elf: FileHeader<Endian = object::Endianness>>(elf: &ElfFile<'d, Elf>) -> Places {
        let mut relocatable = Vec::new();
        if elf.kind() == object::ObjectKind::Relocatable {
            // not 0: that is the address of what the linker dropped
            let mut next = 0x1000u64;
            let mut debug: rustc_hash::FxHashMap<&'d [u8], u64> = rustc_hash::FxHashMap::default();
            for section in elf.sections() {
                let index = section.index().0;
                if relocatable.len() <= index {
                    relocatable.resize(index + 1, 0);
                }
                let flags = section.elf_section_header().sh_flags(elf.endian());
                if flags.0 & object::elf::SHF_ALLOC.0 != 0 {
                    relocatable[index] = next;
                    next = next.saturating_add(section.size()).saturating_add(0x1fff) & !0xfff;
                } else if let Ok(name) = section.name_bytes()
                    && name.starts_with(b".debug_")
                {
                    let size = section.compressed_file_range().map_or(0, |range| range.uncompressed_size);
                    let end = debug.entry(name).or_default();
                    relocatable[index] = *end;
                    *end = end.saturating_add(size);
                }
            }
        }
        Places { relocatable }
    }

    pub(crate) fn section(&self, index: object::SectionIndex) -> u64 {
        self.relocatable.get(index.0).copied().unwrap_or(0)
    }

    /// The address of a symbol, or of a section in an executable.
    pub(crate) fn address<'d>(&self, symbol: &impl ObjectSymbol<'d>) -> u64 {
        symbol.address().wrapping_add(symbol.section_index().map_or(0, |index| self.section(index)))
    }
}

/// The kernel takes no longer name: KSYM_NAME_LEN with its terminating zero (include/linux/kallsyms.h, Linux 6.1).
pub(crate) const LONGEST_NAME: usize = 511;

/// One section's bytes.
pub(crate) struct Section<'d> {
    pub(crate) name: SectionName,
    pub(crate) data: Cow<'d, [u8]>,
}

impl Section<'_> {
    pub(crate) fn at(&self, pos: usize, big: bool) -> Cursor<'_> {
        Cursor::new(&self.data, pos, big, self.name)
    }

    /// The zero-terminated string at `offset`, cut at [`LONGEST_NAME`].
    pub(crate) fn string(&self, offset: u64, big: bool) -> Result<&[u8]> {
        let pos = usize::try_from(offset).unwrap_or(usize::MAX);
        match self.data.get(pos..).and_then(|rest| rest.get(..LONGEST_NAME)) {
            Some(start) if !start.contains(&0) => Ok(start),
            _ => self.at(pos, big).cstr(),
        }
    }
}

/// The debug sections of a file.
pub(crate) struct Sections<'d> {
    pub(crate) info: Section<'d>,
    pub(crate) types: Section<'d>,
    pub(crate) abbrev: Section<'d>,
    pub(crate) str: Section<'d>,
    pub(crate) line_str: Section<'d>,
    pub(crate) str_offsets: Section<'d>,
    pub(crate) addr: Section<'d>,
    pub(crate) loc: Section<'d>,
    pub(crate) loclists: Section<'d>,
    pub(crate) ranges: Section<'d>,
    pub(crate) rnglists: Section<'d>,
    pub(crate) big: bool,
}

/// What the machine's calling convention puts where (`e_machine`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) address_size: u8,
    /// DWARF numbers of the registers that carry the first parameters, in order.
    pub(crate) parameter_registers: &'static [u16],
    /// A structure of up to two registers is passed in them.
    pub(crate) pairs: bool,
}

fn machine(elf_machine: object::elf::Machine, is_64: bool) -> Machine {
    use object::elf;
    let parameter_registers: &[u16] = match elf_machine {
        // System V AMD64: rdi, rsi, rdx, rcx, r8, r9
        elf::EM_X86_64 => &[5, 4, 1, 2, 8, 9],
        // s390x ABI: r2 … r6
        elf::EM_S390 => &[2, 3, 4, 5, 6],
        // AAPCS64: x0 … x7
        elf::EM_AARCH64 => &[0, 1, 2, 3, 4, 5, 6, 7],
        // AAPCS32: r0 … r3
        elf::EM_ARM => &[0, 1, 2, 3],
        // ELFv2: r3 … r10
        elf::EM_PPC64 => &[3, 4, 5, 6, 7, 8, 9, 10],
        // LP64D: a0 … a7 are x10 … x17
        elf::EM_RISCV => &[10, 11, 12, 13, 14, 15, 16, 17],
        // LoongArch: a0 … a7 are r4 … r11
        elf::EM_LOONGARCH => &[4, 5, 6, 7, 8, 9, 10, 11],
        _ => &[],
    };
    Machine { address_size: if is_64 { 8 } else { 4 }, parameter_registers, pairs: elf_machine != elf::EM_S390 }
}

/// One ELF file of the input.
pub(crate) struct File<'d> {
    pub(crate) sections: Sections<'d>,
    pub(crate) symbols: Symbols<'d>,
    pub(crate) text: Text,
    pub(crate) kfuncs: FxHashMap<&'d [u8], Kfunc>,
    pub(crate) machine: Machine,
    pub(crate) build_id: Option<&'d [u8]>,
    /// Name and build-id of the supplementary file, from `.gnu_debugaltlink` or `.debug_sup`.
    pub(crate) supplementary: Option<String>,
}

impl<'d> File<'d> {
    pub(crate) fn parse(data: &'d [u8], supplementary: bool, decompress: &Decompress<'_>) -> Result<File<'d>> {
        match object::FileKind::parse(data)? {
            object::FileKind::Elf64 => {
                Self::parse_elf::<object::elf::FileHeader64<object::Endianness>>(data, supplementary, decompress)
            }
            object::FileKind::Elf32 => {
                Self::parse_elf::<object::elf::FileHeader32<object::Endianness>>(data, supplementary, decompress)
            }
            kind => Err(Error::Malformed {
                section: SectionName { name: "file header", supplementary },
                offset: 0,
                what: format!("not an elf file but {kind:?}"),
            }),
        }
    }

    fn parse_elf<Elf: FileHeader<Endian = object::Endianness>>(
        data: &'d [u8],
        supplementary: bool,
        decompress: &Decompress<'_>,
    ) -> Result<File<'d>> {
        let elf = ElfFile::<Elf>::parse(data)?;
        let big = !elf.is_little_endian();
        let places = Places::new(&elf);
        let get = |name: &'static str| section(&elf, name, supplementary, decompress, &places);
        let sections = Sections {
            info: get(".debug_info")?,
            types: get(".debug_types")?,
            abbrev: get(".debug_abbrev")?,
            str: get(".debug_str")?,
            line_str: get(".debug_line_str")?,
            str_offsets: get(".debug_str_offsets")?,
            addr: get(".debug_addr")?,
            loc: get(".debug_loc")?,
            loclists: get(".debug_loclists")?,
            ranges: get(".debug_ranges")?,
            rnglists: get(".debug_rnglists")?,
            big,
        };
        let link = elf.gnu_debugaltlink().ok().flatten();
        let sup = elf.section_by_name(".debug_sup").and_then(|section| section.data().ok());
        let supplementary = match (link, sup) {
            (Some((name, _)), _) => Some(String::from_utf8_lossy(name).into_owned()),
            // version (2 bytes), is_supplementary (1 byte), file name (DWARF 5, 7.3.6)
            (None, Some(data)) if data.get(2) == Some(&0) => Some(
                String::from_utf8_lossy(data[3..].split(|&byte| byte == 0).next().unwrap_or_default()).into_owned(),
            ),
            _ => None,
        };
        let e_machine = elf.elf_header().e_machine(elf.endian());
        Ok(File {
            sections,
            symbols: Symbols::read(&elf, &places),
            text: Text::read(&elf),
            kfuncs: kfuncs(&elf),
            machine: machine(e_machine, elf.is_64()),
            build_id: elf.build_id().ok().flatten(),
            supplementary,
        })
    }
}

fn section<'d, Elf: FileHeader<Endian = object::Endianness>>(
    elf: &ElfFile<'d, Elf>,
    name: &'static str,
    supplementary: bool,
    decompress: &Decompress<'_>,
    places: &Places,
) -> Result<Section<'d>> {
    let label = SectionName { name, supplementary };
    let with_name = |wanted: &[u8]| -> Vec<_> {
        elf.sections().filter(|section| section.name_bytes().is_ok_and(|name| name == wanted)).collect()
    };
    let mut found = with_name(name.as_bytes());
    if found.is_empty()
        && let Some(rest) = name.as_bytes().strip_prefix(b".debug_")
    {
        // the older way to say that a section is compressed: .zdebug_info
        found = with_name(&[b".zdebug_", rest].concat());
    }
    let data = match found.as_slice() {
        [] => Cow::Borrowed([].as_slice()),
        [one] => contents(elf, one, label, decompress, places)?,
        several if elf.kind() == object::ObjectKind::Relocatable => {
            let mut all = Vec::new();
            let mut in_file = 0u64;
            for part in several {
                in_file = in_file.saturating_add(part.size());
                if in_file > elf.data().len() as u64 {
                    let what = "the sections of this name are larger than the file".to_owned();
                    return Err(Error::Malformed { section: label, offset: all.len() as u64, what });
                }
                all.extend_from_slice(&contents(elf, part, label, decompress, places)?);
            }
            Cow::Owned(all)
        }
        [one, ..] => contents(elf, one, label, decompress, places)?,
    };
    Ok(Section { name: label, data })
}

/// What is in one section, unpacked and relocated.
fn contents<'d, Elf: FileHeader<Endian = object::Endianness>>(
    elf: &ElfFile<'d, Elf>,
    found: &object::read::elf::ElfSection<'d, '_, Elf>,
    label: SectionName,
    decompress: &Decompress<'_>,
    places: &Places,
) -> Result<Cow<'d, [u8]>> {
    let failed = |reason: String| Error::Decompress { section: label, reason };
    let range = found.compressed_data()?;
    let mut data = match range.format {
        object::CompressionFormat::None => Cow::Borrowed(range.data),
        format => {
            let format = match format {
                object::CompressionFormat::Zlib => Compression::Zlib,
                object::CompressionFormat::Zstandard => Compression::Zstd,
                other => return Err(failed(format!("unknown compression {other:?}"))),
            };
            let size = usize::try_from(range.uncompressed_size)
                .ok()
                // no compressor of elf sections reaches a ratio of 1,100 (deflate's limit is 1,032)
                .filter(|&size| size / 1_100 <= range.data.len())
                .ok_or_else(|| failed(format!("implausible size {} when unpacked", range.uncompressed_size)))?;
            let unpacked = decompress(format, range.data, size).map_err(failed)?;
            if unpacked.len() != size {
                return Err(failed(format!("{} bytes where the header says {size}", unpacked.len())));
            }
            Cow::Owned(unpacked)
        }
    };
    if elf.kind() == object::ObjectKind::Relocatable {
        relocate(elf, found, label, &mut data, places)?;
    }
    Ok(data)
}

/// Applies the relocations of a section of a relocatable file (a kernel module). In an executable that kept its
/// `.rela.debug_*` sections (Debian's 5.10 and 6.1 vmlinux), the values are already in place.
fn relocate<'d, Elf: FileHeader<Endian = object::Endianness>>(
    elf: &ElfFile<'d, Elf>,
    section: &object::read::elf::ElfSection<'d, '_, Elf>,
    label: SectionName,
    data: &mut Cow<'d, [u8]>,
    places: &Places,
) -> Result<()> {
    let big = !elf.is_little_endian();
    for (offset, relocation) in section.relocations() {
        let bytes = usize::from(relocation.size()) / 8;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if relocation.kind() != RelocationKind::Absolute || !matches!(bytes, 4 | 8) {
            continue;
        }
        let symbol = match relocation.target() {
            RelocationTarget::Symbol(index) => elf.symbol_by_index(index).map_or(0, |symbol| places.address(&symbol)),
            RelocationTarget::Section(index) => places.section(index),
            _ => 0,
        };
        let Some(place) = at.checked_add(bytes).and_then(|end| data.to_mut().get_mut(at..end)) else {
            let what = "a relocation that lies outside of the section".to_owned();
            return Err(Error::Malformed { section: label, offset, what });
        };
        let mut value = symbol.wrapping_add(relocation.addend() as u64);
        if relocation.has_implicit_addend() {
            value = value.wrapping_add(match (bytes, big) {
                (4, false) => u64::from(u32::from_le_bytes([place[0], place[1], place[2], place[3]])),
                (4, true) => u64::from(u32::from_be_bytes([place[0], place[1], place[2], place[3]])),
                (_, false) => place.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
                (_, true) => place.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)),
            });
        }
        match (bytes, big) {
            (4, false) => place.copy_from_slice(&(value as u32).to_le_bytes()),
            (4, true) => place.copy_from_slice(&(value as u32).to_be_bytes()),
            (_, false) => place.copy_from_slice(&value.to_le_bytes()),
            (_, true) => place.copy_from_slice(&value.to_be_bytes()),
        }
    }
    Ok(())
}
