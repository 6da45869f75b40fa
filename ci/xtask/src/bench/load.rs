//! Loading and attaching by a plan, against libbpf that is told what to load; and the plan alone.

use super::table::{Cell, Table};
use crate::process;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// One row for each object, on the running kernel.
///
/// # Errors
/// The example program failed (it needs root), or printed something else.
pub(crate) fn table(load_cost: &Path, objects: &[PathBuf], repetitions: usize) -> Result<Table> {
    let mut rows = Vec::new();
    for object in objects {
        let mut command = process::command(load_cost, Path::new("/"));
        let printed = process::stdout_of(command.arg(object).arg(repetitions.to_string()))?;
        let figures: serde_json::Value = serde_json::from_str(&printed).context("read load_cost's output")?;
        let millis = |who: &str, which: &str| {
            figures[who][which].as_f64().map(|micros| micros / 1000.0).with_context(|| format!("{who} {which}"))
        };
        let name = object.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (lcc, libbpf) = (millis("lcc", "least")?, millis("libbpf", "least")?);
        let (lcc_median, libbpf_median) = (millis("lcc", "median")?, millis("libbpf", "median")?);
        rows.push(vec![
            Cell::text(name),
            Cell::Figure(figures["programs"].as_f64().context("programs")?, 0),
            Cell::Figure(lcc, 1),
            Cell::Figure(lcc_median, 1),
            Cell::Figure(libbpf, 1),
            Cell::Figure(libbpf_median, 1),
            Cell::Ratio(lcc / libbpf),
            Cell::Ratio(lcc_median / libbpf_median),
            Cell::Figure(millis("plan", "least")?, 1),
        ]);
    }
    Ok(Table {
        title: "Loading and attaching on this machine's kernel".to_owned(),
        columns: vec![
            "object",
            "programs",
            "lcc ms",
            "median",
            "libbpf ms",
            "median",
            "ratio",
            "of medians",
            "plan ms",
        ],
        rows,
        note: format!(
            "From an object's bytes to all programs attached, {repetitions} processes each, in turn. libbpf alone is told which \
             programs and maps to load; lcc finds it out. The plan: types in memory, not yet read, to all that is decided."
        ),
    })
}
