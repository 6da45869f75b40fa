//! Loads what of a BPF object works on the running kernel, and explains the rest.
//!
//! ```text
//! probe ─▶ KernelFacts ─┐
//! choose ─▶ BTF ────────┼─ plan::plan ─▶ Plan ─ session ─▶ libbpf: autoload, load, attach
//! object ───────────────┘       ▲                            │
//!                               └── what was refused, and the verifier's last words
//! ```
//!
//! The plan is made before anything is loaded. What the kernel refuses all the same is taken out, the plan is made again
//! with that knowledge (another program of the group may serve), and the rest is loaded.

mod attempt;
pub mod choose;
mod probe;
mod session;
mod verifier;
mod weaken;
mod words;

pub use probe::{helpers, probe};
pub use session::{Error, Observed, Session, load, verify};
pub use verifier::summary;
