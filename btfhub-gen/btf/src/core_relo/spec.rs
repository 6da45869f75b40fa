//! Access specifications: what a relocation's root type and access string mean.
//!
//! `0:1:2` is kept twice: *raw*, one index per element of the string, with every step through an anonymous member; and as
//! *accessors*, only the steps that mean something: the pointer's element, named members, array elements.

use std::fmt::Write;

use super::kind::{CoreReloKind, Family};
use super::refusal::Refusal;
use super::words::{self, stripped};
use crate::parse::Btf;
use crate::raw::{Kind, StrOffset, TypeId};
use crate::resolve::size_of;

/// Elements of an access string at most, `BPF_CORE_SPEC_MAX_LEN` of libbpf.
pub const MAX_ELEMENTS: usize = 64;

/// One step that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accessor {
    /// The composite that has the member, or the array's element type.
    pub ty: TypeId,
    /// Which member, enumerator or array element.
    pub index: u32,
    /// Name of the member or enumerator; `None` for an array element and the first step of a field access.
    pub name: Option<StrOffset>,
}

/// A resolved access in one BTF: a field, an enumerator, or a type as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSpec {
    /// The root type, before qualifiers and typedefs are skipped.
    pub root: TypeId,
    /// The relocation's kind.
    pub kind: CoreReloKind,
    /// The steps that mean something. Empty for a relocation of a type.
    pub accessors: Vec<Accessor>,
    /// Every step.
    pub raw: Vec<u32>,
    /// Where the field starts, in bits from the root.
    pub bit_offset: u32,
}

impl AccessSpec {
    pub(crate) fn new(root: TypeId, kind: CoreReloKind) -> AccessSpec {
        AccessSpec { root, kind, accessors: Vec::new(), raw: Vec::new(), bit_offset: 0 }
    }

    /// Makes this an empty access again, without giving memory back.
    pub(crate) fn reset(&mut self, root: TypeId, kind: CoreReloKind) {
        (self.root, self.kind, self.bit_offset) = (root, kind, 0);
        self.accessors.clear();
        self.raw.clear();
    }

    /// Reads an access string against the object's own types.
    ///
    /// # Errors
    /// [`Refusal`] for a string that is none, or that does not fit the root type.
    pub fn parse(btf: &Btf<'_>, kind: CoreReloKind, root: TypeId, access: StrOffset) -> Result<AccessSpec, Refusal> {
        let mut spec = AccessSpec::new(root, kind);
        let text = btf.str(access)?;
        let malformed = || Refusal::AccessString(text.to_owned());
        let family = kind.family().ok_or(Refusal::UnknownKind(kind))?;
        if family == Family::Type {
            // Reads the record so that a root that does not exist is refused here.
            btf.kind_of(root)?;
            return if text == "0" { Ok(spec) } else { Err(malformed()) };
        }
        for element in text.split(':') {
            let digits = !element.is_empty() && element.bytes().all(|byte| byte.is_ascii_digit());
            let index = element.parse::<u32>().ok().filter(|&index| digits && index <= i32::MAX as u32);
            if spec.raw.len() == MAX_ELEMENTS {
                return Err(Refusal::TooDeep);
            }
            spec.raw.push(index.ok_or_else(malformed)?);
        }
        let (id, record) = stripped(btf, root)?;
        let first = spec.raw[0];
        if family == Family::Enumval {
            let record = record.filter(|record| record.info.kind().is_enum()).ok_or_else(malformed)?;
            if spec.raw.len() > 1 || first >= record.info.vlen() {
                return Err(malformed());
            }
            let name = words::enumerator_name(&record, first);
            spec.accessors.push(Accessor { ty: id, index: first, name: Some(name) });
            return Ok(spec);
        }
        spec.accessors.push(Accessor { ty: id, index: first, name: None });
        spec.bit_offset = element_bits(btf, id, first)?;
        spec.walk(btf, id).map(|()| spec)
    }

