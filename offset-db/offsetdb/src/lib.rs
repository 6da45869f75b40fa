//! The offset of any function in any user library, stripped ones included: the command, and what it does.
//!
//! ```text
//! FILE ─> input (path, wheel, process) ─> label: its own names ────────────┐
//!                                     └─> references ─> identify ─> facts ─┴─> the database
//! ```

pub mod args;
pub mod cmd;
pub mod debug;
pub mod facts;
pub mod input;
pub mod labels;
pub mod lines;
pub mod owner;
pub mod package;
pub mod process;
pub mod pull;
pub mod relatives;
pub mod resolver;
pub mod verify;
