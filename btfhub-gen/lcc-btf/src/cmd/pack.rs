//! `lcc-btf pack list|get|verify`

use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use btf::Btf;
use pack::{Lookup, Pack};

use crate::args::PackCommand;
use crate::error::Error;
use packages::spill::Bytes;

/// Runs the command.
///
/// # Errors
/// The pack cannot be read.
pub fn run(command: &PackCommand) -> Result<ExitCode> {
    match command {
        PackCommand::List { pack, json } => list(pack, *json),
        PackCommand::Get { pack, kernel, module, surface, output } => {
            let bytes = open(pack)?;
            let opened = Pack::open(&bytes).map_err(Error::pack(pack))?;
            let (distro, version, arch, release) = (kernel.distro(), kernel.version(), kernel.arch(), kernel.release());
            let hash = match opened.find_module(distro, version, arch, release, module) {
                Lookup::Found(entry) if *surface => entry.surface,
                Lookup::Found(entry) => Some(entry.btf),
                Lookup::Absent => None,
            };
            let Some(hash) = hash else {
                let what = if *surface { "attach surface" } else { "BTF" };
                let module = if module.is_empty() { String::new() } else { format!(" module {module}") };
                super::say(format_args!("{}: no {what} of {kernel}{module}", pack.display()));
                return Ok(ExitCode::from(1));
            };
            super::write(output, &opened.read(hash).map_err(Error::pack(pack))?)?;
            Ok(ExitCode::SUCCESS)
        }
        PackCommand::Verify { packs } => {
            let mut failed = false;
            for path in packs {
                match verify(path) {
                    Ok(text) => super::print(&text)?,
                    Err(error) => {
                        super::say(error);
                        failed = true;
                    }
                }
            }
            Ok(ExitCode::from(if failed { 2 } else { 0 }))
        }
    }
}

fn open(path: &Path) -> Result<Bytes, Error> {
    let file = File::open(path).map_err(Error::io("opening", path))?;
    Bytes::of_file(&file).map_err(Error::io("reading", path))
}

fn list(path: &Path, json: bool) -> Result<ExitCode> {
    let bytes = open(path)?;
    let pack = Pack::open(&bytes).map_err(Error::pack(path))?;
    let mut text = String::new();
    if json {
        let entries: Vec<_> = pack
            .entries()
            .map(|entry| {
                serde_json::json!({
                    "kernel": entry.id().to_string(),
                    "module": (!entry.module.is_empty()).then_some(entry.module),
                    "btf": entry.btf.to_string(),
                    "surface": entry.surface.map(|s| s.to_string()),
                })
            })
            .collect();
        text = serde_json::to_string_pretty(&entries)?;
        text.push('\n');
    } else {
        for entry in pack.entries() {
            let module = if entry.module.is_empty() { String::new() } else { format!(" {}", entry.module) };
            let _ = writeln!(text, "{}  {}{module}", entry.btf, entry.id());
        }
    }
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn verify(path: &Path) -> Result<String, Error> {
    let bytes = open(path)?;
    let pack = Pack::open(&bytes).map_err(Error::pack(path))?;
    pack.verify().map_err(Error::pack(path))?;
    for entry in pack.entries().filter(|entry| entry.module.is_empty()) {
        let content = pack.read(entry.btf).map_err(Error::pack(path))?;
        Btf::parse(&content).map_err(Error::btf(format!("{}: {}", path.display(), entry.id())))?;
    }
    let (entries, contents) = (pack.entries().len(), pack.blob_count());
    Ok(format!("{}: good: {entries} results, {contents} different contents, {} bytes\n", path.display(), bytes.len()))
}
