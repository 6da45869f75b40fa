//! `.BTF.ext`: what a BPF object says about its instructions: the function each belongs to, its source line, and its
//! CO-RE relocations.
//!
//! ```text
//! header   magic u16, version u8 = 1, flags u8, hdr_len u32,
//!          func_info_off u32, func_info_len u32, line_info_off u32, line_info_len u32
//!          [core_relo_off u32, core_relo_len u32]        offsets count from the header's end
//! table    record_size u32, then per code section:
//!          section name u32 (in .BTF's strings), number of records u32, the records, each record_size bytes
//! ```
//!
//! Records may be longer than the fields known here; the rest is skipped. Source: `Documentation/bpf/btf.rst`, and
//! `btf_ext_parse` in libbpf's `btf.c` for what is refused.

use crate::error::{Error, Result};
use crate::raw::{ByteOffset, Endian, StrOffset, TypeId};

/// Where errors say that they come from.
pub const SECTION: &str = ".BTF.ext";

/// A parsed `.BTF.ext` section. Its records are decoded when they are asked for.
#[derive(Debug, Clone)]
pub struct BtfExt<'a> {
    functions: Table<'a>,
    lines: Table<'a>,
    relocations: Table<'a>,
}

/// The function that starts at an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Byte offset of the function's first instruction in its section.
    pub offset: ByteOffset,
    /// The `FUNC`.
    pub type_id: TypeId,
}

/// The source line from which an instruction, and those after it, was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineInfo {
    /// Byte offset of the instruction in its section.
    pub offset: ByteOffset,
    /// Name of the file.
    pub file: StrOffset,
    /// Text of the line.
    pub text: StrOffset,
    /// Line number, from 1; 0 where the compiler did not know.
    pub line: u32,
    /// Column, from 1; 0 where the compiler did not know.
    pub column: u32,
}

/// A CO-RE relocation as recorded, `struct bpf_core_relo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelocationRecord {
    /// Byte offset of the instruction in its section.
    pub offset: ByteOffset,
    /// The local root type.
    pub type_id: TypeId,
    /// The access string, such as `0:1:2`.
    pub access: StrOffset,
    /// The kind as a number, `enum bpf_core_relo_kind`.
    pub kind: u32,
}

/// The records of one code section.
#[derive(Debug, Clone)]
pub struct SectionRecords<'a, R> {
    /// Name of the code section, in the strings of `.BTF`.
    pub name: StrOffset,
    records: &'a [u8],
    record_size: usize,
    endian: Endian,
    decode: fn(&[u8], Endian) -> R,
}

impl<'a, R> SectionRecords<'a, R> {
    /// The records, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = R> + 'a
    where
        R: 'a,
    {
        let (endian, decode) = (self.endian, self.decode);
        self.records.chunks_exact(self.record_size).map(move |record| decode(record, endian))
    }
}

/// One of the three tables: checked, not decoded.
#[derive(Debug, Clone)]
struct Table<'a> {
    record_size: usize,
    endian: Endian,
    /// Each code section's name and its records.
    sections: Vec<(StrOffset, &'a [u8])>,
}

impl<'a> Table<'a> {
    fn empty(endian: Endian) -> Table<'a> {
        Table { record_size: 1, endian, sections: Vec::new() }
    }

    fn sections<'t, R: 't>(
        &'t self,
        decode: fn(&[u8], Endian) -> R,
    ) -> impl ExactSizeIterator<Item = SectionRecords<'a, R>> + 't {
        let (record_size, endian) = (self.record_size, self.endian);
        self.sections.iter().map(move |&(name, records)| SectionRecords { name, records, record_size, endian, decode })
    }
}

impl<'a> BtfExt<'a> {
    /// Checks the header and the shape of the three tables of a whole `.BTF.ext` section.
    ///
    /// # Errors
    /// [`Error::Format`] with the offset in `.BTF.ext`: wrong magic, version or flags, a table or record list that does
    /// not fit, a record size below what is known or not a multiple of 4, an empty table.
    pub fn parse(data: &'a [u8]) -> Result<BtfExt<'a>> {
        let malformed = |offset: usize, reason: String| Err(Error::format(SECTION, offset, reason));
        let endian = match data {
            [0x9f, 0xeb, ..] => Endian::Little,
            [0xeb, 0x9f, ..] => Endian::Big,
            _ => return malformed(0, "the magic number is not 0xeb9f".to_owned()),
        };
        let field =
            |at: usize| endian.u32_at(data, at).ok_or_else(|| Error::format(SECTION, at, "the header is cut off"));
        let header_length = field(4)?;
        let [_, _, version, flags, ..] = *data else {
            return malformed(2, "the header is cut off".to_owned());
        };
        if version != 1 {
            return malformed(2, format!("version {version} is not 1"));
        }
        if flags != 0 {
            return malformed(3, format!("unknown flags {flags:#x}"));
        }
        if header_length < 24 {
            return malformed(4, format!("a header of {header_length} bytes is shorter than 24"));
        }
        if header_length as usize >= data.len() {
            return malformed(4, format!("a header of {header_length} bytes in a section of {}", data.len()));
        }
        let table = |name: &str, at: usize, least: u32| -> Result<Table<'a>> {
            let place = Place { name, field: at, offset: field(at)?, length: field(at + 4)? };
            parse_table(data, header_length, &place, least, endian)
        };
        Ok(BtfExt {
            functions: table("func_info", 8, 8)?,
            lines: table("line_info", 16, 16)?,
            relocations: if header_length >= 32 { table("core_relo", 24, 16)? } else { Table::empty(endian) },
        })
    }

