//! The resolved graph as BTF.

use std::borrow::Cow;

use btf::write::{Builder, EnumValueDef, MemberDef, ParamDef, SecVarDef};
use btf::{BitOffset, ByteOffset, ByteSize, Endian, FuncLinkage, IntEncoding, Kind, StrOffset, TypeId, VarLinkage};
use rustc_hash::FxHashMap;

use crate::Compat;
use crate::base::{BASE_UNIT, Base};
use crate::error::{Error, Result};
use crate::graph::{ClassId, Graph, Resolved, View};
use crate::kfuncs::Kfunc;
use crate::layout::Layout;
use crate::merge::Merged;
use crate::names::NameId;
use crate::nodes::{
    NO_ENTRY, NodeId, NodeKind, SlotKind, VOID, head, kind_of, references, slot_kind, slot_of, slot_words,
};
use crate::select::Selected;
use crate::symbols::PERCPU_SECTION;
use crate::unit::Unit;

/// `[A-Za-z_.][A-Za-z0-9_.]*`, what the kernel takes for a name (kernel/bpf/btf.c, `btf_name_valid_identifier`).
pub(crate) fn is_identifier(name: &[u8]) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'.';
    matches!(name, [first, rest @ ..] if letter(*first) && rest.iter().all(|&byte| letter(byte) || byte.is_ascii_digit()))
}

/// A record to be written.
#[derive(Clone, Debug)]
enum Item {
    /// A node, its slots seen from a view.
    Node(NodeId, View),
    /// Words whose references are already type ids.
    Words(Vec<u32>),
    Forward(NodeId),
}

pub(crate) struct Writer<'a, 'f> {
    merged: &'a Merged<'f>,
    graph: &'a Graph,
    units: &'a [Unit],
    compat: Compat,
    base: Option<&'a Base<'f>>,
    items: Vec<Item>,
    first_id: u32,
    /// Type ids by node, of nodes that look the same from everywhere.
    by_node: Vec<u32>,
    by_class: Vec<u32>,
    by_slot: FxHashMap<NodeId, u32>,
    /// Type ids by resolved words, of the others.
    by_words: FxHashMap<Vec<u32>, u32>,
    address_size: u32,
    index_type: u32,
}

impl<'a, 'f> Writer<'a, 'f> {
    pub(crate) fn new(
        merged: &'a Merged<'f>,
        graph: &'a Graph,
        units: &'a [Unit],
        compat: Compat,
        address_size: u32,
        base: Option<&'a Base<'f>>,
    ) -> Self {
        let mut writer = Writer {
            merged,
            graph,
            units,
            compat,
            items: Vec::new(),
            first_id: base.map_or(1, |base| base.end_id.0),
            base,
            by_node: vec![0; merged.nodes.len()],
            by_class: vec![0; graph.classes.len()],
            by_slot: FxHashMap::default(),
            by_words: FxHashMap::default(),
            address_size,
            index_type: 0,
        };
        if let Some(base) = base {
            writer.know(base);
        }
        writer
    }

    /// The ids of what the base has.
    fn know(&mut self, base: &Base<'f>) {
        self.by_slot.extend(base.forwards.iter().copied());
        self.by_node[..base.by_node.len()].copy_from_slice(&base.by_node);
        let affected: Vec<(NodeId, u32)> =
            base.types.iter().copied().filter(|&(node, _)| self.graph.is_affected(node)).collect();
        affected.iter().for_each(|&(node, _)| self.by_node[node.0 as usize] = 0);
        let named = |node| slot_of(self.merged.nodes.words(node)).is_some();
        let (definitions, others): (Vec<_>, Vec<_>) = affected.into_iter().partition(|&(node, _)| named(node));
        for (node, id) in definitions {
            if let Some(class) = self.graph.base_class(node) {
                self.by_class[class.0 as usize] = id;
            }
        }
        // in the order of nodes: what a node refers to comes before it
        for (node, id) in others {
            let words = self.resolved(node, View::Unit(BASE_UNIT), false);
            self.by_words.entry(words).or_insert(id);
        }
    }

