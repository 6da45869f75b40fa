//! Tests across crates, on the running kernel and on the real ones that `cargo xtask kernels` puts into the cache. Here is what
//! they begin with.
//!
//! What a test needs, and cannot make where it runs (a machine of `cargo xtask matrix` has no compiler), the environment names:
//!
//! | variable | |
//! |---|---|
//! | `LCC_OBJECTS` | a folder with BPF objects, `NAME.bpf.c` as `NAME.o`: nothing is compiled |
//! | `LCC_FIXTURES` | a folder with what the example `victim` makes |
//! | `LCC_AGENTS` | a folder with the programs `tcprt`, `pingtrace` and `lcc-load` |
//! | `LCC_BTF` | the kernel's types, where it has none of its own: all, or those that the objects ask for |
//! | `LCC_EMULATED` | it is such a machine |

pub mod impairer;
pub mod kernels;
pub mod netns;
pub mod segments;
pub mod server;
pub mod talker;

use std::ffi::{CStr, OsString};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::{NamedTempFile, TempDir};

/// Says that a test is skipped. Where `CI=true` none may be, and it fails.
pub fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {why}");
    eprintln!("skipped: {why}");
}

/// Whether BPF can be loaded here; where not, that is said.
pub fn may_load() -> bool {
    let may = rustix::process::geteuid().is_root() && types().exists();
    if !may {
        skip("needs root, and a kernel with BTF of its own or LCC_BTF");
    }
    may
}

/// Whether the kernel has types of its own, which fentry and the like need.
pub fn has_own_types() -> bool {
    Path::new(OWN_TYPES).exists()
}

/// Whether functions of the kernel can be probed.
pub fn has_kprobes() -> bool {
    Path::new("/sys/bus/event_source/devices/kprobe").exists()
}

const OWN_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// The kernel's types, as the loader chooses them: of the file that `LCC_BTF` names, else the kernel's own.
pub fn types() -> PathBuf {
    let named = std::env::var_os("LCC_BTF").filter(|path: &OsString| !path.is_empty());
    named.map_or_else(|| OWN_TYPES.into(), PathBuf::from)
}

/// The kernel's types with another name in the place of one: an older kernel, as an object sees it. A file that is there as long as
/// this value.
///
/// # Panics
/// They cannot be read, or do not have the name.
pub fn types_without(name: &str) -> NamedTempFile {
    let mut bytes = std::fs::read(types()).expect("the kernel's types");
    let wanted = format!("\0{name}\0").into_bytes();
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).expect("the name in the kernel's types");
    bytes[at + name.len()] = b'_';
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("writing it");
    file
}

/// Whether this is a machine of `cargo xtask matrix`: emulated, so that it is slow and stands still while its host does other work; and
/// there for tests alone.
pub fn is_emulated() -> bool {
    std::env::var_os("LCC_EMULATED").is_some()
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

/// A BPF file system of a test's own, for pins.
pub struct BpfFolder(TempDir);

impl BpfFolder {
    /// Mounts it.
    ///
    /// # Panics
    /// This is not root, or the kernel has none.
    #[allow(clippy::new_without_default, reason = "it mounts")]
    pub fn new() -> BpfFolder {
        let folder = tempfile::tempdir().expect("a folder");
        mount("bpf", folder.path(), "bpf", MountFlags::empty(), None::<&CStr>).expect("a BPF file system");
        BpfFolder(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// How many folders are in it, beside the files that the kernel has there.
    ///
    /// # Panics
    /// It cannot be read.
    pub fn folders(&self) -> usize {
        let all = std::fs::read_dir(self.path()).expect("what is in it").flatten();
        all.filter(|entry| entry.path().is_dir()).count()
    }
}

impl Drop for BpfFolder {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::empty());
    }
}
