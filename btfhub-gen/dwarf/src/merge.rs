//! The tables of all threads as one.

use rustc_hash::FxHashMap;

use crate::base::{BASE_UNIT, Base};
use crate::convert::{FunctionState, TypeTag, Uses, VariableState, Worker};
use crate::error::Diagnostic;
use crate::names::{NameId, Names};
use crate::nodes::{NodeId, NodeKind, Nodes, VOID, kind_of, name_positions, references};
use crate::strings::Strings;
use crate::unit::{EntryAt, SOURCES};

/// Everything that the units gave.
pub(crate) struct Merged<'f> {
    pub(crate) names: Names<'f>,
    pub(crate) nodes: Nodes,
    /// In the order of the input.
    pub(crate) functions: Vec<FunctionState>,
    pub(crate) parameters: Vec<(NameId, NodeId)>,
    pub(crate) variables: Vec<VariableState>,
    /// In the order of the input; of several on one type, one of each value.
    pub(crate) type_tags: Vec<TypeTag>,
    /// Named definitions by unit, in the order of units.
    pub(crate) environments: Vec<(u32, Vec<NodeId>)>,
    /// By unit, the entries of other units that it refers to, and their nodes.
    pub(crate) imports: Vec<(u32, Vec<(EntryAt, NodeId)>)>,
    pub(crate) uses: FxHashMap<NameId, Uses>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// A name that units took for one is empty.
    pub(crate) empty_name: bool,
}

/// The entries of other units that references lead to: what the table of the worker at that place has for each.
pub(crate) struct Elsewhere<'f> {
    pub(crate) worker: Worker<'f>,
    /// Name and node by entry.
    pub(crate) found: FxHashMap<EntryAt, (NameId, NodeId)>,
}

/// The entry that an extern node stands for.
pub(crate) fn extern_entry(words: &[u32]) -> Option<EntryAt> {
    (kind_of(words[0]) == NodeKind::Extern).then(|| EntryAt {
        source: SOURCES[((words[0] >> 8) as usize).min(SOURCES.len() - 1)],
        offset: u64::from(words[1]) | u64::from(words[2]) << 32,
    })
}

pub(crate) fn merge<'f>(
    mut workers: Vec<Worker<'f>>,
    elsewhere: Option<Elsewhere<'f>>,
    base: Option<&Base<'f>>,
) -> Merged<'f> {
    let mut merged = Merged {
        names: Names::new(),
        nodes: Nodes::new(),
        functions: Vec::new(),
        parameters: Vec::new(),
        variables: Vec::new(),
        type_tags: Vec::new(),
        environments: Vec::new(),
        imports: Vec::new(),
        uses: FxHashMap::default(),
        diagnostics: Vec::new(),
        empty_name: false,
    };
    let mut entries = None;
    if let Some(elsewhere) = elsewhere {
        workers.insert(0, elsewhere.worker);
        entries = Some(elsewhere.found);
    }
    if let Some(base) = base {
        merged.names = Names::on(base.names.clone());
        merged.nodes = Nodes::on(base.nodes.clone());
    }
    let mut mapping = Mapping { workers: &workers, maps: workers.iter().map(Map::new).collect(), entries };
    for (which, worker) in workers.iter().enumerate() {
        for id in worker.nodes.ids() {
            mapping.node(&mut merged, which, id, 0);
        }
    }
    let Mapping { mut maps, entries, .. } = mapping;
    let elsewhere: FxHashMap<EntryAt, (NameId, NodeId)> = entries
        .into_iter()
        .flatten()
        .map(|(entry, (name, node))| {
            let name = maps[0].name(&workers[0].strings, &mut merged.names, name);
            (entry, (name, NodeId(maps[0].nodes[node.0 as usize])))
        })
        .collect();
    let name_at = |entry: &EntryAt| elsewhere.get(entry).map_or(NameId(0), |&(name, _)| name);
    for (worker, map) in workers.into_iter().zip(maps) {
        let Map { names: mut known, nodes } = map;
        let node = |id: NodeId| NodeId(nodes[id.0 as usize]);
        let names = &mut merged.names;
        let mut name = |id: NameId| map_name(&mut known, &worker.strings, names, id);
        let first = merged.parameters.len() as u32;
        merged.parameters.extend(worker.parameters.into_iter().map(|(n, ty)| (name(n), node(ty))));
        for (at, entry) in &worker.foreign_parameters {
            merged.parameters[(first + at) as usize].0 = name_at(entry);
        }
        for (entry, count) in &worker.foreign_inlined {
            merged.uses.entry(name_at(entry)).or_default().inlined += count;
        }
        merged.functions.extend(worker.functions.into_iter().map(|function| FunctionState {
            name: if function.name == NameId(0) {
                function.origin.as_ref().map_or(NameId(0), name_at)
            } else {
                name(function.name)
            },
            result: node(function.result),
            tags: function.tags.iter().map(|&(component, value)| (component, name(value))).collect(),
            parameters: (function.parameters.0 + first, function.parameters.1 + first),
            ..function
        }));
        let variables = worker.variables.into_iter();
        merged.variables.extend(variables.map(|var| VariableState {
            name: name(var.name),
            ty: node(var.ty),
            tags: var.tags.iter().map(|&value| name(value)).collect(),
            ..var
        }));
        let tags = worker.type_tags.into_iter();
        merged.type_tags.extend(tags.map(|tag| TypeTag { node: node(tag.node), value: name(tag.value), ..tag }));
        for (unit, definitions) in worker.environments {
            merged.environments.push((unit, definitions.into_iter().map(node).collect()));
        }
        for (unit, imports) in worker.imports {
            let found = imports.into_iter().filter_map(|entry| Some((entry, elsewhere.get(&entry)?.1)));
            merged.imports.push((unit, found.collect()));
        }
        for (key, uses) in worker.uses {
            merged.uses.entry(name(key)).or_default().add(uses);
        }
        merged.diagnostics.extend(worker.diagnostics);
        merged.empty_name |= known.values().any(|&name| name == NameId(0));
    }
    // a parameter without a name even where its function was declared
    let named = |function: &FunctionState| {
        let (start, end) = function.parameters;
        let variadic = |at: usize| merged.parameters[at] == (NameId(0), VOID) && at + 1 == end as usize;
        (start as usize..end as usize).all(|at| merged.parameters[at].0 != NameId(0) || variadic(at))
    };
    let kept: Vec<bool> = merged.functions.iter().map(named).collect();
    let mut kept = kept.into_iter();
    merged.functions.retain(|_| kept.next().unwrap_or(true));
    merged.functions.sort_by_key(|function| function.entry);
    merged.variables.sort_by_key(|variable| variable.entry);
    // each thread's entries come in the order of the input: a stable sort keeps the order on one type
    merged.type_tags.sort_by_key(|tag| tag.entry);
    merged.environments.sort_by_key(|&(unit, _)| unit);
    merged.imports.sort_by_key(|&(unit, _)| unit);
    if let Some(base) = base {
        merged.environments.insert(0, (BASE_UNIT, base.definitions.clone()));
    }
    merged.diagnostics.sort();
    merged.diagnostics.dedup();
    merged
}

