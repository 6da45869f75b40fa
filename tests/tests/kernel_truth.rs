//! What is read out of the kernel's structures, held against what is known: a task's numbers, names and times, a connection's ports, states
//! and bytes, what a function is given. Each fact is told twice, by a ring buffer and by perf buffers.
//!
//! As root, with clang or `LCC_OBJECTS`. `cargo xtask matrix` runs this on real kernels.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use btf::object_file::ObjectFile;
use lcc_tests::{compile, has_kprobes, has_own_types, is_emulated, may_load, skip, types_without};
use loader::Options;
use loader::choose::{Places, choose};
use loader::record::Record;
use plan::{Feature, Need, Plan, ProgramPlan, Status};
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{UnshareFlags, gettid, set_thread_res_uid, unshare_unsafe};
use serde_json::Value;

/// `BPF_MAP_TYPE_RINGBUF`, `BPF_MAP_TYPE_PERF_EVENT_ARRAY`.
const RING_BUFFER: u32 = 27;
const PERF_BUFFER: u32 = 4;

/// `struct truth_config`.
#[derive(Clone, Copy, Default)]
struct Config {
    tgid: u32,
    syscall: u32,
    server: u16,
    client: u16,
}

/// The object, loaded with a ring buffer and then with perf buffers; what each heard is given to `test` with the plan.
fn by_both_buffers(test: impl Fn(&Teller<'_>)) {
    if !may_load() {
        return;
    }
    let Some(object) = compile("tests/tests/fixtures/truth.bpf.c") else { return };
    for (without, map_type) in [(None, RING_BUFFER), (Some("BPF_FUNC_ringbuf_output"), PERF_BUFFER)] {
        eprintln!("by {}", if map_type == RING_BUFFER { "a ring buffer" } else { "perf buffers" });
        test(&Teller { object: &object, without, map_type });
    }
}

/// The object, and how events are to come.
struct Teller<'t> {
    object: &'t [u8],
    without: Option<&'t str>,
    map_type: u32,
}

impl Teller<'_> {
    /// The plan, and the events of a stream that come while `act` acts, until there are `count`.
    fn hear(
        &self,
        stream: &str,
        config: Config,
        count: impl Fn(&Plan) -> usize,
        act: impl FnOnce(),
    ) -> (Plan, Vec<Value>) {
        let parsed = ObjectFile::parse("truth.o", self.object).unwrap();
        let facts = loader::probe_for(Path::new("/"), &parsed);
        let types = self.without.map(types_without);
        let mut places = Places::here();
        places.explicit = types.as_ref().map(|file| file.path().to_owned()).or(places.explicit);
        let chosen = choose(&parsed, &facts, &places).unwrap();
        let mut options = Options::default();
        let Config { tgid, syscall, server, client } = config;
        options.config = [tgid, syscall, server.into(), client.into()].iter().flat_map(|v| v.to_ne_bytes()).collect();
        let session = loader::load("truth.o", self.object, &facts, chosen.btf.as_ref(), &options);
        let session = session.unwrap_or_else(|error| panic!("{error}"));
        for name in ["tasks", "states", "sends"] {
            let map = session.plan.maps.iter().find(|map| map.name == name).unwrap();
            assert!(!map.enabled || map.map_type == self.map_type, "{map:?}");
        }
        let event = &session.streams.iter().find(|one| one.name == stream).map(|one| one.event.clone());
        let record = event.as_ref().map(|event| Record::of(parsed.btf(), event).unwrap());
        let heard = Mutex::new(Vec::new());
        let listener = session.listen(|event| {
            if let Some(record) = record.as_ref().filter(|_| event.stream == stream) {
                let value = record.read(event.bytes).expect("a whole event");
                heard.lock().unwrap().push(serde_json::to_value(&value).unwrap());
            }
        });
        let listener = listener.unwrap();
        act();
        let (count, end) = (count(&session.plan), Instant::now() + Duration::from_secs(10));
        while heard.lock().unwrap().len() < count && Instant::now() < end {
            listener.poll(Duration::from_millis(50)).unwrap();
        }
        // and no more than these
        thread::sleep(Duration::from_millis(50));
        listener.consume().unwrap();
        assert!(listener.lost().unwrap().values().all(|lost| *lost == 0), "{:?}", listener.lost());
        drop(listener);
        let mut heard = heard.into_inner().unwrap();
        // each processor has its perf buffer
        heard.sort_by_key(|event| event["time_ns"].as_u64());
        (session.plan.clone(), heard)
    }
}

