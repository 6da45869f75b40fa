//! tcprt on the running kernel: servers and clients of HTTP's manner, whose times and bytes are known, by each way that the
//! kernel allows (fentry, kprobes, control groups: the ranks of the object's group `tcp`).
//!
//! As root, with clang or `LCC_OBJECTS`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use btf::object_file::ObjectFile;
use lcc_tests::netns::Namespace;
use lcc_tests::{compile, has_kprobes, has_own_types, is_emulated, may_load};
use libbpf_rs::{MapCore, MapFlags};
use loader::choose::{Places, choose};
use loader::{Options, Session};
use plan::Hints;
use rustix::net::{AddressFamily, SendFlags, SocketType, sockopt};
use tcprt::{Config, Event, Kind};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Between the halves of a request; of the handler.
const PAUSE: Duration = Duration::from_millis(20);
const SERVICE: Duration = Duration::from_millis(50);
/// Bytes of a request and of its response.
const REQUEST: usize = 3_000;
const RESPONSE: usize = 300_000;

/// An object of the project, compiled. `None` where it cannot be.
fn object(source: &str) -> Option<Vec<u8>> {
    may_load().then(|| compile(source)).flatten()
}

fn load(name: &str, bytes: &[u8], hints: Hints, config: Vec<u8>) -> Session {
    load_with(name, bytes, hints, config, |_| ())
}

/// The same, with other options.
fn load_with(name: &str, bytes: &[u8], hints: Hints, config: Vec<u8>, set: impl FnOnce(&mut Options)) -> Session {
    let object = ObjectFile::parse(name, bytes).unwrap();
    let facts = loader::probe_for(Path::new("/"), &object);
    let chosen = choose(&object, &facts, &Places::here()).unwrap();
    let mut options = Options::default();
    (options.hints, options.config) = (hints, config);
    set(&mut options);
    loader::load(name, bytes, &facts, chosen.btf.as_ref(), &options).unwrap_or_else(|error| panic!("{error}"))
}

/// Loads tcprt by each rank that works here, measuring only connections of that server's port, and calls `test` with it.
fn by_each_rank(test: impl Fn(&Measured<'_>)) {
    let Some(bytes) = object("bpf/tcprt/tcprt.bpf.c") else { return };
    by_each_rank_of(&bytes, test);
}

fn by_each_rank_of(bytes: &[u8], test: impl Fn(&Measured<'_>)) {
    // one after the other: they share ports, and time
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hints = Hints::default();
    let (mut tried, mut failed) = (0, 0);
    loop {
        let port = free_port();
        let config = Config { local: vec![port..=port], peer: vec![port..=port], ..Config::default() };
        let measured = Measured { bytes, hints: hints.clone(), config: config.bytes().unwrap(), port };
        let plan = load("tcprt.o", bytes, hints.clone(), measured.config.to_vec()).plan;
        let group = plan.groups.iter().find(|group| group.name == "tcp").unwrap();
        let Some(rank) = group.taken else { break };
        eprintln!("rank {rank}: {}", group.ranks[&rank].join(", "));
        // an emulated machine stands still while its host does other work: what is wrong is so three times
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| test(&measured))) {
            failed += 1;
            if !is_emulated() || failed == 3 {
                panic::resume_unwind(panic);
            }
            eprintln!("rank {rank}: once more");
            continue;
        }
        (tried, failed) = (tried + 1, 0);
        let taken = group.ranks[&rank].iter();
        hints.refused.extend(taken.map(|program| plan::Refused::new(program, "load", "another way is tried")));
    }
    assert!(tried > 0 || !has_own_types() && !has_kprobes(), "no way works here");
}

/// Below those that the kernel gives to clients.
fn free_port() -> u16 {
    (20_000..30_000)
        .find(|&port| TcpListener::bind((V6, port)).is_ok() && TcpListener::bind((V4, port)).is_ok())
        .unwrap()
}

/// A way of looking.
struct Measured<'b> {
    bytes: &'b [u8],
    hints: Hints,
    config: [u8; Config::SIZE],
    port: u16,
}

