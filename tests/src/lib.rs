//! Tests across crates, on the running kernel and on the real ones that `cargo xtask kernels` puts into the cache. Here is what
//! they begin with.

pub mod impairer;
pub mod netns;
pub mod segments;
pub mod server;

use std::path::{Path, PathBuf};

/// Says that a test is skipped. Where `CI=true` none may be, and it fails.
pub fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {why}");
    eprintln!("skipped: {why}");
}

/// Whether BPF can be loaded here; where not, that is said.
pub fn may_load() -> bool {
    let may = rustix::process::geteuid().is_root() && Path::new("/sys/kernel/btf/vmlinux").exists();
    if !may {
        skip("needs root, and a kernel with BTF of its own");
    }
    may
}

/// The checkout's root.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compiles a BPF source, given by its path from the checkout's root. `None`, said, where there is no clang.
pub fn compile(source: &str) -> Option<Vec<u8>> {
    compile_with(source, &[])
}

/// As [`compile`], with arguments of clang's besides.
pub fn compile_with(source: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    compile::for_test(&project(), Path::new(source), arguments)
}
