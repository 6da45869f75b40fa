//! What agents ask of the loader, on the running kernel, with a function of this test as what is traced. As root.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use btf::object_file::ObjectFile;
use lcc_tests::{BpfFolder, may_load, types_without};
use libbpf_rs::{MapCore, MapFlags};
use loader::choose::{Places, choose};
use loader::record::{Record, Value};
use loader::{Options, Session};

/// What is traced. Each test has its own arguments, for all have this process.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lcc_test_function(argument: usize) -> usize {
    std::hint::black_box(argument)
}

/// Calls it as C does, whatever the compiler knows of it.
fn call(argument: usize) {
    let function: extern "C" fn(usize) -> usize = lcc_test_function;
    std::hint::black_box(function)(argument);
}

/// The tests take turns: every uprobe sees every call.
static TURN: Mutex<()> = Mutex::new(());

/// The object; `None` where it cannot be loaded here.
fn agent() -> Option<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    may_load().then(|| compile::for_test(root, Path::new("tests/fixtures/agent.bpf.c"), &["-I", "../bpf"])).flatten()
}

fn load(object: &[u8], without: Option<&str>, options: &Options) -> Session {
    try_load(object, without, options).unwrap_or_else(|error| panic!("{error}"))
}

/// With the kernel's types, but for a name: an older kernel, as the object sees it.
fn try_load(object: &[u8], without: Option<&str>, options: &Options) -> Result<Session, loader::Error> {
    let facts = loader::probe(Path::new("/"));
    let parsed = ObjectFile::parse("agent.o", object).unwrap();
    let types = without.map(types_without);
    let mut places = Places::here();
    places.explicit = types.as_ref().map(|file| file.path().to_owned()).or(places.explicit);
    let chosen = choose(&parsed, &facts, &places).unwrap();
    loader::load("agent.o", object, &facts, chosen.btf.as_ref(), options)
}

/// Of `calls` calls, those that were heard and those that were lost, when nobody listens meanwhile.
fn flood(session: &Session, calls: u64) -> (u64, u64) {
    let heard = AtomicU64::new(0);
    let listener = session.listen(|_| {
        heard.fetch_add(1, Ordering::Relaxed);
    });
    let listener = listener.unwrap();
    // what a processor's buffer lost comes with the next event there: all of them are of one
    let all = rustix::thread::sched_getaffinity(None).unwrap();
    let mut one = rustix::thread::CpuSet::new();
    one.set((0..rustix::thread::CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)).unwrap());
    rustix::thread::sched_setaffinity(None, &one).unwrap();
    (0..calls).for_each(|_| call(77));
    listener.consume().unwrap();
    for _ in 0..8 {
        call(77);
        listener.consume().unwrap();
    }
    rustix::thread::sched_setaffinity(None, &all).unwrap();
    let lost = listener.lost().unwrap()["calls"];
    drop(listener);
    (heard.into_inner(), lost)
}

fn events(without: Option<&str>, map_type: u32) {
    let turn = TURN.lock();
    let Some(object) = agent() else { return };
    let session = load(&object, without, &Options::default());
    let map = session.plan.maps.iter().find(|map| map.name == "calls").unwrap();
    assert_eq!(map.map_type, map_type);
    let nowhere = session.plan.programs.iter().find(|program| program.name == "nowhere").unwrap();
    let reasons: Vec<&str> = nowhere.requirements.iter().map(|requirement| requirement.evidence.as_str()).collect();
    assert!(!nowhere.enabled && reasons[0].ends_with("no symbol lcc_no_such_function in .symtab or .dynsym"));
    assert!(session.resolved[0].1.ends_with("by its symbol in .symtab"), "{:?}", session.resolved);

    let parsed = ObjectFile::parse("agent.o", &object).unwrap();
    let record = Record::of(parsed.btf(), &session.streams[0].event).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = session.listen(|event| {
        let value = record.read(event.bytes).unwrap();
        heard.lock().unwrap().push((value.get("argument").cloned(), value.get("tgid").cloned()));
    });
    let listener = listener.unwrap();
    (100..110).for_each(call);
    let end = Instant::now() + Duration::from_secs(5);
    while heard.lock().unwrap().len() < 10 && Instant::now() < end {
        listener.poll(Duration::from_millis(100)).unwrap();
    }
    let expected = |number| (Some(Value::Integer(number)), Some(Value::Integer(std::process::id().into())));
    assert_eq!(*heard.lock().unwrap(), (100..110).map(expected).collect::<Vec<_>>());
    drop(listener);

    // far more than the buffers hold
    let (heard, lost) = flood(&session, 20_000);
    assert!(lost > 1000, "{heard} heard, {lost} lost");
    assert_eq!(heard + lost, 20_008, "what is not heard is counted");
    drop(turn);
}

#[test]
fn root_events_come_by_a_ring_buffer() {
    events(None, 27);
}

#[test]
fn root_events_come_by_perf_buffers_where_there_are_no_ring_buffers() {
    events(Some("BPF_FUNC_ringbuf_output"), 4);
}

