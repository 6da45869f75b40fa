//! `lcc-load verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use loader::choose::{Places, choose};

use crate::cmd::{here, name, parse, print, read};

pub(super) fn run(objects: &[PathBuf]) -> Result<ExitCode> {
    let mut differs = false;
    for object in objects {
        let bytes = read(object)?;
        let parsed = parse(object, &bytes)?;
        let facts = here(&parsed);
        let chosen = choose(&parsed, &facts, &Places::here())?;
        let (plan, observed) = loader::verify(&name(object), &bytes, &facts, chosen.btf.as_ref())?;
        differs |= observed.iter().any(loader::Observed::differs);
        let kernel = plan.kernel.as_deref().unwrap_or_default();
        print(&format!("{} on {kernel}\n{}", plan.object, compare(&observed).trim_end()))?;
    }
    Ok(ExitCode::from(u8::from(differs)))
}

/// One line for each program: what was predicted, and what the kernel did.
fn compare(observed: &[loader::Observed]) -> String {
    let width = observed.iter().map(|one| one.program.len()).max().unwrap_or(0);
    let mut text = String::new();
    for one in observed {
        let did = match &one.refused {
            None if one.silently => "is taken, and would do something else".to_owned(),
            None => "works".to_owned(),
            Some((stage, why)) => format!("refused to {stage}: {why}"),
        };
        let sign = if one.differs() { "DIFFERS" } else { "       " };
        text += &format!("{sign} {:width$}  predicted {:7}  {did}\n", one.program, one.predicted.word());
    }
    text
}
