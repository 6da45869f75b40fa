//! Which functions become FUNCs, and why others do not.
//!
//! A FUNC promises fentry that the parameters are where the calling convention puts them, and that the name is one
//! function (dwarves, `btf_encoder.c`, versions 1.24 to 1.32).

use rustc_hash::FxHashSet;

use crate::convert::{FunctionState, Marks};
use crate::graph::{Graph, View};
use crate::layout::Layout;
use crate::merge::Merged;
use crate::names::NameId;
use crate::nodes::{NodeId, NodeKind, Nodes, VOID, head};
use crate::symbols::{Function, Symbols};

/// Why a function of the symbol table has no FUNC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dropped {
    /// A parameter is not in the register that the calling convention gives it.
    UnexpectedRegister,
    /// Its prototype differs between units.
    InconsistentPrototype,
    /// A packed structure is passed on the stack.
    UncertainLocation,
    /// The compiler reordered its parameters.
    Reordered,
    /// The compiler left out parameters of the code at this symbol (`.isra`, `.constprop`).
    OptimizedParameters,
    /// Several functions of one name at different addresses.
    AmbiguousAddress,
}

/// A function that becomes a FUNC.
pub(crate) struct Selected {
    pub(crate) name: NameId,
    pub(crate) prototype: NodeId,
    pub(crate) unit: u32,
    /// Its position among all functions.
    pub(crate) at: usize,
}

/// What was decided of each name that has an entry in the symbol table and one in the units.
pub(crate) struct Decision {
    pub(crate) name: NameId,
    pub(crate) dropped: Option<Dropped>,
}

/// Makes the prototypes of all functions nodes; to be done before the graph is resolved.
pub(crate) fn prototypes(merged: &mut Merged<'_>) -> Vec<NodeId> {
    let Merged { functions, parameters, nodes, .. } = merged;
    let mut words = Vec::new();
    let prototype = |function: &FunctionState| {
        words.clear();
        words.extend([head(NodeKind::Prototype, 0), function.result.0]);
        for &(name, ty) in &parameters[function.parameters.0 as usize..function.parameters.1 as usize] {
            words.extend([name.0, ty.0]);
        }
        nodes.intern(&words, crate::nodes::NO_ENTRY)
    };
    functions.iter().map(prototype).collect()
}

/// Decides of every function. `selected` comes in the order of names.
pub(crate) fn select(
    merged: &Merged<'_>,
    prototypes: &[NodeId],
    graph: &Graph,
    symbols: &Symbols<'_>,
    registers: usize,
    address_size: u32,
) -> (Vec<Selected>, Vec<Decision>) {
    let mut order: Vec<usize> = (0..merged.functions.len()).collect();
    let name = |&at: &usize| merged.names.get(merged.functions[at].name);
    order.sort_by(|a, b| name(a).cmp(name(b)).then(a.cmp(b)));
    let layout = Layout::new(&merged.nodes, graph, address_size);
    let (mut selected, mut decisions) = (Vec::new(), Vec::new());
    for group in order.chunk_by(|a, b| merged.functions[*a].name == merged.functions[*b].name) {
        let first = &merged.functions[group[0]];
        let Some(symbol) = symbols.functions.get(merged.names.get(first.name)) else { continue };
        if !crate::write::is_identifier(merged.names.get(first.name)) {
            continue;
        }
        let canonical = canonical(group, merged, symbol);
        let dropped = dropped(group, canonical, merged, prototypes, symbol, registers, &layout);
        decisions.push(Decision { name: first.name, dropped });
        if dropped.is_none() {
            let function = &merged.functions[canonical];
            selected.push(Selected {
                name: function.name,
                prototype: prototypes[canonical],
                unit: function.unit,
                at: canonical,
            });
        }
    }
    (selected, decisions)
}

/// Whether the code of this entry has another signature than its source.
fn is_transformed(function: &FunctionState, symbol: &Function<'_>) -> bool {
    let at_symbol = |address| symbol.symbols.iter().any(|symbol| symbol.transformed && Some(symbol.address) == address);
    let marks: Marks = function.marks;
    marks.optimized && (marks.signature_changed || (function.address.is_some() && at_symbol(function.address)))
}

