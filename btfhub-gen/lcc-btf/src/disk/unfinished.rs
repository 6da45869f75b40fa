//! A file that is being written beside the one that it will replace, and of which a killed run leaves nothing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::{PREFIX, folder_of};

/// Other runs that write the same file may come between, for a moment each; a second is more than that.
const ATTEMPTS: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// It has no name (`O_TMPFILE`, open(2)): a kill takes it away.
    Nameless(File),
    /// Where the file system knows no such files, NFS and FUSE for example: it has a name that depends on nothing but the
    /// target's, and the next run that writes there takes it over. It is locked while a run has it.
    Named { file: File, path: PathBuf },
}

impl Unfinished {
    /// A new file in the folder of `target`. The user's umask applies.
    ///
    /// # Errors
    /// The folder cannot be written; or files have names there and another run is writing the same one.
    pub(super) fn begin(target: &Path) -> io::Result<Unfinished> {
        let mut options = OpenOptions::new();
        let nameless = OFlags::TMPFILE.bits().cast_signed();
        match options.read(true).write(true).mode(0o666).custom_flags(nameless).open(folder_of(target)) {
            Ok(file) if Path::new("/proc/self/fd").exists() => Ok(Unfinished::Nameless(file)),
            Ok(_) => Unfinished::named(target),
            Err(e) => match Errno::from_io_error(&e) {
                // ISDIR: a kernel or file system that takes the folder for what is to be opened.
                Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Unfinished::named(target),
                _ => Err(e),
            },
        }
    }

    fn named(target: &Path) -> io::Result<Unfinished> {
        let path = name_beside(target);
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            if !try_lock(&file, &path)? {
                return Err(busy());
            }
            // The run that had the lock may have renamed it since it was opened here: then it is the target now.
            if is_at(&file, &path)? {
                file.set_len(0)?;
                return Ok(Unfinished::Named { file, path });
            }
        }
        Err(busy())
    }

    /// The file, to be written.
    pub(super) fn file(&mut self) -> &mut File {
        match self {
            Unfinished::Nameless(file) | Unfinished::Named { file, .. } => file,
        }
    }

    /// Puts it in the place of `target`, the one it was begun for.
    ///
    /// # Errors
    /// The file system's; `target` is then as it was.
    pub(super) fn finish(self, target: &Path) -> io::Result<()> {
        let file = match &self {
            Unfinished::Named { path, .. } => return fs::rename(path, target),
            Unfinished::Nameless(file) => file,
        };
        // No call puts a nameless file in another's place: it gets a name, for no longer than until the next line.
        let name = name_beside(target);
        try_lock(file, &name)?;
        for _ in 0..ATTEMPTS {
            match linkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), CWD, &name, AtFlags::SYMLINK_FOLLOW) {
                Ok(()) => {
                    return fs::rename(&name, target).inspect_err(|_| drop(fs::remove_file(&name)));
                }
                Err(Errno::EXIST) => remove_abandoned(&name)?,
                Err(e) => return Err(e.into()),
            }
        }
        Err(busy())
    }
}

/// Whether the lock was there to be had. A file system without locks has them all.
fn try_lock(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => {
            tracing::debug!("{}: {error}", path.display());
            Ok(true)
        }
    }
}

/// Whether `path` leads to this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    Ok(fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())))
}

/// Removes what a killed run left between giving a name and renaming; what a living one has there is gone soon.
fn remove_abandoned(name: &Path) -> io::Result<()> {
    match File::open(name) {
        Ok(file) if !try_lock(&file, name)? => std::thread::sleep(Duration::from_millis(1)),
        // Nobody else removes or renames it while the lock is held here.
        Ok(file) if is_at(&file, name)? => fs::remove_file(name)?,
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    Ok(())
}

fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "another run is writing it")
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Unfinished::Named { file, path } = self {
            // Once it is in its place, what has this name is another run's.
            if is_at(file, path).unwrap_or(false) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The name that a file has on its way: always the same for a target, and never too long.
fn name_beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().as_encoded_bytes();
    folder_of(target).join(format!("{PREFIX}{:016x}", xxh3_64(name)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What is in a folder, by name, with the way's name as `~`.
    fn names(folder: &Path, target: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().path();
        let mut names: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(name).collect();
        names.sort();
        let short = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        names.iter().map(|path| if *path == name_beside(target) { "~".to_owned() } else { short(path) }).collect()
    }

    type Begin = fn(&Path) -> io::Result<Unfinished>;

    const WAYS: [Begin; 2] = [Unfinished::begin, Unfinished::named];

    #[test]
    fn what_a_killed_run_left_goes_with_the_next() {
        for begin in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("t".repeat(255));
            fs::write(name_beside(&target), "half of something, and longer than what comes").unwrap();
            let mut file = begin(&target).unwrap();
            file.file().write_all(b"whole").unwrap();
            file.finish(&target).unwrap();
            assert_eq!(fs::read(&target).unwrap(), b"whole");
            assert_eq!(names(folder.path(), &target), ["t".repeat(255)]);
        }
    }

    #[test]
    fn one_that_is_given_up_leaves_nothing() {
        for begin in WAYS {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("x");
            begin(&target).unwrap().file().write_all(b"half").unwrap();
            assert!(names(folder.path(), &target).is_empty());
        }
    }

    #[test]
    fn a_nameless_one_is_not_seen_and_a_named_one_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        let nameless = Unfinished::begin(&target).unwrap();
        assert!(matches!(nameless, Unfinished::Nameless(_)), "the temporary folder's file system has O_TMPFILE");
        assert!(names(folder.path(), &target).is_empty());
        let named = Unfinished::named(&target).unwrap();
        assert_eq!(names(folder.path(), &target), ["~"]);
        assert_eq!(Unfinished::named(&target).unwrap_err().to_string(), "another run is writing it");
        assert_eq!(names(folder.path(), &target), ["~"], "and it is still the first one's");
        named.finish(&target).unwrap();
        assert_eq!(names(folder.path(), &target), ["x"]);
    }

    #[test]
    fn many_at_once_leave_one_of_their_contents() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        std::thread::scope(|scope| {
            for n in 0..8u8 {
                let target = &target;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let mut file = Unfinished::begin(target).unwrap();
                        file.file().write_all(&[n; 10]).unwrap();
                        file.finish(target).unwrap();
                    }
                });
            }
        });
        let content = fs::read(&target).unwrap();
        assert_eq!(content, [content[0]; 10]);
        assert_eq!(names(folder.path(), &target), ["x"]);
    }
}
