//! One content-addressed archive of BTF for many kernels.
//!
//! Most kernels of a distribution need the same minimal BTF: of 341 files that one agent ships, 29 differ. A pack stores
//! each of them once, and an index from the kernel's name to its content. A lookup reads the index and decompresses one
//! frame of about 1 MiB; the rest of the pack is never touched.
//!
//! ```
//! use pack::{Builder, Entry, Hash, KernelId, Lookup, Pack};
//!
//! let btf = b"\x9f\xeb\x01\0 the BTF of two kernels";
//! let mut builder = Builder::new();
//! for release in ["6.1.0-18-amd64", "6.1.0-18-cloud-amd64"] {
//!     builder.add(Entry::vmlinux(KernelId::new("debian", "12", "x86_64", release)?, Hash::of(btf)));
//! }
//! let mut bytes = Vec::new();
//! builder.write(&mut bytes, 1, &|_hash| Ok(btf.to_vec()))?;
//!
//! let pack = Pack::open(&bytes)?;
//! let Lookup::Found(entry) = pack.find("debian", "12", "x86_64", "6.1.0-18-cloud-amd64") else { panic!() };
//! assert_eq!(pack.read(entry.btf)?, btf);
//! assert!(matches!(pack.find("debian", "12", "x86_64", "6.1.0-19-amd64"), Lookup::Absent));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Format, version 1
//!
//! All numbers are little-endian. Hashes are xxh3-128 (xxh3-64 where so said) with seed 0; against damage, not against
//! forgery. The same entries and contents give the same bytes, however the pack came about.
//!
//! ```text
//! header   16 bytes   magic "LCC-PACK", version u32 = 1, zero u32
//! frames              zstd frames, one after the other
//! index               one zstd frame
//! trailer  64 bytes   length of the whole file u64
//!                     offset of the index u64
//!                     length of the index u32, decompressed u32
//!                     hash of the header and the index as stored, 16 bytes
//!                     xxh3-64 of the frames u64: reserved for tools that copy packs, checked by `verify` only
//!                     xxh3-64 of the trailer up to here u64
//!                     magic "LCC-TAIL"
//! ```
//!
//! The index, decompressed:
//!
//! ```text
//! strings  count u32; each: length u16, that many bytes of UTF-8; ascending, no two alike
//! frames   count u32; each: length u32, decompressed u32; the first is at offset 16
//! blobs    count u32; each: hash, frame u32, offset in the decompressed frame u32, length u32;
//!          in the order of the frames, without gaps
//! entries  count u32; each: distribution, version, architecture, release, module (strings, u32 each),
//!          btf, surface (blobs, u32 each; 0xffffffff for none);
//!          ascending by the five strings, no two alike
//! ```
//!
//! The module is empty for vmlinux; a module's BTF is split BTF over that of vmlinux. The surface is the attach surface of
//! `btf::surface`. What a minimal BTF was made for is said in the BTF itself (`btf::coverage`).
//!
//! Blobs that kernels next to each other in the index use stand next to each other, in frames of up to 1 MiB, so that their
//! likeness is compressed away; a larger blob has a frame of its own.
#![forbid(unsafe_code)]

mod build;
mod cursor;
mod error;
mod format;
mod kernel_id;
mod read;

pub use build::{BlobSource, Builder, Compression};
pub use error::{Error, Result};
pub use format::{Entry, Hash, MAGIC};
pub use kernel_id::{InvalidKernelId, KernelId, arch_of_name};
pub use read::{EntryRef, Lookup, Pack};
