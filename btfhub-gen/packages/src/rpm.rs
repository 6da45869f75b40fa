//! The rpm package: a lead, a signature header, the header with the package's facts, and a compressed cpio payload.
//!
//! Read here and not by a crate: the `rpm` crate reads the payload into memory, and brings signature checking with it;
//! wanted are ten tags and a stream. (The tests make their packages with that crate.)
//!
//! The format: <https://rpm-software-management.github.io/rpm/manual/format_v4.html>. All numbers are big-endian.

use crate::cpio::CpioReader;
use crate::entries::Entry;
use crate::fault::Fault;
use crate::region::Region;
use crate::stream;

/// What the file begins with.
pub const MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const LEAD: u64 = 96;
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// rpm's own limits on a header.
const MOST_TAGS: u64 = 1 << 16;
const LARGEST_STORE: u64 = 256 << 20;

/// Tags of the header, from rpm's `rpmtag.h`.
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const DISTRIBUTION: u32 = 1010;
    pub(super) const VENDOR: u32 = 1011;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const FILE_SIZES: u32 = 1028;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
    pub(super) const LONG_FILE_SIZES: u32 = 5008;
}

/// What an rpm says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `kernel-debuginfo`
    pub name: String,
    /// `5.14.0`
    pub version: String,
    /// `362.8.1.el9_3`
    pub release: String,
    /// `x86_64`
    pub arch: String,
    /// `Red Hat, Inc.`, or empty.
    pub vendor: String,
    /// `SUSE Linux Enterprise 15`, or empty.
    pub distribution: String,
}

/// Reads the headers, and gives the payload.
///
/// # Errors
/// A header is damaged or cut off; the region cannot be read.
pub fn open<'a>(region: Region<'a>, threads: usize) -> Result<(Metadata, CpioReader<'a>), Fault> {
    if region.array::<4>("rpm lead", 0)? != MAGIC {
        return Err(Fault::malformed("rpm lead", 0, "no rpm package"));
    }
    let signature = Header::read(region, "rpm signature", LEAD)?;
    // The signature is padded to eight bytes, the header is not.
    let header = Header::read(region, "rpm header", signature.end.next_multiple_of(8))?;
    let metadata = Metadata {
        name: header.string(tag::NAME),
        version: header.string(tag::VERSION),
        release: header.string(tag::RELEASE),
        arch: header.string(tag::ARCH),
        vendor: header.string(tag::VENDOR),
        distribution: header.string(tag::DISTRIBUTION),
    };
    let files = header.files();
    let payload = region
        .sub(header.end, region.len().saturating_sub(header.end))
        .filter(|p| !p.is_empty())
        .ok_or_else(|| Fault::malformed("rpm payload", header.end, "truncated: there is none"))?;
    Ok((metadata, CpioReader::new(stream::open(payload, "rpm payload", threads)?, files)))
}

/// A header: an index of tags, and a store of their values.
struct Header {
    index: Vec<u8>,
    store: Vec<u8>,
    end: u64,
}

impl Header {
    fn read(region: Region<'_>, section: &str, at: u64) -> Result<Self, Fault> {
        let intro = region.array::<16>(section, at)?;
        if intro[..4] != HEADER_MAGIC {
            return Err(Fault::malformed(section, at, "wrong magic"));
        }
        let (tags, len) = (u64::from(be32(&intro, 8)), u64::from(be32(&intro, 12)));
        if tags > MOST_TAGS || len > LARGEST_STORE {
            return Err(Fault::malformed(
                section,
                at + 8,
                format!("{tags} tags and {len} bytes are more than rpm allows"),
            ));
        }
        let index = region.bytes(section, at + 16, tags * 16)?;
        let store = region.bytes(section, at + 16 + tags * 16, len)?;
        Ok(Header { index, store, end: at + 16 + tags * 16 + len })
    }

    /// Type, value from its beginning to the end of the store, and count of a tag.
    fn find(&self, tag: u32) -> Option<(u32, &[u8], usize)> {
        let entry = self.index.chunks_exact(16).find(|e| be32(e, 0) == tag)?;
        let value = self.store.get(be32(entry, 8) as usize..)?;
        Some((be32(entry, 4), value, be32(entry, 12) as usize))
    }

    /// Strings (type 6, 8 or 9), each ended by a NUL.
    fn strings(&self, tag: u32) -> Vec<&[u8]> {
        match self.find(tag) {
            Some((6 | 8 | 9, value, count)) => value.split(|&b| b == 0).take(count).collect(),
            _ => Vec::new(),
        }
    }

    fn string(&self, tag: u32) -> String {
        self.strings(tag).first().map(|s| crate::entries::printable(s)).unwrap_or_default()
    }

