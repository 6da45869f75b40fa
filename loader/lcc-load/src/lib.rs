//! `lcc-load`: what of a BPF object works on this machine, and why. The work is done by `lcc-loader`; this is its command
//! line.

pub mod args;
pub mod cmd;
