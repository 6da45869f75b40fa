//! The attach surface: what became of each function, gathered from the units, the symbol table and the kernel's tables.

use btf::surface::{Facts, InBtf, Reason, Sources, SurfaceBuilder};
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::merge::Merged;
use crate::names::NameId;
use crate::nodes::NodeId;
use crate::select::{Decision, Dropped};
use crate::symbols::Symbols;
use crate::text::Text;

/// `MAX_BPF_FUNC_ARGS` (include/linux/bpf.h).
const MOST_PARAMETERS: usize = 12;

impl From<Dropped> for Reason {
    fn from(dropped: Dropped) -> Reason {
        match dropped {
            Dropped::UnexpectedRegister => Reason::UnexpectedRegister,
            Dropped::InconsistentPrototype => Reason::InconsistentPrototypes,
            Dropped::UncertainLocation => Reason::StructByValue,
            Dropped::Reordered | Dropped::OptimizedParameters => Reason::OptimizedParameters,
            Dropped::AmbiguousAddress => Reason::SeveralAddresses,
        }
    }
}

/// The compact form of the surface.
pub(crate) fn surface(
    merged: &Merged<'_>,
    symbols: &Symbols<'_>,
    text: &Text,
    decisions: &[Decision],
    prototypes: &[(NameId, NodeId)],
) -> Result<Vec<u8>> {
    let sources = Sources {
        symbols: !symbols.functions.is_empty(),
        dwarf: true,
        btf: true,
        ftrace: text.has_call_sites(),
        blacklist: text.has_blacklist(),
    };
    let mut all = All { merged, facts: Vec::with_capacity(symbols.functions.len()), by_name: FxHashMap::default() };
    for (&name, function) in &symbols.functions {
        let known = merged.names.find(name);
        let facts = all.new_one(name, known);
        let exact = || function.symbols.iter().filter(|symbol| symbol.exact);
        facts.symbols = exact().count() as u32;
        facts.global = exact().any(|symbol| symbol.global);
        facts.suffixes = function.suffixes.iter().map(|suffix| String::from_utf8_lossy(suffix).into_owned()).collect();
        let one = |found: Option<bool>, all: Option<bool>| if all.is_none() { found } else { all.max(found) };
        facts.ftrace = exact().map(|symbol| text.is_traced(symbol.address, symbol.size)).fold(None, one);
        facts.blacklisted = exact().map(|symbol| text.is_blacklisted(symbol.address)).fold(None, one);
        facts.init = exact().next().is_some() && exact().all(|symbol| text.is_init(symbol.address));
        facts.btf = InBtf::Absent(Reason::NotInBtf);
    }
    for (&name, uses) in &merged.uses {
        let facts = all.of(name);
        facts.inlined = uses.inlined > 0;
        facts.definitions = uses.declared.len() as u32;
        if facts.symbols == 0 && facts.suffixes.is_empty() {
            facts.btf = InBtf::Absent(if facts.inlined { Reason::OnlyInlined } else { Reason::NoSymbol });
        } else if uses.unnamed_parameter {
            facts.btf = InBtf::Absent(Reason::UnnamedParameter);
        }
    }
    for decision in decisions {
        all.of(decision.name).btf = decision.dropped.map_or(InBtf::Present, |dropped| InBtf::Absent(dropped.into()));
    }
    for &(name, prototype) in prototypes {
        // head, result, then name and type of each parameter
        let parameters = merged.nodes.words(prototype)[2..].chunks_exact(2);
        let count = parameters.len();
        let variadic = parameters.last().is_some_and(|last| last == [0, 0]);
        all.of(name).obstacle = match (variadic, count > MOST_PARAMETERS) {
            (true, _) => Some(Reason::Variadic),
            (_, true) => Some(Reason::TooManyParameters),
            _ => None,
        };
    }
    let mut builder = SurfaceBuilder::new(sources);
    for (name, facts) in all.facts {
        // what is no text is no name that a program could ask for
        if let Ok(name) = std::str::from_utf8(name) {
            builder.add(name, facts);
        }
    }
    builder.finish().map_err(|error| Error::TooLarge(error.to_string()))
}

/// The facts of all names so far.
struct All<'m, 'f> {
    merged: &'m Merged<'f>,
    facts: Vec<(&'m [u8], Facts)>,
    /// Position in `facts`.
    by_name: FxHashMap<NameId, usize>,
}

impl<'m> All<'m, '_> {
    /// A name that was not there, and its number, where the units know it.
    fn new_one(&mut self, name: &'m [u8], known: Option<NameId>) -> &mut Facts {
        let at = self.facts.len();
        if let Some(known) = known {
            self.by_name.insert(known, at);
        }
        self.facts.push((name, Facts::default()));
        &mut self.facts[at].1
    }

    fn of(&mut self, name: NameId) -> &mut Facts {
        match self.by_name.get(&name) {
            Some(&at) => &mut self.facts[at].1,
            None => self.new_one(self.merged.names.get(name), Some(name)),
        }
    }
}
