//! Installs what a bare Debian 12 lacks: only what is missing, saying what it does and why.

use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use lcc_vm::catalogue::{Architecture, Entry};
use std::path::Path;
use std::process::ExitCode;

/// How to see that a need is met, whichever package or distribution met it.
enum Probe {
    Program(&'static str),
    /// Any one of these files.
    File(&'static [&'static str]),
    /// A file of that path in a folder of that folder: one for each version.
    Below(&'static str, &'static str),
}

/// One Debian package and the reason it is needed.
struct Need {
    package: &'static str,
    probe: Probe,
    why: &'static str,
}

const NEEDS: &[Need] = &[
    Need { package: "clang", probe: Probe::Program("clang"), why: "compiles the BPF objects and the DWARF fixtures" },
    Need {
        package: "llvm",
        probe: Probe::Program("llvm-strip"),
        why: "strips the BPF objects; llvm-dwp, llvm-dwarfdump for the fixtures",
    },
    Need { package: "gcc", probe: Probe::Program("gcc"), why: "compiles the DWARF fixtures that clang cannot make" },
    Need { package: "g++", probe: Probe::Program("g++"), why: "builds libFuzzer's runtime" },
    Need {
        package: "libc6-dev",
        probe: Probe::File(&["/usr/include/stdio.h"]),
        why: "C headers for libFuzzer's runtime and for bundled liblzma and libzstd",
    },
    Need {
        package: "linux-libc-dev",
        probe: Probe::File(&["/usr/include/linux/bpf.h"]),
        why: "linux/bpf.h, which libbpf's headers include",
    },
    Need {
        package: "libbpf-dev",
        probe: Probe::File(&["/usr/include/bpf/bpf_core_read.h"]),
        why: "bpf_core_read.h for the BPF objects; libbpf is the oracle for relocation",
    },
    Need {
        package: "libelf-dev",
        probe: Probe::File(&["/usr/include/libelf.h"]),
        why: "libbpf's dependency: of the loader, and where a test links it",
    },
    Need { package: "zlib1g-dev", probe: Probe::File(&["/usr/include/zlib.h"]), why: "libelf's dependency" },
    Need { package: "make", probe: Probe::Program("make"), why: "builds the libbpf that the loader links" },
    Need { package: "pkg-config", probe: Probe::Program("pkg-config"), why: "finds libbpf when a test links it" },
    Need { package: "bpftool", probe: Probe::Program("bpftool"), why: "oracle for BTF dumps and for minimal BTF" },
    Need { package: "dwarves", probe: Probe::Program("pahole"), why: "pahole is the oracle for DWARF to BTF" },
    Need { package: "dwz", probe: Probe::Program("dwz"), why: "makes the partial-unit fixtures" },
    Need {
        package: "binutils",
        probe: Probe::Program("objcopy"),
        why: "compresses and strips debug sections in the fixtures",
    },
    Need { package: "xz-utils", probe: Probe::Program("xz"), why: "the tests make BTFHub archives with it" },
    Need { package: "bzip2", probe: Probe::Program("bzip2"), why: "the tests compress inputs with it" },
    Need { package: "zstd", probe: Probe::Program("zstd"), why: "the tests compress inputs with it" },
    Need { package: "iproute2", probe: Probe::Program("tc"), why: "makes the networks that pings are traced through" },
    Need { package: "iputils-ping", probe: Probe::Program("ping"), why: "asks for the pings that pingtrace follows" },
    Need {
        package: "valgrind",
        probe: Probe::Program("valgrind"),
        why: "the loader's C interface is used under it in a test",
    },
    Need {
        package: "python3",
        probe: Probe::Program("python3"),
        why: "the loader's example for Python is run in a test",
    },
    Need {
        package: "python3-venv",
        probe: Probe::Below("/usr/lib", "ensurepip/__init__.py"),
        why: "Python's gRPC is installed with it, and probed in a test",
    },
    Need {
        package: "prometheus-node-exporter",
        probe: Probe::Program("prometheus-node-exporter"),
        why: "a stripped Go program that is probed in a test",
    },
    Need { package: "nginx", probe: Probe::Program("nginx"), why: "a server that tcprt measures" },
    Need { package: "apache2-utils", probe: Probe::Program("ab"), why: "asks nginx, and counts its requests" },
    Need { package: "wrk", probe: Probe::Program("wrk"), why: "asks nginx, and leaves in the middle" },
    Need {
        package: "redis-server",
        probe: Probe::Program("redis-server"),
        why: "a server that tcprt measures, and redis-benchmark",
    },
    Need {
        package: "postgresql",
        probe: Probe::Below("/usr/lib/postgresql", "bin/initdb"),
        why: "a server that tcprt measures, and pgbench",
    },
    Need { package: "openssl", probe: Probe::Program("openssl"), why: "makes nginx's certificate" },
    Need { package: "gdb", probe: Probe::Program("gdb"), why: "oracle for layouts, by its ptype /o" },
];

impl Need {
    fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => process::find_program(name).is_some(),
            Probe::File(paths) => paths.iter().any(|path| Path::new(path).exists()),
            Probe::Below(folder, path) => {
                let versions = std::fs::read_dir(folder).into_iter().flatten().flatten();
                versions.map(|version| version.path().join(path)).any(|path| path.exists())
            }
        }
    }
}

/// What only booting kernels of an architecture needs.
const fn emulator(architecture: Architecture) -> &'static [Need] {
    match architecture {
        Architecture::Amd64 | Architecture::I386 => &[Need {
            package: "qemu-system-x86",
            probe: Probe::Program("qemu-system-x86_64"),
            why: "boots real kernels, without KVM",
        }],
        Architecture::Arm64 => &[Need {
            package: "qemu-system-arm",
            probe: Probe::Program("qemu-system-aarch64"),
            why: "boots kernels of AArch64",
        }],
        Architecture::Armhf => &[],
    }
}

