//! Sizes and alignments of types.

use std::cell::RefCell;

use rustc_hash::FxHashMap;

use crate::graph::{Graph, Resolved, View};
use crate::nodes::{NodeId, NodeKind, Nodes, SlotKind, slot_kind};

pub(crate) struct Layout<'a> {
    nodes: &'a Nodes,
    graph: &'a Graph,
    address_size: u32,
    /// Bytes and alignment of what was measured.
    known: RefCell<FxHashMap<(NodeId, View), (u64, u64)>>,
}

/// Structures lie in one another no deeper than this in any real input.
const DEEPEST: u32 = 64;

impl<'a> Layout<'a> {
    pub(crate) fn new(nodes: &'a Nodes, graph: &'a Graph, address_size: u32) -> Layout<'a> {
        Layout { nodes, graph, address_size, known: RefCell::default() }
    }

    fn definition(&self, slot: NodeId, view: View) -> Option<(NodeId, View)> {
        match self.graph.resolve(slot, view, true) {
            Resolved::Definition(definition) => Some((definition, view)),
            Resolved::Class(class) => Some((self.graph.classes[class.0 as usize].definition, View::Class(class))),
            Resolved::Forward => None,
        }
    }

    /// Bytes of a type; 0 when it has none.
    pub(crate) fn size(&self, node: NodeId, view: View) -> u64 {
        self.measure(node, view, DEEPEST).0
    }

    /// Bytes and natural alignment of a type.
    fn measure(&self, node: NodeId, view: View, depth: u32) -> (u64, u64) {
        let words = self.nodes.words(node);
        let key = (node, if self.graph.is_affected(node) { view } else { View::Unit(u32::MAX) });
        match self.nodes.kind(node) {
            NodeKind::Void | NodeKind::Prototype | NodeKind::Extern => return (0, 1),
            NodeKind::Int | NodeKind::Float | NodeKind::Enum => {
                return (u64::from(words[2]), u64::from(words[2]).clamp(1, 16));
            }
            NodeKind::Pointer => return (u64::from(self.address_size), u64::from(self.address_size)),
            _ if depth == 0 => return (0, 1),
            _ => {}
        }
        if let Some(&known) = self.known.borrow().get(&key) {
            return known;
        }
        // what lies in itself has no size
        self.known.borrow_mut().insert(key, (0, 1));
        let measured = match self.nodes.kind(node) {
            NodeKind::Typedef | NodeKind::TypeTag => self.measure(NodeId(words[2]), view, depth - 1),
            NodeKind::Array => {
                let (size, align) = self.measure(NodeId(words[1]), view, depth - 1);
                (size.saturating_mul(u64::from(words[2])), align)
            }
            NodeKind::Slot => match self.definition(node, view) {
                Some((definition, view)) => self.measure(definition, view, depth - 1),
                None => (0, 1),
            },
            NodeKind::Struct | NodeKind::Union => {
                let members = words[3..].chunks_exact(4);
                let align = members.map(|member| self.measure(NodeId(member[1]), view, depth - 1).1).max();
                (u64::from(words[2]), align.unwrap_or(1))
            }
            // const, volatile, restrict
            _ => self.measure(NodeId(words[1]), view, depth - 1),
        };
        self.known.borrow_mut().insert(key, measured);
        measured
    }

    /// A named struct, by value, with a member off its natural alignment.
    pub(crate) fn is_packed(&self, node: NodeId, view: View) -> bool {
        if self.nodes.kind(node) != NodeKind::Slot || slot_kind(self.nodes.words(node)[0]) != SlotKind::Struct {
            return false;
        }
        let Some((definition, view)) = self.definition(node, view) else { return false };
        let words = self.nodes.words(definition);
        let mut largest = 1;
        for member in words[3..].chunks_exact(4) {
            let (_, align) = self.measure(NodeId(member[1]), view, DEEPEST);
            if member[3] == 0 && u64::from(member[2]) % (align * 8) != 0 {
                return true;
            }
            largest = largest.max(align);
        }
        u64::from(words[2]) % largest != 0
    }
}
