//! Fixtures compiled from C, the program under test, and golden texts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) use tempfile::TempDir;

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The program under test.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lcc-btf"));
    command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    command
}

/// Runs the program in `folder`.
pub(crate) fn lcc(folder: &Path, args: &[&str]) -> Ran {
    program().current_dir(folder).args(args).output().expect("the program was built").into()
}

/// Runs the program in `folder` and expects this exit code.
#[track_caller]
pub(crate) fn lcc_expect(folder: &Path, args: &[&str], code: i32) -> Ran {
    let ran = lcc(folder, args);
    assert_eq!(ran.code, Some(code), "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran
}

/// Says that a test is skipped; that is a failure where everything must be tested.
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {why}");
}

/// Whether a program is there; says so where it is not.
pub(crate) fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        skip(&format!("{program} is not installed"));
    }
    there
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/fixtures")
}

#[track_caller]
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A small vmlinux with DWARF and a banner. Variants differ in offsets; from 3 on a member has another name; those above 10
/// have BPF, and differ as those of the last digit.
pub(crate) fn kernel(path: &Path, release: &str, variant: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    run(Command::new("cc")
        .args(["-g", "-O1", "-gdwarf-5", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-Wl,-e,start"])
        .arg(format!("-DRELEASE=\"{release}\""))
        .arg(format!("-DVARIANT={variant}"))
        // No folder of this machine in the debug information.
        .arg(format!("-fdebug-prefix-map={}=.", fixtures().display()))
        .arg(fixtures().join("kernel.c"))
        .arg("-o")
        .arg(path));
}

/// A module of a kernel.
pub(crate) fn module(path: &Path, release: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    run(Command::new("cc")
        .args(["-g", "-O1", "-gdwarf-5", "-ffreestanding", "-c"])
        .arg(format!("-DRELEASE=\"{release}\""))
        .arg(fixtures().join("module.c"))
        .arg("-o")
        .arg(path));
}

/// The BPF objects, compiled into `folder`. `None` where there is no clang.
pub(crate) fn objects(folder: &Path) -> Option<()> {
    if !has("clang") {
        return None;
    }
    for name in ["good", "bad"] {
        run(Command::new("clang")
            .args(["-g", "-O2", "-target", "bpf", "-mcpu=v2", "-c", "-fdebug-compilation-dir=."])
            .current_dir(fixtures())
            .arg(format!("{name}.bpf.c"))
            .arg("-o")
            .arg(folder.join(format!("{name}.o"))));
    }
    Some(())
}

/// A Debian debug package with `vmlinux` in it, made by dpkg-deb. `filler` bytes of noise stand before it, so that there
/// are several xz blocks.
pub(crate) fn deb(path: &Path, vmlinux: &Path, release: &str, compression: &str, filler: usize) {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let control = format!(
        "Package: linux-image-{release}-dbg\nSource: linux\nVersion: 6.1.76-1\nArchitecture: amd64\n\
         Maintainer: Debian Kernel Team <debian-kernel@lists.debian.org>\nDescription: Debug symbols\n"
    );
    write("DEBIAN/control", control.as_bytes());
    write(&format!("usr/lib/debug/boot/System.map-{release}"), &noise(filler));
    write(&format!("usr/lib/debug/boot/vmlinux-{release}"), &fs::read(vmlinux).unwrap());
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("usr/lib/debug/vmlinux")).unwrap();
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-z1", &format!("-Z{compression}"), "--build"])
        .arg(root.path())
        .arg(path));
}

/// An rpm debug package with `vmlinux` in it.
pub(crate) fn rpm(path: &Path, vmlinux: &Path, release: &str, compression: rpm::CompressionWithLevel) {
    let config = rpm::BuildConfig::default().compression(compression).source_date(0u32);
    let mut builder = rpm::PackageBuilder::new("kernel-debuginfo", "6.1.0", "GPLv2", "x86_64", "debug information");
    builder.using_config(config).release("18.el9").vendor("Rocky Enterprise Software Foundation");
    let file = rpm::FileOptions::new(format!("/usr/lib/debug/lib/modules/{release}/vmlinux"));
    builder.with_file_contents(fs::read(vmlinux).unwrap(), file).unwrap();
    let mut bytes = Vec::new();
    builder.build().unwrap().write(&mut bytes).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Bytes that hardly compress, always the same.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8
        })
        .collect()
}

/// All files below a folder, with their content.
pub(crate) fn tree(root: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Compares a text with `golden/<name>`. What differs from machine to machine must have been replaced. With
/// `UPDATE_GOLDEN=1` in the environment the file is written instead.
#[track_caller]
pub(crate) fn check_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} differs; UPDATE_GOLDEN=1 rewrites it\n--- expected\n{expected}--- got\n{text}");
}

/// A text with every time replaced: in the table's last column, and at the end of the last line.
pub(crate) fn without_times(text: &str) -> String {
    let is_time = |line: &str| -> Option<usize> {
        let line = line.strip_suffix(" ms").or_else(|| line.strip_suffix(" s"))?;
        let start = line.rfind(' ')? + 1;
        line[start..].parse::<f64>().ok().map(|_| start)
    };
    let replace = |line: &str| match is_time(line) {
        Some(start) => format!("{} TIME", line[..start].trim_end()),
        None => {
            line.trim_end_matches(" TIME").trim_end().to_owned() + if line.ends_with(" TIME") { " TIME" } else { "" }
        }
    };
    text.lines().map(|line| replace(line) + "\n").collect()
}

/// Real BTF of kernels that have none of their own, beside the project where its developers have it.
pub(crate) fn btfhub() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/btfhub");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: the kernels of ../shared/btfhub are not there");
    None
}
