//! What look-ups cost: `cargo run --release --example lookup_cost known WHEEL FOLDER RUNS`, `… identify FILE REFERENCE`. JSON.
//!
//! `known` writes the wheel's library and a database of 10,000 files that knows it into the folder, as `known.so` and `db.sqlite`, and
//! prints how long calls take, in microseconds. `identify` finds functions of one file in another, once: for its time and memory.

use anyhow::{Context, Result, bail};
use identify::{Kind, Model, Witness};
use image::Image;
use offset_db::{Confidence, Fact, Fingerprint, Method, Resolved, Resolver, Store};
use offsetdb::facts::{Build, identified};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let printed = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["known", wheel, folder, runs] => known(Path::new(wheel), Path::new(folder), runs.parse()?)?,
        ["identify", file, reference] => identify(Path::new(file), Path::new(reference))?,
        _ => bail!("known WHEEL FOLDER RUNS | identify FILE REFERENCE"),
    };
    println!("{printed}");
    Ok(())
}

/// Files in the database, besides the one.
const FILES: usize = 10_000;

/// Functions of each.
const FUNCTIONS: usize = 12;

fn known(wheel: &Path, folder: &Path, runs: usize) -> Result<serde_json::Value> {
    let inputs = offsetdb::input::open(wheel, "cygrpc")?;
    let input = inputs.first().context("no library")?;
    let (path, database) = (folder.join("known.so"), folder.join("db.sqlite"));
    std::fs::write(&path, &input.bytes[..])?;
    let bytes = std::fs::read(&path)?;
    let image = Image::parse(&bytes)?;
    let own = Fingerprint::of(&image);
    let text = image.section(".text").context("no .text")?.address;
    let mut store = Store::create(&database)?;
    offset_db::merge(&mut store, &mut others(text.0).as_bytes())?;
    let facts: Vec<Fact> = (0..FUNCTIONS).map(|at| fact(&format!("function_{at}"), text.0 + at as u64 * 64)).collect();
    store.add(&own, &[], &facts)?;
    drop(store);

    let resolver = Resolver::open(&database)?;
    let resolve = time(runs, |_| {
        let found = resolver.resolve(&path, "function_7")?;
        if !matches!(found, Resolved::Found { .. }) {
            bail!("{found:?}");
        }
        Ok(())
    })?;
    let in_memory = time(runs, |_| {
        black_box(resolver.resolve_in(&image, "function_7")?);
        Ok(())
    })?;
    let hash = time(runs, |_| {
        black_box(Fingerprint::to_look_up(&image));
        Ok(())
    })?;
    let whole = time(runs, |_| {
        black_box(Fingerprint::of(&image));
        Ok(())
    })?;
    let store = Store::open(&database)?;
    let rows = time(20_000, |run| {
        // in an order that no cache knows
        let number = run.wrapping_mul(0x9e37_79b9) % FILES;
        let known = store.known(&fingerprint(number))?.context("a file that was added")?;
        let facts = store.facts_of(&known, &format!("function_{}", run % FUNCTIONS))?;
        if facts.len() != 1 {
            bail!("{facts:?}");
        }
        Ok(())
    })?;
    Ok(serde_json::json!({
        "bytes": bytes.len(), "text_bytes": image.section(".text").map(|text| text.size), "files": FILES + 1,
        "database_bytes": database.metadata()?.len(),
        "resolve": resolve, "in_memory": in_memory, "fingerprint": hash, "fingerprint_and_file_hash": whole, "rows": rows,
    }))
}

/// Least, median and 99th percentile of calls, in microseconds.
fn time(runs: usize, mut call: impl FnMut(usize) -> Result<()>) -> Result<serde_json::Value> {
    let mut took = Vec::with_capacity(runs);
    for run in 0..runs {
        let begin = Instant::now();
        call(run)?;
        took.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get(took.len() * share / 100).copied();
    Ok(serde_json::json!({"least": took.first(), "median": at(50), "p99": at(99)}))
}

fn fingerprint(number: usize) -> Fingerprint {
    let build_id = [[number as u8, (number >> 8) as u8].repeat(2), vec![7; 16]].concat();
    Fingerprint {
        build_id: Some(build_id),
        text: number as u64,
        file: 0,
        size: 0,
        machine: "x86_64".to_owned(),
        go_build_id: None,
    }
}

/// An export of files that are not.
fn others(text: u64) -> String {
    let mut export = String::new();
    for number in 0..FILES {
        let file = fingerprint(number);
        let build_id: String = file.build_id.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
        let line = serde_json::json!({"file": {
            "key": file.key(), "build_id": build_id, "text": format!("{:016x}", file.text), "machine": file.machine,
        }});
        let _ = writeln!(export, "{line}");
        for at in 0..FUNCTIONS {
            let line = serde_json::json!({"function": fact(&format!("function_{at}"), text + at as u64 * 64)});
            let _ = writeln!(export, "{line}");
        }
    }
    export
}

fn fact(name: &str, address: u64) -> Fact {
    Fact {
        name: name.to_owned(),
        qualified: None,
        address: image::VirtualAddress(address),
        size: 64,
        kind: offset_db::Kind::Entry,
        method: Method::Identified,
        confidence: Confidence::Verified,
        evidence: vec!["lineage: grpcio 1.60.0 cp310: 1.00: same code, its callers".to_owned()],
        returns: Vec::new(),
    }
}

/// How many functions are looked for: as many as a recipe has.
const TARGETS: usize = 16;

fn identify(file: &Path, reference: &Path) -> Result<serde_json::Value> {
    let begin = Instant::now();
    let millis = |begin: Instant| begin.elapsed().as_secs_f64() * 1e3;
    let model = |path: &Path| -> Result<(Model, u64)> {
        let inputs = offsetdb::input::open(path, "cygrpc")?;
        let input = inputs.first().context("no library")?;
        Ok((Model::of(&Image::parse(&input.bytes)?), input.bytes.len() as u64))
    };
    let (known, _) = model(reference)?;
    let at = Instant::now();
    let (unknown, bytes) = model(file)?;
    let read = millis(at);
    // which functions have names makes no difference to the time
    let entries: Vec<_> =
        known.functions.iter().filter(|one| one.kind == Kind::Entry && one.instructions > 40).collect();
    let step = (entries.len() / TARGETS).max(1);
    let named = entries.iter().step_by(step).take(TARGETS).enumerate();
    let facts: Vec<Fact> = named.map(|(at, one)| fact(&format!("function_{at}"), one.address.0)).collect();
    let functions = unknown.functions.len();
    let build = Build::new("reference".to_owned(), known, &facts);
    let at = Instant::now();
    let (found, _) = identified(&unknown, &[(Witness::Lineage, &build)], &BTreeSet::new());
    let matched = millis(at);
    Ok(serde_json::json!({
        "bytes": bytes, "functions": functions, "found": found.len(), "read_ms": read, "match_ms": matched,
        "all_ms": millis(begin),
    }))
}
