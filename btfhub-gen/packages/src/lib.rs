//! Packages and archives, read as streams.
//!
//! ```text
//!  file ─ region ─┬ ar ─ control              ┬ stream (xz by blocks, zstd, gzip, …)
//!                 ├ rpm ─ header ─ cpio       ┘        │
//!                 └ tar                                ▼
//!                                             entries ─ what is wanted of them ─ spill
//! ```
//!
//! Nothing is ever written under the name of an entry: what is wanted is taken into memory, or into a temporary file
//! without a name. Links and devices are passed over.
//!
//! ```
//! use packages::entries::Archive;
//! let tar = packages::tar::write_file("etc/motd", b"hello\n").unwrap();
//! let stream = packages::stream::open(packages::region::Region::of_bytes(&tar), "data.tar", 1)?;
//! let mut tar = packages::tar::TarReader::new(stream);
//! assert_eq!(tar.next()?.unwrap().name, "etc/motd");
//! assert_eq!(&*tar.take()?, b"hello\n");
//! # Ok::<(), packages::fault::Fault>(())
//! ```

pub mod ar;
pub mod control;
pub mod cpio;
pub mod entries;
pub mod fault;
mod map;
pub mod region;
pub mod rpm;
pub mod spill;
pub mod stream;
pub mod tar;
pub mod xz;
