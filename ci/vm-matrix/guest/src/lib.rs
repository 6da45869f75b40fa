//! The inside of a virtual machine: what its first process is asked, what it does, and what it says.
//!
//! ```text
//! /job.json ─> modules, settings ─> objects, each verified in a process of its own ─> tests ─> commands ─> off
//!                                        └─ a line of JSON for each result, on the console, behind MARK
//! ```
//!
//! The host (`lcc-vm`) needs the words only, [`words`]; with the feature `init` there is also what is done, `init`.

#[cfg(feature = "init")]
pub mod init;
pub mod words;