    /// The functions, by code section.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = SectionRecords<'a, FunctionInfo>> + '_ {
        self.functions.sections(|record, endian| FunctionInfo {
            offset: ByteOffset(word(record, 0, endian)),
            type_id: TypeId(word(record, 1, endian)),
        })
    }

    /// The source lines, by code section.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = SectionRecords<'a, LineInfo>> + '_ {
        self.lines.sections(|record, endian| {
            let line = word(record, 3, endian);
            LineInfo {
                offset: ByteOffset(word(record, 0, endian)),
                file: StrOffset(word(record, 1, endian)),
                text: StrOffset(word(record, 2, endian)),
                line: line >> 10,
                column: line & 0x3ff,
            }
        })
    }

    /// The CO-RE relocations, by code section.
    pub fn relocations(&self) -> impl ExactSizeIterator<Item = SectionRecords<'a, RelocationRecord>> + '_ {
        self.relocations.sections(|record, endian| RelocationRecord {
            offset: ByteOffset(word(record, 0, endian)),
            type_id: TypeId(word(record, 1, endian)),
            access: StrOffset(word(record, 2, endian)),
            kind: word(record, 3, endian),
        })
    }
}

/// The nth 32-bit word of a record, whose length was checked when the table was parsed.
fn word(record: &[u8], n: usize, endian: Endian) -> u32 {
    let bytes = record.get(n * 4..n * 4 + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    match endian {
        Endian::Little => u32::from_le_bytes(bytes),
        Endian::Big => u32::from_be_bytes(bytes),
    }
}

/// Where the header says that a table is.
struct Place<'n> {
    name: &'n str,
    /// Where in the header that is said.
    field: usize,
    /// From the end of the header.
    offset: u32,
    length: u32,
}

