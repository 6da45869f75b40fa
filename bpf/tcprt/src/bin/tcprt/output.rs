//! Where lines go: standard output, or a file that is begun anew when it is large.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Lines to standard output or to a file.
pub(crate) enum Output {
    Stdout(BufWriter<io::Stdout>),
    File(Rotated),
}

impl Output {
    /// To the file, or to standard output.
    ///
    /// # Errors
    /// The file cannot be opened; the error names it.
    pub(crate) fn new(path: Option<&Path>, rotate_size: u64, rotate_keep: u32) -> Result<Output> {
        Ok(match path {
            None => Output::Stdout(BufWriter::with_capacity(ROOM, io::stdout())),
            Some(path) => {
                let rotated = Rotated::open(path, rotate_size, rotate_keep);
                Output::File(rotated.with_context(|| path.display().to_string())?)
            }
        })
    }

    /// Writes a line, with its end.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Output::Stdout(out) => out.write_all(line),
            Output::File(file) => file.line(line),
        }
    }

    /// Writes lines, of which the last one may lack its end.
    pub(crate) fn lines(&mut self, text: &str) -> io::Result<()> {
        text.lines().try_for_each(|line| self.line(format!("{line}\n").as_bytes()))
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Stdout(out) => out.flush(),
            Output::File(file) => file.out.flush(),
        }
    }

    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Output::Stdout(_))
    }
}

/// Bytes that are written at once.
const ROOM: usize = 64 << 10;

/// A file that becomes FILE.1 when it is large, FILE.1 becomes FILE.2, and so on.
pub(crate) struct Rotated {
    path: PathBuf,
    out: BufWriter<File>,
    written: u64,
    /// 0 for no limit.
    most: u64,
    keep: u32,
}

impl Rotated {
    fn open(path: &Path, most: u64, keep: u32) -> io::Result<Rotated> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let written = file.metadata()?.len();
        Ok(Rotated { path: path.to_owned(), out: BufWriter::with_capacity(ROOM, file), written, most, keep })
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = line.len() as u64;
        if self.most > 0 && self.written > 0 && self.written + bytes > self.most {
            self.rotate()?;
        }
        self.out.write_all(line)?;
        self.written += bytes;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.out.flush()?;
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.keep).rev() {
            match std::fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.keep > 0 {
            std::fs::rename(&self.path, numbered(1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        *self = Rotated::open(&self.path, self.most, self.keep)?;
        Ok(())
    }
}

/// Whoever closed standard output has read enough: true where that is why it cannot be written.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Prints lines to standard output.
///
/// # Errors
/// It cannot be written; that it was closed is none.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if is_closed(&error) => Ok(()),
        written => written.context("standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_begun_anew_and_the_last_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, "older\n").unwrap();
        let mut output = Output::new(Some(&path), 12, 2).unwrap();
        for number in 0..8 {
            output.line(format!("line{number}\n").as_bytes()).unwrap();
        }
        output.flush().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(
            (read("a.log"), read("a.log.1"), read("a.log.2")),
            ("line7\n".into(), "line5\nline6\n".into(), "line3\nline4\n".into())
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn none_is_kept_where_none_is_wanted_and_no_limit_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut output = Output::new(Some(&path), 8, 0).unwrap();
        output.lines("line1\nline2\nlong line3\n").unwrap();
        output.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "long line3\n");
        let mut output = Output::new(Some(&path), 0, 0).unwrap();
        output.lines(&"more\n".repeat(10_000)).unwrap();
        output.flush().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 50_011);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
