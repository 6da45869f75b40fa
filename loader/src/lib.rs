//! Loads what of a BPF object works on the running kernel, and explains the rest. The guide is `docs/loader.md`.
//!
//! ```no_run
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use btf::object_file::ObjectFile;
//! use loader::choose::{Places, choose};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let bytes = std::fs::read("agent.o")?;
//!     let object = ObjectFile::parse("agent.o", &bytes)?;
//!     let facts = loader::probe_for(Path::new("/"), &object);
//!     let chosen = choose(&object, &facts, &Places::here())?;
//!     let session = loader::load("agent.o", &bytes, &facts, chosen.btf.as_ref(), &loader::Options::default())?;
//!     print!("{}", plan::text::lines(&session.plan, false));
//!     let listener = session.listen(|event| println!("{}: {} bytes", event.stream, event.bytes.len()))?;
//!     loop {
//!         listener.poll(Duration::from_secs(1))?;
//!     }
//! }
//! ```
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

#[cfg(all(target_pointer_width = "32", not(feature = "bindings")))]
compile_error!("libbpf's structs of 64 bits would be taken: build with the feature `bindings`");

mod attach;
mod attempt;
pub mod cause;
pub mod choose;
pub mod configuration;
pub mod embedded;
pub mod log;
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
pub use probe::{probe, probe_for};
pub use raw::give_memory_back;
pub use session::{Error, Log, Options, Session, load, plan};
pub use types::own_types;
pub use verifier::summary;
pub use verify::{Observed, verify};
