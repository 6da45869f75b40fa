//! BTF for every kernel, from its own debug information, cut to what BPF objects need.

pub mod args;
pub mod cmd;
pub mod disk;
pub mod error;
pub mod generate;
pub mod input;
pub mod kernel_id;
pub mod report;
pub mod types;

pub use error::Error;
pub use kernel_id::Identity;
pub use pack::KernelId;
