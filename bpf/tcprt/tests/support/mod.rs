//! The program under test, and golden texts.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcprt"));
    command.env_remove("RUST_BACKTRACE").env_remove("LCC_BTF").stdin(Stdio::null());
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
    command
}

/// Runs the program among the fixtures.
pub(crate) fn tcprt(args: &[&str]) -> Ran {
    program().args(args).output().expect("the program was built").into()
}

/// Holds a text against a file below `golden`; `UPDATE_GOLDEN=1` rewrites it.
#[track_caller]
pub(crate) fn golden(name: &str, text: &str) {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(text == expected, "{} is otherwise:\n{text}", file.display());
}

/// Says that a test is skipped. Where `CI=true` none may be, and it fails.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {why}");
    eprintln!("skipped: {why}");
}
