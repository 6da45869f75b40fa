//! Declarations: from the chain of types behind a name to C's inside-out syntax.

use super::names::{Space, identifier};
use super::{Dumper, MAX_DEPTH, Style};
use crate::error::{Error, Result};
use crate::raw::TypeId;
use crate::types::{Enum, FuncProto, IntEncoding, Type};

/// A typedef that every compiler has built in.
pub(super) const BUILTIN_VA_LIST: &str = "__builtin_va_list";

/// Qualifiers and tags met on the way, outermost first, until the type they belong to is reached.
#[derive(Default)]
struct Qualifiers {
    words: Vec<&'static str>,
    attributes: Vec<String>,
}

impl Qualifiers {
    /// `const volatile ` before a type's name.
    fn before(&self) -> String {
        self.words.iter().rev().map(|word| format!("{word} ")).collect()
    }

    /// ` __attribute__((…))` behind a type's name.
    fn behind(&self) -> String {
        self.attributes.iter().rev().map(|attribute| format!(" {attribute}")).collect()
    }

    fn take(&mut self) -> Qualifiers {
        std::mem::take(self)
    }
}

impl Dumper<'_> {
    /// `name` declared with this type.
    pub(super) fn declare(&mut self, id: TypeId, name: &str, level: usize, depth: u32) -> Result<String> {
        // What is around the name, growing from the inside out.
        let mut inner = name.to_owned();
        let mut qualifiers = Qualifiers::default();
        let mut at = id;
        for hop in 0..MAX_DEPTH {
            self.step(at, depth + hop)?;
            let ty = self.btf.ty(at)?;
            at = match ty {
                Type::Const(ty) => {
                    qualifiers.words.push("const");
                    ty
                }
                Type::Volatile(ty) => {
                    qualifiers.words.push("volatile");
                    ty
                }
                Type::Restrict(ty) => {
                    qualifiers.words.push("restrict");
                    ty
                }
                Type::TypeTag { name, ty, is_attr } => {
                    let text = name.replace(['"', '\\', '\n'], "_");
                    qualifiers.attributes.push(match is_attr {
                        true => format!("__attribute__(({text}))"),
                        false => format!("__attribute__((btf_type_tag(\"{text}\")))"),
                    });
                    ty
                }
                Type::Ptr(to) => {
                    let own = qualifiers.take();
                    let mut star = format!(
                        "*{}{}",
                        own.behind(),
                        own.words.iter().rev().map(|w| format!(" {w}")).collect::<String>()
                    );
                    if star.len() > 1 && !inner.is_empty() {
                        star.push(' ');
                    }
                    inner.insert_str(0, &star);
                    if self.is_array_or_function(to)? {
                        inner = format!("({inner})");
                    }
                    to
                }
                // The compiler's own may be another one, so what this one stands for is written instead.
                Type::Typedef { name: BUILTIN_VA_LIST, ty } if !ty.is_void() && self.style == Style::Header => ty,
                // GCC repeats an element's qualifiers on the array, and puts `volatile` on functions that do not return.
                Type::Array { element, len, .. } => {
                    qualifiers.take();
                    inner.push_str(&format!("[{len}]"));
                    element
                }
                Type::FuncProto(proto) => {
                    qualifiers.take();
                    inner.push_str(&self.parameters(&proto, level, depth + hop)?);
                    proto.ret
                }
                _ => {
                    let base = self.base(at, &ty, inner.is_empty(), level, depth + hop)?;
                    let space = if inner.is_empty() || inner.starts_with('[') { "" } else { " " };
                    return Ok(format!("{}{base}{}{space}{inner}", qualifiers.before(), qualifiers.behind()));
                }
            };
        }
        Err(Error::TooDeep { id, limit: MAX_DEPTH })
    }

    fn is_array_or_function(&mut self, id: TypeId) -> Result<bool> {
        let target = crate::resolve::strip_modifiers(self.btf, id)?;
        Ok(matches!(self.btf.ty(target)?, Type::Array { .. } | Type::FuncProto(_)))
    }

    fn parameters(&mut self, proto: &FuncProto<'_>, level: usize, depth: u32) -> Result<String> {
        let count = proto.params().len();
        let mut out = String::from("(");
        for (at, param) in proto.params().enumerate() {
            let param = param?;
            if at > 0 {
                out.push_str(", ");
            }
            match param.ty.is_void() {
                // Clang describes `(void)` by one parameter of type void.
                true if count == 1 => out.push_str("void"),
                true if at + 1 == count => out.push_str("..."),
                _ => out.push_str(&self.declare(param.ty, &identifier(param.name), level, depth + 1)?),
            }
        }
        out.push_str(if count == 0 { "void)" } else { ")" });
        Ok(out)
    }

    /// The type at the end of a chain; an anonymous composite or enumeration with its body.
    fn base(&mut self, id: TypeId, ty: &Type<'_>, is_bare: bool, level: usize, depth: u32) -> Result<String> {
        Ok(match *ty {
            Type::Struct(c) if c.name.is_empty() && self.style == Style::Listing => "struct {...}".to_owned(),
            Type::Union(c) if c.name.is_empty() && self.style == Style::Listing => "union {...}".to_owned(),
            Type::Enum(e) | Type::Enum64(e) if e.name.is_empty() && self.style == Style::Listing => enumerators(&e)?,
            Type::Void => "void".to_owned(),
            Type::Int { name, size, encoding, .. } => integer(name, size.0, encoding),
            Type::Float { name, .. } => words(name),
            Type::Struct(c) if c.name.is_empty() => self.composite(id, &c, false, is_bare, level, depth + 1)?,
            Type::Union(c) if c.name.is_empty() => self.composite(id, &c, true, is_bare, level, depth + 1)?,
            Type::Enum(e) | Type::Enum64(e) if e.name.is_empty() => self.enumeration(id, &e, level)?,
            Type::Struct(_) | Type::Fwd { is_union: false, .. } => format!("struct {}", self.name(id, Space::Tag)?),
            Type::Union(_) | Type::Fwd { is_union: true, .. } => format!("union {}", self.name(id, Space::Tag)?),
            Type::Enum(_) | Type::Enum64(_) => format!("enum {}", self.name(id, Space::Tag)?),
            Type::Typedef { .. } => self.name(id, Space::Identifier)?,
            _ => {
                let found = self.btf.record(id)?.info.kind();
                return Err(Error::WrongKind { id, found, expected: "a type that a declaration can end in" });
            }
        })
    }

    pub(super) fn name(&mut self, id: TypeId, space: Space) -> Result<String> {
        let name = self.btf.name_of(id)?;
        Ok(match self.style {
            Style::Header => self.names.of(id, space, name),
            Style::Listing => identifier(name).into_owned(),
        })
    }
}

/// `enum {RED, GREEN = 4, BLUE}`, a value only where it does not follow from the one before.
fn enumerators(e: &Enum<'_>) -> Result<String> {
    let mut next = 0;
    let mut names = Vec::new();
    for value in e.values() {
        let value = value?;
        names.push(if value.value == next {
            value.name.to_owned()
        } else {
            format!("{} = {}", value.name, value.value)
        });
        next = value.value + 1;
    }
    Ok(format!("enum {{{}}}", names.join(", ")))
}

/// `long unsigned int`, word by word.
fn words(name: &str) -> String {
    name.split(' ').map(identifier).collect::<Vec<_>>().join(" ")
}

fn integer(name: &str, size: u32, encoding: IntEncoding) -> String {
    if !name.is_empty() {
        return words(name);
    }
    let name = match size {
        1 => "char",
        2 => "short",
        4 => "int",
        16 => "__int128",
        _ => "long long",
    };
    format!("{} {name}", if encoding.is_signed() { "signed" } else { "unsigned" })
}
