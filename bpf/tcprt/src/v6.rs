//! The vendor's log, format V6, both ways.
//!
//! ```text
//! V6 <R|W|N|E|P> <seconds> <microseconds> <peer>:<port> <local>:<port> …
//! R, P  sent total_us min_rtt_us retransmissions task service_us receive_us received  reordered mss
//! W     sent total_us min_rtt_us retransmissions task service_us receive_us unacknowledged reordered mss
//! N     task total_us received reordered mss
//! E     task sent unacknowledged received retransmissions min_rtt_us
//! ```
//!
//! Fields stand apart by blanks. An IPv6 address stands in brackets; the vendor has none.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::record::Record;
use crate::write::{self, Writer};
use crate::{Kind, log};

/// Shows a record as a line of the vendor's log, without its end of line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'r>(pub &'r Record);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write::text(|w| write_line(w, self.0)))
    }
}

/// Appends such a line, as UTF-8.
pub fn append(record: &Record, out: &mut Vec<u8>) {
    write_line(&mut Writer::new(out), record);
}

fn write_line(w: &mut Writer<'_>, record: &Record) {
    w.text("V6 ");
    w.letter(record.kind.letter());
    for number in [record.start_us / 1_000_000, record.start_us % 1_000_000] {
        w.letter(' ');
        w.number(number);
    }
    for address in [&record.peer, &record.local] {
        w.letter(' ');
        w.address(address);
    }
    let &Record { total_us, service_us, receive_us, sent_bytes, received_bytes, unacknowledged_bytes, .. } = record;
    let [min_rtt_us, retransmissions, task, mss] =
        [record.min_rtt_us, record.retransmissions, record.task, record.mss].map(u64::from);
    let reordered = u64::from(record.reordered);
    let mut numbers = |numbers: &[u64]| {
        for &number in numbers {
            w.letter(' ');
            w.number(number);
        }
    };
    match record.kind {
        Kind::ClosedWhileReceiving => numbers(&[task, total_us, received_bytes, reordered, mss]),
        Kind::End => numbers(&[task, sent_bytes, unacknowledged_bytes, received_bytes, retransmissions, min_rtt_us]),
        Kind::Request | Kind::ClosedWhileSending | Kind::Peer => {
            let eighth = if record.kind == Kind::ClosedWhileSending { unacknowledged_bytes } else { received_bytes };
            numbers(&[sent_bytes, total_us, min_rtt_us, retransmissions, task]);
            numbers(&[service_us, receive_us, eighth, reordered, mss]);
        }
    }
}

/// Reads a line, with or without its end of line.
///
/// # Errors
/// It is none of that form: the column, and what was expected there.
pub fn parse(line: &str) -> Result<Record, log::Malformed> {
    let mut fields = Fields { line, at: 0 };
    fields.exactly("V6")?;
    let kind: Letter = fields.next("one of R, W, N, E and P")?;
    let seconds: u64 = fields.next("seconds since 1970")?;
    let micros_column = fields.column();
    let micros: u64 = fields.next("microseconds")?;
    if micros >= 1_000_000 {
        return Err(log::Malformed::new(micros_column, format!("{micros} is no part of a second in microseconds")));
    }
    let start_us = seconds.checked_mul(1_000_000).and_then(|start| start.checked_add(micros));
    let start_us = start_us.ok_or_else(|| log::Malformed::new(1, "the time is out of range".to_owned()))?;
    let peer = fields.next::<SocketAddr>("the peer's address and port")?;
    let local = fields.next::<SocketAddr>("the local address and port")?;
    let mut record = Record { start_us, ..Record::empty(kind.0, local, peer) };
    match kind.0 {
        Kind::ClosedWhileReceiving => {
            record.task = fields.next("the task's number")?;
            record.total_us = fields.next("microseconds")?;
            record.received_bytes = fields.next("bytes received")?;
            record.reordered = fields.next::<Bit>("0 or 1: reordered")?.0;
            record.mss = fields.next("the largest segment")?;
        }
        Kind::End => {
            record.task = fields.next("the last task's number")?;
            record.sent_bytes = fields.next("bytes sent")?;
            record.unacknowledged_bytes = fields.next("bytes not acknowledged")?;
            record.received_bytes = fields.next("bytes received")?;
            record.retransmissions = fields.next("retransmissions")?;
            record.min_rtt_us = fields.next("the smallest round trip time")?;
        }
        Kind::Request | Kind::ClosedWhileSending | Kind::Peer => {
            record.sent_bytes = fields.next("bytes sent")?;
            record.total_us = fields.next("microseconds in all")?;
            record.min_rtt_us = fields.next("the smallest round trip time")?;
            record.retransmissions = fields.next("retransmissions")?;
            record.task = fields.next("the task's number")?;
            record.service_us = fields.next("microseconds of service")?;
            record.receive_us = fields.next("microseconds of receiving")?;
            if kind.0 == Kind::ClosedWhileSending {
                record.unacknowledged_bytes = fields.next("bytes not acknowledged")?;
            } else {
                record.received_bytes = fields.next("bytes received")?;
            }
            record.reordered = fields.next::<Bit>("0 or 1: reordered")?.0;
            record.mss = fields.next("the largest segment")?;
        }
    }
    fields.end()?;
    Ok(record)
}