    /// Where an identifier lies among the strings.
    fn string(&self, builder: &mut Builder, name: NameId) -> StrOffset {
        self.add_string(builder, self.name(name))
    }

    /// Where the name of a number, or a tag, lies among the strings.
    fn free_string(&self, builder: &mut Builder, name: NameId) -> StrOffset {
        self.add_string(builder, self.text(name))
    }

    fn add_string(&self, builder: &mut Builder, name: Cow<'_, str>) -> StrOffset {
        match self.base.and_then(|base| base.strings.get(name.as_bytes())) {
            Some(&offset) => StrOffset(offset),
            None => builder.string(&name),
        }
    }

    fn push(&mut self, item: Item) -> u32 {
        self.items.push(item);
        self.first_id + self.items.len() as u32 - 1
    }

    /// Writes everything. Types come in the order in which the input has them first.
    pub(crate) fn write(
        mut self,
        functions: &[Selected],
        kfuncs: &FxHashMap<&[u8], Kfunc>,
        big: bool,
    ) -> Result<Vec<u8>> {
        self.roots();
        self.index_type = self.int_type();
        let endian = if big { Endian::Big } else { Endian::Little };
        let mut builder = match self.base {
            Some(base) => Builder::split(endian, base.str_len, base.end_id),
            None => Builder::new(endian),
        };
        builder.reserve(self.items.len() * 48, self.items.len() * 16);
        let prototypes: Vec<u32> = functions
            .iter()
            .map(|function| self.type_id(function.prototype, View::Unit(function.unit), true))
            .collect();
        let variables = self.variables();
        let type_tags = self.type_tags();
        let mut at = 0;
        while at < self.items.len() {
            let item = std::mem::replace(&mut self.items[at], Item::Words(Vec::new()));
            self.item(&mut builder, item)?;
            at += 1;
        }
        for (function, prototype) in functions.iter().zip(prototypes) {
            let name = self.string(&mut builder, function.name);
            let id = builder.func(name, TypeId(prototype), FuncLinkage::Static);
            if self.compat.decl_tag {
                self.function_tags(&mut builder, function, id, kfuncs);
            }
        }
        for (target, component, value) in type_tags {
            let value = self.string(&mut builder, value);
            builder.decl_tag(value, TypeId(target), component, false);
        }
        self.section(&mut builder, &variables);
        builder.finish().map_err(|error| Error::TooLarge(error.to_string()))
    }

    /// Every node that the input has an entry for.
    fn roots(&mut self) {
        let nodes = &self.merged.nodes;
        let mut roots: Vec<(u64, u32, Root)> = Vec::new();
        for id in nodes.placed_ids().into_iter().chain(nodes.own_ids()) {
            let first = nodes.first(id);
            let words = nodes.words(id);
            let affected = self.graph.is_affected(id);
            if first == NO_ENTRY || (affected && slot_of(words).is_some()) {
                continue;
            }
            roots.push((first, u32::from(kind_of(words[0]) == NodeKind::Slot), Root::Node(id)));
        }
        for (at, class) in self.graph.classes.iter().enumerate() {
            roots.push((class.position, 2 + at as u32, Root::Class(ClassId(at as u32))));
        }
        roots.sort_by_key(|&(position, rank, _)| (position, rank));
        for (position, _, root) in roots {
            match root {
                Root::Class(class) => {
                    self.class_id(class);
                }
                Root::Node(id) => {
                    let view = View::Unit(self.unit_at(position));
                    if nodes.kind(id) == NodeKind::Slot {
                        if self.graph.resolve(id, view, false) == Resolved::Forward {
                            self.type_id(id, view, false);
                        }
                    } else {
                        self.type_id(id, view, false);
                    }
                }
            }
        }
    }

    fn unit_at(&self, position: u64) -> u32 {
        (self.units.partition_point(|unit| unit.position() <= position)).saturating_sub(1) as u32
    }

    fn class_id(&mut self, class: ClassId) -> u32 {
        let at = class.0 as usize;
        if self.by_class[at] == 0 {
            self.by_class[at] = self.push(Item::Node(self.graph.classes[at].definition, View::Class(class)));
        }
        self.by_class[at]
    }

