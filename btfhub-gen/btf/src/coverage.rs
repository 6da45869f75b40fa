//! What a minimal BTF was made for, written into it so that a loader can refuse one that does not fit its object.
//!
//! # Format
//! The last string of the string section, which no type refers to and every reader of BTF passes over:
//!
//! ```text
//! lcc:v1:OBJECT[,OBJECT…]:QUESTIONS
//! ```
//!
//! OBJECT is the xxh3-128 of an object file, 32 hexadecimal digits; they ascend. QUESTIONS are five characters for each
//! distinct question that the objects' relocations ask, ascending, without separator: the upper 30 bits of an xxh3-64 over a
//! description of the question, six bits a character, high ones first, in the alphabet of base64url (`A-Za-z0-9-_`).
//!
//! The description has what the answer depends on: the root type's kind and name without flavour, the members' names and
//! kinds along the access, or all that the comparison of types looks at. Field relocations of one access are one question,
//! whether offset, size or existence is asked. What is looked up by name is a question too: the kind and name of a type, or an enum's
//! name and an enumerator's name or value. So an object that was compiled anew, but asks nothing new, is still covered.
//! A question that was never asked is taken for covered with a probability of one in 2^30 for each one that was.

use std::fmt;

use crate::core_relo::words::{self, stripped};
use crate::core_relo::{AccessSpec, CoreReloKind, Family, LocalQuestion};
use crate::error::Result;
use crate::index::essential_len;
use crate::minimize::{ByName, Enumerator};
use crate::object_file::{ObjectFile, ObjectHash};
use crate::parse::Btf;
use crate::raw::{Kind, StrOffset, TypeId};

/// How the string starts.
pub const PREFIX: &str = "lcc:v1:";

/// The objects and questions that a minimal BTF covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    objects: Vec<ObjectHash>,
    questions: Vec<QuestionHash>,
}

/// 30 bits of the hash of a question's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QuestionHash(u32);

/// Whether an object may be relocated against a minimal BTF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It was made for this very object.
    Object,
    /// It was made for others, which ask all that this object asks.
    Questions,
    /// It lacks an answer: a relocation would seem absent that is not.
    Stale {
        /// The relocations that are not covered, by their number in [`ObjectFile::relocations`].
        missing: Vec<usize>,
    },
}

impl Coverage {
    /// What a minimal BTF made for these objects covers.
    pub fn of<'o, 'a: 'o>(objects: impl IntoIterator<Item = &'o ObjectFile<'a>>) -> Coverage {
        let mut coverage = Coverage::default();
        for object in objects {
            coverage.objects.push(object.hash());
            coverage.questions.extend(object.question_hashes().iter().flatten());
        }
        coverage.objects.sort_unstable();
        coverage.objects.dedup();
        coverage.questions.sort_unstable();
        coverage.questions.dedup();
        coverage
    }

    /// That, and what is looked up by name.
    #[must_use]
    pub fn with(mut self, by_name: &ByName) -> Coverage {
        self.questions.extend(by_name.types.iter().map(|(name, kind)| QuestionHash::of_name(name, *kind)));
        self.questions.extend(by_name.enumerators.iter().map(|(name, which)| QuestionHash::of_enumerator(name, which)));
        self.questions.sort_unstable();
        self.questions.dedup();
        self
    }

    /// Was a type looked up by this name and kind? Then it is there, or the kernel does not have it.
    pub fn has_name(&self, name: &str, kind: Kind) -> bool {
        self.questions.binary_search(&QuestionHash::of_name(name, kind)).is_ok()
    }

    /// Was an enumerator looked up in the enum of this name? Then it is there, or the kernel does not have it.
    pub fn has_enumerator(&self, name: &str, which: &Enumerator) -> bool {
        self.questions.binary_search(&QuestionHash::of_enumerator(name, which)).is_ok()
    }

    /// What this BTF was made for; `None` for one that says nothing of it, or in a way that is not understood.
    pub fn read(btf: &Btf<'_>) -> Option<Coverage> {
        let strings = btf.own_strings();
        let last = strings.strip_suffix(b"\0")?;
        let start = memchr::memrchr(0, last).map_or(0, |at| at + 1);
        std::str::from_utf8(&last[start..]).ok()?.parse().ok()
    }

    /// Hashes of the objects, ascending.
    pub fn objects(&self) -> &[ObjectHash] {
        &self.objects
    }

    /// Does a minimal BTF with this coverage have all that the object's relocations ask for?
    pub fn check(&self, object: &ObjectFile<'_>) -> Fit {
        if self.objects.binary_search(&object.hash()).is_ok() {
            return Fit::Object;
        }
        let hashes = object.question_hashes();
        let is_covered =
            |number: &usize| hashes[*number].is_none_or(|question| self.questions.binary_search(&question).is_ok());
        let relocations = object.asked().of_relocation.iter().enumerate();
        let missing: Vec<usize> =
            relocations.filter(|(_, question)| !is_covered(question)).map(|(relocation, _)| relocation).collect();
        if missing.is_empty() { Fit::Questions } else { Fit::Stale { missing } }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for (at, object) in self.objects.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(f, "{separator}{object}")?;
        }
        f.write_str(":")?;
        for QuestionHash(bits) in &self.questions {
            for shift in [24, 18, 12, 6, 0] {
                write!(f, "{}", char::from(ALPHABET[(bits >> shift & 63) as usize]))?;
            }
        }
        Ok(())
    }
}

