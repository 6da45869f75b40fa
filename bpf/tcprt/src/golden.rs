//! Expected texts of this crate's tests: files below `tests/golden`, which `UPDATE_GOLDEN=1` rewrites.

use std::path::Path;

#[track_caller]
pub(crate) fn check(file: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let expected = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(text == expected, "{} is otherwise:\n{text}", file.display());
}
