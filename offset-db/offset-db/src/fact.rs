//! What the database knows.

use image::VirtualAddress;
use serde::{Deserialize, Serialize};

/// What a place in code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// A function's first instruction.
    Entry,
    /// A copy that the compiler made for some callers (`.isra`, `.constprop`): its arguments may differ.
    Clone,
    /// A piece that was split off (`.part`): callers may enter it without the function's begin.
    Part,
    /// The rarely executed piece (`.cold`): no place for a probe.
    Cold,
    /// It chooses the function (`STT_GNU_IFUNC`), it is not the function.
    Ifunc,
}

/// How a fact became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Method {
    /// `.symtab`.
    Symtab,
    /// `.dynsym`.
    Dynsym,
    /// `.gnu_debugdata`.
    Minidebuginfo,
    /// A separate debug file.
    Debugfile,
    /// DWARF.
    Dwarf,
    /// Go's `.gopclntab`.
    Gopclntab,
    /// Found by other builds; the evidence says by which.
    Identified,
}

impl Method {
    /// A word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Method::Symtab => "symtab",
            Method::Dynsym => "dynsym",
            Method::Minidebuginfo => "minidebuginfo",
            Method::Debugfile => "debugfile",
            Method::Dwarf => "dwarf",
            Method::Gopclntab => "gopclntab",
            Method::Identified => "identified",
        }
    }
}

/// How sure a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Confidence {
    /// One good witness, or several weak ones.
    Probable,
    /// Two independent witnesses.
    Verified,
    /// The file, or its debug file, says so itself.
    Labelled,
}

impl Confidence {
    /// A word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Confidence::Probable => "probable",
            Confidence::Verified => "verified",
            Confidence::Labelled => "labelled",
        }
    }
}

/// Where a file comes from; one file can come from many places, and one place has many files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Whose package it is: `pypi`, `debian`; `file` where it is none.
    pub ecosystem: String,
    /// The package: `grpcio`.
    pub package: String,
    /// Its version: `1.60.1`.
    pub version: String,
    /// The rest of the package's name: a wheel's Python and ABI tags (`cp310-cp310`), a Debian suite; may be empty.
    pub tag: String,
    /// The platform: `manylinux_2_17_x86_64`, `amd64`.
    pub platform: String,
    /// The file in the package.
    pub path: String,
}

/// A function of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fact {
    /// Its linkage name.
    pub name: String,
    /// Its name without parameters, where that is another: `grpc_core::Server::Start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualified: Option<String>,
    /// Where it begins.
    #[serde(with = "address")]
    pub address: VirtualAddress,
    /// Bytes of code; 0 where that is not known.
    pub size: u64,
    /// What is there.
    pub kind: Kind,
    /// How it became known.
    pub method: Method,
    /// How sure that is.
    pub confidence: Confidence,
    /// The witnesses, a line each; empty where the method says all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Where it returns: bytes from its begin, ascending; empty where that was not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<u32>,
}

/// The code of a function in a version of a package: other builds of that version have the same where the compiler is the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Signature {
    /// Whose package it is.
    pub ecosystem: String,
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The instruction set.
    pub machine: String,
    /// The function's name without parameters.
    pub name: String,
    /// How the code was hashed: those of another number are not alike.
    pub scheme: u32,
    /// The hash.
    #[serde(with = "code")]
    pub code: u64,
}

mod code {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(code: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{code:016x}"))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<u64, D::Error> {
        let text = <std::borrow::Cow<'d, str>>::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

impl Fact {
    /// The name without parameters; of a part that was split off, the function's and `.part`. Of the number that compilers put behind it,
    /// nothing is said: it changes with what else is in the unit.
    #[must_use]
    pub fn title(&self) -> String {
        let name = self.qualified.as_deref().unwrap_or(&self.name);
        match self.kind {
            Kind::Part => format!("{}{PART}", whole(name).unwrap_or(name)),
            _ => name.to_owned(),
        }
    }

    /// Whether it is the part that a name is of: `f.part`, or with the number as its symbol has it.
    #[must_use]
    pub fn is_part(&self, asked: &str) -> bool {
        let number = |name: &str| name.split_once(PART).map(|(_, number)| number.to_owned()).unwrap_or_default();
        let own = self.qualified.as_deref().unwrap_or(&self.name);
        self.kind == Kind::Part
            && whole(asked) == Some(whole(own).unwrap_or(own))
            && (asked.ends_with(PART) || number(asked) == number(&self.name))
    }
}

/// What the compiler puts behind a function's name, before a number, for the part that it splits off.
const PART: &str = ".part";

/// The function that a name of a part is of: `f` of `f.part` and of `f.part.0`.
#[must_use]
pub fn whole(name: &str) -> Option<&str> {
    let (whole, rest) = name.split_once(PART)?;
    (rest.is_empty() || rest.starts_with('.')).then_some(whole)
}

mod address {
    use image::VirtualAddress;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(address: &VirtualAddress, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{:#x}", address.0))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<VirtualAddress, D::Error> {
        let text = <std::borrow::Cow<'d, str>>::deserialize(from)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| serde::de::Error::custom("an address begins with 0x"))?;
        u64::from_str_radix(digits, 16).map(VirtualAddress).map_err(serde::de::Error::custom)
    }
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Its path: `base.peer_string`.
    pub path: String,
    /// Bits from the struct's begin.
    pub offset_bits: u64,
    /// Its bits.
    pub size_bits: u64,
}

/// A struct of a version of a package, in one configuration of its build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// Whose package it is.
    pub ecosystem: String,
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The instruction set.
    pub machine: String,
    /// What changes it besides: `NDEBUG`.
    pub configuration: String,
    /// The struct.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Where it is from: `dwarf`, `compiled`.
    pub source: String,
    /// What checked it besides: a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Its fields, in order of offset.
    pub fields: Vec<Field>,
}
