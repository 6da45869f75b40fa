//! Types as text: a C header ([`c`]), or `bpftool`'s raw listing ([`raw`]) and JSON ([`json`]).
//!
//! Everything is appended to a `String` type by type, so that a caller can write it out as it grows.

pub mod c;
pub mod json;
pub mod raw;

use crate::error::Result;
use crate::parse::Btf;
use crate::raw::TypeId;
use crate::types::{FuncLinkage, IntEncoding, VarLinkage};

/// What `bpftool` prints for a name that is not there.
pub(crate) const ANONYMOUS: &str = "(anon)";

fn or_anonymous(name: &str) -> &str {
    if name.is_empty() { ANONYMOUS } else { name }
}

fn name_or_anonymous<'b>(btf: &'b Btf<'_>, id: TypeId) -> Result<&'b str> {
    btf.name_of(id).map(or_anonymous)
}

fn encoding(encoding: IntEncoding) -> &'static str {
    match encoding {
        IntEncoding::NONE => "(none)",
        IntEncoding::SIGNED => "SIGNED",
        IntEncoding::CHAR => "CHAR",
        IntEncoding::BOOL => "BOOL",
        _ => "UNKN",
    }
}

fn signedness(signed: bool) -> &'static str {
    if signed { "SIGNED" } else { "UNSIGNED" }
}

fn fwd_kind(is_union: bool) -> &'static str {
    if is_union { "union" } else { "struct" }
}

fn func_linkage(linkage: FuncLinkage) -> &'static str {
    match linkage {
        FuncLinkage::Static => "static",
        FuncLinkage::Global => "global",
        FuncLinkage::Extern => "extern",
        FuncLinkage::Other(_) => "(unknown)",
    }
}

fn var_linkage(linkage: VarLinkage) -> &'static str {
    match linkage {
        VarLinkage::Static => "static",
        VarLinkage::Global => "global",
        VarLinkage::Extern => "extern",
        VarLinkage::Other(_) => "(unknown)",
    }
}
