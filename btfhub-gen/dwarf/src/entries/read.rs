//! The pass over a unit's bytes that fills its tables.

use super::{
    Child, DECLARATION, DeclTag, Entries, Frame, FrameKind, Function, NEGATIVE, NO_MSB_OFFSET, NOT_WITHIN, Parameter,
    Ref, SIZED, Tagged, Type, UnitInfo, VARIADIC, Variable,
};
use crate::abbrev::{At, Form, Table, Tag};
use crate::attributes::{self, Attributes};
use crate::cursor::Cursor;
use crate::error::{Diagnostic, Error, Result};
use crate::names::NameId;
use crate::strings::Strings;
use crate::unit::{EntryAt, Files, Unit, section_name};

/// What is needed to read units, kept from unit to unit.
pub(crate) struct Reader<'f, 'd> {
    pub(crate) files: &'f Files<'d>,
    pub(crate) signatures: &'f rustc_hash::FxHashMap<u64, EntryAt>,
    pub(crate) table: Table<'f>,
    pub(crate) attributes: Attributes,
}

impl<'f, 'd> Reader<'f, 'd> {
    /// Reads a unit. Gives false, with the tables empty, where `skip` says so of its first entry.
    pub(crate) fn read(
        &mut self,
        unit: &Unit,
        entries: &mut Entries,
        strings: &mut Strings<'f>,
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
        let mut pass = Pass { reader: self, unit, entries, strings, diagnostics };
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

pub(super) struct Pass<'r, 'f, 'd> {
    pub(super) reader: &'r mut Reader<'f, 'd>,
    pub(super) unit: &'r Unit,
    pub(super) entries: &'r mut Entries,
    pub(super) strings: &'r mut Strings<'f>,
    diagnostics: &'r mut Vec<Diagnostic>,
}

impl<'f> Pass<'_, 'f, '_> {
    pub(super) fn note(&mut self, offset: usize, message: impl Into<String>) {
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
        let Reader { table, attributes, .. } = &mut *self.reader;
        let Some(abbrev) = table.get(code) else { return Err(unknown_code(at, start, code)) };
        attributes.read(at, table, abbrev, self.unit.encoding)?;
        let children = abbrev.children;
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
        if self.unit.skeleton || (dwo.is_some() && !children) {
            let dwo = dwo.map(|dwo| self.string(Some(dwo))).transpose()?.unwrap_or_default();
            let dwo = String::from_utf8_lossy(self.strings.get(dwo)).into_owned();
            let dwo = if dwo.is_empty() { "a .dwo file".to_owned() } else { dwo };
            let section = section_name(self.unit.source);
            return Err(Error::Skeleton { section, offset: self.unit.start as u64, dwo });
        }
        let producer = self.string(producer)?;
        self.entries.info.clang = self.strings.get(producer).windows(5).any(|word| word == b"clang");
        if children {
            self.open(FrameKind::Top, 0);
        }
        Ok(children)
    }

    fn open(&mut self, kind: FrameKind, at: usize) {
        let entries = &mut *self.entries;
        let mut aside = NOT_WITHIN;
        let start = match kind {
            FrameKind::Type => {
                if let Some(outer) = entries.frames.iter().rev().find(|frame| frame.kind == FrameKind::Type) {
                    aside = entries.set_aside.len() as u32;
                    entries.set_aside.extend(entries.children.drain(outer.start as usize..));
                }
                entries.children.len()
            }
            FrameKind::Function => entries.open_parameters.len(),
            _ => 0,
        };
        entries.frames.push(Frame { kind, at: at as u32, start: start as u32, aside });
    }

    /// Ends the innermost open entry. Gives false when none is open any more.
    fn close(&mut self) -> bool {
        let entries = &mut *self.entries;
        let Some(frame) = entries.frames.pop() else { return false };
        match frame.kind {
            FrameKind::Top | FrameKind::Inside | FrameKind::Variable | FrameKind::Member | FrameKind::Parameter => {}
            FrameKind::Type => {
                let end = entries.children.len() as u32;
                entries.types[frame.at as usize].children = (frame.start, end);
                if frame.aside != NOT_WITHIN
                    && let Some(outer) = entries.frames.iter_mut().rev().find(|frame| frame.kind == FrameKind::Type)
                {
                    outer.start = end;
                    entries.children.extend(entries.set_aside.drain(frame.aside as usize..));
                }
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
        let Reader { table, attributes, .. } = &mut *self.reader;
        let Some(abbrev) = table.get(code) else { return Err(unknown_code(at, start, code)) };
        let (tag, children) = (abbrev.tag, abbrev.children);
        let Some(&top) = self.entries.frames.last() else { return Ok(false) };
        let encoding = self.unit.encoding;
        // what cannot matter in this place is only jumped over
        let matters = match tag {
            Tag::Other | Tag::CallSite => false,
            Tag::Variable => top.kind == FrameKind::Top,
            Tag::Parameter | Tag::UnspecifiedParameters => matches!(top.kind, FrameKind::Function | FrameKind::Type),
            Tag::Member | Tag::Enumerator | Tag::Subrange => top.kind == FrameKind::Type,
            Tag::Annotation => !matches!(top.kind, FrameKind::Top | FrameKind::Inside),
            _ => true,
        };
        if !matters {
            let sibling = attributes::skip(at, table, abbrev, encoding)?;
            if children {
                match (tag, sibling) {
                    (Tag::CallSite, Some(sibling)) if sibling > (at.pos() - self.unit.start) as u64 => {
                        at.seek(self.unit.start + sibling as usize);
                    }
                    _ => self.open(FrameKind::Inside, 0),
                }
            }
            return Ok(true);
        }
        attributes.read(at, table, abbrev, encoding)?;
        let (kind, position) = match tag {
            Tag::Member => {
                let component = self.entries.children.len() - top.start as usize;
                self.member(top, start)?;
                if children {
                    self.open_component(FrameKind::Member, top.at, component);
                    return Ok(true);
                }
                (FrameKind::Inside, 0)
            }
            Tag::Enumerator => {
                let name = self.name()?;
                let attributes = &self.reader.attributes;
                let value = attributes.constant(At::ConstValue).unwrap_or(0);
                if (value as i64) < 0 && matches!(attributes.get(At::ConstValue), Some((Form::Sdata, _))) {
                    self.entries.types[top.at as usize].flags |= NEGATIVE;
                }
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
                if children && top.kind == FrameKind::Function {
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
                self.ty(tag, start)?;
                (FrameKind::Type, self.entries.types.len() - 1)
            }
        };
        if children {
            self.open(kind, position);
        }
        Ok(true)
    }

    #[inline]
    fn child(&mut self, child: Child) {
        self.entries.children.push(child);
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
        self.entries.frames.push(Frame { kind, at: owner, start: component as u32, aside: NOT_WITHIN });
    }

    /// Clang's `DW_TAG_LLVM_annotation`: a `btf_type_tag` of a pointer, or a `btf_decl_tag`.
    fn annotation(&mut self, top: Frame) -> Result<()> {
        let name = self.name()?;
        let value = self.reader.attributes.get(At::ConstValue);
        match self.strings.get(name) {
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
}

#[cold]
fn unknown_code(at: &Cursor<'_>, start: usize, code: u64) -> Error {
    at.malformed(start, format!("an entry with the abbreviation {code}, which the unit does not have"))
}