impl Measured<'_> {
    /// What is seen while `act` acts, until there are `count` events.
    fn while_it(&self, count: usize, act: impl FnOnce()) -> Vec<Event> {
        self.hear(load("tcprt.o", self.bytes, self.hints.clone(), self.config.to_vec()), count, act)
    }

    fn hear(&self, session: Session, count: usize, act: impl FnOnce()) -> Vec<Event> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let listener = session.listen(move |event| heard.lock().unwrap().push(Event::parse(event.bytes).unwrap()));
        let listener = listener.unwrap();
        act();
        let end = Instant::now() + Duration::from_secs(5);
        while events.lock().unwrap().len() < count && Instant::now() < end {
            listener.poll(Duration::from_millis(20)).unwrap();
        }
        // and no more than these
        thread::sleep(Duration::from_millis(50));
        listener.consume().unwrap();
        assert_eq!(listener.lost().unwrap()["events"], 0);
        let events = std::mem::take(&mut *events.lock().unwrap());
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    fn listen(&self, address: IpAddr) -> TcpListener {
        TcpListener::bind((address, self.port)).unwrap()
    }
}

/// Answers `tasks` requests on each of `connections` connections.
fn serve(listener: TcpListener, connections: usize, tasks: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..connections {
            let (mut peer, _) = listener.accept().unwrap();
            for _ in 0..tasks {
                let mut request = vec![0; REQUEST];
                peer.read_exact(&mut request).unwrap();
                thread::sleep(SERVICE);
                peer.write_all(&vec![b'y'; RESPONSE]).unwrap();
            }
            // the client closes first
            assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
        }
    })
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(&vec![b'x'; REQUEST / 3]).unwrap();
    thread::sleep(PAUSE);
    stream.write_all(&vec![b'x'; REQUEST - REQUEST / 3]).unwrap();
    stream.read_exact(&mut vec![0; RESPONSE]).unwrap();
}

fn of_kind(events: &[Event], kind: Kind) -> Vec<Event> {
    events.iter().filter(|event| event.kind == kind).copied().collect()
}

fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The most that sleeping for so long may take: a tenth more than was asked for, and 20 ms for the machine, which may be busy; an
/// emulated one has 50.
fn at_most(time: Duration) -> u64 {
    let machine = if is_emulated() { 50_000 } else { 20_000 };
    time.as_micros() as u64 * 11 / 10 + machine
}

#[track_caller]
fn check_times(event: &Event) {
    let (service, pause) = (SERVICE.as_micros() as u64, PAUSE.as_micros() as u64);
    assert!((service..=at_most(SERVICE)).contains(&event.service_us), "{event:?}");
    if event.kind == Kind::Request {
        assert!((pause..=at_most(PAUSE)).contains(&event.receive_us), "{event:?}");
    }
    let parts = event.service_us + event.receive_us + if event.kind == Kind::Peer { pause } else { 0 };
    assert!(event.total_us >= parts && event.total_us < parts + 200_000, "{event:?}");
    assert!(event.min_rtt_us > 0 && event.min_rtt_us < 100_000 && event.mss > 1000, "{event:?}");
}

