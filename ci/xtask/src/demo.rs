//! `cargo xtask demo`: the main job on real kernels without a download. Minimal BTF of the project's objects for this
//! machine's kernel and for every kernel in `data/btf`, with the fate of each relocation.

use crate::{cargo, data, objects, process, setup, workspace};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

/// The running kernel's own BTF.
const OWN_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Runs `lcc-btf gen`, whose table is the last thing printed, and passes its exit code on.
///
/// # Errors
/// The set-up or a build failed, or `data/btf` cannot be read.
pub(crate) fn run() -> Result<ExitCode> {
    setup::install_missing()?;
    let status = generate()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}

/// As [`run`]; also an unresolved relocation is an error.
///
/// # Errors
/// As [`run`], and when `lcc-btf gen` does not end with 0.
pub(crate) fn check() -> Result<()> {
    let status = generate()?;
    if !status.success() {
        bail!("lcc-btf gen ended with {status}");
    }
    Ok(())
}

fn generate() -> Result<ExitStatus> {
    let objects = objects::build()?;
    let lcc_btf = cargo::build_lcc_btf()?;
    let folder = workspace::target()?.join("demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    let kernels = workspace::create(folder.join("kernels"))?;
    data::unpack(&lcc_btf, &kernels)?;

    let mut generate = process::command(&lcc_btf, &workspace::root()?);
    generate.arg("gen");
    if Path::new(OWN_BTF).exists() {
        generate.arg("running");
    } else {
        eprintln!("demo: without this machine's kernel, which has no {OWN_BTF}");
    }
    generate.arg(&kernels).arg("-o").arg(folder.join("btf"));
    for object in &objects {
        generate.arg("--obj").arg(object);
    }
    eprintln!("+ {}", process::describe(&generate));
    generate.status().with_context(|| format!("start {}", lcc_btf.display()))
}
