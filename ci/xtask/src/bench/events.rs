//! What it costs a BPF program to tell user space of an event.

use super::table::{Cell, Table};
use crate::process;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

/// Rounds, each of 4096 events in each way.
const ROUNDS: usize = 200;

/// The programs, and what they are.
const WAYS: [(&str, &str); 6] = [
    ("to_nobody", "the event made, and told to nobody"),
    ("to_log", "LCC_LOG: arrays, overwrites, read by looking"),
    ("to_queue", "BPF_MAP_TYPE_QUEUE with BPF_EXIST: overwrites, reading takes away"),
    ("to_ring_unheard", "ring buffer, BPF_RB_NO_WAKEUP"),
    ("to_ring", "ring buffer, its reader woken"),
    ("to_perf", "perf buffer, its reader woken"),
];

/// Runs the example program on its object.
///
/// # Errors
/// It failed (it needs root), or printed something else.
pub(crate) fn table(program: &Path, object: &Path) -> Result<Table> {
    let mut command = process::command(program, Path::new("/"));
    let said = process::stdout_of(command.arg(object).arg(ROUNDS.to_string()))?;
    let figures: Value = serde_json::from_str(&said).context("read event_cost's output")?;
    let figure = |program: &str, which: &str| figures[program][which].as_f64().unwrap_or(f64::NAN);
    let alone = figure("to_nobody", "median");
    let line = |&(program, way): &(&str, &str)| {
        let median = figure(program, "median");
        let most = Cell::Figure(figure(program, "most"), 0);
        vec![
            Cell::text(way),
            Cell::Figure(figure(program, "least"), 0),
            Cell::Figure(median, 0),
            most,
            Cell::Figure(median - alone, 0),
        ]
    };
    Ok(Table {
        title: "What telling an event costs".to_owned(),
        columns: vec!["way", "ns least", "ns median", "ns most", "more than nobody"],
        rows: WAYS.iter().map(line).collect(),
        note: format!("{ROUNDS} rounds of 4096 events of 240 bytes, by the kernel's own count (BPF_PROG_TEST_RUN)."),
    })
}
