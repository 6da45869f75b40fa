//! A unit's entries that matter, read in one pass over its bytes into flat tables.

use crate::abbrev::{At, Form, Table, Tag};
use crate::attributes::{self, Attributes};
use crate::cursor::Cursor;
use crate::error::{Diagnostic, Error, Result};
use crate::names::{NameId, Names};
use crate::unit::{EntryAt, Files, Source, Unit, section_name};

/// A reference to an entry: none (void), one of the same unit, or one elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ref(u32);

const ELSEWHERE: u32 = 1 << 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    None,
    /// Offset from the start of the unit.
    Here(u32),
    Elsewhere(EntryAt),
}

/// A type entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type {
    /// Offset from the start of the unit.
    pub(crate) offset: u32,
    pub(crate) tag: Tag,
    pub(crate) flags: u8,
    /// `DW_AT_encoding` of a base type.
    pub(crate) encoding: u8,
    pub(crate) name: NameId,
    pub(crate) ty: Ref,
    pub(crate) bytes: u32,
    /// Range in [`Entries::children`].
    pub(crate) children: (u32, u32),
}

/// `DW_AT_declaration`.
pub(crate) const DECLARATION: u8 = 1;
/// `DW_AT_byte_size` (or `DW_AT_bit_size`) is there.
pub(crate) const SIZED: u8 = 2;
/// `...` ends the parameters.
pub(crate) const VARIADIC: u8 = 4;

/// A member, enumerator, parameter, array dimension or annotation of a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    pub(crate) name: NameId,
    pub(crate) ty: Ref,
    /// Member: bits from the start of the structure to the member or its storage unit. Enumerator: value. Dimension:
    /// elements.
    pub(crate) value: u64,
    /// Bits of a bit field, else 0.
    pub(crate) bits: u32,
    /// `DW_AT_bit_offset` of DWARF 2 and 3: bits from the storage unit's most significant bit, negative in a bit field
    /// that begins before it; else [`NO_MSB_OFFSET`].
    pub(crate) msb_offset: i32,
    /// `DW_AT_byte_size` of a bit field's storage unit, else 0.
    pub(crate) storage: u32,
}

/// Not a bit field, or one placed by `DW_AT_data_bit_offset`.
pub(crate) const NO_MSB_OFFSET: i32 = i32::MIN;

/// A function entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    pub(crate) offset: u32,
    pub(crate) name: NameId,
    pub(crate) ty: Ref,
    pub(crate) origin: Ref,
    /// Address of the first instruction, where there is code.
    pub(crate) address: Option<u64>,
    pub(crate) declaration: bool,
    /// Line and column of its declaration.
    pub(crate) declared: (u32, u32),
    /// `DW_AT_inline` says that it is inlined somewhere.
    pub(crate) inline: bool,
    /// `DW_CC_nocall`: clang changed the signature.
    pub(crate) nocall: bool,
    pub(crate) variadic: bool,
    /// Range in [`Entries::parameters`].
    pub(crate) parameters: (u32, u32),
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) offset: u32,
    pub(crate) name: NameId,
    pub(crate) ty: Ref,
    pub(crate) origin: Ref,
    /// Form and value of `DW_AT_location`.
    pub(crate) location: Option<(Form, u64)>,
    /// Which parameter of its function it is, from 0.
    pub(crate) index: u32,
}

/// What a `btf_decl_tag` is on: a type, function or variable by its position in its table, or a member or parameter of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tagged {
    Type(u32),
    Function(u32),
    Variable(u32),
}

/// A `btf_decl_tag` annotation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeclTag {
    pub(crate) on: Tagged,
    /// Member or parameter, from 0.
    pub(crate) component: Option<u32>,
    pub(crate) value: NameId,
}

/// A variable at the top level of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable {
    pub(crate) offset: u32,
    pub(crate) name: NameId,
    pub(crate) ty: Ref,
    pub(crate) origin: Ref,
    pub(crate) declaration: bool,
    pub(crate) external: bool,
    pub(crate) artificial: bool,
    /// Address, where the location is a plain one.
    pub(crate) address: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indexed {
    Type(usize),
    Function(usize),
    Parameter(usize),
    Variable(usize),
}

