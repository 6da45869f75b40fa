//! `lcc-btf dump`

use std::process::ExitCode;

use anyhow::{Context, Result};
use btf::dump::{c, json, raw};
use btf::{Btf, TypeId};

use crate::args::{Dump, Format, Reading as Asked, jobs};
use crate::input::Options;
use crate::types::{Reading, named, read};

/// How the arguments say that types are read.
pub(super) fn reading(asked: &Asked) -> Reading<'_> {
    Reading {
        source: asked.from.into(),
        base: asked.base.as_deref(),
        options: Options { threads: jobs(asked.jobs), root: asked.root.clone() },
    }
}

/// Runs the command.
///
/// # Errors
/// The input cannot be read, or its types are damaged.
pub fn run(args: &Dump) -> Result<ExitCode> {
    let btf = read(&args.kernel, &reading(&args.reading))?;
    let name = || args.kernel.display().to_string();
    if args.types.is_empty() {
        let text = match args.format {
            Format::C => {
                let header = c::header(&btf).with_context(name)?;
                header.problems.iter().for_each(|problem| super::say(format_args!("{}: left out: {problem}", name())));
                header.text
            }
            Format::Raw => raw::listing(&btf).with_context(name)?,
            Format::Json => json::document(&btf).with_context(name)? + "\n",
        };
        super::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut missing = false;
    let mut ids = Vec::new();
    for text in &args.types {
        let found = named(&btf, text);
        if found.is_empty() {
            super::say(format_args!("{}: no type {text}", name()));
            missing = true;
        }
        ids.extend(found);
    }
    super::print(&types(&btf, &ids, args.format).with_context(name)?)?;
    Ok(ExitCode::from(u8::from(missing)))
}

fn types(btf: &Btf<'_>, ids: &[TypeId], format: Format) -> Result<String> {
    let mut text = String::new();
    match format {
        Format::C => {
            let mut dumper = c::Dumper::new(btf)?;
            ids.iter().try_for_each(|&id| dumper.dump(id))?;
            text = dumper.take();
        }
        Format::Raw => ids.iter().try_for_each(|&id| raw::write_type(btf, id, &mut text))?,
        Format::Json => {
            for &id in ids {
                let separator = if text.is_empty() { "{\"types\":[" } else { "," };
                text.push_str(separator);
                json::write_type(btf, id, &mut text)?;
            }
            text.push_str(if ids.is_empty() { "{\"types\":[]}\n" } else { "]}\n" });
        }
    }
    Ok(text)
}