#[test]
fn root_served_requests_are_measured_on_both_sides() {
    by_each_rank(|measured| {
        for address in [V4, V6] {
            let started = now_ns();
            let mut client_end = None;
            let events = measured.while_it(7, || {
                let server = serve(measured.listen(address), 1, 3);
                let mut stream = TcpStream::connect((address, measured.port)).unwrap();
                client_end = Some(stream.local_addr().unwrap());
                (0..3).for_each(|_| ask(&mut stream));
                drop(stream);
                server.join().unwrap();
            });
            let (client, server) = (client_end.unwrap(), SocketAddr::new(address, measured.port));
            let (request, response) = (REQUEST as u64, RESPONSE as u64);
            for (number, event) in (1..).zip(of_kind(&events, Kind::Request)) {
                check_times(&event);
                assert_eq!((event.local, event.peer, event.task), (server, client, number));
                assert_eq!((event.received_bytes, event.sent_bytes), (request, response));
                assert!(event.start_ns > started && event.start_ns < now_ns());
                assert!(!event.joined && !event.reordered, "{event:?}");
                // an emulated machine is slow enough for TCP to probe
                assert!(event.retransmissions == 0 || is_emulated(), "{event:?}");
            }
            for (number, event) in (1..).zip(of_kind(&events, Kind::Peer)) {
                check_times(&event);
                assert_eq!((event.local, event.peer, event.task), (client, server, number));
                assert_eq!((event.sent_bytes, event.received_bytes), (request, response));
                assert!(!event.joined && (event.retransmissions == 0 || is_emulated()), "{event:?}");
            }
            let ends = of_kind(&events, Kind::End);
            assert_eq!((of_kind(&events, Kind::Request).len(), ends.len()), (3, 1), "{events:#?}");
            assert_eq!((ends[0].task, ends[0].unacknowledged_bytes, ends[0].local), (3, 0, server));
            assert_eq!((ends[0].received_bytes, ends[0].sent_bytes), (3 * request, 3 * response));
        }
    });
}

#[test]
fn root_a_connection_that_was_there_before_is_measured_from_its_next_task_on() {
    by_each_rank(|measured| {
        let server = serve(measured.listen(V4), 1, 3);
        let mut stream = TcpStream::connect((V4, measured.port)).unwrap();
        ask(&mut stream);
        let events = measured.while_it(5, || {
            (0..2).for_each(|_| ask(&mut stream));
            drop(stream);
            server.join().unwrap();
        });
        let served = of_kind(&events, Kind::Request);
        assert_eq!((served.len(), of_kind(&events, Kind::Peer).len()), (2, 2), "{events:#?}");
        for event in served.iter().chain(&of_kind(&events, Kind::Peer)) {
            check_times(event);
            assert!(event.joined);
        }
        for (number, event) in (1..).zip(&served) {
            let bytes = (REQUEST as u64, RESPONSE as u64);
            assert_eq!((event.task, (event.received_bytes, event.sent_bytes)), (number, bytes));
        }
        assert_eq!(of_kind(&events, Kind::End)[0].sent_bytes, 2 * RESPONSE as u64);
    });
}

#[test]
fn root_looking_begins_while_a_request_is_answered() {
    by_each_rank(|measured| {
        let server = serve(measured.listen(V4), 1, 2);
        let mut stream = TcpStream::connect((V4, measured.port)).unwrap();
        // the server has all of the first one, and thinks
        stream.write_all(&vec![b'x'; REQUEST]).unwrap();
        let events = measured.while_it(3, || {
            stream.read_exact(&mut vec![0; RESPONSE]).unwrap();
            ask(&mut stream);
            drop(stream);
            server.join().unwrap();
        });
        let served = of_kind(&events, Kind::Request);
        assert_eq!((served.len(), served[0].task, served[0].received_bytes), (1, 1, REQUEST as u64), "{events:#?}");
        check_times(&served[0]);
    });
}

