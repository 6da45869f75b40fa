//! An ELF file as user probes need it: where its addresses lie in the file, its sections, its build-ids, its functions' symbols.
//!
//! Bytes in, values out: the crate opens no file. Every reader checks its bounds, for the files are anybody's.
//!
//! ```no_run
//! let bytes = std::fs::read("/usr/lib/x86_64-linux-gnu/libssl.so.3").unwrap();
//! let image = image::Image::parse(&bytes).unwrap();
//! let function = image.functions().find(|symbol| symbol.name == b"SSL_write").unwrap();
//! println!("{:#x}", image.file_offset(function.address).unwrap().0);
//! ```
#![forbid(unsafe_code)]

mod error;
mod notes;
mod symbols;
mod tables;

pub use error::{Error, Result};
pub use notes::BuildIds;
pub use symbols::{Symbol, Table};
pub use tables::header_tables;

use object::read::elf::{FileHeader, ProgramHeader, Rel, Rela, SectionHeader, SectionTable};
use object::{Endianness, elf};

/// An address in the memory of a process that loads the file at 0, as symbols and instructions have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtualAddress(pub u64);

/// Bytes from the begin of the file: what the kernel wants of a uprobe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileOffset(pub u64);

/// The instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Machine {
    /// x86-64: `EM_X86_64`, 64 bits.
    X86_64,
    /// AArch64: `EM_AARCH64`.
    Aarch64,
    /// Another, by `e_machine`.
    Other(u16),
}

impl Machine {
    /// Its name, as the kernel has it (`uname -m`), or `e_machine` in decimal.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Machine::X86_64 => "x86_64".to_owned(),
            Machine::Aarch64 => "aarch64".to_owned(),
            Machine::Other(number) if number == elf::EM_386.0 => "i686".to_owned(),
            Machine::Other(number) if number == elf::EM_ARM.0 => "armv7l".to_owned(),
            Machine::Other(number) if number == elf::EM_S390.0 => "s390x".to_owned(),
            Machine::Other(number) if number == elf::EM_PPC64.0 => "ppc64".to_owned(),
            Machine::Other(number) if number == elf::EM_RISCV.0 => "riscv64".to_owned(),
            Machine::Other(number) => number.to_string(),
        }
    }
}

/// What is loaded of the file (`PT_LOAD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is loaded.
    pub address: VirtualAddress,
    /// Where it is in the file.
    pub offset: FileOffset,
    /// Bytes of it in the file.
    pub size: u64,
    /// Whether it is executed (`PF_X`).
    pub executable: bool,
    /// Whether it is written (`PF_W`).
    pub writable: bool,
}

/// A section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'d> {
    /// Its name, without the terminating zero.
    pub name: &'d [u8],
    /// Where it is loaded; 0 if it is not.
    pub address: VirtualAddress,
    /// Where it is in the file.
    pub offset: FileOffset,
    /// Its bytes in memory (`sh_size`).
    pub size: u64,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// `sh_link`.
    pub link: u32,
    /// What it holds, empty for `SHT_NOBITS` and where it is not in the file.
    pub data: &'d [u8],
}

impl Section<'_> {
    /// Whether it is loaded and neither written nor executed: texts and numbers.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        let all = elf::SHF_WRITE.0 | elf::SHF_ALLOC.0 | elf::SHF_EXECINSTR.0;
        self.flags & all == elf::SHF_ALLOC.0
    }
}

/// The most segments: Linux loads no file whose table of them has more than 64 KiB (`load_elf_phdrs` of fs/binfmt_elf.c).
const MOST_SEGMENTS: u64 = 2048;

/// The most sections: objects with one for each function have some 100,000.
const MOST_SECTIONS: u64 = 1 << 20;

