//! Cargo itself: the one that runs this program.

use crate::{process, workspace};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// A cargo command in the checkout's root.
///
/// # Errors
/// The working folder is not inside the checkout.
pub(crate) fn command() -> Result<Command> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Ok(process::command(cargo, &workspace::root()?))
}

/// Builds a program with the release profile (`["--package", "lcc-btf", "--bin", "lcc-btf"]`).
///
/// # Errors
/// The build failed.
pub(crate) fn build_release(what: &[&str]) -> Result<()> {
    process::run(command()?.args(["build", "--release"]).args(what))
}

/// Builds `lcc-btf` and returns it.
///
/// # Errors
/// The build failed.
pub(crate) fn build_lcc_btf() -> Result<PathBuf> {
    build_release(&["--package", "lcc-btf", "--bin", "lcc-btf"])?;
    Ok(workspace::target()?.join("release/lcc-btf"))
}
