//! Abbreviation tables, compiled: for each code, the attributes that matter in order, and between them one jump over
//! everything that does not.

mod vocabulary;

pub(crate) use vocabulary::{At, Form, Tag, form_of};
use vocabulary::{at_of, tag_of, wanted};

use crate::cursor::Cursor;
use crate::error::Result;

/// The sizes that a unit's forms depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Encoding {
    pub(crate) version: u16,
    pub(crate) dwarf64: bool,
    pub(crate) address_size: u8,
}

impl Encoding {
    /// Bytes of a form, where every value of that form has the same size.
    pub(crate) fn fixed_size(self, form: Form) -> Option<u32> {
        let offset = if self.dwarf64 { 8 } else { 4 };
        Some(match form {
            Form::ImplicitConst | Form::FlagPresent => 0,
            Form::Data1 | Form::Flag | Form::Strx1 | Form::Addrx1 | Form::Ref1 => 1,
            Form::Data2 | Form::Strx2 | Form::Addrx2 | Form::Ref2 => 2,
            Form::Strx3 | Form::Addrx3 => 3,
            Form::Data4 | Form::Strx4 | Form::Addrx4 | Form::Ref4 | Form::RefSup4 => 4,
            Form::Data8 | Form::Ref8 | Form::RefSig8 | Form::RefSup8 => 8,
            Form::Data16 => 16,
            Form::Addr => u32::from(self.address_size),
            Form::Strp | Form::LineStrp | Form::StrpSup | Form::SecOffset | Form::GnuRefAlt => offset,
            // DWARF 2 gave it the size of an address
            Form::RefAddr if self.version <= 2 => u32::from(self.address_size),
            Form::RefAddr => offset,
            _ => return None,
        })
    }
}

/// One step of decoding an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) at: At,
    pub(crate) form: Form,
    /// Bytes to jump ([`Form::Jump`]) or index of the implicit constant ([`Form::ImplicitConst`]).
    pub(crate) arg: u32,
}

/// An attribute of an entry whose attributes all have sizes of their own: where it lies from the first one's begin, and how
/// to make it of the eight bytes there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) at: At,
    pub(crate) form: Form,
    /// In big-endian bytes: how far to shift them to the right.
    pub(crate) shift: u8,
    pub(crate) offset: u32,
    pub(crate) mask: u64,
    /// The value where the entry has no bytes of it.
    pub(crate) constant: u64,
}

/// One abbreviation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abbrev {
    pub(crate) tag: Tag,
    pub(crate) children: bool,
    ops: (u32, u32),
    skips: (u32, u32),
    loads: (u32, u32),
    /// Bytes of an entry behind its code, where they are the same for all; else [`NOT_FIXED`].
    pub(crate) size: u32,
    /// The attributes that `loads` read, a bit each.
    pub(crate) present: u64,
}

pub(crate) const NOT_FIXED: u32 = u32::MAX;

/// The compiled abbreviations of a unit.
#[derive(Default)]
pub(crate) struct Table<'f> {
    /// By code; codes are almost always 1, 2, 3, …
    dense: Vec<Option<Abbrev>>,
    sparse: rustc_hash::FxHashMap<u64, Abbrev>,
    ops: Vec<Op>,
    loads: Vec<Load>,
    pub(crate) constants: Vec<i64>,
    /// What the same bytes were compiled to before, in this or another unit.
    compiled: rustc_hash::FxHashMap<(Encoding, &'f [u8]), Abbrev>,
    /// The table that is held: of which file, at which offset, for which encoding.
    key: Option<(bool, u64, Encoding)>,
    /// Bytes read so far, of all tables.
    read: u64,
}

const IMPLICIT_CONST: u64 = gimli::constants::DW_FORM_implicit_const.0 as u64;

/// Codes this far beyond the number of abbreviations before them do not go to the dense table.
const GAP: u64 = 128;

/// DWARF and its extensions know far fewer attributes, and an entry may have each once.
const MOST_ATTRIBUTES: usize = 500;

/// Steps that are kept for units to come; a kernel has some ten thousand.
const MOST_COMPILED: usize = 1 << 20;

/// Bytes of abbreviations that are read, for each byte that there is and beyond this much, until it is clear that the
/// input was made to have them read again and again.
const MOST_READINGS: u64 = 256;
const FREE_READING: u64 = 64 << 20;

