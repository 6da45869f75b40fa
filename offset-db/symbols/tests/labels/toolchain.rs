//! Compilers and other tools, and what a missing one means.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Says why a test does nothing; with `CI=true` that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("skipped: {why}");
}

/// The folder of the fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/labels/fixtures")
}

/// Runs command lines in a folder: words between blanks, `{src}` is the folder of the fixtures. Returns what the last one prints,
/// `None` where a program is missing.
pub(crate) fn run(folder: &Path, lines: &[&str]) -> Option<String> {
    let mut printed = String::new();
    for line in lines {
        let line = line.replace("{src}", fixtures().to_str().unwrap());
        let mut words = line.split_whitespace();
        let output = match Command::new(words.next().unwrap()).args(words).current_dir(folder).output() {
            Ok(output) => output,
            Err(error) => {
                skip(&format!("{line}: {error}"));
                return None;
            }
        };
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        printed = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    Some(printed)
}

/// An empty folder.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
