//! The attach surface: what became of each function, gathered from the units, the symbol table and the kernel's tables.

use btf::surface::{InBtf, Reason, Sources, SurfaceBuilder};

use crate::error::{Error, Result};
use crate::merge::Merged;
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
    prototypes: &[(crate::names::NameId, NodeId)],
) -> Result<Vec<u8>> {
    let sources = Sources {
        symbols: !symbols.functions.is_empty(),
        dwarf: true,
        btf: true,
        ftrace: text.has_call_sites(),
        blacklist: text.has_blacklist(),
    };
    let mut builder = SurfaceBuilder::new(sources);
    for (name, function) in &symbols.functions {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let facts = builder.function(name);
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
        let Ok(name) = std::str::from_utf8(merged.names.get(name)) else { continue };
        let facts = builder.function(name);
        facts.inlined = uses.inlined > 0;
        facts.definitions = uses.declared.len() as u32;
        if facts.symbols == 0 && facts.suffixes.is_empty() {
            facts.btf = InBtf::Absent(if facts.inlined { Reason::OnlyInlined } else { Reason::NoSymbol });
        } else if uses.unnamed_parameter {
            facts.btf = InBtf::Absent(Reason::UnnamedParameter);
        }
    }
    for decision in decisions {
        let Ok(name) = std::str::from_utf8(merged.names.get(decision.name)) else { continue };
        let facts = builder.function(name);
        facts.btf = decision.dropped.map_or(InBtf::Present, |dropped| InBtf::Absent(dropped.into()));
    }
    for &(name, prototype) in prototypes {
        let Ok(name) = std::str::from_utf8(merged.names.get(name)) else { continue };
        // head, result, then name and type of each parameter
        let parameters = merged.nodes.words(prototype)[2..].chunks_exact(2);
        let count = parameters.len();
        let variadic = parameters.last().is_some_and(|last| last == [0, 0]);
        builder.function(name).obstacle = match (variadic, count > MOST_PARAMETERS) {
            (true, _) => Some(Reason::Variadic),
            (_, true) => Some(Reason::TooManyParameters),
            _ => None,
        };
    }
    builder.finish().map_err(|error| Error::TooLarge(error.to_string()))
}
