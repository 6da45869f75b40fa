//! Decompression, by the content's magic.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{Fault, Malformed};
use crate::region::{Region, RegionReader};
use crate::spill::{self, Bytes};
use crate::xz;

/// Memory that an xz or lzma decoder may use; `xz -9` needs 65 MiB, dictionaries go up to 1.5 GiB.
pub(crate) const DECODER_MEMORY: u64 = 2 << 30;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// The format before xz; it has no magic, its header is guessed.
    Lzma,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// How `head`, the first bytes of something, says that it is compressed. Six bytes are enough.
pub fn compression(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [b'B', b'Z', b'h', ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        // Default properties, and a dictionary of a power of two below 16 MiB or of any size below 4 GiB with low zeros.
        [0x5d, 0, 0, _, _, ..] => Compression::Lzma,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        // A skippable frame, as pzstd puts first.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// A decompressed stream, in which one can go forward without wanting the bytes.
pub trait Stream: Read {
    /// Goes `len` bytes forward.
    ///
    /// # Errors
    /// The stream ends before, or is damaged.
    fn skip(&mut self, len: u64) -> Result<(), Fault>;

    /// Takes the next `len` bytes as the content of `name`.
    ///
    /// # Errors
    /// The stream ends before, or is damaged; the temporary file cannot be written.
    fn extract(&mut self, name: &str, len: u64) -> Result<Bytes, Fault>;

    /// What is read, for messages.
    fn section(&self) -> &str;

    /// How many bytes were read or skipped, decompressed.
    fn position(&self) -> u64;

    /// Looks for something anywhere in the stream without reading all of it, where that is possible; `None` where it is
    /// not, or nothing was found. See [`xz::BlockStream::search`].
    ///
    /// # Errors
    /// The stream is damaged where it was read; the temporary file cannot be written.
    fn search(
        &self,
        _scan: &(dyn Fn(u64, &[u8]) -> Option<xz::Found> + Sync),
    ) -> Result<Option<(xz::Found, Bytes)>, Fault> {
        Ok(None)
    }
}

/// Opens `region`, called `section` in messages, for reading. Compressed data is decompressed; `threads` may be used.
///
/// # Errors
/// The region cannot be read.
pub fn open<'a>(region: Region<'a>, section: &str, threads: usize) -> Result<Box<dyn Stream + 'a>, Fault> {
    let mut head = [0; 16];
    let n = region.read_at(0, &mut head)?;
    let compression = compression(&head[..n]);
    if compression == Compression::Xz
        && let Some(blocks) = xz::Blocks::read(region, section)?
    {
        return Ok(Box::new(blocks.stream(threads)));
    }
    let consumed = Arc::new(AtomicU64::new(0));
    let reader = BufReader::with_capacity(256 << 10, region.reader());
    let input = Counted { reader, consumed: consumed.clone() };
    let lzma = |stream: Result<liblzma::stream::Stream, liblzma::stream::Error>| {
        stream.map_err(|e| Fault::Io(io::Error::other(format!("starting the xz decoder: {e:?}"))))
    };
    let decoder: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_stream(
            input,
            lzma(liblzma::stream::Stream::new_stream_decoder(DECODER_MEMORY, liblzma::stream::CONCATENATED))?,
        )),
        Compression::Lzma => Box::new(liblzma::bufread::XzDecoder::new_stream(
            input,
            lzma(liblzma::stream::Stream::new_lzma_decoder(DECODER_MEMORY))?,
        )),
        Compression::Zstd => Box::new(zstd_decoder(input)?),
    };
    Ok(Box::new(Sequential { decoder, compression, section: section.to_owned(), consumed, position: 0 }))
}

fn zstd_decoder<'a, R: io::BufRead + 'a>(input: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    // Packages are made with windows up to 128 MiB (`zstd --ultra -22`), kernels with `--long`.
    decoder.window_log_max(31)?;
    Ok(decoder)
}

