//! The nominal graph resolved: which definition each slot stands for, in each unit.
//!
//! Almost all slots have one definition, and nothing depends on the unit. For the others libbpf's rule holds: two
//! structs are one where their whole graphs agree, and a forward declaration agrees with any definition. A definition
//! that reaches a slot with several definitions is *affected*: its occurrences in the units that hold one of these
//! definitions are compared, and become one or several *classes*.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::base::BASE_UNIT;
use crate::environment::{Environment, environments};
use crate::merge::Merged;
use crate::names::NameId;
use crate::nodes::{NodeId, NodeKind, Nodes, VOID, references, slot_of, slot_words};
use crate::unit::Unit;

/// One written type of an affected definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClassId(pub(crate) u32);

#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) definition: NodeId,
    /// The unit whose definitions its slots stand for.
    pub(crate) unit: u32,
    /// What a slot that the unit does not define turned out to be.
    bindings: Environment,
    /// Where it stands among the types that are written.
    pub(crate) position: u64,
}

/// What a slot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// A definition that is the same in all units.
    Definition(NodeId),
    Class(ClassId),
    /// Only declared.
    Forward,
}

/// Where slots are looked at from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum View {
    Unit(u32),
    Class(ClassId),
}

/// Definitions by slot, in the order of the input.
type Definitions = FxHashMap<NodeId, Vec<NodeId>>;

pub(crate) struct Graph {
    /// Of the slots that have own definitions, or whose order of definitions is this input's.
    definitions: Definitions,
    /// What is known of the base.
    base: Option<Arc<Prepared>>,
    affected: Vec<bool>,
    pub(crate) classes: Vec<Class>,
    classes_of: FxHashMap<NodeId, Vec<ClassId>>,
    occurrences: FxHashMap<(u32, NodeId), ClassId>,
    /// Of the units that know a definition of an ambiguous slot.
    environments: FxHashMap<u32, Environment>,
}

impl Graph {
    pub(crate) fn new(merged: &mut Merged<'_>, units: &[Unit], base: Option<Arc<Prepared>>) -> Graph {
        let definitions = definitions(&mut merged.nodes, base.as_deref());
        let mut ambiguous = ambiguous(&definitions);
        let affected = affected(&merged.nodes, &definitions, &ambiguous, base.as_deref());
        ambiguous.extend(base.iter().flat_map(|base| &base.ambiguous));
        let mut graph = Graph {
            definitions,
            base,
            affected,
            classes: Vec::new(),
            classes_of: FxHashMap::default(),
            occurrences: FxHashMap::default(),
            environments: FxHashMap::default(),
        };
        if !ambiguous.is_empty() {
            graph.classify(merged, &ambiguous, units);
        }
        graph
    }

    fn definitions_of(&self, slot: NodeId) -> Option<&[NodeId]> {
        let own = self.definitions.get(&slot);
        own.or_else(|| self.base.as_ref()?.definitions.get(&slot)).map(Vec::as_slice)
    }

    pub(crate) fn is_affected(&self, node: NodeId) -> bool {
        self.affected.get(node.0 as usize).copied().unwrap_or(false)
    }

    /// What `slot` stands for, seen from `view`. A `by_value` reference needs a definition, where there is any.
    pub(crate) fn resolve(&self, slot: NodeId, view: View, by_value: bool) -> Resolved {
        let Some(definitions) = self.definitions_of(slot) else { return Resolved::Forward };
        if let &[definition] = definitions
            && !self.is_affected(definition)
        {
            return Resolved::Definition(definition);
        }
        let (unit, class) = match view {
            View::Unit(unit) => (unit, None),
            View::Class(class) => (self.classes[class.0 as usize].unit, Some(class)),
        };
        if let Some(environment) = self.environments.get(&unit) {
            if let Some(&(holder, definition)) = environment.get(&slot) {
                return self.in_unit(holder, definition);
            }
            if let &[definition] = definitions
                && !self.is_affected(definition)
            {
                return Resolved::Definition(definition);
            }
        } else if let &[definition] = definitions {
            // the unit holds none of the ambiguous definitions: its types are those met first
            return self.in_unit(unit, definition);
        }
        if let Some(class) = class
            && let Some(&(unit, definition)) = self.classes[class.0 as usize].bindings.get(&slot)
        {
            return self.in_unit(unit, definition);
        }
        let mut classes = definitions.iter().map(|&definition| self.classes_of.get(&definition).map_or(1, Vec::len));
        let single = definitions.len() == 1 && classes.next() == Some(1);
        if single || by_value { self.in_unit(u32::MAX, definitions[0]) } else { Resolved::Forward }
    }