#[test]
fn root_connections_that_end_too_early_are_told() {
    by_each_rank(|measured| {
        let listener = measured.listen(V4);
        let events = measured.while_it(6, || {
            let server = thread::spawn(move || {
                // its answer is never read
                let (mut peer, _) = listener.accept().unwrap();
                peer.read_exact(&mut vec![0; REQUEST]).unwrap();
                peer.write_all(&vec![b'y'; 20_000_000]).unwrap_err();
                // its request never ends
                let (mut peer, _) = listener.accept().unwrap();
                peer.read_to_end(&mut Vec::new()).unwrap();
            });
            let mut stream = TcpStream::connect((V4, measured.port)).unwrap();
            stream.write_all(&vec![b'x'; REQUEST]).unwrap();
            stream.read_exact(&mut vec![0; 1000]).unwrap();
            thread::sleep(SERVICE);
            // with data unread: RST
            drop(stream);
            let mut stream = TcpStream::connect((V4, measured.port)).unwrap();
            stream.write_all(&vec![b'x'; REQUEST / 2]).unwrap();
            thread::sleep(PAUSE);
            drop(stream);
            server.join().unwrap();
        });
        let writing = of_kind(&events, Kind::ClosedWhileSending);
        let reading = of_kind(&events, Kind::ClosedWhileReceiving);
        assert_eq!((writing.len(), reading.len()), (1, 1), "{events:#?}");
        assert_eq!(writing[0].received_bytes, REQUEST as u64);
        assert!(writing[0].unacknowledged_bytes > 0, "{writing:?}");
        assert!(writing[0].total_us >= SERVICE.as_micros() as u64, "{writing:?}");
        assert_eq!((reading[0].received_bytes, reading[0].sent_bytes), (REQUEST as u64 / 2, 0));
        assert!(reading[0].total_us >= PAUSE.as_micros() as u64, "{reading:?}");
        let ends = of_kind(&events, Kind::End);
        assert_eq!(ends.iter().map(|event| event.task).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(ends[1].received_bytes, REQUEST as u64 / 2, "its FIN is no byte");
    });
}

#[test]
fn root_who_speaks_and_closes_first_makes_no_difference() {
    const GREETING: usize = 100;
    by_each_rank(|measured| {
        let listener = measured.listen(V6);
        let events = measured.while_it(8, || {
            let server = thread::spawn(move || {
                // the client says that its request is whole by closing its side
                let (mut peer, _) = listener.accept().unwrap();
                peer.read_to_end(&mut Vec::new()).unwrap();
                thread::sleep(SERVICE);
                peer.write_all(&vec![b'y'; RESPONSE]).unwrap();
                drop(peer);
                // this server speaks first, and closes first
                let (mut peer, _) = listener.accept().unwrap();
                peer.write_all(&[b'g'; GREETING]).unwrap();
                for _ in 0..2 {
                    peer.read_exact(&mut vec![0; REQUEST]).unwrap();
                    thread::sleep(SERVICE);
                    peer.write_all(&vec![b'y'; RESPONSE]).unwrap();
                }
            });
            let mut stream = TcpStream::connect((V6, measured.port)).unwrap();
            stream.write_all(&vec![b'x'; REQUEST]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut response = Vec::new();
            stream.read_to_end(&mut response).unwrap();
            assert_eq!(response.len(), RESPONSE);
            drop(stream);
            let mut stream = TcpStream::connect((V6, measured.port)).unwrap();
            stream.read_exact(&mut [0; GREETING]).unwrap();
            ask(&mut stream);
            ask(&mut stream);
            assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
            drop(stream);
            server.join().unwrap();
        });
        let (request, response) = (REQUEST as u64, RESPONSE as u64);
        let (served, asked) = (of_kind(&events, Kind::Request), of_kind(&events, Kind::Peer));
        assert_eq!(served.iter().map(|event| event.task).collect::<Vec<_>>(), [1, 1, 2], "{events:#?}");
        for event in &served {
            assert_eq!((event.received_bytes, event.sent_bytes), (request, response), "{event:?}");
            assert!((SERVICE.as_micros() as u64..=at_most(SERVICE)).contains(&event.service_us), "{event:?}");
        }
        for event in &asked {
            assert_eq!((event.sent_bytes, event.received_bytes), (request, response), "{event:?}");
        }
        let ends = of_kind(&events, Kind::End);
        let bytes: Vec<_> = ends.iter().map(|event| (event.received_bytes, event.sent_bytes)).collect();
        // of the first one, no FIN is a byte
        assert_eq!(bytes, [(request, response), (2 * request, 2 * response + GREETING as u64)]);
    });
}

/// The object as it is on a kernel before 5.11: it does not find what tells it that connections can live with their sockets.
fn without_socket_storage(mut bytes: Vec<u8>) -> Vec<u8> {
    let name = b"BPF_FUNC_task_storage_get\0";
    let places: Vec<_> = (0..bytes.len() - name.len()).filter(|&at| bytes[at..].starts_with(name)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at + name.len() - 2] = b'x');
    bytes
}

/// The object as it is on a kernel before 5.9, whose programs are given no `tcp_sock` of which they could load members.
fn without_tcp_sock(mut bytes: Vec<u8>) -> Vec<u8> {
    let name = b"BPF_FUNC_skc_to_tcp_sock\0";
    let places: Vec<_> = (0..bytes.len() - name.len()).filter(|&at| bytes[at..].starts_with(name)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at + name.len() - 2] = b'x');
    bytes
}

