//! CO-RE relocations: what a BPF object asks of a kernel's types, and what the answer is.
//!
//! ```text
//! ObjectFile ─ relocation ─▶ AccessSpec (local) ─▶ candidates of the same name ─▶ AccessSpec (target) ─▶ Outcome ─▶ patch
//! ```
//!
//! The semantics are libbpf's, from `src/relo_core.c` as of 2026-07; each function names its counterpart.

mod asked;
mod candidates;
mod compat;
mod fate;
mod kind;
mod matching;
mod patch;
mod refusal;
mod resolve;
mod spec;
mod target_spec;
mod value;
pub(crate) mod words;

pub(crate) use asked::{Asked, LocalQuestion};
pub use candidates::{Candidate, Candidates, Module, Origin, Target};
pub(crate) use compat::Observer;
pub use fate::{Fate, ObjectReport, OwnedSourceLine, RelocatedCode, RelocationFate, describe, relocate, report};
pub use kind::CoreReloKind;
pub(crate) use kind::Family;
pub use patch::patch;
pub use refusal::Refusal;
pub(crate) use resolve::{Answer, Question, Questions, observe};
pub use resolve::{Resolution, resolve_all, resolve_object, search_candidates};
pub use spec::{AccessSpec, Accessor, MAX_ELEMENTS};
pub use target_spec::Mismatch;
pub use value::Outcome;
