//! `docs/btf-differences.md` says what is found here.

use std::path::Path;

/// The document must hold these lines, if it speaks of this kernel; they are printed in any case, to be put there.
pub(crate) fn check(release: &str, lines: &[String]) {
    for line in lines {
        eprintln!("{line}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/btf-differences.md");
    let text = words(&std::fs::read_to_string(path).unwrap());
    if !text.contains(&format!("| {release} |")) {
        eprintln!("{release}: not one of the kernels that docs/btf-differences.md was measured on");
        return;
    }
    let missing: Vec<&String> = lines.iter().filter(|line| !text.contains(&words(line))).collect();
    assert!(missing.is_empty(), "docs/btf-differences.md says otherwise: {missing:#?}");
}

/// The same whatever lines are broken at.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
