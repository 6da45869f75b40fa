//! Why a function is in one BTF and not in the other, judged by the evidence.

use std::collections::HashSet;

use crate::evidence::{Entry, Evidence, Parameter};

/// The reasons of `docs/btf-differences.md`, in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The code has `.isra` or `.constprop` in its name and a parameter that has no place at its entry; a `.cold`
    /// part, so that only DW_AT_ranges tells its address.
    TransformedWithColdPart,
    /// The same without a cold part: DW_AT_low_pc tells its address.
    Transformed,
    SeveralAddresses,
    Reordered,
    UnexpectedRegister,
    PrototypesDisagree,
    /// Only `.part` and `.cold` pieces are left.
    OnlyPieces,
    /// `resolve_btfids` wrote it.
    AddedLater,
    /// Every symbol has a suffix.
    OnlySuffixed,
    /// ftrace cannot trace it.
    NotTraceable,
    /// It is static, and the file did not tell the encoder what ftrace can trace.
    Static,
    /// The build renamed its symbol.
    Renamed,
    Unexplained,
}

impl Reason {
    /// Its number in the document.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::TransformedWithColdPart => "1",
            Self::Transformed => "2",
            Self::SeveralAddresses => "3",
            Self::Reordered => "4",
            Self::UnexpectedRegister => "5",
            Self::PrototypesDisagree => "6",
            Self::OnlyPieces => "7",
            Self::AddedLater => "8",
            Self::OnlySuffixed => "9",
            Self::NotTraceable => "10",
            Self::Renamed => "13",
            Self::Static => "14",
            Self::Unexplained => "?",
        }
    }
}

/// Why ours has not this function.
pub(crate) fn why_absent(name: &str, evidence: &Evidence, registers: &[u16], ours: &HashSet<&str>) -> Reason {
    let functions: Vec<_> = evidence.symbols.iter().filter(|symbol| !symbol.is_piece()).collect();
    if functions.is_empty() {
        let added = name.strip_suffix("_impl").is_some_and(|kfunc| ours.contains(kfunc));
        return match evidence.symbols.is_empty() {
            true if added => Reason::AddedLater,
            true if evidence.renamed => Reason::Renamed,
            true => Reason::Unexplained,
            false => Reason::OnlyPieces,
        };
    }
    if evidence.addresses().len() > 1 {
        return Reason::SeveralAddresses;
    }
    let transformed = |entry: &&Entry| {
        let at_symbol = |address| functions.iter().any(|symbol| symbol.is_transformed() && symbol.address == address);
        let unplaced = |(at, parameter): (usize, &Parameter)| {
            let in_register = parameter.register.is_some() || (at >= registers.len() && parameter.has_location);
            !in_register && parameter.ty != "..."
        };
        entry.address().is_some_and(at_symbol) && entry.parameters.iter().enumerate().any(unplaced)
    };
    if let Some(entry) = evidence.entries.iter().find(transformed) {
        let has_cold_part = evidence.symbols.iter().any(|symbol| symbol.is_cold());
        return match (entry.low_pc, has_cold_part) {
            (None, true) => Reason::TransformedWithColdPart,
            (None, false) => Reason::Unexplained,
            (Some(_), _) => Reason::Transformed,
        };
    }
    if evidence.entries.iter().any(|entry| entry.parameters.iter().any(|parameter| parameter.is_moved)) {
        return Reason::Reordered;
    }
    let somewhere_else = |(at, parameter): (usize, &Parameter)| {
        parameter.register.is_some_and(|register| registers.get(at).is_some_and(|&expected| expected != register))
    };
    if evidence.entries.iter().any(|entry| entry.parameters.iter().enumerate().any(somewhere_else)) {
        return Reason::UnexpectedRegister;
    }
    if evidence.prototypes().len() > 1 {
        return Reason::PrototypesDisagree;
    }
    Reason::Unexplained
}

/// Why the other has not this function.
pub(crate) fn why_only_ours(evidence: &Evidence) -> Reason {
    let mut functions = evidence.symbols.iter().filter(|symbol| !symbol.is_piece()).peekable();
    if functions.peek().is_some() && functions.all(|symbol| symbol.name.contains('.')) {
        return Reason::OnlySuffixed;
    }
    match evidence.traceable {
        Some(false) => Reason::NotTraceable,
        None if evidence.entries.iter().all(|entry| !entry.is_external) => Reason::Static,
        _ => Reason::Unexplained,
    }
}
