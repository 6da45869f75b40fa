//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;
use unfinished::Unfinished;

mod unfinished;

/// How the names of half-written files begin.
const PREFIX: &str = ".lcc-btf-";

/// Writes a file: first without a name, then flushed to the disk, then put in the place of the old one. Whoever reads it
/// meanwhile, and whatever happens, sees the old content or the new one. A device or a pipe is just written to.
///
/// # Errors
/// The folder cannot be written, or the disk is full: the file is then as it was.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let error = |e: io::Error| Error::io("writing", path)(e);
    // What a link leads to, so that /dev/stdout is never replaced by a file.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let mut file = fs::OpenOptions::new().write(true).open(&target).map_err(error)?;
        return write_all(&mut file, write).map_err(error);
    }
    let mut unfinished = Unfinished::begin(&target).map_err(error)?;
    write_all(unfinished.file(), write).and_then(|()| unfinished.file().sync_all()).map_err(error)?;
    unfinished.finish(&target).map_err(error)?;
    sync_folder(folder_of(&target));
    Ok(())
}

/// As [`replace`], but by way of a file in `folder`, on the same file system, which somebody empties after a kill.
///
/// # Errors
/// As [`replace`].
pub fn replace_by_way_of(
    path: &Path,
    folder: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let error = |e: io::Error| Error::io("writing", path)(e);
    let mut file = temporary(folder).map_err(error)?;
    write_all(file.as_file_mut(), write).and_then(|()| file.as_file().sync_all()).map_err(error)?;
    file.persist(path).map_err(|e| error(e.error))?;
    sync_folder(folder_of(path));
    Ok(())
}

fn write_all(file: &mut File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffered = io::BufWriter::with_capacity(256 << 10, file);
    write(&mut buffered)?;
    buffered.flush()
}

/// Writes a file of the work folder: renamed as a whole, but not flushed. What a power failure leaves of it is found out
/// when it is read, by its hash.
///
/// # Errors
/// The folder cannot be written, or the disk is full.
pub fn put(path: &Path, folder: &Path, content: &[u8]) -> Result<(), Error> {
    let doing = "writing";
    let mut file = temporary(folder).map_err(Error::io(doing, path))?;
    // Not through the wrapper, whose errors name the temporary file.
    file.as_file_mut().write_all(content).map_err(Error::io(doing, path))?;
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

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Flushes a folder, so that a rename in it outlives a power failure. Some file systems cannot, which is as well.
fn sync_folder(folder: &Path) {
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

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), b"old").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        replace(&at("link"), |w| w.write_all(b"new")).unwrap();
        assert!(at("link").is_symlink());
        assert_eq!(fs::read(at("file")).unwrap(), b"new");
    }

    #[test]
    fn a_device_stays_a_device() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        replace(&link, |w| w.write_all(b"new")).unwrap();
        assert!(fs::metadata(&link).unwrap().file_type().is_char_device());
    }
}
