//! BTF as text that does not depend on the order of types: what goldens hold and what two encoders are compared by.
//!
//! One block for each named type, function, variable and section, sorted. Unnamed types are written where they are
//! used, in the order in which one says them: `*const char`, `[3][4]int`, `fn(a: int, ...) -> void`. Offsets are in bits.

use std::collections::HashMap;
use std::fmt::Write;

use btf::{Btf, Composite, Enum, FuncProto, Type, TypeId};

/// The description of a whole BTF.
pub(crate) fn describe(btf: &Btf<'_>) -> String {
    describe_all(btf).join("\n") + "\n"
}

/// Its blocks, sorted.
pub(crate) fn describe_all(btf: &Btf<'_>) -> Vec<String> {
    let mut blocks = Describer::new(btf).blocks();
    blocks.sort();
    blocks
}

/// The blocks of all but functions and tags: what encoders must agree on whatever they think of functions.
pub(crate) fn describe_types(btf: &Btf<'_>) -> Vec<String> {
    let mut blocks = describe_all(btf);
    blocks.retain(|block| !["func ", "tag "].iter().any(|kind| block.starts_with(kind)));
    blocks
}

struct Describer<'b, 'd> {
    btf: &'b Btf<'d>,
    /// Numbers of the types that share kind and name with another, from 1, ordered by what the types are: the same
    /// whatever their order in the file.
    numbers: HashMap<TypeId, usize>,
}

/// Rounds of telling types of one name apart by what they refer to.
const ROUNDS: usize = 12;

impl<'b, 'd> Describer<'b, 'd> {
    fn new(btf: &'b Btf<'d>) -> Self {
        let mut same: HashMap<(&str, &str), Vec<TypeId>> = HashMap::new();
        for id in btf.ids() {
            let ty = btf.ty(id).unwrap();
            let kind = match ty {
                Type::Struct(_) => "struct",
                Type::Union(_) => "union",
                Type::Enum(_) | Type::Enum64(_) => "enum",
                Type::Typedef { .. } => "typedef",
                _ => continue,
            };
            if !ty.name().is_empty() {
                same.entry((kind, ty.name())).or_default().push(id);
            }
        }
        same.retain(|_, ids| ids.len() > 1);
        let mut describer = Describer { btf, numbers: HashMap::new() };
        // each round compares what the round before could not tell apart
        for _ in 0..ROUNDS {
            let mut numbers = HashMap::new();
            for ids in same.values() {
                let block = |id: TypeId| describer.block(id).unwrap_or_default();
                let body = |id: TypeId| block(id).split_once(['\n', '=']).map(|(_, body)| body.to_owned());
                let mut ordered: Vec<_> = ids.iter().map(|&id| (describer.numbers.get(&id), body(id), id)).collect();
                ordered.sort();
                let mut number = 0;
                for (at, (before, body, id)) in ordered.iter().enumerate() {
                    let is_new = at == 0 || (&ordered[at - 1].0, &ordered[at - 1].1) != (before, body);
                    number += usize::from(is_new);
                    numbers.insert(*id, number);
                }
            }
            describer.numbers = numbers;
        }
        describer
    }

    fn label(&self, id: TypeId, name: &str) -> String {
        match self.numbers.get(&id) {
            Some(number) => format!("{name}#{number}"),
            None => name.to_owned(),
        }
    }

    /// A type as its users say it.
    fn reference(&self, id: TypeId) -> String {
        match self.btf.ty(id).unwrap() {
            Type::Void => "void".to_owned(),
            Type::Int { name, .. } | Type::Float { name, .. } => name.to_owned(),
            Type::Ptr(to) => format!("*{}", self.reference(to)),
            Type::Const(ty) => format!("const {}", self.reference(ty)),
            Type::Volatile(ty) => format!("volatile {}", self.reference(ty)),
            Type::Restrict(ty) => format!("restrict {}", self.reference(ty)),
            Type::Array { element, len, .. } => format!("[{len}]{}", self.reference(element)),
            Type::TypeTag { name, ty, .. } => format!("tag({name}) {}", self.reference(ty)),
            Type::Typedef { name, .. } => self.label(id, name),
            Type::Struct(ref c) if c.name.is_empty() => format!("struct {{ {} }}", self.members(c, "; ")),
            Type::Union(ref c) if c.name.is_empty() => format!("union {{ {} }}", self.members(c, "; ")),
            Type::Struct(c) => format!("struct {}", self.label(id, c.name)),
            Type::Union(c) => format!("union {}", self.label(id, c.name)),
            Type::Enum(ref e) | Type::Enum64(ref e) if e.name.is_empty() => {
                format!("enum {{ {} }}", self.enumerators(e, "; "))
            }
            Type::Enum(e) | Type::Enum64(e) => format!("enum {}", self.label(id, e.name)),
            Type::Fwd { name, is_union } => format!("{} {name} (declared)", if is_union { "union" } else { "struct" }),
            Type::FuncProto(proto) => self.prototype(&proto),
            other => format!("{other:?}"),
        }
    }

