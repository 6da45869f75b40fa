//! What it costs to load an object by a plan, beside libbpf alone, which is told what to load: `load_cost OBJECT [REPETITIONS]`.
//! Both begin with the object's bytes and end with all programs attached; each run is a process of its own. Prints
//! microseconds as JSON: `libbpf`, `lcc` (all of it), and of that `load` (without finding out what the kernel is), `plan`.
//! As root; `cargo xtask bench --only load` runs it.

use std::error::Error;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use btf::Btf;
use btf::core_relo::Target;
use btf::object_file::ObjectFile;
use libbpf_rs::{MapType, ObjectBuilder};
use loader::Options;
use loader::choose::{Places, choose};
use plan::{Hints, Kernel, Plan};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let path = args.get(1).ok_or("load_cost OBJECT [REPETITIONS]")?;
    let bytes = std::fs::read(path)?;
    match args.get(2).map(String::as_str) {
        Some("--lcc") => by_plan(&bytes),
        Some("--libbpf") => alone(&bytes, &args[3..]),
        repetitions => compare(path, &bytes, repetitions.map_or(Ok(20), str::parse)?),
    }
}

fn compare(path: &str, bytes: &[u8], repetitions: usize) -> Result<()> {
    let own = std::env::current_exe()?;
    let plan = decide(bytes)?.0;
    // for libbpf: the programs to load, and the maps that are not what the object says
    let programs = plan.programs.iter().filter(|program| program.enabled).map(|program| program.name.clone());
    let maps = plan.maps.iter().filter(|map| !map.enabled || map.map_type == MapType::PerfEventArray as u32);
    let maps = maps.map(|map| format!("{}={}", map.name, if map.enabled { map.map_type } else { 0 }));
    let told: Vec<String> = programs.chain(maps).collect();
    let (mut libbpf, mut lcc) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let run = |command: &mut Command| -> Result<serde_json::Value> {
            let output = command.output()?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
            }
            Ok(serde_json::from_slice(&output.stdout)?)
        };
        lcc.push(run(Command::new(&own).args([path, "--lcc"]))?);
        libbpf.push(run(Command::new(&own).args([path, "--libbpf"]).args(&told))?);
    }
    let middle = |runs: &[serde_json::Value], key: &str| {
        let mut all: Vec<u64> = runs.iter().filter_map(|run| run[key].as_u64()).collect();
        all.sort_unstable();
        serde_json::json!({ "least": all.first(), "median": all.get(all.len() / 2) })
    };
    let figures = serde_json::json!({
        "programs": plan.programs.iter().filter(|program| program.enabled).count(),
        "libbpf": middle(&libbpf, "all"), "lcc": middle(&lcc, "all"),
        "load": middle(&lcc, "load"), "plan": middle(&lcc, "plan"),
    });
    println!("{figures}");
    Ok(())
}

/// The plan, and how long it took, the types being in memory.
fn decide(bytes: &[u8]) -> Result<(Plan, Duration)> {
    let object = ObjectFile::parse("object", bytes)?;
    let _own = loader::own_types();
    let facts = loader::probe_for(Path::new("/"), &object);
    let types = std::fs::read("/sys/kernel/btf/vmlinux")?;
    let begin = Instant::now();
    let types = Btf::parse(&types)?;
    let plan = plan::plan(&object, &Kernel::new(&facts, Some(Target::kernel(&types)), None), &Hints::default());
    Ok((plan, begin.elapsed()))
}

fn by_plan(bytes: &[u8]) -> Result<()> {
    let begin = Instant::now();
    let object = ObjectFile::parse("object", bytes)?;
    let _own = loader::own_types();
    let facts = loader::probe_for(Path::new("/"), &object);
    let chosen = choose(&object, &facts, &Places { root: "/".into(), ..Places::default() })?;
    let known = begin.elapsed();
    let session = loader::load("object", bytes, &facts, chosen.btf.as_ref(), &Options::default())?;
    let all = begin.elapsed();
    drop(session);
    let plan = decide(bytes)?.1;
    println!("{}", serde_json::json!({ "all": micros(all), "load": micros(all - known), "plan": micros(plan) }));
    Ok(())
}

fn alone(bytes: &[u8], told: &[String]) -> Result<()> {
    let group = std::fs::File::open(unified_hierarchy()?)?;
    let begin = Instant::now();
    let mut open = ObjectBuilder::default().open_memory(bytes)?;
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        match told.iter().find_map(|told| told.strip_prefix(&name)?.strip_prefix('=')) {
            Some("0") => map.set_autocreate(false)?,
            Some(_) => {
                map.set_type(MapType::PerfEventArray)?;
                map.set_key_size(4)?;
                map.set_value_size(4)?;
                map.set_max_entries(0)?;
            }
            None => {}
        }
    }
    for mut program in open.progs_mut() {
        let wanted = told.iter().any(|told| program.name() == told.as_str());
        program.set_autoload(wanted);
    }
    let object = open.load()?;
    let mut links = Vec::new();
    for program in object.progs_mut().filter(|program| told.iter().any(|told| program.name() == told.as_str())) {
        let section = program.section().to_string_lossy().into_owned();
        let of_group = section.starts_with("cgroup") || section.starts_with("sockops");
        links.push(if of_group { program.attach_cgroup(group.as_raw_fd())? } else { program.attach()? });
    }
    println!("{}", serde_json::json!({ "all": micros(begin.elapsed()) }));
    Ok(())
}

fn unified_hierarchy() -> Result<String> {
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let found = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    Ok(found.and_then(|line| line.split(' ').nth(1)).ok_or("no control groups of version 2")?.to_owned())
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