/// What the first entry of a unit says of the unit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnitInfo {
    /// `DW_AT_language`, 0 when absent.
    pub(crate) language: u64,
    /// `DW_AT_producer` names clang.
    pub(crate) clang: bool,
    pub(crate) str_offsets_base: Option<u64>,
    pub(crate) addr_base: Option<u64>,
    pub(crate) loclists_base: Option<u64>,
    pub(crate) rnglists_base: Option<u64>,
}

/// The tables of one unit, whose memory serves the next one again.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) info: UnitInfo,
    pub(crate) types: Vec<Type>,
    pub(crate) children: Vec<Child>,
    pub(crate) functions: Vec<Function>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) decl_tags: Vec<DeclTag>,
    /// The functions inlined, one entry a place.
    pub(crate) inlined: Vec<Ref>,
    elsewhere: Vec<EntryAt>,
    /// By offset from the start of the unit: class and position in a table, plus 1; 0 for entries that do not matter.
    index: Vec<u32>,
    frames: Vec<Frame>,
    open_children: Vec<Child>,
    open_parameters: Vec<Parameter>,
}

#[derive(Clone, Copy)]
struct Frame {
    kind: FrameKind,
    /// Position of the type or function.
    at: u32,
    /// Where its children begin in the table of open ones.
    start: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FrameKind {
    Top,
    Inside,
    Type,
    Function,
    Variable,
    /// A member of the type, the `start`th.
    Member,
    /// A parameter of the function, the `start`th.
    Parameter,
}

const CLASS: u32 = 29;

impl Entries {
    pub(crate) fn target(&self, reference: Ref) -> Target {
        match reference.0 {
            0 => Target::None,
            at if at & ELSEWHERE != 0 => Target::Elsewhere(self.elsewhere[(at & !ELSEWHERE) as usize]),
            at => Target::Here(at),
        }
    }

    #[inline]
    pub(crate) fn find(&self, offset: u32) -> Option<Indexed> {
        let entry = *self.index.get(offset as usize)?;
        let at = (entry & ((1 << CLASS) - 1)).checked_sub(1)? as usize;
        Some(match entry >> CLASS {
            0 => Indexed::Type(at),
            1 => Indexed::Function(at),
            2 => Indexed::Parameter(at),
            _ => Indexed::Variable(at),
        })
    }

    pub(crate) fn children(&self, ty: &Type) -> &[Child] {
        &self.children[ty.children.0 as usize..ty.children.1 as usize]
    }

    pub(crate) fn parameters(&self, function: &Function) -> &[Parameter] {
        &self.parameters[function.parameters.0 as usize..function.parameters.1 as usize]
    }

    fn set(&mut self, offset: u32, class: u32, at: usize) {
        self.index[offset as usize] = class << CLASS | (at as u32 + 1);
    }

    fn clear(&mut self, length: usize) {
        let Entries { types, functions, parameters, variables, index, .. } = self;
        let offsets = types.iter().map(|ty| ty.offset);
        let offsets = offsets.chain(functions.iter().map(|function| function.offset));
        let offsets = offsets.chain(parameters.iter().map(|parameter| parameter.offset));
        for offset in offsets.chain(variables.iter().map(|variable| variable.offset)) {
            index[offset as usize] = 0;
        }
        if self.index.len() < length {
            // zeroed by the allocator: pages that are never touched cost nothing
            self.index = vec![0; length];
        }
        self.info = UnitInfo::default();
        self.types.clear();
        self.children.clear();
        self.functions.clear();
        self.parameters.clear();
        self.variables.clear();
        self.decl_tags.clear();
        self.inlined.clear();
        self.elsewhere.clear();
        self.frames.clear();
        self.open_children.clear();
        self.open_parameters.clear();
    }
}

/// What is needed to read units, kept from unit to unit.
pub(crate) struct Reader<'f, 'd> {
    pub(crate) files: &'f Files<'d>,
    pub(crate) signatures: &'f rustc_hash::FxHashMap<u64, EntryAt>,
    pub(crate) table: Table,
    pub(crate) attributes: Attributes,
}

impl<'f, 'd> Reader<'f, 'd> {
    /// Reads a unit. Gives false, with the tables empty, where `skip` says so of its first entry.
    pub(crate) fn read(
        &mut self,
        unit: &Unit,
        entries: &mut Entries,
        names: &mut Names<'f>,
        diagnostics: &mut Vec<Diagnostic>,
        skip: impl Fn(&UnitInfo) -> bool,
    ) -> Result<bool> {
        entries.clear(unit.end - unit.start);
        let file = self.files.file(unit.source);
        let big = file.sections.big;
        self.table.load(file.sections.abbrev.at(0, big), unit.abbrev, unit.encoding)?;
        let section = self.files.section(unit.source);
        let mut at = section.at(unit.entries, big);
        at.limit(unit.end);
        let mut pass = Pass { reader: self, unit, entries, names, diagnostics };
        if !pass.first_entry(&mut at)? {
            return Ok(true);
        }
        if skip(&pass.entries.info) {
            return Ok(false);
        }
        while !at.at_end() {
            if !pass.entry(&mut at)? {
                break;
            }
        }
        while pass.close() {}
        Ok(true)
    }
}

struct Pass<'r, 'f, 'd> {
    reader: &'r mut Reader<'f, 'd>,
    unit: &'r Unit,
    entries: &'r mut Entries,
    names: &'r mut Names<'f>,
    diagnostics: &'r mut Vec<Diagnostic>,
}

