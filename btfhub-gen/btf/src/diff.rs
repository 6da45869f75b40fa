//! What changed between two BTFs: types, functions and variables by name, and for each what exactly.
//!
//! A type is compared by what it says itself; a struct behind a pointer or within another is an entry of its own. Members of
//! anonymous structs and unions count as the container's. Where a name has several definitions, equal ones are paired first.
//!
//! The order of the result is stable: by kind, then by name.

mod describe;
mod text;

use std::collections::BTreeMap;

use crate::error::Result;
use crate::parse::Btf;
use crate::raw::{ByteSize, TypeId};
use describe::{Described, Describer};

/// The differences from one BTF to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Diff {
    /// What differs, sorted by kind and name; what is the same is left out.
    pub entries: Vec<Entry>,
}

/// A name that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Entry {
    /// What it names.
    pub kind: Subject,
    /// The name.
    pub name: String,
    /// What happened.
    pub change: Change,
}

/// What a name stands for. ENUM and ENUM64 are one kind here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Subject {
    /// A base type: integer or float.
    Base,
    /// A struct.
    Struct,
    /// A union.
    Union,
    /// An enumeration.
    Enum,
    /// A typedef.
    Typedef,
    /// A function.
    Function,
    /// A variable.
    Variable,
}

impl Subject {
    /// The word for it, as C or BTF has it.
    pub fn word(self) -> &'static str {
        match self {
            Subject::Base => "type",
            Subject::Struct => "struct",
            Subject::Union => "union",
            Subject::Enum => "enum",
            Subject::Typedef => "typedef",
            Subject::Function => "function",
            Subject::Variable => "variable",
        }
    }
}

/// What happened to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Change {
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// In both, with these differences.
    Changed(Vec<Detail>),
}

/// A difference within a type, function or variable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Detail {
    /// The size.
    Size {
        /// In the first.
        old: ByteSize,
        /// In the second.
        new: ByteSize,
    },
    /// What the name stands for: a typedef's or variable's type, a base type's encoding, a function's return type.
    Type {
        /// In the first, as C writes it.
        old: String,
        /// In the second.
        new: String,
    },
    /// A part only in the second.
    Added(Part),
    /// A part only in the first.
    Removed(Part),
    /// A part of the same name that differs.
    Changed {
        /// In the first.
        old: Part,
        /// In the second.
        new: Part,
    },
    /// The same parts in another order, each where it was.
    Reordered,
}

/// A member, enumerator or parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Part {
    /// Its name; within named members of anonymous type a path, `un.echo.id`. Empty for a parameter without one.
    pub name: String,
    /// Where it is and what it is.
    pub what: What,
}

/// Where a part is and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum What {
    /// A member.
    Member {
        /// Offset in bits from the start of the struct or union that the entry names.
        bit_offset: u64,
        /// Width in bits of a bit-field, 0 for a plain member.
        bitfield_size: u32,
        /// Its type as C writes it; an anonymous one as `struct {...}`.
        ty: String,
    },
    /// An enumerator.
    Value {
        /// Its value.
        value: i128,
    },
    /// A parameter.
    Parameter {
        /// Its position, from 0.
        position: usize,
        /// Its type as C writes it; `...` for a variable number.
        ty: String,
    },
}

