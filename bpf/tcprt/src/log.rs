//! Logs of either form, line by line: the vendor's V6 and JSON, told apart by each line's first character.

use std::fmt;
use std::io::{self, BufRead};

use crate::record::Record;
use crate::{json, v6};

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{column}: {what}")]
pub struct Malformed {
    /// Bytes from the line's begin, from 1 on.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl Malformed {
    pub(crate) fn new(column: usize, what: String) -> Malformed {
        Malformed { column, what }
    }
}

/// A part of the input in an error: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let most = 40;
    let short: String = text.chars().take(most).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{dots}\"", short.escape_debug())
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The log's name.
    pub file: String,
    /// From 1 on.
    pub line: u64,
    /// What is wrong.
    pub malformed: Malformed,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.malformed)
    }
}

/// The longest line that is read; a longer one is malformed, so that a file that is no log costs no memory.
const LONGEST: usize = 64 << 10;

/// Reads a log, and hands on each record and each line that is none. Empty lines are passed over.
///
/// # Errors
/// The input cannot be read; or whoever is handed them returns an error.
pub fn read(
    file: &str,
    mut input: impl BufRead,
    mut each: impl FnMut(Result<Record, Bad>) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        number += 1;
        let whole = take_line(&mut input, &mut bytes)?;
        let Some(whole) = whole else { return Ok(()) };
        let result = match std::str::from_utf8(&bytes) {
            _ if !whole => Err(Malformed::new(LONGEST, "the line is too long".to_owned())),
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => line(text),
            Err(error) => Err(Malformed::new(error.valid_up_to() + 1, "not UTF-8".to_owned())),
        };
        each(result.map_err(|malformed| Bad { file: file.to_owned(), line: number, malformed }))?;
    }
}

/// Reads one line of either form.
///
/// # Errors
/// It is of none.
pub fn line(text: &str) -> Result<Record, Malformed> {
    if text.trim_start().starts_with('{') { json::parse(text.trim_end()) } else { v6::parse(text) }
}

/// The next line, up to [`LONGEST`]; whether that is all of it. `None` at the end.
fn take_line(input: &mut impl BufRead, into: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let (mut any, mut whole) = (false, true);
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = LONGEST.saturating_sub(into.len());
        whole &= part.len() <= room;
        into.extend(&part[..part.len().min(room)]);
        let taken = part.len() + usize::from(end.is_some());
        input.consume(taken);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    fn all(text: &[u8]) -> Vec<Result<Record, String>> {
        let mut found = Vec::new();
        // a buffer of few bytes, so that lines go over its ends
        let input = io::BufReader::with_capacity(7, text);
        read("a.log", input, |result| {
            found.push(result.map_err(|bad| bad.to_string()));
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn both_forms_are_read_and_bad_lines_are_told() {
        let record = sample();
        let text = format!("{}\r\n\n{}\nrubbish\n{}", v6::Line(&record), json::line(&record), v6::Line(&record));
        let expected = [
            Ok(record.clone()),
            Ok(record.clone()),
            Err("a.log:4:1: \"rubbish\": a line of this log begins with V6".to_owned()),
            Ok(record),
        ];
        assert_eq!(all(text.as_bytes()), expected);
    }

    #[test]
    fn what_is_no_log_is_told_and_costs_no_memory() {
        let mut text = b"V6 \xff\n".to_vec();
        text.extend(vec![b'x'; LONGEST + 1]);
        text.push(b'\n');
        let expected = ["a.log:1:4: not UTF-8".to_owned(), format!("a.log:2:{LONGEST}: the line is too long")];
        assert_eq!(all(&text), expected.map(Err));
        assert_eq!(all(b""), []);
    }
}
