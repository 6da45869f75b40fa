//! What it costs servers to be looked at: `tcprt_cost OBJECT LISTEN ROUNDS SECONDS [AGENT]` has nginx and redis answer as fast as a
//! processor allows, without anything, with tcprt (LISTEN, the example `tcprt_listen`, and AGENT, `tcprt`), and with what users
//! have today, in turns. Prints JSON. As root, on two processors or more: the server has the first, all others share the second.
//! `cargo xtask bench --only tcprt` runs it.

mod contender;
mod workload;

use std::error::Error;
use std::path::Path;

use contender::{Contender, Run};
use serde_json::{Value, json};
use workload::Workload;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Whether the kernel counts what programs take, which itself takes time.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What one turn showed.
struct Turn {
    requests_per_second: f64,
    /// Of the server's process and of the contender's, microseconds for a request.
    server_us: f64,
    contender_us: f64,
    run: Option<Run>,
    requests: u64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, object, listen, rounds, seconds, rest @ ..] = args.as_slice() else {
        return Err("tcprt_cost OBJECT LISTEN ROUNDS SECONDS [AGENT]".into());
    };
    let (rounds, seconds): (usize, f64) = (rounds.parse()?, seconds.parse()?);
    let contenders = contender::all(object, listen, rest.first().map(String::as_str));
    let workloads = Workload::all(seconds).ok_or("nginx, wrk, redis-server or redis-benchmark is missing")?;
    let folder = tempfile::tempdir()?;

    let mut not_run = Vec::new();
    let mut fit: Vec<&Contender> = Vec::new();
    for contender in &contenders {
        match contender.try_out(folder.path(), workloads[0].port()) {
            Ok(()) => fit.push(contender),
            Err(why) => not_run.push(json!({ "contender": contender.name, "why": why.to_string() })),
        }
    }
    let before = std::fs::read_to_string(STATISTICS)?;
    let measured = measure(&workloads, &fit, rounds, folder.path());
    std::fs::write(STATISTICS, before.trim())?;
    println!("{}", json!({ "rows": measured?, "not_run": not_run, "rounds": rounds, "seconds": seconds }));
    Ok(())
}

fn measure(workloads: &[Workload], contenders: &[&Contender], rounds: usize, folder: &Path) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for workload in workloads {
        workload.turn()?;
        // nobody, then each of them; every other round the other way round
        let mut who: Vec<Option<&Contender>> =
            std::iter::once(None).chain(contenders.iter().map(|&contender| Some(contender))).collect();
        let mut turns: Vec<Vec<Turn>> = who.iter().map(|_| Vec::new()).collect();
        std::fs::write(STATISTICS, "0")?;
        for round in 0..rounds {
            let order: Vec<usize> =
                if round % 2 == 0 { (0..who.len()).collect() } else { (0..who.len()).rev().collect() };
            for at in order {
                turns[at].push(turn(workload, who[at], folder)?);
            }
        }
        std::fs::write(STATISTICS, "1")?;
        let counted = who.iter().map(|&who| turn(workload, who, folder)).collect::<Result<Vec<_>>>()?;
        std::fs::write(STATISTICS, "0")?;
        for ((who, turns), counted) in who.drain(..).zip(&turns).zip(&counted) {
            rows.push(row(workload, who, turns, counted));
        }
    }
    Ok(rows)
}

fn turn(workload: &Workload, contender: Option<&Contender>, folder: &Path) -> Result<Turn> {
    let running = contender.map(|contender| contender.start(folder, workload.port())).transpose()?;
    let done = workload.turn()?;
    let run = running.map(contender::Running::end).transpose()?;
    Ok(Turn {
        requests_per_second: done.requests as f64 / done.seconds,
        server_us: done.server_seconds * 1e6 / done.requests as f64,
        contender_us: run.as_ref().map_or(0.0, |run| run.cpu_seconds * 1e6 / done.requests as f64),
        requests: done.requests,
        run,
    })
}

fn row(workload: &Workload, who: Option<&Contender>, turns: &[Turn], counted: &Turn) -> Value {
    let spread = |of: fn(&Turn) -> f64| {
        let mut all: Vec<f64> = turns.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        json!({ "least": all.first(), "median": all.get(all.len() / 2), "most": all.last() })
    };
    let requests = counted.requests as f64;
    let programs = counted.run.iter().flat_map(|run| &run.programs);
    let programs = programs.filter(|program| program.runs > 0).map(|program| {
        json!({
            "program": program.name, "ns_per_run": program.nanoseconds as f64 / program.runs as f64,
            "runs_per_request": program.runs as f64 / requests,
        })
    });
    let nanoseconds: u64 = counted.run.iter().flat_map(|run| &run.programs).map(|program| program.nanoseconds).sum();
    let runs: Vec<&Run> = turns.iter().filter_map(|turn| turn.run.as_ref()).collect();
    let most = |of: fn(&Run) -> u64| runs.iter().map(|&run| of(run)).max();
    let asked: u64 = turns.iter().map(|turn| turn.requests).sum();
    let sum = |of: fn(&Run) -> u64| runs.iter().map(|&run| of(run)).sum::<u64>();
    json!({
        "workload": workload.name, "contender": who.map_or("nobody", |who| who.name),
        "requests_per_second": spread(|turn| turn.requests_per_second),
        "server_us": spread(|turn| turn.server_us), "contender_us": spread(|turn| turn.contender_us),
        "bpf_ns_per_request": nanoseconds as f64 / requests, "programs": programs.collect::<Vec<_>>(),
        "requests": asked, "events": sum(|run| run.events), "lost": sum(|run| run.lost),
        "bpf_ns_per_event": counted.run.as_ref().map(|run| nanoseconds as f64 / run.events as f64),
        "peak_rss_kib": most(|run| run.peak_rss_kib), "rss_kib": most(|run| run.rss_kib),
        "ready_ms": most(|run| run.ready_ms),
    })
}
