//! Opening a kernel's BTF and finding one type: this project's reader against btf-rs.

use super::table::{Cell, Table};
use crate::process;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// One row for each file.
///
/// # Errors
/// The example program failed or printed something else.
pub(crate) fn table(open_find: &Path, files: &[(String, PathBuf)]) -> Result<Table> {
    let mut rows = Vec::new();
    for (name, file) in files {
        let mut command = process::command(open_find, Path::new("/"));
        let printed = process::stdout_of(command.arg(file).args(["task_struct", "20"]))?;
        let figures: serde_json::Value = serde_json::from_str(&printed).context("read open_find's output")?;
        let millis = |key: &str| figures[key].as_f64().map(|micros| micros / 1000.0).with_context(|| key.to_owned());
        let (ours, oracle) = (millis("btf_us")?, millis("btf_rs_us")?);
        let row = [Cell::text(name), Cell::Figure(ours, 2), Cell::Figure(oracle, 2), Cell::Ratio(ours / oracle)];
        rows.push(row.to_vec());
    }
    Ok(Table {
        title: "Opening a BTF and finding task_struct".to_owned(),
        columns: vec!["BTF", "btf ms", "btf-rs ms", "ratio"],
        rows,
        note: "Least of 20 runs in one process, the file in memory.".to_owned(),
    })
}