    /// Numbers of 32 (type 4) or 64 bits (type 5).
    fn numbers(&self, tag: u32) -> Vec<u64> {
        match self.find(tag) {
            Some((4, value, count)) => value.chunks_exact(4).take(count).map(|b| u64::from(be32(b, 0))).collect(),
            Some((5, value, count)) => {
                value.chunks_exact(8).take(count).map(|b| u64::from(be32(b, 0)) << 32 | u64::from(be32(b, 4))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The list of files, empty where it does not hold together.
    fn files(&self) -> Vec<Entry> {
        let names = self.strings(tag::BASE_NAMES);
        let folders = self.strings(tag::DIR_NAMES);
        let indexes = self.numbers(tag::DIR_INDEXES);
        let sizes = match self.numbers(tag::LONG_FILE_SIZES) {
            sizes if sizes.is_empty() => self.numbers(tag::FILE_SIZES),
            sizes => sizes,
        };
        if names.len() != indexes.len() || names.len() != sizes.len() {
            return Vec::new();
        }
        let path = |i: usize| Some([*folders.get(indexes[i] as usize)?, names[i]].concat());
        (0..names.len())
            .map(|i| Some(Entry { name: crate::entries::printable(&path(i)?), size: sizes[i] }))
            .collect::<Option<_>>()
            .unwrap_or_default()
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use rpm::{BuildConfig, CompressionWithLevel, FileOptions, PackageBuilder};

    use super::*;
    use crate::entries::Archive;

    fn package(compression: CompressionWithLevel) -> Vec<u8> {
        let config = BuildConfig::default().compression(compression).source_date(0u32);
        let mut builder = PackageBuilder::new("kernel-debuginfo", "5.14.0", "GPLv2", "x86_64", "debug information");
        builder.using_config(config).release("362.8.1.el9_3").vendor("Red Hat, Inc.");
        for (path, content) in
            [("/usr/lib/debug/a", vec![1u8; 70_000]), ("/usr/lib/debug/vmlinux", b"\x7fELF".to_vec())]
        {
            builder.with_file_contents(content, FileOptions::new(path)).unwrap();
        }
        let package = builder.build().unwrap();
        let mut bytes = Vec::new();
        package.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn packages_of_every_compression_are_read() {
        for compression in [
            CompressionWithLevel::None,
            CompressionWithLevel::Gzip(6),
            CompressionWithLevel::Xz(1),
            CompressionWithLevel::Zstd(3),
        ] {
            let bytes = package(compression);
            let (metadata, mut cpio) = open(Region::of_bytes(&bytes), 1).unwrap();
            assert_eq!(metadata.name, "kernel-debuginfo");
            assert_eq!((&*metadata.version, &*metadata.release), ("5.14.0", "362.8.1.el9_3"));
            assert_eq!((&*metadata.arch, &*metadata.vendor), ("x86_64", "Red Hat, Inc."));
            assert_eq!(cpio.next().unwrap().unwrap().size, 70_000);
            assert_eq!(cpio.next().unwrap().unwrap().name, "./usr/lib/debug/vmlinux");
            assert_eq!(&*cpio.take().unwrap(), b"\x7fELF");
            assert_eq!(cpio.next().unwrap(), None);
        }
    }

    #[test]
    fn damage_says_where() {
        let bytes = package(CompressionWithLevel::Gzip(6));
        let error = |bytes: &[u8]| match open(Region::of_bytes(bytes), 1) {
            Ok((_, mut cpio)) => loop {
                match cpio.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("no error"),
                    Err(e) => break e.to_string(),
                }
            },
            Err(e) => e.to_string(),
        };
        assert_eq!(error(&bytes[..2]), "rpm lead at offset 0x0: truncated: 4 bytes wanted, 2 left");
        assert_eq!(error(&bytes[..100]), "rpm signature at offset 0x60: truncated: 16 bytes wanted, 4 left");
        let cut = error(&bytes[..bytes.len() - 40]);
        assert!(cut.starts_with("rpm payload at offset 0x") && cut.contains("truncated or damaged gzip data"), "{cut}");
        let mut bad = bytes.clone();
        bad[96] = 0;
        assert_eq!(error(&bad), "rpm signature at offset 0x60: wrong magic");
        bad = bytes.clone();
        bad[96 + 8] = 0xff;
        assert!(error(&bad).contains("are more than rpm allows"));
    }

    #[test]
    fn mutations_never_panic() {
        let bytes = package(CompressionWithLevel::None);
        for i in (0..bytes.len()).filter(|i| *i < 6000 || i % 97 == 0) {
            let mut broken = bytes.clone();
            broken[i] ^= 1 << (i % 8);
            if let Ok((_, mut cpio)) = open(Region::of_bytes(&broken), 1) {
                while let Ok(Some(_)) = cpio.next() {
                    let _ = cpio.take();
                }
            }
        }
    }
}
