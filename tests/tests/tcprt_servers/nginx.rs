//! nginx, asked by ab, wrk and by hand.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use lcc_tests::server::{self, Server, certificate, program, run};
use tcprt::Kind;

use crate::{alone, at, object, observe, requests};

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
    let (seen, printed) = observe(object, &at(nginx.port), || {
        run(Command::new(wrk).args(["-t1", "-c32", "-d2s", &format!("http://127.0.0.1:{}/", nginx.port)]))
    });
    nginx.end();
    eprintln!("wrk and nginx: {}", seen.summary());
    assert_eq!(seen.lost, 0);
    let counted = printed.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse::<usize>().ok());
    let (counted, logged) = (counted.unwrap_or_else(|| panic!("{printed}")), logged(&nginx));
    // it closes with its last requests under way, which it does not count
    assert!((counted..=counted + 32).contains(&logged.len()), "{counted}, {}", logged.len());
    let told: Vec<_> = seen.of(Kind::Request).chain(seen.of(Kind::ClosedWhileSending)).collect();
    let mut tasks: Vec<_> = told.iter().map(|event| (event.peer.port(), event.task, event.received_bytes)).collect();
    tasks.sort_unstable();
    let lines: Vec<_> = logged.iter().map(|&(port, number, request, _)| (port, number, request)).collect();
    assert!(tasks == lines, "{}, {} lines in nginx's access log", seen.summary(), lines.len());
}

#[test]
fn root_nginx_with_tls_answers_two_tasks_before_the_first_request() {
    let _alone = alone();
    let Some(object) = object() else { return };
    let keys = tempfile::tempdir().unwrap();
    let (Some(ab), Some(())) = (program("ab"), certificate(keys.path())) else { return };
    let folder = keys.path().display();
    let block = format!(
        "ssl_certificate {folder}/certificate;\nssl_certificate_key {folder}/key;\nssl_protocols TLSv1.2;\n{BODY}"
    );
    let Some(mut nginx) = server::nginx(&block) else { return };
    let count = requests();
    let (seen, printed) = observe(object, &at(nginx.port), || {
        let mut ab = Command::new(ab);
        ab.args(["-q", "-k", "-c", "16", "-n", &count.to_string(), &format!("https://127.0.0.1:{}/", nginx.port)]);
        run(&mut ab)
    });
    nginx.end();
    eprintln!("ab and nginx with TLS: {}", seen.summary());
    assert_eq!((figure(&printed, "Complete requests:"), figure(&printed, "Failed requests:")), (count as u64, 0));
    let tasks = count + HANDSHAKE as usize * seen.count(Kind::End);
    assert_eq!((seen.count(Kind::Request), seen.lost), (tasks, 0), "{}", seen.summary());
    // AES-GCM (RFC 5288): a record's header of 5 bytes, a nonce of 8 and a tag of 16
    const RECORD: u64 = 29;
    let of = |event: &tcprt::Event| {
        (event.peer.port(), event.task - HANDSHAKE, event.received_bytes - RECORD, event.sent_bytes - RECORD)
    };
    let mut tasks: Vec<_> = seen.of(Kind::Request).filter(|event| event.task > HANDSHAKE).map(of).collect();
    tasks.sort_unstable();
    // which closes a connection after its thousandth request, and says so in a record of two bytes
    const CLOSE_NOTIFY: u64 = RECORD + 2;
    let mut lines = logged(&nginx);
    lines.iter_mut().filter(|(_, number, ..)| *number == 1000).for_each(|(.., sent)| *sent += CLOSE_NOTIFY);
    assert!(tasks == lines, "{:?} {:?}", tasks.first(), lines.first());
}

/// Tasks of the handshake of TLS 1.2: the hello, and the keys.
const HANDSHAKE: u32 = 2;

#[test]
fn root_nginx_has_pipelined_requests_as_one_task() {
    let _alone = alone();
    let Some(object) = object() else { return };
    let Some(mut nginx) = server::nginx(BODY) else { return };
    const TOGETHER: usize = 5;
    let (seen, received) = observe(object, &at(nginx.port), || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, nginx.port)).unwrap();
        let mut requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(TOGETHER - 1);
        requests += "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(requests.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap() as u64
    });
    nginx.end();
    let logged = logged(&nginx);
    assert_eq!(logged.len(), TOGETHER);
    assert_eq!(seen.count(Kind::Request), 1, "{}", seen.summary());
    let request = logged.iter().map(|(.., request, _)| request).sum();
    assert_eq!(seen.bytes(), (request, received));
}
