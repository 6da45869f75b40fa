//! What of a BPF object works on a kernel, and why.
//!
//! One pure function, [`plan`], decides: live, with facts probed on the running kernel, and offline, with facts read off
//! a kernel's debug information. It infers what each program needs from the object itself (section, CO-RE relocations,
//! helpers and kernel functions in the instructions that can be reached, maps, externs, arguments that are read) and holds
//! it against the [`Kernel`]. What is not known is unknown, and never "no".
//!
//! ```text
//! object ──ObjectFile──▶ needs of each program ─┐
//!                                               ├─ judge ─▶ requirements ─▶ groups of alternatives ─▶ Plan
//! KernelFacts, BTF, attach surface ──▶ Kernel ──┘
//! ```
#![forbid(unsafe_code)]

pub mod alternatives;
mod arguments;
mod callers;
mod decide;
#[cfg(test)]
mod documented;
pub mod facts;
mod judge;
mod kernel;
mod lookups;
mod names;
mod needs;
mod requirement;
mod section;
mod signature;
pub mod text;

pub use alternatives::{Choice, Group, Member, Rule};
pub use decide::{Hints, MapPlan, Outcome, Plan, ProgramPlan, Reason, Refused, VERSION, plan, prepare};
pub use facts::{Answer, Feature, KernelFacts, Lockdown, Security};
pub use kernel::Kernel;
pub use lookups::lookups;
pub use needs::{MapDefinition, maps};
pub use requirement::{Need, Requirement, Status};
pub use section::{Attach, SectionKind};
