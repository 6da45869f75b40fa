//! A unit's entries as nodes of the nominal graph, its functions and per-CPU variables.

mod functions;
mod states;

use functions::inherit;
pub(crate) use states::{FunctionState, Marks, TypeTag, Uses, VariableState};

use rustc_hash::FxHashMap;

use crate::abbrev::Tag;
use crate::entries::{
    Child, DECLARATION, DeclTag, Entries, Indexed, NEGATIVE, NO_MSB_OFFSET, Ref, SIZED, Tagged, Target, Type, UnitInfo,
    VARIADIC,
};
use crate::error::{Diagnostic, Result};
use crate::names::NameId;
use crate::nodes::{NO_ENTRY, NodeId, NodeKind, Nodes, SlotKind, VOID, head, slot_words};
use crate::strings::{StringSections, Strings};
use crate::symbols::Symbols;
use crate::unit::{EntryAt, Files, Unit};

/// What one thread gathers over all units that it reads.
pub(crate) struct Worker<'f> {
    pub(crate) strings: Strings<'f>,
    pub(crate) nodes: Nodes,
    pub(crate) functions: Vec<FunctionState>,
    pub(crate) parameters: Vec<(NameId, NodeId)>,
    /// Parameters, by their position in the table, whose names come from entries of other units.
    pub(crate) foreign_parameters: Vec<(u32, EntryAt)>,
    /// Functions inlined whose entries are in other units: how often.
    pub(crate) foreign_inlined: FxHashMap<EntryAt, u32>,
    pub(crate) variables: Vec<VariableState>,
    /// `btf_decl_tag`s of types and their members.
    pub(crate) type_tags: Vec<TypeTag>,
    /// Per unit: the named definitions that it holds.
    pub(crate) environments: Vec<(u32, Vec<NodeId>)>,
    /// Per unit that refers to others: the entries there.
    pub(crate) imports: Vec<(u32, Vec<EntryAt>)>,
    pub(crate) uses: FxHashMap<NameId, Uses>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Whether the symbol table has a function of the name.
    known: FxHashMap<NameId, bool>,
    words: Vec<u32>,
    /// By type entry of the unit: the node that references to it get, plus 1; 0 not made yet.
    made: Vec<u32>,
    sizes: FxHashMap<u32, u32>,
}

/// What the conversion of one unit reads.
pub(crate) struct Context<'c, 'f, 'd> {
    pub(crate) files: &'f Files<'d>,
    pub(crate) entries: &'c Entries,
    pub(crate) unit: &'c Unit,
    pub(crate) number: u32,
    pub(crate) symbols: &'f Symbols<'d>,
    pub(crate) clang: bool,
    /// The result may have TYPE_TAGs.
    pub(crate) type_tags: bool,
}

const IN_PROGRESS: u32 = u32::MAX;

/// References among unnamed types go no deeper than this in any real input; deeper ones are cut.
const DEEPEST: u32 = 200;

impl<'f> Worker<'f> {
    pub(crate) fn new(places: StringSections<'f>) -> Self {
        Worker {
            strings: Strings::new(places),
            nodes: Nodes::new(),
            functions: Vec::new(),
            parameters: Vec::new(),
            foreign_parameters: Vec::new(),
            foreign_inlined: FxHashMap::default(),
            variables: Vec::new(),
            type_tags: Vec::new(),
            environments: Vec::new(),
            imports: Vec::new(),
            uses: FxHashMap::default(),
            diagnostics: Vec::new(),
            known: FxHashMap::default(),
            words: Vec::new(),
            made: Vec::new(),
            sizes: FxHashMap::default(),
        }
    }

    /// Begins with a unit whose entries are read.
    pub(crate) fn begin(&mut self, entries: &Entries) {
        self.made.clear();
        self.made.resize(entries.types.len(), 0);
        self.words.clear();
        self.sizes.clear();
    }

    /// Converts all of a unit.
    pub(crate) fn unit(&mut self, context: &Context<'_, 'f, '_>) -> Result<()> {
        self.begin(context.entries);
        self.nodes.settle();
        let mut definitions = Vec::new();
        let mut tags = context.entries.decl_tags.iter().filter(|tag| matches!(tag.on, Tagged::Type(_))).peekable();
        let tagged = tags.peek().is_some();
        for at in 0..context.entries.types.len() {
            let ty = &context.entries.types[at];
            if ty.flags & DECLARATION == 0 && ty.name != NameId(0) && slot_kind_of(ty.tag).is_some() {
                definitions.push(self.define(context, at, 0));
            } else {
                self.reference_to(context, at, 0);
            }
        }
        if tagged {
            for tag in tags {
                self.type_tag(context, tag);
            }
        }
        definitions.shrink_to_fit();
        self.environments.push((context.number, definitions));
        let imports = context.entries.imports();
        if !imports.is_empty() {
            self.imports.push((context.number, imports));
        }
        for function in &context.entries.functions {
            self.function(context, function)?;
        }
        self.inlined(context);
        for (at, variable) in context.entries.variables.iter().enumerate() {
            self.variable(context, variable, at);
        }
        Ok(())
    }

