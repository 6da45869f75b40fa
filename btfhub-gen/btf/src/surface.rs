//! The attach surface: what a kernel's functions became when it was compiled, and so what a probe can attach to.
//!
//! BTF tells which functions have a prototype. Whether a probe on a function sees every call is known only to DWARF (inlining)
//! and the symbol table (`.isra`, `.constprop`, `.part` copies, several functions of one name). The facts are kept per
//! function name as [`Facts`]; [`Facts::kprobe`] and [`Facts::fentry`] draw the conclusions.
//!
//! [`SurfaceBuilder`] writes the compact form, [`Surface`] reads it; see [`format`] for its specification.

pub mod format;

pub use format::{Surface, SurfaceBuilder};

/// Which sources the facts were taken from. What a source would have told and did not stays unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Sources {
    /// The symbol table: symbols, suffixes.
    pub symbols: bool,
    /// DWARF: definitions, inlining.
    pub dwarf: bool,
    /// BTF: presence, or the encoder's reason for absence.
    pub btf: bool,
    /// The table of ftrace's call sites (`__mcount_loc`, `__patchable_function_entries`).
    pub ftrace: bool,
    /// The kprobe blacklist (`_kprobe_blacklist`, `.kprobes.text`, `.noinstr.text`, `.entry.text`).
    pub blacklist: bool,
}

/// What is known of the functions of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Facts {
    /// Function symbols of exactly this name. More than one: a name of several static functions.
    pub symbols: u32,
    /// One of the symbols is global or weak.
    pub global: bool,
    /// Different functions of this name in the sources, told apart by where they are declared; 0 where DWARF has none
    /// (assembly).
    pub definitions: u32,
    /// The compiler inlined it at some call sites at least; a probe misses those.
    pub inlined: bool,
    /// Suffixes of symbols that are copies or parts of it: `.isra.0`, `.constprop.0`, `.part.0`, `.cold`, `.llvm.123`, sorted.
    pub suffixes: Vec<String>,
    /// Whether BTF has a FUNC of this name, or why not.
    pub btf: InBtf,
    /// What makes an fentry program impossible although BTF has the function (variadic, too many parameters).
    pub obstacle: Option<Reason>,
    /// Whether ftrace has a call site at its entry; `None` where that is not known.
    pub ftrace: Option<bool>,
    /// Whether kprobes are forbidden on it; `None` where that is not known.
    pub blacklisted: Option<bool>,
    /// It lies in a section that is freed after boot (`.init.text`, `.exit.text`).
    pub init: bool,
}

/// Whether BTF has a FUNC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum InBtf {
    /// There is no BTF to look at.
    #[default]
    Unknown,
    /// It is there.
    Present,
    /// It is not, for this reason.
    Absent(Reason),
}

/// Whether a probe can be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Verdict {
    /// It can.
    Yes,
    /// It cannot.
    No(Reason),
    /// The facts do not tell.
    Unknown(Reason),
}

/// Why a probe cannot be attached, or why that is not known. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
#[repr(u8)]
pub enum Reason {
    /// No symbol and no trace of inlining: only declared, or compiled out.
    NoSymbol = 1,
    /// No symbol: every call was inlined.
    OnlyInlined = 2,
    /// No symbol of this name: only copies with a suffix, whose parameters may differ.
    OnlySuffixed = 3,
    /// Several functions have this name, and a probe by name gets one of them or is refused (Linux 6.7).
    SeveralAddresses = 4,
    /// On the kprobe blacklist, or in a section that must not be instrumented.
    Blacklisted = 5,
    /// `notrace`: ftrace has no call site in it.
    NoTrace = 6,
    /// Freed after boot.
    Init = 7,
    /// BTF has no function of this name, and the encoder gave no reason.
    NotInBtf = 8,
    /// Prototypes disagree between units.
    InconsistentPrototypes = 9,
    /// A parameter arrives in another register than the calling convention says.
    UnexpectedRegister = 10,
    /// A parameter was optimised out, or the order changed.
    OptimizedParameters = 11,
    /// A struct is passed by value in a way that tracing programs cannot follow.
    StructByValue = 12,
    /// A parameter has no name.
    UnnamedParameter = 13,
    /// Takes `...`.
    Variadic = 14,
    /// More than the 12 parameters that the kernel allows (`MAX_BPF_FUNC_ARGS`).
    TooManyParameters = 15,
    /// The name cannot be expressed in BTF.
    InvalidName = 16,
    /// There is no symbol table.
    NoSymbolTable = 17,
    /// There is no BTF.
    NoBtf = 18,
    /// The table of ftrace's call sites could not be read.
    NoFtraceTable = 19,
    /// The kprobe blacklist could not be read.
    NoBlacklist = 20,
}

