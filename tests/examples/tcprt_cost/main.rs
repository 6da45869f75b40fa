//! What it costs servers to be looked at: `tcprt_cost OBJECT LISTEN ROUNDS SECONDS [AGENT]` has nginx and redis answer as fast as a
//! processor allows, without anything, with tcprt (LISTEN, the example `tcprt_listen`, and AGENT, `tcprt`), and with what users
//! have today, in turns. Prints JSON. As root, on two processors or more: the server has the first, all others share the second.
//! `cargo xtask bench --only tcprt` runs it.

mod contender;
mod programs;
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
    /// The server's, without anybody, in the turns before and after.
    alone_us: f64,
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
        std::fs::write(STATISTICS, "0")?;
        let mut alone = Vec::new();
        let mut turns: Vec<Vec<Turn>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            // each between two turns without anybody: the machine changes its mind in minutes
            let mut before = turn(workload, None, folder)?;
            for at in order {
                let mut looked_at = turn(workload, Some(contenders[at]), folder)?;
                let behind = turn(workload, None, folder)?;
                looked_at.alone_us = (before.server_us + behind.server_us) / 2.0;
                turns[at].push(looked_at);
                alone.push(std::mem::replace(&mut before, behind));
            }
            alone.push(before);
        }
        std::fs::write(STATISTICS, "1")?;
        let counted = contenders.iter().map(|&who| turn(workload, Some(who), folder)).collect::<Result<Vec<_>>>()?;
        std::fs::write(STATISTICS, "0")?;
        rows.push(row(workload, None, &alone, None));
        for ((who, turns), counted) in contenders.iter().zip(&turns).zip(&counted) {
            rows.push(row(workload, Some(who), turns, Some(counted)));
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
        alone_us: f64::NAN,
        requests: done.requests,
        run,
    })
}

fn row(workload: &Workload, who: Option<&Contender>, turns: &[Turn], counted: Option<&Turn>) -> Value {
    let spread = |of: fn(&Turn) -> f64| {
        let mut all: Vec<f64> = turns.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        // what is no number is null
        json!({ "least": all.first(), "median": all.get(all.len() / 2), "most": all.last() })
    };
    let (requests, run) = counted.map_or((f64::NAN, None), |turn| (turn.requests as f64, turn.run.as_ref()));
    let programs = run.map_or(&[][..], |run| &run.programs);
    let nanoseconds = programs.iter().map(|program| program.nanoseconds).sum::<u64>() as f64;
    let programs = programs.iter().filter(|program| program.runs > 0).map(|program| {
        json!({
            "program": program.name, "ns_per_run": program.nanoseconds as f64 / program.runs as f64,
            "runs_per_request": program.runs as f64 / requests,
        })
    });
    let runs: Vec<&Run> = turns.iter().filter_map(|turn| turn.run.as_ref()).collect();
    let most = |of: fn(&Run) -> u64| runs.iter().map(|&run| of(run)).max();
    let asked: u64 = turns.iter().map(|turn| turn.requests).sum();
    let sum = |of: fn(&Run) -> u64| runs.iter().map(|&run| of(run)).sum::<u64>();
    json!({
        "workload": workload.name, "contender": who.map_or("nobody", |who| who.name),
        "requests_per_second": spread(|turn| turn.requests_per_second),
        "server_us": spread(|turn| turn.server_us), "contender_us": spread(|turn| turn.contender_us),
        "more_percent": spread(|turn| (turn.server_us / turn.alone_us - 1.0) * 100.0),
        "bpf_ns_per_request": nanoseconds / requests, "programs": programs.collect::<Vec<_>>(),
        "requests": asked, "events": sum(|run| run.events), "lost": sum(|run| run.lost),
        "bpf_ns_per_event": run.map(|run| nanoseconds / run.events as f64),
        "peak_rss_kib": most(|run| run.peak_rss_kib), "rss_kib": most(|run| run.rss_kib),
        "ready_ms": most(|run| run.ready_ms),
    })
}
