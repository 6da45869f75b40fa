//! The kernels in the cache, one after another, and what encoders make of them.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use dwarf::{Compat, Input, Options, Output};

/// A kernel in the cache.
pub(crate) struct Kernel {
    /// `6.1.0-56-amd64`.
    pub(crate) release: String,
    vmlinux: PathBuf,
    ours: OnceLock<Output>,
    pahole: OnceLock<Option<Vec<u8>>>,
}

impl Kernel {
    /// What is made here, by two threads.
    pub(crate) fn ours(&self, elf: &[u8]) -> &Output {
        self.ours.get_or_init(|| encode(elf, 2))
    }

    /// What pahole 1.32 makes; nothing where it is not at hand.
    pub(crate) fn pahole(&self) -> Option<&[u8]> {
        self.pahole.get_or_init(|| pahole(&self.release, &self.vmlinux)).as_deref()
    }

    /// The BTF that the kernel carries.
    pub(crate) fn own<'d>(&self, elf: &'d [u8]) -> Option<&'d [u8]> {
        let section = btf::elf::btf_section(elf).unwrap();
        if section.is_none() {
            eprintln!("{}: has no BTF of its own", self.release);
        }
        Some(section?.btf)
    }
}

/// Says why nothing is compared; with `CI=true` that is a failure.
fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("skipped: {why}");
}

/// As `cargo xtask kernels` has it.
fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    variable("LCC_CACHE").unwrap_or_else(|| user().expect("LCC_CACHE says where the kernels are").join("lcc"))
}

static KERNELS: LazyLock<Mutex<Vec<Kernel>>> = LazyLock::new(|| Mutex::new(kernels()));

/// Runs the check on every cached kernel, or on those that `LCC_KERNELS` names; tests wait for each other, as one kernel
/// fills the machine.
pub(crate) fn each_kernel(mut check: impl FnMut(&Kernel, &[u8])) {
    let kernels = KERNELS.lock().unwrap_or_else(PoisonError::into_inner);
    if kernels.is_empty() {
        skip(&format!("no kernels in {}; `cargo xtask kernels` fetches them", cache().join("kernels").display()));
    }
    for kernel in kernels.iter() {
        let file = std::fs::File::open(&kernel.vmlinux).unwrap();
        // SAFETY: nobody writes to the cached kernels.
        let elf = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        check(kernel, &elf);
    }
}

fn kernels() -> Vec<Kernel> {
    let wanted = std::env::var("LCC_KERNELS").ok();
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|names| names.split_whitespace().any(|one| one == name));
    let mut kernels = Vec::new();
    for folder in std::fs::read_dir(cache().join("kernels")).into_iter().flatten().flatten() {
        if !is_wanted(&folder.file_name().to_string_lossy()) {
            continue;
        }
        for file in std::fs::read_dir(folder.path().join("boot")).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(release) = name.strip_prefix("vmlinux-").filter(|_| !name.ends_with(".unfinished")) else {
                continue;
            };
            kernels.push(Kernel {
                release: release.to_owned(),
                vmlinux: file.path(),
                ours: OnceLock::new(),
                pahole: OnceLock::new(),
            });
        }
    }
    kernels.sort_by(|a, b| a.release.cmp(&b.release));
    kernels
}

/// The kernel's options, and Rust left out.
fn pahole(release: &str, vmlinux: &Path) -> Option<Vec<u8>> {
    let cached = || cache().join("tools/pahole-1.32/run");
    let pahole = std::env::var_os("LCC_PAHOLE").map_or_else(cached, PathBuf::from);
    if !pahole.exists() {
        skip(&format!("no {}; `cargo xtask kernels --only-tools` fetches it", pahole.display()));
        return None;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = folder.path().join(release);
    let features = "encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func";
    let status = std::process::Command::new(pahole)
        .args(["-J", "--lang_exclude=rust", "-j2"])
        .arg(format!("--btf_features={features}"))
        .arg(format!("--btf_encode_detached={}", out.display()))
        .arg(vmlinux)
        .status();
    assert!(status.unwrap().success(), "pahole on {release}");
    Some(std::fs::read(&out).unwrap())
}

pub(crate) fn encode(elf: &[u8], jobs: usize) -> Output {
    let decompress = |_, _: &[u8], _| Err("no section of a kernel is compressed".to_owned());
    let options =
        Options { jobs, compat: Compat::LATEST, base: None, rust: false, decompress: &decompress, release: None };
    dwarf::encode(&Input { elf, supplementary: None }, &options).unwrap()
}
