//! Where a function of a library is: by the database, whole processes and single calls; and identifying a file that it does not know.

use super::measure::{Samples, measure};
use super::table::{Cell, Table};
use crate::{process, workspace};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured.
pub(crate) struct Programs {
    pub(crate) offsetdb: PathBuf,
    pub(crate) lookup_cost: PathBuf,
}

/// Python's gRPC for one Python: two versions, the newest and the one before, that `offsetdb pull pypi grpcio` left in the cache.
///
/// # Errors
/// The cache cannot be read.
pub(crate) fn wheels() -> Result<Option<[PathBuf; 2]>> {
    let folder = workspace::cache()?.join("offsets/wheels");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(None) };
    let mut found: Vec<(Vec<u32>, PathBuf)> = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.strip_prefix("grpcio-").and_then(|rest| rest.split_once("-cp310-"));
        if let Some((version, _)) = version.filter(|_| name.ends_with("x86_64.whl")) {
            found.push((version.split('.').map(|part| part.parse().unwrap_or(0)).collect(), path));
        }
    }
    found.sort();
    let newest = found.pop().map(|(_, path)| path);
    Ok(newest.zip(found.pop().map(|(_, path)| path)).map(|(newest, before)| [newest, before]))
}

/// How often a process that takes milliseconds is run.
const PROCESSES: usize = 20;

/// How often a call is made.
const CALLS: usize = 500;

/// Three tables: processes, calls, identification.
///
/// # Errors
/// A program failed, or printed something else.
pub(crate) fn tables(
    programs: &Programs,
    wheels: &[PathBuf; 2],
    repetitions: usize,
    scratch: &Path,
) -> Result<Vec<Table>> {
    let [newest, before] = wheels;
    let mut prepare = process::command(&programs.lookup_cost, scratch);
    let printed = process::stdout_of(prepare.arg("known").arg(newest).arg(scratch).arg(CALLS.to_string()))?;
    let calls: serde_json::Value = serde_json::from_str(&printed).context("read lookup_cost's output")?;
    let megabytes = calls["bytes"].as_f64().context("bytes")? / 1e6;
    Ok(vec![
        processes(programs, &scratch.join("known.so"), &scratch.join("db.sqlite"), megabytes)?,
        of_calls(&calls, megabytes)?,
        identification(programs, newest, before, repetitions)?,
    ])
}

