//! Where the real BTF comes from. What is not there is skipped visibly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A kernel's BTF.
#[allow(dead_code, reason = "the path is for tools that read files")]
pub(crate) struct Kernel {
    /// Its release.
    pub(crate) name: String,
    /// Where its raw BTF lies.
    pub(crate) path: PathBuf,
    /// Its raw BTF.
    pub(crate) btf: Vec<u8>,
}

/// The running kernel, if it has BTF.
pub(crate) fn running() -> Option<Kernel> {
    let path = PathBuf::from("/sys/kernel/btf/vmlinux");
    match std::fs::read(&path) {
        Ok(btf) => Some(Kernel { name: "running".to_owned(), path, btf }),
        Err(e) => {
            eprintln!("SKIPPED: no BTF of the running kernel: {}: {e}", path.display());
            None
        }
    }
}

/// The running kernel, the archive's, and those that the environment variable `LCC_TEST_BTF` names (as `PATH` is written).
pub(crate) fn all() -> Vec<Kernel> {
    let named = std::env::var_os("LCC_TEST_BTF").unwrap_or_default();
    let named: Vec<PathBuf> = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    running().into_iter().chain(archive().iter().chain(&named).map(|path| read(path))).collect()
}

fn read(path: &Path) -> Kernel {
    let mut btf = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // Some vendors put an ELF file with nothing but `.BTF` under that name.
    if btf::elf::is_elf(&btf) {
        btf = btf::elf::btf_section(&btf).unwrap().expect("a .BTF section").btf.to_vec();
    }
    Kernel { name: path.file_stem().unwrap().to_string_lossy().into_owned(), path: path.to_owned(), btf }
}

/// The archive's raw BTF files, unpacked once into the target folder.
fn archive() -> &'static [PathBuf] {
    static UNPACKED: OnceLock<Vec<PathBuf>> = OnceLock::new();
    UNPACKED.get_or_init(|| {
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/btfhub");
        let mut packed = Vec::new();
        collect(&archive, &mut packed);
        packed.sort();
        if packed.is_empty() {
            eprintln!("SKIPPED: no BTFHub archive at {}", archive.display());
        }
        packed.iter().map(|path| unpack(path)).collect()
    })
}

fn collect(folder: &Path, packed: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, packed);
        } else if path.to_string_lossy().ends_with(".btf.tar.xz") {
            packed.push(path);
        }
    }
}

fn unpack(packed: &Path) -> PathBuf {
    let name = packed.file_name().unwrap().to_string_lossy().replace(".tar.xz", "");
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    if !unpacked.exists() {
        let tar = Command::new("tar").arg("-xJOf").arg(packed).output().expect("running tar");
        assert!(tar.status.success(), "unpacking {}: {}", packed.display(), String::from_utf8_lossy(&tar.stderr));
        let partial = unpacked.with_extension(format!("partial{}", std::process::id()));
        std::fs::write(&partial, tar.stdout).unwrap();
        std::fs::rename(&partial, &unpacked).unwrap();
    }
    unpacked
}

/// Says that a test is skipped for want of a tool; in CI that is a failure.
pub(crate) fn missing_tool(name: &str, reason: &dyn std::fmt::Display) {
    assert!(std::env::var_os("CI").is_none(), "{name} is missing: {reason}");
    eprintln!("SKIPPED: {name} is missing: {reason}");
}