/// A string that is not in the format of this module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a coverage string")]
pub struct NotCoverage;

impl std::str::FromStr for Coverage {
    type Err = NotCoverage;

    fn from_str(text: &str) -> std::result::Result<Coverage, NotCoverage> {
        let rest = text.strip_prefix(PREFIX).ok_or(NotCoverage)?;
        let (objects, questions) = rest.split_once(':').ok_or(NotCoverage)?;
        let object = |digits: &str| {
            let hexadecimal = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let hash = u128::from_str_radix(digits, 16).ok().filter(|_| hexadecimal);
            hash.map(ObjectHash).ok_or(NotCoverage)
        };
        let objects = match objects {
            "" => Vec::new(),
            objects => objects.split(',').map(object).collect::<std::result::Result<Vec<_>, _>>()?,
        };
        let (chunks, []) = questions.as_bytes().as_chunks::<5>() else { return Err(NotCoverage) };
        let question = |characters: &[u8; 5]| {
            let digit = |byte: &u8| ALPHABET.iter().position(|known| known == byte).map(|digit| digit as u32);
            let bits = characters.iter().try_fold(0, |bits, byte| Some(bits << 6 | digit(byte)?));
            bits.map(QuestionHash).ok_or(NotCoverage)
        };
        let questions = chunks.iter().map(question).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(Coverage { objects, questions })
    }
}

impl QuestionHash {
    /// The hash of a question. `None` where it asks nothing of the target, or is malformed.
    pub(crate) fn of(btf: &Btf<'_>, question: &LocalQuestion) -> Option<QuestionHash> {
        if question.kind == CoreReloKind::TypeIdLocal {
            return None;
        }
        let local = question.local.as_ref().ok()?;
        let mut description = Description { btf, bytes: Vec::new() };
        description.question(&local.spec).ok()?;
        Some(QuestionHash::of_description(&description.bytes))
    }

    fn of_description(bytes: &[u8]) -> QuestionHash {
        QuestionHash((xxhash_rust::xxh3::xxh3_64(bytes) >> 34) as u32)
    }

    fn of_name(name: &str, kind: Kind) -> QuestionHash {
        QuestionHash::of_description(&[&[b'N', kind_byte(kind)], name.as_bytes(), b"\0"].concat())
    }

    fn of_enumerator(of: &str, which: &Enumerator) -> QuestionHash {
        let which = match which {
            Enumerator::Named(name) => [b"n", name.as_bytes(), b"\0"].concat(),
            Enumerator::Valued(value) => [b"v", &value.to_le_bytes()[..]].concat(),
        };
        QuestionHash::of_description(&[b"V", of.as_bytes(), b"\0", &which].concat())
    }
}

