//! DWARF to BTF on files that compilers make: every type, form of debug information and function rule that facts are
//! known of, each compiled from a fixture here and now.
//!
//! Goldens describe the BTF (`UPDATE_GOLDEN=1` rewrites them). Where pahole is right, its types must be the same.

mod damage;
mod describe;
mod encoded;
mod fixture;
mod fixtures;
mod forge;
mod hostile;
mod kernel;
mod options;
mod pahole;
mod sections;
mod toolchain;
mod watch;
