//! Finding a local access in a candidate type of the target: libbpf's `bpf_core_spec_match`.

use super::compat::{Node, Observer, fields_are_compatible, types_are_compatible};
use super::kind::{CoreReloKind, Family};
use super::matching::types_match;
use super::refusal::Refusal;
use super::spec::{AccessSpec, Accessor, MAX_ELEMENTS, element_bits, is_flexible};
use super::words::{self, stripped};
use crate::index::essential_len;
use crate::parse::{Btf, Record};
use crate::raw::{Kind, StrOffset, TypeId};

/// Why a candidate is none, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// No type of that name and kind.
    NoType,
    /// The type of that name is not compatible, or does not match.
    Type,
    /// The candidate, or what is reached in it, is no struct or union.
    NotComposite {
        /// Which accessor of the local access failed.
        accessor: usize,
    },
    /// No member of that name.
    NoMember {
        /// Which accessor of the local access failed.
        accessor: usize,
    },
    /// The member of that name has a type of another kind.
    Member {
        /// Which accessor of the local access failed.
        accessor: usize,
        /// The local member's kind, `None` for `void`.
        local: Option<Kind>,
        /// The target member's kind.
        target: Option<Kind>,
    },
    /// What is indexed is no array.
    NotArray {
        /// Which accessor of the local access failed.
        accessor: usize,
    },
    /// The array is shorter.
    OutOfBounds {
        /// Which accessor of the local access failed.
        accessor: usize,
        /// The array's length in the target.
        len: u32,
    },
    /// The candidate is no enumeration.
    NotEnum,
    /// The enumeration has no enumerator of that name.
    NoEnumerator,
}

/// Members looked at in one candidate at most: a bound for types made to branch at every level.
const MAX_STEPS: u32 = 1 << 20;

/// The search for a local access in one candidate after another. What is found in one is where the next is looked at first:
/// the copies of a type that was not deduplicated have their members at the same index.
pub(crate) struct Search<'s, 'l> {
    pub(crate) local: &'s Btf<'l>,
    spec: &'s AccessSpec,
    /// The access in the candidate, after it was found.
    pub(crate) found: AccessSpec,
    /// By accessor: which member of the composite had the name, or led to it; `u32::MAX` at first.
    hints: Vec<u32>,
}

