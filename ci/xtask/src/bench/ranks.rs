//! What each way of tcprt's object adds to a request, in instructions: an emulator counts them.

use super::table::{Cell, Table};
use crate::matrix::instructions::{self, Job};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Rounds, and requests of each load in a turn.
const ROUNDS: usize = 5;
const REQUESTS: u64 = 500;

/// The kernel, as kernels.toml names it: all ranks work there.
const KERNEL: &str = "6.12-cloud";

/// A turn takes some seconds; there are fifty.
const LIMIT: Duration = Duration::from_secs(1800);

/// One table of the ranks, one of their programs.
///
/// # Errors
/// qemu, redis or a program of ours is missing, or fails in the machine.
pub(crate) fn tables(object: &Path) -> Result<Vec<Table>> {
    let words = ["/bin/rank_cost", "/tcprt.o", &ROUNDS.to_string(), &REQUESTS.to_string(), "/bin/tcprt"];
    let (release, told) = instructions::count(&Job {
        kernel: KERNEL,
        examples: vec!["rank_cost"],
        programs: vec!["redis-server", "redis-benchmark"],
        agents: true,
        files: vec![("tcprt.o".to_owned(), object.to_path_buf())],
        commands: vec![words.map(str::to_owned).to_vec()],
        limit: LIMIT,
    })?;
    let told = told.first().context("what rank_cost printed")?;
    Ok(vec![table(&release, told)?, programs(&release, told)])
}

/// The least, the median and the most of what the rounds showed.
#[derive(Clone, Copy)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: &Value) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.as_array()?.iter().filter_map(Value::as_f64).collect();
        figures.sort_by(f64::total_cmp);
        Some(Spread { least: *figures.first()?, median: figures[figures.len() / 2], most: *figures.last()? })
    }
}

/// The loads of `rank_cost`, and whether a figure is of both sides: else of the server alone.
const LOADS: [(&str, bool); 4] = [
    ("ping-pong", true),
    ("redis, one connection", true),
    ("redis, 16 connections", true),
    ("redis, 16 connections: the server's process", false),
];

fn table(release: &str, told: &Value) -> Result<Table> {
    let rows = told["rows"].as_array().context("rows")?;
    let find = |look: &str, rank: &Value| rows.iter().find(|row| row["look"] == look && row["rank"] == *rank);
    let nobody = find("nobody", &Value::Null).context("a row of nobody")?;
    let mut lines = Vec::new();
    for (load, both) in LOADS {
        let alone = Spread::of(&nobody["ns"][load]).with_context(|| format!("{load} alone"))?;
        lines.push(line(load, "nobody", alone, alone, None));
        for row in rows.iter().filter(|row| row["look"] == "measuring") {
            let measuring = Spread::of(&row["ns"][load]).with_context(|| format!("{load} measured"))?;
            let passing = find("passing", &row["rank"]).and_then(|row| Spread::of(&row["ns"][load]));
            // half of what passing over both sides costs is the client's
            let client = passing.filter(|_| both).map(|passing| (passing.median - alone.median) / 2.0);
            lines.push(line(load, &format!("rank {}", row["rank"]), alone, measuring, client));
        }
        if let Some(agent) = find("agent", &Value::Null).and_then(|row| Spread::of(&row["ns"][load])) {
            lines.push(line(load, "the agent, each request in a file", alone, agent, None));
        }
    }
    Ok(Table {
        title: format!("What each way of tcprt's object adds to a request: instructions, on {release}"),
        columns: vec![
            "load",
            "who looks",
            "instructions/request",
            "from–to",
            "added",
            "%",
            "of it the client's",
            "the server's alone",
            "%",
        ],
        rows: lines,
        note: format!(
            "Instructions, which an emulator counts (qemu -icount), not time: no caches, no memory that is waited for, and an \
             instruction of any kind is one. Medians of {} turns, of each load {} requests (redis-benchmark: nine times as many), in \
             turn. One processor, which the server, its client and who looks share: a request is both sides' way through the kernel. \
             tcprt looks at the server's port; the client's packets are passed over, which is half of what looking at another port \
             adds. The JIT is {}, bpf_stats off. But for the agent nobody reads the log.",
            told["rounds"],
            told["requests"],
            if told["jit"] == "1" { "on" } else { "off" },
        ),
    })
}

