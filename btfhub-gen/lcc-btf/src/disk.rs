//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;

/// What a half-written file is called that a killed run left.
const PREFIX: &str = ".lcc-btf-";

/// Writes a file: first under another name, then flushed to the disk, then renamed. Whoever reads it meanwhile, and
/// whatever happens, sees the old content or the new one.
///
/// # Errors
/// The folder cannot be written, or the disk is full: the file is then as it was.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    replace_by_way_of(path, folder, write)
}

/// As [`replace`], the temporary file being in `folder`, on the same file system.
///
/// # Errors
/// As [`replace`].
pub fn replace_by_way_of(
    path: &Path,
    folder: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let doing = "writing";
    let file = temporary(folder).map_err(Error::io(doing, path))?;
    let mut buffered = io::BufWriter::with_capacity(256 << 10, file);
    write(&mut buffered).map_err(Error::io(doing, path))?;
    let file = buffered.into_inner().map_err(|e| Error::io(doing, path)(e.into_error()))?;
    file.as_file().sync_all().map_err(Error::io(doing, path))?;
    file.persist(path).map_err(|e| Error::io(doing, path)(e.error))?;
    if let Some(folder) = path.parent() {
        sync_folder(folder);
    }
    Ok(())
}

/// Writes a file of the work folder: renamed as a whole, but not flushed. What a power failure leaves of it is found out
/// when it is read, by its hash.
///
/// # Errors
/// The folder cannot be written, or the disk is full.
pub fn put(path: &Path, folder: &Path, content: &[u8]) -> Result<(), Error> {
    let doing = "writing";
    let mut file = temporary(folder).map_err(Error::io(doing, path))?;
    file.write_all(content).map_err(Error::io(doing, path))?;
    file.persist(path).map_err(|e| Error::io(doing, path)(e.error))?;
    Ok(())
}

fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    // As a file made by other means: the user's umask applies.
    tempfile::Builder::new().prefix(PREFIX).permissions(fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}

/// Makes a folder and those above it.
///
/// # Errors
/// The file system's.
pub fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("making the folder", path))
}

/// Flushes a folder, so that a rename in it outlives a power failure. Some file systems cannot, which is as well.
fn sync_folder(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::debug!("{}: flushing: {error}", folder.display());
    }
}

/// The path with `end` behind its last part.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, |w| w.write_all(b"old")).unwrap();
        let failed = replace(&path, |w| {
            w.write_all(b"half of the new")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(failed.unwrap_err().to_string().starts_with(&format!("{}: writing: ", path.display())));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
        replace(&path, |w| w.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
