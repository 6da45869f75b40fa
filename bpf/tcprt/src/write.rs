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

/// Appends to a text. All is there when it is dropped.
pub(crate) struct Writer<'o> {
    out: &'o mut String,
    bytes: [u8; ROOM],
    /// Bytes that are filled: whole characters, for only those are put in.
    at: usize,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut String) -> Writer<'o> {
        Writer { out, bytes: [0; ROOM], at: 0 }
    }

    fn flush(&mut self) {
        self.out.push_str(std::str::from_utf8(&self.bytes[..self.at]).unwrap_or_default());
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
            self.out.push_str(text);
        }
    }

    /// A letter.
    #[inline]
    pub(crate) fn letter(&mut self, letter: char) {
        if letter.is_ascii() {
            self.room(1)[0] = letter as u8;
        } else {
            self.text(letter.encode_utf8(&mut [0; 4]));
        }
    }

    /// A number, as it is.
    #[inline]
    pub(crate) fn number(&mut self, mut value: u64) {
        if value < 10 {
            self.room(1)[0] = b'0' + value as u8;
            return;
        }
        let length = value.ilog10() as usize + 1;
        let room = self.room(length);
        let (pairs, first) = (room.rchunks_exact_mut(2), length % 2 == 1);
        for pair in pairs {
            pair.copy_from_slice(&PAIRS[(value % 100) as usize]);
            value /= 100;
        }
        if first {
            room[0] = b'0' + value as u8;
        }
    }

    /// The last two digits of a number.
    #[inline]
    pub(crate) fn two_digits(&mut self, value: u64) {
        self.room(2).copy_from_slice(&PAIRS[(value % 100) as usize]);
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
            self.room(1)[0] = b"0123456789abcdef"[usize::from(value >> (4 * digit) & 0xf)];
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
        let missing = width.saturating_sub(self.alone(write));
        if missing > 0 {
            let (from, end) = (self.at + missing - width, self.at);
            self.blanks(missing);
            self.bytes.copy_within(from..end, from + missing);
            self.bytes[from..from + missing].fill(b' ');
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
    pub(crate) fn blanks(&mut self, mut number: usize) {
        while number > 0 {
            let some = number.min(LONGEST);
            self.room(some).fill(b' ');
            number -= some;
        }
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
    let mut out = String::new();
    write(&mut Writer::new(&mut out));
    out
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
