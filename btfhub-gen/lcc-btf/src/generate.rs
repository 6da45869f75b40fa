//! `lcc-btf gen`: from KERNELs to an archive of BTF.
//!
//! ```text
//! arguments ─ plan: units, shard ─┬─▶ unit ─ input ─ encode ─ minimize ─▶ results ─┐
//!                                 ├─▶ …  (a thread each)                            ├─▶ archive, report
//!                                 └─▶ unit whose results are kept from before ──────┘
//! ```
//!
//! A unit is one input. Its results depend on its content, the objects and the settings, and on nothing else; so they are
//! kept under the hash of these, and an interrupted run goes on where it was.

pub mod archive;
pub mod kernel;
pub mod layout;
pub mod merge;
pub mod modules;
pub mod objects;
pub mod plan;
pub mod run;
pub mod state;

pub use archive::Destination;
pub use objects::Objects;
pub use plan::Shard;
pub use run::{Settings, run};
