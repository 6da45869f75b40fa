//! tar: ustar, with GNU long names and pax records, as `dpkg-deb`, `tar` and BTFHub write it.
//!
//! Read here and not by a crate: the content that is not wanted must be jumped over in a stream that can jump
//! ([`Stream::skip`]) and does not implement `Seek`, and a header must be recognised in the middle of a stream.

use crate::entries::{Archive, Entry, printable};
use crate::fault::Fault;
use crate::spill::Bytes;
use crate::stream::Stream;

const BLOCK: u64 = 512;
/// A long name or a set of pax records is never longer in good faith.
const LONGEST_RECORD: u64 = 1 << 20;

/// Whether `head` (512 bytes, better more) begins with a tar header.
pub fn is_tar(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(|header| Header::read(header).is_some())
}

/// What is wanted of a header.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Path, control characters replaced.
    pub name: String,
    /// Size of the content in bytes.
    pub size: u64,
    /// `0` or NUL for a regular file.
    kind: u8,
}

impl Header {
    /// Reads a header; `None` where the checksum or a number is wrong.
    pub fn read(block: &[u8; BLOCK as usize]) -> Option<Self> {
        let sum: u64 =
            block.iter().enumerate().map(|(i, &b)| u64::from(if (148..156).contains(&i) { b' ' } else { b })).sum();
        if number(&block[148..156])? != sum {
            return None;
        }
        let mut name = text(&block[..100]).to_vec();
        if &block[257..263] == b"ustar\0" && block[345] != 0 {
            name = [text(&block[345..500]), b"/", &name].concat();
        }
        Some(Header { name: printable(&name), size: number(&block[124..136])?, kind: block[156] })
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, b'0' | 0 | b'7')
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&b| b == 0).unwrap_or(field.len())]
}

/// Octal digits between spaces and NULs, or GNU's big-endian number behind a byte 0x80.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, bytes @ ..] = field {
        return bytes.iter().try_fold(0u64, |n, &b| n.checked_mul(256).map(|n| n + u64::from(b)));
    }
    let digits = field.trim_ascii_start();
    let digits = &digits[..digits.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(digits.len())];
    digits.iter().try_fold(0u64, |n, &b| match b {
        b'0'..=b'7' => n.checked_mul(8).map(|n| n + u64::from(b - b'0')),
        _ => None,
    })
}

/// The regular files of a tar.
pub struct TarReader<'a> {
    stream: Box<dyn Stream + 'a>,
    /// Name of the current entry.
    name: String,
    /// Bytes of the current entry not yet read, and the padding after them.
    left: u64,
    padding: u64,
    /// The most bytes that the stream may have.
    most: u64,
}

impl<'a> TarReader<'a> {
    /// Reads the tar in `stream`.
    pub fn new(stream: Box<dyn Stream + 'a>) -> Self {
        TarReader::limited(stream, u64::MAX)
    }

    /// Reads the tar in `stream`, which has at most `most` bytes: more is an error before it is unpacked.
    pub fn limited(stream: Box<dyn Stream + 'a>, most: u64) -> Self {
        TarReader { stream, name: String::new(), left: 0, padding: 0, most }
    }

    fn damaged(&self, what: impl Into<String>) -> Fault {
        Fault::malformed(format!("{}: tar header", self.stream.section()), self.stream.position(), what)
    }

    /// The next header; `None` at the end, which is a block of zeros or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>, Fault> {
        let mut block = [0; BLOCK as usize];
        let mut filled = 0;
        while filled < block.len() {
            match self.stream.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.damaged("truncated")),
                n => filled += n,
            }
        }
        if block.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        match Header::read(&block) {
            Some(header) => Ok(Some(header)),
            None => Err(Fault::malformed(
                format!("{}: tar header", self.stream.section()),
                self.stream.position() - BLOCK,
                "wrong checksum",
            )),
        }
    }

    /// The content of a header that describes the next one.
    fn record(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > LONGEST_RECORD {
            return Err(self.damaged(format!("a record of {size} bytes")));
        }
        let content = self.stream.extract("tar record", size)?.to_vec();
        self.stream.skip(padding(size))?;
        Ok(content)
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK
}

