//! BTF for every kernel, from its own debug information, cut to what BPF objects need.

pub mod error;
pub mod input;
pub mod kernel_id;

pub use error::Error;
pub use kernel_id::Identity;
pub use pack::KernelId;
