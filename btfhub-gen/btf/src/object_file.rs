//! What is read from a BPF object file (`clang -target bpf -g -c`): its code, the functions in it, `.BTF`, `.BTF.ext`.
//!
//! Functions are found as libbpf finds programs: the `FUNC` symbols of executable sections. Those in `.text` are
//! subprograms, called from others; every other one is an entry program, loaded by itself, unless its section's name
//! starts with `?` and says that it is not to be loaded by default.

use std::fmt;

use object::elf::{R_BPF_64_32, R_BPF_64_64};
use object::read::elf::ElfFile64;
use object::{
    Architecture, Object, ObjectKind, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionFlags,
    SectionIndex, SectionKind, SymbolFlags, SymbolKind,
};
use rustc_hash::FxHashMap;

use crate::core_relo::{Asked, CoreReloKind};
use crate::coverage::QuestionHash;
use crate::error::{Error, Result};
use crate::ext::{self, BtfExt, LineInfo};
use crate::insn::Insn;
use crate::parse::Btf;
use crate::raw::{ByteSize, Endian, StrOffset, TypeId};

/// `STV_INTERNAL` of the ELF specification.
const VISIBILITY_INTERNAL: u8 = 1;
/// `STV_HIDDEN`.
const VISIBILITY_HIDDEN: u8 = 2;

/// A BPF object file, read for its CO-RE relocations.
#[derive(Debug)]
pub struct ObjectFile<'a> {
    name: String,
    hash: ObjectHash,
    endian: Endian,
    btf: Btf<'a>,
    sections: Vec<CodeSection>,
    functions: Vec<Function>,
    relocations: Vec<CoreRelo>,
    asked: Asked,
    /// By distinct question: its hash, where it asks anything of a target.
    question_hashes: Vec<Option<QuestionHash>>,
    /// Source lines of each code section, by offset.
    lines: Vec<Vec<LineInfo>>,
}

/// xxh3-128 of a whole object file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectHash(pub u128);

impl ObjectHash {
    /// The hash of a file's bytes.
    pub fn of(file: &[u8]) -> ObjectHash {
        ObjectHash(xxhash_rust::xxh3::xxh3_128(file))
    }
}

impl fmt::Display for ObjectHash {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// An executable section.
#[derive(Debug, Clone)]
pub struct CodeSection {
    /// Its name, with the leading `?` if there is one.
    pub name: String,
    /// Its instructions. A 64-bit immediate load takes two.
    pub insns: Vec<Insn>,
    /// Are its programs loaded by default: no leading `?`.
    pub autoload: bool,
    /// Is this `.text`, where the subprograms are.
    pub is_text: bool,
    /// What ELF relocations say of calls and address loads: by the index of the instruction.
    symbols: FxHashMap<usize, SymbolReference>,
}

/// The symbol that an ELF relocation of an instruction refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SymbolReference {
    /// An undefined symbol.
    External { symbol: String, weak: bool },
    /// Somewhere in a section that is not code.
    Data { section: String, symbol: String },
    /// A place in a code section: its number among the code sections, and the symbol's byte offset.
    Code { section: usize, offset: u64 },
}

/// What an instruction refers to that is not code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'o> {
    /// Something that the kernel or the loader provides: a kfunc, a kernel variable, a Kconfig value.
    External {
        /// Its name.
        symbol: &'o str,
        /// The object does without it where it is not there.
        weak: bool,
    },
    /// Something of a data section: a map (`.maps`), a global variable (`.rodata`, `.data`, `.bss` and the like).
    Data {
        /// The section's name.
        section: &'o str,
        /// The symbol's name; empty for the section as such.
        symbol: &'o str,
    },
}

/// A function of the object: an entry program or a subprogram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The symbol's name.
    pub name: String,
    /// Number of its section among [`ObjectFile::sections`].
    pub section: usize,
    /// Index of its first instruction in the section.
    pub start: usize,
    /// Number of its instructions.
    pub len: usize,
    /// Is it verified by itself, with nothing known of its arguments: a global symbol with default visibility.
    pub global: bool,
}

