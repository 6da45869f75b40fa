//! The one place that reads bytes: a bounds-checked position in a section.

use crate::error::{Error, Result, SectionName};

/// A position in a section. Multi-byte values are in the byte order of the file.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'d> {
    data: &'d [u8],
    pos: usize,
    big: bool,
    section: SectionName,
}

macro_rules! fixed {
    ($name:ident, $ty:ty) => {
        #[inline(always)]
        pub(crate) fn $name(&mut self) -> Result<$ty> {
            const N: usize = size_of::<$ty>();
            match self.data.get(self.pos..).and_then(|rest| rest.first_chunk::<N>()) {
                Some(bytes) => {
                    self.pos += N;
                    Ok(if self.big { <$ty>::from_be_bytes(*bytes) } else { <$ty>::from_le_bytes(*bytes) })
                }
                None => Err(self.truncated()),
            }
        }
    };
}

impl<'d> Cursor<'d> {
    pub(crate) fn new(data: &'d [u8], pos: usize, big: bool, section: SectionName) -> Self {
        Cursor { data, pos, big, section }
    }

    #[inline(always)]
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// The next bytes, without going past them; none where there are fewer.
    #[inline(always)]
    pub(crate) fn ahead(&self, count: usize) -> Option<&'d [u8]> {
        self.data.get(self.pos..)?.get(..count)
    }

    /// The file is big-endian.
    #[inline(always)]
    pub(crate) fn big(&self) -> bool {
        self.big
    }

    /// The bytes from `start` (an offset in the section) to here.
    pub(crate) fn since(&self, start: usize) -> &'d [u8] {
        self.data.get(start..self.pos).unwrap_or_default()
    }

    /// Where the readable bytes end.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// The section that the position is in.
    pub(crate) fn section(&self) -> SectionName {
        self.section
    }

    /// Ends the readable bytes at `end` (an offset in the section), or where the section ends.
    pub(crate) fn limit(&mut self, end: usize) {
        self.data = self.data.get(..end).unwrap_or(self.data);
    }

    #[inline(always)]
    pub(crate) fn seek(&mut self, pos: usize) {
        self.pos = pos;
    }

    #[inline(always)]
    pub(crate) fn at_end(&self) -> bool {
        self.pos >= self.data.len()
    }

    #[cold]
    fn truncated(&self) -> Error {
        self.malformed(self.pos, "the data ends in the middle of a value")
    }

    #[cold]
    pub(crate) fn malformed(&self, pos: usize, what: impl Into<String>) -> Error {
        Error::Malformed { section: self.section, offset: pos as u64, what: what.into() }
    }

    fixed!(u8, u8);
    fixed!(u16, u16);
    fixed!(u32, u32);
    fixed!(u64, u64);

    pub(crate) fn u24(&mut self) -> Result<u32> {
        let bytes = self.bytes(3)?;
        let [a, b, c] = [bytes[0], bytes[1], bytes[2]].map(u32::from);
        Ok(if self.big { a << 16 | b << 8 | c } else { c << 16 | b << 8 | a })
    }

    /// An offset: 4 bytes in 32-bit DWARF, 8 in 64-bit DWARF.
    #[inline(always)]
    pub(crate) fn offset(&mut self, dwarf64: bool) -> Result<u64> {
        if dwarf64 { self.u64() } else { self.u32().map(u64::from) }
    }

    /// An unsigned value of `size` bytes: 1, 2, 4 or 8.
    #[inline(always)]
    pub(crate) fn sized(&mut self, size: u8) -> Result<u64> {
        match size {
            4 => self.u32().map(u64::from),
            8 => self.u64(),
            2 => self.u16().map(u64::from),
            1 => self.u8().map(u64::from),
            _ => Err(self.malformed(self.pos, format!("a value of {size} bytes"))),
        }
    }

    #[inline(always)]
    pub(crate) fn uleb(&mut self) -> Result<u64> {
        match self.data.get(self.pos) {
            Some(&byte) if byte < 0x80 => {
                self.pos += 1;
                Ok(u64::from(byte))
            }
            _ => self.uleb_long(),
        }
    }

    fn uleb_long(&mut self) -> Result<u64> {
        let (start, mut value, mut shift) = (self.pos, 0u64, 0u32);
        loop {
            let byte = self.u8()?;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            if shift > 70 {
                return Err(self.malformed(start, "a leb128 value of more than 10 bytes"));
            }
        }
    }

    pub(crate) fn sleb(&mut self) -> Result<i64> {
        let (start, mut value, mut shift) = (self.pos, 0i64, 0u32);
        loop {
            let byte = self.u8()?;
            if shift < 64 {
                value |= i64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte & 0x80 == 0 {
                if shift < 64 && byte & 0x40 != 0 {
                    value |= -1i64 << shift;
                }
                return Ok(value);
            }
            if shift > 70 {
                return Err(self.malformed(start, "a leb128 value of more than 10 bytes"));
            }
        }
    }

    #[inline(always)]
    pub(crate) fn skip(&mut self, count: usize) -> Result<()> {
        match self.pos.checked_add(count) {
            Some(end) if end <= self.data.len() => {
                self.pos = end;
                Ok(())
            }
            _ => Err(self.truncated()),
        }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'d [u8]> {
        let start = self.pos;
        self.skip(count)?;
        Ok(&self.data[start..self.pos])
    }

    /// A zero-terminated string, without its terminator.
    pub(crate) fn cstr(&mut self) -> Result<&'d [u8]> {
        let rest = self.data.get(self.pos..).unwrap_or(&[]);
        match memchr::memchr(0, rest) {
            Some(len) => {
                self.pos += len + 1;
                Ok(&rest[..len])
            }
            None => Err(self.malformed(self.pos, "a string without its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(data: &[u8]) -> Cursor<'_> {
        Cursor::new(data, 0, false, SectionName { name: ".debug_info", supplementary: false })
    }

    #[test]
    fn leb128_values_are_read() {
        for (bytes, value) in [(&[0x02][..], 2), (&[0x80, 0x01], 128), (&[0xe5, 0x8e, 0x26], 624_485)] {
            assert_eq!(cursor(bytes).uleb().unwrap(), value);
        }
        for (bytes, value) in [(&[0x7e][..], -2), (&[0x80, 0x7f], -128), (&[0xc0, 0xbb, 0x78], -123_456)] {
            assert_eq!(cursor(bytes).sleb().unwrap(), value);
        }
        assert_eq!(
            cursor(&[0xff; 12]).uleb().unwrap_err().to_string(),
            ".debug_info offset 0x0: a leb128 value of more than 10 bytes"
        );
    }

    #[test]
    fn the_end_is_an_error_with_its_offset() {
        let mut at = cursor(&[1, 2, 3]);
        at.u16().unwrap();
        assert_eq!(at.u32().unwrap_err().to_string(), ".debug_info offset 0x2: the data ends in the middle of a value");
    }
}
