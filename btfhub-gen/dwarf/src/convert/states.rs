//! What a unit says of functions, variables and tags, kept until all units are read.

use crate::names::NameId;
use crate::nodes::NodeId;
use crate::unit::EntryAt;

/// A function that may become a FUNC: one for each entry whose name is in the symbol table.
#[derive(Clone, Debug)]
pub(crate) struct FunctionState {
    pub(crate) name: NameId,
    /// Position in the input.
    pub(crate) entry: u64,
    /// Number of its unit.
    pub(crate) unit: u32,
    pub(crate) address: Option<u64>,
    pub(crate) result: NodeId,
    /// Range in [`Worker::parameters`]; a variadic function's end with (0, void).
    pub(crate) parameters: (u32, u32),
    pub(crate) marks: Marks,
    /// `btf_decl_tag`s: of the function, or of one of its parameters.
    pub(crate) tags: Vec<(Option<u32>, NameId)>,
    /// Its name comes from this entry, in another unit.
    pub(crate) origin: Option<EntryAt>,
}

/// Reasons not to trust a function's prototype at its entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) unexpected_register: bool,
    pub(crate) optimized: bool,
    pub(crate) reordered: bool,
    pub(crate) signature_changed: bool,
}

/// A variable in the per-CPU section.
#[derive(Clone, Debug)]
pub(crate) struct VariableState {
    pub(crate) name: NameId,
    pub(crate) entry: u64,
    pub(crate) unit: u32,
    pub(crate) ty: NodeId,
    /// Offset in the section.
    pub(crate) offset: u64,
    pub(crate) external: bool,
    pub(crate) tags: Vec<NameId>,
}

/// What the units say of the functions of some name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Call sites that it was inlined at.
    pub(crate) inlined: u32,
    /// Entries that have code.
    pub(crate) bodies: u32,
    /// One is left out of BTF because a parameter has no name.
    pub(crate) unnamed_parameter: bool,
    /// Where the functions are declared, sorted: line and column. A function of a header has the same in all units.
    pub(crate) declared: smallvec::SmallVec<[(u32, u32); 2]>,
}

impl Uses {
    pub(crate) fn add_declared(&mut self, place: (u32, u32)) {
        if let Err(at) = self.declared.binary_search(&place) {
            self.declared.insert(at, place);
        }
    }

    pub(crate) fn add(&mut self, other: Uses) {
        self.inlined += other.inlined;
        self.bodies += other.bodies;
        self.unnamed_parameter |= other.unnamed_parameter;
        for place in other.declared {
            self.add_declared(place);
        }
    }
}

/// A `btf_decl_tag` of a type or one of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeTag {
    pub(crate) entry: u64,
    /// The definition.
    pub(crate) node: NodeId,
    pub(crate) component: Option<u32>,
    pub(crate) value: NameId,
    pub(crate) unit: u32,
}
