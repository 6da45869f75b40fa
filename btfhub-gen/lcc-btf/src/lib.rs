//! BTF for every kernel, from its own debug information, cut to what BPF objects need.
//!
//! This is the library of the program `lcc-btf`; the program adds the command line and nothing else.
//!
//! ```text
//!  arguments ─ input::expand ─ generate::plan ─▶ units, a thread each
//!                                                   │
//!      ┌────────────────────────────────────────────┘
//!      ▼
//!   input            a package as a stream, ELF, raw BTF, the running kernel → Kernel { identity, image }
//!      ▼
//!   generate::kernel dwarf::encode, or the BTF that is there → btf::minimize → Made
//!      ▼
//!   generate::archive  BTFHub's layout, a pack, one file; beside it what a later run need not do again
//!      ▼
//!   report           a table, JSON, the exit code
//! ```
//!
//! ```
//! use lcc_btf::generate::kernel::{Source, Wanted};
//! use lcc_btf::generate::run::Silent;
//! use lcc_btf::generate::{Destination, Objects, Settings, Shard, run};
//!
//! # let folder = tempfile::tempdir()?;
//! # let kernel = folder.path().join("debian/12/x86_64/6.1.0.btf");
//! # std::fs::create_dir_all(kernel.parent().unwrap())?;
//! # std::fs::write(&kernel, btf::write::Builder::new(btf::Endian::Little).finish()?)?;
//! let settings = Settings {
//!     destination: Destination::Pack(folder.path().join("kernels.pack")),
//!     wanted: Wanted { source: Source::Auto, compat: dwarf::Compat::LATEST, surface: false, plan: false, strict: false },
//!     objects: Objects::read(&[])?,
//!     jobs: 2,
//!     modules: false,
//!     id: None,
//!     shard: Shard::WHOLE,
//!     resume: true,
//!     root: "/".into(),
//! };
//! let report = run(&[kernel], &settings, &Silent)?;
//! assert_eq!(report.verdict().code(), 0);
//! assert_eq!(report.kernels[0].kernel.as_deref(), Some("debian/12/x86_64/6.1.0"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is kept of a result
//!
//! A result depends on the input's content, the objects and the settings, never on the number of jobs, the order of the
//! arguments, the time or the machine. Every file of an archive is written under another name, flushed and renamed: at any
//! moment it is whole, or not there.

pub mod args;
pub mod check;
pub mod cmd;
pub mod disk;
pub mod error;
pub mod generate;
pub mod input;
pub mod kernel_id;
pub mod printable;
pub mod report;
pub mod types;

pub use error::Error;
pub use kernel_id::Identity;
pub use pack::KernelId;