/// A CO-RE relocation of an object, with its place resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreRelo {
    /// What is asked.
    pub kind: CoreReloKind,
    /// The local root type.
    pub root: TypeId,
    /// The access string, `0:1:2`; in the strings of the object's `.BTF`.
    pub access: StrOffset,
    /// Number of the code section among [`ObjectFile::sections`].
    pub section: usize,
    /// Index of the instruction in the section.
    pub insn: usize,
    /// The function that the instruction belongs to, among [`ObjectFile::functions`]. `None` where a linker dropped the
    /// function but left its relocations; libbpf skips these.
    pub function: Option<usize>,
    /// Number of the relocation within its section's list, as libbpf's messages count.
    pub index: usize,
}

/// A place in an object's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLine<'o> {
    /// File name, as the compiler was given it.
    pub file: &'o str,
    /// Line, from 1.
    pub line: u32,
    /// Text of the line, without the blanks around it.
    pub text: &'o str,
}

impl<'a> ObjectFile<'a> {
    /// Reads an object file. `name` is for reports, commonly the file's name.
    ///
    /// # Errors
    /// [`Error::Elf`] for what is not a 64-bit relocatable BPF object or has no `.BTF`, and format errors of `.BTF` and
    /// `.BTF.ext`. An object without `.BTF.ext` has no relocations.
    pub fn parse(name: &str, data: &'a [u8]) -> Result<ObjectFile<'a>> {
        let elf: ElfFile64<'a> = ElfFile64::parse(data).map_err(elf_error)?;
        if elf.architecture() != Architecture::Bpf || elf.kind() != ObjectKind::Relocatable {
            let reason = format!("{:?} {:?}, not a relocatable BPF object", elf.architecture(), elf.kind());
            return Err(Error::Elf { reason });
        }
        let endian = match elf.endianness() {
            object::Endianness::Little => Endian::Little,
            object::Endianness::Big => Endian::Big,
        };
        let section_data = |name: &str| -> Result<Option<&'a [u8]>> {
            elf.section_by_name(name).map(|section| section.data().map_err(elf_error)).transpose()
        };
        let Some(btf) = section_data(".BTF")? else {
            return Err(Error::Elf { reason: "no .BTF section; compile with -g".to_owned() });
        };
        // BPF pointers have 8 bytes, whatever `long` the object's headers had.
        let btf = Btf::parse(btf)?.with_pointer_size(ByteSize(8));
        let (sections, numbers) = code_sections(&elf, endian)?;
        let functions = functions(&elf, &sections, &numbers)?;
        let mut object = ObjectFile {
            name: name.to_owned(),
            hash: ObjectHash::of(data),
            endian,
            btf,
            lines: vec![Vec::new(); sections.len()],
            sections,
            functions,
            relocations: Vec::new(),
            asked: Asked::default(),
            question_hashes: Vec::new(),
        };
        if let Some(ext) = section_data(ext::SECTION)? {
            object.read_ext(&BtfExt::parse(ext)?)?;
        }
        object.asked = Asked::read(&object.btf, &object.relocations);
        let questions = object.asked.questions.iter();
        object.question_hashes = questions.map(|question| QuestionHash::of(&object.btf, question)).collect();
        Ok(object)
    }

    /// The name given to [`ObjectFile::parse`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hash of the whole file.
    pub fn hash(&self) -> ObjectHash {
        self.hash
    }