/// What a thread knows of itself.
#[derive(Debug, PartialEq)]
struct Known {
    name: &'static str,
    tid: u64,
    uid: u64,
    /// Of its network namespace.
    net: u64,
    /// Of `USER_HZ`, since the machine began (`proc_pid_stat(5)`, `starttime`).
    ticks: u64,
}

/// The system call by which a thread asks to be told of: one that nobody else of this process uses.
const ASK: libc::c_long = libc::SYS_getpgid;

/// Nanoseconds of `USER_HZ`: 100 a second, on all that Linux runs on but Alpha and IA-64.
const TICK: u64 = 10_000_000;

impl Known {
    /// Of this thread, which then asks. With `uid`, it becomes another user's first; in a network of its own, if the kernel has them.
    fn ask(name: &'static str, uid: Option<u32>) -> Known {
        if uid.is_some() {
            // SAFETY: no file descriptors are shared or taken apart by this flag, and the thread ends soon.
            if let Err(error) = unsafe { unshare_unsafe(UnshareFlags::NEWNET) } {
                eprintln!("no network namespace: {error}");
            }
        }
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // what follows the name begins with the third field; it is the 22nd
        let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        let net = std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |file| file.ino());
        let user = rustix::process::Uid::from_raw(uid.unwrap_or(0));
        if uid.is_some() {
            set_thread_res_uid(user, user, user).unwrap();
        }
        rustix::process::getpgid(None).unwrap();
        Known { name, tid: gettid().as_raw_pid() as u64, uid: user.as_raw().into(), net, ticks }
    }
}

#[test]
fn root_a_task_is_what_its_thread_knows_of_itself() {
    let (tgid, parent) = (std::process::id(), rustix::process::getppid().map_or(0, |pid| pid.as_raw_pid()));
    by_both_buffers(|teller| {
        let config = Config { tgid, syscall: ASK as u32, ..Config::default() };
        let mut known = Vec::new();
        let (_, told) = teller.hear(
            "tasks",
            config,
            |_| 2,
            || {
                for (name, uid) in [("lcc-known-one", None), ("lcc-known-other", Some(4321))] {
                    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || Known::ask(name, uid));
                    known.push(thread.unwrap().join().unwrap());
                }
            },
        );
        assert_eq!(told.len(), 2, "{told:#?}");
        // they have no time: each is found by its name
        for known in &known {
            let event = told.iter().find(|event| event["comm"] == known.name);
            let event = event.unwrap_or_else(|| panic!("{known:?} is not told: {told:#?}"));
            let number = |name: &str| event[name].as_u64().unwrap();
            let of_structure = Known {
                name: known.name,
                tid: number("pid"),
                uid: number("uid"),
                net: number("net"),
                ticks: number("start_ns") / TICK,
            };
            assert_eq!(of_structure, *known);
            assert_eq!((number("tgid"), number("parent")), (tgid.into(), parent as u64), "{event}");
            assert_eq!((number("helper_tgid"), number("helper_pid")), (tgid.into(), known.tid), "{event}");
        }
        eprintln!("{known:?}");
    });
}

/// Bytes that a client sends, and that it is answered.
const REQUEST: usize = 12_345;
const RESPONSE: usize = 234_567;

/// `include/net/tcp_states.h`
const ESTABLISHED: u64 = 1;
const SYN_SENT: u64 = 2;
const SYN_RECV: u64 = 3;
const FIN_WAIT1: u64 = 4;
const FIN_WAIT2: u64 = 5;
const CLOSE: u64 = 7;
const CLOSE_WAIT: u64 = 8;
const LAST_ACK: u64 = 9;
const LISTEN: u64 = 10;

/// What a socket says of itself by `TCP_INFO`.
#[derive(Debug, PartialEq)]
struct Counted {
    acknowledged: u64,
    received: u64,
    /// Sent, and of that sent again; `None` where the kernel does not count them.
    sent: Option<(u64, u64)>,
}

