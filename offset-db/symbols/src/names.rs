//! Names: what a compiler appended to one, and what a user types for it.

use cpp_demangle::{DemangleOptions, Symbol};

/// What a function is, by its name and its symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A function, or another name of one.
    Function,
    /// Chooses a function when the file is loaded, and is not the one that is called (`STT_GNU_IFUNC`).
    Ifunc,
    /// A function made of another one: other parameters (`.isra`, `.constprop`), or renamed as it became visible to other units
    /// (`.lto_priv`, `.llvm`). Its arguments may not be those of the source.
    Clone,
    /// The rest of a function whose begin was inlined into its callers (`.part`).
    Part,
    /// What is rarely run of a function, out of line (`.cold`): jumped to, never called.
    Cold,
}

impl Kind {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Function => "function",
            Kind::Ifunc => "ifunc",
            Kind::Clone => "clone",
            Kind::Part => "part",
            Kind::Cold => "cold",
        }
    }
}

/// What compilers append, and what a function with it is. Of several the last in the order of [`Kind`] counts.
const SUFFIXES: &[(&str, Kind)] = &[
    ("cold", Kind::Cold),
    ("part", Kind::Part),
    ("isra", Kind::Clone),
    ("constprop", Kind::Clone),
    ("lto_priv", Kind::Clone),
    ("llvm", Kind::Clone),
    ("clone", Kind::Clone),
    ("resolver", Kind::Clone),
    ("_omp_fn", Kind::Clone),
    ("localalias", Kind::Function),
    ("__uniq", Kind::Function),
];

/// A name without what the compiler appended, and what the function is by that.
#[must_use]
pub fn split(name: &str) -> (&str, Kind) {
    for (at, _) in name.match_indices('.').filter(|(at, _)| *at > 0) {
        if let Some(kind) = suffixes(&name[at + 1..]) {
            return (&name[..at], kind);
        }
    }
    (name, Kind::Function)
}

/// What `part.0.cold` says, `None` where a word is none of a compiler's.
fn suffixes(text: &str) -> Option<Kind> {
    let mut kind = None;
    for word in text.split('.') {
        match SUFFIXES.iter().find(|(suffix, _)| *suffix == word) {
            Some((_, found)) => kind = kind.max(Some(*found)),
            // the number behind a word
            None if kind.is_some() && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) => {}
            None => return None,
        }
    }
    kind
}

/// A function's name as it is in the source, with its namespaces and classes, without its parameters: C++'s (Itanium's mangling)
/// and Rust's (both of its manglings, without the hash). Another name is its own. What the compiler appended is left out.
#[must_use]
pub fn qualified(name: &str) -> String {
    let (stem, _) = split(name);
    let demangled = if is_rust(stem) { rust(stem) } else { cpp(stem) };
    demangled.unwrap_or_else(|| stem.to_owned())
}

/// `_R…`, or `_ZN…17h` and 16 digits of a hash and `E`.
fn is_rust(name: &str) -> bool {
    let hash = || {
        let rest = name.strip_suffix('E')?;
        let (_, hash) = rest.split_at_checked(rest.len().checked_sub(19)?)?;
        let digits = hash.strip_prefix("17h")?;
        Some(digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    name.starts_with("_R") || name.starts_with("_ZN") && hash() == Some(true)
}

fn rust(name: &str) -> Option<String> {
    let demangled = rustc_demangle::try_demangle(name).ok()?;
    Some(format!("{demangled:#}"))
}

fn cpp(name: &str) -> Option<String> {
    // a longer name is nobody's to type, and may take long
    const LONGEST: usize = 16 << 10;
    if !(name.starts_with("_Z") || name.starts_with("__Z")) || name.len() > LONGEST {
        return None;
    }
    if let Some((kind, of)) = thunk(name) {
        return cpp(&format!("_Z{of}")).map(|of| format!("{kind} thunk to {of}"));
    }
    let options = DemangleOptions::new().no_params().no_return_type();
    let mut demangled = Symbol::new(name).ok()?.demangle_with_options(&options).ok()?;
    // the qualifier of a member function that is for lvalues or rvalues only
    let length = demangled.trim_end_matches(" &").trim_end_matches(" &&").len();
    demangled.truncate(length);
    Some(demangled)
}

/// A function that corrects `this` and jumps to another: which kind of thunk, and the other's name behind `_Z`. `_ZThn16_…`
/// corrects by a number, `_ZTv0_n24_…` by one that the object says.
fn thunk(name: &str) -> Option<(&'static str, &str)> {
    let (kind, mut rest, numbers) = match name.split_at_checked(4)? {
        ("_ZTh", rest) => ("non-virtual", rest, 1),
        ("_ZTv", rest) => ("virtual", rest, 2),
        _ => return None,
    };
    for _ in 0..numbers {
        let (number, behind) = rest.split_once('_')?;
        let digits = number.strip_prefix('n').unwrap_or(number);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        rest = behind;
    }
    // no thunks to thunks
    (!rest.starts_with('T')).then_some((kind, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compilers_append() {
        let check = |name: &str, stem: &str, kind: Kind| assert_eq!(split(name), (stem, kind), "{name}");
        check("grpc_call_start_batch", "grpc_call_start_batch", Kind::Function);
        check("f.cold", "f", Kind::Cold);
        check("f.cold.12", "f", Kind::Cold);
        check("f.part.0", "f", Kind::Part);
        check("f.isra.0.part.1", "f", Kind::Part);
        check("f.constprop.0.isra.0.cold", "f", Kind::Cold);
        check("f.part.0.cold", "f", Kind::Cold);
        check("f.lto_priv.0", "f", Kind::Clone);
        check("f.llvm.1234567890", "f", Kind::Clone);
        check("f.__uniq.12", "f", Kind::Function);
        check("f.localalias", "f", Kind::Function);
        // none of a compiler's
        check("net/http.(*Transport).RoundTrip", "net/http.(*Transport).RoundTrip", Kind::Function);
        check("main.part.of", "main.part.of", Kind::Function);
        check("f.0", "f.0", Kind::Function);
        check(".cold", ".cold", Kind::Function);
        check("f.cold.", "f.cold.", Kind::Function);
        check("", "", Kind::Function);
    }

    #[test]
    fn what_users_type() {
        let check = |name: &str, expected: &str| assert_eq!(qualified(name), expected, "{name}");
        check("SSL_write", "SSL_write");
        check("_ZN9grpc_core15FilterStackCall10StartBatchEPK7grpc_opmPvb", "grpc_core::FilterStackCall::StartBatch");
        check("_ZN12_GLOBAL__N_13fooEi", "(anonymous namespace)::foo");
        check("_Z3fooIiEvT_.part.0.cold", "foo<int>");
        check("_ZNK2ns1C3getEv", "ns::C::get");
        check("_ZNKR2ns1C3getEv", "ns::C::get");
        check("_ZNO2ns1C3getEv", "ns::C::get");
        check("_ZN2ns1CanERKS0_", "ns::C::operator&");
        check("_ZN2ns1CC2Ev", "ns::C::C");
        check("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE.llvm.99", "core::fmt::Formatter::pad");
        check("_RNvC6_123foo3bar", "123foo::bar");
        check("_ZThn16_N2ns1CD0Ev", "non-virtual thunk to ns::C::~C");
        check("_ZTv0_n24_N2ns1C3getEv", "virtual thunk to ns::C::get");
        // not well-formed: as they are
        check("_ZN", "_ZN");
        check("_R", "_R");
        check("_Zz", "_Zz");
    }
}