impl<'f> Table<'f> {
    #[inline(always)]
    pub(crate) fn get(&self, code: u64) -> Option<&Abbrev> {
        match usize::try_from(code).ok().and_then(|code| self.dense.get(code)) {
            Some(Some(found)) => Some(found),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&code),
        }
    }

    /// The steps that read what matters of an entry.
    #[inline(always)]
    pub(crate) fn ops(&self, abbrev: &Abbrev) -> &[Op] {
        &self.ops[abbrev.ops.0 as usize..abbrev.ops.1 as usize]
    }

    /// The steps that only get past an entry, but for its sibling reference.
    #[inline(always)]
    pub(crate) fn skips(&self, abbrev: &Abbrev) -> &[Op] {
        &self.ops[abbrev.skips.0 as usize..abbrev.skips.1 as usize]
    }

    /// What is read of an entry of a fixed size.
    #[inline(always)]
    pub(crate) fn loads(&self, abbrev: &Abbrev) -> &[Load] {
        &self.loads[abbrev.loads.0 as usize..abbrev.loads.1 as usize]
    }

    /// Reads the table at `offset` of `.debug_abbrev`, unless this is the one already held.
    pub(crate) fn load(&mut self, section: Cursor<'f>, offset: u64, encoding: Encoding) -> Result<()> {
        let key = Some((section.section().supplementary, offset, encoding));
        if self.key == key {
            return Ok(());
        }
        if self.ops.len() + self.loads.len() > MOST_COMPILED {
            self.compiled.clear();
            self.ops.clear();
            self.loads.clear();
            self.constants.clear();
        }
        self.key = None;
        self.dense.clear();
        self.sparse.clear();
        let mut at = section;
        let start = usize::try_from(offset).map_err(|_| at.malformed(0, format!("offset {offset:#x} is too large")))?;
        at.seek(start);
        loop {
            let here = at.pos();
            let code = at.uleb()?;
            if code == 0 {
                break;
            }
            let declaration = declaration(&mut at, here, code)?;
            let abbrev = match self.compiled.get(&(encoding, declaration)) {
                Some(&abbrev) => abbrev,
                None => {
                    let mut bytes = section;
                    bytes.seek(at.pos() - declaration.len());
                    let abbrev = self.compile(&mut bytes, here, code, encoding)?;
                    self.compiled.insert((encoding, declaration), abbrev);
                    abbrev
                }
            };
            if self.get(code).is_some() {
                continue;
            }
            if code < self.dense.len() as u64 + GAP {
                let code = code as usize;
                if self.dense.len() <= code {
                    self.dense.resize(code + 1, None);
                }
                self.dense[code] = Some(abbrev);
            } else {
                self.sparse.insert(code, abbrev);
            }
        }
        self.read += (at.pos() - start) as u64;
        if self.read > FREE_READING + MOST_READINGS * at.len() as u64 {
            let what = format!("units that have {} bytes of abbreviations read, again and again", self.read);
            return Err(at.malformed(start, what));
        }
        self.key = key;
        Ok(())
    }

    fn compile(&mut self, at: &mut Cursor<'_>, here: usize, code: u64, encoding: Encoding) -> Result<Abbrev> {
        let tag = tag_of(at.uleb()?);
        let children = at.u8()? != 0;
        let mut attributes: Vec<Op> = Vec::new();
        loop {
            let (name, form) = (at.uleb()?, at.uleb()?);
            if name == 0 && form == 0 {
                break;
            }
            let Some(form) = form_of(form) else {
                return Err(at.malformed(here, format!("abbreviation {code} has the unknown form {form:#x}")));
            };
            let arg = if form == Form::ImplicitConst {
                self.constants.push(at.sleb()?);
                (self.constants.len() - 1) as u32
            } else {
                0
            };
            attributes.push(Op { at: u16::try_from(name).map_or(At::Skip, at_of), form, arg });
        }
        let ops = self.compile_ops(&attributes, encoding, |at| wanted(tag, at));
        let skips = self.compile_ops(&attributes, encoding, |at| at == At::Sibling);
        let (size, loads, present) = self.compile_loads(&attributes, encoding, |at| wanted(tag, at));
        Ok(Abbrev { tag, children, ops, skips, loads, size, present })
    }

    fn compile_ops(&mut self, attributes: &[Op], encoding: Encoding, wanted: impl Fn(At) -> bool) -> (u32, u32) {
        let start = self.ops.len();
        for op in attributes {
            if wanted(op.at) {
                self.ops.push(*op);
                continue;
            }
            match encoding.fixed_size(op.form) {
                Some(size) => match self.ops[start..].last_mut() {
                    Some(last) if last.form == Form::Jump => last.arg += size,
                    _ if size == 0 => {}
                    _ => self.ops.push(Op { at: At::Skip, form: Form::Jump, arg: size }),
                },
                None => self.ops.push(Op { at: At::Skip, form: op.form, arg: op.arg }),
            }
        }
        (start as u32, self.ops.len() as u32)
    }

    /// Size, loads and attributes of entries of a fixed size.
    fn compile_loads(
        &mut self,
        attributes: &[Op],
        encoding: Encoding,
        wanted: impl Fn(At) -> bool,
    ) -> (u32, (u32, u32), u64) {
        let start = self.loads.len();
        let (mut offset, mut present) = (0u32, 0u64);
        for op in attributes {
            let size = encoding.fixed_size(op.form);
            let Some(size) = size.filter(|&size| size <= 8 || !wanted(op.at)) else {
                self.loads.truncate(start);
                return (NOT_FIXED, (0, 0), 0);
            };
            if wanted(op.at) {
                let constant = match op.form {
                    Form::ImplicitConst => self.constants[op.arg as usize] as u64,
                    Form::FlagPresent => 1,
                    _ => 0,
                };
                let (shift, mask) = match size {
                    0 => (0, 0),
                    size => ((64 - size * 8) as u8, u64::MAX >> (64 - size * 8)),
                };
                self.loads.push(Load { at: op.at, form: op.form, shift, offset, mask, constant });
                present |= 1 << op.at as u32;
            }
            offset += size;
        }
        (offset, (start as u32, self.loads.len() as u32), present)
    }
}

/// The bytes of an abbreviation behind its code.
fn declaration<'f>(at: &mut Cursor<'f>, here: usize, code: u64) -> Result<&'f [u8]> {
    let start = at.pos();
    at.uleb()?;
    at.u8()?;
    for _ in 0..=MOST_ATTRIBUTES {
        match (at.uleb()?, at.uleb()?) {
            (0, 0) => return Ok(at.since(start)),
            (_, IMPLICIT_CONST) => {
                at.sleb()?;
            }
            _ => {}
        }
    }
    Err(at.malformed(here, format!("abbreviation {code} has more than {MOST_ATTRIBUTES} attributes")))
}
