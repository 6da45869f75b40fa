//! pahole, where it is right: its types must be ours, and with the newest one its functions and variables too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use btf::Btf;
use dwarf::Output;

use crate::describe::{describe_all, describe_types};
use crate::toolchain::{find, run, skip};

/// Which versions of pahole are right about a fixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Debian 12's (1.24) about the types, the newest about everything.
    Both,
    /// The newest (1.32).
    Newest,
    Neither,
}

/// The kernel's options, and Rust left out.
const NEWEST: [&str; 3] = [
    "-J",
    "--lang_exclude=rust",
    "--btf_features=encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func",
];

/// The same types as the installed pahole's, which is older.
pub(crate) fn check_installed(folder: &Path, output: &Output) {
    let Some(pahole) = find("pahole") else { return skip("pahole is missing") };
    let theirs = encode(&pahole, &["-J", "--btf_gen_floats"], folder);
    compare(&describe_types(&parse(&output.btf)), &describe_types(&parse(&theirs)));
}

/// The same as the newest pahole's, where it is at hand: `$LCC_PAHOLE`, or where `cargo xtask kernels` unpacks it.
pub(crate) fn check_newest(folder: &Path, output: &Output) {
    let cached =
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/lcc/tools/pahole-1.32/run");
    let pahole = std::env::var_os("LCC_PAHOLE").map_or_else(cached, PathBuf::from);
    if !pahole.exists() {
        eprintln!("not compared with the newest pahole: no {}", pahole.display());
        return;
    }
    let theirs = encode(&pahole, &NEWEST, folder);
    compare(&describe_all(&parse(&output.btf)), &describe_all(&parse(&theirs)));
}

fn parse(data: &[u8]) -> Btf<'_> {
    Btf::parse(data).unwrap()
}

fn encode(pahole: &Path, options: &[&str], folder: &Path) -> Vec<u8> {
    let file = folder.join("pahole.btf");
    let detached = format!("--btf_encode_detached={}", file.display());
    run(Command::new(pahole).args(options).arg(detached).arg("out").current_dir(folder));
    std::fs::read(file).unwrap()
}

fn compare(ours: &[String], theirs: &[String]) {
    let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (ours.iter().collect(), theirs.iter().collect());
    let only_ours: Vec<_> = ours.difference(&theirs).collect();
    let only_theirs: Vec<_> = theirs.difference(&ours).collect();
    assert!(only_ours.is_empty() && only_theirs.is_empty(), "only ours: {only_ours:#?}\nonly pahole: {only_theirs:#?}");
}