/// A client's two requests on one connection, and the server's answers.
fn two_requests(measured: &Measured<'_>) {
    let server = serve(measured.listen(V4), 1, 2);
    let mut stream = TcpStream::connect((V4, measured.port)).unwrap();
    (0..2).for_each(|_| ask(&mut stream));
    drop(stream);
    server.join().unwrap();
}

#[test]
fn root_requests_are_measured_where_members_cannot_be_loaded() {
    let Some(bytes) = object("bpf/tcprt/tcprt.bpf.c") else { return };
    by_each_rank_of(&without_tcp_sock(bytes), |measured| {
        let events = measured.while_it(5, || two_requests(measured));
        let (served, asked) = (of_kind(&events, Kind::Request), of_kind(&events, Kind::Peer));
        assert_eq!((served.len(), asked.len()), (2, 2), "{events:#?}");
        for event in served.iter().chain(&asked) {
            check_times(event);
            assert!(!event.joined, "{event:?}");
            assert_eq!(event.sent_bytes + event.received_bytes, (REQUEST + RESPONSE) as u64, "{event:?}");
        }
    });
}

/// The kernel leaves out a program's call now and then: here, all of one program.
#[test]
fn root_tasks_whose_times_are_those_of_a_later_call_are_told_so() {
    by_each_rank(|measured| {
        for left_out in ["receive", "send"] {
            let (hints, config) = (measured.hints.clone(), measured.config.to_vec());
            let session = load_with("tcprt.o", measured.bytes, hints, config, |options| {
                options.by_caller = ["fentry", "kprobe", "old"].map(|way| format!("{left_out}_{way}")).to_vec();
            });
            // control groups see packets
            if session.plan.groups.iter().any(|group| group.name == "tcp" && group.taken > Some(3)) {
                return;
            }
            let events = measured.hear(session, 5, || two_requests(measured));
            let (served, asked) = (of_kind(&events, Kind::Request), of_kind(&events, Kind::Peer));
            assert_eq!((served.len(), asked.len()), (2, 2), "{left_out}: {events:#?}");
            for event in served.iter().chain(&asked) {
                assert!(event.joined, "{left_out}: {event:?}");
                assert_eq!(event.sent_bytes + event.received_bytes, (REQUEST + RESPONSE) as u64, "{event:?}");
            }
            let ends = of_kind(&events, Kind::End);
            let bytes = (2 * REQUEST as u64, 2 * RESPONSE as u64);
            assert_eq!((ends[0].received_bytes, ends[0].sent_bytes), bytes, "{left_out}: {events:#?}");
            assert!(!ends[0].joined, "{left_out}: {events:#?}");
        }
    });
}

/// Of a map with a value for each processor: their sum.
fn sum(session: &Session, counter: &str) -> u64 {
    let values = session.maps[counter].lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap();
    values.iter().map(|value| u64::from_ne_bytes(*value.first_chunk().unwrap())).sum()
}