/// Bytes of a description at most; what is beyond does not count.
const MAX_DESCRIPTION: usize = 1 << 20;
/// References followed at most, as in the comparisons.
const MAX_DEPTH: u32 = 32;

/// A question in bytes. Every part starts with a character that tells what it is, and names end with a NUL.
struct Description<'b, 'a> {
    btf: &'b Btf<'a>,
    bytes: Vec<u8>,
}

impl Description<'_, '_> {
    fn question(&mut self, spec: &AccessSpec) -> Result<()> {
        let root = self.btf.record(spec.root)?;
        match spec.kind.family() {
            Some(Family::Field) => {
                self.named(b'F', root.info.kind(), root.name)?;
                for accessor in &spec.accessors {
                    match accessor.name {
                        None => {
                            self.bytes.push(b'[');
                            self.bytes.extend(accessor.index.to_le_bytes());
                        }
                        Some(name) => {
                            self.bytes.push(b'.');
                            self.name(name, false)?;
                            let composite = self.btf.record(accessor.ty)?;
                            self.field_type(words::member(&composite, accessor.index).ty)?;
                        }
                    }
                }
            }
            Some(Family::Enumval) => {
                self.named(b'E', root.info.kind(), root.name)?;
                if let Some(name) = spec.accessors.first().and_then(|first| first.name) {
                    self.name(name, true)?;
                }
            }
            Some(Family::Type) if spec.kind == CoreReloKind::TypeMatches => {
                self.named(b'M', root.info.kind(), root.name)?;
                self.matched_type(spec.root, false, MAX_DEPTH)?;
            }
            Some(Family::Type) => {
                self.named(b'T', root.info.kind(), root.name)?;
                self.compatible_type(spec.root, MAX_DEPTH)?;
            }
            None => {}
        }
        Ok(())
    }

    fn named(&mut self, what: u8, kind: Kind, name: StrOffset) -> Result<()> {
        self.bytes.extend([what, kind_byte(kind)]);
        self.name(name, true)
    }

    fn name(&mut self, name: StrOffset, without_flavour: bool) -> Result<()> {
        let name = self.btf.str_bytes(name)?;
        self.bytes.extend(&name[..if without_flavour { essential_len(name) } else { name.len() }]);
        self.bytes.push(0);
        Ok(())
    }

    /// What the compatibility of a field looks at.
    fn field_type(&mut self, mut id: TypeId) -> Result<()> {
        for _ in 0..MAX_DEPTH {
            let (_, record) = stripped(self.btf, id)?;
            let Some(record) = record else { break };
            let kind = record.info.kind();
            // A struct and a union are compatible.
            self.bytes.push(if kind.is_composite() { kind_byte(Kind::Struct) } else { kind_byte(kind) });
            match kind {
                Kind::Enum | Kind::Enum64 | Kind::Fwd => self.name(record.name, true)?,
                Kind::Int => self.bytes.push(words::int_offset(&record) as u8),
                Kind::Array => {
                    id = words::array(&record).element;
                    continue;
                }
                _ => {}
            }
            break;
        }
        Ok(())
    }

    /// What the compatibility of a type looks at.
    fn compatible_type(&mut self, mut id: TypeId, depth: u32) -> Result<()> {
        for depth in (0..depth).rev() {
            let (_, record) = stripped(self.btf, id)?;
            let Some(record) = record else {
                self.bytes.push(b'V');
                break;
            };
            let kind = record.info.kind();
            self.bytes.push(kind_byte(kind));
            match kind {
                Kind::Int => self.bytes.push(words::int_offset(&record) as u8),
                Kind::Ptr => {
                    id = TypeId(record.size_or_type);
                    continue;
                }
                Kind::Array => {
                    id = words::array(&record).element;
                    continue;
                }
                Kind::FuncProto => {
                    self.bytes.extend(record.info.vlen().to_le_bytes());
                    for index in 0..record.info.vlen() {
                        if self.is_full() {
                            return Ok(());
                        }
                        self.compatible_type(words::parameter(&record, index), depth)?;
                    }
                    id = TypeId(record.size_or_type);
                    continue;
                }
                _ => {}
            }
            break;
        }
        Ok(())
    }

