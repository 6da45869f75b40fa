//! `lcc-btf layout`

use std::process::ExitCode;

use anyhow::{Context, Result};
use btf::layout::{self, gdb, pahole};

use crate::args::{Layout, Style};
use crate::types::{named, read};

/// Runs the command.
///
/// # Errors
/// An input cannot be read, or the type has no layout.
pub fn run(args: &Layout) -> Result<ExitCode> {
    let mut missing = false;
    let mut all = Vec::new();
    for kernel in &args.kernels {
        let btf = read(kernel, &super::dump::reading(&args.reading))?;
        let name = || format!("{}: {}", kernel.display(), args.name);
        let ids = named(&btf, &args.name);
        let mut text = String::new();
        let mut reason = None;
        for id in ids {
            match layout::of(&btf, id) {
                Ok(layout) if args.json => {
                    all.push(serde_json::json!({ "kernel": kernel.display().to_string(), "layout": layout }));
                    text.push('\n');
                }
                Ok(layout) => {
                    text.push_str(&match args.style {
                        Style::Gdb => gdb::listing(&layout),
                        Style::Pahole => pahole::listing(&layout, args.cacheline),
                    });
                    text.push('\n');
                }
                // A function or a variable may have the name, too.
                Err(error @ btf::Error::WrongKind { .. }) => reason = Some(error),
                Err(error) => return Err(error).with_context(name),
            }
        }
        match reason {
            _ if args.json && !text.is_empty() => {}
            _ if !text.is_empty() => {
                if args.kernels.len() > 1 {
                    text.insert_str(0, &format!("{}:\n", kernel.display()));
                }
                super::print(&text)?;
            }
            Some(reason) => {
                super::say(format_args!("{}: {reason}", name()));
                missing = true;
            }
            None => {
                super::say(format_args!("{}: no such type", name()));
                missing = true;
            }
        }
    }
    if args.json {
        super::print(&(serde_json::to_string_pretty(&all)? + "\n"))?;
    }
    Ok(ExitCode::from(u8::from(missing)))
}
