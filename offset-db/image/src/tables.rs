//! Where in a file its tables are: who reads no more of it can read symbols and notes all the same.

use crate::{FileOffset, Image, Section};
use object::read::elf::FileHeader;
use object::{Endianness, elf};

/// Where the tables of segments and of sections are, by a file's begin: offset, bytes. Of a file with more sections than its header
/// can tell, the first section's header has to be there for all of the table. `None`: it is no ELF file.
#[must_use]
pub fn header_tables(data: &[u8]) -> Option<[(FileOffset, u64); 2]> {
    match elf::FileClass(*data.get(4)?) {
        elf::ELFCLASS64 => of_class::<elf::FileHeader64<Endianness>>(data),
        elf::ELFCLASS32 => of_class::<elf::FileHeader32<Endianness>>(data),
        _ => None,
    }
}

fn of_class<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> Option<[(FileOffset, u64); 2]> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let table = |offset: H::Word, count: Option<u64>, each: usize| {
        (FileOffset(offset.into()), count.unwrap_or(1).max(1).saturating_mul(each as u64))
    };
    // where there are more than 16 bits can count, the first section's header has the number
    let segments = header.phnum(endian, data).ok().map(u64::from);
    let sections = header.shnum(endian, data).ok().map(u64::from);
    Some([
        table(header.e_phoff(endian), segments, size_of::<H::ProgramHeader>()),
        table(header.e_shoff(endian), sections, size_of::<H::SectionHeader>()),
    ])
}

impl Image<'_> {
    /// Where in the file that is, besides the header tables, which notes and symbols are read from: offset, bytes.
    #[must_use]
    pub fn tables(&self) -> Vec<(FileOffset, u64)> {
        let is_table = |section: &&Section<'_>| {
            let kind = elf::SectionType(section.kind);
            matches!(kind, elf::SHT_STRTAB | elf::SHT_SYMTAB | elf::SHT_DYNSYM | elf::SHT_NOTE)
                && !section.data.is_empty()
        };
        let sections = self.sections.iter().filter(is_table).map(|section| (section.offset, section.size));
        let begin = self.data.as_ptr() as usize;
        let place = |note: &&[u8]| (FileOffset((note.as_ptr() as usize - begin) as u64), note.len() as u64);
        self.notes.iter().map(place).chain(sections).collect()
    }
}
