//! Tests across crates, on the running kernel and on the real ones that `cargo xtask kernels` puts into the cache. Here is what
//! they begin with.

use std::path::{Path, PathBuf};
use std::process::Command;

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
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("object.o");
    let mut clang = Command::new("clang");
    clang.args([
        "-target",
        "bpf",
        "-mcpu=v2",
        "-g",
        "-O2",
        "-std=gnu11",
        "-Wall",
        "-Werror",
        "-I",
        "bpf",
        "-c",
        source,
    ]);
    match clang.current_dir(project()).arg("-o").arg(&out).status() {
        Ok(status) => assert!(status.success(), "clang does not compile {source}"),
        Err(error) => {
            skip(&format!("clang: {error}"));
            return None;
        }
    }
    Some(std::fs::read(out).expect("the object"))
}
