//! `lcc-load plan`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use btf::Btf;
use btf::core_relo::Target;
use loader::choose::from_environment;
use plan::{Hints, Kernel, KernelFacts};

use crate::args::Plan;
use crate::cmd::{here, parse, read, tell};

const OWN_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Of an ELF file, its section of types.
fn types(bytes: &[u8]) -> btf::Result<Btf<'_>> {
    if !bytes.starts_with(b"\x7fELF") {
        return Btf::parse(bytes);
    }
    let section = btf::elf::btf_section(bytes)?;
    // what has no such section is an error of the file's
    section.map_or_else(|| Btf::parse(&[]), |section| Btf::parse(section.btf))
}

pub(super) fn run(args: Plan) -> Result<ExitCode> {
    let bytes = read(&args.object)?;
    let object = parse(&args.object, &bytes)?;
    let is_other = args.facts.is_some() || args.btf.is_some();
    let facts: KernelFacts = match &args.facts {
        Some(path) => serde_json::from_slice(&read(path)?).with_context(|| path.display().to_string())?,
        None if is_other => KernelFacts::unknown(),
        None => here(&object),
    };
    // this machine's types say nothing of another kernel
    let of_here = || from_environment().or_else(|| Some(PathBuf::from(OWN_TYPES)).filter(|own| own.exists()));
    let path = args.btf.or_else(|| of_here().filter(|_| !is_other));
    let file = match path.as_deref() {
        Some(path) => Some(read(path)?),
        None => loader::embedded::extract(&facts).map_err(|why| anyhow!("{why}"))?,
    };
    let types = file.as_deref().map(types).transpose();
    let types = types.with_context(|| path.unwrap_or_default().display().to_string())?;
    let kernel = Kernel::new(&facts, types.as_ref().map(Target::kernel), None);
    tell(&plan::plan(&object, &kernel, &Hints::default()), args.telling)
}
