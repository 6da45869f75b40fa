//! `cargo xtask data btf`: minimal BTF of the project's objects for Debian's kernel lines, small enough for git.
//!
//! ```text
//! data/btf/debian.pack   one minimal BTF for each kernel, equal ones stored once
//! data/btf/kernels.json  what each was made from: package, version, sha256
//! ```

use crate::{cargo, kernels, objects, process, setup, workspace};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The architectures that the project's agents run on. The kernels of i386 have no BTF of their own.
const ARCHITECTURES: &[&str] = &["amd64", "arm64", "i386"];

fn folder() -> Result<PathBuf> {
    Ok(workspace::root()?.join("data/btf"))
}

fn pack() -> Result<PathBuf> {
    Ok(folder()?.join("debian.pack"))
}

/// Makes the data anew from the packages in the cache.
///
/// # Errors
/// No package is in the cache, a build or `lcc-btf gen` failed (also with an unguarded relocation), or a file cannot be
/// read or written.
pub(super) fn run() -> Result<()> {
    setup::install_missing()?;
    let objects = objects::build()?;
    let lcc_btf = cargo::build_lcc_btf()?;
    let mut packages = kernels::recorded()?;
    packages.retain(|package| ARCHITECTURES.contains(&&*package.architecture));
    if packages.is_empty() {
        bail!("no package in {}; `cargo xtask kernels` fetches them", workspace::cache()?.display());
    }
    // With what it keeps for resuming beside it: not in the checkout.
    let made = workspace::create(workspace::target()?.join("data"))?.join("debian.pack");
    let mut generate = process::command(&lcc_btf, &workspace::root()?);
    generate
        .arg("gen")
        .args(packages.iter().map(|package| &package.deb))
        .args(["--plan", "--json", "--pack"])
        .arg(&made);
    for object in &objects {
        generate.arg("--obj").arg(object);
    }
    eprintln!("+ {}", process::describe(&generate));
    let report: Value = serde_json::from_str(&process::stdout_of(&mut generate)?).context("read the report")?;
    let kernels = report["kernels"].as_array().context("find the kernels in the report")?;
    let mut entries = Map::new();
    for kernel in kernels {
        let package = packages.iter().find(|package| kernel["input"] == *package.deb.to_string_lossy());
        let package = package.with_context(|| format!("find the package of {}", kernel["kernel"]))?;
        let id = kernel["kernel"].as_str().context("find a kernel's name in the report")?;
        let entry = json!({
            "package": package.name, "version": package.version, "sha256": package.sha256,
            "btf": kernel["btf"], "bytes": kernel["bytes"],
        });
        entries.insert(id.to_owned(), entry);
    }
    let to = workspace::create(folder()?)?;
    std::fs::copy(&made, pack()?).with_context(|| format!("copy {}", made.display()))?;
    let index = to.join("kernels.json");
    let text = serde_json::to_string_pretty(&entries).context("write JSON")? + "\n";
    std::fs::write(&index, text).with_context(|| format!("write {}", index.display()))?;
    for id in entries.keys() {
        println!("{id}");
    }
    Ok(())
}

/// Unpacks every kernel's minimal BTF from the pack into `to`, in BTFHub's layout.
///
/// # Errors
/// The data cannot be read, or `lcc-btf pack` failed.
pub(crate) fn unpack(lcc_btf: &Path, to: &Path) -> Result<()> {
    let index = folder()?.join("kernels.json");
    let text = std::fs::read_to_string(&index).with_context(|| format!("read {}", index.display()))?;
    let entries: Map<String, Value> =
        serde_json::from_str(&text).with_context(|| format!("read {}", index.display()))?;
    for id in entries.keys() {
        let file = to.join(format!("{id}.btf"));
        workspace::create(file.parent().unwrap_or(to).to_path_buf())?;
        let mut get = process::command(lcc_btf, to);
        process::stdout_of(get.args(["pack", "get"]).arg(pack()?).arg(id).arg("-o").arg(&file))?;
    }
    Ok(())
}
