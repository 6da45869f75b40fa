//! What an object asks, read once: the distinct questions of its relocations, by its own types.

use rustc_hash::FxHashMap;

use super::kind::CoreReloKind;
use super::refusal::Refusal;
use super::spec::AccessSpec;
use super::value::{self, Side};
use crate::object_file::CoreRelo;
use crate::parse::Btf;
use crate::raw::{Kind, StrOffset, TypeId};

/// The distinct questions of an object's relocations.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) questions: Vec<LocalQuestion>,
    /// The question of each relocation.
    pub(crate) of_relocation: Vec<usize>,
}

/// What is asked of a target: the same for many relocations of an object.
#[derive(Debug)]
pub(crate) struct LocalQuestion {
    pub(crate) kind: CoreReloKind,
    /// The local root type.
    pub(crate) root: TypeId,
    /// What is searched for; an error where the object itself is malformed, so that nothing is.
    pub(crate) local: Result<Local, Refusal>,
}

/// The local side of a question.
#[derive(Debug)]
pub(crate) struct Local {
    /// The access by the local types.
    pub(crate) spec: AccessSpec,
    /// What the instruction should hold before.
    pub(crate) side: Side,
    /// Name and kind of the root type.
    pub(crate) name: StrOffset,
    pub(crate) root_kind: Kind,
}

impl Asked {
    pub(crate) fn read(btf: &Btf<'_>, relocations: &[CoreRelo]) -> Asked {
        let mut known: FxHashMap<(CoreReloKind, TypeId, StrOffset), usize> = FxHashMap::default();
        let mut questions = Vec::new();
        let of_relocation = relocations.iter().map(|relo| {
            *known.entry((relo.kind, relo.root, relo.access)).or_insert_with(|| {
                questions.push(LocalQuestion { kind: relo.kind, root: relo.root, local: Local::read(btf, relo) });
                questions.len() - 1
            })
        });
        Asked { of_relocation: of_relocation.collect(), questions }
    }
}

impl Local {
    fn read(btf: &Btf<'_>, relo: &CoreRelo) -> Result<Local, Refusal> {
        let spec = AccessSpec::parse(btf, relo.kind, relo.root, relo.access)?;
        let side = value::side(btf, &spec)?;
        if spec.root.is_void() {
            return Err(Refusal::Anonymous);
        }
        let record = btf.record(spec.root)?;
        if relo.kind != CoreReloKind::TypeIdLocal && btf.str_bytes(record.name)?.is_empty() {
            return Err(Refusal::Anonymous);
        }
        Ok(Local { spec, side, name: record.name, root_kind: record.info.kind() })
    }
}
