//! An xz file by its blocks.
//!
//! `dpkg-deb` and `xz -T` write xz in blocks that each can be decoded alone, and an index at the end that says where
//! they are. A kernel's debug package is 300 blocks of 24 MiB, the vmlinux in it 15 to 30 of them. With the index, only
//! these are decoded, on several threads, and blocks that lie within a file that is not wanted are jumped over.
//!
//! Each block is handed to liblzma behind the file's own stream header, so that liblzma checks it as it would in a
//! sequential run: header CRC, sizes, integrity check.
//!
//! The format: <https://tukaani.org/xz/xz-file-format.txt>, version 1.2.1.

mod index;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use liblzma::stream::{Action, Status, Stream as Lzma};

use self::index::{Block, stream_blocks};
use crate::fault::Fault;
use crate::region::Region;
use crate::spill::{Bytes, LARGEST_IMAGE, SparseFile};
use crate::stream::{DECODER_MEMORY, Stream};

/// Blocks that are kept in memory as a whole may not be larger; a file with such a block is read sequentially.
const LARGEST_BLOCK: u64 = 256 << 20;
/// A search goes no farther, decompressed: a vmlinux is 200 to 700 MB, and all that is searched is kept on disk.
const FARTHEST_SEARCH: u64 = 2 << 30;
/// What a decoder hands out at once.
const CHUNK: usize = 1 << 20;

/// Gets a block's content piece by piece, each with its place in the decompressed whole, and may stop the decoder.
type Sink<'a> = dyn FnMut(u64, &[u8]) -> Result<ControlFlow<()>, Fault> + 'a;

/// The blocks of an xz file in a region.
#[derive(Debug)]
pub struct Blocks<'a> {
    region: Region<'a>,
    section: String,
    blocks: Vec<Block>,
}

impl<'a> Blocks<'a> {
    /// Reads the index. `None` where the file has one block only, or no index that fits it (it may be cut off): it must
    /// then be read from its beginning, which finds the damage.
    ///
    /// # Errors
    /// The region cannot be read.
    pub fn read(region: Region<'a>, section: &str) -> Result<Option<Self>, Fault> {
        let mut streams = Vec::new();
        let mut end = region.len();
        // The index is at the end of a stream, and streams may follow one another: backwards, then.
        while end > 0 {
            match stream_blocks(region, end)? {
                Some((blocks, start)) => {
                    streams.push(blocks);
                    end = start;
                }
                None => return Ok(None),
            }
        }
        let mut blocks = Vec::new();
        let mut raw_at = 0u64;
        for block in streams.into_iter().rev().flatten() {
            blocks.push(Block { raw_at, ..block });
            raw_at = match raw_at.checked_add(block.raw_len) {
                Some(raw_at) => raw_at,
                None => return Ok(None),
            };
        }
        if blocks.len() < 2 || blocks.iter().any(|b| b.raw_len > LARGEST_BLOCK) {
            return Ok(None);
        }
        Ok(Some(Blocks { region, section: section.to_owned(), blocks }))
    }

