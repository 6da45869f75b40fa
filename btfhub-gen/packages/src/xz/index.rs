//! Where the blocks of an xz stream are, by the index at its end.

use crate::fault::Fault;
use crate::region::Region;

const HEADER: u64 = 12;
const FOOTER: u64 = 12;
/// An index of more is of a file that nobody made in good faith: 64 MiB are ten million blocks.
const LARGEST_INDEX: u64 = 64 << 20;

/// One block of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Where the block's header begins.
    pub(super) at: u64,
    /// Length in the file, with the padding.
    pub(super) len: u64,
    /// Where its content begins in the decompressed whole.
    pub(super) raw_at: u64,
    pub(super) raw_len: u64,
    /// Stream header of the stream it belongs to.
    pub(super) header: [u8; HEADER as usize],
}

impl Block {
    pub(super) fn raw_end(&self) -> u64 {
        self.raw_at + self.raw_len
    }
}

/// The blocks of the stream that ends at `end`, `raw_at` not yet known, and where the stream begins.
pub(super) fn stream_blocks(region: Region<'_>, mut end: u64) -> Result<Option<(Vec<Block>, u64)>, Fault> {
    // Stream padding is zeros, a multiple of four bytes.
    while end >= 4 && read::<4>(region, end - 4)? == Some([0; 4]) {
        end -= 4;
    }
    let Some(footer_at) = end.checked_sub(FOOTER) else { return Ok(None) };
    let Some(footer) = read::<12>(region, footer_at)? else { return Ok(None) };
    if &footer[10..] != b"YZ" || crc32fast::hash(&footer[4..10]) != le32(&footer[..4]) {
        return Ok(None);
    }
    let index_len = (u64::from(le32(&footer[4..8])) + 1) * 4;
    let Some(index_at) = footer_at.checked_sub(index_len).filter(|_| index_len <= LARGEST_INDEX) else {
        return Ok(None);
    };
    let index = region.bytes("xz index", index_at, index_len)?;
    let (body, crc) = index.split_at(index.len() - 4);
    if crc32fast::hash(body) != le32(crc) || body[0] != 0 {
        return Ok(None);
    }
    let mut rest = &body[1..];
    let Some(count) = varint(&mut rest) else { return Ok(None) };
    let mut blocks = Vec::new();
    let mut total = 0u64;
    for _ in 0..count {
        let (Some(unpadded), Some(raw_len)) = (varint(&mut rest), varint(&mut rest)) else { return Ok(None) };
        let Some(len) = unpadded.checked_next_multiple_of(4) else { return Ok(None) };
        blocks.push(Block { at: total, len, raw_at: 0, raw_len, header: [0; 12] });
        let Some(sum) = total.checked_add(len) else { return Ok(None) };
        total = sum;
    }
    let Some(start) = index_at.checked_sub(total).and_then(|at| at.checked_sub(HEADER)) else { return Ok(None) };
    let Some(header) = read::<12>(region, start)? else { return Ok(None) };
    if header[..6] != *b"\xfd7zXZ\0" || header[6..8] != footer[8..10] {
        return Ok(None);
    }
    for block in &mut blocks {
        block.at += start + HEADER;
        block.header = header;
    }
    Ok(Some((blocks, start)))
}

fn read<const N: usize>(region: Region<'_>, at: u64) -> Result<Option<[u8; N]>, Fault> {
    let mut bytes = [0; N];
    Ok((region.read_at(at, &mut bytes)? == N).then_some(bytes))
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// A number of up to 63 bits, seven in each byte, low first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