    fn type_tag(&mut self, context: &Context<'_, 'f, '_>, tag: &DeclTag) {
        let Tagged::Type(at) = tag.on else { return };
        let ty = &context.entries.types[at as usize];
        if ty.flags & DECLARATION != 0 || !matches!(ty.tag, Tag::Struct | Tag::Union | Tag::Typedef) {
            return;
        }
        let node = self.define(context, at as usize, 0);
        let (entry, unit) = (self.entry_at(context, ty.offset), context.number);
        self.type_tags.push(TypeTag { entry, node, component: tag.component, value: tag.value, unit });
    }

    fn note(&mut self, context: &Context<'_, 'f, '_>, offset: u32, message: impl Into<String>) {
        let offset = context.unit.start as u64 + u64::from(offset);
        self.diagnostics.push(Diagnostic { offset, message: message.into() });
    }

    fn entry_at(&self, context: &Context<'_, 'f, '_>, offset: u32) -> u64 {
        EntryAt { source: context.unit.source, offset: context.unit.start as u64 + u64::from(offset) }.position()
    }

    /// The node that a reference stands for.
    #[inline]
    pub(crate) fn resolve(&mut self, context: &Context<'_, 'f, '_>, reference: Ref, depth: u32) -> NodeId {
        match context.entries.target(reference) {
            Target::None => VOID,
            Target::Here(offset) => match context.entries.find(offset) {
                Some(Indexed::Type(at)) => match self.made[at] {
                    0 | IN_PROGRESS => self.reference_to(context, at, depth + 1),
                    made => NodeId(made - 1),
                },
                _ => {
                    self.note(context, offset, "a reference to a type leads here, which is none; written as void");
                    VOID
                }
            },
            Target::Elsewhere(entry) => self.extern_node(entry),
        }
    }

    /// The node that stands for an entry of another unit: a type, or the type of a function's result or parameter.
    fn extern_node(&mut self, entry: EntryAt) -> NodeId {
        let words = [head(NodeKind::Extern, entry.source as u32), entry.offset as u32, (entry.offset >> 32) as u32];
        self.nodes.intern(&words, NO_ENTRY)
    }

    /// What references from other units find at an entry: its name, and its type or the type that it is.
    pub(crate) fn found(&mut self, context: &Context<'_, 'f, '_>, offset: u32) -> Option<(NameId, NodeId)> {
        let entries = context.entries;
        Some(match entries.find(offset)? {
            Indexed::Type(at) => (NameId(0), self.reference_to(context, at, 0)),
            Indexed::Parameter(at) => {
                let (name, ty, _) = inherit(entries, &entries.parameters[at]);
                (name, self.resolve(context, ty, 0))
            }
            Indexed::Function(at) => {
                let (mut name, mut ty, mut function) = (NameId(0), Ref::default(), &entries.functions[at]);
                for _ in 0..4 {
                    name = if name == NameId(0) { function.name } else { name };
                    ty = if ty == Ref::default() { function.ty } else { ty };
                    let Target::Here(offset) = entries.target(function.origin) else { break };
                    let Some(Indexed::Function(beneath)) = entries.find(offset) else { break };
                    function = &entries.functions[beneath];
                }
                (name, self.resolve(context, ty, 0))
            }
            Indexed::Variable(at) => (entries.variables[at].name, self.resolve(context, entries.variables[at].ty, 0)),
        })
    }

    /// The node that references to this type entry get: for a named struct, union or enum its slot.
    pub(crate) fn reference_to(&mut self, context: &Context<'_, 'f, '_>, at: usize, depth: u32) -> NodeId {
        match self.made[at] {
            0 => {}
            IN_PROGRESS => {
                let offset = context.entries.types[at].offset;
                self.note(context, offset, "a type that contains itself without a name; written as void");
                return VOID;
            }
            made => return NodeId(made - 1),
        }
        let ty = &context.entries.types[at];
        if depth > DEEPEST {
            self.note(context, ty.offset, format!("types nested more than {DEEPEST} deep; written as void"));
            return VOID;
        }
        self.made[at] = IN_PROGRESS;
        let node = match slot_kind_of(ty.tag) {
            // declared here, defined in a type unit
            Some(_) if ty.flags & DECLARATION != 0 && ty.ty != Ref::default() => self.resolve(context, ty.ty, depth),
            Some(kind) if ty.name != NameId(0) => {
                let entry = self.entry_at(context, ty.offset);
                self.nodes.intern(&slot_words(kind, ty.name), entry)
            }
            // a declaration of nothing
            Some(_) if ty.flags & DECLARATION != 0 => VOID,
            _ => self.define(context, at, depth),
        };
        self.made[at] = node.0 + 1;
        node
    }

