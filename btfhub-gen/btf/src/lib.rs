//! The BPF Type Format (BTF): read, write, and work on the types of a kernel or a BPF object.
//!
//! No I/O happens here: bytes in, values or bytes out.
//!
//! ```text
//! bytes ──parse──▶ Btf ──ty(id)──▶ types::Type ──▶ pure functions: resolve, dump, layout, diff, …
//!   ▲                                   │
//!   └────────── write::Builder ◀────────┘
//!
//! object ──ObjectFile──▶ relocations ──core_relo, against a Btf──▶ resolutions ──▶ report: the fate of each
//!                                                                      └─minimize──▶ BTF with just what they need
//! ```
//!
//! ```
//! use btf::{Btf, ByteSize, Endian, IntEncoding, Kind, Type, write::Builder};
//!
//! let mut out = Builder::new(Endian::Little);
//! let name = out.string("int");
//! let int = out.int(name, ByteSize(4), IntEncoding::SIGNED, Default::default(), 32);
//! out.ptr(int);
//! let bytes = out.finish()?;
//!
//! let btf = Btf::parse(&bytes)?;
//! let id = btf.find("int", Kind::Int).next().expect("it was just written");
//! assert!(matches!(btf.ty(id)?, Type::Int { size: ByteSize(4), .. }));
//! # Ok::<(), btf::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod core_relo;
pub mod coverage;
pub mod diff;
pub mod distilled;
pub mod dump;
mod elements;
pub mod elf;
pub mod error;
pub mod ext;
mod header;
pub mod index;
pub mod insn;
pub mod layout;
pub mod minimize;
pub mod object_file;
pub mod parse;
pub mod raw;
pub mod reach;
pub mod resolve;
pub mod surface;
pub mod types;
pub mod write;

pub use error::{Error, Result};
pub use index::essential_name;
pub use parse::{Btf, Diagnostic, Record};
pub use raw::{BitOffset, ByteOffset, ByteSize, Endian, Info, Kind, StrOffset, TypeId};
pub use resolve::{size_of, strip_modifiers, strip_modifiers_typedefs};
pub use types::{
    Composite, Datasec, Enum, EnumValue, FuncLinkage, FuncProto, IntEncoding, Member, Param, SecVar, Type, VarLinkage,
};
