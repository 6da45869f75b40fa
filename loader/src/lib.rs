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

mod attach;
mod attempt;
pub mod cause;
pub mod choose;
pub mod configuration;
mod open;
mod pins;
mod probe;
mod raw;
pub mod record;
mod session;
pub mod stream;
mod types;
pub mod uprobe;
mod verifier;
mod verify;
mod weaken;
mod words;

pub use attach::Attachment;
pub use pins::retire as unpin;
pub use probe::{helpers, probe, probe_for};
pub use session::{Error, Log, Options, Session, load, plan};
pub use types::own_types;
pub use verifier::summary;
pub use verify::{Observed, verify};
