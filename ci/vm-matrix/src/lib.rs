//! Boots real kernels in virtual machines, holds the plans of BPF objects against what they do, and runs tests there.
//!
//! ```text
//! kernels.toml ─> entries ─> fetch: packages, or sources that are built ─> initramfs ─> boot: qemu ─> lines of the guest
//!                                     BTF of DWARF, by `lcc-btf gen` ─────────┘                            │
//!                                     lcc-vm, objects, tests ─────────────────┘       results ─> pages, JSON, JUnit
//! ```
//!
//! Whatever a machine does is a result: it is done, it panics, hangs, floods its console or says nothing; each has a limit, and the
//! others go on.
//!
//! The program `lcc-vm` is both sides: on a host the command, in a machine the first process (the crate `vm-guest`).

pub mod boot;
pub mod catalogue;
pub mod fetch;
pub mod initramfs;
mod kept;
pub mod own;
pub mod programs;
mod progress;
pub mod report;
pub mod results;
pub mod run;
