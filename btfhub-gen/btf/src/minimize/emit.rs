//! Writing what is kept, in the order of the original ids.
//!
//! Qualifiers and typedefs are left out, but for a typedef that is itself a candidate: every comparison skips them. What
//! becomes equal (each pointer that nobody follows is a `void *`) is written once.

use rustc_hash::FxHashMap;

use super::keep::{Keep, Kept};
use crate::core_relo::Target;
use crate::core_relo::words::{self, stripped};
use crate::error::{Error, Result};
use crate::parse::{Btf, Record};
use crate::raw::{BitOffset, ByteSize, Kind, StrOffset, TypeId};
use crate::types::{IntEncoding, Type};
use crate::write::{Builder, EnumValueDef, MemberDef, ParamDef};

/// The minimal BTF of the kernel and, in the target's order, of each module.
pub(crate) struct Emitted {
    pub(crate) vmlinux: Vec<u8>,
    pub(crate) modules: Vec<Vec<u8>>,
}

/// Writes what is kept; `stamp` goes to the end of each string section, where nothing refers to it.
pub(crate) fn emit(target: &Target<'_>, keep: &Keep, stamp: &str) -> Result<Emitted> {
    let base = Plan::new(target.vmlinux, &keep.vmlinux, None)?;
    let mut builder = Builder::new(target.vmlinux.endian());
    base.write(&mut builder)?;
    builder.string(stamp);
    let (first_id, vmlinux) = (builder.next_id(), builder.finish()?);
    let base_strings = Btf::parse(&vmlinux)?.str_len();
    let mut modules = Vec::new();
    for (module, kept) in target.modules.iter().zip(&keep.modules) {
        let plan = Plan::new(module.btf, kept, Some((&base, first_id)))?;
        let mut builder = Builder::split(target.vmlinux.endian(), base_strings, first_id);
        plan.write(&mut builder)?;
        builder.string(stamp);
        modules.push(builder.finish()?);
    }
    Ok(Emitted { vmlinux, modules })
}

/// As [`emit`], but the modules' types follow the kernel's in one BTF.
///
/// A module's struct that only stands in another one may have the name of one of the kernel's, which would then get a rival:
/// it is written without its name.
pub(crate) fn emit_merged(target: &Target<'_>, keep: &Keep, stamp: &str) -> Result<Emitted> {
    let base = Plan::new(target.vmlinux, &keep.vmlinux, None)?;
    let mut builder = Builder::new(target.vmlinux.endian());
    base.write(&mut builder)?;
    for (module, kept) in target.modules.iter().zip(&keep.modules) {
        let plan = Plan::new(module.btf, kept, Some((&base, builder.next_id())))?;
        Plan { without_names: true, ..plan }.write(&mut builder)?;
    }
    builder.string(stamp);
    Ok(Emitted { vmlinux: builder.finish()?, modules: Vec::new() })
}

/// Which types are written, and under which ids.
struct Plan<'p, 't> {
    btf: &'p Btf<'t>,
    kept: &'p FxHashMap<TypeId, Kept>,
    base: Option<&'p Plan<'p, 't>>,
    /// Are structs and unions written without a name that nobody asked for?
    without_names: bool,
    /// The original ids, in the order of writing.
    order: Vec<TypeId>,
    /// The new id of each kept type.
    ids: FxHashMap<TypeId, TypeId>,
}

/// What makes two types the same in the result.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    Itself(TypeId),
    VoidPointer,
    Number { name: StrOffset, info: u32, size: u32, word: u32 },
    Array { element: TypeId, index: TypeId, len: u32 },
}

