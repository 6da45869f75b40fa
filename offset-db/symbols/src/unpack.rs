//! Packed sections.

use crate::error::{Error, Result};
use image::{Image, Section};
use std::borrow::Cow;
use std::io::Read;

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// `ELFCOMPRESS_ZLIB`, and `.zdebug_*`: a zlib stream.
    Zlib,
    /// `ELFCOMPRESS_ZSTD`: zstd frames.
    Zstd,
    /// `.gnu_debugdata`: an xz stream.
    Xz,
}

/// Unpacks: how it is packed, the packed bytes, and how many bytes are wanted at most; more is an error, which says why in words.
pub type Decompress<'f> = dyn Fn(Compression, &[u8], usize) -> std::result::Result<Vec<u8>, String> + Sync + 'f;

/// Unpacks by zlib-rs, zstd and liblzma: a [`Decompress`].
///
/// # Errors
/// The bytes are not of this format, end too early, or unpack to more than `limit` bytes.
pub fn decompress(compression: Compression, packed: &[u8], limit: usize) -> std::result::Result<Vec<u8>, String> {
    // Of a hostile file of a few kilobytes no gigabytes are set aside before they are there.
    let capacity = limit.min(packed.len().saturating_mul(8));
    match compression {
        Compression::Zlib => read(flate2::read::ZlibDecoder::new(packed), capacity, limit),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(packed).map_err(|error| error.to_string())?;
            read(decoder, capacity, limit)
        }
        Compression::Xz => {
            let memory = 256 << 20;
            let stream = liblzma::stream::Stream::new_stream_decoder(memory, liblzma::stream::CONCATENATED)
                .map_err(|error| error.to_string())?;
            read(liblzma::read::XzDecoder::new_stream(packed, stream), capacity, limit)
        }
    }
}

fn read(reader: impl Read, capacity: usize, limit: usize) -> std::result::Result<Vec<u8>, String> {
    let mut unpacked = Vec::with_capacity(capacity);
    let wanted = (limit as u64).saturating_add(1);
    reader.take(wanted).read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
    if unpacked.len() > limit {
        return Err(format!("more than {limit} bytes"));
    }
    Ok(unpacked)
}

/// `SHF_COMPRESSED`.
const COMPRESSED: u64 = 0x800;

/// A debug section by its name (`.debug_info`), unpacked if it is packed, as its flag says or as its name does (`.zdebug_info`).
/// `None`: the file has none, or it is empty.
pub(crate) fn section<'d>(image: &Image<'d>, name: &str, unpack: &Decompress<'_>) -> Result<Option<Cow<'d, [u8]>>> {
    if let Some(section) = image.section(name) {
        if section.flags & COMPRESSED != 0 && !section.data.is_empty() {
            return unpacked(image, name, section, unpack).map(|data| Some(Cow::Owned(data)));
        }
        return Ok(Some(section.data).filter(|data| !data.is_empty()).map(Cow::Borrowed));
    }
    let Some(old) = name.strip_prefix(".debug_").map(|rest| format!(".zdebug_{rest}")) else { return Ok(None) };
    let Some(section) = image.section(&old) else { return Ok(None) };
    let Some((header, packed)) = section.data.split_at_checked(12).filter(|(header, _)| header.starts_with(b"ZLIB"))
    else {
        return Err(Error::malformed(&old, 0, "does not begin with ZLIB and a size"));
    };
    let size = header[4..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    inflate(&old, Compression::Zlib, packed, size, unpack).map(|data| Some(Cow::Owned(data)))
}

/// The bytes of a debug section in the file, packed or not.
pub(crate) fn size(image: &Image<'_>, name: &str) -> Option<usize> {
    let old = name.replacen(".debug_", ".zdebug_", 1);
    image.section(name).or_else(|| image.section(&old)).map(|section| section.data.len())
}

/// `Elf64_Chdr`: type, reserved, size, alignment; `Elf32_Chdr`: type, size, alignment.
fn unpacked(image: &Image<'_>, name: &str, section: &Section<'_>, unpack: &Decompress<'_>) -> Result<Vec<u8>> {
    let (length, size) = if image.is_64() { (24, 8..16) } else { (12, 4..8) };
    let Some((header, packed)) = section.data.split_at_checked(length) else {
        return Err(Error::malformed(name, 0, "too short for the header of a packed section"));
    };
    let compression = match image.number(&header[..4]) {
        1 => Compression::Zlib,
        2 => Compression::Zstd,
        other => return Err(Error::malformed(name, 0, format!("packed by the unknown method {other}"))),
    };
    inflate(name, compression, packed, image.number(&header[size]), unpack)
}

fn inflate(name: &str, compression: Compression, packed: &[u8], size: u64, unpack: &Decompress<'_>) -> Result<Vec<u8>> {
    let error = |reason: String| Error::Unpack { section: name.to_owned(), reason };
    // no packed section that compilers write is larger; zstd's ratio has no limit
    let plausible = |size: &usize| *size <= 16 << 30;
    let size = usize::try_from(size).ok().filter(plausible).ok_or_else(|| error(format!("implausible size {size}")))?;
    let data = unpack(compression, packed, size).map_err(error)?;
    if data.len() != size {
        return Err(error(format!("{} bytes where the header says {size}", data.len())));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_packed_is_unpacked_up_to_the_limit() {
        let text = b"functions ".repeat(1000);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&text).unwrap();
        let packed = [
            (Compression::Zlib, zlib.finish().unwrap()),
            (Compression::Zstd, zstd::bulk::compress(&text, 1).unwrap()),
            (Compression::Xz, xz.finish().unwrap()),
        ];
        for (compression, bytes) in packed {
            assert_eq!(decompress(compression, &bytes, text.len()).unwrap(), text);
            assert_eq!(decompress(compression, &bytes, text.len() - 1).unwrap_err(), "more than 9999 bytes");
            assert!(decompress(compression, &bytes[..bytes.len() / 2], text.len()).is_err(), "{compression:?}");
            assert!(decompress(compression, b"no such format", 100).is_err());
        }
    }
}
