//! The header, the bounds of the sections, and what must hold of them before any type is looked at.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::raw::{Endian, HEADER_LEN, HEADER_LEN_LAYOUT, KindLayout, MAGIC, VERSION};

pub(crate) const HEADER: &str = "BTF header";
pub(crate) const STRINGS: &str = "BTF strings";
const LAYOUT: &str = "BTF layout";

/// The header's sections as ranges of the file, checked to lie in it.
pub(crate) struct Header {
    pub(crate) endian: Endian,
    pub(crate) types: Range<usize>,
    pub(crate) strings: Range<usize>,
    pub(crate) layout: Range<usize>,
}

impl Header {
    pub(crate) fn read(data: &[u8]) -> Result<Header> {
        let found = data[..data.len().min(2)].to_vec();
        let endian = match *found {
            [a, b] if u16::from_le_bytes([a, b]) == MAGIC => Endian::Little,
            [a, b] if u16::from_be_bytes([a, b]) == MAGIC => Endian::Big,
            _ => return Err(Error::Magic { found }),
        };
        let word = |at: usize| {
            let short = || Error::format(HEADER, at, format!("header cut off: the file has {} bytes", data.len()));
            endian.u32_at(data, at).ok_or_else(short)
        };
        let hdr_len = word(4)?;
        if data[2] != VERSION {
            return Err(Error::format(HEADER, 2u32, format!("version {} is not supported", data[2])));
        }
        if hdr_len < HEADER_LEN {
            return Err(Error::format(HEADER, 4u32, format!("header length {hdr_len} is less than {HEADER_LEN}")));
        }
        if hdr_len as usize > data.len() {
            let reason = format!("header length {hdr_len} exceeds the file's {} bytes", data.len());
            return Err(Error::format(HEADER, 4u32, reason));
        }
        let section = |at: usize, name: &str| -> Result<Range<usize>> {
            let (offset, len) = (word(at)?, word(at + 4)?);
            let start = u64::from(hdr_len) + u64::from(offset);
            let end = start + u64::from(len);
            if end > data.len() as u64 {
                let reason = format!("{name} section ends at {end}, beyond the file's {} bytes", data.len());
                return Err(Error::format(HEADER, at, reason));
            }
            Ok(start as usize..end as usize)
        };
        let types = section(8, "type")?;
        let strings = section(16, "string")?;
        let mut layout = 0..0;
        if hdr_len >= HEADER_LEN_LAYOUT && word(28)? != 0 {
            layout = section(24, "layout")?;
        }
        if !(types.start - hdr_len as usize).is_multiple_of(4) {
            return Err(Error::format(HEADER, 8u32, "type section is not aligned to 4 bytes"));
        }
        if types.start < strings.end && strings.start < types.end && !types.is_empty() && !strings.is_empty() {
            return Err(Error::format(HEADER, 16u32, "type and string section overlap"));
        }
        Ok(Header { endian, types, strings, layout })
    }
}

/// The string section starts with the empty string (not where it is split) and ends with a NUL.
pub(crate) fn check_strings(strings: &[u8], split: bool) -> Result<()> {
    match (strings.first(), strings.last()) {
        (None, _) if split => Ok(()),
        (None, _) => Err(Error::format(STRINGS, 0u32, "section is empty")),
        (Some(&first), _) if first != 0 && !split => Err(Error::format(
            STRINGS,
            0u32,
            "section does not start with the empty string; is this split BTF without its base?",
        )),
        (_, Some(&last)) if last != 0 => Err(Error::format(STRINGS, strings.len() - 1, "last string has no end")),
        _ => Ok(()),
    }
}

/// The layout section: an entry for each kind.
pub(crate) fn read_layout(section: &[u8]) -> Result<Vec<KindLayout>> {
    if !section.len().is_multiple_of(4) {
        return Err(Error::format(LAYOUT, 0u32, format!("length {} is not a multiple of 4", section.len())));
    }
    Ok(section.chunks_exact(4).map(|entry| KindLayout { info_size: entry[0], element_size: entry[1] }).collect())
}