    /// The node of a type entry's content.
    fn define(&mut self, context: &Context<'_, 'f, '_>, at: usize, depth: u32) -> NodeId {
        let ty = context.entries.types[at];
        let entry = self.entry_at(context, ty.offset);
        let start = self.words.len();
        match ty.tag {
            Tag::Base => return self.base(&ty, entry),
            Tag::Unspecified => return VOID,
            // no kind of BTF for it: what lies beneath
            Tag::Atomic => return self.resolve(context, ty.ty, depth),
            Tag::Pointer => {
                let mut target = self.resolve(context, ty.ty, depth);
                let tags = if context.type_tags { context.entries.children(&ty) } else { &[] };
                for tag in tags {
                    target = self.nodes.intern(&[head(NodeKind::TypeTag, 0), tag.name.0, target.0], NO_ENTRY);
                }
                return self.nodes.intern(&[head(NodeKind::Pointer, 0), target.0], entry);
            }
            Tag::Const | Tag::Volatile | Tag::Restrict => {
                let kind = match ty.tag {
                    Tag::Const => NodeKind::Const,
                    Tag::Volatile => NodeKind::Volatile,
                    _ => NodeKind::Restrict,
                };
                let target = self.resolve(context, ty.ty, depth);
                return self.nodes.intern(&[head(kind, 0), target.0], entry);
            }
            Tag::Typedef => {
                let target = self.resolve(context, ty.ty, depth);
                return self.nodes.intern(&[head(NodeKind::Typedef, 0), ty.name.0, target.0], entry);
            }
            Tag::Array => {
                let mut element = self.resolve(context, ty.ty, depth);
                let dimensions = context.entries.children(&ty);
                let [outermost, inner @ ..] = dimensions else {
                    let words = [head(NodeKind::Array, 0), element.0, 0];
                    return self.nodes.intern(&words, entry);
                };
                for dimension in inner.iter().rev() {
                    let words = [head(NodeKind::Array, 0), element.0, dimension.value as u32];
                    element = self.nodes.intern(&words, NO_ENTRY);
                }
                return self.nodes.intern(&[head(NodeKind::Array, 0), element.0, outermost.value as u32], entry);
            }
            Tag::Subroutine => {
                let result = self.resolve(context, ty.ty, depth);
                self.words.extend_from_slice(&[head(NodeKind::Prototype, 0), result.0]);
                for parameter in context.entries.children(&ty) {
                    let node = self.resolve(context, parameter.ty, depth);
                    self.words.extend_from_slice(&[parameter.name.0, node.0]);
                }
                if ty.flags & VARIADIC != 0 {
                    self.words.extend_from_slice(&[0, VOID.0]);
                }
            }
            Tag::Enum => {
                let bytes = if ty.flags & SIZED != 0 { ty.bytes } else { 4 };
                let children = context.entries.children(&ty);
                let signed = match bytes {
                    // an ENUM is signed where an enumerator is negative
                    ..=4 => children.iter().any(|child| (child.value as i64) < 0),
                    _ => signed_enum(context.entries, &ty),
                };
                self.words.extend_from_slice(&[head(NodeKind::Enum, u32::from(signed)), ty.name.0, bytes]);
                for enumerator in children {
                    let value = enumerator.value;
                    self.words.extend_from_slice(&[enumerator.name.0, value as u32, (value >> 32) as u32]);
                }
            }
            Tag::Struct | Tag::Union => {
                let kind = if ty.tag == Tag::Union { NodeKind::Union } else { NodeKind::Struct };
                self.words.extend_from_slice(&[head(kind, 0), ty.name.0, ty.bytes]);
                for member in context.entries.children(&ty) {
                    let node = self.resolve(context, member.ty, depth);
                    let offset = match member.msb_offset {
                        NO_MSB_OFFSET => member.value,
                        from_msb => self.bit_offset(context, member, from_msb),
                    };
                    let offset = u32::try_from(offset).unwrap_or_else(|_| {
                        self.note(context, ty.offset, "a member beyond 512 MiB; its offset is cut");
                        u32::MAX
                    });
                    self.words.extend_from_slice(&[member.name.0, node.0, offset, member.bits]);
                }
                sort_members(&mut self.words[start + 3..]);
            }
            _ => {
                self.note(context, ty.offset, "an entry of a kind that is no type; written as void");
                return VOID;
            }
        }
        let node = self.nodes.intern(&self.words[start..], entry);
        self.words.truncate(start);
        node
    }

