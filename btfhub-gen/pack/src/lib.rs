//! One content-addressed archive of BTF for many kernels.
#![forbid(unsafe_code)]

mod kernel_id;

pub use kernel_id::{InvalidKernelId, KernelId};
