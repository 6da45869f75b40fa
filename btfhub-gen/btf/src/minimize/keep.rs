//! What of a target is kept: types, and of composites and enumerations which elements.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::core_relo::words::{self, stripped};
use crate::core_relo::{Observer, Origin, Target};
use crate::error::Result;
use crate::parse::Btf;
use crate::raw::{Kind, TypeId};

/// What is kept of each BTF of a target.
#[derive(Debug, Default)]
pub(crate) struct Keep {
    pub(crate) vmlinux: FxHashMap<TypeId, Kept>,
    /// By module, its own types.
    pub(crate) modules: Vec<FxHashMap<TypeId, Kept>>,
}

/// A type that is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Members or enumerators that are kept, by their index.
    pub(crate) elements: BTreeSet<u32>,
    /// The pointer's target is needed too; else it becomes `void *`.
    pub(crate) followed: bool,
    /// The type's name was searched for or compared.
    pub(crate) named: bool,
}

impl Keep {
    pub(crate) fn new(target: &Target<'_>) -> Keep {
        Keep { vmlinux: FxHashMap::default(), modules: target.modules.iter().map(|_| FxHashMap::default()).collect() }
    }

    /// The kept types of the BTF that has type `id`, as seen from `origin`.
    fn of(&mut self, target: &Target<'_>, origin: Origin, id: TypeId) -> &mut FxHashMap<TypeId, Kept> {
        match origin {
            Origin::Module(number) if id >= target.modules[number].btf.first_id() => &mut self.modules[number],
            _ => &mut self.vmlinux,
        }
    }
}

/// Keeps what a search for an access in one BTF looks at.
pub(crate) struct Marker<'k, 't> {
    keep: &'k mut Keep,
    target: &'k Target<'t>,
    origin: Origin,
    btf: &'t Btf<'t>,
}

impl<'k, 't> Marker<'k, 't> {
    pub(crate) fn new(keep: &'k mut Keep, target: &'k Target<'t>, origin: Origin) -> Marker<'k, 't> {
        Marker { btf: target.btf(origin), keep, target, origin }
    }

    fn kept(&mut self, id: TypeId) -> Option<&mut Kept> {
        (!id.is_void()).then(|| self.keep.of(self.target, self.origin, id).entry(id).or_default())
    }

    fn is_kept(&mut self, id: TypeId) -> bool {
        self.keep.of(self.target, self.origin, id).contains_key(&id)
    }

    /// Keeps a candidate with all that a search could look at, found or not.
    pub(crate) fn whole(&mut self, root: TypeId) -> Result<()> {
        self.root(root);
        let mut pending = vec![root];
        let mut seen = BTreeSet::new();
        while let Some(id) = pending.pop() {
            let (id, record) = stripped(self.btf, id)?;
            let Some(record) = record.filter(|_| seen.insert(id)) else { continue };
            self.kept(id);
            match record.info.kind() {
                Kind::Struct | Kind::Union => {
                    (0..record.info.vlen()).for_each(|index| self.member(id, index));
                    pending.extend(words::members(&record).map(|member| member.ty));
                }
                Kind::Enum | Kind::Enum64 => (0..record.info.vlen()).for_each(|index| self.enumerator(id, index)),
                Kind::Array => {
                    let array = words::array(&record);
                    pending.extend([array.element, array.index]);
                }
                Kind::FuncProto => {
                    pending.push(TypeId(record.size_or_type));
                    pending.extend((0..record.info.vlen()).map(|index| words::parameter(&record, index)));
                }
                Kind::Ptr => {
                    self.followed(id);
                    let (to, pointee) = stripped(self.btf, TypeId(record.size_or_type))?;
                    match pointee.map(|pointee| pointee.info.kind()) {
                        // No search looks into these behind a pointer.
                        None | Some(Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64) => self.ty(to),
                        Some(_) => pending.push(to),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Observer for Marker<'_, '_> {
    fn root(&mut self, id: TypeId) {
        if let Some(kept) = self.kept(id) {
            kept.named = true;
        }
    }

    fn named(&mut self, id: TypeId) {
        if let Ok((id, _)) = stripped(self.btf, id)
            && let Some(kept) = self.kept(id)
        {
            kept.named = true;
        }
    }

    fn ty(&mut self, id: TypeId) {
        if let Ok((id, _)) = stripped(self.btf, id)
            && !self.is_kept(id)
        {
            self.kept(id);
        }
    }

    fn followed(&mut self, pointer: TypeId) {
        if let Some(kept) = self.kept(pointer) {
            kept.followed = true;
        }
    }

    fn member(&mut self, composite: TypeId, index: u32) {
        if let Some(kept) = self.kept(composite) {
            kept.elements.insert(index);
        }
    }

    fn enumerator(&mut self, enumeration: TypeId, index: u32) {
        if let Some(kept) = self.kept(enumeration) {
            kept.elements.insert(index);
        }
    }
}