impl Reason {
    /// Every reason, by number.
    pub const ALL: [Reason; 20] = [
        Reason::NoSymbol,
        Reason::OnlyInlined,
        Reason::OnlySuffixed,
        Reason::SeveralAddresses,
        Reason::Blacklisted,
        Reason::NoTrace,
        Reason::Init,
        Reason::NotInBtf,
        Reason::InconsistentPrototypes,
        Reason::UnexpectedRegister,
        Reason::OptimizedParameters,
        Reason::StructByValue,
        Reason::UnnamedParameter,
        Reason::Variadic,
        Reason::TooManyParameters,
        Reason::InvalidName,
        Reason::NoSymbolTable,
        Reason::NoBtf,
        Reason::NoFtraceTable,
        Reason::NoBlacklist,
    ];

    /// The reason with this number.
    pub fn from_raw(number: u8) -> Option<Reason> {
        Reason::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The reason in words, lower case.
    pub fn text(self) -> &'static str {
        match self {
            Reason::NoSymbol => "no such function symbol",
            Reason::OnlyInlined => "inlined at every call",
            Reason::OnlySuffixed => "only compiler-made copies with a suffix exist",
            Reason::SeveralAddresses => "several functions have this name",
            Reason::Blacklisted => "must not be probed",
            Reason::NoTrace => "compiled without a call to ftrace",
            Reason::Init => "freed after boot",
            Reason::NotInBtf => "not in BTF",
            Reason::InconsistentPrototypes => "its prototypes disagree",
            Reason::UnexpectedRegister => "a parameter is in an unexpected register",
            Reason::OptimizedParameters => "a parameter was optimised out or moved",
            Reason::StructByValue => "passes a struct by value on the stack",
            Reason::UnnamedParameter => "a parameter has no name",
            Reason::Variadic => "takes a variable number of arguments",
            Reason::TooManyParameters => "more than 12 parameters",
            Reason::InvalidName => "its name cannot be expressed in BTF",
            Reason::NoSymbolTable => "there is no symbol table",
            Reason::NoBtf => "there is no BTF",
            Reason::NoFtraceTable => "the table of ftrace call sites could not be read",
            Reason::NoBlacklist => "the kprobe blacklist could not be read",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// What the compiler makes a suffixed symbol for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SuffixKind {
    /// `.isra`: parameters removed or split.
    Isra,
    /// `.constprop`: a parameter is a constant.
    Constprop,
    /// `.part`: a part of the function, the rest was inlined.
    Part,
    /// `.cold`: the unlikely blocks; not an entry point.
    Cold,
    /// `.lto_priv`: renamed by link-time optimisation, otherwise whole.
    LtoPriv,
    /// `.llvm`: renamed by LLVM's ThinLTO, otherwise whole.
    Llvm,
    /// Anything else.
    Other,
}

/// The kinds in a symbol's suffix, in order: `.constprop.0.isra.0` has two.
pub fn suffix_kinds(suffix: &str) -> impl Iterator<Item = SuffixKind> {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    suffix.split('.').filter(move |part| !part.is_empty() && !is_number(part)).map(|part| match part {
        "isra" => SuffixKind::Isra,
        "constprop" => SuffixKind::Constprop,
        "part" => SuffixKind::Part,
        "cold" => SuffixKind::Cold,
        "lto_priv" => SuffixKind::LtoPriv,
        "llvm" => SuffixKind::Llvm,
        _ => SuffixKind::Other,
    })
}

impl Facts {
    /// Whether a copy with this kind of suffix exists.
    pub fn has_suffix(&self, kind: SuffixKind) -> bool {
        self.suffixes.iter().any(|suffix| suffix_kinds(suffix).any(|k| k == kind))
    }

    /// Whether a suffixed symbol is another entry point, so that a probe on the plain name misses calls.
    pub fn has_copies(&self) -> bool {
        let is_entry =
            |suffix: &String| !suffix_kinds(suffix).any(|k| matches!(k, SuffixKind::Cold | SuffixKind::Part));
        self.suffixes.iter().any(is_entry)
    }

    /// Whether nothing but inlined code is left of it.
    pub fn only_inlined(&self) -> bool {
        self.inlined && self.symbols == 0 && !self.has_copies()
    }

    /// Whether a kprobe on the plain name can be attached.
    pub fn kprobe(&self, sources: Sources) -> Verdict {
        if let Some(verdict) = self.without_address(sources) {
            return verdict;
        }
        match self.blacklisted {
            Some(true) => Verdict::No(Reason::Blacklisted),
            _ if self.init => Verdict::No(Reason::Init),
            _ if self.symbols > 1 => Verdict::Unknown(Reason::SeveralAddresses),
            None => Verdict::Unknown(Reason::NoBlacklist),
            Some(false) => Verdict::Yes,
        }
    }

    /// Whether an fentry (or fexit) program on the plain name can be attached.
    pub fn fentry(&self, sources: Sources) -> Verdict {
        if let Some(verdict) = self.without_address(sources) {
            return verdict;
        }
        if let InBtf::Absent(reason) = self.btf {
            return Verdict::No(reason);
        }
        if self.ftrace == Some(false) {
            return Verdict::No(Reason::NoTrace);
        }
        if self.init {
            return Verdict::No(Reason::Init);
        }
        if let Some(obstacle) = self.obstacle {
            return Verdict::No(obstacle);
        }
        match (self.btf, self.ftrace) {
            _ if self.symbols > 1 => Verdict::Unknown(Reason::SeveralAddresses),
            (InBtf::Unknown, _) => Verdict::Unknown(Reason::NoBtf),
            (_, None) => Verdict::Unknown(Reason::NoFtraceTable),
            _ => Verdict::Yes,
        }
    }

    fn without_address(&self, sources: Sources) -> Option<Verdict> {
        if self.symbols > 0 {
            return None;
        }
        Some(match sources.symbols {
            false => Verdict::Unknown(Reason::NoSymbolTable),
            true if self.has_copies() => Verdict::No(Reason::OnlySuffixed),
            true if self.inlined => Verdict::No(Reason::OnlyInlined),
            true => Verdict::No(Reason::NoSymbol),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Sources = Sources { symbols: true, dwarf: true, btf: true, ftrace: true, blacklist: true };

    fn traced() -> Facts {
        let (ftrace, blacklisted) = (Some(true), Some(false));
        Facts { symbols: 1, definitions: 1, btf: InBtf::Present, ftrace, blacklisted, ..Facts::default() }
    }

    #[track_caller]
    fn check(facts: Facts, kprobe: Verdict, fentry: Verdict) {
        assert_eq!((facts.kprobe(ALL), facts.fentry(ALL)), (kprobe, fentry));
    }

    #[test]
    fn a_plain_function_takes_both() {
        check(traced(), Verdict::Yes, Verdict::Yes);
        check(Facts { inlined: true, ..traced() }, Verdict::Yes, Verdict::Yes);
    }

    #[test]
    fn a_function_without_a_symbol_takes_none_for_the_reason_why_it_has_none() {
        let gone = |inlined, suffixes: &[&str], reason| {
            let suffixes = suffixes.iter().map(|s| s.to_string()).collect();
            let facts = Facts { symbols: 0, inlined, suffixes, ..traced() };
            check(facts, Verdict::No(reason), Verdict::No(reason));
        };
        gone(true, &[], Reason::OnlyInlined);
        gone(false, &[], Reason::NoSymbol);
        gone(true, &[".part.0"], Reason::OnlyInlined);
        gone(true, &[".cold", ".isra.0"], Reason::OnlySuffixed);
        gone(false, &[".llvm.12ab"], Reason::OnlySuffixed);
    }

    #[test]
    fn a_forbidden_function_takes_what_is_not_forbidden() {
        let no = Verdict::No;
        check(Facts { blacklisted: Some(true), ..traced() }, no(Reason::Blacklisted), Verdict::Yes);
        check(Facts { ftrace: Some(false), ..traced() }, Verdict::Yes, no(Reason::NoTrace));
        check(Facts { init: true, ..traced() }, no(Reason::Init), no(Reason::Init));
        check(Facts { obstacle: Some(Reason::Variadic), ..traced() }, Verdict::Yes, no(Reason::Variadic));
        let absent = InBtf::Absent(Reason::OptimizedParameters);
        check(Facts { btf: absent, ..traced() }, Verdict::Yes, no(Reason::OptimizedParameters));
    }

    #[test]
    fn what_no_source_tells_stays_unknown() {
        let unknown = Verdict::Unknown;
        check(Facts { blacklisted: None, ..traced() }, unknown(Reason::NoBlacklist), Verdict::Yes);
        check(Facts { ftrace: None, ..traced() }, Verdict::Yes, unknown(Reason::NoFtraceTable));
        check(Facts { btf: InBtf::Unknown, ..traced() }, Verdict::Yes, unknown(Reason::NoBtf));
        let several = unknown(Reason::SeveralAddresses);
        check(Facts { symbols: 2, ..traced() }, several, several);
        let stripped = Sources { symbols: false, ..ALL };
        assert_eq!(Facts { symbols: 0, ..traced() }.kprobe(stripped), unknown(Reason::NoSymbolTable));
    }

    #[test]
    fn a_suffix_may_tell_of_several_transformations() {
        let kinds = |suffix| suffix_kinds(suffix).collect::<Vec<_>>();
        assert_eq!(kinds(".constprop.0.isra.0"), [SuffixKind::Constprop, SuffixKind::Isra]);
        assert_eq!(kinds(".cold"), [SuffixKind::Cold]);
        assert_eq!(kinds(".llvm.1234567890abcdef"), [SuffixKind::Llvm]);
        assert_eq!(kinds(".lto_priv.0"), [SuffixKind::LtoPriv]);
        assert_eq!(kinds(".resolver"), [SuffixKind::Other]);
    }

    #[test]
    fn every_reason_keeps_its_number() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index + 1);
            assert_eq!(Reason::from_raw(reason as u8), Some(reason));
        }
        assert_eq!((Reason::from_raw(0), Reason::from_raw(21)), (None, None));
    }
}
