//! DWARF to BTF: the types, functions and per-CPU variables of a kernel from its debug information.
//!
//! Bytes in, bytes out: the crate opens no file and decompresses nothing by itself.
//!
//! ```text
//! sections → unit headers → entries (one pass over a unit) → nodes (types without duplicates)
//!                                         one table a thread ─┘
//!   → merge → graph (ambiguous names resolved as libbpf's dedup would) → select (functions) → write
//! ```
#![forbid(unsafe_code)]

mod abbrev;
mod attributes;
mod base;
mod convert;
mod cursor;
mod encode;
mod entries;
mod environment;
mod error;
mod graph;
mod kfuncs;
mod layout;
mod locations;
mod merge;
mod names;
mod nodes;
mod sections;
mod select;
mod strings;
mod surface;
mod symbols;
mod text;
mod unit;
mod write;

pub use base::Base;
pub use encode::{Compat, Input, Options, Output, Release, Statistics, encode};
pub use error::{Diagnostic, Error, Result, SectionName};
pub use sections::{Compression, Decompress};
pub use select::Dropped;
