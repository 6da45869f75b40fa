//! Tests across crates, on the real kernels that `cargo xtask kernels` puts into the cache. Nothing but tests is here.