impl Counted {
    fn of(stream: &TcpStream) -> Counted {
        let mut info = [0u8; 256];
        let mut len = info.len() as libc::socklen_t;
        let fd = stream.as_raw_fd();
        // SAFETY: it writes no more than `len` bytes, which is what `info` has.
        let got =
            unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len) };
        assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
        // struct tcp_info of include/uapi/linux/tcp.h: bytes_acked, bytes_received; bytes_sent, bytes_retrans
        let at = |at: usize| u64::from_ne_bytes(info[at..at + 8].try_into().unwrap());
        let sent = (len >= 216).then(|| (at(200), at(208)));
        Counted { acknowledged: at(120), received: at(128), sent }
    }

    fn told(event: &Value) -> Counted {
        let number = |name: &str| event[name].as_u64().unwrap();
        let sent = (event["knows_sent"] == 1).then(|| (number("sent"), number("sent_again")));
        Counted { acknowledged: number("acknowledged"), received: number("received"), sent }
    }

    /// Whether these are its bytes: a SYN and a FIN count as one.
    #[track_caller]
    fn check(&self, sent: usize, received: usize) {
        let is_near = |counted: u64, bytes: usize| (bytes as u64..=bytes as u64 + 1).contains(&counted);
        assert!(is_near(self.acknowledged, sent) && is_near(self.received, received), "{self:?}: {sent}, {received}");
        if let Some((all, again)) = self.sent {
            assert_eq!(all - again, sent as u64, "{self:?}");
        }
    }
}

/// A client's socket, at a port that is its own until it is closed for good.
fn client(address: IpAddr) -> (TcpStream, u16) {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let begin = 30_000 + (std::process::id() % 64) as u16 * 40;
    for port in begin..begin + 200 {
        let socket = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
        if rustix::net::bind(&socket, &SocketAddr::new(address, port)).is_ok() {
            return (TcpStream::from(socket), port);
        }
    }
    panic!("no port is free");
}

/// Asks and is answered; what both ends counted: the client when all was answered, the server when the client had closed.
fn exchange(listener: &TcpListener, mut stream: TcpStream) -> (Counted, Counted) {
    let server = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let served = scope.spawn(|| {
            let (mut peer, _) = listener.accept().unwrap();
            peer.read_exact(&mut vec![0; REQUEST]).unwrap();
            peer.write_all(&vec![b'y'; RESPONSE]).unwrap();
            assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
            Counted::of(&peer)
        });
        rustix::net::connect(&stream, &server).unwrap();
        stream.write_all(&vec![b'x'; REQUEST]).unwrap();
        stream.read_exact(&mut vec![0; RESPONSE]).unwrap();
        let counted = Counted::of(&stream);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
        (counted, served.join().unwrap())
    })
}

fn check_connection(teller: &Teller<'_>, address: IpAddr) {
    let Ok(listener) = TcpListener::bind((address, 0)) else {
        assert!(address.is_ipv6(), "no {address}");
        skip("no IPv6");
        return;
    };
    let server = listener.local_addr().unwrap().port();
    let (stream, client) = client(address);
    let config = Config { server, client, ..Config::default() };
    let mut counted = None;
    let (_, told) = teller.hear("states", config, |_| 9, || counted = Some(exchange(&listener, stream)));
    let (asked, served) = counted.unwrap();
    // the server's end begins as a copy of what listens
    let told: Vec<&Value> = told.iter().filter(|event| event["from"] != LISTEN).collect();
    let number = |event: &Value, name: &str| event[name].as_u64().unwrap();
    let of = |remote: u16| -> Vec<&Value> { told.iter().filter(|event| event["remote"] == remote).copied().collect() };
    let steps = |events: &[&Value]| -> Vec<(u64, u64)> {
        events.iter().map(|event| (number(event, "from"), number(event, "to"))).collect()
    };
    let (clients, servers) = (of(server), of(client));
    let expected = [
        (CLOSE, SYN_SENT),
        (SYN_SENT, ESTABLISHED),
        (ESTABLISHED, FIN_WAIT1),
        (FIN_WAIT1, FIN_WAIT2),
        (FIN_WAIT2, CLOSE),
    ];
    assert_eq!(steps(&clients), expected, "{told:#?}");
    let expected = [(SYN_RECV, ESTABLISHED), (ESTABLISHED, CLOSE_WAIT), (CLOSE_WAIT, LAST_ACK), (LAST_ACK, CLOSE)];
    assert_eq!(steps(&servers), expected, "{told:#?}");
    assert_eq!(told.len(), clients.len() + servers.len(), "{told:#?}");
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    for event in &told {
        assert_eq!((number(event, "family"), &event["state"]), (family as u64, &event["from"]), "{event}");
        let local = if event["remote"] == server { client } else { server };
        // a port that was not asked for is given back before the end
        assert!(event["local"] == local || event["local"] == 0 && event["to"] == CLOSE, "{event}");
        if let (IpAddr::V4(address), true) = (address, event["from"] == ESTABLISHED) {
            let address = u32::from_ne_bytes(address.octets());
            assert_eq!((&event["local_address"], &event["remote_address"]), (&address.into(), &address.into()));
        }
    }
    // what each end had counted before it went on
    let (clients, servers) = (Counted::told(clients[2]), Counted::told(servers[1]));
    clients.check(REQUEST, RESPONSE);
    servers.check(RESPONSE, REQUEST);
    assert_eq!((&clients, &servers), (&asked, &served), "as TCP_INFO has it");
    eprintln!("{address}: the client {clients:?}, the server {servers:?}");
}