/// Counts what a decoder took from its input, so that an error can say where the damage is.
struct Counted<'a> {
    reader: BufReader<RegionReader<'a>>,
    consumed: Arc<AtomicU64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.consumed.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.consumed.fetch_add(n as u64, Ordering::Relaxed);
        self.reader.consume(n);
    }
}

/// A stream that can only be decompressed from its beginning.
struct Sequential<'a> {
    decoder: Box<dyn Read + 'a>,
    compression: Compression,
    section: String,
    consumed: Arc<AtomicU64>,
    position: u64,
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(buffer) {
            Ok(n) => {
                self.position += n as u64;
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted || self.compression == Compression::None => Err(e),
            Err(e) if e.raw_os_error().is_some() => Err(e),
            Err(e) => Err(Malformed {
                section: self.section.clone(),
                offset: self.consumed.load(Ordering::Relaxed),
                what: format!("truncated or damaged {} data: {e}", name(self.compression)),
            }
            .into()),
        }
    }
}

impl Stream for Sequential<'_> {
    fn skip(&mut self, len: u64) -> Result<(), Fault> {
        let skipped = io::copy(&mut self.by_ref().take(len), &mut io::sink())?;
        if skipped < len {
            return Err(Fault::malformed(self.section(), self.position(), "truncated"));
        }
        Ok(())
    }

    fn extract(&mut self, name: &str, len: u64) -> Result<Bytes, Fault> {
        spill::collect(name, self, Some(len))
    }

    fn section(&self) -> &str {
        &self.section
    }

    fn position(&self) -> u64 {
        self.position
    }
}

fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "plain",
        Compression::Gzip => "gzip",
        Compression::Bzip2 => "bzip2",
        Compression::Xz => "xz",
        Compression::Lzma => "lzma",
        Compression::Zstd => "zstd",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn sample() -> Vec<u8> {
        (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect()
    }

    fn compressed(compression: Compression, data: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => data.to_vec(),
            Compression::Gzip => {
                let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                w.write_all(data).unwrap();
                w.finish().unwrap()
            }
            Compression::Bzip2 => {
                let mut w = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                w.write_all(data).unwrap();
                w.finish().unwrap()
            }
            Compression::Xz => {
                let mut w = liblzma::write::XzEncoder::new(Vec::new(), 1);
                w.write_all(data).unwrap();
                w.finish().unwrap()
            }
            Compression::Lzma => {
                let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
                let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
                let mut w = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                w.write_all(data).unwrap();
                w.finish().unwrap()
            }
            Compression::Zstd => zstd::bulk::compress(data, 1).unwrap(),
        }
    }

    const ALL: [Compression; 6] = [
        Compression::None,
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Lzma,
        Compression::Zstd,
    ];

    #[test]
    fn every_compression_is_known_by_its_content() {
        let data = sample();
        for kind in ALL {
            let packed = compressed(kind, &data);
            assert_eq!(compression(&packed), kind);
            let mut stream = open(Region::of_bytes(&packed), "x", 2).unwrap();
            stream.skip(4).unwrap();
            let got = stream.extract("y", data.len() as u64 - 8).unwrap();
            assert_eq!(*got, data[4..data.len() - 4], "{kind:?}");
            assert_eq!(stream.position(), data.len() as u64 - 4);
            assert!(stream.skip(5).is_err());
        }
    }

    #[test]
    fn a_cut_stream_says_where() {
        let data = sample();
        for kind in ALL {
            let packed = compressed(kind, &data);
            let cut = &packed[..packed.len() / 2];
            let mut stream = open(Region::of_bytes(cut), "data.tar", 2).unwrap();
            let error = stream.extract("vmlinux", data.len() as u64).unwrap_err().to_string();
            let expected = if kind == Compression::None { "vmlinux at offset 0x" } else { "data.tar at offset 0x" };
            assert!(error.starts_with(expected) && error.contains("truncated"), "{kind:?}: {error}");
        }
    }
}
