//! The attributes of one entry, decoded.

use crate::abbrev::{Abbrev, At, Encoding, Form, NOT_FIXED, Table, form_of};
use crate::cursor::Cursor;
use crate::error::Result;

const COUNT: usize = At::RnglistsBase as usize + 1;

/// Values by attribute. A block's value is the section offset of its length; a string's that of its first byte.
pub(crate) struct Attributes {
    present: u64,
    values: [u64; COUNT],
    forms: [Form; COUNT],
}

impl Attributes {
    pub(crate) fn new() -> Self {
        Attributes { present: 0, values: [0; COUNT], forms: [Form::Jump; COUNT] }
    }

    #[inline(always)]
    pub(crate) fn has(&self, at: At) -> bool {
        self.present & 1 << at as u32 != 0
    }

    #[inline(always)]
    pub(crate) fn get(&self, at: At) -> Option<(Form, u64)> {
        self.has(at).then(|| (self.forms[at as usize], self.values[at as usize]))
    }

    /// The attribute as an unsigned constant; none where it is absent or not a constant.
    #[inline]
    pub(crate) fn constant(&self, at: At) -> Option<u64> {
        let (form, value) = self.get(at)?;
        is_constant(form).then_some(value)
    }

    #[inline(always)]
    pub(crate) fn flag(&self, at: At) -> bool {
        self.has(at) && self.values[at as usize] != 0
    }

    /// Reads an entry by its abbreviation.
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        at: &mut Cursor<'_>,
        table: &Table<'_>,
        abbrev: &Abbrev,
        encoding: Encoding,
    ) -> Result<()> {
        if abbrev.size != NOT_FIXED
            && let Some(bytes) = at.ahead(abbrev.size as usize + size_of::<u64>())
        {
            for load in table.loads(abbrev) {
                let bytes = bytes.get(load.offset as usize..).and_then(|rest| rest.first_chunk()).copied();
                let bytes = bytes.unwrap_or_default();
                let raw = if at.big() { u64::from_be_bytes(bytes) >> load.shift } else { u64::from_le_bytes(bytes) };
                self.values[load.at as usize] = raw & load.mask | load.constant;
                self.forms[load.at as usize] = load.form;
            }
            self.present = abbrev.present;
            return at.skip(abbrev.size as usize);
        }
        self.present = 0;
        for op in table.ops(abbrev) {
            let (form, value) = value(at, op.form, op.arg, table, encoding)?;
            let slot = op.at as usize;
            self.values[slot] = value;
            self.forms[slot] = form;
            self.present |= 1 << slot;
        }
        self.present &= !1;
        Ok(())
    }
}

pub(crate) fn is_constant(form: Form) -> bool {
    matches!(
        form,
        Form::Data1
            | Form::Data2
            | Form::Data4
            | Form::Data8
            | Form::Udata
            | Form::Sdata
            | Form::ImplicitConst
            | Form::Flag
            | Form::FlagPresent
    )
}

/// Gets past an entry; gives the offset of its sibling, from the start of the unit, where it has one.
#[inline(always)]
pub(crate) fn skip(at: &mut Cursor<'_>, table: &Table<'_>, abbrev: &Abbrev, encoding: Encoding) -> Result<Option<u64>> {
    let mut sibling = None;
    for op in table.skips(abbrev) {
        let (_, value) = value(at, op.form, op.arg, table, encoding)?;
        if op.at == At::Sibling {
            sibling = Some(value);
        }
    }
    Ok(sibling)
}

#[inline(always)]
fn value(at: &mut Cursor<'_>, form: Form, arg: u32, table: &Table<'_>, encoding: Encoding) -> Result<(Form, u64)> {
    let value = match form {
        Form::Jump => {
            at.skip(arg as usize)?;
            0
        }
        Form::Strp | Form::LineStrp | Form::StrpSup | Form::SecOffset | Form::GnuRefAlt => {
            at.offset(encoding.dwarf64)?
        }
        Form::Ref4 | Form::Data4 | Form::Strx4 | Form::Addrx4 | Form::RefSup4 => u64::from(at.u32()?),
        Form::Data1 | Form::Flag | Form::Ref1 | Form::Strx1 | Form::Addrx1 => u64::from(at.u8()?),
        Form::Data2 | Form::Ref2 | Form::Strx2 | Form::Addrx2 => u64::from(at.u16()?),
        Form::FlagPresent => 1,
        Form::ImplicitConst => table.constants.get(arg as usize).copied().unwrap_or(0) as u64,
        Form::Udata | Form::RefUdata | Form::Strx | Form::Addrx | Form::Loclistx | Form::Rnglistx => at.uleb()?,
        Form::Exprloc | Form::Block => {
            let start = at.pos() as u64;
            let length = at.uleb()?;
            at.skip(usize::try_from(length).unwrap_or(usize::MAX))?;
            start
        }
        other => return rare(at, other, table, encoding),
    };
    Ok((form, value))
}

#[inline(never)]
fn rare(at: &mut Cursor<'_>, form: Form, table: &Table<'_>, encoding: Encoding) -> Result<(Form, u64)> {
    let start = at.pos() as u64;
    let value = match form {
        Form::Addr => at.sized(encoding.address_size)?,
        Form::Data8 | Form::Ref8 | Form::RefSig8 | Form::RefSup8 => at.u64()?,
        Form::Sdata => at.sleb()? as u64,
        Form::String => {
            at.cstr()?;
            start
        }
        Form::Data16 => {
            at.skip(16)?;
            start
        }
        Form::Strx3 | Form::Addrx3 => u64::from(at.u24()?),
        Form::RefAddr if encoding.version <= 2 => at.sized(encoding.address_size)?,
        Form::RefAddr => at.offset(encoding.dwarf64)?,
        Form::Block1 => {
            let length = at.u8()?;
            at.skip(usize::from(length))?;
            start
        }
        Form::Block2 => {
            let length = at.u16()?;
            at.skip(usize::from(length))?;
            start
        }
        Form::Block4 => {
            let length = at.u32()?;
            at.skip(length as usize)?;
            start
        }
        Form::Indirect => {
            let here = at.pos();
            let code = at.uleb()?;
            return match form_of(code) {
                Some(Form::Indirect | Form::ImplicitConst) | None => {
                    Err(at.malformed(here, format!("the indirect form {code:#x}")))
                }
                Some(form) => value(at, form, 0, table, encoding),
            };
        }
        other => return Err(at.malformed(at.pos(), format!("the form {other:?} in this place"))),
    };
    Ok((form, value))
}

/// The bytes of a block, whose length begins at the cursor.
pub(crate) fn block<'d>(at: &mut Cursor<'d>, form: Form) -> Result<Option<&'d [u8]>> {
    let length = match form {
        Form::Exprloc | Form::Block => at.uleb()?,
        Form::Block1 => u64::from(at.u8()?),
        Form::Block2 => u64::from(at.u16()?),
        Form::Block4 => u64::from(at.u32()?),
        _ => return Ok(None),
    };
    at.bytes(usize::try_from(length).unwrap_or(usize::MAX)).map(Some)
}
