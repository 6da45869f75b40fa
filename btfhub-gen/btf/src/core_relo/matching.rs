//! Matching of types: whether the target has a type of the same shape, as `bpf_core_type_matches()` asks. Stricter than
//! compatibility: members must be there by name and match in turn, integers by size and sign, arrays by length. Behind a
//! pointer only kind and name of a struct or union count. libbpf's `__bpf_core_types_match`.

use super::compat::{MAX_DEPTH, Node, Observer, kind};
use super::refusal::Refusal;
use super::words;
use crate::error::Result as BtfResult;
use crate::index::essential_len;
use crate::parse::{Btf, Record};
use crate::raw::{Kind, StrOffset, TypeId};

/// Does the target's type match the local one, whose name the caller has compared?
pub(crate) fn types_match(local: Node<'_>, target: Node<'_>, observer: &mut impl Observer) -> Result<bool, Refusal> {
    Matcher { observer, steps: MAX_STEPS }.types(local, target, false, MAX_DEPTH)
}

/// Types and members compared at most, so that types made to branch at every level end in an error rather than not at all.
/// Comparing `task_struct` with itself takes some thousand.
const MAX_STEPS: u32 = 1 << 22;

struct Matcher<'o, O> {
    observer: &'o mut O,
    steps: u32,
}

impl<O: Observer> Matcher<'_, O> {
    fn step(&mut self) -> Result<(), Refusal> {
        self.steps = self.steps.checked_sub(1).ok_or(Refusal::Nesting)?;
        Ok(())
    }

    fn types(
        &mut self,
        local: Node<'_>,
        target: Node<'_>,
        mut behind_pointer: bool,
        level: u32,
    ) -> Result<bool, Refusal> {
        let (mut local, mut target) = (local, target);
        if level == 0 {
            return Err(Refusal::Nesting);
        }
        for _ in 0..MAX_DEPTH {
            self.observer.ty(target.id);
            self.observer.named(target.id);
            let (stripped_local, a) = local.strip()?;
            let (stripped_target, b) = target.strip()?;
            let (a_name, b_name) = (name_of(&a), name_of(&b));
            if !names_match(local.btf, a_name, target.btf, b_name)? {
                return Ok(false);
            }
            let (a_kind, b_kind) = (kind(&a), kind(&b));
            let (Some(a), Some(b)) = (a, b) else { return Ok(a_kind == b_kind) };
            let same_kind = a_kind == b_kind;
            let b_kind = b.info.kind();
            match a.info.kind() {
                Kind::Fwd => {
                    let is_union = a.info.kind_flag();
                    return Ok(if same_kind {
                        is_union == b.info.kind_flag()
                    } else {
                        behind_pointer && b_kind == if is_union { Kind::Union } else { Kind::Struct }
                    });
                }
                Kind::Enum | Kind::Enum64 => {
                    return if b_kind.is_enum() { self.enums(local.btf, &a, stripped_target, &b) } else { Ok(false) };
                }
                a_kind @ (Kind::Struct | Kind::Union) => {
                    return if behind_pointer {
                        let is_union = a_kind == Kind::Union;
                        Ok(same_kind || b_kind == Kind::Fwd && is_union == b.info.kind_flag())
                    } else if same_kind {
                        self.composites((stripped_local, &a), (stripped_target, &b), behind_pointer, level)
                    } else {
                        Ok(false)
                    };
                }
                _ if !same_kind => return Ok(false),
                Kind::Int => {
                    let signed = |int| words::int_encoding(int) & 1;
                    return Ok(a.size_or_type == b.size_or_type && signed(&a) == signed(&b));
                }
                Kind::Ptr => {
                    self.observer.followed(stripped_target.id);
                    behind_pointer = true;
                    local = local.at(TypeId(a.size_or_type));
                    target = target.at(TypeId(b.size_or_type));
                }
                Kind::Array => {
                    let (a, b) = (words::array(&a), words::array(&b));
                    if a.len != b.len {
                        return Ok(false);
                    }
                    self.observer.ty(b.index);
                    local = local.at(a.element);
                    target = target.at(b.element);
                }
                Kind::FuncProto => {
                    if a.info.vlen() != b.info.vlen() {
                        return Ok(false);
                    }
                    for index in 0..a.info.vlen() {
                        let (a, b) = (words::parameter(&a, index), words::parameter(&b, index));
                        if !self.types(local.at(a), target.at(b), behind_pointer, level - 1)? {
                            return Ok(false);
                        }
                    }
                    local = local.at(TypeId(a.size_or_type));
                    target = target.at(TypeId(b.size_or_type));
                }
                _ => return Ok(false),
            }
        }
        Err(Refusal::Nesting)
    }

    fn enums(&mut self, local: &Btf<'_>, a: &Record<'_>, target: Node<'_>, b: &Record<'_>) -> Result<bool, Refusal> {
        if a.size_or_type != b.size_or_type || a.info.vlen() > b.info.vlen() {
            return Ok(false);
        }
        'enumerators: for wanted in 0..a.info.vlen() {
            let wanted = words::enumerator_name(a, wanted);
            for index in 0..b.info.vlen() {
                self.step()?;
                if names_match(local, wanted, target.btf, words::enumerator_name(b, index))? {
                    self.observer.enumerator(target.id, index);
                    continue 'enumerators;
                }
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn composites(
        &mut self,
        (local, a): (Node<'_>, &Record<'_>),
        (target, b): (Node<'_>, &Record<'_>),
        behind_pointer: bool,
        level: u32,
    ) -> Result<bool, Refusal> {
        if a.info.vlen() > b.info.vlen() {
            return Ok(false);
        }
        'members: for wanted in words::members(a) {
            for (index, member) in words::members(b).enumerate() {
                self.step()?;
                if !names_match(local.btf, wanted.name, target.btf, member.name)? {
                    continue;
                }
                let (a, b) = (local.at(wanted.ty), target.at(member.ty));
                if self.types(a, b, behind_pointer, level - 1)? {
                    self.observer.member(target.id, index as u32);
                    continue 'members;
                }
            }
            return Ok(false);
        }
        Ok(true)
    }
}

fn name_of(record: &Option<Record<'_>>) -> StrOffset {
    record.as_ref().map_or(StrOffset::EMPTY, |record| record.name)
}

/// Same names without their flavours, or no name on both sides.
fn names_match(local: &Btf<'_>, a: StrOffset, target: &Btf<'_>, b: StrOffset) -> BtfResult<bool> {
    let (a, b) = (local.str_bytes(a)?, target.str_bytes(b)?);
    Ok(if b.is_empty() { a.is_empty() } else { a[..essential_len(a)] == b[..essential_len(b)] })
}