    /// The id of a node's type, allotted at its first use.
    fn type_id(&mut self, node: NodeId, view: View, by_value: bool) -> u32 {
        if node == VOID {
            return 0;
        }
        let known = self.by_node[node.0 as usize];
        if known != 0 {
            return known;
        }
        let nodes = &self.merged.nodes;
        let words = nodes.words(node);
        match kind_of(words[0]) {
            NodeKind::Slot => match self.graph.resolve(node, view, by_value) {
                Resolved::Definition(definition) => self.type_id(definition, View::Unit(u32::MAX), by_value),
                Resolved::Class(class) => self.class_id(class),
                Resolved::Forward => {
                    if let Some(&id) = self.by_slot.get(&node) {
                        return id;
                    }
                    let id = self.push(Item::Forward(node));
                    self.by_slot.insert(node, id);
                    id
                }
            },
            NodeKind::TypeTag if !self.compat.type_tag => self.type_id(NodeId(words[2]), view, by_value),
            _ if !self.graph.is_affected(node) => {
                let id = self.push(Item::Node(node, View::Unit(u32::MAX)));
                self.by_node[node.0 as usize] = id;
                id
            }
            _ => {
                let words = self.resolved(node, view, by_value);
                if let Some(&id) = self.by_words.get(&words) {
                    return id;
                }
                let id = self.push(Item::Words(words.clone()));
                self.by_words.insert(words, id);
                id
            }
        }
    }

    /// A node's words with type ids for references.
    fn resolved(&mut self, node: NodeId, view: View, by_value: bool) -> Vec<u32> {
        let nodes = &self.merged.nodes;
        let words = nodes.words(node);
        let by_value = match kind_of(words[0]) {
            NodeKind::Pointer => false,
            NodeKind::Struct | NodeKind::Union | NodeKind::Array | NodeKind::Prototype => true,
            _ => by_value,
        };
        let mut resolved = words.to_vec();
        for at in references(words) {
            resolved[at] = self.type_id(NodeId(words[at]), view, by_value);
        }
        resolved
    }

    /// The type of array indices: `int`.
    fn int_type(&mut self) -> u32 {
        let nodes = &self.merged.nodes;
        let int = self.merged.names.find(b"int").and_then(|name| nodes.find(&[head(NodeKind::Int, 1), name.0, 4, 32]));
        match int {
            Some(node) => self.type_id(node, View::Unit(u32::MAX), true),
            None if nodes.ids().any(|id| nodes.kind(id) == NodeKind::Array) => {
                self.push(Item::Words(vec![head(NodeKind::Int, 1), u32::MAX, 4, 32]))
            }
            None => 0,
        }
    }

