//! Where a parameter lies at the entry of its function: the register that its first location names.

use gimli::{EndianSlice, Operation, RunTimeEndian};

use crate::abbrev::{Encoding, Form};
use crate::attributes;
use crate::cursor::Cursor;
use crate::entries::UnitInfo;
use crate::error::Result;
use crate::sections::{Section, Sections};

/// What is known of the place of a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// DWARF number of the register that holds it, or its beginning, at the function's entry.
    pub(crate) register: Option<u16>,
}

/// The parameter's place, by its `DW_AT_location`; `wide` says that its type takes more than one register.
pub(crate) fn place(
    sections: &Sections<'_>,
    unit_section: &Section<'_>,
    encoding: Encoding,
    info: &UnitInfo,
    (form, value): (Form, u64),
    wide: bool,
) -> Result<Place> {
    let mut place = Place::default();
    let big = sections.big;
    let pos = usize::try_from(value).unwrap_or(usize::MAX);
    match form {
        Form::Exprloc | Form::Block | Form::Block1 | Form::Block2 | Form::Block4 => {
            let mut at = unit_section.at(pos, big);
            if let Some(expression) = attributes::block(&mut at, form)? {
                add(&mut place, 0, expression, encoding, big, wide);
            }
        }
        Form::SecOffset | Form::Data4 | Form::Data8 if encoding.version < 5 => {
            old_list(sections.loc.at(pos, big), encoding, |number, expression| {
                add(&mut place, number, expression, encoding, big, wide);
                place.register.is_none()
            })?;
        }
        Form::SecOffset | Form::Loclistx => {
            let start = if form == Form::Loclistx {
                let base = info.loclists_base.unwrap_or(if encoding.dwarf64 { 20 } else { 12 });
                let entry = value.checked_mul(if encoding.dwarf64 { 8 } else { 4 }).and_then(|at| at.checked_add(base));
                let entry = entry.and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
                let offset = sections.loclists.at(entry, big).offset(encoding.dwarf64)?;
                usize::try_from(offset.saturating_add(base)).unwrap_or(usize::MAX)
            } else {
                pos
            };
            list(sections.loclists.at(start, big), encoding, |number, expression| {
                add(&mut place, number, expression, encoding, big, wide);
                place.register.is_none()
            })?;
        }
        _ => {}
    }
    Ok(place)
}

/// Entries of a location list that are looked at; real lists are shorter by far.
const MOST_LOCATIONS: u32 = 1000;

/// A list of `.debug_loc` (DWARF 2 to 4).
fn old_list<'d>(mut at: Cursor<'d>, encoding: Encoding, mut each: impl FnMut(u32, &'d [u8]) -> bool) -> Result<()> {
    let largest = if encoding.address_size == 8 { u64::MAX } else { (1 << (8 * u32::from(encoding.address_size))) - 1 };
    let mut number = 0;
    loop {
        let begin = at.sized(encoding.address_size)?;
        let end = at.sized(encoding.address_size)?;
        if begin == largest {
            continue;
        }
        if begin == 0 && end == 0 {
            return Ok(());
        }
        let length = at.u16()?;
        let expression = at.bytes(usize::from(length))?;
        number += 1;
        if !each(number - 1, expression) || number == MOST_LOCATIONS {
            return Ok(());
        }
    }
}

/// A list of `.debug_loclists` (DWARF 5).
fn list<'d>(mut at: Cursor<'d>, encoding: Encoding, mut each: impl FnMut(u32, &'d [u8]) -> bool) -> Result<()> {
    let size = usize::from(encoding.address_size);
    let mut number = 0;
    loop {
        let here = at.pos();
        match at.u8()? {
            // DW_LLE_end_of_list
            0 => return Ok(()),
            // base_addressx
            1 => {
                at.uleb()?;
                continue;
            }
            // base_address
            6 => {
                at.skip(size)?;
                continue;
            }
            // GNU_view_pair
            9 => {
                at.uleb()?;
                at.uleb()?;
                continue;
            }
            // startx_endx, startx_length, offset_pair
            2..=4 => {
                at.uleb()?;
                at.uleb()?;
            }
            // default_location
            5 => {}
            // start_end
            7 => at.skip(2 * size)?,
            // start_length
            8 => {
                at.skip(size)?;
                at.uleb()?;
            }
            other => return Err(at.malformed(here, format!("a location list entry of the kind {other}"))),
        }
        let length = at.uleb()?;
        let expression = at.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
        number += 1;
        if !each(number - 1, expression) || number == MOST_LOCATIONS {
            return Ok(());
        }
    }
}

fn add(place: &mut Place, number: u32, expression: &[u8], encoding: Encoding, big: bool, wide: bool) {
    let endian = if big { RunTimeEndian::Big } else { RunTimeEndian::Little };
    let gimli_encoding = gimli::Encoding {
        address_size: encoding.address_size,
        format: if encoding.dwarf64 { gimli::Format::Dwarf64 } else { gimli::Format::Dwarf32 },
        version: encoding.version,
    };
    let mut rest = EndianSlice::new(expression, endian);
    // a location of a parameter has few operations; more are not looked at
    let mut operations = [const { None }; 8];
    let mut count = 0;
    while !rest.is_empty() && count < operations.len() {
        let Ok(operation) = Operation::parse(&mut rest, gimli_encoding) else { return };
        operations[count] = Some(operation);
        count += 1;
    }
    let operations = &operations[..count];
    let ends_as_value = matches!(operations.last(), Some(Some(Operation::StackValue)));
    let alone = count == 1 || (count == 2 && ends_as_value);
    let Some(Some(first)) = operations.first() else { return };
    if alone || !wide {
        match first {
            Operation::Register { register } if number == 0 && register.0 < 32 => set(place, register.0),
            Operation::RegisterOffset { register, .. }
                if number == 0 && operations[1..].iter().any(|op| matches!(op, Some(Operation::StackValue))) =>
            {
                set(place, register.0);
            }
            Operation::EntryValue { expression } if alone => {
                let mut inner = *expression;
                if let Ok(Operation::Register { register }) = Operation::parse(&mut inner, gimli_encoding)
                    && inner.is_empty()
                {
                    set(place, register.0);
                }
            }
            _ => {}
        }
        return;
    }
    // an aggregate in pieces: the register of its beginning, else of the first piece that has one
    for operation in operations {
        if let Some(Operation::Register { register }) = operation {
            set(place, register.0);
        }
    }
}

fn set(place: &mut Place, register: u16) {
    place.register.get_or_insert(register);
}
