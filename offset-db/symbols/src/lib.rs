//! What a file's own labels say: the names of its functions, and the layouts of its structs.
//!
//! Bytes in, values out: the crate opens no file.
//!
//! ```text
//! .symtab, .dynsym + versions ┐
//! debug file, .gnu_debugdata  ├─> names, merged by address ─> Functions
//! .gopclntab                  │
//! DWARF's subprograms         ┘        DWARF's types ─> Layout
//! ```
//!
//! ```no_run
//! let bytes = std::fs::read("/usr/lib/x86_64-linux-gnu/libssl.so.3").unwrap();
//! let image = image::Image::parse(&bytes).unwrap();
//! let functions = symbols::functions(&symbols::Sources::of(&image)).unwrap();
//! for function in functions.find("SSL_write") {
//!     println!("{:#x} {}", image.file_offset(function.address).unwrap().0, function.names[0].versioned());
//! }
//! ```
#![forbid(unsafe_code)]

mod build_info;
mod debug_file;
mod dwarf;
mod error;
mod functions;
mod go;
mod names;
mod unpack;
mod versions;

pub use build_info::{BuildInfo, build_info};
pub use debug_file::{AlternateLink, DebugLink, alternate_link, belongs, debug_link, is_alternate, mini_debug_info};
pub use dwarf::Dwarf;
pub use dwarf::definitions::{Definition, definitions};
pub use dwarf::layout::{Defined, Field, Layout, layouts, layouts_of};
pub use error::{Error, Result};
pub use functions::{Coverage, Function, Functions, Name, Source, SourceSet, Sources, functions};
pub use go::{GoFunction, GoTable, Layout as GoLayout, TextBy, go_table};
pub use names::{Kind, qualified, split};
pub use unpack::{Compression, Decompress, decompress};
pub use versions::Version;
