//! An initramfs: files in the "new ASCII" cpio format (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// Writes files, given by their name in the archive, their place here, and whether they are programs.
///
/// # Errors
/// A file cannot be read, or the archive not written.
pub(super) fn write(archive: &Path, files: &[(String, PathBuf, bool)]) -> Result<()> {
    let mut out = Vec::new();
    let folders: BTreeSet<&str> = files.iter().filter_map(|(name, ..)| Some(name.rsplit_once('/')?.0)).collect();
    for folder in folders {
        entry(&mut out, folder, FOLDER, &[]);
    }
    for (name, path, is_program) in files {
        let content = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        entry(&mut out, name, if *is_program { PROGRAM } else { FILE }, &content);
    }
    entry(&mut out, "TRAILER!!!", 0, &[]);
    std::fs::write(archive, out).with_context(|| format!("write {}", archive.display()))
}

/// One entry: thirteen numbers in hexadecimal, the name, the content, each filled up to four bytes.
fn entry(out: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    out.extend(b"070701");
    let (inode, links, time) = (out.len() as u32, 1, 0);
    let numbers = [inode, mode, 0, 0, links, time, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    for number in numbers {
        out.extend(format!("{number:08x}").as_bytes());
    }
    out.extend(name.as_bytes());
    out.push(0);
    fill(out);
    out.extend(content);
    fill(out);
}

fn fill(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_lists_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, archive) = (folder.path().join("a"), folder.path().join("archive"));
        std::fs::write(&file, "content").unwrap();
        write(&archive, &[("objects/a.o".to_owned(), file, true)]).unwrap();
        let bytes = std::fs::read(&archive).unwrap();
        assert!(bytes.starts_with(b"070701") && bytes.len() % 4 == 0);
        let at = bytes.windows(11).position(|window| window == b"objects/a.o").unwrap();
        // the name begins 110 bytes behind its header, and the content at the next multiple of four
        let content = (at + 12).next_multiple_of(4);
        assert_eq!(&bytes[content..content + 7], b"content");
        assert_eq!(&bytes[at - 110..at - 104], b"070701");
    }
}