/// The entry to take the prototype from: the first whose code is at one of the symbols. Inside of it is as good: where
/// arm64's functions begin with no-ops for ftrace (`-fpatchable-function-entry`), GCC 10 and 12 let `DW_AT_low_pc` point
/// behind them.
fn canonical(group: &[usize], merged: &Merged<'_>, symbol: &Function<'_>) -> usize {
    let at_symbol = |&at: &usize| {
        let inside = |address: u64| {
            symbol.symbols.iter().any(|symbol| address.wrapping_sub(symbol.address) < symbol.size.max(1))
        };
        merged.functions[at].address.is_some_and(inside)
    };
    if let [only] = group {
        return *only;
    }
    let mut candidates = group.iter().copied().filter(at_symbol);
    let first = candidates.clone().next();
    candidates.find(|&at| !is_transformed(&merged.functions[at], symbol)).or(first).unwrap_or(group[0])
}

fn dropped(
    group: &[usize],
    canonical: usize,
    merged: &Merged<'_>,
    prototypes: &[NodeId],
    symbol: &Function<'_>,
    registers: usize,
    layout: &Layout<'_>,
) -> Option<Dropped> {
    let states = || group.iter().map(|&at| &merged.functions[at]);
    if symbol.ambiguous() {
        return Some(Dropped::AmbiguousAddress);
    }
    if is_transformed(&merged.functions[canonical], symbol) {
        return Some(Dropped::OptimizedParameters);
    }
    if states().any(|state| state.marks.reordered) {
        return Some(Dropped::Reordered);
    }
    let uncertain = |state: &FunctionState| {
        let parameters = &merged.parameters[state.parameters.0 as usize..state.parameters.1 as usize];
        let on_stack = parameters.get(registers..).unwrap_or(&[]);
        registers > 0 && on_stack.iter().any(|&(_, ty)| layout.is_packed(ty, View::Unit(state.unit)))
    };
    if states().any(uncertain) {
        return Some(Dropped::UncertainLocation);
    }
    if states().any(|state| state.marks.unexpected_register) {
        return Some(Dropped::UnexpectedRegister);
    }
    let (first, rest) = group.split_first()?;
    let mut seen = FxHashSet::default();
    if rest.iter().any(|&at| !agree(&merged.nodes, prototypes[*first], prototypes[at], &mut seen)) {
        return Some(Dropped::InconsistentPrototype);
    }
    None
}

/// Whether two types match as parameters: by names, a declaration being as good as a definition, const of no account.
/// Pairs of prototypes that were `seen` are not looked at again: they match, or the answer is no in any case.
fn agree(nodes: &Nodes, a: NodeId, b: NodeId, seen: &mut FxHashSet<(NodeId, NodeId)>) -> bool {
    let (mut a, mut b) = (a, b);
    loop {
        if a == b {
            return true;
        }
        if a == VOID || b == VOID {
            return false;
        }
        let (one, other) = (nodes.words(a), nodes.words(b));
        let (kind_a, kind_b) = (nodes.kind(a), nodes.kind(b));
        if kind_a != kind_b {
            if kind_a == NodeKind::Const {
                a = NodeId(one[1]);
            } else if kind_b == NodeKind::Const {
                b = NodeId(other[1]);
            } else {
                return false;
            }
            continue;
        }
        match kind_a {
            NodeKind::Int | NodeKind::Float | NodeKind::Slot => return one == other,
            // anonymous types have the same, empty name
            NodeKind::Typedef | NodeKind::Struct | NodeKind::Union | NodeKind::Enum => return one[1] == other[1],
            NodeKind::Pointer | NodeKind::Const | NodeKind::Volatile | NodeKind::Restrict => {
                (a, b) = (NodeId(one[1]), NodeId(other[1]));
            }
            NodeKind::TypeTag => (a, b) = (NodeId(one[2]), NodeId(other[2])),
            NodeKind::Array => {
                if one[2] != other[2] {
                    return false;
                }
                (a, b) = (NodeId(one[1]), NodeId(other[1]));
            }
            NodeKind::Prototype if !seen.insert((a, b)) => return true,
            NodeKind::Prototype => {
                let types =
                    |words: &[u32]| -> Vec<NodeId> { words[1..].iter().step_by(2).map(|&ty| NodeId(ty)).collect() };
                let (one, other) = (types(one), types(other));
                return one.len() == other.len() && one.iter().zip(&other).all(|(&a, &b)| agree(nodes, a, b, seen));
            }
            NodeKind::Void | NodeKind::Extern => return false,
        }
    }
}