impl<'p, 't> Plan<'p, 't> {
    fn new(
        btf: &'p Btf<'t>,
        kept: &'p FxHashMap<TypeId, Kept>,
        base: Option<(&'p Plan<'p, 't>, TypeId)>,
    ) -> Result<Plan<'p, 't>> {
        let first_id = base.map_or(1, |(_, first_id)| first_id.0);
        let mut plan = Plan {
            btf,
            kept,
            base: base.map(|(plan, _)| plan),
            without_names: false,
            order: Vec::new(),
            ids: FxHashMap::default(),
        };
        let mut all: Vec<TypeId> = kept.keys().copied().collect();
        all.sort_unstable();
        let mut known: FxHashMap<Identity, TypeId> = FxHashMap::default();
        let mut same_as: Vec<(TypeId, TypeId)> = Vec::new();
        for &id in &all {
            let first = *known.entry(plan.identity(id)?).or_insert(id);
            if first == id {
                plan.ids.insert(id, TypeId(first_id + plan.order.len() as u32));
                plan.order.push(id);
            } else {
                same_as.push((id, first));
            }
        }
        for (id, first) in same_as {
            plan.ids.insert(id, plan.ids[&first]);
        }
        Ok(plan)
    }

    fn identity(&self, id: TypeId) -> Result<Identity> {
        let record = self.btf.record(id)?;
        let number =
            |word| Identity::Number { name: record.name, info: record.info.0, size: record.size_or_type, word };
        Ok(match record.info.kind() {
            Kind::Int => number(record.word(0)),
            Kind::Float => number(0),
            Kind::Ptr if self.kept.get(&id).is_some_and(|kept| !kept.followed) => Identity::VoidPointer,
            Kind::Array => {
                let array = words::array(&record);
                let (element, index) = (stripped(self.btf, array.element)?.0, stripped(self.btf, array.index)?.0);
                Identity::Array { element, index, len: array.len }
            }
            _ => Identity::Itself(id),
        })
    }

    /// The new id of what a reference leads to, `void` where that is not kept.
    fn map(&self, id: TypeId) -> Result<TypeId> {
        let (id, _) = stripped(self.btf, id)?;
        let known = |plan: &Plan<'_, '_>| plan.ids.get(&id).copied();
        Ok(known(self).or_else(|| self.base.and_then(known)).unwrap_or_default())
    }

    fn write(&self, builder: &mut Builder) -> Result<()> {
        for &id in &self.order {
            let record = self.btf.record(id)?;
            let written = self.write_type(builder, id, &record)?;
            debug_assert_eq!(Some(&written), self.ids.get(&id));
        }
        Ok(())
    }

    fn write_type(&self, builder: &mut Builder, id: TypeId, record: &Record<'_>) -> Result<TypeId> {
        let kept = &self.kept[&id];
        let is_nameless = self.without_names && !kept.named && record.info.kind().is_composite();
        let name = if is_nameless { StrOffset::EMPTY } else { builder.string(self.btf.str(record.name)?) };
        let to = TypeId(record.size_or_type);
        let size = ByteSize(record.size_or_type);
        Ok(match record.info.kind() {
            Kind::Int => {
                let word = record.word(0);
                builder.int(
                    name,
                    size,
                    IntEncoding((word >> 24) as u8 & 0x0f),
                    BitOffset(word >> 16 & 0xff),
                    word as u8,
                )
            }
            Kind::Float => builder.float(name, size),
            Kind::Ptr if kept.followed => {
                let to = self.map(to)?;
                builder.ptr(to)
            }
            Kind::Ptr => builder.ptr(TypeId::VOID),
            Kind::Array => {
                let array = words::array(record);
                builder.array(self.map(array.element)?, self.map(array.index)?, array.len)
            }
            kind @ (Kind::Struct | Kind::Union) => {
                let mut members = Vec::with_capacity(kept.elements.len());
                for &index in &kept.elements {
                    let member = words::member(record, index);
                    members.push(MemberDef {
                        name: builder.string(self.btf.str(member.name)?),
                        ty: self.map(member.ty)?,
                        offset: BitOffset(member.bit_offset),
                        bitfield_size: member.bitfield_size,
                    });
                }
                builder.composite(kind, name, size, members)
            }
            Kind::Enum | Kind::Enum64 => {
                let (Type::Enum(decoded) | Type::Enum64(decoded)) = self.btf.ty(id)? else {
                    return Err(Error::WrongKind { id, found: record.info.kind(), expected: "enumeration" });
                };
                let mut values = Vec::with_capacity(kept.elements.len());
                for &index in &kept.elements {
                    if let Some(value) = decoded.values().get(index as usize) {
                        let value = value?;
                        values.push(EnumValueDef { name: builder.string(value.name), value: value.value });
                    }
                }
                match decoded.is_enum64() {
                    true => builder.enum64(name, size, decoded.signed(), values),
                    false => builder.enum_(name, size, decoded.signed(), values),
                }
            }
            Kind::Fwd => builder.fwd(name, record.info.kind_flag()),
            Kind::Typedef => {
                let to = self.map(to)?;
                builder.typedef(name, to)
            }
            Kind::FuncProto => {
                let parameters = (0..record.info.vlen())
                    .map(|index| {
                        Ok(ParamDef { name: StrOffset::EMPTY, ty: self.map(words::parameter(record, index))? })
                    })
                    .collect::<Result<Vec<_>>>()?;
                let result = self.map(to)?;
                builder.func_proto(result, parameters)
            }
            Kind::Func | Kind::Var => {
                let to = self.map(to)?;
                match self.btf.ty(id)? {
                    Type::Func { linkage, .. } => builder.func(name, to, linkage),
                    Type::Var { linkage, .. } => builder.var(name, to, linkage),
                    _ => {
                        return Err(Error::WrongKind {
                            id,
                            found: record.info.kind(),
                            expected: "function or variable",
                        });
                    }
                }
            }
            found => return Err(Error::WrongKind { id, found, expected: "type that an access can go through" }),
        })
    }
}
