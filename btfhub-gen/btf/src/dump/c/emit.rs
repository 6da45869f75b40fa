//! Definitions, and the forward declarations that must stand before them.

use std::fmt::Write;

use super::declarator::BUILTIN_VA_LIST;
use super::names::{Space, identifier};
use super::placement::Growth;
use super::{Dumper, Emit};
use crate::error::Result;
use crate::raw::TypeId;
use crate::types::{Composite, Enum, Type};

/// Types that GCC has built in for Arm's vector instructions and Clang has not.
const GCC_POLY_TYPES: [(&str, &str); 4] = [
    ("__Poly8_t", "unsigned char"),
    ("__Poly16_t", "unsigned short"),
    ("__Poly64_t", "unsigned long long"),
    ("__Poly128_t", "unsigned __int128"),
];

impl Dumper<'_> {
    /// Writes a type's definition (`container` is `None`), or what a mention of it within the definition of `container` needs:
    /// nothing, a forward declaration, or a typedef that is used behind a pointer.
    pub(super) fn emit(&mut self, id: TypeId, container: Option<TypeId>, depth: u32) -> Result<()> {
        self.step(id, depth)?;
        let state = *self.state(id)?;
        if state.emit == Emit::Done {
            return Ok(());
        }
        let ty = self.btf.ty(id)?;
        if state.emit == Emit::Now {
            if !state.declared {
                self.emit_inside_itself(id, &ty, container)?;
            }
            return Ok(());
        }
        match ty {
            Type::Int { name, .. } => {
                if let Some((alias, of)) = GCC_POLY_TYPES.iter().find(|poly| poly.0 == name) {
                    let _ = write!(self.out, "typedef {of} {alias};\n\n");
                }
                self.state(id)?.emit = Emit::Done;
            }
            Type::Enum(e) | Type::Enum64(e) => {
                if container.is_none() {
                    let text = self.enumeration(id, &e, 0)?;
                    self.statement(&text);
                }
                self.state(id)?.emit = Emit::Done;
            }
            Type::Fwd { is_union, .. } => {
                let name = self.name(id, Space::Tag)?;
                self.statement(&format!("{} {name}", if is_union { "union" } else { "struct" }));
                self.state(id)?.emit = Emit::Done;
            }
            Type::Ptr(ty) | Type::Const(ty) | Type::Volatile(ty) | Type::Restrict(ty) => {
                self.emit(ty, Some(container.unwrap_or(id)), depth + 1)?
            }
            Type::TypeTag { ty, .. } | Type::Array { element: ty, .. } => {
                self.emit(ty, Some(container.unwrap_or(id)), depth + 1)?
            }
            Type::Typedef { ty, .. } => {
                self.state(id)?.emit = Emit::Now;
                self.emit(ty, Some(id), depth + 1)?;
                if !self.state(id)?.declared {
                    self.typedef(id, ty)?;
                }
                self.state(id)?.emit = Emit::Done;
            }
            Type::Struct(composite) => self.emit_composite(id, &composite, false, container, depth)?,
            Type::Union(composite) => self.emit_composite(id, &composite, true, container, depth)?,
            Type::FuncProto(proto) => {
                let container = Some(container.unwrap_or(id));
                self.emit(proto.ret, container, depth + 1)?;
                for param in proto.params() {
                    self.emit(param?.ty, container, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A mention of a type whose definition is being prepared.
    fn emit_inside_itself(&mut self, id: TypeId, ty: &Type<'_>, container: Option<TypeId>) -> Result<()> {
        match *ty {
            Type::Struct(c) | Type::Union(c) if container != Some(id) && !c.name.is_empty() => {
                self.forward_declaration(id, matches!(ty, Type::Union(_)))
            }
            Type::Typedef { ty, .. } => {
                self.typedef(id, ty)?;
                self.state(id)?.declared = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn emit_composite(
        &mut self,
        id: TypeId,
        composite: &Composite<'_>,
        is_union: bool,
        container: Option<TypeId>,
        depth: u32,
    ) -> Result<()> {
        self.state(id)?.emit = Emit::Now;
        let is_anonymous = composite.name.is_empty();
        if container.is_none() || is_anonymous {
            // The members come with the text of this definition, or of the one that an anonymous composite is part of.
            let container = if is_anonymous { container } else { Some(id) };
            for member in composite.members() {
                self.emit(member?.ty, Some(container.unwrap_or(id)), depth + 1)?;
            }
        } else if !self.state(id)?.declared && container != Some(id) {
            self.forward_declaration(id, is_union)?;
        }
        if container.is_some() {
            self.state(id)?.emit = Emit::Not;
            return Ok(());
        }
        let text = self.composite(id, composite, is_union, false, 0, depth)?;
        self.statement(&text);
        self.state(id)?.emit = Emit::Done;
        Ok(())
    }

    fn forward_declaration(&mut self, id: TypeId, is_union: bool) -> Result<()> {
        let name = self.name(id, Space::Tag)?;
        self.statement(&format!("{} {name}", if is_union { "union" } else { "struct" }));
        self.state(id)?.declared = true;
        Ok(())
    }

    fn typedef(&mut self, id: TypeId, ty: TypeId) -> Result<()> {
        let name = self.btf.name_of(id)?;
        if name == BUILTIN_VA_LIST {
            return Ok(());
        }
        let name = self.name(id, Space::Identifier)?;
        // Old compilers describe this one as void.
        if ty.is_void() && name == "__gnuc_va_list" {
            self.statement(&format!("typedef {BUILTIN_VA_LIST} {name}"));
            return Ok(());
        }
        let text = self.declare(ty, &name, 0, 0)?;
        self.statement(&format!("typedef {text}"));
        Ok(())
    }

    fn statement(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push_str(";\n\n");
    }

    /// `struct name { … }`, the body indented by `level`. The members of an anonymous member count as the container's.
    pub(super) fn composite(
        &mut self,
        id: TypeId,
        composite: &Composite<'_>,
        is_union: bool,
        is_anonymous_member: bool,
        level: usize,
        depth: u32,
    ) -> Result<String> {
        self.step(id, depth)?;
        let outer = if is_anonymous_member { None } else { Some(std::mem::take(&mut self.members)) };
        let shape = self.shape(id, composite, is_union, depth)?;
        let indent = "\t".repeat(level + 1);
        let mut out = String::from(if is_union { "union " } else { "struct " });
        if !composite.name.is_empty() && !is_anonymous_member {
            out.push_str(&self.name(id, Space::Tag)?);
            out.push(' ');
        }
        out.push('{');
        let mut cursor = 0;
        for member in composite.members() {
            let member = member?;
            let place = self.place(&member, depth)?;
            let natural = place.natural(cursor, shape.packed);
            if natural < place.start && !is_union {
                self.padding(cursor, place.start, &indent, &mut out);
            }
            let inner = crate::resolve::strip_modifiers_typedefs(self.btf, member.ty)?;
            let text = match self.btf.ty(inner)? {
                // Standard C has no anonymous member of a type with a name (Linux 6.19 is built with `-fms-extensions`).
                Type::Struct(c) if member.name.is_empty() => {
                    self.composite(inner, &c, false, true, level + 1, depth + 1)?
                }
                Type::Union(c) if member.name.is_empty() => {
                    self.composite(inner, &c, true, true, level + 1, depth + 1)?
                }
                _ => {
                    let name = self.member_name(member.name);
                    self.declare(member.ty, &name, level + 1, depth + 1)?
                }
            };
            let _ = write!(out, "\n{indent}{text}");
            if place.bitfield != 0 {
                let _ = write!(out, ": {}", place.bitfield);
            }
            out.push(';');
            if natural > place.start || is_union && place.start > 0 {
                let _ = write!(out, " /* at bit {}: C has no form for this */", place.start);
            }
            cursor = if is_union { 0 } else { place.end };
        }
        let size = composite.size.bits();
        if !is_union && cursor.next_multiple_of(u64::from(shape.align) * 8) < size {
            self.padding(cursor, size, &indent, &mut out);
        }
        if let Some(outer) = outer {
            self.members = outer;
        }
        if shape.growth == Growth::Filler {
            let _ = write!(out, "\n{indent}struct {{");
            self.padding(0, size, &format!("{indent}\t"), &mut out);
            let _ = write!(out, "\n{indent}}};");
        }
        if out.ends_with('{') {
            out.push('}');
        } else {
            let _ = write!(out, "\n{}}}", &indent[1..]);
        }
        if shape.packed {
            out.push_str(" __attribute__((packed))");
        } else if shape.growth == Growth::Aligned {
            let _ = write!(out, " __attribute__((aligned({})))", shape.align);
        }
        Ok(out)
    }

    /// A member's name, made unique: Red Hat's `RH_KABI_REPLACE` leaves several of one name in a struct.
    fn member_name(&mut self, name: &str) -> String {
        let name = identifier(name).into_owned();
        if name.is_empty() {
            return name;
        }
        let count = self.members.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { name } else { format!("{name}___{count}") }
    }

    /// `enum name { … }`, the body indented by `level`.
    pub(super) fn enumeration(&mut self, id: TypeId, e: &Enum<'_>, level: usize) -> Result<String> {
        let mut out = String::from("enum");
        if !e.name.is_empty() {
            let _ = write!(out, " {}", self.name(id, Space::Tag)?);
        }
        if e.values().len() == 0 {
            return Ok(out);
        }
        let btf = self.btf;
        let e = match btf.ty(id)? {
            Type::Enum(e) | Type::Enum64(e) => e,
            _ => return Ok(out),
        };
        out.push_str(" {");
        let suffix = match (e.is_enum64(), e.signed()) {
            (false, _) => "",
            (true, true) => "LL",
            (true, false) => "ULL",
        };
        let indent = "\t".repeat(level + 1);
        let mut is_wide = false;
        for value in e.values() {
            let value = value?;
            is_wide |= e.is_enum64() && (value.value as u64) >> 32 != 0;
            let name = self.names.next(Space::Identifier, value.name);
            let _ = write!(out, "\n{indent}{name} = {}{suffix},", value.value);
        }
        let _ = write!(out, "\n{}}}", &indent[1..]);
        match e.size.0 {
            1 => out.push_str(" __attribute__((mode(byte)))"),
            2 => out.push_str(" __attribute__((mode(HI)))"),
            8 if !is_wide => out.push_str(" __attribute__((mode(DI)))"),
            _ => {}
        }
        Ok(out)
    }
}