#[test]
fn root_connections_that_a_full_table_pushes_out_are_counted() {
    const ROOM: u32 = 16;
    const CONNECTIONS: usize = 64;
    let Some(bytes) = object("bpf/tcprt/tcprt.bpf.c") else { return };
    by_each_rank_of(&without_socket_storage(bytes), |measured| {
        let (hints, config) = (measured.hints.clone(), measured.config.to_vec());
        let session = load_with("tcprt.o", measured.bytes, hints, config, |options| {
            options.map_entries = vec![("connections".to_owned(), ROOM)];
        });
        let mut events = Vec::new();
        let listener = session.listen(|event| events.push(Event::parse(event.bytes).unwrap())).unwrap();
        let server = measured.listen(V4);
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = TcpStream::connect((V4, measured.port)).unwrap();
            let (mut peer, _) = server.accept().unwrap();
            client.write_all(&[b'x'; 100]).unwrap();
            peer.read_exact(&mut [0; 100]).unwrap();
            peer.write_all(&[b'y'; 1000]).unwrap();
            client.read_exact(&mut [0; 1000]).unwrap();
            open.push((client, peer));
        }
        let there = || session.maps["connections"].keys().count();
        let full = there();
        // a server's side ends when the client has closed
        for (client, mut peer) in open {
            drop(client);
            assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        }
        let end = Instant::now() + Duration::from_secs(10);
        while there() > 0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        listener.consume().unwrap();
        assert_eq!(listener.lost().unwrap()["events"], 0);
        drop(listener);
        assert!((1..=ROOM as usize).contains(&full) && there() == 0, "{full}, {} in the table", there());
        let (entered, left) = (sum(&session, "connections_entered"), sum(&session, "connections_left"));
        let (served, asked) = (of_kind(&events, Kind::Request), of_kind(&events, Kind::Peer));
        assert_eq!(of_kind(&events, Kind::End).len(), served.len(), "{events:#?}");
        let told = (served.len() + asked.len()) as u64;
        assert!((1..=u64::from(ROOM)).contains(&told), "{events:#?}");
        // both sides of each are told, or counted; none is met again after it was pushed out
        assert_eq!((entered, left), (2 * CONNECTIONS as u64, told), "{events:#?}");
        for event in served.iter().chain(&asked) {
            let (bytes, of_client) = ((event.received_bytes, event.sent_bytes), event.kind == Kind::Peer);
            assert_eq!(bytes, if of_client { (1000, 100) } else { (100, 1000) }, "{event:?}");
            assert!(!event.joined);
        }
        assert_eq!(sum(&session, "connections_refused"), 0);
    });
}

/// `struct lossy_config`.
fn lossy_config(port: u16, holds: bool) -> Vec<u8> {
    [u32::from(port), u32::from(holds)].iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// Calls `act` where TCP fast open is on, for every client and listener, without cookies: in a network namespace of its own where there
/// is `ip` to make one.
fn with_fast_open(act: impl FnOnce() + Send) {
    const ALL: &str = "1543"; // 1, 2, 4, 0x200, 0x400: networking/ip-sysctl, tcp_fastopen
    let inside = || {
        std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", ALL).unwrap();
        act();
    };
    if is_emulated() { inside() } else { Namespace::new().inside(inside) }
}

/// How many connections had data in their SYN here, by those who were connected to.
fn fast_opened() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let (_, value) = names.zip(values).find(|(name, _)| *name == "TCPFastOpenPassive").unwrap();
    value.parse().unwrap()
}