fn parse_table<'a>(
    data: &'a [u8],
    header_length: u32,
    place: &Place<'_>,
    least: u32,
    endian: Endian,
) -> Result<Table<'a>> {
    let &Place { name, field, offset, length } = place;
    let malformed = |offset: usize, reason: String| Err(Error::format(SECTION, offset, reason));
    if length == 0 {
        return Ok(Table::empty(endian));
    }
    if !offset.is_multiple_of(4) {
        return malformed(field, format!("{name} at offset {offset}, not a multiple of 4"));
    }
    let start = u64::from(header_length) + u64::from(offset);
    let end = start + u64::from(length);
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
        return malformed(field, format!("{name} ends at {end}"));
    };
    let Some(table) = data.get(..end) else {
        return malformed(field, format!("{name} ends at {end} of {} bytes", data.len()));
    };
    let word =
        |at: usize| endian.u32_at(table, at).ok_or_else(|| Error::format(SECTION, at, format!("{name} is cut off")));
    let record_size = word(start)?;
    if record_size < least || !record_size.is_multiple_of(4) {
        return malformed(start, format!("{name} records of {record_size} bytes, expected {least} or more, by 4"));
    }
    let record_size = record_size as usize;
    let mut sections = Vec::new();
    let mut at = start + 4;
    if at == end {
        return malformed(start, format!("{name} has no records"));
    }
    while at < end {
        let section = StrOffset(word(at)?);
        let count = word(at + 4)?;
        if count == 0 {
            return malformed(at + 4, format!("{name} has a section without a record"));
        }
        let first = at + 8;
        let records =
            (count as usize).checked_mul(record_size).and_then(|bytes| table.get(first..first.checked_add(bytes)?));
        let Some(records) = records else {
            let reason = format!("{name}: {count} records of {record_size} bytes exceed the {} left", end - first);
            return malformed(at + 4, reason);
        };
        sections.push((section, records));
        at = first + records.len();
    }
    Ok(Table { record_size, endian, sections })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section with one table each; the relocation records are `extra` bytes longer than known.
    fn sample(endian: Endian, extra: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let mut places = Vec::new();
        let mut table = |record_size: usize, words: &[u32]| {
            let start = body.len() as u32;
            let mut put = |word: u32| body.extend(endian.u32_bytes(word));
            put(record_size as u32);
            put(7);
            put(1);
            words.iter().for_each(|&word| put(word));
            body.resize(start as usize + 12 + record_size, 0xaa);
            places.push((start, body.len() as u32 - start));
        };
        table(8, &[0, 3]);
        table(16, &[8, 1, 2, 5 << 10 | 9]);
        table(16 + extra, &[16, 4, 11, 2]);
        let mut data = endian.u16_bytes(0xeb9f).to_vec();
        data.extend([1, 0]);
        data.extend(endian.u32_bytes(32));
        for (offset, length) in places {
            data.extend(endian.u32_bytes(offset));
            data.extend(endian.u32_bytes(length));
        }
        data.extend(body);
        data
    }

    #[test]
    fn both_byte_orders_and_longer_records() {
        for endian in [Endian::Little, Endian::Big] {
            for extra in [0, 4, 12] {
                let data = sample(endian, extra);
                let ext = BtfExt::parse(&data).unwrap();
                let section = ext.functions().next().unwrap();
                assert_eq!(section.name, StrOffset(7));
                assert_eq!(
                    section.iter().collect::<Vec<_>>(),
                    [FunctionInfo { offset: ByteOffset(0), type_id: TypeId(3) }]
                );
                let lines = ext.lines().next().unwrap().iter().collect::<Vec<_>>();
                let expected =
                    LineInfo { offset: ByteOffset(8), file: StrOffset(1), text: StrOffset(2), line: 5, column: 9 };
                assert_eq!(lines, [expected]);
                let relocations = ext.relocations().next().unwrap().iter().collect::<Vec<_>>();
                let expected =
                    RelocationRecord { offset: ByteOffset(16), type_id: TypeId(4), access: StrOffset(11), kind: 2 };
                assert_eq!(relocations, [expected]);
            }
        }
    }

    #[test]
    fn a_header_without_relocations_has_none() {
        let mut data = sample(Endian::Little, 0);
        data.drain(24..32);
        data[4] = 24;
        let ext = BtfExt::parse(&data).unwrap();
        assert_eq!(ext.relocations().len(), 0);
        assert_eq!(ext.lines().len(), 1);
    }

    #[test]
    fn malformed_input_is_refused_with_its_place() {
        let check = |edit: fn(&mut Vec<u8>), expected: &str| {
            let mut data = sample(Endian::Little, 0);
            edit(&mut data);
            assert_eq!(BtfExt::parse(&data).unwrap_err().to_string(), expected);
        };
        check(|data| data.clear(), ".BTF.ext at offset 0x0: the magic number is not 0xeb9f");
        check(|data| data.truncate(3), ".BTF.ext at offset 0x4: the header is cut off");
        check(|data| data.truncate(20), ".BTF.ext at offset 0x4: a header of 32 bytes in a section of 20");
        check(|data| data[2] = 2, ".BTF.ext at offset 0x2: version 2 is not 1");
        check(|data| data[3] = 1, ".BTF.ext at offset 0x3: unknown flags 0x1");
        check(|data| data[4] = 23, ".BTF.ext at offset 0x4: a header of 23 bytes is shorter than 24");
        check(|data| data[8] = 2, ".BTF.ext at offset 0x8: func_info at offset 2, not a multiple of 4");
        check(|data| data[12] = 0xff, ".BTF.ext at offset 0x8: func_info ends at 287 of 108 bytes");
        check(|data| data[32] = 4, ".BTF.ext at offset 0x20: func_info records of 4 bytes, expected 8 or more, by 4");
        check(|data| data[32] = 10, ".BTF.ext at offset 0x20: func_info records of 10 bytes, expected 8 or more, by 4");
        check(|data| data[40] = 0, ".BTF.ext at offset 0x28: func_info has a section without a record");
        check(|data| data[40] = 2, ".BTF.ext at offset 0x28: func_info: 2 records of 8 bytes exceed the 8 left");
        check(|data| data[12] = 4, ".BTF.ext at offset 0x20: func_info has no records");
        check(|data| data[12] = 2, ".BTF.ext at offset 0x20: func_info is cut off");
    }

    #[test]
    fn no_single_byte_change_or_cut_panics() {
        for endian in [Endian::Little, Endian::Big] {
            let data = sample(endian, 4);
            for at in 0..data.len() {
                let _ = BtfExt::parse(&data[..at]);
                for value in [0, 1, 4, 0x7f, 0x80, 0xff] {
                    let mut changed = data.clone();
                    changed[at] = value;
                    if let Ok(ext) = BtfExt::parse(&changed) {
                        ext.functions().for_each(|section| section.iter().for_each(drop));
                        ext.lines().for_each(|section| section.iter().for_each(drop));
                        ext.relocations().for_each(|section| section.iter().for_each(drop));
                    }
                }
            }
        }
    }
}
