//! redis-server, asked by redis-benchmark and by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use lcc_tests::server::{self, Server, program, run};
use tcprt::Kind;

use crate::{alone, at, check_service, object, observe, requests};

/// What `INFO stats` says, asked over a socket that is not measured.
struct Stats {
    commands: u64,
    connections: u64,
    /// The question's own bytes are left out.
    received: u64,
    sent: u64,
}

const QUESTION: &[u8] = b"INFO stats\r\n";

fn stats(redis: &Server) -> Stats {
    let mut stream = UnixStream::connect(redis.folder.path().join("socket")).unwrap();
    stream.write_all(QUESTION).unwrap();
    let mut stream = BufReader::new(stream);
    let mut length = String::new();
    stream.read_line(&mut length).unwrap();
    let mut text = vec![0; length.trim_start_matches('$').trim().parse().unwrap()];
    stream.read_exact(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let figure = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("{key}: {text}")).trim().parse::<u64>().unwrap()
    };
    Stats {
        commands: figure("total_commands_processed"),
        connections: figure("total_connections_received"),
        received: figure("total_net_input_bytes") - QUESTION.len() as u64,
        sent: figure("total_net_output_bytes"),
    }
}

/// redis-benchmark asks first how the server is configured, with two commands at once.
const FIRST_TASKS: usize = 1;
const FIRST_COMMANDS: usize = 2;

#[test]
fn root_redis_counts_the_same_commands_and_bytes() {
    let _alone = alone();
    let Some(object) = object() else { return };
    let Some(client) = program("redis-benchmark") else { return };
    for (pipelined, tests) in [(1, ["get", "set"]), (16, ["get", "set"])] {
        let Some(redis) = server::redis() else { return };
        // whole batches
        let count = requests() / 2 / pipelined * pipelined;
        let before = stats(&redis);
        let (seen, ()) = observe(object, &at(redis.port), || {
            let mut client = Command::new(&client);
            client.args(["-q", "-p", &redis.port.to_string(), "-c", "32", "-n", &count.to_string()]);
            run(client.args(["-P", &pipelined.to_string(), "-t", &tests.join(",")]));
        });
        let after = stats(&redis);
        let of = format!("redis-benchmark -P {pipelined}: {}", seen.summary());
        eprintln!("{of}");
        assert_eq!(seen.lost, 0, "{of}");
        // the question is a command, too
        let commands = (after.commands - before.commands - 1) as usize;
        assert_eq!(commands, count * tests.len() + FIRST_COMMANDS, "{of}");
        // what is asked at once is one task
        assert_eq!(seen.count(Kind::Request), count * tests.len() / pipelined + FIRST_TASKS, "{of}");
        let sent_by_question = after.sent - before.sent - seen.bytes().1;
        assert_eq!(seen.bytes().0, after.received - before.received - QUESTION.len() as u64, "{of}");
        // the answer to the first question
        assert!((1_000..20_000).contains(&sent_by_question), "{of}: {sent_by_question}");
        assert_eq!(seen.count(Kind::End) as u64, after.connections - before.connections - 1, "{of}");
    }
}

/// The lines of an answer.
fn ask(stream: &mut BufReader<TcpStream>, command: &str) -> String {
    stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

#[test]
fn root_redis_takes_as_long_as_it_says() {
    let _alone = alone();
    let Some(object) = object() else { return };
    let Some(redis) = server::redis() else { return };
    redis.prefer();
    for (seconds, times) in [("0.001", 100), ("0.01", 20), ("0.1", 15)] {
        check_service(&format!("redis, DEBUG SLEEP {seconds}"), || {
            let (seen, ()) = observe(object, &at(redis.port), || {
                let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port)).unwrap());
                for _ in 0..times {
                    assert_eq!(ask(&mut stream, &format!("DEBUG SLEEP {seconds}")), "+OK\r\n");
                }
            });
            assert_eq!((seen.count(Kind::Request), seen.lost), (times, 0), "{}", seen.summary());
            let least = seconds.parse::<f64>().unwrap() * 1e6;
            let measured: Vec<f64> = seen.of(Kind::Request).map(|event| event.service_us as f64).collect();
            assert!(measured.iter().all(|&measured| measured >= least));
            (measured, slow(&redis, times))
        });
    }
}

/// Microseconds of the last commands of its slow log, the oldest first.
fn slow(redis: &Server, count: usize) -> Vec<f64> {
    let mut stream = UnixStream::connect(redis.folder.path().join("socket")).unwrap();
    stream.write_all(format!("SLOWLOG GET {count}\r\n").as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let number = |line: String| line[1..].parse::<usize>().unwrap();
    let entries = number(lines.next().unwrap());
    let mut durations = Vec::new();
    for _ in 0..entries {
        // six parts: id, time, duration, arguments, address, name
        assert_eq!(lines.next().unwrap(), "*6");
        let (_id, _time) = (lines.next(), lines.next());
        durations.push(number(lines.next().unwrap()) as f64);
        let arguments = number(lines.next().unwrap());
        for _ in 0..(arguments + 2) * 2 {
            lines.next().unwrap();
        }
    }
    durations.reverse();
    durations
}