    /// Follows the raw indices after the first from type `id`.
    fn walk(&mut self, btf: &Btf<'_>, mut id: TypeId) -> Result<(), Refusal> {
        for at in 1..self.raw.len() {
            let index = self.raw[at];
            let (ty, record) = stripped(btf, id)?;
            let record = record.ok_or(Refusal::NotIndexable { element: at })?;
            match record.info.kind() {
                Kind::Struct | Kind::Union => {
                    if index >= record.info.vlen() {
                        return Err(Refusal::NoSuchElement { element: at, index });
                    }
                    let member = words::member(&record, index);
                    self.bit_offset = self.bit_offset.wrapping_add(member.bit_offset);
                    if member.name != StrOffset::EMPTY {
                        if btf.str_bytes(member.name)?.is_empty() {
                            return Err(Refusal::NoSuchElement { element: at, index });
                        }
                        self.accessors.push(Accessor { ty, index, name: Some(member.name) });
                    }
                    id = member.ty;
                }
                Kind::Array => {
                    let array = words::array(&record);
                    let (element, _) = stripped(btf, array.element)?;
                    let flexible = self.accessors.last().is_some_and(|last| is_flexible(btf, last, array.len));
                    if !flexible && index >= array.len {
                        return Err(Refusal::NoSuchElement { element: at, index });
                    }
                    self.accessors.push(Accessor { ty: element, index, name: None });
                    self.bit_offset = self.bit_offset.wrapping_add(element_bits(btf, element, index)?);
                    id = element;
                }
                _ => return Err(Refusal::NotIndexable { element: at }),
            }
        }
        Ok(())
    }

    /// Shows the access as C would write it: `struct tcp_sock.rtt_min`, `enum bpf_map_type::BPF_MAP_TYPE_HASH`,
    /// `struct sock`. Names that cannot be read show as `?`.
    pub fn display(&self, btf: &Btf<'_>) -> String {
        let mut out = type_name(btf, self.root);
        match self.kind.family() {
            Some(Family::Type) | None => {}
            Some(Family::Enumval) => {
                if let Some(name) = self.accessors.first().and_then(|first| first.name) {
                    let _ = write!(out, "::{}", btf.str(name).unwrap_or("?"));
                }
            }
            Some(Family::Field) => {
                for (at, accessor) in self.accessors.iter().enumerate() {
                    match accessor.name {
                        Some(name) => {
                            let _ = write!(out, ".{}", btf.str(name).unwrap_or("?"));
                        }
                        None if at > 0 || accessor.index > 0 => {
                            let _ = write!(out, "[{}]", accessor.index);
                        }
                        None => {}
                    }
                }
            }
        }
        out
    }
}

/// How C names a type: `struct sock`, `pid_t`, `enum x`, with what anonymous ones are.
pub(crate) fn type_name(btf: &Btf<'_>, id: TypeId) -> String {
    let name = btf.name_of(id).unwrap_or("?");
    let name = if name.is_empty() { "<anon>" } else { name };
    match btf.kind_of(id) {
        Ok(Some(Kind::Struct)) => format!("struct {name}"),
        Ok(Some(Kind::Union)) => format!("union {name}"),
        Ok(Some(Kind::Enum | Kind::Enum64)) => format!("enum {name}"),
        Ok(Some(Kind::Fwd)) => format!("forward {name}"),
        Ok(None) => "void".to_owned(),
        _ => name.to_owned(),
    }
}

/// Bits from an array's start to its element `index`, as libbpf counts them: modulo 2^32.
pub(crate) fn element_bits(btf: &Btf<'_>, element: TypeId, index: u32) -> Result<u32, Refusal> {
    let size = size_of(btf, element)?;
    Ok(index.wrapping_mul(size.0).wrapping_mul(8))
}

/// May any element of this array be accessed? It must have no length and be the last member of a composite; `accessor` is
/// the step that led to it.
pub(crate) fn is_flexible(btf: &Btf<'_>, accessor: &Accessor, len: u32) -> bool {
    if accessor.name.is_none() || len > 0 {
        return false;
    }
    btf.record(accessor.ty).is_ok_and(|composite| Some(accessor.index) == composite.info.vlen().checked_sub(1))
}