/// A file, parsed as far as its tables.
#[derive(Clone, Debug)]
pub struct Image<'d> {
    data: &'d [u8],
    machine: Machine,
    endian: Endianness,
    is_64: bool,
    /// `e_type`: `ET_EXEC`, `ET_DYN`, `ET_REL`.
    kind: u16,
    segments: Vec<Segment>,
    sections: Vec<Section<'d>>,
    notes: Vec<&'d [u8]>,
}

impl<'d> Image<'d> {
    /// Reads the header and the tables of segments and sections.
    ///
    /// # Errors
    /// The file is no ELF file, or a table lies outside of it.
    pub fn parse(data: &'d [u8]) -> Result<Image<'d>> {
        if data.len() < 16 || data[..4] != elf::ELFMAG {
            return Err(Error::NoElf { size: data.len() as u64 });
        }
        match elf::FileClass(data[4]) {
            elf::ELFCLASS64 => Self::parse_class::<elf::FileHeader64<Endianness>>(data),
            elf::ELFCLASS32 => Self::parse_class::<elf::FileHeader32<Endianness>>(data),
            class => Err(Error::Class { class: class.0 }),
        }
    }

    fn parse_class<H: FileHeader<Endian = Endianness>>(data: &'d [u8]) -> Result<Image<'d>> {
        let header = H::parse(data).map_err(|error| Error::table("ELF header", 0, error))?;
        let endian = header.endian().map_err(|error| Error::table("ELF header", 4, error))?;
        let machine = match header.e_machine(endian) {
            elf::EM_X86_64 if elf::FileClass(data[4]) == elf::ELFCLASS64 => Machine::X86_64,
            elf::EM_AARCH64 if elf::FileClass(data[4]) == elf::ELFCLASS64 => Machine::Aarch64,
            other => Machine::Other(other.0),
        };
        let at = header.e_phoff(endian).into();
        let headers =
            header.program_headers(endian, data).map_err(|error| Error::table("program headers", at, error))?;
        limit("program headers", at, headers.len(), MOST_SEGMENTS)?;
        let at = header.e_shoff(endian).into();
        let table = header.sections(endian, data).map_err(|error| Error::table("section headers", at, error))?;
        limit("section headers", at, table.len(), MOST_SECTIONS)?;
        let mut image = Image {
            data,
            machine,
            endian,
            is_64: elf::FileClass(data[4]) == elf::ELFCLASS64,
            kind: header.e_type(endian).0,
            segments: Vec::new(),
            sections: sections::<H>(&table, endian, data),
            notes: Vec::new(),
        };
        for segment in headers {
            let (offset, size) = (segment.p_offset(endian).into(), segment.p_filesz(endian).into());
            let address = VirtualAddress(segment.p_vaddr(endian).into());
            let flags = segment.p_flags(endian);
            match segment.p_type(endian) {
                elf::PT_LOAD => image.segments.push(Segment {
                    address,
                    offset: FileOffset(offset),
                    size,
                    executable: flags.0 & elf::PF_X.0 != 0,
                    writable: flags.0 & elf::PF_W.0 != 0,
                }),
                elf::PT_NOTE => image.notes.extend(slice(data, offset, size)),
                _ => {}
            }
        }
        image.segments.sort_by_key(|segment| segment.address);
        for section in &image.sections {
            if section.kind == elf::SHT_NOTE.0 && !section.data.is_empty() {
                image.notes.push(section.data);
            }
        }
        Ok(image)
    }

    /// The whole file.
    #[must_use]
    pub fn data(&self) -> &'d [u8] {
        self.data
    }

    /// The instruction set.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// Whether numbers in it begin with their least byte.
    #[must_use]
    pub fn is_little_endian(&self) -> bool {
        self.endian == Endianness::Little
    }

    /// Whether addresses have 64 bits.
    #[must_use]
    pub fn is_64(&self) -> bool {
        self.is_64
    }

    /// Whether it is loaded: a program or a library, no relocatable object and no core.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        [elf::ET_EXEC.0, elf::ET_DYN.0].contains(&self.kind) && !self.segments.is_empty()
    }

