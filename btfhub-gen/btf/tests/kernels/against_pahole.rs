//! Offsets, sizes, holes, cache lines and summaries, as pahole prints them for every struct of the running kernel.

use std::collections::BTreeMap;
use std::process::Command;

use btf::{Btf, Type, layout};

use crate::corpus;

/// What differs from pahole on purpose or by its own inconsistency: it guesses at alignment attributes, finds the padding of
/// embedded structs only where it has looked at them before, and explains bit-fields.
const IGNORED: [&str; 5] = ["forced align", "last struct has", "paddings:", "Bitfield combined", "Force alignment"];

#[test]
fn the_comments_are_paholes() {
    let Some(kernel) = corpus::running() else { return };
    let theirs = match Command::new("pahole").arg(&kernel.path).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(e) => return corpus::missing_tool("pahole", &e),
    };
    let theirs = structs(&theirs);
    let btf = Btf::parse(&kernel.btf).unwrap();
    let mut count = 0;
    for id in btf.ids() {
        let Type::Struct(composite) = btf.ty(id).unwrap() else { continue };
        let Some([expected]) = theirs.get(composite.name).map(Vec::as_slice) else { continue };
        let listing = layout::pahole::listing(&layout::of(&btf, id).unwrap(), 64);
        // pahole writes the body of an anonymous struct behind a pointer, and counts a qualified one as a struct of its own.
        if listing.contains("{...}") || listing.contains("const struct {") {
            continue;
        }
        let found = comments(listing.lines());
        assert_eq!(&found, expected, "struct {}\n{listing}", composite.name);
        count += 1;
    }
    assert!(count > 5000, "only {count} structs compared");
}

/// The comments of each struct by its name; several lists where several have one name.
fn structs(listing: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut found: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for block in listing.split("\n};\n").flat_map(|block| block.split("\n} __attribute__")) {
        let Some((name, body)) = block.split_once("struct ").and_then(|(_, rest)| rest.split_once(" {\n")) else {
            continue;
        };
        found.entry(name.to_owned()).or_default().push(comments(body.lines()));
    }
    found
}

fn comments<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<String> {
    let comment = |line: &'l str| line.rfind("/*").map(|at| line[at..].trim_end());
    let kept = |text: &&str| !IGNORED.iter().any(|ignored| text.contains(ignored));
    lines.filter_map(comment).filter(kept).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}