    /// The class of an affected definition as the base has it.
    pub(crate) fn base_class(&self, definition: NodeId) -> Option<ClassId> {
        let class = *self.classes_of.get(&definition)?.first()?;
        (self.classes[class.0 as usize].unit == BASE_UNIT).then_some(class)
    }

    fn in_unit(&self, unit: u32, definition: NodeId) -> Resolved {
        if !self.is_affected(definition) {
            return Resolved::Definition(definition);
        }
        if let Some(&class) = self.occurrences.get(&(unit, definition)) {
            return Resolved::Class(class);
        }
        match self.classes_of.get(&definition).and_then(|classes| classes.first()) {
            Some(&class) => Resolved::Class(class),
            None => Resolved::Definition(definition),
        }
    }

    fn classify(&mut self, merged: &Merged<'_>, ambiguous: &FxHashSet<NodeId>, units: &[Unit]) {
        let nodes = &merged.nodes;
        let mut edges = Edges { nodes, memo: FxHashMap::default() };
        let contested = ambiguous.iter().filter_map(|&slot| self.definitions_of(slot)).flatten().copied().collect();
        self.environments = environments(merged, &self.affected, ambiguous, &contested, &mut edges, units);
        for (unit, definitions) in &merged.environments {
            let position = units.get(*unit as usize).map_or(0, Unit::position);
            let mut settled = FxHashMap::default();
            for &definition in definitions {
                if !self.is_affected(definition) {
                    continue;
                }
                if !self.environments.contains_key(unit) {
                    // a unit without an ambiguous definition agrees with any class
                    if !self.classes_of.contains_key(&definition) {
                        self.add(*unit, definition, nodes.first(definition));
                    }
                    continue;
                }
                if self.occurrences.contains_key(&(*unit, definition)) {
                    continue;
                }
                let candidates = self.classes_of.get(&definition).cloned().unwrap_or_default();
                let found = candidates.into_iter().find(|&class| self.agrees(&mut edges, &mut settled, class, *unit));
                match found {
                    Some(class) => {
                        self.occurrences.insert((*unit, definition), class);
                    }
                    None => {
                        let first = !self.classes_of.contains_key(&definition);
                        let position = if first { nodes.first(definition) } else { position };
                        let class = self.add(*unit, definition, position);
                        self.occurrences.insert((*unit, definition), class);
                    }
                }
            }
        }
    }

    fn add(&mut self, unit: u32, definition: NodeId, position: u64) -> ClassId {
        let class = ClassId(self.classes.len() as u32);
        self.classes.push(Class { definition, unit, bindings: FxHashMap::default(), position });
        self.classes_of.entry(definition).or_default().push(class);
        class
    }