    /// What is loaded of it, in order of address.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Its sections, in the table's order; none where the table was removed.
    #[must_use]
    pub fn sections(&self) -> &[Section<'d>] {
        &self.sections
    }

    /// The first section of a name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section<'d>> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// Where in the file an address is loaded from. `None`: from no byte of it.
    #[must_use]
    pub fn file_offset(&self, address: VirtualAddress) -> Option<FileOffset> {
        let segment = self.segment_of(address)?;
        segment.offset.0.checked_add(address.0 - segment.address.0).map(FileOffset)
    }

    /// The bytes from an address to the end of its segment, empty where nothing is loaded.
    #[must_use]
    pub fn bytes_from(&self, address: VirtualAddress) -> &'d [u8] {
        self.segment_of(address)
            .and_then(|segment| {
                let within = address.0 - segment.address.0;
                slice(self.data, segment.offset.0.checked_add(within)?, segment.size - within)
            })
            .unwrap_or_default()
    }

    /// The bytes of a function or an object, `None` where they are not all loaded from the file.
    #[must_use]
    pub fn bytes_at(&self, address: VirtualAddress, size: u64) -> Option<&'d [u8]> {
        self.bytes_from(address).get(..usize::try_from(size).ok()?)
    }

    /// Whether an address lies in code.
    #[must_use]
    pub fn is_code(&self, address: VirtualAddress) -> bool {
        self.segment_of(address).is_some_and(|segment| segment.executable)
    }

    fn segment_of(&self, address: VirtualAddress) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.address <= address);
        self.segments[..after].iter().rev().find(|segment| address.0 - segment.address.0 < segment.size)
    }

    /// Words of data that the dynamic linker sets to addresses of the file itself (`R_*_RELATIVE`, `DT_RELR`, and symbols that
    /// the file defines): where, and to what; in order of place. Only where sections are named.
    #[must_use]
    pub fn pointers(&self) -> Vec<(VirtualAddress, VirtualAddress)> {
        let mut found = match (self.is_64, self.endian) {
            (true, endian) => self.pointers_of::<elf::FileHeader64<Endianness>>(endian),
            (false, endian) => self.pointers_of::<elf::FileHeader32<Endianness>>(endian),
        };
        found.sort_unstable();
        found.dedup();
        found
    }

    fn pointers_of<H: FileHeader<Endian = Endianness>>(
        &self,
        endian: Endianness,
    ) -> Vec<(VirtualAddress, VirtualAddress)> {
        let mut found = Vec::new();
        let relocates = |section: &&Section<'d>| {
            matches!(elf::SectionType(section.kind), elf::SHT_RELA | elf::SHT_REL | elf::SHT_RELR)
        };
        for section in self.apart(relocates) {
            match elf::SectionType(section.kind) {
                elf::SHT_RELA => {
                    let entries: &[H::Rela] = object::slice_from_all_bytes(section.data).unwrap_or_default();
                    for entry in entries {
                        let symbol = entry.r_sym(endian, false);
                        let mut to: i64 = entry.r_addend(endian).into();
                        if symbol != 0 {
                            let Some(address) = self.dynamic_symbol_at(section.link, symbol as usize) else { continue };
                            to = to.wrapping_add(address as i64);
                        } else if !is_relative(self.machine, entry.r_type(endian, false)) {
                            continue;
                        }
                        found.push((VirtualAddress(entry.r_offset(endian).into()), VirtualAddress(to as u64)));
                    }
                }
                elf::SHT_REL => {
                    let entries: &[H::Rel] = object::slice_from_all_bytes(section.data).unwrap_or_default();
                    for entry in entries.iter().filter(|entry| is_relative(self.machine, entry.r_type(endian))) {
                        let place = VirtualAddress(entry.r_offset(endian).into());
                        found.extend(self.word_at(place).map(|to| (place, VirtualAddress(to))));
                    }
                }
                elf::SHT_RELR => self.packed_pointers(section.data, &mut found),
                _ => {}
            }
        }
        found
    }

    /// Sections of a kind. Where they overlap, only as many as there are bytes in the file: who has it read over and over means no
    /// good.
    pub(crate) fn apart(&self, is_it: impl Fn(&&Section<'d>) -> bool) -> impl Iterator<Item = &Section<'d>> {
        let mut left = self.data.len();
        self.sections.iter().filter(is_it).take_while(move |section| {
            let fits = section.data.len() <= left;
            left = left.saturating_sub(section.data.len());
            fits
        })
    }

    /// `SHT_RELR`: an address, then bitmaps of the words behind it.
    fn packed_pointers(&self, data: &[u8], found: &mut Vec<(VirtualAddress, VirtualAddress)>) {
        let size = if self.is_64 { 8 } else { 4 };
        let mut next = 0u64;
        // no word has two
        let most = found.len() + self.data.len() / size;
        for entry in data.chunks_exact(size).map(|bytes| self.number(bytes)) {
            if found.len() > most {
                break;
            }
            if entry & 1 == 0 {
                found.extend(self.word_at(VirtualAddress(entry)).map(|to| (VirtualAddress(entry), VirtualAddress(to))));
                next = entry.wrapping_add(size as u64);
                continue;
            }
            for bit in (0..size as u64 * 8 - 1).filter(|bit| entry >> (bit + 1) & 1 == 1) {
                let place = VirtualAddress(next.wrapping_add(bit * size as u64));
                found.extend(self.word_at(place).map(|to| (place, VirtualAddress(to))));
            }
            next = next.wrapping_add((size as u64 * 8 - 1) * size as u64);
        }
    }

    /// A number of one to eight bytes.
    #[must_use]
    pub fn number(&self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match self.endian {
            Endianness::Little => bytes.iter().rev().fold(0, add),
            Endianness::Big => bytes.iter().fold(0, add),
        }
    }

    /// The address-sized number at an address.
    #[must_use]
    pub fn word_at(&self, address: VirtualAddress) -> Option<u64> {
        self.bytes_at(address, if self.is_64 { 8 } else { 4 }).map(|bytes| self.number(bytes))
    }
}

fn is_relative(machine: Machine, kind: elf::RelocationType) -> bool {
    match machine {
        Machine::X86_64 => kind == elf::R_X86_64_RELATIVE || kind == elf::R_X86_64_IRELATIVE,
        Machine::Aarch64 => kind == elf::R_AARCH64_RELATIVE || kind == elf::R_AARCH64_IRELATIVE,
        Machine::Other(number) if number == elf::EM_386.0 => kind == elf::R_386_RELATIVE,
        Machine::Other(number) if number == elf::EM_ARM.0 => kind == elf::R_ARM_RELATIVE,
        Machine::Other(_) => false,
    }
}

fn sections<'d, H: FileHeader<Endian = Endianness>>(
    table: &SectionTable<'d, H>,
    endian: Endianness,
    data: &'d [u8],
) -> Vec<Section<'d>> {
    let section = |header: &'d H::SectionHeader| Section {
        name: table.section_name(endian, header).unwrap_or_default(),
        address: VirtualAddress(header.sh_addr(endian).into()),
        offset: FileOffset(header.sh_offset(endian).into()),
        size: header.sh_size(endian).into(),
        kind: header.sh_type(endian).0,
        flags: header.sh_flags(endian).0,
        link: header.sh_link(endian),
        data: header.data(endian, data).unwrap_or_default(),
    };
    table.iter().map(section).collect()
}

fn limit(table: &'static str, offset: u64, count: usize, most: u64) -> Result<()> {
    let count = count as u64;
    if count > most { Err(Error::Count { table, offset, count, most }) } else { Ok(()) }
}

/// Bytes of the file, `None` where it is too short.
fn slice(data: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let begin = usize::try_from(offset).ok()?;
    data.get(begin..begin.checked_add(usize::try_from(size).ok()?)?)
}
