//! The parts of the format that reader and writer share. The crate's documentation specifies them.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_128;

use crate::kernel_id::KernelId;

/// What a pack begins with.
pub const MAGIC: &[u8; 8] = b"LCC-PACK";
pub(crate) const TAIL_MAGIC: &[u8; 8] = b"LCC-TAIL";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER: usize = 16;
pub(crate) const TRAILER: usize = 64;
pub(crate) const NO_BLOB: u32 = u32::MAX;
/// A frame holds blobs up to this size together.
pub(crate) const FRAME: usize = 1 << 20;
/// A blob is at most this large: the largest BTF in the wild has 27 MB.
pub(crate) const LARGEST_BLOB: u64 = 1 << 30;
/// An index is at most this large: enough for two million kernels.
pub(crate) const LARGEST_INDEX: u64 = 256 << 20;

/// xxh3-128 of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub u128);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(xxh3_128(bytes))
    }
}

impl fmt::Display for Hash {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Hash {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Hash)
    }
}

/// An entry of the index, contents by their hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The kernel.
    pub id: KernelId,
    /// The module whose split BTF this is; empty for vmlinux.
    pub module: String,
    /// Its BTF.
    pub btf: Hash,
    /// Its attach surface.
    pub surface: Option<Hash>,
}

impl Entry {
    /// The entry of a vmlinux without attach surface.
    pub fn vmlinux(id: KernelId, btf: Hash) -> Entry {
        Entry { id, module: String::new(), btf, surface: None }
    }
}