/// A request that comes with the SYN. If it `holds`, the handshake does not end before the server has answered.
fn check_fast_open(holds: bool) {
    const EARLY: usize = 400;
    let Some(lossy) = object("tests/tests/fixtures/lossy.bpf.c") else { return };
    by_each_rank(|measured| {
        with_fast_open(|| {
            let listener = measured.listen(V4);
            let holding = holds.then(|| load("lossy.o", &lossy, Hints::default(), lossy_config(measured.port, true)));
            let before = fast_opened();
            let events = measured.while_it(5, || {
                let server = thread::spawn(move || {
                    let (mut peer, _) = listener.accept().unwrap();
                    for length in [EARLY, REQUEST] {
                        peer.read_exact(&mut vec![0; length]).unwrap();
                        thread::sleep(SERVICE);
                        peer.write_all(&vec![b'y'; RESPONSE]).unwrap();
                    }
                    assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
                });
                let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
                let with_syn = SendFlags::from_bits_retain(0x2000_0000); // MSG_FASTOPEN
                let address = SocketAddr::new(V4, measured.port);
                assert_eq!(rustix::net::sendto(&socket, &[b'x'; EARLY], with_syn, &address).unwrap(), EARLY);
                let mut stream = TcpStream::from(socket);
                stream.read_exact(&mut vec![0; RESPONSE]).unwrap();
                ask(&mut stream);
                drop(stream);
                server.join().unwrap();
            });
            drop(holding);
            assert_eq!(fast_opened() - before, 1);
            let (served, asked) = (of_kind(&events, Kind::Request), of_kind(&events, Kind::Peer));
            let (early, later, response) = (EARLY as u64, REQUEST as u64, RESPONSE as u64);
            let bytes = |events: &[Event]| -> Vec<_> {
                events.iter().map(|event| (event.task, event.received_bytes, event.sent_bytes)).collect()
            };
            assert_eq!(bytes(&served), [(1, early, response), (2, later, response)], "{events:#?}");
            assert_eq!(bytes(&asked), [(1, response, early), (2, response, later)], "{events:#?}");
            check_times(&served[1]);
            check_times(&asked[1]);
            let service = SERVICE.as_micros() as u64..=at_most(SERVICE);
            // where it came is not seen, the end of the handshake is taken, and the server may be at it since (7.3.4, by kprobes)
            let late = served[0].start_ns.saturating_sub(asked[0].start_ns) / 1_000;
            assert!(service.contains(&served[0].service_us) || served[0].joined, "{events:#?}");
            // or the answer, if that is the first that is seen
            assert!(service.contains(&(served[0].service_us + late)) || holds && served[0].joined, "{events:#?}");
            assert!(service.contains(&asked[0].service_us) && asked[0].joined, "{events:#?}");
            let end = of_kind(&events, Kind::End)[0];
            assert_eq!((end.received_bytes, end.sent_bytes), (early + later, 2 * response));
        });
    });
}

#[test]
fn root_a_request_that_comes_with_the_syn_is_measured() {
    check_fast_open(false);
}

#[test]
fn root_a_request_that_comes_with_the_syn_is_answered_before_the_handshake_ends() {
    check_fast_open(true);
}

#[test]
fn root_what_is_sent_again_counts_once() {
    let Some(lossy) = object("tests/tests/fixtures/lossy.bpf.c") else { return };
    by_each_rank(|measured| {
        let listener = measured.listen(V4);
        let dropping = load("lossy.o", &lossy, Hints::default(), lossy_config(measured.port, false));
        let events = measured.while_it(5, || {
            let server = thread::spawn(move || {
                let (mut peer, _) = listener.accept().unwrap();
                for _ in 0..2 {
                    peer.read_exact(&mut vec![0; RESPONSE]).unwrap();
                    thread::sleep(SERVICE);
                    peer.write_all(&vec![b'y'; 3 * RESPONSE]).unwrap();
                }
                assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
            });
            let mut stream = TcpStream::connect((V4, measured.port)).unwrap();
            sockopt::set_tcp_nodelay(&stream, true).unwrap();
            for _ in 0..2 {
                // many small segments
                for part in vec![b'x'; RESPONSE].chunks(5_000) {
                    stream.write_all(part).unwrap();
                }
                stream.read_exact(&mut vec![0; 3 * RESPONSE]).unwrap();
            }
            drop(stream);
            server.join().unwrap();
        });
        drop(dropping);
        let (served, asked) = (of_kind(&events, Kind::Request), of_kind(&events, Kind::Peer));
        for (served, asked) in served.iter().zip(&asked) {
            assert_eq!((served.received_bytes, served.sent_bytes), (RESPONSE as u64, 3 * RESPONSE as u64));
            assert_eq!((asked.sent_bytes, asked.received_bytes), (RESPONSE as u64, 3 * RESPONSE as u64));
            assert!((SERVICE.as_micros() as u64..=at_most(SERVICE)).contains(&served.service_us), "{served:?}");
        }
        assert_eq!((served.len(), asked.len()), (2, 2), "{events:#?}");
        assert!(served.iter().any(|event| event.reordered), "{events:#?}");
        assert!(asked.iter().any(|event| event.retransmissions > 0), "{events:#?}");
    });
}
