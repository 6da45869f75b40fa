//! The order of definitions: what a definition needs by value is put into the queue before it.

use super::Dumper;
use crate::error::{Error, Result};
use crate::raw::TypeId;
use crate::types::Type;

/// How far the ordering of a type has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Not,
    Now,
    Done,
}

impl Dumper<'_> {
    /// Queues what must be defined before a mention of this type compiles, then the type itself.
    ///
    /// A named struct or union behind a pointer needs nothing: a forward declaration does. Answers whether the link is strong,
    /// that is, whether the type is (or contains inline) something that had to be defined.
    pub(super) fn order(&mut self, id: TypeId, behind_pointer: bool, depth: u32) -> Result<bool> {
        self.step(id, depth)?;
        let state = *self.state(id)?;
        if state.order == Order::Done {
            return Ok(true);
        }
        let ty = self.btf.ty(id)?;
        let is_named = !ty.name().is_empty();
        if state.order == Order::Now {
            let by_declaration = matches!(ty, Type::Struct(_) | Type::Union(_)) && behind_pointer && is_named;
            return if by_declaration { Ok(false) } else { Err(Error::TooDeep { id, limit: super::MAX_DEPTH }) };
        }
        match ty {
            Type::Void => Ok(true),
            Type::Int { .. } => {
                self.queue.push(id);
                self.ordered(id, false)
            }
            Type::Float { .. } => self.ordered(id, false),
            Type::Ptr(to) => {
                let is_strong = self.order(to, true, depth + 1)?;
                self.ordered(id, is_strong)
            }
            Type::Array { element, .. } => self.order(element, false, depth + 1),
            Type::Const(ty) | Type::Volatile(ty) | Type::Restrict(ty) => self.order(ty, behind_pointer, depth + 1),
            Type::TypeTag { ty, .. } => self.order(ty, behind_pointer, depth + 1),
            Type::Struct(_) | Type::Union(_) if behind_pointer && is_named => Ok(false),
            Type::Struct(composite) | Type::Union(composite) => {
                self.state(id)?.order = Order::Now;
                for member in composite.members() {
                    self.order(member?.ty, false, depth + 1)?;
                }
                if is_named {
                    self.queue.push(id);
                }
                self.ordered(id, true)
            }
            Type::Enum(_) | Type::Enum64(_) | Type::Fwd { .. } => {
                // An anonymous enumeration that something refers to is written inline there.
                if is_named || !state.referenced {
                    self.queue.push(id);
                }
                self.ordered(id, true)
            }
            Type::Typedef { ty, .. } => {
                let is_strong = self.order(ty, behind_pointer, depth + 1)?;
                if behind_pointer && !is_strong {
                    return Ok(false);
                }
                self.queue.push(id);
                self.ordered(id, true)
            }
            Type::FuncProto(proto) => {
                let mut is_strong = self.order(proto.ret, behind_pointer, depth + 1)?;
                for param in proto.params() {
                    is_strong |= self.order(param?.ty, behind_pointer, depth + 1)?;
                }
                Ok(is_strong)
            }
            Type::Func { .. } | Type::Var { .. } | Type::Datasec(_) | Type::DeclTag { .. } => self.ordered(id, false),
            Type::Unknown(record) => {
                let found = record.info.kind();
                Err(Error::WrongKind { id, found, expected: "a kind that has a form in C" })
            }
        }
    }

    fn ordered(&mut self, id: TypeId, is_strong: bool) -> Result<bool> {
        self.state(id)?.order = Order::Done;
        Ok(is_strong)
    }
}
