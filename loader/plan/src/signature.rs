//! The arguments that a program reads, against the prototype of what it is attached to on that kernel.

use btf::{Btf, Kind, Type, TypeId, strip_modifiers_typedefs};

use crate::arguments::{Arguments, Place, in_arm64, in_words, in_x86_64};
use crate::kernel::{Kernel, Lookup, Prototype};
use crate::requirement::{Need, Requirement};
use crate::section::{Attach, SectionKind};

/// Where the context of a program has its arguments; `None` where it has none, or it is not known where.
pub(crate) fn place(kernel: &Kernel<'_>, kind: &SectionKind<'_>) -> Option<Place> {
    match kind.attach {
        Attach::Function | Attach::RawTracepoint | Attach::BtfTracepoint => Some(in_words),
        Attach::Kprobe if kind.target.is_some() => match kernel.facts.arch.as_deref()? {
            "x86_64" => Some(in_x86_64),
            "arm64" => Some(in_arm64),
            _ => None,
        },
        _ => None,
    }
}

/// The arguments that a program reads, against the prototype of what it is attached to.
pub(crate) fn arguments(kernel: &Kernel<'_>, kind: &SectionKind<'_>, read: &Arguments, out: &mut Vec<Requirement>) {
    let Some(name) = kind.target else { return };
    let (found, skipped) = match kind.attach {
        Attach::Kprobe | Attach::Function => (kernel.prototype(name), 0),
        // the first parameter of a tracepoint's handler is not the program's
        _ => (kernel.tracepoint(name), 1),
    };
    let Lookup::Found(prototype) = found else { return };
    let Some(parameters) = parameters(&prototype) else { return };
    let parameters = parameters.get(skipped..).unwrap_or_default();
    let returns = kind.attach_type == Some("TRACE_FEXIT");
    // of a return probe's registers none is an argument any more
    let read_at_all = if kind.attach == Attach::Kprobe { 0 } else { parameters.len() + usize::from(returns) };
    for &number in &read.read {
        if read_at_all != 0 && number >= read_at_all {
            let need = Need::Argument { function: name.to_owned(), number: number + 1, structure: String::new() };
            let what = format!("it has {} on this kernel", count(parameters.len(), "argument"));
            out.push(Requirement::unmet(need, what).remedy("its signature changed: attach to another function there"));
        }
    }
    for (&number, structures) in &read.structures {
        let Some(&parameter) = parameters.get(number) else { continue };
        for structure in structures {
            let need = Need::Argument { function: name.to_owned(), number: number + 1, structure: structure.clone() };
            match points_to(kernel, &prototype, parameter, structure) {
                Ok(true) => out.push(Requirement::met(need, "")),
                Ok(false) => {
                    let what = format!("it is {} on this kernel", describe(prototype.btf, parameter));
                    out.push(
                        Requirement::unmet(need, what)
                            .remedy("its signature changed: attach to another function there"),
                    );
                }
                Err(why) => out.push(Requirement::unknown(need, why)),
            }
        }
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

fn parameters(prototype: &Prototype<'_>) -> Option<Vec<TypeId>> {
    match prototype.btf.ty(prototype.proto).ok()? {
        Type::FuncProto(proto) => {
            proto.params().map(|parameter| parameter.map(|parameter| parameter.ty).ok()).collect()
        }
        _ => None,
    }
}

/// A type as C would write it.
fn describe(btf: &Btf<'_>, id: TypeId) -> String {
    let named = |word: &str, name: &str| {
        if name.is_empty() { format!("{word} without a name") } else { format!("{word} {name}") }
    };
    match btf.ty(id) {
        Ok(Type::Ptr(target)) => match describe(btf, target) {
            target if target.ends_with('*') => format!("{target}*"),
            target => format!("{target} *"),
        },
        Ok(Type::Const(target)) => format!("const {}", describe(btf, target)),
        Ok(Type::Volatile(target) | Type::Restrict(target) | Type::TypeTag { ty: target, .. }) => describe(btf, target),
        Ok(Type::Struct(found)) => named("struct", found.name),
        Ok(Type::Union(found)) => named("union", found.name),
        Ok(Type::Enum(found)) => named("enum", found.name),
        Ok(Type::Fwd { name, is_union }) => named(if is_union { "union" } else { "struct" }, name),
        Ok(Type::Array { element, len, .. }) => format!("{}[{len}]", describe(btf, element)),
        Ok(Type::FuncProto(_)) => "a function".to_owned(),
        Ok(_) if id.is_void() => "void".to_owned(),
        Ok(other) => other.name().to_owned(),
        Err(_) => "a type that cannot be read".to_owned(),
    }
}

/// Whether a pointer of this type leads to the structure, or to one that begins with it, or that it begins with: the
/// kernel's own casts, `struct sock` to `struct tcp_sock`.
fn points_to(kernel: &Kernel<'_>, prototype: &Prototype<'_>, id: TypeId, structure: &str) -> Result<bool, String> {
    let btf = prototype.btf;
    let unreadable = |error: btf::Error| error.to_string();
    let Type::Ptr(target) = btf.ty(strip_modifiers_typedefs(btf, id).map_err(unreadable)?).map_err(unreadable)? else {
        return Ok(false);
    };
    let target = strip_modifiers_typedefs(btf, target).map_err(unreadable)?;
    let name = match btf.ty(target).map_err(unreadable)? {
        _ if target.is_void() => return Err("it is void * on this kernel".to_owned()),
        Type::Struct(found) | Type::Union(found) => found.name.to_owned(),
        Type::Fwd { name, .. } => name.to_owned(),
        _ => return Ok(false),
    };
    Ok(name == structure || begins_with(kernel, structure, &name) || begins_with(kernel, &name, structure))
}

/// Whether a structure's first member is another, or begins with it.
fn begins_with(kernel: &Kernel<'_>, outer: &str, inner: &str) -> bool {
    let Some(target) = kernel.types else { return false };
    let btf = target.vmlinux;
    let mut open: Vec<TypeId> = kernel.find(outer, Kind::Struct);
    for _ in 0..256 {
        let Some(id) = open.pop() else { return false };
        let Ok(Type::Struct(found) | Type::Union(found)) = btf.ty(id) else { continue };
        for member in found.members().flatten().filter(|member| member.offset.0 == 0) {
            let Ok(ty) = strip_modifiers_typedefs(btf, member.ty) else { continue };
            if btf.name_of(ty) == Ok(inner) {
                return true;
            }
            open.push(ty);
        }
    }
    false
}
