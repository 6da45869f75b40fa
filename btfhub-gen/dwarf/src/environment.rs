//! What a unit means by a name: its own definitions, and those of the units that its references lead to.
//!
//! Type units, partial units (dwz) and link-time optimisation spread the types of one source file over several units, so
//! that a definition in one of them and the names it uses may lie in others. A reference tells which: from the definition
//! it leads to, names are looked up as the unit of that definition means them.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::graph::Edges;
use crate::merge::Merged;
use crate::nodes::{NodeId, NodeKind};
use crate::unit::{Unit, unit_of};

/// Definitions by slot, each with the unit that holds it.
pub(crate) type Environment = FxHashMap<NodeId, (u32, NodeId)>;

/// The environments of the units that hold, or refer to, a definition of an ambiguous slot. Only affected definitions
/// are in them: of all others there is but one. `contested` are the definitions of ambiguous slots.
pub(crate) fn environments(
    merged: &Merged<'_>,
    affected: &[bool],
    ambiguous: &FxHashSet<NodeId>,
    contested: &FxHashSet<NodeId>,
    edges: &mut Edges<'_>,
    units: &[Unit],
) -> FxHashMap<u32, Environment> {
    let mut own: FxHashMap<u32, Environment> = FxHashMap::default();
    for (unit, definitions) in &merged.environments {
        for &definition in definitions {
            if !affected[definition.0 as usize] && !contested.contains(&definition) {
                continue;
            }
            let Some(slot) = edges.slot_of(definition) else { continue };
            // of two definitions in one unit (in two functions, say), the first
            own.entry(*unit).or_default().entry(slot).or_insert((*unit, definition));
        }
    }
    let mut imports: FxHashMap<u32, FxHashMap<NodeId, u32>> = FxHashMap::default();
    for (unit, entries) in &merged.imports {
        for &(entry, node) in entries {
            let Some(source) = unit_of(units, entry) else { continue };
            for slot in edges.from(node, affected) {
                imports.entry(*unit).or_default().entry(slot).or_insert(source as u32);
            }
        }
    }
    let known = Known { own, imports };
    let mut all: FxHashMap<u32, Environment> = FxHashMap::default();
    for &unit in known.own.keys().chain(known.imports.keys()) {
        let environment = all.entry(unit).or_insert_with(|| known.environment(unit, affected, edges));
        if !environment.keys().any(|slot| ambiguous.contains(slot)) {
            environment.clear();
        }
    }
    all.retain(|_, environment| !environment.is_empty());
    all
}

struct Known {
    /// What each unit defines.
    own: FxHashMap<u32, Environment>,
    /// Where each unit's references to other units lead: the unit to ask for a slot.
    imports: FxHashMap<u32, FxHashMap<NodeId, u32>>,
}

impl Known {
    /// Which definition `unit` means by `slot`.
    fn find(&self, mut unit: u32, slot: NodeId) -> Option<(u32, NodeId)> {
        let mut asked = FxHashSet::default();
        while asked.insert(unit) {
            if let Some(&found) = self.own.get(&unit).and_then(|own| own.get(&slot)) {
                return Some(found);
            }
            unit = *self.imports.get(&unit)?.get(&slot)?;
        }
        None
    }

    fn environment(&self, unit: u32, affected: &[bool], edges: &mut Edges<'_>) -> Environment {
        let mut environment = self.own.get(&unit).cloned().unwrap_or_default();
        let mut open: Vec<(NodeId, u32)> =
            self.imports.get(&unit).into_iter().flatten().map(|(&s, &u)| (s, u)).collect();
        // which of two units an indirect import comes from must not depend on the order of a hash table
        open.sort_unstable();
        while let Some((slot, source)) = open.pop() {
            if environment.contains_key(&slot) {
                continue;
            }
            let Some((holder, definition)) = self.find(source, slot) else { continue };
            environment.insert(slot, (holder, definition));
            open.extend(edges.of(definition, affected).iter().map(|&slot| (slot, holder)));
        }
        environment
    }
}

impl Edges<'_> {
    /// The affected slots that a reference to `node` leads to.
    fn from(&mut self, node: NodeId, affected: &[bool]) -> Vec<NodeId> {
        if !affected[node.0 as usize] {
            return Vec::new();
        }
        match self.nodes.kind(node) {
            NodeKind::Slot => vec![node],
            _ => self.of(node, affected).to_vec(),
        }
    }
}
