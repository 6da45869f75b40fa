//! The `ar` archive that a `.deb` is: `ar(5)`, `deb(5)`.
//!
//! Read here and not by a crate: it is a 60-byte header before each member, and the members must be given as ranges of
//! the file, for reading without copying.

use crate::fault::Fault;
use crate::region::Region;

/// What the file begins with.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: u64 = 60;

/// A member of the archive.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Name, without the padding and the slash that GNU ar puts behind.
    pub name: String,
    /// Content.
    pub content: Region<'a>,
}

/// The members, in the archive's order. A member that is cut off is given as far as it goes: its reader finds the end.
///
/// # Errors
/// A header is not one; the region cannot be read.
pub fn members<'a>(region: Region<'a>) -> Result<Vec<Member<'a>>, Fault> {
    if &region.array::<8>("ar header", 0)? != MAGIC {
        return Err(Fault::malformed("ar header", 0, "no ar archive"));
    }
    let mut members = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < region.len() {
        let header = region.array::<{ HEADER as usize }>("ar header", at)?;
        if &header[58..] != b"`\n" {
            return Err(Fault::malformed("ar header", at, "member header does not end in \"`\\n\""));
        }
        let name = String::from_utf8_lossy(&header[..16]).trim_end_matches([' ', '/']).to_owned();
        let len = std::str::from_utf8(&header[48..58]).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
        let Some(len) = len else {
            return Err(Fault::malformed("ar header", at + 48, "size is no decimal number"));
        };
        let start = at + HEADER;
        let content = region.sub(start, len.min(region.len() - start));
        let content = content.ok_or_else(|| Fault::malformed("ar header", at, "size overflows"))?;
        members.push(Member { name, content });
        at = start + len + len % 2;
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len()).into_bytes();
        bytes.extend(content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn members_are_ranges() {
        let archive =
            [MAGIC.to_vec(), member("debian-binary", b"2.0\n"), member("odd/", b"abc"), member("x", b"")].concat();
        let members = members(Region::of_bytes(&archive)).unwrap();
        let seen: Vec<_> =
            members.iter().map(|m| (&*m.name, m.content.bytes("", 0, m.content.len()).unwrap())).collect();
        assert_eq!(seen, [("debian-binary", b"2.0\n".to_vec()), ("odd", b"abc".to_vec()), ("x", vec![])]);
    }

    #[track_caller]
    fn check_error(archive: &[u8], expected: &str) {
        assert_eq!(members(Region::of_bytes(archive)).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        check_error(b"!<arch", "ar header at offset 0x0: truncated: 8 bytes wanted, 6 left");
        check_error(b"!<arch>!xxxxxxx", "ar header at offset 0x0: no ar archive");
        let good = [MAGIC.to_vec(), member("a", b"abcd")].concat();
        check_error(&[&good[..], b"junk"].concat(), "ar header at offset 0x48: truncated: 60 bytes wanted, 4 left");
        let mut bad = good.clone();
        bad[8 + 50] = b'x';
        check_error(&bad, "ar header at offset 0x38: size is no decimal number");
        bad = good.clone();
        bad[8 + 59] = b'x';
        check_error(&bad, "ar header at offset 0x8: member header does not end in \"`\\n\"");
    }
}