impl<'f> Pass<'_, 'f, '_> {
    fn note(&mut self, offset: usize, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic { offset: offset as u64, message: message.into() });
    }

    /// The unit's own entry. Gives false for an empty unit.
    fn first_entry(&mut self, at: &mut Cursor<'_>) -> Result<bool> {
        let start = at.pos();
        if at.at_end() {
            return Ok(false);
        }
        let code = at.uleb()?;
        if code == 0 {
            return Ok(false);
        }
        let Some(abbrev) = self.reader.table.get(code) else { return Err(unknown_code(at, start, code)) };
        let Reader { table, attributes, .. } = &mut *self.reader;
        attributes.read(at, table, table.ops(abbrev), self.unit.encoding)?;
        self.entries.info = UnitInfo {
            language: attributes.constant(At::Language).unwrap_or(0),
            clang: false,
            str_offsets_base: attributes.get(At::StrOffsetsBase).map(|(_, value)| value),
            addr_base: attributes.get(At::AddrBase).map(|(_, value)| value),
            loclists_base: attributes.get(At::LoclistsBase).map(|(_, value)| value),
            rnglists_base: attributes.get(At::RnglistsBase).map(|(_, value)| value),
        };
        let dwo = attributes.get(At::DwoName);
        let producer = attributes.get(At::Producer);
        if self.unit.skeleton || (dwo.is_some() && !abbrev.children) {
            let dwo = dwo.map(|dwo| self.string(Some(dwo))).transpose()?.unwrap_or_default();
            let dwo = String::from_utf8_lossy(self.names.get(dwo)).into_owned();
            let dwo = if dwo.is_empty() { "a .dwo file".to_owned() } else { dwo };
            let section = section_name(self.unit.source);
            return Err(Error::Skeleton { section, offset: self.unit.start as u64, dwo });
        }
        let producer = self.string(producer)?;
        self.entries.info.clang = self.names.get(producer).windows(5).any(|word| word == b"clang");
        if abbrev.children {
            self.open(FrameKind::Top, 0);
        }
        Ok(abbrev.children)
    }

    fn open(&mut self, kind: FrameKind, at: usize) {
        let start = match kind {
            FrameKind::Type => self.entries.open_children.len(),
            FrameKind::Function => self.entries.open_parameters.len(),
            _ => 0,
        };
        self.entries.frames.push(Frame { kind, at: at as u32, start: start as u32 });
    }

    /// Ends the innermost open entry. Gives false when none is open any more.
    fn close(&mut self) -> bool {
        let entries = &mut *self.entries;
        let Some(frame) = entries.frames.pop() else { return false };
        match frame.kind {
            FrameKind::Top | FrameKind::Inside | FrameKind::Variable | FrameKind::Member | FrameKind::Parameter => {}
            FrameKind::Type => {
                let start = entries.children.len() as u32;
                entries.children.extend(entries.open_children.drain(frame.start as usize..));
                entries.types[frame.at as usize].children = (start, entries.children.len() as u32);
            }
            FrameKind::Function => {
                let start = entries.parameters.len();
                entries.parameters.extend(entries.open_parameters.drain(frame.start as usize..));
                let end = entries.parameters.len();
                entries.functions[frame.at as usize].parameters = (start as u32, end as u32);
                for at in start..end {
                    let offset = entries.parameters[at].offset;
                    entries.set(offset, 2, at);
                }
            }
        }
        !entries.frames.is_empty()
    }

    /// Reads one entry. Gives false where the unit's entries end.
    #[inline(always)]
    fn entry(&mut self, at: &mut Cursor<'_>) -> Result<bool> {
        let start = at.pos();
        let code = at.uleb()?;
        if code == 0 {
            return Ok(self.close());
        }
        let Some(abbrev) = self.reader.table.get(code) else { return Err(unknown_code(at, start, code)) };
        let Some(&top) = self.entries.frames.last() else { return Ok(false) };
        let reader = &mut *self.reader;
        let encoding = self.unit.encoding;
        // what cannot matter in this place is only jumped over
        let matters = match abbrev.tag {
            Tag::Other | Tag::CallSite => false,
            Tag::Variable => top.kind == FrameKind::Top,
            Tag::Parameter | Tag::UnspecifiedParameters => matches!(top.kind, FrameKind::Function | FrameKind::Type),
            Tag::Member | Tag::Enumerator | Tag::Subrange => top.kind == FrameKind::Type,
            Tag::Annotation => !matches!(top.kind, FrameKind::Top | FrameKind::Inside),
            _ => true,
        };
        if !matters {
            let table = &reader.table;
            let sibling = attributes::skip(at, table, table.skips(abbrev), encoding)?;
            if abbrev.children {
                match (abbrev.tag, sibling) {
                    (Tag::CallSite, Some(sibling)) if sibling > (at.pos() - self.unit.start) as u64 => {
                        at.seek(self.unit.start + sibling as usize);
                    }
                    _ => self.open(FrameKind::Inside, 0),
                }
            }
            return Ok(true);
        }
        reader.attributes.read(at, &reader.table, reader.table.ops(abbrev), encoding)?;
        let (kind, position) = match abbrev.tag {
            Tag::Member => {
                let component = self.entries.open_children.len() - top.start as usize;
                self.member(top, start)?;
                if abbrev.children {
                    self.open_component(FrameKind::Member, top.at, component);
                    return Ok(true);
                }
                (FrameKind::Inside, 0)
            }
            Tag::Enumerator => {
                let name = self.name()?;
                let value = self.reader.attributes.constant(At::ConstValue).unwrap_or(0);
                self.child(Child { name, ty: Ref(0), value, bits: 0, msb_offset: NO_MSB_OFFSET, storage: 0 });
                (FrameKind::Inside, 0)
            }
            Tag::Subrange => {
                let attributes = &self.reader.attributes;
                let elements = match (attributes.constant(At::Count), attributes.constant(At::UpperBound)) {
                    (Some(count), _) => count,
                    (None, Some(bound)) => bound.wrapping_add(1),
                    // a flexible array, or one whose length is computed
                    (None, None) => 0,
                };
                let value = elements & 0xffff_ffff;
                self.child(Child {
                    name: NameId(0),
                    ty: Ref(0),
                    value,
                    bits: 0,
                    msb_offset: NO_MSB_OFFSET,
                    storage: 0,
                });
                (FrameKind::Inside, 0)
            }
            Tag::Annotation => {
                self.annotation(top)?;
                (FrameKind::Inside, 0)
            }
            Tag::Parameter => {
                let component = self.entries.open_parameters.len().saturating_sub(top.start as usize);
                self.parameter(top, start)?;
                if abbrev.children && top.kind == FrameKind::Function {
                    self.open_component(FrameKind::Parameter, top.at, component);
                    return Ok(true);
                }
                (FrameKind::Inside, 0)
            }
            Tag::UnspecifiedParameters => {
                if top.kind == FrameKind::Function {
                    self.entries.functions[top.at as usize].variadic = true;
                } else {
                    self.entries.types[top.at as usize].flags |= VARIADIC;
                }
                (FrameKind::Inside, 0)
            }
            Tag::Inlined => {
                let origin = self.reference(At::AbstractOrigin, start)?;
                self.entries.inlined.push(origin);
                (FrameKind::Inside, 0)
            }
            Tag::Variable => {
                self.variable(start)?;
                (FrameKind::Variable, self.entries.variables.len() - 1)
            }
            Tag::Function => {
                self.function(start)?;
                (FrameKind::Function, self.entries.functions.len() - 1)
            }
            _ => {
                self.ty(abbrev.tag, start)?;
                (FrameKind::Type, self.entries.types.len() - 1)
            }
        };
        if abbrev.children {
            self.open(kind, position);
        }
        Ok(true)
    }

    #[inline]
    fn child(&mut self, child: Child) {
        self.entries.open_children.push(child);
    }

    fn ty(&mut self, tag: Tag, start: usize) -> Result<()> {
        let name = self.name()?;
        let mut ty = self.reference(At::Type, start)?;
        let attributes = &self.reader.attributes;
        let mut flags = 0;
        let bytes = match attributes.constant(At::ByteSize) {
            Some(bytes) => Some(bytes),
            None => attributes.constant(At::BitSize).map(|bits| bits.div_ceil(8)),
        };
        if bytes.is_some() {
            flags |= SIZED;
        }
        if attributes.flag(At::Declaration) {
            flags |= DECLARATION;
        }
        let encoding = attributes.constant(At::Encoding).unwrap_or(0) as u8;
        let signature = attributes.has(At::Signature);
        let bytes = match u32::try_from(bytes.unwrap_or(0)) {
            Ok(bytes) => bytes,
            Err(_) => {
                self.note(start, "a type of 4 GiB or more; its size is written as 0");
                0
            }
        };
        if signature {
            // declared here, defined in a type unit
            ty = self.reference(At::Signature, start)?;
            flags |= DECLARATION;
        }
        let offset = (start - self.unit.start) as u32;
        self.entries.set(offset, 0, self.entries.types.len());
        self.entries.types.push(Type { offset, tag, flags, encoding, name, ty, bytes, children: (0, 0) });
        Ok(())
    }

    #[inline(always)]
    fn member(&mut self, top: Frame, start: usize) -> Result<()> {
        let name = self.name()?;
        let ty = self.reference(At::Type, start)?;
        let attributes = &self.reader.attributes;
        let value = if let Some(bits) = attributes.constant(At::DataBitOffset) {
            bits
        } else {
            match attributes.get(At::MemberLocation) {
                Some((form, value)) if attributes::is_constant(form) => value.wrapping_mul(8),
                Some((form, value)) => self.block_offset(form, value)?.wrapping_mul(8),
                None if self.entries.types[top.at as usize].tag == Tag::Union => 0,
                // a static member: it has no place in the structure
                None if attributes.has(At::Declaration) => return Ok(()),
                None => 0,
            }
        };
        let attributes = &self.reader.attributes;
        let small = |at: At| attributes.constant(at).map_or(0, |value| value.min(u64::from(u32::MAX)) as u32);
        let bits = small(At::BitSize);
        let (mut msb_offset, mut storage) = (NO_MSB_OFFSET, 0);
        if bits != 0 && !attributes.has(At::DataBitOffset) {
            // in DWARF 2 and 3 a constant's form does not tell its sign: large ones are those of sign-extended values
            msb_offset = attributes.constant(At::BitOffset).map_or(0, |bits| bits as i32);
            storage = small(At::ByteSize);
        }
        self.child(Child { name, ty, value, bits, msb_offset, storage });
        Ok(())
    }

    /// The byte offset that a member's location expression adds: `DW_OP_plus_uconst` or `DW_OP_constu`.
    fn block_offset(&mut self, form: Form, pos: u64) -> Result<u64> {
        let section = self.reader.files.section(self.unit.source);
        let mut at = section.at(pos as usize, self.reader.files.main.sections.big);
        let Some(expression) = attributes::block(&mut at, form)? else { return Ok(0) };
        match expression {
            [0x23 | 0x10, ..] => {
                at.seek(at.pos() - expression.len() + 1);
                at.uleb()
            }
            _ => {
                self.note(pos as usize, "a member's location that is computed at run time; written as 0");
                Ok(0)
            }
        }
    }

    fn open_component(&mut self, kind: FrameKind, owner: u32, component: usize) {
        self.entries.frames.push(Frame { kind, at: owner, start: component as u32 });
    }

    /// Clang's `DW_TAG_LLVM_annotation`: a `btf_type_tag` of a pointer, or a `btf_decl_tag`.
    fn annotation(&mut self, top: Frame) -> Result<()> {
        let name = self.name()?;
        let value = self.reader.attributes.get(At::ConstValue);
        match self.names.get(name) {
            b"btf_type_tag" if top.kind == FrameKind::Type => {
                let name = self.string(value)?;
                self.child(Child { name, ty: Ref(0), value: 0, bits: 0, msb_offset: NO_MSB_OFFSET, storage: 0 });
            }
            b"btf_decl_tag" => {
                let value = self.string(value)?;
                let (on, component) = match top.kind {
                    FrameKind::Type => (Tagged::Type(top.at), None),
                    FrameKind::Member => (Tagged::Type(top.at), Some(top.start)),
                    FrameKind::Function => (Tagged::Function(top.at), None),
                    FrameKind::Parameter => (Tagged::Function(top.at), Some(top.start)),
                    FrameKind::Variable => (Tagged::Variable(top.at), None),
                    FrameKind::Top | FrameKind::Inside => return Ok(()),
                };
                self.entries.decl_tags.push(DeclTag { on, component, value });
            }
            _ => {}
        }
        Ok(())
    }

    fn parameter(&mut self, top: Frame, start: usize) -> Result<()> {
        let name = self.name()?;
        let ty = self.reference(At::Type, start)?;
        if top.kind == FrameKind::Type {
            self.child(Child { name, ty, value: 0, bits: 0, msb_offset: NO_MSB_OFFSET, storage: 0 });
            return Ok(());
        }
        let origin = self.reference(At::AbstractOrigin, start)?;
        let attributes = &self.reader.attributes;
        self.entries.open_parameters.push(Parameter {
            offset: (start - self.unit.start) as u32,
            name,
            ty,
            origin,
            location: attributes.get(At::Location),
            index: self.entries.open_parameters.len() as u32 - top.start,
        });
        Ok(())
    }

    fn function(&mut self, start: usize) -> Result<()> {
        let name = self.name()?;
        let ty = self.reference(At::Type, start)?;
        let mut origin = self.reference(At::AbstractOrigin, start)?;
        if origin == Ref(0) {
            origin = self.reference(At::Specification, start)?;
        }
        let address = self.address(At::LowPc, start)?;
        let address = match address {
            Some(address) => Some(address),
            None => self.first_range()?,
        };
        let attributes = &self.reader.attributes;
        let offset = (start - self.unit.start) as u32;
        // DW_INL_inlined, DW_INL_declared_inlined
        let small = |at| attributes.constant(at).unwrap_or(0) as u32;
        let inline = matches!(attributes.constant(At::Inline), Some(1 | 3));
        let function = Function {
            offset,
            name,
            ty,
            origin,
            address,
            declaration: attributes.flag(At::Declaration),
            declared: (small(At::DeclLine), small(At::DeclColumn)),
            inline,
            nocall: attributes.constant(At::CallingConvention) == Some(3),
            variadic: false,
            parameters: (0, 0),
        };
        self.entries.set(offset, 1, self.entries.functions.len());
        self.entries.functions.push(function);
        Ok(())
    }

    fn variable(&mut self, start: usize) -> Result<()> {
        let name = self.name()?;
        let ty = self.reference(At::Type, start)?;
        let mut origin = self.reference(At::Specification, start)?;
        if origin == Ref(0) {
            origin = self.reference(At::AbstractOrigin, start)?;
        }
        let location = self.reader.attributes.get(At::Location);
        let address = match location {
            Some((form, value)) => self.plain_address(form, value)?,
            None => None,
        };
        let attributes = &self.reader.attributes;
        let offset = (start - self.unit.start) as u32;
        let variable = Variable {
            offset,
            name,
            ty,
            origin,
            declaration: attributes.flag(At::Declaration),
            external: attributes.flag(At::External),
            artificial: attributes.flag(At::Artificial),
            address,
        };
        self.entries.set(offset, 3, self.entries.variables.len());
        self.entries.variables.push(variable);
        Ok(())
    }

    /// The address of a location that is `DW_OP_addr` or `DW_OP_addrx` and nothing else.
    fn plain_address(&mut self, form: Form, value: u64) -> Result<Option<u64>> {
        let big = self.reader.files.main.sections.big;
        let mut at = self.reader.files.section(self.unit.source).at(value as usize, big);
        let Some(expression) = attributes::block(&mut at, form)? else { return Ok(None) };
        at.seek(at.pos() - expression.len() + usize::from(!expression.is_empty()));
        match expression.first() {
            Some(0x03) if expression.len() == 1 + usize::from(self.unit.encoding.address_size) => {
                at.sized(self.unit.encoding.address_size).map(Some)
            }
            Some(0xa1 | 0xfb) => {
                let index = at.uleb()?;
                self.indexed_address(index).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn address(&self, what: At, start: usize) -> Result<Option<u64>> {
        match self.reader.attributes.get(what) {
            None => Ok(None),
            Some((Form::Addr, address)) => Ok(Some(address)),
            Some((Form::Addrx | Form::Addrx1 | Form::Addrx2 | Form::Addrx3 | Form::Addrx4, index)) => {
                self.indexed_address(index).map(Some)
            }
            Some((form, _)) => Err(self.malformed(start, format!("an address of the form {form:?}"))),
        }
    }

    fn malformed(&self, offset: usize, what: impl Into<String>) -> Error {
        Error::Malformed { section: section_name(self.unit.source), offset: offset as u64, what: what.into() }
    }

    fn indexed_address(&self, index: u64) -> Result<u64> {
        let sections = &self.reader.files.file(self.unit.source).sections;
        let size = self.unit.encoding.address_size;
        let default = if self.unit.encoding.version >= 5 { 8 } else { 0 };
        let base = self.entries.info.addr_base.unwrap_or(default);
        let pos = index.checked_mul(u64::from(size)).and_then(|offset| offset.checked_add(base));
        let pos = pos.and_then(|pos| usize::try_from(pos).ok()).unwrap_or(usize::MAX);
        sections.addr.at(pos, sections.big).sized(size)
    }

    /// The lowest address of a function in several pieces: the first of its ranges.
    fn first_range(&self) -> Result<Option<u64>> {
        let Some((form, value)) = self.reader.attributes.get(At::Ranges) else { return Ok(None) };
        let sections = &self.reader.files.file(self.unit.source).sections;
        let (encoding, info) = (self.unit.encoding, self.entries.info);
        let size = encoding.address_size;
        if encoding.version < 5 {
            return sections.ranges.at(value as usize, sections.big).sized(size).map(Some);
        }
        let pos = if form == Form::Rnglistx {
            let base = info.rnglists_base.unwrap_or(if encoding.dwarf64 { 20 } else { 12 });
            let pos = value.checked_mul(if encoding.dwarf64 { 8 } else { 4 }).and_then(|at| at.checked_add(base));
            let mut at = sections.rnglists.at(pos.unwrap_or(u64::MAX) as usize, sections.big);
            at.offset(encoding.dwarf64)?.saturating_add(base)
        } else {
            value
        };
        let mut at = sections.rnglists.at(usize::try_from(pos).unwrap_or(usize::MAX), sections.big);
        Ok(match at.u8()? {
            // DW_RLE_base_addressx, startx_endx, startx_length
            1..=3 => {
                let index = at.uleb()?;
                Some(self.indexed_address(index)?)
            }
            // base_address, start_end, start_length
            5..=7 => Some(at.sized(size)?),
            _ => None,
        })
    }

    #[inline(always)]
    fn name(&mut self) -> Result<NameId> {
        if !self.reader.attributes.has(At::Name) {
            return Ok(NameId(0));
        }
        self.string(self.reader.attributes.get(At::Name))
    }

    #[inline(always)]
    fn string(&mut self, value: Option<(Form, u64)>) -> Result<NameId> {
        let files: &'f Files<'_> = self.reader.files;
        let sections = &files.file(self.unit.source).sections;
        let second = u8::from(self.unit.source == Source::Supplementary) * 2;
        match value {
            None => Ok(NameId(0)),
            Some((Form::Strp, offset)) => self.names.at(second, offset, || sections.str.string(offset, sections.big)),
            Some((Form::LineStrp, offset)) => {
                self.names.at(second + 1, offset, || sections.line_str.string(offset, sections.big))
            }
            Some((form, value)) => self.rare_string(form, value),
        }
    }

    #[cold]
    fn rare_string(&mut self, form: Form, value: u64) -> Result<NameId> {
        let files: &'f Files<'_> = self.reader.files;
        let sections = &files.file(self.unit.source).sections;
        match form {
            Form::String => {
                let section = files.section(self.unit.source);
                Ok(self.names.intern(section.string(value, sections.big)?))
            }
            Form::StrpSup => {
                let Some(file) = &files.supplementary else { return Err(self.no_supplementary(value)) };
                self.names.at(2, value, || file.sections.str.string(value, file.sections.big))
            }
            Form::Strx | Form::Strx1 | Form::Strx2 | Form::Strx3 | Form::Strx4 => {
                let dwarf64 = self.unit.encoding.dwarf64;
                let default = if dwarf64 { 16 } else { 8 };
                let default = if self.unit.encoding.version >= 5 { default } else { 0 };
                let base = self.entries.info.str_offsets_base.unwrap_or(default);
                let pos = value.checked_mul(if dwarf64 { 8 } else { 4 }).and_then(|at| at.checked_add(base));
                let pos = pos.and_then(|pos| usize::try_from(pos).ok()).unwrap_or(usize::MAX);
                let offset = sections.str_offsets.at(pos, sections.big).offset(dwarf64)?;
                self.names.at(0, offset, || sections.str.string(offset, sections.big))
            }
            form => Err(self.malformed(self.unit.start, format!("a string of the form {form:?} in this unit"))),
        }
    }

    fn no_supplementary(&self, offset: u64) -> Error {
        let name = self.reader.files.main.supplementary.clone();
        let name = name.unwrap_or_else(|| "(unnamed)".to_owned());
        Error::MissingSupplementary { section: section_name(self.unit.source), offset, name }
    }

    #[inline(always)]
    fn reference(&mut self, at: At, start: usize) -> Result<Ref> {
        match self.reader.attributes.get(at) {
            None => Ok(Ref(0)),
            Some((Form::Ref4 | Form::Ref1 | Form::Ref2 | Form::Ref8 | Form::RefUdata, offset)) => {
                if offset as usize >= self.unit.end - self.unit.start || offset == 0 {
                    return Err(self.malformed(start, format!("a reference to {offset:#x}, outside of its unit")));
                }
                Ok(Ref(offset as u32))
            }
            Some((form, value)) => self.rare_reference(form, value, start),
        }
    }

    #[cold]
    fn rare_reference(&mut self, form: Form, value: u64, start: usize) -> Result<Ref> {
        let source = match form {
            Form::RefAddr if self.unit.source == Source::Supplementary => Source::Supplementary,
            Form::RefAddr => Source::Info,
            Form::RefSup4 | Form::RefSup8 | Form::GnuRefAlt => {
                if self.reader.files.supplementary.is_none() {
                    return Err(self.no_supplementary(start as u64));
                }
                Source::Supplementary
            }
            Form::RefSig8 => {
                return Ok(match self.reader.signatures.get(&value) {
                    Some(&entry) => self.elsewhere(entry),
                    None => {
                        self.note(start, format!("no type unit has the signature {value:#018x}; written as void"));
                        Ref(0)
                    }
                });
            }
            form => return Err(self.malformed(start, format!("a reference of the form {form:?}"))),
        };
        Ok(self.elsewhere(EntryAt { source, offset: value }))
    }

    fn elsewhere(&mut self, entry: EntryAt) -> Ref {
        if entry.source == self.unit.source {
            let unit = self.unit.start as u64..self.unit.end as u64;
            if unit.contains(&entry.offset) && entry.offset != unit.start {
                return Ref((entry.offset - unit.start) as u32);
            }
        }
        self.entries.elsewhere.push(entry);
        Ref((self.entries.elsewhere.len() - 1) as u32 | ELSEWHERE)
    }
}

#[cold]
fn unknown_code(at: &Cursor<'_>, start: usize, code: u64) -> Error {
    at.malformed(start, format!("an entry with the abbreviation {code}, which the unit does not have"))
}
