//! What it costs a BPF program to tell an event of tcprt's size, in each way that there is: `event_cost OBJECT [ROUNDS]` runs the
//! programs of `tests/tests/fixtures/transports.bpf.c` in the kernel, one after the other and again, and prints nanoseconds of each
//! as JSON. Events of ring and perf buffers are read meanwhile by another thread, as an agent would. As root.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use btf::object_file::ObjectFile;
use libbpf_rs::{MapHandle, Object, PerfBufferBuilder, ProgramInput, RingBufferBuilder};
use loader::Options;
use loader::choose::{Places, choose};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Events of a run: fewer than a buffer has room for.
const EVENTS: u32 = 4096;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("event_cost OBJECT [ROUNDS]")?;
    let rounds = args.get(2).map_or(Ok(200), |rounds| rounds.parse())?;
    let bytes = std::fs::read(path)?;
    let object = ObjectFile::parse(path, &bytes)?;
    let facts = loader::probe_for(Path::new("/"), &object);
    let chosen = choose(&object, &facts, &Places { root: "/".into(), ..Places::default() })?;
    let mut options = Options::default();
    options.by_caller = object.functions().iter().map(|function| function.name.clone()).collect();
    let mut session = loader::load(path, &bytes, &facts, chosen.btf.as_ref(), &options)?;
    let map = |name: &str| -> Result<MapHandle> {
        let map = session.maps.get(name).ok_or_else(|| format!("no map {name}"))?;
        Ok(MapHandle::try_from(map)?)
    };
    let (ring, perf) = (map("ring")?, map("perf")?);
    let loaded = session.object.as_mut().ok_or("nothing is loaded")?;
    let ended = AtomicBool::new(false);
    let all = std::thread::scope(|scope| {
        scope.spawn(|| hear(&ring, &perf, &ended));
        // until the buffers are there
        std::thread::sleep(Duration::from_millis(50));
        let all = run(loaded, rounds);
        ended.store(true, Ordering::Relaxed);
        all
    })?;
    let figures = all.into_iter().map(|(name, mut all)| {
        all.sort_by(f64::total_cmp);
        let (least, most) = (all[0], all[all.len() - 1]);
        (name, serde_json::json!({ "median": all[all.len() / 2], "least": least, "most": most }))
    });
    println!("{}", serde_json::Value::Object(figures.collect()));
    Ok(())
}

/// Reads what is told, until it is over.
fn hear(ring: &MapHandle, perf: &MapHandle, ended: &AtomicBool) {
    let mut rings = RingBufferBuilder::new();
    rings.add(ring, |_| 0).expect("a ring");
    let rings = rings.build().expect("a ring");
    let perf = PerfBufferBuilder::new(perf).pages(512).sample_cb(|_, _: &[u8]| {}).build().expect("perf buffers");
    while !ended.load(Ordering::Relaxed) {
        // some of them wake nobody
        let _ = (rings.poll(Duration::from_millis(1)), rings.consume(), perf.consume());
    }
}

/// Nanoseconds of an event, by program: one figure of each round.
fn run(loaded: &mut Object, rounds: usize) -> Result<BTreeMap<String, Vec<f64>>> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for program in loaded.progs_mut() {
            let packet = [0; 64];
            let input = ProgramInput { data_in: Some(&packet), repeat: EVENTS, ..ProgramInput::default() };
            let name = program.name().to_string_lossy().into_owned();
            let output = program.test_run(input)?;
            if output.return_value != 0 {
                return Err(format!("{name} could not tell its event").into());
            }
            all.entry(name).or_default().push(output.duration.as_nanos() as f64);
            // what was told is read
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    Ok(all)
}