    /// Whether what the unit means by a class's definition, and by all that it leads to, agrees with the class. If so,
    /// the class learns what the unit knows and it did not. `settled` holds the answers for this unit.
    fn agrees(
        &mut self,
        edges: &mut Edges<'_>,
        settled: &mut FxHashMap<Place, bool>,
        class: ClassId,
        unit: u32,
    ) -> bool {
        let Some(environment) = self.environments.get(&unit) else { return true };
        let root = Place::Class(class);
        if let Some(&answer) = settled.get(&root) {
            return answer;
        }
        // most classes that do not agree do not at the first step
        let differs = |&slot: &NodeId| match (environment.get(&slot), self.held(root, slot)) {
            (Some(&(_, meant)), Some((holder, held))) => {
                held != meant || settled.get(&self.place(holder, held)) == Some(&false)
            }
            _ => false,
        };
        if edges.of(self.definition_of(root), &self.affected).iter().any(differs) {
            settled.insert(root, false);
            return false;
        }
        let mut seen = FxHashSet::from_iter([root]);
        let mut path = vec![(root, edges.of(self.definition_of(root), &self.affected), 0)];
        while let Some((place, slots, next)) = path.last_mut() {
            let Some(&slot) = slots.get(*next) else {
                path.pop();
                continue;
            };
            *next += 1;
            let (Some(&(_, meant)), Some((holder, held))) = (environment.get(&slot), self.held(*place, slot)) else {
                continue;
            };
            let target = self.place(holder, held);
            let known = if held == meant { settled.get(&target).copied() } else { Some(false) };
            match known {
                // all that lead here lead to the disagreement
                Some(false) => {
                    settled.extend(path.into_iter().map(|(place, ..)| (place, false)));
                    return false;
                }
                None if self.is_affected(held) && seen.insert(target) => {
                    path.push((target, edges.of(held, &self.affected), 0));
                }
                _ => {}
            }
        }
        let mut learned = Vec::new();
        for &place in &seen {
            settled.insert(place, true);
            let Place::Class(class) = place else { continue };
            for &slot in edges.of(self.definition_of(place), &self.affected).iter() {
                if let (Some(&meant), None) = (environment.get(&slot), self.held(place, slot)) {
                    learned.push((class, slot, meant));
                }
            }
        }
        for (class, slot, meant) in learned {
            self.classes[class.0 as usize].bindings.insert(slot, meant);
        }
        true
    }

    /// The definition that a place's slot is known to stand for, and the unit that holds it.
    fn held(&self, place: Place, slot: NodeId) -> Option<(u32, NodeId)> {
        let (unit, bindings) = match place {
            Place::Class(class) => {
                let class = &self.classes[class.0 as usize];
                (class.unit, Some(&class.bindings))
            }
            Place::Occurrence(unit, _) => (unit, None),
        };
        let own = self.environments.get(&unit).and_then(|environment| environment.get(&slot));
        own.or_else(|| bindings?.get(&slot)).copied()
    }

    fn place(&self, unit: u32, definition: NodeId) -> Place {
        self.occurrences
            .get(&(unit, definition))
            .map_or(Place::Occurrence(unit, definition), |&class| Place::Class(class))
    }

    fn definition_of(&self, place: Place) -> NodeId {
        match place {
            Place::Class(class) => self.classes[class.0 as usize].definition,
            Place::Occurrence(_, definition) => definition,
        }
    }
}

/// A definition as it stands somewhere: a class, or what will be one, in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Class(ClassId),
    Occurrence(u32, NodeId),
}

/// The affected slots that a definition refers to, through unnamed types.
pub(crate) struct Edges<'n> {
    pub(crate) nodes: &'n Nodes,
    memo: FxHashMap<NodeId, std::rc::Rc<[NodeId]>>,
}

impl Edges<'_> {
    /// The slot that a definition fills.
    pub(crate) fn slot_of(&self, definition: NodeId) -> Option<NodeId> {
        let (kind, name) = slot_of(self.nodes.words(definition))?;
        self.nodes.find(&slot_words(kind, name))
    }

    pub(crate) fn of(&mut self, definition: NodeId, affected: &[bool]) -> std::rc::Rc<[NodeId]> {
        if let Some(found) = self.memo.get(&definition) {
            return found.clone();
        }
        let (mut slots, mut seen, mut open) = (Vec::new(), FxHashSet::default(), vec![definition]);
        while let Some(node) = open.pop() {
            let words = self.nodes.words(node);
            for at in references(words) {
                let target = NodeId(words[at]);
                if !affected[target.0 as usize] || !seen.insert(target) {
                    continue;
                }
                if self.nodes.kind(target) == NodeKind::Slot { slots.push(target) } else { open.push(target) }
            }
        }
        slots.sort_unstable();
        let slots: std::rc::Rc<[NodeId]> = slots.into();
        self.memo.insert(definition, slots.clone());
        slots
    }
}

/// What is known of a base, once for all that builds on it.
pub(crate) struct Prepared {
    definitions: Definitions,
    ambiguous: FxHashSet<NodeId>,
    affected: Vec<bool>,
    users: Users,
}

