//! BTF for every kernel, from its own debug information.
fn main() {}