impl Archive for TarReader<'_> {
    fn next(&mut self) -> Result<Option<Entry>, Fault> {
        let (mut long_name, mut long_size) = (None, None);
        loop {
            if self.stream.position().saturating_add(self.left) > self.most {
                return Err(self.damaged(format!("more than {} bytes unpacked", self.most)));
            }
            self.stream.skip(self.left)?;
            self.stream.skip(self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            match header.kind {
                b'L' => long_name = Some(printable(text(&self.record(header.size)?))),
                b'K' | b'g' => drop(self.record(header.size)?),
                b'x' => {
                    let records = self.record(header.size)?;
                    for (key, value) in pax_records(&records) {
                        match key {
                            b"path" => long_name = Some(printable(value)),
                            b"size" => long_size = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()),
                            _ => {}
                        }
                    }
                }
                kind => {
                    // Links and devices have no content, whatever their size says.
                    let content = header.is_file() || !(b'1'..=b'6').contains(&kind);
                    self.left = if content { long_size.take().unwrap_or(header.size) } else { 0 };
                    self.padding = padding(self.left);
                    self.name = long_name.take().unwrap_or_else(|| header.name.clone());
                    if header.is_file() {
                        return Ok(Some(Entry { name: self.name.clone(), size: self.left }));
                    }
                    long_size = None;
                }
            }
        }
    }

    fn take(&mut self) -> Result<Bytes, Fault> {
        let left = std::mem::take(&mut self.left);
        self.stream.extract(&self.name, left)
    }
}

/// `<length> <key>=<value>\n`, as long as they are well-formed.
fn pax_records(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut records = Vec::new();
    loop {
        let Some(space) = bytes.iter().position(|&b| b == b' ') else { return records };
        let len = std::str::from_utf8(&bytes[..space]).ok().and_then(|l| l.parse::<usize>().ok());
        let Some(record) = len.and_then(|len| bytes.get(space + 1..len)) else { return records };
        let Some(equals) = record.iter().position(|&b| b == b'=') else { return records };
        records.push((&record[..equals], record[equals + 1..].trim_suffix_newline()));
        bytes = &bytes[space + 1 + record.len()..];
    }
}

trait TrimNewline {
    fn trim_suffix_newline(&self) -> &Self;
}

impl TrimNewline for [u8] {
    fn trim_suffix_newline(&self) -> &[u8] {
        self.strip_suffix(b"\n").unwrap_or(self)
    }
}

