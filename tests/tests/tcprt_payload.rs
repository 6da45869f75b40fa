//! tcprt where only requests of HTTP, or only application data of TLS, are tasks: dialogues byte by byte, and OpenSSL.
//!
//! As root, with clang and openssl.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use btf::object_file::ObjectFile;
use lcc_tests::{has_own_types, may_load, skip};
use libbpf_rs::{MapCore, MapFlags};
use loader::Options;
use loader::choose::{Places, choose};
use tcprt::{Config, Event, Kind, Mode, OBJECT, Protocol};

/// Between what is to be seen as segments of their own.
const PAUSE: Duration = Duration::from_millis(10);

/// One after the other: they share the machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether these modes work here: programs of a control group keep their state with the socket, since Linux 5.11.
fn may_look() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(5), Some(11)) {
        skip(&format!("{release} is older than 5.11"));
        return false;
    }
    if !has_own_types() {
        skip("they need BTF of the kernel's own");
        return false;
    }
    may_load()
}

/// What is told while `act` acts.
fn observe(mode: Mode, port: u16, act: impl FnOnce()) -> Vec<Event> {
    observe_all(mode, port, act).0
}

/// The same, and how many requests are counted that are not told.
fn observe_all(mode: Mode, port: u16, act: impl FnOnce()) -> (Vec<Event>, u64) {
    let object = ObjectFile::parse("tcprt.o", OBJECT).unwrap();
    let facts = loader::probe_for(Path::new("/"), &object);
    let chosen = choose(&object, &facts, &Places::here()).unwrap();
    let mut options = Options::default();
    let config = Config { local: vec![port..=port], peer: vec![port..=port], mode, ..Config::default() };
    options.config = config.bytes().unwrap().to_vec();
    options.hints.unwanted = mode.unwanted().collect();
    let session = loader::load("tcprt.o", OBJECT, &facts, chosen.btf.as_ref(), &options).unwrap();
    assert_eq!(session.plan.groups[0].taken, Some(5));
    let mut events = Vec::new();
    let listener = session.listen(|event| events.push(Event::parse(event.bytes).unwrap())).unwrap();
    act();
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        listener.poll(Duration::from_millis(50)).unwrap();
    }
    assert_eq!(listener.lost().unwrap()["events"], 0);
    drop(listener);
    let counters = session.maps["requests_untold"].lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap();
    (events, counters.iter().map(|counter| u64::from_ne_bytes(*counter.first_chunk().unwrap())).sum())
}

/// Who says what, each in a segment of its own.
#[derive(Clone, Copy)]
enum Says<'s> {
    Client(&'s [u8]),
    Server(&'s [u8]),
}
use Says::{Client, Server};

/// Holds a dialogue over a connection, which the client closes: what is told of it, and the requests that are not.
fn talk(mode: Mode, dialogue: &[Says<'_>]) -> (Vec<Event>, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    observe_all(mode, address.port(), || {
        let mut client = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        for says in dialogue {
            let (from, to, bytes) = match says {
                Client(bytes) => (&mut client, &mut server, bytes),
                Server(bytes) => (&mut server, &mut client, bytes),
            };
            from.write_all(bytes).unwrap();
            to.read_exact(&mut vec![0; bytes.len()]).unwrap();
            thread::sleep(PAUSE);
        }
        drop(client);
        assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    })
}

/// A task of HTTP: the request's first line, status, bytes received and sent.
type Task = (String, u16, u64, u64);

fn tasks(events: &[Event], kind: Kind) -> Vec<Task> {
    let of_kind = events.iter().filter(|event| event.kind == kind);
    let line = |event: &Event| event.request.to_string().split('\u{fffd}').next().unwrap_or_default().to_owned();
    of_kind.map(|event| (line(event), event.status, event.received_bytes, event.sent_bytes)).collect()
}

