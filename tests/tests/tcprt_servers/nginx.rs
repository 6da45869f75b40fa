//! nginx, asked by ab, wrk and by hand.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use lcc_tests::server::{self, Server, certificate, program, run};
use tcprt::{Config, Event, Kind, Mode, Protocol};

use crate::{Seen, alone, at, object, observe, observe_with, requests};

const BODY: &str = "location / { return 200 \"a response of a small size\\n\"; }";

/// The number behind a word in what a client prints.
fn figure(printed: &str, word: &str) -> u64 {
    let line = printed.lines().find(|line| line.trim_start().starts_with(word)).unwrap_or_else(|| panic!("{printed}"));
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// Port of the client, number on its connection, bytes of the request and of the response; sorted.
fn logged(server: &Server) -> Vec<(u16, u32, u64, u64)> {
    let access = server.read("access");
    let line = |line: &str| {
        let figures: Vec<u64> = line.split(' ').map(|figure| figure.parse().expect("a figure")).collect();
        (figures[0] as u16, figures[1] as u32, figures[2], figures[3])
    };
    let mut lines: Vec<_> = access.lines().map(line).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn root_nginx_counts_the_same_requests_and_bytes() {
    let _alone = alone();
    let Some(object) = object() else { return };
    let (Some(ab), Some(mut nginx)) = (program("ab"), server::nginx(BODY)) else { return };
    let count = requests();
    let (seen, printed) = observe(object, &at(nginx.port), || {
        let mut ab = Command::new(ab);
        ab.args(["-q", "-k", "-c", "16", "-n", &count.to_string(), &format!("http://127.0.0.1:{}/", nginx.port)]);
        run(&mut ab)
    });
    nginx.end();
    eprintln!("ab and nginx: {}", seen.summary());
    assert_eq!((figure(&printed, "Complete requests:"), figure(&printed, "Failed requests:")), (count as u64, 0));
    assert_eq!(seen.lost, 0, "{}", seen.summary());
    assert_eq!(seen.count(Kind::Request), count, "{}", seen.summary());
    // nginx closes a connection after its thousandth request
    let answered = |event: &tcprt::Event| (event.peer.port(), event.task, event.received_bytes, event.sent_bytes);
    let mut tasks: Vec<_> = seen.of(Kind::Request).map(answered).collect();
    tasks.sort_unstable();
    assert!(tasks == logged(&nginx), "not each task is a line of nginx's access log");
    let sent: u64 = tasks.iter().map(|(.., sent)| sent).sum();
    assert_eq!(sent, figure(&printed, "Total transferred:"));
}

#[test]
fn root_nginx_and_a_client_that_leaves_in_the_middle() {
    let _alone = alone();
    let Some(object) = object() else { return };
    let (Some(wrk), Some(mut nginx)) = (program("wrk"), server::nginx(BODY)) else { return };
    // nothing slows wrk down: there is room for all of a second, however late it is read
    const SLOTS: u32 = 1 << 18;
    let (seen, printed) = observe_with(object, &at(nginx.port), Some(SLOTS), || {
        run(Command::new(wrk).args(["-t1", "-c32", "-d1s", &format!("http://127.0.0.1:{}/", nginx.port)]))
    });
    nginx.end();
    eprintln!("wrk and nginx: {}", seen.summary());
    let counted = printed.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse::<usize>().ok());
    let (counted, logged) = (counted.unwrap_or_else(|| panic!("{printed}")), logged(&nginx));
    // it closes with its last requests under way, which it does not count
    assert!((counted..=counted + 32).contains(&logged.len()), "{counted}, {}", logged.len());
    let told: Vec<_> = seen.of(Kind::Request).chain(seen.of(Kind::ClosedWhileSending)).collect();
    let mut tasks: Vec<_> = told.iter().map(|event| (event.peer.port(), event.task, event.received_bytes)).collect();
    tasks.sort_unstable();
    let lines: Vec<_> = logged.iter().map(|&(port, number, request, _)| (port, number, request)).collect();
    assert_eq!(seen.lost, 0, "{}", seen.summary());
    assert!(tasks == lines, "{}, {} lines in nginx's access log", seen.summary(), lines.len());
}

/// Asks nginx, which has only that version of TLS.
fn with_tls(version: &str, mode: Mode) -> Option<(Seen, Server)> {
    let object = object()?;
    let keys = tempfile::tempdir().unwrap();
    let (ab, ()) = (program("ab")?, certificate(keys.path())?);
    let folder = keys.path().display();
    let mut nginx = server::nginx(&format!(
        "ssl_certificate {folder}/certificate;\nssl_certificate_key {folder}/key;\nssl_protocols {version};\n{BODY}"
    ))?;
    let config = Config { mode, ..at(nginx.port) };
    let (seen, printed) = observe(object, &config, || {
        let mut ab = Command::new(ab);
        ab.args(["-q", "-k", "-c", "16", "-n", &requests().to_string(), &format!("https://127.0.0.1:{}/", nginx.port)]);
        run(&mut ab)
    });
    nginx.end();
    eprintln!("ab and nginx, {version}, {mode:?}: {}", seen.summary());
    assert_eq!(figure(&printed, "Complete requests:"), requests() as u64);
    assert_eq!((figure(&printed, "Failed requests:"), seen.lost), (0, 0));
    Some((seen, nginx))
}

/// Holds tasks against nginx's log, whose bytes are those inside of TLS: a record of `record` bytes more has each of them.
#[track_caller]
fn check_tls(nginx: &Server, tasks: impl Iterator<Item = Event>, before: u32, record: u64, closes_are_told: bool) {
    let of = |event: Event| {
        (event.peer.port(), event.task - before, event.received_bytes - record, event.sent_bytes - record)
    };
    let mut tasks: Vec<_> = tasks.map(of).collect();
    tasks.sort_unstable();
    // nginx closes a connection after its thousandth request, and says so in a record of two bytes
    let close_notify = if closes_are_told { record + 2 } else { 0 };
    let mut lines = logged(nginx);
    lines.iter_mut().filter(|(_, number, ..)| *number == 1000).for_each(|(.., sent)| *sent += close_notify);
    let differs = tasks.iter().zip(&lines).find(|(task, line)| task != line);
    assert!(tasks == lines, "{} and {} lines, {differs:?}", tasks.len(), lines.len());
}

/// AES-GCM (RFC 5288): a record's header of 5 bytes, a nonce of 8 and a tag of 16.
const RECORD_1_2: u64 = 29;
/// TLS 1.3 (RFC 8446, 5.2): the header, the content's type, and the tag.
const RECORD_1_3: u64 = 22;

#[test]
fn root_nginx_with_tls_answers_two_tasks_before_the_first_request() {
    // of TLS 1.2's handshake: the hello, and the keys
    const HANDSHAKE: u32 = 2;
    let _alone = alone();
    let Some((seen, nginx)) = with_tls("TLSv1.2", Mode::Default) else { return };
    let tasks = requests() + HANDSHAKE as usize * seen.count(Kind::End);
    assert_eq!(seen.count(Kind::Request), tasks, "{}", seen.summary());
    let asked = seen.of(Kind::Request).filter(|event| event.task > HANDSHAKE).copied();
    check_tls(&nginx, asked, HANDSHAKE, RECORD_1_2, true);
}

#[test]
fn root_nginx_with_tls_has_only_its_requests_as_tasks_where_that_is_asked_for() {
    let _alone = alone();
    for (version, record) in [("TLSv1.2", RECORD_1_2), ("TLSv1.3", RECORD_1_3)] {
        let Some((seen, nginx)) = with_tls(version, Mode::Https) else { return };
        assert_eq!(seen.count(Kind::Request), requests(), "{version}: {}", seen.summary());
        assert!(seen.of(Kind::Request).all(|event| event.protocol == Protocol::Tls));
        check_tls(&nginx, seen.of(Kind::Request).copied(), 0, record, false);
    }
}

#[test]
fn root_nginx_has_each_request_told_with_its_path_and_status() {
    let _alone = alone();
    let Some(object) = object() else { return };
    let (Some(ab), Some(mut nginx)) = (program("ab"), server::nginx(BODY)) else { return };
    let config = Config { mode: Mode::Http, ..at(nginx.port) };
    // the texts of more are not all kept
    const TOGETHER: usize = 4;
    let (seen, ()) = observe(object, &config, || {
        let mut ab = Command::new(ab);
        let url = format!("http://127.0.0.1:{}/some/path", nginx.port);
        run(ab.args(["-q", "-k", "-c", "16", "-n", &requests().to_string(), &url]));
        pipeline(nginx.port, TOGETHER);
    });
    nginx.end();
    eprintln!("ab and nginx, mode http: {}", seen.summary());
    assert_eq!((seen.count(Kind::Request), seen.lost), (requests() + TOGETHER, 0));
    let of = |event: &Event| (event.peer.port(), event.task, event.received_bytes, event.sent_bytes);
    let mut tasks: Vec<_> = seen.of(Kind::Request).map(of).collect();
    tasks.sort_unstable();
    let lines = logged(&nginx);
    let differs = tasks.iter().zip(&lines).find(|(task, line)| task != line);
    assert!(tasks == lines, "{} and {} lines, {differs:?}", tasks.len(), lines.len());
    for event in seen.of(Kind::Request) {
        let request = event.request.to_string();
        assert!(request.starts_with("GET /some/path HTTP/1.") || request.starts_with("GET / HTTP/1.1"), "{event:?}");
        assert_eq!((event.status, event.protocol), (200, Protocol::Http), "{event:?}");
    }
}

/// Asks for so many things at once, and gives how many bytes the answers have.
fn pipeline(port: u16, together: usize) -> u64 {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(together - 1);
    requests += "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap() as u64
}

#[test]
fn root_nginx_has_pipelined_requests_as_one_task() {
    let _alone = alone();
    let Some(object) = object() else { return };
    let Some(mut nginx) = server::nginx(BODY) else { return };
    const TOGETHER: usize = 5;
    let (seen, received) = observe(object, &at(nginx.port), || pipeline(nginx.port, TOGETHER));
    nginx.end();
    let logged = logged(&nginx);
    assert_eq!(logged.len(), TOGETHER);
    assert_eq!(seen.count(Kind::Request), 1, "{}", seen.summary());
    let request = logged.iter().map(|(.., request, _)| request).sum();
    assert_eq!(seen.bytes(), (request, received));
}