#[test]
fn root_a_connections_ports_states_and_bytes_are_true() {
    by_both_buffers(|teller| {
        check_connection(teller, Ipv4Addr::LOCALHOST.into());
        check_connection(teller, Ipv6Addr::LOCALHOST.into());
    });
}

/// What is sent, each by one call.
const SENT: [usize; 4] = [1, 777, 4_096, 70_000];

#[test]
fn root_what_a_function_is_given_is_what_was_sent() {
    by_both_buffers(|teller| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config { server: address.port(), ..Config::default() };
        let enabled = |plan: &Plan| ["send_kprobe", "send_fentry"].map(|name| program(plan, name).enabled);
        let count = |plan: &Plan| enabled(plan).iter().filter(|enabled| **enabled).count() * SENT.len();
        let (plan, told) = teller.hear("sends", config, count, || {
            thread::scope(|scope| {
                scope.spawn(|| listener.accept().unwrap().0.read_to_end(&mut Vec::new()).unwrap());
                let mut stream = TcpStream::connect(address).unwrap();
                SENT.iter().for_each(|&bytes| assert_eq!(stream.write(&vec![b'x'; bytes]).unwrap(), bytes));
            });
        });
        for (by_fentry, name) in ["send_kprobe", "send_fentry"].iter().enumerate() {
            let program = program(&plan, name);
            check_expected(program);
            let told = told.iter().filter(|event| event["by_fentry"] == by_fentry);
            let told: Vec<(u64, u64)> =
                told.map(|event| (event["tgid"].as_u64().unwrap(), event["bytes"].as_u64().unwrap())).collect();
            let sent = SENT.iter().map(|&bytes| (std::process::id().into(), bytes as u64));
            let expected: Vec<(u64, u64)> = if program.enabled { sent.collect() } else { Vec::new() };
            assert_eq!(told, expected, "{name}");
            eprintln!("{name}: {told:?}");
        }
    });
}

fn program<'p>(plan: &'p Plan, name: &str) -> &'p ProgramPlan {
    plan.programs.iter().find(|program| program.name == name).unwrap()
}

/// Whether a program may be off, and the plan says why.
fn check_expected(program: &ProgramPlan) {
    let unmet: Vec<_> = program.requirements.iter().filter(|one| one.status == Status::Unmet).collect();
    let wants = |need: &Need| unmet.iter().any(|one| one.need == *need);
    if program.section.starts_with("kprobe") {
        assert_eq!(program.enabled, has_kprobes(), "{unmet:?}");
        assert_eq!(!has_kprobes(), wants(&Need::Feature { feature: Feature::Kprobe }), "{unmet:?}");
    } else {
        assert_eq!(!has_own_types(), wants(&Need::OwnBtf), "{unmet:?}");
        // of the kernels that are booted, all of x86-64 with types have it; others say so by what was tried
        let is_sure = is_emulated() && has_own_types() && cfg!(target_arch = "x86_64");
        assert!(program.enabled || !is_sure, "{unmet:?}");
    }
    assert_eq!(program.enabled, unmet.is_empty(), "{unmet:?}");
    for requirement in &unmet {
        assert!(!requirement.evidence.is_empty(), "{requirement:?}");
        eprintln!("{} is off: {}: {}", program.name, requirement.need, requirement.evidence);
    }
}