impl Diff {
    /// Whether both say the same.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Compares two BTFs, with their bases where they have them.
///
/// # Errors
/// A bad name or reference in either.
pub fn diff(old: &Btf<'_>, new: &Btf<'_>) -> Result<Diff> {
    if old.data() == new.data() && old.base().is_none() && new.base().is_none() {
        return Ok(Diff::default());
    }
    let (mut old_describer, mut new_describer) = (Describer::new(old), Describer::new(new));
    let mut names: BTreeMap<(Subject, &str), [Vec<TypeId>; 2]> = BTreeMap::new();
    for (side, btf) in [old, new].into_iter().enumerate() {
        for id in btf.all_ids() {
            if let Some(subject) = describe::subject(btf, id)? {
                names.entry((subject, btf.name_of(id)?)).or_default()[side].push(id);
            }
        }
    }
    let mut entries = Vec::new();
    for ((kind, name), [old_ids, new_ids]) in names {
        let mut described_old = old_ids.iter().map(|id| old_describer.describe(*id)).collect::<Result<Vec<_>>>()?;
        let mut described_new = new_ids.iter().map(|id| new_describer.describe(*id)).collect::<Result<Vec<_>>>()?;
        unpair(&mut described_old, &mut described_new);
        let mut add = |change| entries.push(Entry { kind, name: name.to_owned(), change });
        let paired = described_old.len().min(described_new.len());
        for (old, new) in described_old.iter().zip(&described_new) {
            add(Change::Changed(old.differences(new)));
        }
        described_old[paired..].iter().for_each(|_| add(Change::Removed));
        described_new[paired..].iter().for_each(|_| add(Change::Added));
    }
    Ok(Diff { entries })
}

/// Leaves on both sides what has no equal on the other.
fn unpair(old: &mut Vec<Described>, new: &mut Vec<Described>) {
    old.retain(|one| match new.iter().position(|other| other == one) {
        Some(at) => {
            new.remove(at);
            false
        }
        None => true,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{BitOffset, Endian, Kind, StrOffset};
    use crate::types::{FuncLinkage, IntEncoding, VarLinkage};
    use crate::write::{Builder, EnumValueDef, MemberDef, ParamDef};

    const INT: TypeId = TypeId(1);
    const LONG: TypeId = TypeId(2);

    struct Source(Builder);

    impl Source {
        fn members(&mut self, members: &[(&str, TypeId, u32, u32)]) -> Vec<MemberDef> {
            let member = |&(name, ty, offset, bitfield_size): &(&str, TypeId, u32, u32)| MemberDef {
                name: self.0.string(name),
                ty,
                offset: BitOffset(offset),
                bitfield_size,
            };
            members.iter().map(member).collect()
        }

        fn record(&mut self, name: &str, size: u32, members: &[(&str, TypeId, u32, u32)]) -> TypeId {
            let members = self.members(members);
            let name = self.0.string(name);
            self.0.composite(Kind::Struct, name, ByteSize(size), members)
        }

        fn function(&mut self, name: &str, ret: TypeId, params: &[(&str, TypeId)]) {
            let params: Vec<_> = params.iter().map(|&(name, ty)| ParamDef { name: self.0.string(name), ty }).collect();
            let proto = self.0.func_proto(ret, params);
            let name = self.0.string(name);
            self.0.func(name, proto, FuncLinkage::Static);
        }
    }

    fn build(fill: impl FnOnce(&mut Source)) -> Vec<u8> {
        let mut source = Source(Builder::new(Endian::Little));
        for (name, size) in [("int", 4), ("long", 8)] {
            let name = source.0.string(name);
            source.0.int(name, ByteSize(size), IntEncoding::SIGNED, BitOffset(0), size as u8 * 8);
        }
        fill(&mut source);
        source.0.finish().unwrap()
    }

    #[track_caller]
    fn check(old: impl FnOnce(&mut Source), new: impl FnOnce(&mut Source), expected: &str) {
        let (old, new) = (build(old), build(new));
        let (old, new) = (Btf::parse(&old).unwrap(), Btf::parse(&new).unwrap());
        assert_eq!(diff(&old, &new).unwrap().to_string(), expected);
        assert!(diff(&old, &old).unwrap().is_empty());
    }

    #[test]
    fn members_are_compared_by_name() {
        check(
            |s| {
                s.record(
                    "s",
                    16,
                    &[("kept", INT, 0, 0), ("moved", INT, 32, 0), ("gone", INT, 64, 0), ("bits", INT, 96, 3)],
                );
            },
            |s| {
                s.record(
                    "s",
                    24,
                    &[("kept", INT, 0, 0), ("moved", LONG, 64, 0), ("come", LONG, 128, 0), ("bits", INT, 32, 4)],
                );
            },
            "\
struct s: changed
  size 16 -> 24
  ~ moved: int at 4 -> long at 8
  - gone: int at 8
  ~ bits: int:3 at 12 -> int:4 at 4
  + come: long at 16
",
        );
    }

    #[test]
    fn members_of_anonymous_types_count_as_the_containers() {
        let with = |at: u32| {
            move |s: &mut Source| {
                let echo = s.record("", 4, &[("id", INT, 0, 0)]);
                let hidden = s.record("", 12, &[("echo", echo, at, 0), ("x", INT, 64, 0)]);
                s.record("icmphdr", 16, &[("", hidden, 32, 0)]);
            }
        };
        check(with(0), with(0), "");
        let expected = "\
struct icmphdr: changed
  ~ echo: struct {...} at 4 -> struct {...} at 8
  ~ echo.id: int at 4 -> int at 8
";
        check(with(0), with(32), expected);
    }

    #[test]
    fn functions_are_compared_by_their_prototypes() {
        check(
            |s| {
                s.function("f", INT, &[("a", INT), ("b", LONG)]);
                s.function("gone", INT, &[]);
                s.function("same", INT, &[("a", INT)]);
            },
            |s| {
                let ptr = s.0.ptr(INT);
                s.function("come", INT, &[]);
                s.function("f", TypeId(0), &[("a", ptr), ("c", LONG), ("", TypeId(0))]);
                s.function("same", INT, &[("a", INT)]);
            },
            "\
function come: added
function f: changed
  type int -> void
  ~ parameter 1 a: int -> a: int *
  ~ parameter 2 b: long -> c: long
  + parameter 3: ...
function gone: removed
",
        );
    }

    #[test]
    fn enumerators_typedefs_and_variables_are_compared() {
        let with = |wide: bool, value: i128, to: TypeId| {
            move |s: &mut Source| {
                let (e, a, b, t, v) =
                    (s.0.string("e"), s.0.string("A"), s.0.string("B"), s.0.string("t"), s.0.string("v"));
                let values = [EnumValueDef { name: a, value: 1 }, EnumValueDef { name: b, value }];
                match wide {
                    true => s.0.enum64(e, ByteSize(8), false, values),
                    false => s.0.enum_(e, ByteSize(4), false, values),
                };
                s.0.typedef(t, to);
                s.0.var(v, to, VarLinkage::Static);
                s.0.fwd(StrOffset::EMPTY, false);
            }
        };
        check(
            with(false, 2, INT),
            with(true, 3, LONG),
            "\
enum e: changed
  size 4 -> 8
  ~ B = 2 -> B = 3
typedef t: changed
  type int -> long
variable v: changed
  type int -> long
",
        );
    }

    #[test]
    fn of_several_definitions_equal_ones_are_paired_first() {
        check(
            |s| {
                s.record("s", 4, &[("a", INT, 0, 0)]);
                s.record("s", 8, &[("b", LONG, 0, 0)]);
            },
            |s| {
                s.record("s", 8, &[("b", LONG, 0, 0)]);
                s.record("s", 4, &[("c", INT, 0, 0)]);
                s.record("s", 0, &[]);
            },
            "struct s: changed\n  - a: int at 0\n  + c: int at 0\nstruct s: added\n",
        );
    }
}
