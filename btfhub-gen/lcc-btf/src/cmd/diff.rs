//! `lcc-btf diff`

use std::process::ExitCode;

use anyhow::{Context, Result};
use btf::diff::{Entry, diff};

use crate::args::Diff;
use crate::types::read;

/// Runs the command.
///
/// # Errors
/// An input cannot be read, or its types are damaged.
pub fn run(args: &Diff) -> Result<ExitCode> {
    let reading = super::dump::reading(&args.reading);
    let (old, new) = (read(&args.old, &reading)?, read(&args.new, &reading)?);
    let name = || format!("{} and {}", args.old.display(), args.new.display());
    let mut found = diff(&old, &new).with_context(name)?;
    if !args.names.is_empty() {
        found.entries.retain(|entry| args.names.iter().any(|name| is_named(entry, name)));
    }
    let text = if args.json { serde_json::to_string_pretty(&found)? + "\n" } else { found.to_string() };
    super::print(&text)?;
    Ok(ExitCode::from(u8::from(!found.is_empty())))
}

/// Whether an entry has this name: `NAME`, or with the word for its kind before.
fn is_named(entry: &Entry, text: &str) -> bool {
    let of_kind = text.strip_prefix(entry.kind.word()).and_then(|rest| rest.strip_prefix(' '));
    entry.name == text || of_kind.is_some_and(|name| name.trim() == entry.name)
}
