//! What a type says, in a form that can be compared between two BTFs.

use rustc_hash::FxHashMap;

use super::{Detail, Part, Subject, What};
use crate::dump::c::Dumper;
use crate::error::{Error, Result};
use crate::parse::Btf;
use crate::raw::{ByteSize, Kind, TypeId};
use crate::types::{Composite, IntEncoding, Type};

/// Deepest nesting of anonymous types that is followed.
const MAX_DEPTH: u32 = 32;

/// What a type, function or variable says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    size: Option<ByteSize>,
    ty: Option<String>,
    parts: Vec<Part>,
    by_position: bool,
}

/// Describes the types of one BTF.
pub(super) struct Describer<'b> {
    btf: &'b Btf<'b>,
    dumper: Dumper<'b>,
    texts: FxHashMap<TypeId, String>,
    steps_left: u64,
}

/// What kind of entry a type makes; `None` for one without a name or of no interest.
pub(super) fn subject(btf: &Btf<'_>, id: TypeId) -> Result<Option<Subject>> {
    let record = btf.record(id)?;
    let subject = match record.info.kind() {
        Kind::Int | Kind::Float => Subject::Base,
        Kind::Struct => Subject::Struct,
        Kind::Union => Subject::Union,
        Kind::Enum | Kind::Enum64 => Subject::Enum,
        Kind::Typedef => Subject::Typedef,
        Kind::Func => Subject::Function,
        Kind::Var => Subject::Variable,
        _ => return Ok(None),
    };
    Ok(if btf.str_bytes(record.name)?.is_empty() { None } else { Some(subject) })
}

impl<'b> Describer<'b> {
    pub(super) fn new(btf: &'b Btf<'_>) -> Describer<'b> {
        let elements: u64 = btf.all_ids().filter_map(|id| btf.record(id).ok()).map(|r| u64::from(r.info.vlen())).sum();
        Describer {
            btf,
            dumper: Dumper::for_listing(btf),
            texts: FxHashMap::default(),
            // Members of anonymous types are looked at once for each container; crafted BTF could make that exponential.
            steps_left: 100_000 + 64 * elements,
        }
    }

    pub(super) fn describe(&mut self, id: TypeId) -> Result<Described> {
        let (mut size, mut ty, mut parts, mut by_position) = (None, None, Vec::new(), false);
        match self.btf.ty(id)? {
            Type::Int { size: bytes, encoding, offset, bits, .. } => {
                size = Some(bytes);
                ty = Some(integer(bytes, encoding, offset.0, bits));
            }
            Type::Float { size: bytes, .. } => size = Some(bytes),
            Type::Struct(composite) | Type::Union(composite) => {
                size = Some(composite.size);
                self.members(id, &composite, "", 0, 0, &mut parts)?;
            }
            Type::Enum(e) | Type::Enum64(e) => {
                size = Some(e.size);
                for value in e.values() {
                    let value = value?;
                    parts.push(Part { name: value.name.to_owned(), what: What::Value { value: value.value } });
                }
            }
            Type::Typedef { ty: to, .. } => {
                ty = Some(self.text(to)?);
                // A typedef is the only name that an anonymous type has.
                if let Type::Struct(composite) | Type::Union(composite) = self.btf.ty(to)?
                    && composite.name.is_empty()
                {
                    size = Some(composite.size);
                    self.members(to, &composite, "", 0, 0, &mut parts)?;
                }
            }
            Type::Var { ty: of, .. } => ty = Some(self.text(of)?),
            Type::Func { proto, .. } => {
                by_position = true;
                if let Type::FuncProto(proto) = self.btf.ty(proto)? {
                    ty = Some(self.text(proto.ret)?);
                    for (position, param) in proto.params().enumerate() {
                        let param = param?;
                        let ty = if param.is_ellipsis() { "...".to_owned() } else { self.text(param.ty)? };
                        parts.push(Part { name: param.name.to_owned(), what: What::Parameter { position, ty } });
                    }
                }
            }
            _ => {}
        }
        Ok(Described { size, ty, parts, by_position })
    }

    fn members(
        &mut self,
        id: TypeId,
        composite: &Composite<'_>,
        prefix: &str,
        start: u64,
        depth: u32,
        parts: &mut Vec<Part>,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep { id, limit: MAX_DEPTH });
        }
        for member in composite.members() {
            let member = member?;
            self.steps_left = self.steps_left.checked_sub(1).ok_or(Error::TooDeep { id, limit: MAX_DEPTH })?;
            let bit_offset = start + u64::from(member.offset.0);
            let name = format!("{prefix}{}", member.name);
            if !member.name.is_empty() {
                let what = What::Member { bit_offset, bitfield_size: member.bitfield_size, ty: self.text(member.ty)? };
                parts.push(Part { name: name.clone(), what });
            }
            let inner = crate::resolve::strip_modifiers(self.btf, member.ty)?;
            if let Type::Struct(composite) | Type::Union(composite) = self.btf.ty(inner)?
                && (composite.name.is_empty() || member.name.is_empty())
            {
                let prefix = if member.name.is_empty() { prefix.to_owned() } else { name + "." };
                self.members(inner, &composite, &prefix, bit_offset, depth + 1, parts)?;
            }
        }
        Ok(())
    }

    /// A type as C writes it without a name.
    fn text(&mut self, id: TypeId) -> Result<String> {
        if let Some(known) = self.texts.get(&id) {
            return Ok(known.clone());
        }
        let text = self.dumper.declaration(id, "")?;
        self.texts.insert(id, text.clone());
        Ok(text)
    }
}