/// A contender: what it is called, what runs.
type Contender = (&'static str, Command);

fn processes(programs: &Programs, file: &Path, database: &Path, megabytes: f64) -> Result<Table> {
    let here = Path::new("/");
    let mut contenders: Vec<Contender> = Vec::new();
    let mut lookup = process::command(&programs.offsetdb, here);
    lookup.arg("--database").arg(database).arg("lookup").arg(file).arg("function_7");
    contenders.push(("offsetdb lookup: known file, one function", lookup));
    // the build-id alone, and no segments: an address, not yet an offset
    let query = "id=$(READELF -n \"$1\" 2>/dev/null | sed -n 's/.*Build ID: //p'); sqlite3 \"$2\" \"SELECT f.address FROM file l \
                 JOIN function f ON f.file = l.id JOIN name n ON n.id = f.name WHERE l.build_id = x'$id' AND \
                 n.linkage = 'function_7'\" | grep .";
    for (name, readelf) in [
        ("readelf -n, then sqlite3: the address by build-id", "readelf"),
        ("eu-readelf -n, then sqlite3: the same", "eu-readelf"),
    ] {
        if process::find_program(readelf).is_some() && process::find_program("sqlite3").is_some() {
            let mut shell = process::command("sh", here);
            shell.arg("-c").arg(query.replace("READELF", readelf)).arg("sh").arg(file).arg(database);
            contenders.push((name, shell));
        }
    }
    if process::find_program("bpftrace").is_some() {
        let mut bpftrace = process::command("bpftrace", here);
        bpftrace.arg("-l").arg(format!("uprobe:{}:*", file.display()));
        contenders.push(("bpftrace -l: the names it has itself", bpftrace));
    }
    if process::find_program("nm").is_some() {
        let mut nm = process::command("nm", here);
        nm.arg("-D").arg(file);
        contenders.push(("nm -D: the same", nm));
    }
    let mut samples = vec![Samples::default(); contenders.len()];
    for _ in 0..PROCESSES {
        for ((_, command), samples) in contenders.iter_mut().zip(&mut samples) {
            samples.0.push(measure(command, &[0])?);
        }
    }
    let rows = contenders.iter().zip(&samples).map(|((name, _), samples)| {
        vec![
            Cell::text(*name),
            Cell::Figure(samples.wall().least * 1e3, 1),
            Cell::Figure(samples.wall().median * 1e3, 1),
            Cell::Figure(samples.peak_rss().median, 1),
        ]
    });
    Ok(Table {
        title: format!("One function of a stripped library of {megabytes:.1} MB, whole processes"),
        columns: vec!["who", "least ms", "median ms", "peak MiB"],
        rows: rows.collect(),
        note: format!(
            "{PROCESSES} runs each, in turn, the file in the page cache. Only offsetdb looks at .text and the segments: a build-id may \
             have been copied, and an address is no offset. Mapped pages of the file count as memory."
        ),
    })
}

fn of_calls(calls: &serde_json::Value, megabytes: f64) -> Result<Table> {
    let rows = [
        ("Resolver::resolve: from the path to the offset", "resolve"),
        ("Resolver::resolve_in: from the file in memory", "in_memory"),
        ("its fingerprint alone: build-id, xxh3 of .text", "fingerprint"),
        ("the same and xxh3-128 of the file", "fingerprint_and_file_hash"),
        ("rows alone: a file by its key, a function of it", "rows"),
    ];
    let rows = rows.iter().map(|(name, key)| {
        let figure = |which: &str| calls[key][which].as_f64().with_context(|| format!("{key} {which}"));
        Ok(vec![
            Cell::text(*name),
            Cell::Figure(figure("least")?, 1),
            Cell::Figure(figure("median")?, 1),
            Cell::Figure(figure("p99")?, 1),
        ])
    });
    Ok(Table {
        title: format!(
            "The same as calls of the library, {} files in the database ({:.1} MB)",
            calls["files"],
            calls["database_bytes"].as_f64().context("database_bytes")? / 1e6
        ),
        columns: vec!["call", "least µs", "median µs", "p99 µs"],
        rows: rows.collect::<Result<_>>()?,
        note: format!(
            "{CALLS} calls each, of rows 20,000 of other files each time. The file has {megabytes:.1} MB, its .text {:.1} MB; it is in \
             the page cache.",
            calls["text_bytes"].as_f64().context("text_bytes")? / 1e6
        ),
    })
}

fn identification(programs: &Programs, file: &Path, reference: &Path, repetitions: usize) -> Result<Table> {
    let run = || {
        let mut command = process::command(&programs.lookup_cost, Path::new("/"));
        command.arg("identify").arg(file).arg(reference);
        command
    };
    let printed = process::stdout_of(&mut run())?;
    let said: serde_json::Value = serde_json::from_str(&printed).context("read lookup_cost's output")?;
    let figure = |key: &str| said[key].as_f64().with_context(|| key.to_owned());
    let mut samples = Samples::default();
    for _ in 0..repetitions.max(3) {
        samples.0.push(measure(&mut run(), &[0])?);
    }
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version = |path: &Path| name(path).split('-').take(2).collect::<Vec<_>>().join(" ");
    Ok(Table {
        title: format!(
            "Functions of a library that is not known ({}) by those of another ({})",
            version(file),
            version(reference)
        ),
        columns: vec!["file", "MB", "functions", "least s", "median s", "CPU s", "peak MiB", "read ms", "match ms"],
        rows: vec![vec![
            Cell::text(version(file)),
            Cell::Figure(figure("bytes")? / 1e6, 1),
            Cell::Figure(figure("functions")?, 0),
            Cell::Figure(samples.wall().least, 2),
            Cell::Figure(samples.wall().median, 2),
            Cell::Figure(samples.cpu().median, 2),
            Cell::Figure(samples.peak_rss().median, 0),
            Cell::Figure(figure("read_ms")?, 0),
            Cell::Figure(figure("match_ms")?, 0),
        ]],
        note: "Whole processes: both wheels are unpacked, read and matched. No other program does it.".to_owned(),
    })
}
