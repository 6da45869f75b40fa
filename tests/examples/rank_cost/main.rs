//! What each way of tcprt's object adds to a request, for a machine whose time is the number of its instructions:
//! `rank_cost OBJECT ROUNDS REQUESTS [AGENT]`. Prints JSON. As root, on one processor, which servers and clients share.
//! `cargo xtask bench --only ranks` runs it, in an emulator.
//!
//! In each round, nobody looks; each rank looks at other ports, so that it only passes over both sides' packets; each rank looks at
//! the servers' ports; and AGENT does, as its users run it. The servers: one that sends back at once what it has, and redis. At the
//! end each rank looks once more at the first of them, while the kernel counts what each program takes.

mod load;
mod look;
#[path = "../tcprt_cost/programs.rs"]
mod programs;

use std::error::Error;

use load::Loads;
use look::{Look, Object};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, object, rounds, requests, rest @ ..] = args.as_slice() else {
        return Err("rank_cost OBJECT ROUNDS REQUESTS [AGENT]".into());
    };
    let (rounds, requests): (usize, u64) = (rounds.parse()?, requests.parse()?);
    let bytes = std::fs::read(object)?;
    let object = Object::new(&bytes)?;
    let loads = Loads::start(requests)?;
    let mut looks = vec![Look::Nobody];
    for rank in object.ranks()? {
        looks.extend([Look::Passing(rank.clone()), Look::Measuring(rank)]);
    }
    looks.extend(rest.first().map(|agent| Look::Agent(agent.into())));
    loads.turn()?;
    let mut turns: Vec<Vec<Vec<f64>>> = vec![Vec::new(); looks.len()];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..looks.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let looking = object.start(&looks[at], &loads.ports)?;
            let figures = loads.turn()?;
            looking.end(&loads, requests)?;
            eprintln!("rank_cost: round {round}: {}: {figures:.0?}", looks[at].name());
            turns[at].push(figures);
        }
    }
    let counted = looks.iter().map(|look| count(&object, look, &loads)).collect::<Result<Vec<_>>>()?;
    let rows = looks.iter().zip(&turns).zip(counted).map(|((look, turns), programs)| {
        let figures = Loads::FIGURES.iter().enumerate();
        let figures = figures.map(|(at, &name)| (name, turns.iter().map(|turn| turn[at]).collect::<Vec<f64>>()));
        json!({ "look": look.word(), "rank": look.rank(), "programs": programs, "ns": figures.collect::<std::collections::BTreeMap<_, _>>() })
    });
    let setting = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    println!(
        "{}",
        json!({
            "rows": rows.collect::<Vec<Value>>(), "rounds": rounds, "requests": requests,
            "jit": setting("/proc/sys/net/core/bpf_jit_enable"), "harden": setting("/proc/sys/net/core/bpf_jit_harden"),
            "clocksource": setting("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        })
    );
    Ok(())
}

/// Whether the kernel counts what programs take, which itself takes time.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// What each program of the object takes, and how often it runs for a request of the ping-pong.
fn count(object: &Object<'_>, look: &Look, loads: &Loads) -> Result<Vec<Value>> {
    if look.rank().is_none() {
        return Ok(Vec::new());
    }
    let looking = object.start(look, &loads.ports)?;
    std::fs::write(STATISTICS, "1")?;
    let asked = loads.ping_pong();
    std::fs::write(STATISTICS, "0")?;
    let (_, requests) = asked?;
    let programs = programs::programs(std::process::id()).into_values().filter(|program| program.runs > 0);
    let programs = programs.map(|program| {
        let (runs, nanoseconds) = (program.runs as f64, program.nanoseconds as f64);
        json!({ "program": program.name, "runs_per_request": runs / requests as f64, "ns_per_run": nanoseconds / runs })
    });
    let programs = programs.collect();
    drop(looking);
    Ok(programs)
}