    /// Reads the decompressed content from its beginning.
    pub fn stream(self, threads: usize) -> BlockStream<'a> {
        BlockStream { blocks: self, threads: threads.max(1), ready: VecDeque::new(), last: None, position: 0 }
    }

    /// The index of the block that holds `position`.
    fn block_at(&self, position: u64) -> Option<usize> {
        let i = self.blocks.partition_point(|b| b.raw_end() <= position);
        (i < self.blocks.len()).then_some(i)
    }

    /// Decodes block `i`; `sink` gets its content in order, [`CHUNK`] bytes at a time, and may stop it.
    fn decode(&self, i: usize, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let block = &self.blocks[i];
        let damaged = |at: u64, what: String| Fault::malformed(&self.section, at, what);
        let mut lzma = Lzma::new_stream_decoder(DECODER_MEMORY, 0)
            .map_err(|e| Fault::Io(io::Error::other(format!("starting the xz decoder: {e:?}"))))?;
        let mut output = vec![0; CHUNK.min(block.raw_len as usize + 1)];
        let mut input = vec![0; 128 << 10];
        let (mut filled, mut handed, mut at) = (0, 0u64, block.at);
        let mut pending: &[u8] = &block.header;
        let end = block.at + block.len;
        loop {
            if pending.is_empty() {
                if at == end {
                    break;
                }
                let want = input.len().min((end - at) as usize);
                let got = self.region.read_at(at, &mut input[..want])?;
                if got == 0 {
                    return Err(damaged(at, "truncated xz block".into()));
                }
                at += got as u64;
                pending = &input[..got];
            }
            let (before_in, before_out) = (lzma.total_in(), lzma.total_out());
            let status = lzma
                .process(pending, &mut output[filled..], Action::Run)
                .map_err(|e| damaged(at - pending.len() as u64, format!("damaged xz block: {e}")))?;
            let (took, gave) = (lzma.total_in() - before_in, lzma.total_out() - before_out);
            pending = &pending[took as usize..];
            filled += gave as usize;
            if handed + filled as u64 > block.raw_len {
                return Err(damaged(
                    block.at,
                    format!("xz block is longer than the {} bytes its index says", block.raw_len),
                ));
            }
            if filled == output.len() || handed + filled as u64 == block.raw_len && filled > 0 {
                let flow = sink(block.raw_at + handed, &output[..filled])?;
                handed += filled as u64;
                filled = 0;
                if flow.is_break() {
                    return Ok(());
                }
            }
            if status == Status::StreamEnd || took == 0 && gave == 0 {
                return Err(damaged(at - pending.len() as u64, "damaged xz block: it ends early".into()));
            }
        }
        if handed < block.raw_len {
            return Err(damaged(
                block.at,
                format!("xz block is shorter ({handed} bytes) than the {} bytes its index says", block.raw_len),
            ));
        }
        Ok(())
    }

    /// Decodes block `i` into memory.
    fn decode_whole(&self, i: usize) -> Result<Vec<u8>, Fault> {
        let mut content = Vec::with_capacity(self.blocks[i].raw_len as usize);
        self.decode(i, &mut |_, chunk| {
            content.extend_from_slice(chunk);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(content)
    }
}

/// The decompressed content, from its beginning, on several threads.
#[derive(Debug)]
pub struct BlockStream<'a> {
    blocks: Blocks<'a>,
    threads: usize,
    /// Blocks that are decoded, in order.
    ready: VecDeque<(usize, Vec<u8>)>,
    /// The block that was read last.
    last: Option<usize>,
    position: u64,
}

impl BlockStream<'_> {
    /// The content of block `i`, which is decoded together with those that follow when the blocks are read in turn.
    fn content(&mut self, i: usize) -> Result<&[u8], Fault> {
        while self.ready.front().is_some_and(|(first, _)| *first < i) {
            self.ready.pop_front();
        }
        if self.ready.front().is_none_or(|(first, _)| *first != i) {
            self.ready.clear();
            let in_turn = self.last.is_some_and(|last| last + 1 == i);
            let count = if in_turn { self.threads.min(self.blocks.blocks.len() - i) } else { 1 };
            let blocks = &self.blocks;
            let mut decoded: Vec<Result<Vec<u8>, Fault>> = std::thread::scope(|scope| {
                let others: Vec<_> = (1..count).map(|n| scope.spawn(move || blocks.decode_whole(i + n))).collect();
                let mut decoded = vec![blocks.decode_whole(i)];
                decoded.extend(others.into_iter().map(join));
                decoded
            });
            // A block that is damaged matters when it is reached, if it is.
            let good = decoded.iter().take_while(|d| d.is_ok()).count();
            if good == 0 {
                return decoded.swap_remove(0).map(|_| &[][..]);
            }
            self.ready = decoded.into_iter().flatten().take(good).enumerate().map(|(n, d)| (i + n, d)).collect();
        }
        self.last = Some(i);
        Ok(&self.ready[0].1)
    }

    /// Looks for a place in the content, first in the beginning, then from the end, and takes it with what follows.
    ///
    /// `scan` gets the content in pieces that begin at multiples of 512 from the beginning, with their position, and
    /// says where what is sought begins and how long it is. Returns `None` when no piece near the beginning or the end
    /// (2 GiB) has it; else the bytes.
    /// The result does not depend on the number of threads.
    ///
    /// # Errors
    /// A block is damaged; the temporary file cannot be written.
    pub fn search(&self, scan: &(dyn Fn(u64, &[u8]) -> Option<Found> + Sync)) -> Result<Option<(Found, Bytes)>, Fault> {
        let blocks = &self.blocks.blocks;
        if blocks.iter().any(|b| b.raw_at % 512 != 0) {
            return Ok(None);
        }
        // Debian has vmlinux first up to 6.12, and last from 7.2 on.
        let mut left = FARTHEST_SEARCH;
        let order: Vec<usize> = (0..blocks.len().min(2))
            .chain((2..blocks.len()).rev())
            .take_while(|&i| {
                left = left.saturating_sub(blocks[i].raw_len);
                left > 0
            })
            .collect();
        let file = SparseFile::new()?;
        let written: Vec<AtomicBool> = blocks.iter().map(|_| AtomicBool::new(false)).collect();
        for round in order.chunks(self.threads) {
            let look = |i: usize| -> Result<Option<Found>, Fault> {
                let mut found = None;
                self.blocks.decode(i, &mut |at, chunk| {
                    found = found.take().or_else(|| scan(at, chunk));
                    file.write_at(at, chunk)?;
                    Ok(ControlFlow::Continue(()))
                })?;
                written[i].store(true, Ordering::Relaxed);
                Ok(found)
            };
            let results: Vec<Result<Option<Found>, Fault>> = std::thread::scope(|scope| {
                let look = &look;
                let others: Vec<_> = round[1..].iter().map(|&i| scope.spawn(move || look(i))).collect();
                let mut results = vec![look(round[0])];
                results.extend(others.into_iter().map(join));
                results
            });
            for result in results {
                if let Some(found) = result? {
                    let bytes = self.fill(file, &written, found.at, found.len)?;
                    return Ok(Some((found, bytes)));
                }
            }
        }
        Ok(None)
    }

    /// Decodes the blocks between `at` and `at + len` that are not yet in `file`, and maps that range.
    fn fill(&self, file: SparseFile, written: &[AtomicBool], at: u64, len: u64) -> Result<Bytes, Fault> {
        let blocks = &self.blocks;
        let end = at.checked_add(len).filter(|&end| blocks.blocks.last().is_some_and(|b| end <= b.raw_end()));
        let Some(end) = end.filter(|_| len <= LARGEST_IMAGE) else {
            return Err(Fault::malformed(&blocks.section, at, format!("truncated: {len} bytes wanted")));
        };
        if len == 0 {
            return Ok(Bytes::new(Vec::new()));
        }
        let missing: Vec<usize> = (0..blocks.blocks.len())
            .filter(|&i| blocks.blocks[i].raw_end() > at && blocks.blocks[i].raw_at < end)
            .filter(|&i| !written[i].load(Ordering::Relaxed))
            .collect();
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<(usize, Fault)>> = Mutex::new(None);
        let work = || {
            while let Some(&i) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = blocks.decode(i, &mut |chunk_at, chunk| {
                    file.write_at(chunk_at, chunk)?;
                    Ok(ControlFlow::Continue(()))
                });
                if let Err(fault) = result {
                    let mut failure = failure.lock().unwrap_or_else(|e| e.into_inner());
                    // The first damaged block is the one to report, whoever met it.
                    if failure.as_ref().is_none_or(|(first, _)| i < *first) {
                        *failure = Some((i, fault));
                    }
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(missing.len()) {
                scope.spawn(work);
            }
            work();
        });
        if let Some((_, fault)) = failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
            return Err(fault);
        }
        Ok(file.map(at, len)?)
    }
}