/// From the numbers of one worker's tables to those of the merged ones.
struct Map {
    names: FxHashMap<NameId, NameId>,
    nodes: Vec<u32>,
}

const NOT_YET: u32 = u32::MAX;
const IN_PROGRESS: u32 = u32::MAX - 1;

impl Map {
    fn new(worker: &Worker<'_>) -> Map {
        Map { names: FxHashMap::default(), nodes: vec![NOT_YET; worker.nodes.len()] }
    }

    fn name<'f>(&mut self, strings: &Strings<'f>, names: &mut Names<'f>, id: NameId) -> NameId {
        map_name(&mut self.names, strings, names, id)
    }
}

fn map_name<'f>(
    known: &mut FxHashMap<NameId, NameId>,
    strings: &Strings<'f>,
    names: &mut Names<'f>,
    id: NameId,
) -> NameId {
    if id == NameId(0) {
        return id;
    }
    *known.entry(id).or_insert_with(|| names.intern(strings.get(id)))
}

/// Chains of references from unit to unit are cut beyond this depth.
const DEEPEST: u32 = 500;

struct Mapping<'w, 'f> {
    workers: &'w [Worker<'f>],
    maps: Vec<Map>,
    /// Nodes of the first table, by the entry that extern nodes name.
    entries: Option<FxHashMap<EntryAt, (NameId, NodeId)>>,
}

impl<'f> Mapping<'_, 'f> {
    fn node(&mut self, out: &mut Merged<'f>, which: usize, id: NodeId, depth: u32) -> NodeId {
        match self.maps[which].nodes[id.0 as usize] {
            NOT_YET => {}
            IN_PROGRESS => return VOID,
            done => return NodeId(done),
        }
        if depth > DEEPEST {
            return VOID;
        }
        self.maps[which].nodes[id.0 as usize] = IN_PROGRESS;
        let worker = &self.workers[which];
        let words = worker.nodes.words(id);
        let node = match extern_entry(words) {
            Some(entry) => match self.entries.as_ref().and_then(|entries| entries.get(&entry)) {
                Some(&(_, target)) => self.node(out, 0, target, depth + 1),
                None => VOID,
            },
            None => {
                let mut mapped: smallvec::SmallVec<[u32; 64]> = words.into();
                for at in name_positions(words) {
                    mapped[at] = self.maps[which].name(&worker.strings, &mut out.names, NameId(words[at])).0;
                }
                for at in references(words) {
                    mapped[at] = self.node(out, which, NodeId(words[at]), depth + 1).0;
                }
                out.nodes.intern(&mapped, worker.nodes.first(id))
            }
        };
        self.maps[which].nodes[id.0 as usize] = node.0;
        node
    }
}
