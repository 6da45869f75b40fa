//! Programs for other architectures, linked statically: by clang and lld, with headers and libraries of Debian's packages.
//!
//! Debian's cross compilers would do, but those of i386 and gcc-multilib exclude each other's packages, so that installing one may
//! remove what a machine has.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use lcc_vm::catalogue::Architecture;
use lcc_vm::fetch::Store;

use crate::{cargo, process, workspace};

/// What a static program of ours is linked with.
const PACKAGES: [&str; 7] =
    ["libc6-dev", "libc6", "linux-libc-dev", "libgcc-12-dev", "libelf-dev", "zlib1g-dev", "libzstd-dev"];

/// The suite that these are of: its C library is older than what most machines have, and static.
const SUITE: apt::Suite = apt::Suite::BOOKWORM;

/// What programs are built for.
pub(crate) struct Target {
    /// As rustc calls it. `None`: this machine, by the profile of tests and with its own libraries, as `cargo test` builds all anyway.
    triple: Option<String>,
    /// Headers and libraries, and as the C compiler calls the target; `None` for this machine's own.
    sysroot: Option<(PathBuf, &'static str)>,
    /// Whether libbpf's structs have to be read anew: those that libbpf-sys brings are of 64 bits.
    bindings: bool,
}

impl Target {
    /// This machine's, or another one, for which packages are fetched.
    ///
    /// # Errors
    /// They cannot be had, or rustc has no standard library for it.
    pub(crate) fn of(store: &Store, architecture: Architecture) -> Result<Target> {
        let host = host()?;
        let (triple, c) = match architecture {
            Architecture::Amd64 => ("x86_64-unknown-linux-gnu", "x86_64-linux-gnu"),
            Architecture::Arm64 => ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu"),
            Architecture::I386 => ("i686-unknown-linux-gnu", "i686-linux-gnu"),
            Architecture::Armhf => bail!("nothing is built for armhf"),
        };
        if triple == host {
            return Ok(Target { triple: Some(host), sysroot: None, bindings: false });
        }
        install_standard_library(triple)?;
        let name = architecture.name();
        let sysroot = store.folder(&format!("sysroot-{name}"), || {
            let root = store.root(SUITE, name)?;
            let packages = root.newest(&PACKAGES.map(str::to_owned))?;
            packages.iter().map(|package| store.package(SUITE, name, package)).collect()
        })?;
        let triple = Some(triple.to_owned());
        Ok(Target { triple, sysroot: Some((sysroot, c)), bindings: architecture == Architecture::I386 })
    }

    /// This machine, with its own libraries: nothing is built that its tests do not need.
    pub(crate) fn here() -> Target {
        Target { triple: None, sysroot: None, bindings: false }
    }

    /// Whether programs need libraries of this machine.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.triple.is_none()
    }

    /// Where cargo puts what is built.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        let target = workspace::target()?;
        Ok(self.triple.as_ref().map_or_else(|| target.join("debug"), |triple| target.join(triple).join(PROFILE)))
    }

    /// A cargo command (`build`, `test`) for programs of these packages; those of `loaders` link libbpf.
    pub(crate) fn cargo(&self, what: &str, loaders: &[&str], others: &[&str]) -> Result<Command> {
        let mut build = cargo::command()?;
        let Some(triple) = &self.triple else {
            build.args([what, "--workspace"]);
            return Ok(build);
        };
        build.arg(what).args(loaders.iter().chain(others).flat_map(|package| ["--package", package]));
        let also = if self.bindings { &["static", "bindings"][..] } else { &["static"] };
        let features: Vec<String> =
            loaders.iter().flat_map(|package| also.iter().map(move |feature| format!("{package}/{feature}"))).collect();
        build.args(["--profile", PROFILE, "--target", triple, "--features", &features.join(",")]);
        let Some((sysroot, c)) = &self.sysroot else {
            let libelf = process::stdout_of(process::command("gcc", "/".as_ref()).arg("-print-file-name=libelf.a"))?;
            let libraries = PathBuf::from(libelf.trim()).parent().context("find libelf.a")?.to_owned();
            // a target of its own: what is built for this machine's own programs stays
            build.env("RUSTFLAGS", "-C target-feature=+crt-static").env("LIBBPF_SYS_LIBRARY_PATH", libraries);
            return Ok(build);
        };
        let flags = format!("--target={c} --sysroot={}", sysroot.display());
        let of = |name: &str| format!("{name}_{}", triple.replace('-', "_"));
        let linker = format!("CARGO_TARGET_{}_LINKER", triple.replace('-', "_").to_uppercase());
        let linked: Vec<String> =
            flags.split(' ').chain(["-fuse-ld=lld"]).map(|flag| format!("-C link-arg={flag}")).collect();
        build.env(linker, "clang").env("RUSTFLAGS", format!("-C target-feature=+crt-static {}", linked.join(" ")));
        build.env(of("CC"), "clang").env(of("AR"), "llvm-ar").env(of("CFLAGS"), &flags);
        build.env(of("BINDGEN_EXTRA_CLANG_ARGS"), &flags).env("LIBBPF_SYS_EXTRA_CFLAGS", &flags);
        let multiarch = if *c == "i686-linux-gnu" { "i386-linux-gnu" } else { c };
        build.env("LIBBPF_SYS_LIBRARY_PATH", sysroot.join("usr/lib").join(multiarch));
        Ok(build)
    }

    /// A C compiler for it, with its arguments.
    pub(crate) fn c_compiler(&self) -> String {
        match &self.sysroot {
            None => "gcc".to_owned(),
            Some((sysroot, c)) => format!("clang --target={c} --sysroot={} -fuse-ld=lld", sysroot.display()),
        }
    }
}

/// A profile of the workspace: as fast as release where it matters, and linked in a fraction of the time.
const PROFILE: &str = "guest";

/// This machine's target, as rustc calls it.
fn host() -> Result<String> {
    let rustc = process::stdout_of(process::command("rustc", "/".as_ref()).arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("find rustc's host")?;
    Ok(host.to_owned())
}

/// Has rustup fetch the standard library of a target, unless it is there.
fn install_standard_library(triple: &str) -> Result<()> {
    let root = workspace::root()?;
    let libraries =
        process::stdout_of(process::command("rustc", &root).args(["--print", "target-libdir", "--target", triple]))?;
    if PathBuf::from(libraries.trim()).is_dir() {
        return Ok(());
    }
    if process::find_program("rustup").is_none() {
        bail!("no rustup here; install by your package manager rustc's standard library for {triple}");
    }
    process::run(process::command("rustup", &root).args(["target", "add", triple]))
}
