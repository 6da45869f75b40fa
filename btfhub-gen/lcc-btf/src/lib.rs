//! BTF for every kernel.
