//! What other compressions of a pack cost: bytes, CPU time to write (the mean of RUNS or more), time to read one content
//! (the least of RUNS). Prints JSON.
//!
//! ```text
//! compress_pack FILE RUNS FRAME:LEVEL:LEVEL_LARGE…
//! ```

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pack::{Builder, Compression, Hash, Pack};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, runs, ways @ ..] = &arguments[..] else { return Err("FILE RUNS FRAME:LEVEL:LEVEL_LARGE…".into()) };
    let bytes = std::fs::read(file)?;
    let pack = Pack::open(&bytes)?;
    let mut contents = HashMap::new();
    pack.for_each(|hash, content| {
        contents.insert(hash, content.to_vec());
        Ok::<(), pack::Error>(())
    })?;
    let rows = ways.iter().map(|way| measure(&pack, &contents, way, runs.parse()?)).collect::<Result<Vec<_>>>()?;
    let raw: usize = contents.values().map(Vec::len).sum();
    println!(
        "{{\"entries\":{},\"contents\":{},\"raw\":{raw},\"ways\":[{}]}}",
        pack.entries().len(),
        contents.len(),
        rows.join(",")
    );
    Ok(())
}

fn measure(pack: &Pack<'_>, contents: &HashMap<Hash, Vec<u8>>, way: &str, runs: usize) -> Result<String> {
    let numbers = way.split(':').map(str::parse).collect::<std::result::Result<Vec<i32>, _>>()?;
    let [frame, level, level_large] = numbers[..] else { return Err(format!("{way}: not three numbers").into()) };
    let mut builder = Builder::compressed(Compression { frame: usize::try_from(frame)?, level, level_large });
    pack.entries().for_each(|entry| builder.add(entry.to_owned()));
    // The clock of a thread's CPU time is coarse: what is quick is done until it has taken a while.
    let (start, before) = (Instant::now(), cpu_nanoseconds()?);
    let (mut writes, mut written) = (0, Vec::new());
    while writes < runs || start.elapsed() < Duration::from_millis(300) {
        written.clear();
        builder.write(&mut written, 1, &|hash| Ok(contents[&hash].clone()))?;
        writes += 1;
    }
    let write = (cpu_nanoseconds()? - before) as f64 / 1e9 / writes as f64;
    let again = Pack::open(&written)?;
    // Each content's best, then the middle and the worst of all contents.
    let mut reads = Vec::new();
    for (&hash, content) in contents {
        let mut best = f64::INFINITY;
        for _ in 0..runs {
            let start = Instant::now();
            let read = again.read(hash)?;
            best = best.min(start.elapsed().as_secs_f64());
            assert!(read == *content, "it was written");
        }
        reads.push(best);
    }
    reads.sort_by(f64::total_cmp);
    let (median, most) = (reads.get(reads.len() / 2), reads.last());
    Ok(format!(
        "{{\"bytes\":{},\"write_cpu_s\":{},\"read_s\":{},\"read_most_s\":{}}}",
        written.len(),
        write,
        median.ok_or("no contents")?,
        most.ok_or("no contents")?,
    ))
}

/// What this thread has used (`/proc/<pid>/task/<tid>/schedstat`, first field; Linux's sched-stats.rst).
fn cpu_nanoseconds() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().ok_or("an empty schedstat")?.parse()?)
}
