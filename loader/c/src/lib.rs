//! The loader for C, and for whatever can call C.
//!
//! ```text
//! lcc_loader_new ─ object, BTF, configuration, … ─▶ lcc_loader_load ─▶ lcc_session ─ lcc_session_listen, _poll ─▶ events
//!       │                                                 │
//!       └── lcc_loader_plan: what would be loaded         └── lcc_loader_error: why not, with the plan
//! ```
//!
//! The header, `include/lcc_loader.h`, is made of this crate by cbindgen; its text is the documentation that users read.
//! Handles are opaque. An instance is used by one thread at a time; several instances know nothing of each other, and each
//! has its own log and its own last error. No panic leaves a function.

mod code;
mod handle;
mod load;
mod options;
mod session;

pub use code::{lcc_code, lcc_error};
pub use load::{lcc_loader_load, lcc_loader_plan, lcc_loader_plan_text};
pub use options::*;
pub use session::*;