impl Prepared {
    pub(crate) fn new(nodes: &mut Nodes) -> Prepared {
        let definitions = definitions(nodes, None);
        let ambiguous = ambiguous(&definitions);
        let affected = affected(nodes, &definitions, &ambiguous, None);
        let users = Users::new(nodes, &definitions);
        Prepared { definitions, ambiguous, affected, users }
    }
}

fn definitions(nodes: &mut Nodes, base: Option<&Prepared>) -> Definitions {
    let mut definitions = Definitions::default();
    let of_base = |slot| base.and_then(|base| base.definitions.get(&slot)).cloned().unwrap_or_default();
    for id in nodes.own_ids() {
        let Some((kind, name)) = slot_of(nodes.words(id)) else { continue };
        debug_assert_ne!(name, NameId(0));
        let slot = nodes.intern(&slot_words(kind, name), nodes.first(id));
        definitions.entry(slot).or_insert_with(|| of_base(slot)).push(id);
    }
    for id in nodes.placed_ids() {
        let Some((kind, name)) = slot_of(nodes.words(id)) else { continue };
        let slot = nodes.intern(&slot_words(kind, name), nodes.first(id));
        if base.is_some_and(|base| base.ambiguous.contains(&slot)) {
            definitions.entry(slot).or_insert_with(|| of_base(slot));
        }
    }
    for all in definitions.values_mut() {
        all.sort_by_key(|&id| nodes.first(id));
    }
    definitions
}

/// The slots that have several definitions.
fn ambiguous(definitions: &Definitions) -> FxHashSet<NodeId> {
    definitions.iter().filter(|(_, all)| all.len() > 1).map(|(&slot, _)| slot).collect()
}

/// Who refers to whom, the other way round; a slot is referred to by nobody but leads to its definitions.
struct Users {
    starts: Vec<u32>,
    users: Vec<NodeId>,
}

impl Users {
    /// Of references from the own nodes, and of these definitions.
    fn new(nodes: &Nodes, definitions: &Definitions) -> Users {
        let mut starts = vec![0u32; nodes.len() + 1];
        let each = |visit: &mut dyn FnMut(NodeId, NodeId)| {
            for id in nodes.own_ids() {
                let words = nodes.words(id);
                for at in references(words) {
                    visit(NodeId(words[at]), id);
                }
            }
            for (&slot, all) in definitions {
                for &definition in all {
                    visit(definition, slot);
                }
            }
        };
        each(&mut |to, _| starts[to.0 as usize + 1] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut users = vec![VOID; starts[nodes.len()] as usize];
        let mut next = starts.clone();
        each(&mut |to, from| {
            users[next[to.0 as usize] as usize] = from;
            next[to.0 as usize] += 1;
        });
        Users { starts, users }
    }

    fn of(&self, node: NodeId) -> &[NodeId] {
        let at = node.0 as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(&start), Some(&end)) => &self.users[start as usize..end as usize],
            _ => &[],
        }
    }
}

/// The nodes from which an ambiguous slot is reached.
fn affected(
    nodes: &Nodes,
    definitions: &Definitions,
    ambiguous: &FxHashSet<NodeId>,
    base: Option<&Prepared>,
) -> Vec<bool> {
    let mut affected = base.map_or_else(Vec::new, |base| base.affected.clone());
    affected.resize(nodes.len(), false);
    if ambiguous.is_empty() && base.is_none_or(|base| base.ambiguous.is_empty()) {
        return affected;
    }
    let users = Users::new(nodes, definitions);
    let reaches = |id: &NodeId| {
        let words = nodes.words(*id);
        references(words).any(|at| affected[words[at] as usize])
    };
    let mut open: Vec<NodeId> = ambiguous.iter().copied().chain(nodes.own_ids().filter(reaches)).collect();
    for slot in &open {
        affected[slot.0 as usize] = true;
    }
    while let Some(node) = open.pop() {
        for &user in users.of(node).iter().chain(base.map_or(&[][..], |base| base.users.of(node))) {
            if !std::mem::replace(&mut affected[user.0 as usize], true) {
                open.push(user);
            }
        }
    }
    affected
}
