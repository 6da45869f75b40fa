//! What agents ask of the loader, on the running kernel, with a function of this test as what is traced. As root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use btf::object_file::ObjectFile;
use libbpf_rs::{MapCore, MapFlags};
use loader::choose::{Places, choose};
use loader::record::{Record, Value};
use loader::{Options, Session};

/// What is traced. Each test has its own arguments, for all have this process.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lcc_test_function(argument: u64) -> u64 {
    std::hint::black_box(argument)
}

/// The tests take turns: every uprobe sees every call.
static TURN: Mutex<()> = Mutex::new(());

fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped where nothing may be: {why}");
    eprintln!("skipped: {why}");
}

/// The object, compiled for this process; `None` where it cannot be loaded here.
fn agent() -> Option<Vec<u8>> {
    if !rustix::process::geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").exists() {
        skip("needs root, and a kernel with BTF of its own");
        return None;
    }
    let file = format!("-DFILE=\"{}\"", std::env::current_exe().unwrap().display());
    let argument = if cfg!(target_arch = "aarch64") { "-DARGUMENT=0" } else { "-DARGUMENT=14" };
    let arguments = ["-I", "../bpf", &file, argument];
    compile::for_test(Path::new(env!("CARGO_MANIFEST_DIR")), Path::new("tests/fixtures/agent.bpf.c"), &arguments)
}

/// The kernel's types with another name in the place of one: an older kernel, as the object sees it.
fn types_without(name: &str) -> PathBuf {
    let mut bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let wanted = format!("\0{name}\0").into_bytes();
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    bytes[at + name.len()] = b'_';
    let path = std::env::temp_dir().join(format!("lcc-{}-{name}.btf", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn load(object: &[u8], without: Option<&str>, options: &Options) -> Session {
    let facts = loader::probe(Path::new("/"));
    let parsed = ObjectFile::parse("agent.o", object).unwrap();
    let explicit = without.map(types_without);
    let places = Places { explicit: explicit.clone(), root: "/".into(), ..Places::default() };
    let chosen = choose(&parsed, &facts, &places).unwrap();
    let session = loader::load("agent.o", object, &facts, chosen.btf.as_ref(), options).unwrap();
    explicit.map(std::fs::remove_file).transpose().unwrap();
    session
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
    (0..calls).for_each(|_| {
        lcc_test_function(77);
    });
    listener.consume().unwrap();
    for _ in 0..8 {
        lcc_test_function(77);
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
    (100..110).for_each(|number| {
        lcc_test_function(number);
    });
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
    (0..10).for_each(|number| {
        lcc_test_function(number);
    });
    assert_eq!(counted(&session), 5);
    drop(session);
    options.config.clear();
    let session = load(&object, without, &options);
    (0..10).for_each(|number| {
        lcc_test_function(number);
    });
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

/// A folder in a BPF file system of the test's own.
struct BpfFolder(tempfile::TempDir);

impl BpfFolder {
    fn new() -> BpfFolder {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).status().unwrap();
        assert!(mounted.success());
        BpfFolder(folder)
    }
}

impl Drop for BpfFolder {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// Another function, to which the program that finds none is sent.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn lcc_other_function(argument: u64) -> u64 {
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
    options.hints.targets.push(("switched".to_owned(), "sched_wakeup".to_owned()));
    let session = load(&object, None, &options);
    let attached: Vec<&str> = session.attachments.iter().map(|one| one.program.as_str()).collect();
    assert_eq!(attached, ["entry", "nowhere", "switched"]);
    let switched = session.plan.programs.iter().find(|program| program.name == "switched").unwrap();
    assert_eq!(switched.section, "raw_tp/sched_wakeup");
    lcc_test_function(1);
    lcc_other_function(2);
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
    let facts = loader::probe(Path::new("/"));
    let parsed = ObjectFile::parse("agent.o", &object).unwrap();
    let chosen = choose(&parsed, &facts, &Places { root: "/".into(), ..Places::default() }).unwrap();
    let error = loader::load("agent.o", &object, &facts, chosen.btf.as_ref(), &options).err().unwrap();
    let expected = format!("agent.o: pins: {}: no BPF file system (mount -t bpf bpf FOLDER)", folder.path().display());
    assert_eq!(error.to_string(), expected);
    assert!(!folder.path().join("pins").exists(), "nothing is left behind");
    drop(turn);
}

#[test]
fn root_what_is_pinned_stays_and_is_found_again() {
    let turn = TURN.lock();
    let Some(object) = agent() else { return };
    let folder = BpfFolder::new();
    // beside the files that the kernel has in each
    let folders = || {
        let all = std::fs::read_dir(folder.0.path()).unwrap();
        all.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count()
    };
    let mut options = Options::default();
    options.pins = Some(folder.0.path().to_owned());
    let session = load(&object, None, &options);
    assert!(!session.reused);
    lcc_test_function(1);
    drop(session);
    // nobody is there, and it is counted
    lcc_test_function(2);
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
    lcc_test_function(2);
    lcc_test_function(3);
    assert_eq!(counted(&other), 1);
    assert_eq!(folders(), 1);
    drop(session);
    other.unload().unwrap();
    assert_eq!(folders(), 0, "nothing is left");
    drop(turn);
}
