//! A log file that does not grow without end: at its size it becomes `FILE.1`, what that was `FILE.2`, and so on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A log file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    size: u64,
    backups: u32,
}

impl Log {
    /// Opens a file and goes on behind what is in it. `size`: bytes that it does not exceed; `backups`: how many of the older ones
    /// are kept.
    ///
    /// # Errors
    /// It cannot be opened; the path is named.
    pub fn open(path: &Path, size: u64, backups: u32) -> io::Result<Log> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(named)?;
        let bytes = file.metadata().map_err(named)?.len();
        Ok(Log { path: path.to_owned(), file, bytes, size, backups })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Writes what belongs together; a record that is larger than the size has a file of its own.
    ///
    /// # Errors
    /// A file cannot be written or renamed.
    pub fn write(&mut self, record: &str) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + record.len() as u64 > self.size {
            self.rotate()?;
        }
        self.file.write_all(record.as_bytes())?;
        self.bytes += record.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.backups == 0 {
            self.file.set_len(0)?;
        } else {
            for number in (1..self.backups).rev() {
                match std::fs::rename(self.numbered(number), self.numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            std::fs::rename(&self.path, self.numbered(1))?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        }
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(backups: u32, expected: &[(&str, Option<&str>)]) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        for record in ["one\n", "two\n", "three\n", "four\n", "five\n"] {
            // opened anew each time: it goes on
            Log::open(&path, 9, backups).and_then(|mut log| log.write(record)).expect("written");
        }
        for (name, content) in expected {
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).ok().as_deref(), *content, "{name}");
        }
    }

    #[test]
    fn a_full_log_is_kept_as_often_as_asked_for() {
        check(2, &[("log", Some("five\n")), ("log.1", Some("four\n")), ("log.2", Some("three\n")), ("log.3", None)]);
        check(0, &[("log", Some("five\n")), ("log.1", None)]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = Log::open(Path::new("/nonexistent/log"), 1, 1).expect_err("no folder").to_string();
        assert!(error.starts_with("/nonexistent/log: "), "{error}");
    }
}
