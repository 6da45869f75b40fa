//! Lines put together of words, numbers and addresses, as `core::fmt` would, at a tenth of its instructions: there is a line for
//! each record.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes that are put together before they are appended.
const ROOM: usize = 512;
/// The longest of a number, an address or a time; what is padded is not longer either.
const LONGEST: usize = 64;

/// Two digits each, from 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
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

    /// So many bytes, of at most [`ROOM`], to be filled.
    #[inline]
    fn room(&mut self, length: usize) -> &mut [u8] {
        if self.at + length > ROOM {
            self.flush();
        }
        let from = self.at;
        self.at += length;
        &mut self.bytes[from..from + length]
    }

    /// Any text.
    #[inline]
    pub(crate) fn text(&mut self, text: &str) {
        if text.len() <= ROOM / 2 {
            self.room(text.len()).copy_from_slice(text.as_bytes());
        } else {
            self.flush();
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    /// A letter.
    #[inline]
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
        if value < 10_000 {
            self.short_number(value);
        } else {
            self.long_number(value);
        }
    }

    /// One below 10,000.
    fn short_number(&mut self, value: u64) {
        let value = value as u32;
        let (before, [tens, ones]) = (value / 100, PAIRS[(value % 100) as usize]);
        let [thousands, hundreds] = PAIRS[(before % 100) as usize];
        match value {
            0..10 => self.put([ones]),
            10..100 => self.put([tens, ones]),
            100..1000 => self.put([hundreds, tens, ones]),
            _ => self.put([thousands, hundreds, tens, ones]),
        }
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.room(N).copy_from_slice(&bytes);
    }

    fn long_number(&mut self, value: u64) {
        let (before, last) = (value / 10_000, value % 10_000);
        if before < 10_000 {
            self.short_number(before);
        } else {
            self.long_number(before);
        }
        self.two_digits(last / 100);
        self.two_digits(last);
    }

    /// The last two digits of a number.
    #[inline]
    pub(crate) fn two_digits(&mut self, value: u64) {
        self.put(PAIRS[(value % 100) as usize]);
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
        for (index, octet) in address.octets().into_iter().enumerate() {
            if index > 0 {
                self.letter('.');
            }
            self.number(octet.into());
        }
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
        if length < width {
            let from = self.at - length;
            let mut text = [0; LONGEST];
            text[..length].copy_from_slice(&self.bytes[from..self.at]);
            self.at = from;
            self.blanks(width - length);
            self.room(length).copy_from_slice(&text[..length]);
        }
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
        for _ in 0..number / 8 {
            self.put([b' '; 8]);
        }
        // all eight are written, and some are kept
        self.put([b' '; 8]);
        self.at -= 8 - number % 8;
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