struct Letter(Kind);

impl FromStr for Letter {
    type Err = ();

    fn from_str(text: &str) -> Result<Letter, ()> {
        match text.as_bytes() {
            [letter] => Kind::of(*letter).map(Letter).ok_or(()),
            _ => Err(()),
        }
    }
}

struct Bit(bool);

impl FromStr for Bit {
    type Err = ();

    fn from_str(text: &str) -> Result<Bit, ()> {
        match text {
            "0" => Ok(Bit(false)),
            "1" => Ok(Bit(true)),
            _ => Err(()),
        }
    }
}

/// The fields of a line, one after the other.
struct Fields<'l> {
    line: &'l str,
    /// Bytes that are behind.
    at: usize,
}

impl<'l> Fields<'l> {
    /// The rest of the line, from its next field on.
    fn rest(&mut self) -> &'l str {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    /// Where the next field begins, in bytes from 1 on.
    fn column(&mut self) -> usize {
        self.rest();
        self.at + 1
    }

    fn take(&mut self) -> &'l str {
        let rest = self.rest();
        let field = rest.split([' ', '\t', '\r', '\n']).next().unwrap_or_default();
        self.at += field.len();
        field
    }

    fn next<T: FromStr>(&mut self, expected: &str) -> Result<T, log::Malformed> {
        let column = self.column();
        let field = self.take();
        if field.is_empty() {
            return Err(log::Malformed::new(column, format!("the line ends where {expected} is expected")));
        }
        // what Rust reads besides digits
        let parsed = if field.starts_with('+') { None } else { field.parse().ok() };
        parsed.ok_or_else(|| log::Malformed::new(column, format!("{}: expected {expected}", log::shown(field))))
    }

    fn exactly(&mut self, expected: &str) -> Result<(), log::Malformed> {
        let column = self.column();
        let field = self.take();
        if field == expected {
            return Ok(());
        }
        Err(log::Malformed::new(column, format!("{}: a line of this log begins with {expected}", log::shown(field))))
    }

    fn end(&mut self) -> Result<(), log::Malformed> {
        let column = self.column();
        let field = self.take();
        if field.is_empty() {
            return Ok(());
        }
        Err(log::Malformed::new(column, format!("{}: more fields than such a line has", log::shown(field))))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::tests::sample;
    use proptest::prelude::*;

    const HEAD: &str = "1700000001 2 [2001:db8::2]:40000 10.0.0.1:80";

    #[track_caller]
    fn check(kind: Kind, expected: &str) {
        let record = Record { kind, unacknowledged_bytes: 7, ..sample() };
        let line = Line(&record).to_string();
        assert_eq!(line, expected);
        assert_eq!(parse(&line), Ok(record.as_logged()));
    }

    #[test]
    fn lines_are_the_vendors() {
        check(Kind::Request, &format!("V6 R {HEAD} 690 3303 2240 2 10 24 15 120 1 1448"));
        check(Kind::Peer, &format!("V6 P {HEAD} 690 3303 2240 2 10 24 15 120 1 1448"));
        check(Kind::ClosedWhileSending, &format!("V6 W {HEAD} 690 3303 2240 2 10 24 15 7 1 1448"));
        check(Kind::ClosedWhileReceiving, &format!("V6 N {HEAD} 10 3303 120 1 1448"));
        check(Kind::End, &format!("V6 E {HEAD} 10 690 7 120 2 2240"));
    }

    #[track_caller]
    fn check_error(line: &str, column: usize, what: &str) {
        let error = parse(line).unwrap_err();
        assert_eq!((error.column, error.what.as_str()), (column, what), "{line}");
    }

    #[test]
    fn errors_say_where() {
        check_error("", 1, "\"\": a line of this log begins with V6");
        check_error("V5 R 1 2", 1, "\"V5\": a line of this log begins with V6");
        check_error("V6 X 1 2", 4, "\"X\": expected one of R, W, N, E and P");
        check_error("V6 R 1", 7, "the line ends where microseconds is expected");
        check_error("V6 R 1 1000000", 8, "1000000 is no part of a second in microseconds");
        check_error("V6 R 1 2 10.0.0.1 10.0.0.2:80", 10, "\"10.0.0.1\": expected the peer's address and port");
        check_error(&format!("V6 N {HEAD} 10 -3 120 1 1448"), 54, "\"-3\": expected microseconds");
        check_error(&format!("V6 N {HEAD} 10 3 120 2 1448"), 60, "\"2\": expected 0 or 1: reordered");
        check_error(&format!("V6 N {HEAD} 10 3 120 1 1448 9"), 67, "\"9\": more fields than such a line has");
        check_error("V6 R 99999999999999999999 2", 6, "\"99999999999999999999\": expected seconds since 1970");
        check_error("V6 R 18446744073709551615 2", 1, "the time is out of range");
    }

    prop_compose! {
        pub(crate) fn records()(
            kind in prop::sample::select(vec![
                Kind::Request, Kind::ClosedWhileSending, Kind::ClosedWhileReceiving, Kind::End, Kind::Peer,
            ]),
            start_us in 0..u64::MAX / 2_000_000,
            ends in any::<([u8; 16], [u8; 4], u16, u16, bool)>(),
            times in any::<[u64; 3]>(),
            bytes in any::<[u64; 3]>(),
            small in any::<[u32; 4]>(),
            reordered in any::<bool>(),
        ) -> Record {
            let (six, four, a, b, swap) = ends;
            let (one, other) = (SocketAddr::from((six, a)), SocketAddr::from((four, b)));
            let (local, peer) = if swap { (one, other) } else { (other, one) };
            Record {
                kind, start_us, local, peer, reordered,
                total_us: times[0], receive_us: times[1], service_us: times[2],
                sent_bytes: bytes[0], received_bytes: bytes[1], unacknowledged_bytes: bytes[2],
                min_rtt_us: small[0], retransmissions: small[1], task: small[2], mss: small[3],
                ..sample()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(record in records()) {
            prop_assert_eq!(parse(&Line(&record).to_string()), Ok(record.as_logged()));
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_change_of_a_line_is_a_panic(record in records(), at in 0usize..200, with in "[ -~\u{e9}]{0,3}") {
            let mut line = Line(&record).to_string();
            let at = at.min(line.len());
            line.replace_range(at..(at + 1).min(line.len()), &with);
            if let Err(error) = parse(&line) {
                prop_assert!(error.column >= 1 && error.column <= line.len() + 1);
            }
        }
    }
}