/// The number of calls that were counted.
fn counted(session: &Session) -> u64 {
    let value = session.maps["last"].lookup(&0u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap();
    u64::from_ne_bytes(value[..8].try_into().unwrap())
}

fn configuration(without: Option<&str>, has_map: bool) {
    let turn = TURN.lock();
    let Some(object) = agent() else { return };
    let mut options = Options::default();
    // calls with 5 and more
    options.config = [5u64.to_ne_bytes(), 1u64.to_ne_bytes()].concat();
    let session = load(&object, without, &options);
    assert_eq!(session.maps.contains_key("lcc_config_map"), has_map);
    (0..10).for_each(call);
    assert_eq!(counted(&session), 5);
    drop(session);
    options.config.clear();
    let session = load(&object, without, &options);
    (0..10).for_each(call);
    assert_eq!(counted(&session), 10, "what is not given is zero");
    drop(turn);
}

#[test]
fn root_configuration_is_constants() {
    configuration(None, false);
}

#[test]
fn root_configuration_is_a_map_where_there_are_no_global_variables() {
    configuration(Some("BPF_MAP_FREEZE"), true);
}

#[test]
fn root_configuration_of_another_size_is_refused() {
    let Some(object) = agent() else { return };
    let mut options = Options::default();
    options.config = vec![0; 17];
    let facts = loader::probe(Path::new("/"));
    let error = loader::load("agent.o", &object, &facts, None, &options).err().unwrap();
    assert_eq!(error.to_string(), "agent.o: the configuration: 17 bytes are given, and the object's has 16");
}

/// Another function, to which the program that finds none is sent.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lcc_other_function(argument: usize) -> usize {
    std::hint::black_box(argument + 1)
}

#[test]
fn root_programs_are_sent_elsewhere() {
    let turn = TURN.lock();
    let Some(object) = agent() else { return };
    let own = std::env::current_exe().unwrap();
    let mut options = Options::default();
    options.hints.targets.push(("nowhere".to_owned(), format!("{}:lcc_other_function", own.display())));
    // by hand to a raw tracepoint that counts nothing: it is attached, which is all that is looked at
    options.hints.targets.push(("switched".to_owned(), "sys_exit".to_owned()));
    let session = load(&object, None, &options);
    let attached: Vec<&str> = session.attachments.iter().map(|one| one.program.as_str()).collect();
    assert_eq!(attached, ["entry", "nowhere", "switched"]);
    let switched = session.plan.programs.iter().find(|program| program.name == "switched").unwrap();
    assert_eq!(switched.section, "raw_tp/sys_exit");
    call(1);
    let other: extern "C" fn(usize) -> usize = lcc_other_function;
    std::hint::black_box(other)(2);
    assert_eq!(counted(&session), 2);
    drop(turn);
}

#[test]
fn root_pins_want_a_bpf_file_system() {
    let turn = TURN.lock();
    let Some(object) = agent() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.pins = Some(folder.path().join("pins"));
    let error = try_load(&object, None, &options).err().unwrap();
    let expected = format!("agent.o: pins: {}: no BPF file system (mount -t bpf bpf FOLDER)", folder.path().display());
    assert_eq!(error.to_string(), expected);
    assert!(!folder.path().join("pins").exists(), "nothing is left behind");
    drop(turn);
}

/// Whether uprobes can be pinned: since Linux 5.15, b89fbfbb854c ("bpf: Implement minimal BPF perf link").
fn has_perf_links() -> bool {
    let types = std::fs::read(lcc_tests::types()).unwrap();
    types.windows(15).any(|window| window == b"\0bpf_perf_link\0")
}

#[test]
fn root_what_is_pinned_stays_and_is_found_again() {
    let turn = TURN.lock();
    let Some(object) = agent() else { return };
    let folder = BpfFolder::new();
    let mut options = Options::default();
    options.pins = Some(folder.path().to_owned());
    if !has_perf_links() {
        let error = try_load(&object, None, &options).err().unwrap().to_string();
        assert!(
            error.ends_with("/entry: this kernel has no link of it to pin: of kprobes and uprobes since 5.15"),
            "{error}"
        );
        assert_eq!(folder.folders(), 0, "nothing is left behind");
        eprintln!("{error}");
        return;
    }
    let session = load(&object, None, &options);
    assert!(!session.reused);
    call(1);
    drop(session);
    // nobody is there, and it is counted
    call(2);
    let session = load(&object, None, &options);
    assert!(session.reused && session.object.is_none());
    assert_eq!(counted(&session), 2);
    let nowhere = session.plan.programs.iter().find(|program| program.name == "nowhere").unwrap();
    assert!(!nowhere.enabled);
    let (heard, lost) = flood(&session, 10);
    assert_eq!((heard, lost), (18 + 2, 0), "with the two that nobody heard");

    // another configuration takes its place, and begins anew
    options.config = 3u64.to_ne_bytes().to_vec();
    let other = load(&object, None, &options);
    assert!(!other.reused);
    call(2);
    call(3);
    assert_eq!(counted(&other), 1);
    assert_eq!(folder.folders(), 1);
    drop(session);
    other.unload().unwrap();
    assert_eq!(folder.folders(), 0, "nothing is left");
    drop(turn);
}

/// What kernels before 5.15 can pin, too.
#[test]
fn root_a_raw_tracepoint_stays_pinned_and_is_found_again() {
    let turn = TURN.lock();
    let Some(object) = agent() else { return };
    let folder = BpfFolder::new();
    let mut options = Options::default();
    options.pins = Some(folder.path().to_owned());
    options.hints.unwanted.push("entry".to_owned());
    options.hints.targets.push(("switched".to_owned(), "sys_enter".to_owned()));
    options.config = u64::from(std::process::id()).to_ne_bytes().to_vec();
    options.config.extend([0u32, libc::SYS_getpgid as u32].iter().flat_map(|value| value.to_ne_bytes()));
    let ask = || rustix::process::getpgid(None).unwrap();
    let session = load(&object, None, &options);
    assert!(!session.reused);
    ask();
    drop(session);
    // nobody is there, and it is counted
    ask();
    let session = load(&object, None, &options);
    assert!(session.reused && session.object.is_none());
    ask();
    assert_eq!(counted(&session), 3);
    session.unload().unwrap();
    assert_eq!(folder.folders(), 0, "nothing is left");
    drop(turn);
}
