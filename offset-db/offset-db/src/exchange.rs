//! The database as text: JSON lines, sorted, so that a change can be read in a diff; and the way back.

use crate::fact::{Fact, Layout, Origin, Signature};
use crate::fingerprint::hexadecimal;
use crate::store::{self, Store};
use crate::{Error, Fingerprint, Result, schema};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};

/// The most bytes of a line: who sends more does not send an export.
const LONGEST: u64 = 16 << 20;

/// A line of an export. The first of each file names it; what follows is of that file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    File {
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        build_id: Option<String>,
        text: String,
        machine: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        go_build_id: Option<String>,
    },
    Copy {
        hash: String,
        size: u64,
    },
    Origin(Origin),
    Function(Fact),
    Layout(Layout),
    Signature(Signature),
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Files that were named.
    pub files: usize,
    /// Facts of functions that were read.
    pub functions: usize,
    /// Structs that were read.
    pub layouts: usize,
    /// Functions' code that was read.
    pub signatures: usize,
}

/// Writes all of a database: files in order of key, each with its copies, origins and functions; then structs, and functions' code. The same database
/// gives the same bytes.
///
/// # Errors
/// The database cannot be read, the text not be written.
pub fn export(store: &Store, to: &mut impl Write) -> Result<()> {
    let mut line = |line: &Line| {
        let written = serde_json::to_writer(&mut *to, line).map_err(io::Error::from).and_then(|()| to.write_all(b"\n"));
        written.map_err(|source| Error::Io { path: "the export".into(), source })
    };
    for file in store.files()? {
        line(&Line::File {
            key: file.key.clone(),
            build_id: file.build_id.as_deref().map(hexadecimal),
            text: format!("{:016x}", file.text),
            machine: file.machine.clone(),
            go_build_id: file.go_build_id.clone(),
        })?;
        for (hash, size) in store.copies(&file)? {
            line(&Line::Copy { hash: format!("{hash:032x}"), size })?;
        }
        store.origins(&file)?.into_iter().try_for_each(|origin| line(&Line::Origin(origin)))?;
        store.facts(&file)?.into_iter().try_for_each(|fact| line(&Line::Function(fact)))?;
    }
    store.layouts()?.into_iter().try_for_each(|layout| line(&Line::Layout(layout)))?;
    store.signatures()?.into_iter().try_for_each(|signature| line(&Line::Signature(signature)))
}

/// Adds an export to a database: all of it, or nothing where a line is wrong. What differs stays side by side; where both know a place
/// by the same method, the surer counts. In whatever order databases are merged, the same comes out.
///
/// # Errors
/// A line says nothing that can be merged; the database cannot be written.
pub fn merge(store: &mut Store, from: &mut impl BufRead) -> Result<Merged> {
    let mut lines = Vec::new();
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let length = io::Read::take(&mut *from, LONGEST).read_until(b'\n', &mut text);
        let length = length.map_err(|source| Error::Io { path: "the export".into(), source })?;
        if length == 0 {
            break;
        }
        let wrong = |why: String| Error::Line { line: number, why };
        if length as u64 == LONGEST {
            return Err(wrong(format!("it is longer than {LONGEST} bytes")));
        }
        let line: Line = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        lines.push((number, read(line).map_err(wrong)?));
    }
    let mut is_in_file = false;
    for (number, line) in &lines {
        is_in_file |= matches!(line, Read::File(..));
        if !is_in_file && !matches!(line, Read::Layout(_) | Read::Signature(_)) {
            return Err(Error::Line { line: *number, why: "no file was named before it".to_owned() });
        }
    }
    store.write(|transaction| {
        let (mut merged, mut file) = (Merged::default(), 0);
        for (_, line) in &lines {
            match line {
                Read::File(key, fingerprint) => {
                    file = store::add_file(transaction, key, fingerprint)?;
                    merged.files += 1;
                }
                Read::Copy(hash, size) => {
                    let values = rusqlite::params![file, hash.to_be_bytes(), *size as i64];
                    transaction.execute(schema::ADD_COPY, values)?;
                }
                Read::Origin(origin) => store::add_origin(transaction, file, origin)?,
                Read::Function(fact) => {
                    store::add_fact(transaction, schema::MERGE_FUNCTION, file, fact)?;
                    merged.functions += 1;
                }
                Read::Layout(layout) => {
                    store::add_layout(transaction, schema::MERGE_LAYOUT, layout)?;
                    merged.layouts += 1;
                }
                Read::Signature(signature) => {
                    store::add_signature(transaction, signature)?;
                    merged.signatures += 1;
                }
            }
        }
        Ok(merged)
    })
}

/// A line whose numbers were read.
enum Read {
    File(String, Fingerprint),
    Copy(u128, u64),
    Origin(Origin),
    Function(Fact),
    Layout(Layout),
    Signature(Signature),
}

fn read(line: Line) -> std::result::Result<Read, String> {
    Ok(match line {
        Line::File { key, build_id, text, machine, go_build_id } => {
            let build_id = build_id.map(|digits| bytes(&digits)).transpose()?;
            let text = u64::from_str_radix(&text, 16).map_err(|error| format!("text: {error}"))?;
            let file = Fingerprint { build_id, text, file: 0, size: 0, machine, go_build_id };
            // without a build-id, the key is of the copy
            if file.build_id.is_some() && file.key() != key || file.build_id.is_none() && !key.starts_with("xxh3:") {
                return Err(format!("key: {key} is not that of the file, {}", file.key()));
            }
            Read::File(key, file)
        }
        Line::Copy { hash, size } => {
            Read::Copy(u128::from_str_radix(&hash, 16).map_err(|error| format!("hash: {error}"))?, size)
        }
        Line::Origin(origin) => Read::Origin(origin),
        Line::Function(fact) => Read::Function(fact),
        Line::Layout(layout) => Read::Layout(layout),
        Line::Signature(signature) => Read::Signature(signature),
    })
}

fn bytes(digits: &str) -> std::result::Result<Vec<u8>, String> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return Err("build_id: an even number of hexadecimal digits is wanted".to_owned());
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|error| format!("build_id: {error}"));
    (0..digits.len()).step_by(2).map(byte).collect()
}
