//! Servers that answer as fast as they can, alone and looked at: by tcprt, and by what users have today.

use super::table::{Cell, Table};
use crate::process;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What is run: the driver, the least agent on the object, and the agent.
pub(crate) struct Programs {
    pub(crate) cost: PathBuf,
    pub(crate) listen: PathBuf,
    pub(crate) agent: PathBuf,
}

/// Seconds of a turn.
const SECONDS: f64 = 1.0;

/// One table for each kind of load, and one of what the programs take themselves.
///
/// # Errors
/// The driver failed (it needs root and two processors), or printed something else.
pub(crate) fn tables(programs: &Programs, object: &Path, rounds: usize) -> Result<Vec<Table>> {
    let mut command = process::command(&programs.cost, Path::new("/"));
    command.arg(object).arg(&programs.listen).args([rounds.to_string(), SECONDS.to_string()]).arg(&programs.agent);
    let figures: Value =
        serde_json::from_str(&process::stdout_of(&mut command)?).context("read tcprt_cost's output")?;
    let rows = figures["rows"].as_array().context("rows")?;
    let mut loads: Vec<&str> = rows.iter().filter_map(|row| row["workload"].as_str()).collect();
    loads.dedup();
    let mut tables: Vec<Table> = loads.iter().map(|load| cost(load, &of(rows, load), rounds)).collect();
    if let Some(load) = loads.first() {
        tables.push(own(load, &of(rows, load), figures["not_run"].as_array().map_or(&[], Vec::as_slice)));
    }
    Ok(tables)
}

fn of<'r>(rows: &'r [Value], load: &str) -> Vec<&'r Value> {
    rows.iter().filter(|row| row["workload"] == load).collect()
}

fn name(row: &Value) -> Cell {
    Cell::text(row["contender"].as_str().unwrap_or_default())
}

/// What is not there is shown as a dash.
fn figure(value: &Value, decimals: usize) -> Cell {
    Cell::Figure(value.as_f64().unwrap_or(f64::NAN), decimals)
}

fn cost(load: &str, rows: &[&Value], rounds: usize) -> Table {
    let line = |row: &&Value| {
        let more = ["median", "least", "most"].map(|which| row["more_percent"][which].as_f64());
        let more = match more {
            [Some(median), Some(least), Some(most)] => format!("{median:+.1} % ({least:+.0} to {most:+.0})"),
            _ => String::new(),
        };
        vec![
            name(row),
            figure(&row["requests_per_second"]["median"], 0),
            Cell::text(format!(
                "{:.0}–{:.0}",
                number(&row["requests_per_second"]["least"]),
                number(&row["requests_per_second"]["most"])
            )),
            figure(&row["server_us"]["median"], 2),
            Cell::text(format!("{:.2}–{:.2}", number(&row["server_us"]["least"]), number(&row["server_us"]["most"]))),
            Cell::text(more),
            figure(&row["bpf_ns_per_request"], 0),
            figure(&row["bpf_ns_per_event"], 0),
            figure(&row["contender_us"]["median"], 2),
            Cell::text(format!("{} of {}", row["events"], row["requests"])),
            figure(&row["lost"], 0),
        ]
    };
    Table {
        title: format!("What looking costs: {load}"),
        columns: vec![
            "who looks",
            "requests/s",
            "from–to",
            "server µs/request",
            "from–to",
            "more",
            "BPF ns/request",
            "BPF ns/event",
            "own µs/request",
            "events of requests",
            "lost",
        ],
        rows: rows.iter().map(line).collect(),
        note: format!(
            "Medians of {rounds} turns of {SECONDS} s each, in turn, each between two with nobody: these it is held against \
             (more). The server has a processor, its client and who looks share \
             another; processor time is the scheduler's, of BPF programs the kernel's own count (which itself takes time) in one more \
             turn. Turns of wrk end with requests that it does not count."
        ),
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn own(load: &str, rows: &[&Value], not_run: &[Value]) -> Table {
    let line = |row: &&Value| {
        let programs = row["programs"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let programs = programs.map(|program| {
            let (nanoseconds, runs) = (number(&program["ns_per_run"]), number(&program["runs_per_request"]));
            format!("{} {nanoseconds:.0} × {runs:.2}", program["program"].as_str().unwrap_or_default())
        });
        vec![
            name(row),
            Cell::Figure(number(&row["peak_rss_kib"]) / 1024.0, 1),
            Cell::Figure(number(&row["rss_kib"]) / 1024.0, 1),
            figure(&row["ready_ms"], 0),
            Cell::text(programs.collect::<Vec<_>>().join(", ")),
        ]
    };
    let why = not_run.iter().map(|other| {
        let why: String = other["why"].as_str().unwrap_or_default().chars().take(120).collect();
        format!("{}: {why}", other["contender"].as_str().unwrap_or_default())
    });
    let why: Vec<String> = why.collect();
    Table {
        title: format!("What those who look take themselves, and each of their programs: {load}"),
        columns: vec!["who looks", "peak RSS MiB", "RSS MiB", "ready ms", "programs: ns × runs for a request"],
        rows: rows.iter().skip(1).map(line).collect(),
        note: if why.is_empty() { String::new() } else { format!("Did not run here: {}.", why.join("; ")) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_much_more_than_alone() {
        let row = |who: &str, server: f64| {
            let spread = |median: f64| serde_json::json!({ "least": median, "median": median, "most": median });
            serde_json::json!({
                "workload": "w", "contender": who, "requests_per_second": spread(1000.0), "server_us": spread(server),
                "contender_us": spread(0.5), "more_percent": spread((server / 10.0 - 1.0) * 100.0), "bpf_ns_per_request": 300, "bpf_ns_per_event": null, "events": 9, "requests": 10,
                "lost": 1, "peak_rss_kib": 2048, "rss_kib": 1024, "ready_ms": 30,
                "programs": [{"program": "p", "ns_per_run": 150.4, "runs_per_request": 2.0}],
            })
        };
        let rows = [row("nobody", 10.0), row("one", 10.5)];
        let rows: Vec<&Value> = rows.iter().collect();
        let shown = cost("w", &rows, 3).markdown();
        assert!(
            shown.contains("| nobody | 1000 | 1000–1000 | 10.00 | 10.00–10.00 | +0.0 % (+0 to +0) | 300 | – |"),
            "{shown}"
        );
        assert!(shown.contains("| one | 1000 | 1000–1000 | 10.50 | 10.50–10.50 | +5.0 % (+5 to +5) |"), "{shown}");
        let shown = own("w", &rows, &[serde_json::json!({"contender": "two", "why": "no kprobes"})]).markdown();
        assert!(shown.contains("| one | 2.0 | 1.0 | 30 | p 150 × 2.00 |"), "{shown}");
        assert!(shown.contains("Did not run here: two: no kprobes."), "{shown}");
    }
}
