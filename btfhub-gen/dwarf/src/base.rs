//! The BTF that a module's BTF builds on, as nodes: what the kernel has, the module refers to.

use std::sync::Arc;

use btf::{Btf, Type, TypeId};
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::graph::Prepared;
use crate::names::{NameId, Names};
use crate::nodes::{NO_ENTRY, NodeId, NodeKind, Nodes, SlotKind, VOID, head, slot_of, slot_words};

/// The number of the base among the units.
pub(crate) const BASE_UNIT: u32 = u32::MAX - 1;

/// A kernel's BTF, prepared once for all of its modules.
#[derive(Clone)]
pub struct Base<'b> {
    pub(crate) names: Arc<Names<'b>>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) graph: Arc<Prepared>,
    /// Type ids by node; of several equal types the first.
    pub(crate) types: Vec<(NodeId, u32)>,
    /// FWDs by slot.
    pub(crate) forwards: Vec<(NodeId, u32)>,
    pub(crate) definitions: Vec<NodeId>,
    /// By node: the id of the first type that is it; 0 for none.
    pub(crate) by_node: Vec<u32>,
    pub(crate) strings: FxHashMap<&'b [u8], u32>,
    pub(crate) str_len: u32,
    pub(crate) end_id: TypeId,
}

impl<'b> Base<'b> {
    /// Prepares a kernel's BTF (not a split one).
    ///
    /// # Errors
    /// [`Error::Base`] where it cannot be read.
    pub fn new(btf: &'b Btf<'b>) -> Result<Base<'b>> {
        let read = || -> Result<Base<'b>, btf::Error> {
            let mut reading =
                Reading { btf, names: Names::new(), nodes: Nodes::new(), made: vec![NOT_YET; btf.len() + 1] };
            let (mut types, mut forwards, mut definitions) = (FxHashMap::default(), Vec::new(), Vec::new());
            for id in btf.ids() {
                match btf.ty(id)? {
                    Type::Fwd { .. } => forwards.push((reading.reference(id, 0)?, id.0)),
                    // how BTF declares an enum
                    Type::Enum(empty) if !empty.name.is_empty() && empty.values().len() == 0 => {
                        forwards.push((reading.reference(id, 0)?, id.0));
                    }
                    ty @ (Type::Struct(_) | Type::Union(_) | Type::Enum(_)) if !ty.name().is_empty() => {
                        let node = reading.content(&ty, 0)?;
                        definitions.push(node);
                        types.entry(node).or_insert(id.0);
                    }
                    Type::Func { .. } | Type::Var { .. } | Type::Datasec(_) | Type::DeclTag { .. } => {}
                    _ => {
                        let node = reading.reference(id, 0)?;
                        if node != VOID {
                            types.entry(node).or_insert(id.0);
                        }
                    }
                }
            }
            let mut strings = FxHashMap::default();
            let mut at = 0;
            while at < btf.str_len() {
                let string = btf.str_bytes(btf::StrOffset(at))?;
                strings.entry(string).or_insert(at);
                at += string.len() as u32 + 1;
            }
            let mut types: Vec<_> = types.into_iter().collect();
            types.sort_unstable();
            let Reading { names, mut nodes, .. } = reading;
            let graph = Arc::new(Prepared::new(&mut nodes));
            let mut by_node = vec![0; nodes.len()];
            types.iter().for_each(|&(node, id)| by_node[node.0 as usize] = id);
            let (names, nodes) = (Arc::new(names), Arc::new(nodes));
            let (str_len, end_id) = (btf.str_len(), btf.end_id());
            Ok(Base { names, nodes, graph, types, forwards, definitions, by_node, strings, str_len, end_id })
        };
        read().map_err(|error| Error::Base(error.to_string()))
    }
}

struct Reading<'b> {
    btf: &'b Btf<'b>,
    names: Names<'b>,
    nodes: Nodes,
    made: Vec<u32>,
}

const NOT_YET: u32 = u32::MAX;
const IN_PROGRESS: u32 = u32::MAX - 1;
const DEEPEST: u32 = 200;

impl<'b> Reading<'b> {
    fn name(&mut self, name: &'b str) -> NameId {
        self.names.intern(name.as_bytes())
    }