    fn prototype(&self, proto: &FuncProto<'_>) -> String {
        let parameter = |p: btf::Result<btf::Param<'_>>| {
            let p = p.unwrap();
            match (p.is_ellipsis(), p.name) {
                (true, _) => "...".to_owned(),
                (false, "") => self.reference(p.ty),
                (false, name) => format!("{name}: {}", self.reference(p.ty)),
            }
        };
        let parameters: Vec<String> = proto.params().map(parameter).collect();
        format!("fn({}) -> {}", parameters.join(", "), self.reference(proto.ret))
    }

    fn members(&self, composite: &Composite<'_>, separator: &str) -> String {
        let mut lines = vec![format!("{} bytes", composite.size.0)];
        for member in composite.members() {
            let member = member.unwrap();
            let mut line = format!("{} {}: {}", member.offset.0, member.name, self.reference(member.ty));
            if member.bitfield_size != 0 {
                let _ = write!(line, " ({} bits)", member.bitfield_size);
            }
            lines.push(line);
        }
        lines.join(separator)
    }

    fn enumerators(&self, enumeration: &Enum<'_>, separator: &str) -> String {
        let kind = if enumeration.is_enum64() { " enum64" } else { "" };
        let sign = if enumeration.signed() { " signed" } else { "" };
        let mut lines = vec![format!("{} bytes{kind}{sign}", enumeration.size.0)];
        for value in enumeration.values() {
            let value = value.unwrap();
            lines.push(format!("{} = {}", value.name, value.value));
        }
        lines.join(separator)
    }

    fn blocks(&self) -> Vec<String> {
        self.btf.ids().filter_map(|id| self.block(id)).collect()
    }

    fn block(&self, id: TypeId) -> Option<String> {
        let ty = self.btf.ty(id).unwrap();
        Some(match ty {
            Type::Int { name, size, encoding, bits, .. } => {
                format!("int {name}: {} bytes, {bits} bits, encoding {}", size.0, encoding.0)
            }
            Type::Float { name, size } => format!("float {name}: {} bytes", size.0),
            Type::Typedef { name, ty } => format!("typedef {} = {}", self.label(id, name), self.reference(ty)),
            Type::Struct(c) if !c.name.is_empty() => {
                format!("struct {}\n    {}", self.label(id, c.name), self.members(&c, "\n    "))
            }
            Type::Union(c) if !c.name.is_empty() => {
                format!("union {}\n    {}", self.label(id, c.name), self.members(&c, "\n    "))
            }
            Type::Enum(e) | Type::Enum64(e) if !e.name.is_empty() => {
                format!("enum {}\n    {}", self.label(id, e.name), self.enumerators(&e, "\n    "))
            }
            Type::Fwd { .. } => format!("declared {}", self.reference(id)),
            Type::Func { name, proto, linkage } => format!("func {name}: {} ({linkage:?})", self.reference(proto)),
            Type::Var { name, ty, linkage } => format!("var {name}: {} ({linkage:?})", self.reference(ty)),
            Type::Datasec(section) => {
                let mut block = format!("section {}: {} bytes", section.name, section.size.0);
                for place in section.vars() {
                    let place = place.unwrap();
                    let name = self.btf.name_of(place.ty).unwrap();
                    let _ = write!(block, "\n    {} {name}: {} bytes", place.offset.0, place.size.0);
                }
                block
            }
            Type::DeclTag { name, target, component_idx, .. } => {
                let place = component_idx.map_or(String::new(), |index| format!(" component {index}"));
                let target = match self.btf.ty(target).unwrap() {
                    Type::Func { name, .. } => format!("func {name}"),
                    Type::Var { name, .. } => format!("var {name}"),
                    _ => self.reference(target),
                };
                format!("tag {name} on {target}{place}")
            }
            // anonymous enums hold names that a C dump must have, whoever uses them
            Type::Enum(e) | Type::Enum64(e) => format!("enum {{ {} }}", self.enumerators(&e, "; ")),
            _ => return None,
        })
    }
}