/// What both sides are told of a dialogue: the tasks, as the server has them.
#[track_caller]
fn check(dialogue: &[Says<'_>], expected: &[(&str, u16, usize, usize)]) {
    check_with_untold(dialogue, expected, 0);
}

/// The same, where each side counts so many requests that it does not tell.
#[track_caller]
fn check_with_untold(dialogue: &[Says<'_>], expected: &[(&str, u16, usize, usize)], untold: u64) {
    let _alone = alone();
    if !may_look() {
        return;
    }
    let (events, counted) = talk(Mode::Http, dialogue);
    assert_eq!(counted, 2 * untold, "{events:#?}");
    let expected: Vec<Task> =
        expected.iter().map(|&(line, status, r, s)| (line.to_owned(), status, r as u64, s as u64)).collect();
    assert_eq!(tasks(&events, Kind::Request), expected, "{events:#?}");
    let mirrored: Vec<Task> = expected.into_iter().map(|(line, status, r, s)| (line, status, s, r)).collect();
    assert_eq!(tasks(&events, Kind::Peer), mirrored, "{events:#?}");
    assert!(events.iter().all(|event| event.protocol == Protocol::Http));
}

const GET_A: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_B: &[u8] = b"GET /b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const MISSING: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

#[test]
fn root_requests_on_a_connection_that_is_kept() {
    let tasks = [("GET /a HTTP/1.1", 200, GET_A.len(), OK.len()), ("GET /b HTTP/1.1", 404, GET_B.len(), MISSING.len())];
    check(&[Client(GET_A), Server(OK), Client(GET_B), Server(MISSING)], &tasks);
}

#[test]
fn root_a_request_in_pieces_is_one() {
    let pieces: Vec<Says<'_>> = [&GET_A[..1], &GET_A[1..9], &GET_A[9..20], &GET_A[20..]].map(Client).into();
    let dialogue: Vec<Says<'_>> = pieces.into_iter().chain([Server(&OK[..3]), Server(&OK[3..])]).collect();
    check(&dialogue, &[("GET /a HTTP/1.1", 200, GET_A.len(), OK.len())]);
}

#[test]
fn root_pipelined_requests_are_each_told() {
    let both = [GET_A, GET_B, GET_A].concat();
    let answers = [OK, MISSING, OK].concat();
    let tasks = [
        ("GET /a HTTP/1.1", 200, GET_A.len(), OK.len()),
        ("GET /b HTTP/1.1", 404, GET_B.len(), MISSING.len()),
        ("GET /a HTTP/1.1", 200, GET_A.len(), OK.len()),
    ];
    check(&[Client(&both), Server(&answers)], &tasks);
    // and each in a segment of its own
    check(&[Client(GET_A), Client(GET_B), Client(GET_A), Server(OK), Server(MISSING), Server(OK)], &tasks);
    // the second comes while the first is answered
    check(&[Client(GET_A), Server(&OK[..40]), Client(GET_B), Server(&OK[40..]), Server(MISSING)], &tasks[..2]);
}

#[test]
fn root_of_many_that_wait_the_first_ones_texts_are_kept() {
    let (requests, answers) = (GET_A.repeat(10), OK.repeat(10));
    let told = |line| (line, 200, GET_A.len(), OK.len());
    let tasks: Vec<_> = (0..10).map(|number| told(if number < 4 { "GET /a HTTP/1.1" } else { "" })).collect();
    check(&[Client(&requests), Server(&answers)], &tasks);
}

#[test]
fn root_requests_beyond_those_that_can_wait_count_with_the_last_of_them_and_are_counted() {
    // 16 can wait, with the one that is answered: the responses behind these are the last one's too
    let check_many = |number: usize, untold| {
        let (requests, answers) = (GET_A.repeat(number), OK.repeat(number));
        let text = |task| if task < 4 { "GET /a HTTP/1.1" } else { "" };
        let many = |task| if task < 15 { 1 } else { number - 15 };
        let tasks: Vec<_> =
            (0..16).map(|task| (text(task), 200, many(task) * GET_A.len(), many(task) * OK.len())).collect();
        check_with_untold(&[Client(&requests), Server(&answers)], &tasks, untold);
        // each in a segment of its own
        let apart = std::iter::repeat_n(Client(GET_A), number).chain([Server(&answers)]).collect::<Vec<_>>();
        check_with_untold(&apart, &tasks, number as u64 - 16);
    };
    check_many(16, 0);
    check_many(20, 4);
    check_many(64, 48);
    // the rest of such a segment counts as one
    check_many(70, 49);
}

#[test]
fn root_requests_that_are_never_answered_are_told_up_to_the_fifth_and_counted() {
    let check_unanswered = |number: usize, told: usize, untold: u64| {
        let _alone = alone();
        if !may_look() {
            return;
        }
        let (events, counted) = talk(Mode::Http, &[Client(&GET_A.repeat(number))]);
        let text = |task| if task < 4 { "GET /a HTTP/1.1" } else { "" }.to_owned();
        let bytes = GET_A.len() as u64;
        let received: Vec<Task> = (0..told).map(|task| (text(task), 0, bytes, 0)).collect();
        assert_eq!(tasks(&events, Kind::ClosedWhileReceiving), received, "{events:#?}");
        let sent: Vec<Task> = (0..told).map(|task| (text(task), 0, 0, bytes)).collect();
        assert_eq!(tasks(&events, Kind::Peer), sent, "{events:#?}");
        assert_eq!((tasks(&events, Kind::Request).len(), tasks(&events, Kind::End).len()), (0, 1), "{events:#?}");
        assert_eq!(counted, 2 * untold, "of both sides: {events:#?}");
        // the connection has all of them
        let end = events.iter().find(|event| event.kind == Kind::End).unwrap();
        assert_eq!(end.received_bytes, number as u64 * bytes);
    };
    check_unanswered(1, 1, 0);
    check_unanswered(5, 5, 0);
    check_unanswered(10, 5, 5);
    // one that could not wait, and the others
    check_unanswered(17, 5, 12);
}

#[test]
fn root_bodies_are_their_messages() {
    let post = b"POST /c HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    let chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n";
    let go = b"HTTP/1.1 100 Continue\r\n\r\n";
    let dialogue = [
        Client(post),
        Server(go),
        Client(b"some data"),
        Server(chunked),
        Server(b"5\r\nhello\r\n"),
        Server(b"0\r\n\r\n"),
        Client(GET_A),
        Server(OK),
    ];
    let sent = go.len() + chunked.len() + 10 + 5;
    let tasks = [("POST /c HTTP/1.1", 201, post.len() + 9, sent), ("GET /a HTTP/1.1", 200, GET_A.len(), OK.len())];
    check(&dialogue, &tasks);
}

#[test]
fn root_other_protocols_are_no_tasks_of_http() {
    check(&[Client(b"*1\r\n$4\r\nPING\r\n"), Server(b"+PONG\r\n"), Client(b"\x16\x03\x01"), Server(b"\x15")], &[]);
    check(&[Client(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Server(b"\0\0\x12\x04\0")], &[]);
}

/// Lets a listener have connections only once they have data: TCP drops the acknowledgement that would end the handshake (tcp(7),
/// TCP_DEFER_ACCEPT), and the first data ends it.
fn defer_accept(listener: &TcpListener) {
    let seconds: libc::c_int = 10;
    let size = size_of_val(&seconds) as libc::socklen_t;
    let (level, option, value) = (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, (&raw const seconds).cast());
    // SAFETY: the value is there for the call, and as large as it says.
    assert_eq!(unsafe { libc::setsockopt(listener.as_raw_fd(), level, option, value, size) }, 0);
}

/// A dialogue that begins before the handshake has ended. Gives what is told of it.
fn talk_at_once(dialogue: &[(&[u8], &[u8])]) -> Vec<Event> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    defer_accept(&listener);
    let address = listener.local_addr().unwrap();
    observe(Mode::Http, address.port(), || {
        let mut client = TcpStream::connect(address).unwrap();
        let mut server = None;
        for (request, response) in dialogue {
            client.write_all(request).unwrap();
            let server = server.get_or_insert_with(|| listener.accept().unwrap().0);
            server.read_exact(&mut vec![0; request.len()]).unwrap();
            thread::sleep(PAUSE);
            server.write_all(response).unwrap();
            client.read_exact(&mut vec![0; response.len()]).unwrap();
            thread::sleep(PAUSE);
        }
        drop(client);
        assert_eq!(server.unwrap().read(&mut [0; 1]).unwrap(), 0);
    })
}

#[test]
fn root_a_request_that_ends_the_handshake_is_told_without_its_text() {
    let _alone = alone();
    if !may_look() {
        return;
    }
    let events = talk_at_once(&[(GET_A, OK), (GET_B, MISSING)]);
    let (a, b, ok, missing) = (GET_A.len() as u64, GET_B.len() as u64, OK.len() as u64, MISSING.len() as u64);
    let second = "GET /b HTTP/1.1".to_owned();
    assert_eq!(
        tasks(&events, Kind::Request),
        [(String::new(), 200, a, ok), (second.clone(), 404, b, missing)],
        "{events:#?}"
    );
    assert_eq!(
        tasks(&events, Kind::Peer),
        [("GET /a HTTP/1.1".to_owned(), 200, ok, a), (second, 404, missing, b)],
        "{events:#?}"
    );
    let pause = PAUSE.as_micros() as u64;
    for event in events.iter().filter(|event| event.kind == Kind::Request) {
        assert!(!event.reordered && (pause..pause + 100_000).contains(&event.service_us), "{event:?}");
    }
    let end = events.iter().find(|event| event.kind == Kind::End).unwrap();
    assert_eq!((end.received_bytes, end.sent_bytes, end.task), (a + b, ok + missing, 2));
    // what it is shows in the answer
    let events = talk_at_once(&[(b"PING\r\n", b"+PONG\r\n"), (b"PING\r\n", b"+PONG\r\n")]);
    assert!(events.is_empty(), "{events:#?}");
    let events = talk_at_once(&[(b"PING\r\n", b"+PONG\r\n"), (GET_A, OK)]);
    assert_eq!(tasks(&events, Kind::Request), [("GET /a HTTP/1.1".to_owned(), 200, a, ok)], "{events:#?}");
}

/// Lines that OpenSSL's server sends back the other way round, over a connection of the version.
#[track_caller]
fn check_tls(version: &str) {
    const LINES: usize = 20;
    let _alone = alone();
    if !may_look() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=lcc", "-keyout", "key", "-out", "crt"]);
    match openssl.current_dir(&folder).stderr(Stdio::null()).status() {
        Ok(made) => assert!(made.success(), "{made}"),
        Err(error) => return skip(&format!("openssl: {error}")),
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-rev", "-cert", "crt", "-key", "key", version, "-accept", &format!("127.0.0.1:{port}")]);
    server.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = server.spawn().unwrap();
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "openssl's server does not listen");
        thread::sleep(PAUSE);
    }
    let events = observe(Mode::Https, port, || {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}"), version]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = client.spawn().unwrap();
        let (mut says, mut hears) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
        for line in 0..LINES {
            let line = format!("line {line:02}\n");
            says.write_all(line.as_bytes()).unwrap();
            let mut answer = vec![0; line.len()];
            hears.read_exact(&mut answer).unwrap();
            thread::sleep(PAUSE);
        }
        drop(says);
        // -quiet keeps it at its end of input
        client.kill().unwrap();
        client.wait().unwrap();
    });
    server.kill().unwrap();
    server.wait().unwrap();
    // a header of 5, the line of 8, and the tag; with TLS 1.2 also a nonce, unless the cipher has none
    let sizes: &[u64] = if version == "-tls1_3" { &[5 + 8 + 1 + 16] } else { &[5 + 8 + 16, 5 + 8 + 8 + 16] };
    for kind in [Kind::Request, Kind::Peer] {
        let of_kind: Vec<_> = events.iter().filter(|event| event.kind == kind).collect();
        assert_eq!(of_kind.len(), LINES, "{version} {kind:?}: {events:#?}");
        for event in of_kind {
            assert_eq!(event.protocol, Protocol::Tls);
            assert!(sizes.contains(&event.received_bytes) && sizes.contains(&event.sent_bytes), "{version} {event:#?}");
        }
    }
}

#[test]
fn root_handshakes_and_alerts_of_tls12_are_no_tasks() {
    check_tls("-tls1_2");
}

#[test]
fn root_handshakes_tickets_and_alerts_of_tls13_are_no_tasks() {
    check_tls("-tls1_3");
}
