//! This machine's own programs, for the virtual one: with the libraries that they name.

use super::initramfs::File;
use crate::process;
use anyhow::{Context, Result};
use std::path::Path;

/// A program as `bin/NAME`, and its libraries where its loader looks for them. `None` where there is no such program.
///
/// # Errors
/// `ldd` failed.
pub(super) fn with_libraries(name: &str) -> Result<Option<Vec<File>>> {
    let Some(program) = process::find_program(name) else { return Ok(None) };
    let program = program.canonicalize().with_context(|| format!("find {}", program.display()))?;
    let libraries = process::stdout_of(process::command("ldd", Path::new("/")).arg(&program))?;
    let libraries = paths(&libraries).into_iter().map(|path| (path[1..].to_owned(), path.into(), true));
    Ok(Some(std::iter::once((format!("bin/{name}"), program, true)).chain(libraries).collect()))
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
