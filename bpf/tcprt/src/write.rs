//! Lines put together of words, numbers and addresses, as `core::fmt` would, at a tenth of its instructions: there is a line for
//! each record.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes that are put together before they are appended.
const ROOM: usize = 512;
/// The longest of a number, an address or a time; what is padded is not longer either.
const LONGEST: usize = 64;

/// Of each number from 0 to 999 three digits, and how many of them are zeros before it.
const DIGITS: [[u8; 4]; 1000] = {
    let mut digits = [[b'0', b'0', b'0', 0]; 1000];
    let mut number = 0;
    while number < 1000 {
        digits[number] = [
            b'0' + (number / 100) as u8,
            b'0' + (number / 10 % 10) as u8,
            b'0' + (number % 10) as u8,
            (number < 100) as u8 + (number < 10) as u8,
        ];
        number += 1;
    }
    digits
};

/// Appends UTF-8. All is there when it is dropped.
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    bytes: [u8; ROOM],
    /// Bytes that are filled: whole characters, for only those are put in.
    at: usize,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Writer<'o> {
        Writer { out, bytes: [0; ROOM], at: 0 }
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(&self.bytes[..self.at]);
        self.at = 0;
    }

    /// Bytes whose number is known: whole characters.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        match self.bytes.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            Some(room) => *room = bytes,
            None => return self.put_after_flush(bytes),
        }
        self.at += N;
    }

    #[cold]
    #[inline(never)]
    fn put_after_flush<const N: usize>(&mut self, bytes: [u8; N]) {
        self.flush();
        self.bytes[..N].copy_from_slice(&bytes);
        self.at = N;
    }

    /// Any text.
    #[inline(always)]
    pub(crate) fn text(&mut self, text: &str) {
        match self.bytes.get_mut(self.at..self.at + text.len()) {
            Some(room) => room.copy_from_slice(text.as_bytes()),
            None => return self.text_after_flush(text),
        }
        self.at += text.len();
    }

    #[cold]
    #[inline(never)]
    fn text_after_flush(&mut self, text: &str) {
        self.flush();
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A letter.
    #[inline(always)]
    pub(crate) fn letter(&mut self, letter: char) {
        if letter.is_ascii() {
            self.put([letter as u8]);
        } else {
            self.text(letter.encode_utf8(&mut [0; 4]));
        }
    }

    /// A number, as it is.
    #[inline]
    pub(crate) fn number(&mut self, value: u64) {
        if value < 1000 {
            self.short_number(value as usize);
        } else {
            self.long_number(value);
        }
    }

    /// One below 1000.
    #[inline(always)]
    fn short_number(&mut self, value: usize) {
        let digits = u32::from_le_bytes(DIGITS[value % 1000]);
        let zeros = digits >> 24;
        // all four bytes are written, what is before the number is not, and what is behind it is not kept
        self.put((digits >> (8 * zeros)).to_le_bytes());
        self.at -= 1 + zeros as usize;
    }

    fn long_number(&mut self, value: u64) {
        let (before, last) = (value / 1000, value % 1000);
        if before < 1000 {
            self.short_number(before as usize);
        } else {
            self.long_number(before);
        }
        self.put(DIGITS[last as usize]);
        self.at -= 1;
    }

    /// The last two digits of a number.
    #[inline]
    pub(crate) fn two_digits(&mut self, value: u64) {
        let [_, tens, ones, _] = DIGITS[(value % 100) as usize];
        self.put([tens, ones]);
    }

    /// An address and a port: an IPv6 address in brackets, as RFC 5952 has it.
    pub(crate) fn address(&mut self, address: &SocketAddr) {
        match address {
            SocketAddr::V4(address) => self.ipv4(*address.ip()),
            SocketAddr::V6(address) if address.scope_id() == 0 && address.ip().to_ipv4_mapped().is_none() => {
                self.letter('[');
                self.ipv6(*address.ip());
                self.letter(']');
            }
            rare @ SocketAddr::V6(_) => return self.text(&rare.to_string()),
        }
        self.letter(':');
        self.number(address.port().into());
    }

    fn ipv4(&mut self, address: Ipv4Addr) {
        let [a, b, c, d] = address.octets().map(usize::from);
        for octet in [a, b, c] {
            self.short_number(octet);
            self.put([b'.']);
        }
        self.short_number(d);
    }

    fn ipv6(&mut self, address: Ipv6Addr) {
        let segments = address.segments();
        // the longest run of zeros, of two at least, and of equal ones the first
        let (mut zeros, mut from) = (0..0, 0);
        for (at, segment) in segments.iter().enumerate() {
            if *segment != 0 {
                from = at + 1;
            } else if at + 1 - from > zeros.len().max(1) {
                zeros = from..at + 1;
            }
        }
        for (at, segment) in segments.into_iter().enumerate() {
            if zeros.contains(&at) {
                if at == zeros.start {
                    self.text("::");
                }
                continue;
            }
            if at > 0 && at != zeros.end {
                self.letter(':');
            }
            self.hexadecimal(segment);
        }
    }

    fn hexadecimal(&mut self, value: u16) {
        let digits = (4 - value.leading_zeros() / 4).max(1);
        for digit in (0..digits).rev() {
            self.put([b"0123456789abcdef"[usize::from(value >> (4 * digit) & 0xf)]]);
        }
    }

    /// What `write` appends, [`LONGEST`] bytes of ASCII at most, and blanks behind it up to `width`; gives its length.
    pub(crate) fn left(&mut self, width: usize, write: impl FnOnce(&mut Self)) -> usize {
        let length = self.alone(write);
        self.blanks(width.saturating_sub(length));
        length
    }

    /// The same, with the blanks before it.
    pub(crate) fn right(&mut self, width: usize, write: impl FnOnce(&mut Self)) {
        let length = self.alone(write);
        let (from, missing) = (self.at - length, width.saturating_sub(length));
        // of all the room that there is, as much is written as is known beforehand
        if let Some([text, behind]) = self.bytes[from..].as_chunks_mut::<16>().0.get_mut(..2)
            && length.max(missing) <= 16
        {
            let text = std::mem::replace(text, [b' '; 16]);
            *behind = [b' '; 16];
            if let Some(room) = self.bytes[from + missing..].first_chunk_mut() {
                *room = text;
                self.at += missing;
            }
            return;
        }
        let text = self.bytes[from..self.at].to_vec();
        self.at = from;
        self.blanks(missing);
        self.text(std::str::from_utf8(&text).unwrap_or_default());
    }

    /// Lets it append to what is not flushed meanwhile; gives how many bytes it did.
    fn alone(&mut self, write: impl FnOnce(&mut Self)) -> usize {
        if self.at + 2 * LONGEST > ROOM {
            self.flush();
        }
        let from = self.at;
        write(self);
        self.at.saturating_sub(from)
    }

    /// So many blanks.
    #[inline]
    pub(crate) fn blanks(&mut self, number: usize) {
        for _ in 0..number / 16 {
            self.put([b' '; 16]);
        }
        // all sixteen are written, and some are kept
        self.put([b' '; 16]);
        self.at -= 16 - number % 16;
    }

    /// What would move a terminal's cursor is shown as U+FFFD. Gives the number of characters.
    pub(crate) fn shown(&mut self, text: &str) -> usize {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.text(text);
            return text.len();
        }
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        text.chars().map(|c| self.letter(shown(c))).count()
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// What `write` appends, as a text of its own.
pub(crate) fn text(write: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out));
    // characters only were put in
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Writer<'_>), expected: &str) {
        assert_eq!(text(write), expected);
    }

    #[test]
    fn numbers_and_columns() {
        for value in [0, 9, 10, 99, 100, 101, 12_345, u64::MAX] {
            check(|w| w.number(value), &value.to_string());
        }
        check(|w| w.two_digits(7), "07");
        check(|w| w.right(6, |w| w.number(1234)), "  1234");
        check(|w| w.right(3, |w| w.number(1234)), "1234");
        check(|w| assert_eq!(w.left(6, |w| w.number(1234)), 4), "1234  ");
        check(|w| assert_eq!(w.shown("a\x1b[ä"), 4), "a\u{fffd}[ä");
    }

    #[test]
    fn text_of_any_length_keeps_its_order() {
        let long = "ä".repeat(700);
        let write = |w: &mut Writer<'_>| {
            for number in 0..400 {
                w.number(number);
                w.right(9, |w| w.number(number));
                w.text(if number % 50 == 0 { &long } else { "," });
            }
            w.blanks(1000);
        };
        let mut expected = String::new();
        for number in 0..400 {
            expected += &format!("{number}{number:>9}{}", if number % 50 == 0 { &long } else { "," });
        }
        check(write, &(expected + &" ".repeat(1000)));
    }

    #[test]
    fn addresses_that_are_rare() {
        for text in ["[::]:0", "[::1]:80", "[1::]:80", "[::ffff:10.0.0.1]:1", "[::10.0.0.1]:1", "[1:0:2::3:0:0]:65535"]
        {
            let address: SocketAddr = text.parse().unwrap();
            check(|w| w.address(&address), &address.to_string());
        }
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 5, u32::MAX);
        check(|w| w.address(&scoped.into()), &scoped.to_string());
    }

    proptest! {
        #[test]
        fn numbers_are_as_fmt_has_them(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            prop_assert_eq!(text(|w| w.number(value)), value.to_string());
        }

        #[test]
        fn addresses_are_as_fmt_has_them(
            segments in any::<[u16; 8]>(), zeros in any::<u8>(), short in any::<u8>(), port in any::<u16>(),
        ) {
            let mut at = 0;
            let segments = segments.map(|segment| {
                let bit = 1 << at;
                at += 1;
                if zeros & bit != 0 { 0 } else if short & bit != 0 { segment >> 9 } else { segment }
            });
            let six = SocketAddr::from((segments, port));
            prop_assert_eq!(text(|w| w.address(&six)), six.to_string());
            let four = SocketAddr::from((Ipv4Addr::from(u32::from(segments[0]) << 16 | u32::from(segments[1])), port));
            prop_assert_eq!(text(|w| w.address(&four)), four.to_string());
        }
    }
}
