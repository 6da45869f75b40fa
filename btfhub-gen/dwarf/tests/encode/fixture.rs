//! Fixtures: C (and some Rust and assembly) made into files with debug information, and what is checked of each.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use btf::Btf;
use dwarf::{Input, Output};

use crate::describe::describe;
use crate::encoded::{encode, options};
use crate::pahole::{Right, check_installed, check_newest};
use crate::toolchain::{find, run, run_steps, skip};

/// How a file is made, and what is expected of it.
#[derive(Clone, Copy)]
pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    /// Command lines; the last one leaves `out`, and `sup` where there is a supplementary file.
    pub(crate) steps: &'static [&'static str],
    /// File in `tests/golden` with the description.
    pub(crate) golden: &'static str,
    /// Which versions of pahole are right.
    pub(crate) pahole: Right,
    /// Made for the machine and word size of the running kernel, which must accept it.
    pub(crate) kernel: bool,
}

/// A fixture's files.
pub(crate) struct Built {
    pub(crate) elf: Vec<u8>,
    pub(crate) supplementary: Option<Vec<u8>>,
    pub(crate) folder: tempfile::TempDir,
}

impl Built {
    pub(crate) fn input(&self) -> Input<'_> {
        Input { elf: &self.elf, supplementary: self.supplementary.as_deref() }
    }
}

/// Runs the steps. `None` where a tool is missing.
pub(crate) fn build(steps: &[&str]) -> Option<Built> {
    let folder = run_steps(steps)?;
    let elf = std::fs::read(folder.path().join("out")).unwrap();
    Some(Built { elf, supplementary: std::fs::read(folder.path().join("sup")).ok(), folder })
}

/// The description of what an encoder wrote.
pub(crate) fn description(output: &Output) -> String {
    describe(&Btf::parse(&output.btf).unwrap())
}

/// All that a fixture promises.
pub(crate) fn check(fixture: &Fixture) {
    let Some(built) = build(fixture.steps) else { return };
    let output = encode(&built.input(), &options()).unwrap();
    let mut text = description(&output);
    for (name, reason) in &output.dropped {
        text += &format!("no func {name}: {reason:?}\n");
    }
    for diagnostic in &output.diagnostics {
        text += &format!("note: {}\n", diagnostic.message);
    }
    check_golden(fixture.golden, &text);
    let file = built.folder.path().join("out.btf");
    std::fs::write(&file, &output.btf).unwrap();
    check_bpftool(&file);
    if fixture.pahole == Right::Both {
        check_installed(built.folder.path(), &output);
    }
    if fixture.pahole != Right::Neither {
        check_newest(built.folder.path(), &output);
    }
}

/// Compares with `tests/golden/NAME.txt`; `UPDATE_GOLDEN=1` rewrites it.
pub(crate) fn check_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (expected.split('\n').collect(), text.split('\n').collect());
        let mut difference = String::new();
        old.difference(&new).take(20).for_each(|line| difference += &format!("- {line}\n"));
        new.difference(&old).take(20).for_each(|line| difference += &format!("+ {line}\n"));
        panic!("{}: not as expected (UPDATE_GOLDEN=1 accepts it)\n{difference}", path.display());
    }
}

/// bpftool, whose reader is libbpf's, must be able to read and dump it as C.
fn check_bpftool(file: &Path) {
    let Some(bpftool) = find("bpftool") else { return skip("bpftool is missing") };
    run(Command::new(bpftool).args(["btf", "dump", "file"]).arg(file).args(["format", "c"]));
}
