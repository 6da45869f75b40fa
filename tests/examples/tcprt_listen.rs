//! The smallest agent on tcprt's object: `tcprt_listen OBJECT [PORT]...` measures servers of these ports (all connections if
//! none) until its standard input ends, prints "attached" and the microseconds since its start, and at the end what it counted,
//! as JSON. As root; `cargo xtask bench --only tcprt` runs it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use btf::object_file::ObjectFile;
use loader::Options;
use loader::choose::{Places, choose};
use tcprt::{Config, Event};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let begin = Instant::now();
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("tcprt_listen OBJECT [PORT]...")?;
    let bytes = std::fs::read(path)?;
    let object = ObjectFile::parse(path, &bytes)?;
    let local =
        args[2..].iter().map(|port| port.parse().map(|port| port..=port)).collect::<std::result::Result<_, _>>()?;
    let mut options = Options::default();
    options.config = Config { local, ..Config::default() }.bytes()?.to_vec();
    let session = {
        let _own = loader::own_types();
        let facts = loader::probe_for(Path::new("/"), &object);
        let chosen = choose(&object, &facts, &Places { root: "/".into(), ..Places::default() })?;
        loader::load(path, &bytes, &facts, chosen.btf.as_ref(), &options)?
    };
    let mut kinds = BTreeMap::new();
    let mut unread = 0_u64;
    let listener = session.listen(|event| match Event::parse(event.bytes) {
        Ok(event) => *kinds.entry(event.kind.letter()).or_insert(0_u64) += 1,
        Err(_) => unread += 1,
    })?;
    println!("attached {}", begin.elapsed().as_micros());
    std::io::stdout().flush()?;
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            ended.store(true, Ordering::Relaxed);
        });
        while !ended.load(Ordering::Relaxed) {
            listener.poll(Duration::from_millis(100))?;
        }
        Ok(())
    })?;
    listener.consume()?;
    let lost: u64 = listener.lost()?.values().sum();
    drop(listener);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
    };
    let figures = serde_json::json!({
        "kinds": kinds.iter().map(|(kind, count)| (kind.to_string(), count)).collect::<BTreeMap<_, _>>(),
        "lost": lost, "unread": unread, "peak_rss_kib": kib("VmHWM"), "rss_kib": kib("VmRSS"),
    });
    println!("{figures}");
    Ok(())
}
