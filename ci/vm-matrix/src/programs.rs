//! This machine's own programs, for the virtual one: with the libraries that they name.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::initramfs::File;

/// A program as `bin/NAME`, and its libraries where its loader looks for them. `None` where there is no such program.
///
/// # Errors
/// `ldd` failed.
pub fn with_libraries(name: &str) -> Result<Option<Vec<File>>> {
    let Some(program) = find(name) else { return Ok(None) };
    let file_name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = vec![(format!("bin/{file_name}"), program.clone(), true)];
    files.extend(libraries(&program)?);
    Ok(Some(files))
}

/// A program by its path, or its name in the search path and where Debian keeps administration tools.
fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).canonicalize().ok();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The libraries that a program of this machine's names, and the loader of these. None, if it is linked statically.
///
/// # Errors
/// `ldd` cannot be started, or does not find one.
pub fn libraries(program: &Path) -> Result<Vec<File>> {
    let output = Command::new("ldd").arg(program).output().context("start ldd")?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        // another architecture's are "not a dynamic executable" too
        return match said.contains("not a dynamic executable") || complained.contains("not a dynamic executable") {
            true => Ok(Vec::new()),
            false => bail!("ldd {}: {}", program.display(), complained.trim()),
        };
    }
    if let Some(line) = said.lines().find(|line| line.contains("not found")) {
        bail!("{}: {}", program.display(), line.trim());
    }
    Ok(paths(&said).into_iter().map(|path| (path[1..].to_owned(), path.into(), true)).collect())
}

/// The files that a line of `ldd` names: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn paths(ldd: &str) -> Vec<&str> {
    ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let said = "\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld.so.2 (0x00007f)\n\tstatically linked\n";
        assert_eq!(paths(said), ["/lib/libc.so.6", "/lib64/ld.so.2"]);
    }
}
