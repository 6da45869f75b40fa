//! A unit's entries that matter, read in one pass over its bytes into flat tables.

mod read;
mod values;

pub(crate) use read::Reader;

use crate::abbrev::{Form, Tag};
use crate::names::NameId;
use crate::unit::EntryAt;

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
/// An enumerator is negative, and its form says so.
pub(crate) const NEGATIVE: u8 = 8;
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
    /// Children of types that are interrupted by a type within.
    set_aside: Vec<Child>,
    open_parameters: Vec<Parameter>,
}

#[derive(Clone, Copy)]
struct Frame {
    kind: FrameKind,
    /// Position of the type or function.
    at: u32,
    /// Type: where its children begin in the table. Function: where its parameters begin in the table of open ones.
    start: u32,
    /// Type within a type: where the other's children were put aside.
    aside: u32,
}

/// The type is not within a type.
const NOT_WITHIN: u32 = u32::MAX;

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

    /// The entries of other units that this one refers to.
    pub(crate) fn imports(&self) -> Vec<EntryAt> {
        let mut imports = self.elsewhere.clone();
        imports.sort_unstable();
        imports.dedup();
        imports
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
        self.set_aside.clear();
        self.open_parameters.clear();
    }
}