    fn reference(&mut self, id: TypeId, depth: u32) -> Result<NodeId, btf::Error> {
        if id.is_void() {
            return Ok(VOID);
        }
        match self.made.get(id.0 as usize) {
            Some(&NOT_YET) if depth <= DEEPEST => {}
            Some(&NOT_YET | &IN_PROGRESS) | None => return Ok(VOID),
            Some(&made) => return Ok(NodeId(made)),
        }
        self.made[id.0 as usize] = IN_PROGRESS;
        let ty = self.btf.ty(id)?;
        let slot = match &ty {
            Type::Struct(_) => Some(SlotKind::Struct),
            Type::Union(_) => Some(SlotKind::Union),
            Type::Enum(_) => Some(SlotKind::Enum),
            Type::Fwd { is_union, .. } => Some(if *is_union { SlotKind::Union } else { SlotKind::Struct }),
            _ => None,
        };
        let node = match slot {
            Some(kind) if !ty.name().is_empty() => {
                let name = self.name(ty.name());
                self.nodes.intern(&slot_words(kind, name), NO_ENTRY)
            }
            _ => self.content(&ty, depth)?,
        };
        self.made[id.0 as usize] = node.0;
        Ok(node)
    }

    fn content(&mut self, ty: &Type<'b>, depth: u32) -> Result<NodeId, btf::Error> {
        let depth = depth + 1;
        let words = match ty {
            Type::Int { name, size, encoding, bits, .. } => {
                vec![head(NodeKind::Int, u32::from(encoding.0)), self.name(name).0, size.0, u32::from(*bits)]
            }
            Type::Float { name, size } => vec![head(NodeKind::Float, 0), self.name(name).0, size.0],
            Type::Ptr(to) => vec![head(NodeKind::Pointer, 0), self.reference(*to, depth)?.0],
            Type::Const(to) => vec![head(NodeKind::Const, 0), self.reference(*to, depth)?.0],
            Type::Volatile(to) => vec![head(NodeKind::Volatile, 0), self.reference(*to, depth)?.0],
            Type::Restrict(to) => vec![head(NodeKind::Restrict, 0), self.reference(*to, depth)?.0],
            Type::Typedef { name, ty } => {
                vec![head(NodeKind::Typedef, 0), self.name(name).0, self.reference(*ty, depth)?.0]
            }
            Type::TypeTag { name, ty, .. } => {
                vec![head(NodeKind::TypeTag, 0), self.name(name).0, self.reference(*ty, depth)?.0]
            }
            Type::Array { element, len, .. } => {
                vec![head(NodeKind::Array, 0), self.reference(*element, depth)?.0, *len]
            }
            Type::FuncProto(proto) => {
                let mut words = vec![head(NodeKind::Prototype, 0), self.reference(proto.ret, depth)?.0];
                for parameter in proto.params() {
                    let parameter = parameter?;
                    words.extend([self.name(parameter.name).0, self.reference(parameter.ty, depth)?.0]);
                }
                words
            }
            Type::Struct(composite) | Type::Union(composite) => {
                let kind = if matches!(ty, Type::Union(_)) { NodeKind::Union } else { NodeKind::Struct };
                let mut words = vec![head(kind, 0), self.name(composite.name).0, composite.size.0];
                for member in composite.members() {
                    let member = member?;
                    let node = self.reference(member.ty, depth)?;
                    words.extend([self.name(member.name).0, node.0, member.offset.0, member.bitfield_size]);
                }
                words
            }
            Type::Enum(enumeration) => {
                let mut words = vec![
                    head(NodeKind::Enum, u32::from(enumeration.signed())),
                    self.name(enumeration.name).0,
                    enumeration.size.0,
                ];
                for value in enumeration.values() {
                    let value = value?;
                    let number = value.value as i64;
                    words.extend([self.name(value.name).0, number as u32, (number >> 32) as u32]);
                }
                words
            }
            _ => return Ok(VOID),
        };
        debug_assert!(slot_of(&words).is_none() || words[1] != 0);
        Ok(self.nodes.intern(&words, NO_ENTRY))
    }
}
