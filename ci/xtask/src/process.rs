//! Running other programs: what is run is said on stderr, and a failure names the command.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian keeps administration tools (bpftool), which an ordinary user's PATH leaves out.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A command with the workspace as working folder and the system folders in PATH.
pub(crate) fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("PATH", search_path());
    command
}

/// PATH with the system folders appended where they are missing.
fn search_path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for folder in SYSTEM_FOLDERS.map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    std::env::join_paths(folders).unwrap_or(path)
}

/// The first executable of that name in the search path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Prints the command and runs it with this process's stdout and stderr.
///
/// # Errors
/// The program cannot be started, or its exit status is not 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", describe(command));
    let status = command.status().with_context(|| format!("start {}", describe(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// Runs the command quietly and returns its stdout.
///
/// # Errors
/// The program cannot be started, or its exit status is not 0; the message carries its stderr.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {}", describe(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}: {}", describe(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("read what {} printed", describe(command)))
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
