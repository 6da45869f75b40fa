//! An initramfs: files in the "new ASCII" cpio format (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// A file: its name in the archive, its place here, whether it is a program.
pub type File = (String, PathBuf, bool);

/// Writes files. Of several of one name the first counts.
///
/// # Errors
/// A file cannot be read, or the archive not written.
pub fn write(archive: &Path, files: &[File]) -> Result<()> {
    let mut out = Vec::new();
    // sorted, so that a folder comes before those in it
    let folders: BTreeSet<&str> =
        files.iter().flat_map(|(name, ..)| name.match_indices('/').map(|(at, _)| &name[..at])).collect();
    for folder in folders {
        entry(&mut out, folder, FOLDER, &[]);
    }
    let mut written = BTreeSet::new();
    for (name, path, is_program) in files {
        if !written.insert(name) {
            continue;
        }
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
        let twice = ["usr/objects/a.o", "usr/objects/a.o"].map(|name| (name.to_owned(), file.clone(), true));
        write(&archive, &twice).unwrap();
        let bytes = std::fs::read(&archive).unwrap();
        assert_eq!(bytes.windows(7).filter(|window| window == b"content").count(), 1);
        let folder = |name: &[u8]| bytes.windows(name.len()).position(|window| window == name).unwrap();
        assert!(folder(b"usr\0") < folder(b"usr/objects\0"));
        assert!(bytes.starts_with(b"070701") && bytes.len() % 4 == 0);
        let at = bytes.windows(15).position(|window| window == b"usr/objects/a.o").unwrap();
        // the name begins 110 bytes behind its header, and the content at the next multiple of four
        let content = (at + 16).next_multiple_of(4);
        assert_eq!(&bytes[content..content + 7], b"content");
        assert_eq!(&bytes[at - 110..at - 104], b"070701");
    }
}
