//! JSON, as `bpftool -j btf dump file X` prints it: an object for a type, in an array `types`.

use std::fmt::Write;

use super::{encoding, func_linkage, fwd_kind, or_anonymous, signedness, var_linkage};
use crate::error::Result;
use crate::parse::Btf;
use crate::raw::{Kind, TypeId};
use crate::types::{Enum, Type};

/// Appends the object of one type.
///
/// # Errors
/// [`crate::Error::NoSuchType`], or a bad name.
pub fn write_type(btf: &Btf<'_>, id: TypeId, out: &mut String) -> Result<()> {
    let ty = btf.ty(id)?;
    let kind = ty.kind().unwrap_or(Kind::Unknown(0));
    let mut object = Object::start(out);
    object.number("id", id.0);
    object.string("kind", kind.name());
    object.string("name", or_anonymous(ty.name()));
    match ty {
        Type::Void | Type::Unknown(_) => {}
        Type::Int { size, encoding: e, offset, bits, .. } => {
            object.number("size", size);
            object.number("bits_offset", offset.0);
            object.number("nr_bits", bits);
            object.string("encoding", encoding(e));
        }
        Type::Ptr(ty) | Type::Const(ty) | Type::Volatile(ty) | Type::Restrict(ty) => object.number("type_id", ty),
        Type::Typedef { ty, .. } | Type::TypeTag { ty, .. } => object.number("type_id", ty),
        Type::Array { element, index, len } => {
            object.number("type_id", element);
            object.number("index_type_id", index);
            object.number("nr_elems", len);
        }
        Type::Struct(c) | Type::Union(c) => {
            object.number("size", c.size);
            object.number("vlen", c.members().len());
            object.array("members", c.members(), |object, member| {
                object.string("name", or_anonymous(member.name));
                object.number("type_id", member.ty);
                object.number("bits_offset", member.offset.0);
                if member.bitfield_size != 0 {
                    object.number("bitfield_size", member.bitfield_size);
                }
            })?;
        }
        Type::Enum(e) | Type::Enum64(e) => enumeration(&e, &mut object)?,
        Type::Fwd { is_union, .. } => object.string("fwd_kind", fwd_kind(is_union)),
        Type::Func { proto, linkage, .. } => {
            object.number("type_id", proto);
            object.string("linkage", func_linkage(linkage));
        }
        Type::FuncProto(proto) => {
            object.number("ret_type_id", proto.ret);
            object.number("vlen", proto.params().len());
            object.array("params", proto.params(), |object, param| {
                object.string("name", or_anonymous(param.name));
                object.number("type_id", param.ty);
            })?;
        }
        Type::Var { ty, linkage, .. } => {
            object.number("type_id", ty);
            object.string("linkage", var_linkage(linkage));
        }
        Type::Datasec(section) => {
            object.number("size", section.size);
            object.number("vlen", section.vars().len());
            object.array("vars", section.vars(), |object, var| {
                object.number("type_id", var.ty);
                object.number("offset", var.offset.0);
                object.number("size", var.size);
            })?;
        }
        Type::Float { size, .. } => object.number("size", size),
        Type::DeclTag { target, component_idx, .. } => {
            object.number("type_id", target);
            object.number("component_idx", component_idx.map_or(-1, i64::from));
        }
    }
    object.end();
    Ok(())
}

fn enumeration(e: &Enum<'_>, object: &mut Object<'_>) -> Result<()> {
    object.string("encoding", signedness(e.signed()));
    object.number("size", e.size);
    object.number("vlen", e.values().len());
    object.array("values", e.values(), |object, value| {
        object.string("name", or_anonymous(value.name));
        object.number("val", value.value);
    })
}

/// The whole document: `{"types":[…]}`, this BTF's own types.
///
/// # Errors
/// As for [`write_type`].
pub fn document(btf: &Btf<'_>) -> Result<String> {
    let mut out = String::from("{\"types\":[");
    for (at, id) in btf.ids().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_type(btf, id, &mut out)?;
    }
    out.push_str("]}");
    Ok(out)
}

/// An object being written.
struct Object<'o> {
    out: &'o mut String,
    is_first: bool,
}

impl<'o> Object<'o> {
    fn start(out: &'o mut String) -> Object<'o> {
        out.push('{');
        Object { out, is_first: true }
    }

    fn end(self) {
        self.out.push('}');
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(',');
        }
        let _ = write!(self.out, "\"{key}\":");
    }

    fn number(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        write_string(value, self.out);
    }

    fn array<T>(
        &mut self,
        key: &str,
        items: impl Iterator<Item = Result<T>>,
        mut write: impl FnMut(&mut Object<'_>, T),
    ) -> Result<()> {
        self.key(key);
        self.out.push('[');
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            let mut object = Object::start(self.out);
            write(&mut object, item?);
            object.end();
        }
        self.out.push(']');
        Ok(())
    }
}

/// A JSON string (RFC 8259).
fn write_string(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_escaped() {
        let mut out = String::new();
        write_string("a\"b\\c\n\u{1}é", &mut out);
        assert_eq!(out, "\"a\\\"b\\\\c\\n\\u0001é\"");
    }
}