    /// The text of a number's name or a tag, which may be anything.
    fn text(&self, name: NameId) -> Cow<'f, str> {
        // the stand-in for an int that the input does not have
        let name = if name.0 == u32::MAX { b"int".as_slice() } else { self.merged.names.get(name) };
        match std::str::from_utf8(name) {
            Ok(name) if !name.contains('\0') => Cow::Borrowed(name),
            _ => Cow::Owned(String::from_utf8_lossy(name).replace('\0', "_")),
        }
    }

    /// A name as the kernel takes it: it would refuse all of the BTF for the sake of one `Option<u8>` or `a$b`, whose
    /// other bytes are therefore written as `_`.
    fn name(&self, name: NameId) -> Cow<'f, str> {
        let bytes = self.merged.names.get(name);
        if bytes.is_empty() || is_identifier(bytes) {
            return self.text(name);
        }
        let mut valid = String::with_capacity(bytes.len() + 1);
        if bytes[0].is_ascii_digit() {
            valid.push('_');
        }
        let in_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        valid.extend(bytes.iter().map(|&byte| if in_names(byte) { char::from(byte) } else { '_' }));
        Cow::Owned(valid)
    }

    fn item(&mut self, builder: &mut Builder, item: Item) -> Result<()> {
        let words = match item {
            Item::Forward(slot) => {
                let words = self.merged.nodes.words(slot);
                let name = self.string(builder, NameId(words[1]));
                match slot_kind(words[0]) {
                    // BTF has no forward declaration of an enum but one without enumerators
                    SlotKind::Enum => builder.enum_(name, ByteSize(4), false, []),
                    kind => builder.fwd(name, kind == SlotKind::Union),
                };
                return Ok(());
            }
            Item::Node(node, view) => self.resolved(node, view, false),
            Item::Words(words) => words,
        };
        let name_at = |words: &[u32]| NameId(words[1]);
        match kind_of(words[0]) {
            NodeKind::Int => {
                let name = self.free_string(builder, name_at(&words));
                builder.int(name, ByteSize(words[2]), IntEncoding((words[0] >> 8) as u8), BitOffset(0), words[3] as u8);
            }
            NodeKind::Float => {
                let name = self.free_string(builder, name_at(&words));
                if self.compat.float {
                    builder.float(name, ByteSize(words[2]));
                } else {
                    builder.int(name, ByteSize(words[2]), IntEncoding::NONE, BitOffset(0), (words[2] * 8) as u8);
                }
            }
            NodeKind::Pointer => {
                builder.ptr(TypeId(words[1]));
            }
            NodeKind::Const => {
                builder.modifier(Kind::Const, TypeId(words[1]));
            }
            NodeKind::Volatile => {
                builder.modifier(Kind::Volatile, TypeId(words[1]));
            }
            NodeKind::Restrict => {
                builder.modifier(Kind::Restrict, TypeId(words[1]));
            }
            NodeKind::Typedef => {
                let name = self.string(builder, name_at(&words));
                builder.typedef(name, TypeId(words[2]));
            }
            NodeKind::TypeTag => {
                let name = self.free_string(builder, name_at(&words));
                builder.type_tag(name, TypeId(words[2]), false);
            }
            NodeKind::Array => {
                builder.array(TypeId(words[1]), TypeId(self.index_type), words[2]);
            }
            NodeKind::Struct | NodeKind::Union => {
                let kind = if kind_of(words[0]) == NodeKind::Union { Kind::Union } else { Kind::Struct };
                let name = self.string(builder, name_at(&words));
                let members: Vec<MemberDef> = words[3..]
                    .chunks_exact(4)
                    .map(|member| MemberDef {
                        name: self.string(builder, NameId(member[0])),
                        ty: TypeId(member[1]),
                        offset: BitOffset(member[2]),
                        bitfield_size: member[3],
                    })
                    .collect();
                builder.composite(kind, name, ByteSize(words[2]), members);
            }
            NodeKind::Enum => self.enumeration(builder, &words),
            NodeKind::Prototype => {
                let parameters: Vec<ParamDef> = words[2..]
                    .chunks_exact(2)
                    .map(|parameter| ParamDef {
                        name: self.string(builder, NameId(parameter[0])),
                        ty: TypeId(parameter[1]),
                    })
                    .collect();
                builder.func_proto(TypeId(words[1]), parameters);
            }
            kind @ (NodeKind::Void | NodeKind::Slot | NodeKind::Extern) => {
                return Err(Error::TooLarge(format!("internal: a node of the kind {kind:?} among the types")));
            }
        }
        Ok(())
    }

    fn enumeration(&self, builder: &mut Builder, words: &[u32]) {
        let name = self.string(builder, NameId(words[1]));
        let (bytes, declared_signed) = (words[2], words[0] >> 8 == 1);
        let raw = |enumerator: &[u32]| (u64::from(enumerator[1]) | u64::from(enumerator[2]) << 32) as i64;
        let wide = bytes > 4 && self.compat.enum64;
        let negative = words[3..].chunks_exact(3).any(|enumerator| raw(enumerator) < 0);
        let signed = if wide { declared_signed } else { negative && bytes <= 4 };
        let values: Vec<EnumValueDef> = words[3..]
            .chunks_exact(3)
            .map(|enumerator| {
                let value = raw(enumerator);
                let value = match (wide, signed) {
                    (true, true) => i128::from(value),
                    (true, false) => i128::from(value as u64),
                    // what does not fit is cut, as encoders for old kernels do
                    (false, true) => i128::from(value as i32),
                    (false, false) => i128::from(value as u32),
                };
                EnumValueDef { name: self.string(builder, NameId(enumerator[0])), value }
            })
            .collect();
        let size = ByteSize(if bytes.is_power_of_two() && bytes <= 8 { bytes } else { 4 });
        if wide {
            builder.enum64(name, size, signed, values);
        } else {
            builder.enum_(name, size, signed, values);
        }
    }

    fn function_tags(&self, builder: &mut Builder, function: &Selected, id: TypeId, kfuncs: &FxHashMap<&[u8], Kfunc>) {
        for &(component, value) in &self.merged.functions[function.at].tags {
            let value = self.string(builder, value);
            builder.decl_tag(value, id, component, false);
        }
        if let Some(kfunc) = kfuncs.get(self.merged.names.get(function.name)) {
            let tags = if kfunc.fastcall { &["bpf_kfunc", "bpf_fastcall"][..] } else { &["bpf_kfunc"] };
            for tag in tags {
                let value = match self.base.and_then(|base| base.strings.get(tag.as_bytes())) {
                    Some(&offset) => StrOffset(offset),
                    None => builder.string(tag),
                };
                builder.decl_tag(value, id, None, false);
            }
        }
    }

    /// The tags of types and members: type id, member, value; each once.
    fn type_tags(&mut self) -> Vec<(u32, Option<u32>, NameId)> {
        let mut tags = Vec::new();
        if !self.compat.decl_tag {
            return tags;
        }
        let mut seen = rustc_hash::FxHashSet::default();
        for tag in &self.merged.type_tags {
            let nodes = &self.merged.nodes;
            let view = View::Unit(tag.unit);
            // a named struct or union is what its slot stands for in this unit
            let slot = slot_of(nodes.words(tag.node)).and_then(|(kind, name)| nodes.find(&slot_words(kind, name)));
            let target = self.type_id(slot.unwrap_or(tag.node), view, true);
            let own = target >= self.first_id;
            if own && seen.insert((target, tag.component, tag.value)) {
                tags.push((target, tag.component, tag.value));
            }
        }
        tags
    }

    /// The per-CPU variables with their types, by their offset.
    fn variables(&mut self) -> Vec<(usize, u32, u32)> {
        let merged = self.merged;
        let layout = Layout::new(&merged.nodes, self.graph, self.address_size);
        let mut sized: Vec<(usize, u32, u32)> = Vec::new();
        for (at, variable) in merged.variables.iter().enumerate() {
            let size = layout.size(variable.ty, View::Unit(variable.unit));
            let (Ok(size), Ok(offset)) = (u32::try_from(size), u32::try_from(variable.offset)) else { continue };
            if size != 0 {
                sized.push((at, offset, size));
            }
        }
        sized.sort_by_key(|&(at, offset, _)| (offset, at));
        sized.dedup_by_key(|&mut (at, offset, _)| (offset, merged.variables[at].name));
        let typed = sized.into_iter().map(|(at, _, size)| {
            let variable = &merged.variables[at];
            (at, self.type_id(variable.ty, View::Unit(variable.unit), true), size)
        });
        typed.collect()
    }

    fn section(&self, builder: &mut Builder, variables: &[(usize, u32, u32)]) {
        let mut places = Vec::new();
        for &(at, ty, size) in variables {
            let variable = &self.merged.variables[at];
            let name = self.string(builder, variable.name);
            let linkage = if variable.external { VarLinkage::Global } else { VarLinkage::Static };
            let id = builder.var(name, TypeId(ty), linkage);
            for &tag in variable.tags.iter().filter(|_| self.compat.decl_tag) {
                let value = self.string(builder, tag);
                builder.decl_tag(value, id, None, false);
            }
            places.push(SecVarDef { ty: id, offset: ByteOffset(variable.offset as u32), size: ByteSize(size) });
        }
        if let Some(last) = places.last() {
            let name = builder.string(PERCPU_SECTION);
            builder.datasec(name, ByteSize(last.offset.0.saturating_add(last.size.0)), places);
        }
    }
}

enum Root {
    Node(NodeId),
    Class(ClassId),
}