    /// Byte order.
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// The object's own types.
    pub fn btf(&self) -> &Btf<'a> {
        &self.btf
    }

    /// The sections with code, in the order of the file.
    pub fn sections(&self) -> &[CodeSection] {
        &self.sections
    }

    /// The functions, by section and place.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Is this function loaded by itself, rather than called from others?
    pub fn is_entry(&self, function: &Function) -> bool {
        !self.sections[function.section].is_text
    }

    /// Is this an entry program that is loaded by default?
    pub fn is_autoloaded(&self, function: &Function) -> bool {
        self.is_entry(function) && self.sections[function.section].autoload
    }

    /// The CO-RE relocations, in the order of the file.
    pub fn relocations(&self) -> &[CoreRelo] {
        &self.relocations
    }

    /// The distinct questions that the relocations ask.
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// By distinct question: its hash, where it asks anything of a target.
    pub(crate) fn question_hashes(&self) -> &[Option<QuestionHash>] {
        &self.question_hashes
    }

    /// The function at an instruction of a section.
    pub fn function_at(&self, section: usize, insn: usize) -> Option<usize> {
        let after = self.functions.partition_point(|function| (function.section, function.start) <= (section, insn));
        let function = &self.functions[after.checked_sub(1)?];
        (function.section == section && insn - function.start < function.len).then_some(after - 1)
    }

    /// The function that a call of a subprogram, or a load of a subprogram's address, refers to. `None` for any other
    /// instruction and for what does not lead to a function in `.text`.
    pub fn referred_function(&self, section: usize, insn: usize) -> Option<usize> {
        let code = &self.sections[section];
        let instruction = code.insns.get(insn)?;
        let offset = match code.symbols.get(&insn) {
            Some(&SymbolReference::Code { section, offset }) => {
                let start = i64::try_from(offset).ok()? / Insn::SIZE as i64;
                let target = if instruction.is_call() {
                    start + i64::from(instruction.imm) + 1
                } else if instruction.is_ldimm64() {
                    start + i64::from(instruction.imm) / Insn::SIZE as i64
                } else {
                    return None;
                };
                return self.function_at(section, usize::try_from(target).ok()?);
            }
            Some(_) => return None,
            None if instruction.is_subprogram_call() => instruction.imm,
            None if instruction.is_ldimm64() && instruction.src == crate::insn::PSEUDO_FUNC => instruction.imm,
            None => return None,
        };
        let target = insn as i64 + i64::from(offset) + 1;
        self.function_at(section, usize::try_from(target).ok()?)
    }

    /// What an instruction refers to, where that is not code.
    pub fn reference(&self, section: usize, insn: usize) -> Option<Reference<'_>> {
        match self.sections.get(section)?.symbols.get(&insn)? {
            SymbolReference::External { symbol, weak } => Some(Reference::External { symbol, weak: *weak }),
            SymbolReference::Data { section, symbol } => Some(Reference::Data { section, symbol }),
            SymbolReference::Code { .. } => None,
        }
    }

    /// Does an ELF relocation put an address into this instruction, so that its immediate is no number?
    pub(crate) fn has_symbol(&self, section: usize, insn: usize) -> bool {
        self.sections[section].symbols.contains_key(&insn)
    }

    /// The source line that a relocated instruction comes from, where `.BTF.ext` tells it.
    ///
    /// clang gives the load of a relocated constant no line of its own, and a function's first instruction that of the
    /// function. Where a branch or the function's start comes before it, the next line is taken for the one that uses it.
    pub fn source_line(&self, section: usize, insn: usize) -> Option<SourceLine<'_>> {
        let lines = self.lines.get(section)?;
        let code = &self.sections[section].insns;
        let function = self.function_at(section, insn).map(|number| &self.functions[number]);
        let (start, end) = function.map_or((0, code.len()), |found| (found.start, found.start + found.len));
        let at = |line: &LineInfo| line.offset.0 as usize / Insn::SIZE;
        let next = lines.partition_point(|line| at(line) <= insn);
        let before = next.checked_sub(1).map(|number| &lines[number]).filter(|line| at(line) >= start);
        let after = lines.get(next).filter(|line| at(line) < end);
        let is_of_before = |line: &&LineInfo| insn > start && code[at(line)..insn].iter().all(|insn| !insn.is_jump());
        let line = before.filter(is_of_before).or(after).or(before)?;
        Some(SourceLine {
            file: self.btf.str(line.file).ok()?,
            line: line.line,
            text: self.btf.str(line.text).ok()?.trim(),
        })
    }

    fn read_ext(&mut self, ext: &BtfExt<'a>) -> Result<()> {
        for records in ext.lines() {
            // A section that no code is left of, for instance after linking, is of no interest.
            if let Some(section) = self.section_named(records.name)? {
                // Line 0 is what the compiler added.
                self.lines[section] = records.iter().filter(|line| line.line != 0).collect();
                self.lines[section].sort_by_key(|line| line.offset);
            }
        }
        for records in ext.relocations() {
            let Some(section) = self.section_named(records.name)? else {
                let name = self.btf.str(records.name)?;
                let reason = format!("relocations for section \"{name}\", which has no code");
                return Err(Error::format(ext::SECTION, 24u32, reason));
            };
            for (index, record) in records.iter().enumerate() {
                let insn = record.offset.0 as usize / Insn::SIZE;
                if !(record.offset.0 as usize).is_multiple_of(Insn::SIZE) || insn >= self.sections[section].insns.len()
                {
                    let reason = format!(
                        "relocation {index} of section \"{}\" is at byte {} of {}",
                        self.sections[section].name,
                        record.offset.0,
                        self.sections[section].insns.len() * Insn::SIZE
                    );
                    return Err(Error::format(ext::SECTION, 24u32, reason));
                }
                self.relocations.push(CoreRelo {
                    kind: CoreReloKind::from_raw(record.kind),
                    root: record.type_id,
                    access: record.access,
                    section,
                    insn,
                    function: self.function_at(section, insn),
                    index,
                });
            }
        }
        Ok(())
    }

    fn section_named(&self, name: StrOffset) -> Result<Option<usize>> {
        let name = self.btf.str(name)?;
        Ok(self.sections.iter().position(|section| section.name == name))
    }
}

