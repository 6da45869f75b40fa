//! Finds the functions of a stripped file by those of labelled builds of the same source.
//!
//! Bytes in, values out: the crate opens no file.
//!
//! ```text
//! file ─> frames (where functions begin) ─> code (x86_64, aarch64) ─> Model: what each function is and refers to
//! Model of a labelled build + Model of a stripped one ─> matching ─> which is which, and by what
//! ```
#![forbid(unsafe_code)]

mod aarch64;
mod align;
mod code;
mod fields;
mod frames;
mod lines;
mod matching;
mod model;
mod returns;
mod similar;
mod verdict;
mod x86_64;

pub use lines::{SourceLine, lines};
pub use matching::{Evidence, Match, Matches, match_models};
pub use model::{Function, Kind, Model, Reference as Refers, SIGNATURES};
pub use returns::{Exit, Exits, Leaves, exits};
pub use verdict::{Answer, Reference, Testimony, Verdict, Witness, identify};