/// Writes one regular file as a tar: mode 0644, no owner, no time, so that the same content gives the same bytes.
///
/// The name must be shorter than 100 bytes, or have a `/` that leaves 100 behind and 155 before; `None` otherwise.
pub fn write_file(name: &str, content: &[u8]) -> Option<Vec<u8>> {
    let (prefix, name) = match name.len() {
        0..=99 => ("", name),
        _ => name
            .char_indices()
            .filter(|(_, c)| *c == '/')
            .map(|(i, _)| (&name[..i], &name[i + 1..]))
            .find(|(prefix, name)| prefix.len() <= 155 && name.len() < 100)?,
    };
    let mut header = [0u8; BLOCK as usize];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend(content);
    // Two empty blocks end it.
    tar.resize(tar.len() + padding(content.len() as u64) as usize + 2 * BLOCK as usize, 0);
    Some(tar)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::region::Region;
    use crate::stream;

    fn entries(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let mut tar = TarReader::new(stream::open(Region::of_bytes(bytes), "data.tar", 1)?);
        let mut all = Vec::new();
        while let Some(entry) = tar.next()? {
            // Every other one is passed over.
            let content = if all.len() % 2 == 0 { tar.take()?.to_vec() } else { Vec::new() };
            all.push((entry.name, content));
        }
        Ok(all)
    }

    #[test]
    fn what_gnu_tar_writes_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let long = "a-very-long-folder-name/".repeat(6) + "file";
        std::fs::create_dir_all(folder.path().join(&long).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(&long), b"long").unwrap();
        std::fs::write(folder.path().join("a"), vec![7; 1000]).unwrap();
        std::fs::write(folder.path().join("b"), b"b").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        for format in ["gnu", "pax", "ustar", "posix", "v7"] {
            let names: &[&str] = if format == "v7" { &["a", "b", "link", "a"] } else { &["a", "b", "link", &long] };
            let output = Command::new("tar")
                .args(["-C", folder.path().to_str().unwrap(), "-cf", "-", "--hard-dereference"])
                .arg(format!("--format={format}"))
                .args(names)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let got = entries(&output.stdout).unwrap();
            let last = if format == "v7" { ("a".into(), vec![7; 1000]) } else { (long.clone(), b"long".to_vec()) };
            assert_eq!(got, [("a".into(), vec![7; 1000]), ("b".into(), vec![]), last], "{format}");
        }
    }

    #[test]
    fn what_is_written_is_read_by_gnu_tar() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "p".repeat(100), "n".repeat(99));
        for name in ["6.1.0-18-cloud-amd64.btf", &long] {
            let tar = write_file(name, b"content").unwrap();
            assert_eq!(entries(&tar).unwrap(), [(name.to_owned(), b"content".to_vec())]);
            let path = folder.path().join("x.tar");
            std::fs::write(&path, tar).unwrap();
            let output = Command::new("tar").arg("-xOf").arg(&path).arg(name).output().unwrap();
            assert_eq!((output.stdout, output.stderr), (b"content".to_vec(), vec![]));
        }
        assert_eq!(write_file(&"n".repeat(100), b""), None);
    }

    #[test]
    fn damage_says_where() {
        let tar = [write_file("a", &[1; 600]).unwrap()[..1536].to_vec(), write_file("b", &[2; 600]).unwrap()].concat();
        assert_eq!(entries(&tar).unwrap().len(), 2);
        let mut bad = tar.clone();
        bad[1536 + 3] = b'x';
        let error = |tar: &[u8]| entries(tar).unwrap_err().to_string();
        assert_eq!(error(&bad), "data.tar: tar header at offset 0x600: wrong checksum");
        assert_eq!(error(&tar[..1900]), "data.tar: tar header at offset 0x76c: truncated");
        assert_eq!(error(&tar[..700]), "a at offset 0xbc: truncated: 600 bytes wanted, 188 there");
        assert_eq!(error(&tar[..1200]), "data.tar at offset 0x4b0: truncated");
    }

    #[test]
    fn what_is_larger_than_the_limit_is_refused_before_it_is_unpacked() {
        let file = |size: u64| {
            let mut tar = write_file("a", &[]).unwrap();
            tar[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
            tar[148..156].fill(b' ');
            let sum: u64 = tar[..512].iter().map(|&b| u64::from(b)).sum();
            tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            tar
        };
        let error = |tar: &[u8], most: u64| {
            let mut tar = TarReader::limited(stream::open(Region::of_bytes(tar), "data.tar", 1).unwrap(), most);
            loop {
                match tar.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => return String::new(),
                    Err(error) => return error.to_string(),
                }
            }
        };
        assert_eq!(
            error(&file(0o77777777777), 1 << 20),
            "data.tar: tar header at offset 0x200: more than 1048576 bytes unpacked"
        );
        let two = [write_file("a", &[1; 600]).unwrap()[..1536].to_vec(), write_file("b", &[2; 600]).unwrap()].concat();
        assert_eq!(error(&two, 4096), "");
        assert_eq!(error(&two, 2560), "data.tar: tar header at offset 0x800: more than 2560 bytes unpacked");
    }

    #[test]
    fn sizes_beyond_octal_are_read() {
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(8 << 30));
        assert_eq!(number(b"\x80\x01\0\0\0\0\0\0\0\0\0\0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x07"), Some(7));
        assert_eq!(number(b"77777777777\0"), Some(0o77777777777));
        assert_eq!(number(b"  17 \0"), Some(15));
        assert_eq!(number(b"89\0"), None);
    }
}
