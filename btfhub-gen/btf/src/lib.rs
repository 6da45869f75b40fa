//! The BPF Type Format.
#![forbid(unsafe_code)]