    /// What the matching of a type looks at.
    fn matched_type(&mut self, mut id: TypeId, mut behind_pointer: bool, depth: u32) -> Result<()> {
        for depth in (0..depth).rev() {
            let (_, record) = stripped(self.btf, id)?;
            let Some(record) = record else {
                self.bytes.push(b'V');
                break;
            };
            let kind = record.info.kind();
            self.bytes.push(kind_byte(kind));
            self.name(record.name, true)?;
            match kind {
                Kind::Fwd => self.bytes.push(record.info.kind_flag().into()),
                Kind::Int => {
                    self.bytes.extend(record.size_or_type.to_le_bytes());
                    self.bytes.push(words::int_encoding(&record) as u8 & 1);
                }
                Kind::Enum | Kind::Enum64 => {
                    self.bytes.extend(record.size_or_type.to_le_bytes());
                    for index in 0..record.info.vlen() {
                        self.name(words::enumerator_name(&record, index), true)?;
                    }
                    self.bytes.push(b';');
                }
                Kind::Struct | Kind::Union if !behind_pointer => {
                    for member in words::members(&record) {
                        if self.is_full() {
                            return Ok(());
                        }
                        self.name(member.name, true)?;
                        self.matched_type(member.ty, behind_pointer, depth)?;
                    }
                    self.bytes.push(b';');
                }
                Kind::Ptr => {
                    behind_pointer = true;
                    id = TypeId(record.size_or_type);
                    continue;
                }
                Kind::Array => {
                    let array = words::array(&record);
                    self.bytes.extend(array.len.to_le_bytes());
                    id = array.element;
                    continue;
                }
                Kind::FuncProto => {
                    self.bytes.extend(record.info.vlen().to_le_bytes());
                    for index in 0..record.info.vlen() {
                        if self.is_full() {
                            return Ok(());
                        }
                        self.matched_type(words::parameter(&record, index), behind_pointer, depth)?;
                    }
                    id = TypeId(record.size_or_type);
                    continue;
                }
                _ => {}
            }
            break;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes.len() > MAX_DESCRIPTION
    }
}

/// A kind as a byte of a description; both widths of enumeration are one kind.
fn kind_byte(kind: Kind) -> u8 {
    if kind == Kind::Enum64 { Kind::Enum.raw() } else { kind.raw() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Coverage {
        Coverage {
            objects: vec![ObjectHash(1), ObjectHash(u128::MAX)],
            questions: vec![QuestionHash(0), QuestionHash(0x3fff_ffff)],
        }
    }

    #[test]
    fn the_text_is_read_back() {
        let text = sample().to_string();
        let hashes = "00000000000000000000000000000001,ffffffffffffffffffffffffffffffff";
        assert_eq!(text, format!("lcc:v1:{hashes}:AAAAA_____"));
        assert_eq!(text.parse(), Ok(sample()));
        assert_eq!("lcc:v1::".parse(), Ok(Coverage::default()));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "lcc:v1:",
            "lcc:v2::",
            "task_struct",
            "lcc:v1:1:",
            "lcc:v1::AAAA",
            "lcc:v1::AAAA!",
            "lcc:v1::AAAAAA",
            "lcc:v1:+0000000000000000000000000000001:",
            "lcc:v1:00000000000000000000000000000001,:",
        ] {
            assert_eq!(text.parse::<Coverage>(), Err(NotCoverage), "{text}");
        }
    }

    #[test]
    fn it_is_the_last_string_that_counts() {
        let write = |strings: &[&str]| {
            let mut out = crate::write::Builder::new(crate::raw::Endian::Little);
            strings.iter().for_each(|string| _ = out.string(string));
            out.finish().unwrap()
        };
        let text = sample().to_string();
        let read = |strings: &[&str]| Coverage::read(&Btf::parse(&write(strings)).unwrap());
        assert_eq!(read(&["int", &text]), Some(sample()));
        assert_eq!(read(&[&text]), Some(sample()));
        assert_eq!(read(&[&text, "int"]), None);
        assert_eq!(read(&[]), None);
    }
}
