//! A layout as pahole prints it: holes, cache lines, and a summary.

use std::fmt::Write;

use super::{Field, Gap, Layout};

/// Width of the column for types, and of that for names.
const TYPE_COLUMN: usize = 26;
const NAME_COLUMN: usize = 21;

/// The listing, for cache lines of this many bytes (64 on x86 and most Arm cores).
pub fn listing(layout: &Layout, cache_line: u32) -> String {
    let mut out = format!("{} {} {{\n", layout.keyword(), layout.name).replace("  {", " {");
    let cache_line = cache_line.max(1);
    fields(layout, 1, &mut Lines { size: cache_line, last: 0 }, &mut out);
    summary(layout, cache_line, &mut out);
    out.push_str("};\n");
    out
}

/// The cache lines passed so far.
struct Lines {
    size: u32,
    last: u32,
}

impl Lines {
    /// Says that a member at this byte lies in a new cache line.
    fn note(&mut self, byte: u32, indent: &str, out: &mut String) {
        let line = byte / self.size;
        if line <= self.last {
            return;
        }
        self.last = line;
        let boundary = line * self.size;
        let _ = write!(out, "{indent}/* --- cacheline {line} boundary ({boundary} bytes)");
        if byte > boundary {
            let _ = write!(out, " was {} ago", plural(byte - boundary, "byte"));
        }
        out.push_str(" --- */\n");
    }
}

fn fields(layout: &Layout, level: usize, lines: &mut Lines, out: &mut String) {
    let indent = "\t".repeat(level);
    let first = lines.last;
    for field in &layout.fields {
        gap(field.hole, &indent, out);
        if layout.is_union {
            lines.last = first;
        } else {
            lines.note(field.offset.0 / 8, &indent, out);
        }
        write_field(field, level, &indent, lines, out);
        if !layout.is_union && field.inner_padding.0 > 0 {
            let bytes = plural(field.inner_padding.0, "byte");
            let _ = write!(out, "\n{indent}/* XXX last struct has {bytes} of padding */\n\n");
        }
    }
    if layout.is_union {
        lines.last = first;
    }
}

fn write_field(field: &Field, level: usize, indent: &str, lines: &mut Lines, out: &mut String) {
    let column = TYPE_COLUMN.saturating_sub((level - 1) * 8);
    let start = out.len();
    match &field.nested {
        Some(nested) if nested.name.is_empty() => {
            let _ = writeln!(out, "{indent}{}{} {{", field.qualifiers(), nested.keyword());
            fields(nested, level + 1, lines, out);
            let name = [" ", &field.declaration.declarator].concat();
            let text = format!("}}{};", name.trim_end());
            let _ = write!(out, "{indent}{text:<width$}", width = column + 1 + NAME_COLUMN);
        }
        _ => {
            let declarator = field.declaration.declarator.trim_start_matches('*');
            let stars = field.declaration.declarator.len() - declarator.len();
            let specifier = format!("{}{}", field.declaration.specifier, " *".repeat(stars));
            let width = if field.bitfield_size > 0 { format!(":{}", field.bitfield_size) } else { String::new() };
            let text = format!("{specifier:<column$} {}{width};", declarator.trim_start());
            let _ = write!(out, "{indent}{text:<width$}", width = column + 1 + NAME_COLUMN);
        }
    }
    debug_assert!(out.len() > start);
    let _ = match field.bitfield_size {
        0 => writeln!(out, " /* {:>5} {:>5} */", field.offset.0 / 8, field.size),
        _ => {
            writeln!(out, " /* {:>5}:{:>2} {:>2} */", field.storage.0, field.offset.0 - field.storage.0 * 8, field.size)
        }
    };
}

fn gap(gap: Gap, indent: &str, out: &mut String) {
    if gap.bits > 0 {
        let _ = write!(out, "\n{indent}/* XXX {} hole, try to pack */\n", plural(gap.bits, "bit"));
    }
    if gap.bytes > 0 {
        let _ = write!(out, "\n{indent}/* XXX {} hole, try to pack */\n", plural(gap.bytes, "byte"));
    }
    if !gap.is_empty() {
        out.push('\n');
    }
}

fn summary(layout: &Layout, cache_line: u32, out: &mut String) {
    let size = layout.size.0;
    let _ = write!(
        out,
        "\n\t/* size: {size}, cachelines: {}, members: {} */\n",
        size.div_ceil(cache_line),
        layout.fields.len()
    );
    if !layout.is_union {
        sums(layout, out);
    }
    if layout.padding.bytes > 0 {
        let _ = writeln!(out, "\t/* padding: {} */", layout.padding.bytes);
    }
    let paddings: Vec<u32> =
        layout.fields.iter().map(|field| field.inner_padding.0).filter(|bytes| *bytes > 0).collect();
    if !layout.is_union && !paddings.is_empty() {
        let sum: u64 = paddings.iter().map(|bytes| u64::from(*bytes)).sum();
        let _ = writeln!(out, "\t/* paddings: {}, sum paddings: {sum} */", paddings.len());
    }
    if layout.padding.bits > 0 {
        let _ = writeln!(out, "\t/* bit_padding: {} bits */", layout.padding.bits);
    }
    let last = size % cache_line;
    if last > 0 {
        let _ = writeln!(out, "\t/* last cacheline: {last} bytes */");
    }
}

fn sums(layout: &Layout, out: &mut String) {
    let total = |part: fn(&Field) -> u32| layout.fields.iter().map(|field| u64::from(part(field))).sum::<u64>();
    let count = |part: fn(&Field) -> u32| layout.fields.iter().filter(|field| part(field) > 0).count();
    let (holes, bit_holes) = (count(|f| f.hole.bytes), count(|f| f.hole.bits));
    if holes + bit_holes == 0 {
        return;
    }
    let members = total(|f| if f.bitfield_size == 0 { f.size.0 } else { 0 });
    if members > 0 {
        let _ = write!(out, "\t/* sum members: {members}");
        if holes > 0 {
            let _ = write!(out, ", holes: {holes}, sum holes: {}", total(|f| f.hole.bytes));
        }
        out.push_str(" */\n");
    }
    let bits = total(|f| f.bitfield_size);
    if bits > 0 {
        let _ = write!(out, "\t/* sum bitfield members: {bits} bits");
        match bit_holes {
            0 => drop(write!(out, " ({} bytes)", bits / 8)),
            _ => drop(write!(out, ", bit holes: {bit_holes}, sum bit holes: {} bits", total(|f| f.hole.bits))),
        }
        out.push_str(" */\n");
    }
}

fn plural(count: u32, unit: &str) -> String {
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}