/// What each rank's programs take themselves.
fn programs(release: &str, told: &Value) -> Table {
    let mut lines = Vec::new();
    for row in told["rows"].as_array().map_or(&[][..], Vec::as_slice) {
        let who = format!("rank {}, {}", row["rank"], row["look"].as_str().unwrap_or_default());
        for program in row["programs"].as_array().map_or(&[][..], Vec::as_slice) {
            let figure = |name: &str| program[name].as_f64().unwrap_or(f64::NAN);
            let (runs, each) = (figure("runs_per_request"), figure("ns_per_run"));
            lines.push(vec![
                Cell::text(who.as_str()),
                Cell::text(program["program"].as_str().unwrap_or_default()),
                Cell::Figure(runs, 2),
                Cell::Figure(each, 0),
                Cell::Figure(runs * each, 0),
            ]);
        }
    }
    Table {
        title: format!("The programs of each way, for a request of the ping-pong: instructions, on {release}"),
        columns: vec!["who looks", "program", "runs/request", "instructions/run", "instructions/request"],
        rows: lines,
        note: "By bpf_stats in one more turn, whose clock is in each run. What the kernel does to come to a program is not.".to_owned(),
    }
}

fn line(load: &str, who: &str, alone: Spread, looked_at: Spread, client: Option<f64>) -> Vec<Cell> {
    let added = looked_at.median - alone.median;
    let percent = |figure: f64| Cell::Figure(figure / alone.median * 100.0, 1);
    let server = client.map_or(f64::NAN, |client| added - client);
    vec![
        Cell::text(load),
        Cell::text(who),
        Cell::Figure(looked_at.median, 0),
        Cell::text(format!("{:.0}–{:.0}", looked_at.least, looked_at.most)),
        Cell::Figure(added, 0),
        percent(added),
        Cell::Figure(client.unwrap_or(f64::NAN), 0),
        Cell::Figure(server, 0),
        percent(server),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_passing_is_the_clients() {
        let ns = |figure: f64| {
            let figures = LOADS.map(|(load, _)| (load.to_owned(), serde_json::json!([figure + 1.0, figure, figure])));
            Value::Object(figures.into_iter().collect())
        };
        let row =
            |look: &str, rank: Option<u32>, figure| serde_json::json!({"look": look, "rank": rank, "ns": ns(figure)});
        let rows = [
            row("nobody", None, 10_000.0),
            row("passing", Some(1), 10_200.0),
            row("measuring", Some(1), 10_700.0),
            row("agent", None, 11_000.0),
        ];
        let told = serde_json::json!({"rows": rows, "rounds": 5, "requests": 3000, "jit": "1"});
        let shown = table("6.12", &told).unwrap().markdown();
        assert!(shown.contains("| ping-pong | nobody | 10000 | 10000–10001 | 0 | 0.0 | – | – | – |"), "{shown}");
        assert!(
            shown.contains("| ping-pong | rank 1 | 10700 | 10700–10701 | 700 | 7.0 | 100 | 600 | 6.0 |"),
            "{shown}"
        );
        assert!(shown.contains("process | rank 1 | 10700 | 10700–10701 | 700 | 7.0 | – | – | – |"), "{shown}");
        assert!(shown.contains("| the agent, each request in a file | 11000 |"), "{shown}");
        let row = serde_json::json!({"rank": 1, "look": "passing",
            "programs": [{"program": "p", "runs_per_request": 2.0, "ns_per_run": 100.4}]});
        let shown = programs("6.12", &serde_json::json!({"rows": [row]})).markdown();
        assert!(shown.contains("| rank 1, passing | p | 2.00 | 100 | 201 |"), "{shown}");
        assert!(table("6.12", &serde_json::json!({"rows": []})).is_err());
    }
}