fn integer(size: ByteSize, encoding: IntEncoding, offset: u32, bits: u8) -> String {
    let mut text = if encoding.is_signed() { "signed".to_owned() } else { "unsigned".to_owned() };
    let flags = [(encoding.is_char(), " char"), (encoding.is_bool(), " bool")];
    flags.iter().filter(|flag| flag.0).for_each(|flag| text.push_str(flag.1));
    if offset != 0 || u64::from(bits) != size.bits() {
        text.push_str(&format!(", {bits} bits from bit {offset}"));
    }
    text
}

impl Described {
    /// What is different in the other.
    pub(super) fn differences(&self, new: &Described) -> Vec<Detail> {
        let mut details = Vec::new();
        if let (Some(old), Some(new)) = (self.size, new.size)
            && old != new
        {
            details.push(Detail::Size { old, new });
        }
        if let (Some(old), Some(new)) = (&self.ty, &new.ty)
            && old != new
        {
            details.push(Detail::Type { old: old.clone(), new: new.clone() });
        }
        let mut matched = vec![false; new.parts.len()];
        // Names repeat (Red Hat's hidden members): the n-th of a name is compared with the n-th of that name.
        let mut positions: FxHashMap<&str, std::collections::VecDeque<usize>> = FxHashMap::default();
        for (at, part) in new.parts.iter().enumerate() {
            positions.entry(part.name.as_str()).or_default().push_back(at);
        }
        for (position, old) in self.parts.iter().enumerate() {
            let found = match self.by_position {
                true => Some(position).filter(|at| *at < new.parts.len()),
                false => positions.get_mut(old.name.as_str()).and_then(|places| places.pop_front()),
            };
            let Some(at) = found else {
                details.push(Detail::Removed(old.clone()));
                continue;
            };
            matched[at] = true;
            if new.parts[at] != *old {
                details.push(Detail::Changed { old: old.clone(), new: new.parts[at].clone() });
            }
        }
        let added = new.parts.iter().zip(matched).filter(|(_, matched)| !matched);
        details.extend(added.map(|(part, _)| Detail::Added(part.clone())));
        if details.is_empty() {
            // The members of a union, or enumerators.
            details.push(Detail::Reordered);
        }
        details
    }
}