impl<'s, 'l> Search<'s, 'l> {
    pub(crate) fn new((local, spec): (&'s Btf<'l>, &'s AccessSpec)) -> Search<'s, 'l> {
        let hints = vec![u32::MAX; spec.accessors.len()];
        Search { local, spec, found: AccessSpec::new(spec.root, spec.kind), hints }
    }

    /// Looks for the local access in candidate `root` of `target`. The observer is told what that takes.
    pub(crate) fn run(
        &mut self,
        (target, root): (&Btf<'_>, TypeId),
        observer: &mut impl Observer,
    ) -> Result<Result<(), Mismatch>, Refusal> {
        let Search { local, spec, found, hints } = self;
        found.reset(root, spec.kind);
        observer.root(root);
        match spec.kind.family().ok_or(Refusal::UnknownKind(spec.kind))? {
            Family::Type => {
                let (a, b) = (Node::new(local, spec.root), Node::new(target, root));
                let compatible = match spec.kind {
                    CoreReloKind::TypeMatches => types_match(a, b, observer)?,
                    _ => types_are_compatible(a, b, observer)?,
                };
                Ok(if compatible { Ok(()) } else { Err(Mismatch::Type) })
            }
            Family::Enumval => match_enumerator((local, spec), target, found, observer),
            Family::Field => FieldSearch { local, target, found, steps: MAX_STEPS, observer }.run(spec, hints),
        }
    }
}

fn match_enumerator(
    (local, spec): (&Btf<'_>, &AccessSpec),
    target: &Btf<'_>,
    found: &mut AccessSpec,
    observer: &mut impl Observer,
) -> Result<Result<(), Mismatch>, Refusal> {
    let (ty, record) = stripped(target, found.root)?;
    let Some(record) = record.filter(|record| record.info.kind().is_enum()) else {
        return Ok(Err(Mismatch::NotEnum));
    };
    let name = spec.accessors.first().and_then(|first| first.name).unwrap_or(StrOffset::EMPTY);
    let wanted = local.str_bytes(name)?;
    let wanted = &wanted[..essential_len(wanted)];
    for index in 0..record.info.vlen() {
        let name = words::enumerator_name(&record, index);
        // The prefix first: that comparison is cheap.
        if !target.str_tail(name)?.starts_with(wanted) {
            continue;
        }
        if essential_len(target.str_bytes(name)?) == wanted.len() {
            observer.enumerator(ty, index);
            found.accessors.push(Accessor { ty, index, name: Some(name) });
            found.raw.push(index);
            return Ok(Ok(()));
        }
    }
    Ok(Err(Mismatch::NoEnumerator))
}

/// The search for a field: the target's access as found so far.
struct FieldSearch<'s, 'l, 't, O> {
    local: &'s Btf<'l>,
    target: &'s Btf<'t>,
    found: &'s mut AccessSpec,
    steps: u32,
    observer: &'s mut O,
}

/// What the search for one member of a composite came to.
enum MemberSearch {
    /// Found; its type.
    Found(TypeId),
    /// There is one of that name, of another kind. The search in the composite ends.
    Incompatible(Option<Kind>, Option<Kind>),
    Absent,
    NotComposite,
}

impl<O: Observer> FieldSearch<'_, '_, '_, O> {
    fn run(mut self, spec: &AccessSpec, hints: &mut [u32]) -> Result<Result<(), Mismatch>, Refusal> {
        let mut id = self.found.root;
        for (accessor, step) in spec.accessors.iter().enumerate() {
            let (ty, record) = stripped(self.target, id)?;
            id = ty;
            self.observer.ty(id);
            if let Some(name) = step.name {
                let composite = self.local.record(step.ty)?;
                let local_type = words::member(&composite, step.index).ty;
                let name = self.local.str_bytes(name)?;
                let depth = self.found.raw.len();
                match self.find_hinted((name, local_type), id, hints[accessor])? {
                    MemberSearch::Found(ty) => {
                        id = ty;
                        hints[accessor] = self.found.raw[depth];
                    }
                    MemberSearch::Incompatible(local, target) => {
                        return Ok(Err(Mismatch::Member { accessor, local, target }));
                    }
                    MemberSearch::Absent => return Ok(Err(Mismatch::NoMember { accessor })),
                    MemberSearch::NotComposite => return Ok(Err(Mismatch::NotComposite { accessor })),
                }
                continue;
            }
            if accessor > 0 {
                let Some(record) = record.filter(|record| record.info.kind() == Kind::Array) else {
                    return Ok(Err(Mismatch::NotArray { accessor }));
                };
                let array = words::array(&record);
                let last = self.found.accessors.last();
                if step.index >= array.len && !last.is_some_and(|last| is_flexible(self.target, last, array.len)) {
                    return Ok(Err(Mismatch::OutOfBounds { accessor, len: array.len }));
                }
                self.observer.ty(array.index);
                id = stripped(self.target, array.element)?.0;
            }
            if self.found.raw.len() == MAX_ELEMENTS {
                return Err(Refusal::TooDeep);
            }
            self.found.accessors.push(Accessor { ty: id, index: step.index, name: None });
            self.found.raw.push(step.index);
            let bits = element_bits(self.target, id, step.index)?;
            self.found.bit_offset = self.found.bit_offset.wrapping_add(bits);
        }
        self.observe_value(id)?;
        Ok(Ok(()))
    }

    /// Tells the observer of what the size of a field of type `id` depends on.
    fn observe_value(&mut self, mut id: TypeId) -> Result<(), Refusal> {
        for _ in 0..crate::resolve::MAX_RESOLVE_DEPTH {
            let (ty, record) = stripped(self.target, id)?;
            self.observer.ty(ty);
            let Some(record) = record.filter(|record| record.info.kind() == Kind::Array) else { break };
            let array = words::array(&record);
            self.observer.ty(array.index);
            id = array.element;
        }
        Ok(())
    }

    /// Looks for a member by name in composite `id`: first where the candidate before had it, then everywhere.
    ///
    /// A name that is at the hint is the one that the search would find: no struct has two members of one name, those of
    /// its anonymous members included.
    fn find_hinted(&mut self, wanted: (&[u8], TypeId), id: TypeId, hint: u32) -> Result<MemberSearch, Refusal> {
        let (id, record) = stripped(self.target, id)?;
        let Some(record) = record.filter(|record| record.info.kind().is_composite()) else {
            return Ok(MemberSearch::NotComposite);
        };
        let composite = (id, &record);
        if hint < record.info.vlen() {
            let tail = self.target.str_tail(words::member(&record, hint).name)?;
            if is_string(tail, wanted.0) {
                return self.take(wanted.1, composite, hint);
            }
            if is_string(tail, b"")
                && let found @ MemberSearch::Found(_) = self.enter(wanted, composite, hint)?
            {
                return Ok(found);
            }
        }
        self.find_member(wanted, composite)
    }

    /// Looks for a member by name in a composite, and in anonymous members where they stand.
    fn find_member(
        &mut self,
        wanted: (&[u8], TypeId),
        composite: (TypeId, &Record<'_>),
    ) -> Result<MemberSearch, Refusal> {
        let mut closest = MemberSearch::Absent;
        for (index, name) in (0..).zip(words::names_by_three(composite.1)) {
            self.steps = self.steps.checked_sub(1).ok_or(Refusal::Nesting)?;
            if self.found.raw.len() == MAX_ELEMENTS {
                return Err(Refusal::TooDeep);
            }
            let tail = self.target.str_tail(name)?;
            if is_string(tail, b"") {
                match self.enter(wanted, composite, index)? {
                    MemberSearch::Absent | MemberSearch::NotComposite => {}
                    incompatible @ MemberSearch::Incompatible(..) => closest = incompatible,
                    found @ MemberSearch::Found(_) => return Ok(found),
                }
            } else if is_string(tail, wanted.0) {
                return self.take(wanted.1, composite, index);
            }
        }
        Ok(closest)
    }

    /// Looks in the anonymous member at `index`.
    fn enter(
        &mut self,
        wanted: (&[u8], TypeId),
        (id, composite): (TypeId, &Record<'_>),
        index: u32,
    ) -> Result<MemberSearch, Refusal> {
        let member = words::member(composite, index);
        let (inner_id, inner) = stripped(self.target, member.ty)?;
        let Some(inner) = inner.filter(|inner| inner.info.kind().is_composite()) else {
            return Ok(MemberSearch::NotComposite);
        };
        self.found.raw.push(index);
        self.found.bit_offset = self.found.bit_offset.wrapping_add(member.bit_offset);
        let result = self.find_member(wanted, (inner_id, &inner))?;
        if let MemberSearch::Found(_) = result {
            self.observer.member(id, index);
        } else {
            self.found.bit_offset = self.found.bit_offset.wrapping_sub(member.bit_offset);
            self.found.raw.pop();
        }
        Ok(result)
    }

    /// Takes the member at `index`, which has the name, if its type is compatible.
    fn take(
        &mut self,
        local_type: TypeId,
        (id, composite): (TypeId, &Record<'_>),
        index: u32,
    ) -> Result<MemberSearch, Refusal> {
        let member = words::member(composite, index);
        let (local, target) = (Node::new(self.local, local_type), Node::new(self.target, member.ty));
        if !fields_are_compatible(local, target)? {
            let kind = |node: Node<'_>| Ok::<_, Refusal>(super::compat::kind(&node.strip()?.1));
            return Ok(MemberSearch::Incompatible(kind(local)?, kind(target)?));
        }
        self.found.raw.push(index);
        self.found.bit_offset = self.found.bit_offset.wrapping_add(member.bit_offset);
        self.found.accessors.push(Accessor { ty: id, index, name: Some(member.name) });
        self.observer.member(id, index);
        Ok(MemberSearch::Found(member.ty))
    }
}

/// Does `tail`, which goes on to the end of the string section, start with this string?
#[inline]
fn is_string(tail: &[u8], string: &[u8]) -> bool {
    tail.get(string.len()) == Some(&0) && tail.starts_with(string)
}