/// Where something was found in the decompressed content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Where it begins, in bytes from the beginning of the decompressed content.
    pub at: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// The thread's result; its panic goes on here.
fn join<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Read for BlockStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(i) = self.blocks.block_at(self.position) else { return Ok(0) };
        let within = (self.position - self.blocks.blocks[i].raw_at) as usize;
        let content = self.content(i)?;
        let n = buffer.len().min(content.len() - within);
        buffer[..n].copy_from_slice(&content[within..within + n]);
        self.position += n as u64;
        Ok(n)
    }
}

impl Stream for BlockStream<'_> {
    fn skip(&mut self, len: u64) -> Result<(), Fault> {
        let end = self.blocks.blocks.last().map_or(0, |b| b.raw_end());
        match self.position.checked_add(len).filter(|&p| p <= end) {
            Some(position) => self.position = position,
            None => return Err(Fault::malformed(&self.blocks.section, self.position, "truncated")),
        }
        Ok(())
    }

    fn extract(&mut self, name: &str, len: u64) -> Result<Bytes, Fault> {
        // A small file lies in blocks that are decoded anyhow.
        if len < 32 << 20 {
            return crate::spill::collect(name, self, Some(len));
        }
        let written: Vec<AtomicBool> = self.blocks.blocks.iter().map(|_| AtomicBool::new(false)).collect();
        let bytes = self.fill(SparseFile::new()?, &written, self.position, len)?;
        self.position += len;
        Ok(bytes)
    }

    fn section(&self) -> &str {
        &self.blocks.section
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn search(&self, scan: &(dyn Fn(u64, &[u8]) -> Option<Found> + Sync)) -> Result<Option<(Found, Bytes)>, Fault> {
        BlockStream::search(self, scan)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..len)
            .map(|i| {
                if i % 64 == 0 {
                    state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                }
                (state >> 24) as u8
            })
            .collect()
    }

    /// As `xz -T2 --block-size=…` makes it.
    fn in_blocks(data: &[u8], block: u64) -> Vec<u8> {
        let stream = liblzma::stream::MtStreamBuilder::new()
            .threads(2)
            .block_size(block)
            .preset(1)
            .check(liblzma::stream::Check::Crc64)
            .encoder()
            .unwrap();
        let mut writer = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn blocks_read_as_a_whole_and_in_parts() {
        let data = sample(3_000_000);
        // Two streams and padding, as `cat a.xz b.xz` gives.
        let mut packed = in_blocks(&data[..2_000_000], 100 << 10);
        packed.extend([0; 8]);
        packed.extend(in_blocks(&data[2_000_000..], 300 << 10));
        for threads in [1, 2, 5] {
            let blocks = Blocks::read(Region::of_bytes(&packed), "x").unwrap().unwrap();
            assert_eq!(blocks.blocks.len(), 24);
            let mut stream = blocks.stream(threads);
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            assert!(all == data);

            let mut stream = Blocks::read(Region::of_bytes(&packed), "x").unwrap().unwrap().stream(threads);
            stream.skip(1_234_567).unwrap();
            assert!(*stream.extract("y", 900_000).unwrap() == data[1_234_567..2_134_567]);
            stream.skip(100_000).unwrap();
            let mut few = [0; 100];
            stream.read_exact(&mut few).unwrap();
            assert!(few == data[2_234_567..2_234_667]);
            assert!(stream.skip(1_000_000).is_err());
        }
    }

    #[test]
    fn a_large_file_is_decoded_on_several_threads() {
        let data = sample(40 << 20);
        let packed = in_blocks(&data, 1 << 20);
        let mut stream = Blocks::read(Region::of_bytes(&packed), "x").unwrap().unwrap().stream(3);
        stream.skip(5000).unwrap();
        let got = stream.extract("y", 34 << 20).unwrap();
        assert!(*got == data[5000..5000 + (34 << 20)]);
        assert!(stream.extract("y", 34 << 20).unwrap_err().to_string().starts_with("x at offset 0x2201388: truncated"));
    }

    #[test]
    fn a_search_finds_the_same_whatever_the_threads() {
        let mut data = sample(4 << 20);
        // Twice: near the end and in the middle. The one near the end is found.
        for at in [2 << 20, (4 << 20) - 200 * 512] {
            data[at..at + 8].copy_from_slice(b"NEEDLE!!");
        }
        let packed = in_blocks(&data, 128 << 10);
        let scan = |at: u64, chunk: &[u8]| {
            let i = chunk.chunks(512).position(|c| c.starts_with(b"NEEDLE!!"))?;
            Some(Found { name: "n".into(), at: at + i as u64 * 512, len: 90_000 })
        };
        for threads in [1, 2, 7] {
            let stream = Blocks::read(Region::of_bytes(&packed), "x").unwrap().unwrap().stream(threads);
            let (found, bytes) = stream.search(&scan).unwrap().unwrap();
            let at = (4 << 20) - 200 * 512;
            assert_eq!(found.at, at as u64);
            assert!(*bytes == data[at..at + 90_000]);
            assert!(stream.search(&|_, _| None).unwrap().is_none());
        }
    }

    #[test]
    fn a_damaged_block_says_where() {
        let data = sample(1 << 20);
        let packed = in_blocks(&data, 128 << 10);
        let second = Blocks::read(Region::of_bytes(&packed), "data.tar.xz").unwrap().unwrap().blocks[1];
        let mut broken = packed.clone();
        broken[second.at as usize + 1000] ^= 0x55;
        let mut stream = Blocks::read(Region::of_bytes(&broken), "data.tar.xz").unwrap().unwrap().stream(2);
        let error = Fault::from(stream.read_to_end(&mut Vec::new()).unwrap_err()).to_string();
        assert!(error.starts_with("data.tar.xz at offset 0x") && error.contains("damaged xz block"), "{error}");
        // A file without its end has no index.
        assert!(Blocks::read(Region::of_bytes(&packed[..packed.len() - 1]), "x").unwrap().is_none());
        assert!(Blocks::read(Region::of_bytes(&packed[..packed.len() / 2]), "x").unwrap().is_none());
    }

    #[test]
    fn mutations_never_panic() {
        let packed = in_blocks(&sample(50_000), 16 << 10);
        for i in 0..packed.len() {
            let mut broken = packed.clone();
            broken[i] = broken[i].wrapping_add(1 + (i % 255) as u8);
            if let Ok(Some(blocks)) = Blocks::read(Region::of_bytes(&broken), "x") {
                let _ = blocks.stream(1).read_to_end(&mut Vec::new());
            }
        }
    }
}
