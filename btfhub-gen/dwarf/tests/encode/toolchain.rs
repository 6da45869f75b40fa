//! Compiling the fixtures: command lines run in a fresh folder, and what a missing tool means.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Says why a test does nothing; with `CI=true` that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("skipped: {why}");
}

/// Where a program lies on `$PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps bpftool where only root looks
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Are we root, as loading BTF needs?
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Runs command lines in a fresh folder and gives the folder. Words are separated by blanks; `{src}` stands for the
/// folder of the fixtures. `None` where a program is missing: the test that asked is skipped.
pub(crate) fn run_steps(steps: &[&str]) -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sources = sources();
    for step in steps {
        let line = step.replace("{src}", sources.to_str().unwrap());
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        let Some(path) = find(program) else {
            skip(&format!("{program} is missing"));
            return None;
        };
        run(Command::new(path).args(words).current_dir(folder.path()));
    }
    Some(folder)
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}
