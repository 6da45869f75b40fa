//! cpio, the payload of an rpm: the "new ASCII" format of `cpio(5)`, and rpm's own for files above 4 GiB, whose header
//! has only the file's number in the rpm's list.

use crate::entries::{Archive, Entry, printable};
use crate::fault::Fault;
use crate::spill::Bytes;
use crate::stream::Stream;

/// A path is never longer in good faith.
const LONGEST_NAME: u64 = 1 << 16;
const TRAILER: &str = "TRAILER!!!";

/// The regular files of a cpio archive.
pub struct CpioReader<'a> {
    stream: Box<dyn Stream + 'a>,
    /// The package's own list of files, for the format that has no names.
    files: Vec<Entry>,
    name: String,
    left: u64,
    padding: u64,
}

impl<'a> CpioReader<'a> {
    /// Reads the archive in `stream`; `files` are those of the rpm's header, in its order.
    pub fn new(stream: Box<dyn Stream + 'a>, files: Vec<Entry>) -> Self {
        CpioReader { stream, files, name: String::new(), left: 0, padding: 0 }
    }

    fn damaged(&self, at: u64, what: impl Into<String>) -> Fault {
        Fault::malformed(format!("{}: cpio header", self.stream.section()), at, what)
    }

    fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            match self.stream.read(&mut bytes[filled..])? {
                0 => return Err(self.damaged(self.stream.position(), "truncated")),
                n => filled += n,
            }
        }
        Ok(bytes)
    }

    /// Eight hexadecimal digits.
    fn hex(&self, digits: &[u8], at: u64) -> Result<u64, Fault> {
        let text = std::str::from_utf8(digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
        text.and_then(|t| u64::from_str_radix(t, 16).ok())
            .ok_or_else(|| self.damaged(at, "a field is no hexadecimal number"))
    }

    fn align(&mut self) -> Result<(), Fault> {
        self.stream.skip(self.stream.position().wrapping_neg() % 4)
    }
}

impl Archive for CpioReader<'_> {
    fn next(&mut self) -> Result<Option<Entry>, Fault> {
        loop {
            self.stream.skip(self.left)?;
            self.stream.skip(self.padding)?;
            (self.left, self.padding) = (0, 0);
            let at = self.stream.position();
            let magic = self.exactly::<6>()?;
            match &magic {
                b"070701" | b"070702" => {
                    let fields = self.exactly::<104>()?;
                    let field = |n: usize| self.hex(&fields[n * 8..n * 8 + 8], at + 6 + n as u64 * 8);
                    let (mode, size, name_len) = (field(1)?, field(6)?, field(11)?);
                    if name_len == 0 || name_len > LONGEST_NAME {
                        return Err(self.damaged(at, format!("a name of {name_len} bytes")));
                    }
                    let name = self.stream.extract("cpio name", name_len)?;
                    let name = printable(name.strip_suffix(b"\0").unwrap_or(&name));
                    self.align()?;
                    if name == TRAILER {
                        return Ok(None);
                    }
                    self.left = size;
                    self.padding = size.wrapping_neg() % 4;
                    self.name = name;
                    if mode & 0o170000 == 0o100000 {
                        return Ok(Some(Entry { name: self.name.clone(), size }));
                    }
                }
                b"07070X" => {
                    let digits = self.exactly::<8>()?;
                    let number = self.hex(&digits, at + 6)?;
                    self.align()?;
                    let entry = usize::try_from(number).ok().and_then(|n| self.files.get(n));
                    let Some(entry) = entry.cloned() else {
                        return Err(
                            self.damaged(at, format!("file {number} is not in the rpm's list of {}", self.files.len()))
                        );
                    };
                    self.left = entry.size;
                    self.padding = entry.size.wrapping_neg() % 4;
                    self.name.clone_from(&entry.name);
                    return Ok(Some(entry));
                }
                _ => return Err(self.damaged(at, "wrong magic")),
            }
        }
    }

    fn take(&mut self) -> Result<Bytes, Fault> {
        let left = std::mem::take(&mut self.left);
        self.stream.extract(&self.name, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Region;
    use crate::stream;

    fn newc(mode: u32, name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = b"070701".to_vec();
        for field in [1, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0] {
            bytes.extend(format!("{field:08X}").bytes());
        }
        bytes.extend(name.bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn entries(bytes: &[u8], files: Vec<Entry>) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let mut cpio = CpioReader::new(stream::open(Region::of_bytes(bytes), "payload", 1)?, files);
        let mut all = Vec::new();
        while let Some(entry) = cpio.next()? {
            let content = if all.len() % 2 == 0 { cpio.take()?.to_vec() } else { Vec::new() };
            all.push((entry.name, content));
        }
        Ok(all)
    }

    #[test]
    fn regular_files_are_given() {
        let archive = [
            newc(0o040755, "./dir", b""),
            newc(0o100644, "./dir/a", b"12345"),
            newc(0o120777, "./dir/link", b"/etc/passwd"),
            newc(0o100644, "./b", b"123"),
            newc(0o100644, "./c", b"1"),
            newc(0, TRAILER, b""),
        ]
        .concat();
        let got = entries(&archive, vec![]).unwrap();
        assert_eq!(got, [("./dir/a".into(), b"12345".to_vec()), ("./b".into(), vec![]), ("./c".into(), b"1".to_vec())]);
    }

    #[test]
    fn the_format_for_large_files_takes_names_from_the_list() {
        let mut archive = b"07070X00000001\0\0abcde\0\0\0".to_vec();
        archive.extend(newc(0, TRAILER, b""));
        let files = vec![Entry { name: "a".into(), size: 1 }, Entry { name: "vmlinux".into(), size: 5 }];
        assert_eq!(entries(&archive, files).unwrap(), [("vmlinux".into(), b"abcde".to_vec())]);
        assert_eq!(
            entries(&archive, vec![]).unwrap_err().to_string(),
            "payload: cpio header at offset 0x0: file 1 is not in the rpm's list of 0"
        );
    }

    #[test]
    fn damage_says_where() {
        let archive = [newc(0o100644, "a", b"1234"), newc(0, TRAILER, b"")].concat();
        let error = |bytes: &[u8]| entries(bytes, vec![]).unwrap_err().to_string();
        assert_eq!(error(&archive[..50]), "payload: cpio header at offset 0x32: truncated");
        assert_eq!(error(&archive[..115]), "a at offset 0x3: truncated: 4 bytes wanted, 3 there");
        let mut bad = archive.clone();
        bad[116] = b'9';
        assert_eq!(error(&bad), "payload: cpio header at offset 0x74: wrong magic");
        bad = archive.clone();
        bad[60] = b'x';
        assert_eq!(error(&bad), "payload: cpio header at offset 0x36: a field is no hexadecimal number");
    }
}