fn elf_error(error: object::Error) -> Error {
    Error::Elf { reason: error.to_string() }
}

/// The code sections, and the number of each by its ELF section index.
fn code_sections(elf: &ElfFile64<'_>, endian: Endian) -> Result<(Vec<CodeSection>, FxHashMap<SectionIndex, usize>)> {
    let mut sections = Vec::new();
    let mut numbers = FxHashMap::default();
    for section in elf.sections().filter(|section| section.kind() == SectionKind::Text) {
        let SectionFlags::Elf { .. } = section.flags() else { continue };
        let name = section.name().map_err(elf_error)?.to_owned();
        let data = section.data().map_err(elf_error)?;
        if !data.len().is_multiple_of(Insn::SIZE) {
            let reason = format!("section \"{name}\" has {} bytes, not a multiple of 8", data.len());
            return Err(Error::Elf { reason });
        }
        let (slots, _) = data.as_chunks::<{ Insn::SIZE }>();
        numbers.insert(section.index(), sections.len());
        sections.push(CodeSection {
            insns: slots.iter().map(|&slot| Insn::read(slot, endian)).collect(),
            autoload: !name.starts_with('?'),
            is_text: name == ".text",
            name,
            symbols: FxHashMap::default(),
        });
    }
    for section in elf.sections() {
        let Some(&number) = numbers.get(&section.index()) else { continue };
        for (offset, relocation) in section.relocations() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            if r_type != R_BPF_64_32 && r_type != R_BPF_64_64 {
                continue;
            }
            let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
            let symbol = elf.symbol_by_index(symbol).map_err(elf_error)?;
            let reference = match symbol.section_index() {
                None => SymbolReference::External {
                    symbol: symbol.name().map_err(elf_error)?.to_owned(),
                    weak: symbol.is_weak(),
                },
                Some(index) => match numbers.get(&index) {
                    Some(&section) => SymbolReference::Code { section, offset: symbol.address() },
                    None => {
                        let data = elf.section_by_index(index).map_err(elf_error)?;
                        let symbol =
                            if symbol.kind() == SymbolKind::Section { "" } else { symbol.name().map_err(elf_error)? };
                        let section = data.name().map_err(elf_error)?.to_owned();
                        SymbolReference::Data { section, symbol: symbol.to_owned() }
                    }
                },
            };
            sections[number].symbols.insert(offset as usize / Insn::SIZE, reference);
        }
    }
    Ok((sections, numbers))
}

fn functions(
    elf: &ElfFile64<'_>,
    sections: &[CodeSection],
    numbers: &FxHashMap<SectionIndex, usize>,
) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        let Some(&section) = symbol.section_index().and_then(|index| numbers.get(&index)) else { continue };
        let name = symbol.name().map_err(elf_error)?.to_owned();
        let (start, size) = (symbol.address(), symbol.size());
        let bytes = (sections[section].insns.len() * Insn::SIZE) as u64;
        let fits = start.checked_add(size).is_some_and(|end| end <= bytes);
        if !fits || size == 0 || !start.is_multiple_of(8) || !size.is_multiple_of(8) {
            let section = &sections[section].name;
            let reason = format!("function {name} at byte {start} of section \"{section}\" has {size} bytes");
            return Err(Error::Elf { reason });
        }
        let hidden = match symbol.flags() {
            SymbolFlags::Elf { st_other, .. } => matches!(st_other.0 & 3, VISIBILITY_INTERNAL | VISIBILITY_HIDDEN),
            _ => false,
        };
        functions.push(Function {
            name,
            section,
            start: start as usize / Insn::SIZE,
            len: size as usize / Insn::SIZE,
            global: symbol.is_global() && !hidden,
        });
    }
    functions.sort_by_key(|function: &Function| (function.section, function.start));
    Ok(functions)
}
