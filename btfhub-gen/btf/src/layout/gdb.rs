//! A layout as gdb's `ptype /o` prints it.

use std::fmt::Write;

use super::{Field, Layout};

/// Width of the comment before each line.
const COMMENT: usize = 27;

/// The listing: offset (`byte: bit` for a bit-field) and size before each member, structs within with their members.
pub fn listing(layout: &Layout) -> String {
    let mut out = format!("/* offset      |    size */  type = {} {{\n", title(layout));
    fields(layout, 4, &mut out);
    let _ = writeln!(out, "{:COMMENT$}  }}", "");
    out
}

fn title(layout: &Layout) -> String {
    [layout.keyword(), &layout.name].join(" ").trim_end().to_owned()
}

fn fields(layout: &Layout, indent: usize, out: &mut String) {
    if layout.fields.is_empty() {
        let _ = writeln!(out, "{:width$}<no data fields>", "", width = COMMENT + indent);
    }
    let mut end = 0;
    for field in &layout.fields {
        if !layout.is_union {
            gap(end, u64::from(field.offset.0), "hole", out);
        }
        let (byte, bit) = (field.offset.0 / 8, field.offset.0 % 8);
        let _ = match (layout.is_union, field.bitfield_size) {
            (true, _) => write!(out, "/*                {:>6} */", field.size),
            (false, 0) => write!(out, "/* {byte:>6}      |  {:>6} */", field.size),
            (false, _) => write!(out, "/* {byte:>6}:{bit:>2}   |  {:>6} */", field.size),
        };
        end = u64::from(field.offset.0)
            + if field.bitfield_size > 0 { u64::from(field.bitfield_size) } else { field.size.bits() };
        write_field(field, indent, out);
    }
    if !layout.is_union {
        let start = layout.fields.first().map_or(0, |first| first.offset.0);
        gap(end, u64::from(start) + layout.size.bits(), "padding", out);
    }
    let _ = writeln!(out, "\n{:width$}/* total size (bytes): {:>4} */", "", layout.size, width = COMMENT + indent);
}

fn write_field(field: &Field, indent: usize, out: &mut String) {
    let spaces = " ".repeat(indent);
    match &field.nested {
        Some(nested) => {
            let _ = writeln!(out, "{spaces}{}{} {{", field.qualifiers(), title(nested));
            fields(nested, indent + 4, out);
            let name = [" ", &field.declaration.declarator].concat();
            let _ = writeln!(out, "{:width$}}}{};", "", name.trim_end(), width = COMMENT + indent);
        }
        _ => {
            let space = if field.declaration.declarator.is_empty() { "" } else { " " };
            let _ = write!(out, "{spaces}{}{space}{}", field.declaration.specifier, field.declaration.declarator);
            if field.bitfield_size > 0 {
                let _ = write!(out, " : {}", field.bitfield_size);
            }
            out.push_str(";\n");
        }
    }
}

fn gap(end: u64, next: u64, what: &str, out: &mut String) {
    if end == 0 || end >= next {
        return;
    }
    let (bytes, bits) = ((next - end) / 8, (next - end) % 8);
    if bits > 0 {
        let _ = writeln!(out, "/* XXX {bits:>2}-bit {what:<7}    */");
    }
    if bytes > 0 {
        let _ = writeln!(out, "/* XXX {bytes:>2}-byte {what:<7}   */");
    }
}