/// What only programs for other architectures need.
const CROSS: &[Need] =
    &[Need { package: "lld", probe: Probe::Program("ld.lld"), why: "links programs for other architectures" }];

/// What only building kernels needs.
const KERNEL_BUILD: &[Need] = &[
    Need {
        package: "flex",
        probe: Probe::Program("flex"),
        why: "the kernel's configuration is read by a scanner that it makes",
    },
    Need {
        package: "bison",
        probe: Probe::Program("bison"),
        why: "the kernel's configuration is read by a parser that it makes",
    },
    Need { package: "bc", probe: Probe::Program("bc"), why: "the kernel's time constants are computed by it" },
    Need {
        package: "libssl-dev",
        probe: Probe::File(&["/usr/include/openssl/cms.h"]),
        why: "signatures of modules, which the kernel's lockdown brings along",
    },
];

/// What only measuring tcprt needs: what users look at servers with today.
const ONLOOKERS: &[Need] = &[
    Need { package: "bpftrace", probe: Probe::Program("bpftrace"), why: "a script of it is held against tcprt" },
    Need { package: "libbpf-tools", probe: Probe::Program("tcplife"), why: "its tcplife is held against tcprt" },
    Need { package: "bpfcc-tools", probe: Probe::Program("tcplife-bpfcc"), why: "its tcplife is held against tcprt" },
];

fn missing(needs: &'static [Need]) -> Vec<&'static Need> {
    needs.iter().filter(|need| !need.is_met()).collect()
}

/// Says what is missing; exit 1 if anything is.
///
/// # Errors
/// None today; the signature is every subcommand's.
pub(crate) fn check() -> Result<ExitCode> {
    let missing = missing(NEEDS);
    for need in &missing {
        println!("missing: {:<16} {}", need.package, need.why);
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Installs what is missing by apt-get, on Debian and its kin, as root.
///
/// # Errors
/// Not root, no apt-get (the message says what to install), apt-get failed, or a need is still unmet after it.
pub(crate) fn install_missing() -> Result<()> {
    install(NEEDS)
}

/// Installs what booting kernels of these architectures needs besides.
///
/// # Errors
/// As [`install_missing`].
pub(crate) fn install_emulators(architectures: &[Architecture]) -> Result<()> {
    architectures.iter().try_for_each(|architecture| install(emulator(*architecture)))
}

/// Installs what these entries of the matrix need besides.
///
/// # Errors
/// As [`install_missing`].
pub(crate) fn install_for(entries: &[Entry]) -> Result<()> {
    for entry in entries.iter().filter(|entry| entry.kernel.boot) {
        install(emulator(entry.kernel.arch))?;
        if entry.kernel.arch != Architecture::Amd64 {
            install(CROSS)?;
        }
        if entry.kernel.source.is_some() {
            install(KERNEL_BUILD)?;
        }
    }
    Ok(())
}

/// Installs what tcprt is measured beside.
///
/// # Errors
/// As [`install_missing`].
pub(crate) fn install_onlookers() -> Result<()> {
    install(ONLOOKERS)
}

fn install(needs: &'static [Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("setup: this machine lacks");
    for need in &missing {
        eprintln!("  {:<16} {}", need.package, need.why);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    install_packages(&packages)?;
    let left: Vec<&str> = missing.iter().filter(|need| !need.is_met()).map(|need| need.package).collect();
    if !left.is_empty() {
        bail!("setup: apt-get succeeded, but what these packages should bring is still missing: {}", left.join(" "));
    }
    Ok(())
}

/// `apt-get update` once, then `apt-get install` of these packages.
fn install_packages(packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get update && apt-get install --no-install-recommends {}", packages.join(" "));
    if process::find_program("apt-get").is_none() {
        bail!("setup: no apt-get here; install by your package manager what Debian calls: {}", packages.join(" "));
    }
    if !is_root()? {
        bail!("setup: not root; run as root: {by_hand}");
    }
    eprintln!("setup: as root: {by_hand}");
    let _services = Services::stay_as_they_are()?;
    let root = workspace::root()?;
    let apt_get = || {
        let mut command = process::command("apt-get", &root);
        // A line for every package says nothing; what goes wrong is on stderr.
        command.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::process::Stdio::null());
        command
    };
    process::run(apt_get().args(["-qq", "update"]))?;
    process::run(
        apt_get()
            .args(["-qq", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"])
            .args(["install", "--no-install-recommends"])
            .args(packages),
    )
}

/// No package starts a service of its own: tests start servers by themselves.
struct Services {
    policy: Option<&'static Path>,
}

impl Services {
    /// By the program that Debian's packages ask (invoke-rc.d(8)), unless this machine has one.
    fn stay_as_they_are() -> Result<Self> {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Ok(Self { policy: None });
        }
        const NOT_ALLOWED: &str = "#!/bin/sh\nexit 101\n";
        std::fs::write(policy, NOT_ALLOWED).with_context(|| format!("write {}", policy.display()))?;
        let services = Self { policy: Some(policy) };
        std::fs::set_permissions(policy, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .with_context(|| format!("make {} executable", policy.display()))?;
        Ok(services)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(error) = self.policy.and_then(|policy| std::fs::remove_file(policy).err()) {
            eprintln!("setup: remove policy-rc.d: {error}");
        }
    }
}

fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    Ok(effective == Some("0"))
}