    fn base(&mut self, ty: &Type, entry: u64) -> NodeId {
        let (bytes, name) = (ty.bytes, ty.name.0);
        match ty.encoding {
            // DW_ATE_float; BTF knows these sizes (kernel/bpf/btf.c, btf_float_check_meta)
            4 if matches!(bytes, 2 | 4 | 8 | 12 | 16) => {
                self.nodes.intern(&[head(NodeKind::Float, 0), name, bytes], entry)
            }
            // Rust's `()`: an INT has at least one byte, a STRUCT may have none
            _ if bytes == 0 => self.nodes.intern(&[head(NodeKind::Struct, 0), 0, 0], entry),
            encoding => {
                let encoding = match encoding {
                    // DW_ATE_signed, DW_ATE_signed_char → BTF_INT_SIGNED
                    5 | 6 => 1,
                    // DW_ATE_boolean → BTF_INT_BOOL
                    2 => 4,
                    _ => 0,
                };
                let (name, bytes) =
                    if bytes.is_power_of_two() && bytes <= 16 { (name, bytes) } else { (self.stand_in().0, 4) };
                self.nodes.intern(&[head(NodeKind::Int, encoding), name, bytes, bytes * 8], entry)
            }
        }
    }

    /// The name of the integer that stands for those of a size that BTF does not know, as pahole calls it.
    fn stand_in(&mut self) -> NameId {
        self.strings.intern(b"__SANITIZED_FAKE_INT__")
    }

    /// The bit offset of a bit field described the way of DWARF 2 and 3: counted from the most significant bit of its
    /// storage unit, which on a little-endian machine is the far end.
    fn bit_offset(&mut self, context: &Context<'_, 'f, '_>, member: &Child, from_msb: i32) -> u64 {
        let from_msb = i64::from(from_msb) as u64;
        if context.files.main.sections.big {
            return member.value.wrapping_add(from_msb);
        }
        let storage = if member.storage != 0 { member.storage } else { self.size_of(context, member.ty) };
        let bits = u64::from(storage) * 8;
        member.value.wrapping_add(bits).wrapping_sub(from_msb).wrapping_sub(u64::from(member.bits))
    }

    /// Bytes of a type as its entry, or the entries that it leads to, give them; 0 when unknown.
    fn size_of(&mut self, context: &Context<'_, 'f, '_>, mut reference: Ref) -> u32 {
        for _ in 0..DEEPEST {
            let Target::Here(offset) = context.entries.target(reference) else { return 0 };
            let Some(Indexed::Type(at)) = context.entries.find(offset) else { return 0 };
            let ty = &context.entries.types[at];
            if ty.tag == Tag::Pointer {
                return u32::from(context.unit.encoding.address_size);
            }
            if ty.bytes != 0 {
                return ty.bytes;
            }
            reference = ty.ty;
        }
        0
    }
}

/// Puts members in the order of their offsets, which the kernel demands: Rust lays structures out in another order than
/// they are declared in.
fn sort_members(words: &mut [u32]) {
    let (members, _) = words.as_chunks_mut::<4>();
    if !members.is_sorted_by_key(|member| member[2]) {
        members.sort_by_key(|member| member[2]);
    }
}

/// Whether the integer beneath an enum is signed.
fn signed_enum(entries: &Entries, ty: &Type) -> bool {
    if ty.ty == Ref::default() {
        // up to DWARF 2 the enum does not say, but the forms of negative values do
        return ty.flags & NEGATIVE != 0;
    }
    let mut reference = ty.ty;
    for _ in 0..DEEPEST {
        let Target::Here(offset) = entries.target(reference) else { break };
        let Some(Indexed::Type(at)) = entries.find(offset) else { break };
        let beneath = &entries.types[at];
        if beneath.tag == Tag::Base {
            return matches!(beneath.encoding, 5 | 6);
        }
        reference = beneath.ty;
    }
    false
}

fn slot_kind_of(tag: Tag) -> Option<SlotKind> {
    match tag {
        Tag::Struct => Some(SlotKind::Struct),
        Tag::Union => Some(SlotKind::Union),
        Tag::Enum => Some(SlotKind::Enum),
        _ => None,
    }
}

/// `DW_LANG_Rust` (DWARF 5, 7.12).
const RUST: u64 = 0x1c;

/// Units that are left out: Rust's types are not those of the C kernel that programs ask about.
pub(crate) fn is_excluded(info: &UnitInfo, keep_rust: bool) -> bool {
    info.language == RUST && !keep_rust
}
