//! The differences as text.

use std::fmt::{Display, Formatter, Result};

use super::{Change, Detail, Diff, Entry, Part, What};

impl Display for Diff {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.entries.iter().try_for_each(|entry| entry.fmt(f))
    }
}

impl Display for Entry {
    /// A line for the name, and an indented one for each detail.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (what, details) = match &self.change {
            Change::Added => ("added", &[][..]),
            Change::Removed => ("removed", &[][..]),
            Change::Changed(details) => ("changed", &details[..]),
        };
        writeln!(f, "{} {}: {what}", self.kind.word(), self.name)?;
        details.iter().try_for_each(|detail| writeln!(f, "  {detail}"))
    }
}

impl Display for Detail {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Detail::Size { old, new } => write!(f, "size {old} -> {new}"),
            Detail::Type { old, new } => write!(f, "type {old} -> {new}"),
            Detail::Added(part) => write!(f, "+ {}{part}", part.place()),
            Detail::Removed(part) => write!(f, "- {}{part}", part.place()),
            Detail::Changed { old, new } => match (&old.what, old.name == new.name) {
                (What::Member { .. }, _) => write!(f, "~ {old} -> {}", new.what),
                _ => write!(f, "~ {}{old} -> {new}", old.place()),
            },
            Detail::Reordered => write!(f, "parts in another order"),
        }
    }
}

impl Part {
    /// `parameter 2 `, counted from 1; nothing for members and enumerators.
    fn place(&self) -> String {
        match &self.what {
            What::Parameter { position, .. } if self.name.is_empty() => format!("parameter {}", position + 1),
            What::Parameter { position, .. } => format!("parameter {} ", position + 1),
            _ => String::new(),
        }
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.what {
            What::Value { value } => write!(f, "{} = {value}", self.name),
            what => write!(f, "{}: {what}", self.name),
        }
    }
}

impl Display for What {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            What::Member { bit_offset, bitfield_size, ty } => {
                f.write_str(ty)?;
                if *bitfield_size > 0 {
                    write!(f, ":{bitfield_size}")?;
                }
                write!(f, " at {}", bit_offset / 8)?;
                if bit_offset % 8 > 0 { write!(f, ":{}", bit_offset % 8) } else { Ok(()) }
            }
            What::Value { value } => value.fmt(f),
            What::Parameter { ty, .. } => f.write_str(ty),
        }
    }
}
