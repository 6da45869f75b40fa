//! The agents as users run them, on the running kernel: tcprt by each of its ways on exchanges of HTTP whose times and bytes are known,
//! pingtrace between two namespaces.
//!
//! As root, with `ip`. `LCC_AGENTS` names the folder with the programs `tcprt` and `pingtrace`. `cargo xtask matrix` runs this on
//! real kernels.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use lcc_tests::netns::Namespace;
use lcc_tests::{has_kprobes, has_own_types, is_emulated, may_load, server, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Of the handler.
const SERVICE: Duration = Duration::from_millis(20);
const REQUEST: &[u8] = b"GET /twenty HTTP/1.1\r\nHost: kernel\r\n\r\n";
const RESPONSE: usize = 10_000;
const REQUESTS: usize = 5;

/// How far a time may be from what the handler's own clock tells, at the median: another may run in between.
const NEAR: Duration = Duration::from_millis(5);

/// An agent. `None`, said, where it is not known or cannot do its work.
fn agent(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("LCC_AGENTS") else {
        skip("LCC_AGENTS does not name the agents' folder");
        return None;
    };
    may_load().then(|| PathBuf::from(folder).join(name))
}

/// An agent while it runs.
struct Running {
    name: &'static str,
    child: Child,
    begun: Instant,
    out: Receiver<String>,
    errors: Receiver<String>,
}

fn lines(of: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || BufReader::new(of).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    lines
}

impl Running {
    fn start(name: &'static str, command: &mut Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (out, errors) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Running { name, child, begun, out, errors }
    }

    /// Waits for a line, and tells how long it took from the start.
    fn await_line(&self, from: &Receiver<String>, text: &str) {
        let mut said = String::new();
        while !said.contains(text) {
            match from.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => said += &format!("{line}\n"),
                Err(error) => panic!("{}: {text:?} did not come: {error}: {said}", self.name),
            }
        }
        eprintln!("{}: {} ms from its start until {text:?}", self.name, self.begun.elapsed().as_millis());
    }

    /// Ends it as Ctrl-C does: what it wrote, and to its standard error.
    fn end(mut self) -> (Vec<String>, Vec<String>) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let memory = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
            line.trim().to_owned()
        };
        eprintln!("{}: at most {}, now {} of memory", self.name, memory("VmHWM"), memory("VmRSS"));
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let status = self.child.wait().unwrap();
        let (out, errors) = (self.out.iter().collect::<Vec<_>>(), self.errors.iter().collect::<Vec<_>>());
        assert!(status.success(), "{}: {status}: {out:?} {errors:?}", self.name);
        (out, errors)
    }
}

/// Asks a server of its own, on one connection; gives what the handler took, by its own clock, from the request's last byte to the
/// response's first.
fn exchange(listener: &TcpListener) -> Vec<Duration> {
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let served = scope.spawn(|| {
            let (mut peer, _) = listener.accept().unwrap();
            let once = |_| {
                peer.read_exact(&mut [0; REQUEST.len()]).unwrap();
                let begun = Instant::now();
                thread::sleep(SERVICE);
                let took = begun.elapsed();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {:05}\r\n\r\n", RESPONSE - 42);
                let body = vec![b'y'; RESPONSE - head.len()];
                peer.write_all(&[head.as_bytes(), &body].concat()).unwrap();
                took
            };
            (0..REQUESTS).map(once).collect::<Vec<_>>()
        });
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..REQUESTS {
            stream.write_all(REQUEST).unwrap();
            stream.read_exact(&mut [0; RESPONSE]).unwrap();
        }
        drop(stream);
        let served = served.join().unwrap();
        // what is told at the end, and looked for now and then
        thread::sleep(Duration::from_millis(300));
        served
    })
}

/// The rank that `--explain` says is taken, and its programs. `None` where none works.
fn way(explain: &mut Command) -> Option<(u32, String)> {
    let output = explain.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let programs = text.lines().find_map(|line| line.trim().strip_prefix("group tcp: ")).expect("the group");
    let last = text.lines().last().unwrap_or_default();
    let rank = last.split_once("(rank ").and_then(|(_, rank)| rank.split(' ').next()?.parse().ok());
    assert_eq!(
        (rank.is_none(), output.status.code()),
        (programs == "none works", Some(i32::from(rank.is_none()))),
        "{text}"
    );
    Some((rank?, programs.to_owned()))
}

#[test]
fn root_tcprt_tells_times_and_bytes_by_each_way() {
    let Some(program) = agent("tcprt") else { return };
    let mut without: Vec<String> = Vec::new();
    let mut ranks = Vec::new();
    loop {
        let flags: Vec<&str> = without.iter().flat_map(|program| ["--without", program]).collect();
        let Some((rank, programs)) = way(Command::new(&program).arg("--explain").args(&flags)) else { break };
        ranks.push(rank);
        eprintln!("tcprt: rank {rank}: {programs}");
        let listener = TcpListener::bind(("127.0.0.1", server::free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        check_json(&program, &flags, &listener, port);
        if ranks.len() == 1 {
            check_text(&program, &listener, port);
        }
        without.extend(programs.split(", ").map(str::to_owned));
    }
    let possible: &[&[u32]] = match (has_own_types(), has_kprobes()) {
        (true, true) if cfg!(target_arch = "x86_64") => &[&[1, 2, 3, 4]],
        // fentry came later to others
        (true, true) => &[&[1, 2, 3, 4], &[2, 3, 4]],
        (true, false) => &[&[1, 4], &[4]],
        (false, true) => &[&[2, 3]],
        (false, false) => &[&[]],
    };
    assert!(possible.contains(&&*ranks), "{ranks:?}, not {possible:?}");
}

fn check_json(program: &PathBuf, flags: &[&str], listener: &TcpListener, port: u16) {
    let ports = port.to_string();
    let args = ["--verbose", "--format", "json", "--lport", &ports, "--pport", &ports];
    let running = Running::start("tcprt", Command::new(program).args(args).args(flags));
    running.await_line(&running.errors, "attached in");
    let served = exchange(listener);
    let (out, errors) = running.end();
    let records: Vec<Value> = out.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let (requests, peers, ends) = (of("R"), of("P"), of("E"));
    assert_eq!((requests.len(), peers.len(), ends.len()), (REQUESTS, REQUESTS, 1), "{out:#?} {errors:#?}");
    for record in &requests {
        assert_eq!(record["local"], format!("127.0.0.1:{port}"));
        assert_eq!((&record["received_bytes"], &record["sent_bytes"]), (&REQUEST.len().into(), &RESPONSE.into()));
    }
    for record in &peers {
        assert_eq!(record["peer"], format!("127.0.0.1:{port}"));
        assert_eq!((&record["sent_bytes"], &record["received_bytes"]), (&REQUEST.len().into(), &RESPONSE.into()));
    }
    check_times("the server's", &requests, &served);
    check_times("the client's", &peers, &served);
    let bytes = (REQUESTS * REQUEST.len(), REQUESTS * RESPONSE);
    assert_eq!((&ends[0]["received_bytes"], &ends[0]["sent_bytes"]), (&bytes.0.into(), &bytes.1.into()));
    let lost: Vec<&String> = errors.iter().filter(|line| line.contains("lost")).collect();
    assert!(lost.iter().all(|line| line.contains(" 0 ") || line.contains("nothing")), "{lost:?}");
}

/// Holds process times against the handler's own: never less than it sleeps, and at the median near to its own clock. Where the kernel
/// has left out a call of a program, which is seen in an emulator, the record says that a time is later than it was.
fn check_times(whose: &str, records: &[&Value], served: &[Duration]) {
    let mut beyond = Vec::new();
    for (record, own) in records.iter().zip(served) {
        let process = Duration::from_micros(record["process_us"].as_u64().unwrap());
        // an emulated machine stands still while its host does other work
        let is_near = process < *own + 10 * NEAR || is_emulated();
        let is_late = record["joined"] == true && is_emulated();
        assert!((process >= SERVICE || is_late) && is_near, "{process:?}, {own:?} by the handler: {record}");
        beyond.push(process.saturating_sub(*own));
    }
    eprintln!("tcprt: {whose} process times, more than the handler's own: {beyond:?}");
    beyond.sort_unstable();
    let near = if is_emulated() { 3 * NEAR } else { NEAR };
    assert!(beyond[beyond.len() / 2] < near, "{whose}: {beyond:?}");
}

/// As people read it.
fn check_text(program: &PathBuf, listener: &TcpListener, port: u16) {
    let mut command = Command::new(program);
    let running = Running::start("tcprt", command.args(["--verbose", "--lport", &port.to_string()]));
    running.await_line(&running.errors, "attached in");
    exchange(listener);
    let (out, _) = running.end();
    let told = out.iter().filter(|line| line.contains(&format!(" 127.0.0.1:{port} ")));
    let kinds: Vec<&str> = told.map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(kinds, ["R", "R", "R", "R", "R", "E"], "{out:#?}");
    let summary = out.iter().find(|line| line.starts_with(&format!(":{port} server"))).expect("a summary");
    assert!(summary.contains(": 5 answered, 0 not, 1 connections ended"), "{summary}");
}

/// How far the sum of a probe's stages may be from the whole: each of two hosts cuts its times to whole microseconds.
const WHOLE: i64 = 10;
const PROBES: usize = 20;

/// A pair of veth devices between two namespaces. `None`, said, where there is no such thing.
fn veth() -> Option<(Namespace, Namespace)> {
    if Command::new("ip").arg("-V").stdout(Stdio::null()).status().is_err() {
        skip("no ip");
        return None;
    }
    let (left, right) = (Namespace::new(), Namespace::new());
    let other = right.path().display().to_string();
    let add = ["link", "add", "name", "veth", "type", "veth", "peer", "name", "veth", "netns", &other];
    let made = left.inside(|| Command::new("ip").args(add).output()).unwrap();
    if !made.status.success() {
        skip(&format!("no veth: {}", String::from_utf8_lossy(&made.stderr).trim()));
        return None;
    }
    for (host, number, other) in [(&left, 1, 2), (&right, 2, 1)] {
        let ip = |args: &str| host.run(Command::new("ip").args(args.split(' ')));
        ip(&format!("link set veth address 02:00:00:00:00:0{number} up"));
        ip(&format!("address add 10.78.0.{number}/24 dev veth"));
        ip(&format!("address add fd78::{number}/64 dev veth nodad"));
        // who asks for the other's address may wait for a second
        for address in [format!("10.78.0.{other}"), format!("fd78::{other}")] {
            ip(&format!("neighbour replace {address} lladdr 02:00:00:00:00:0{other} nud permanent dev veth"));
        }
    }
    Some((left, right))
}

/// A stage's microseconds; -1 is absent.
fn delay(probe: &Value, name: &str) -> i64 {
    let delays = probe["delays"].as_array().expect("delays");
    delays.iter().find(|delay| delay["delay"] == name).and_then(|delay| delay["ts"].as_i64()).unwrap_or(-1)
}

/// The stages that make up the whole. All are there; but where functions cannot be probed, what is unseen is a part of a merged stage.
fn sum(probe: &Value) -> i64 {
    let all = |names: &[&str]| {
        let took: Vec<i64> = names.iter().map(|name| delay(probe, name)).collect();
        took.iter().all(|took| *took >= 0).then(|| took.iter().sum::<i64>())
    };
    let stage = |names: &[&str], merged: &str| match all(names) {
        Some(sum) => sum,
        None if !has_kprobes() => all(&[merged]).unwrap_or_else(|| panic!("{merged} is absent: {probe}")),
        None => panic!("one of {names:?} is absent: {probe}"),
    };
    let by_server = delay(probe, "r_user") >= 0;
    let answer: &[&str] =
        if by_server { &["r_rx_kern", "r_task", "r_user", "r_tx_user_kern"] } else { &["r_rx_kern", "r_tx_kern"] };
    // a program that did not sleep is not woken
    let is_woken = delay(probe, "l_rx_task_waking") >= 0;
    let comes: &[&str] =
        if is_woken { &["l_rx_kern", "l_rx_task_waking", "l_rx_task_queue"] } else { &["l_rx_kern", "l_rx_task"] };
    let way = all(&["l_tx_kern", "l_tx_qdisc", "l_tx_outlink", "l_rx_inlink"]);
    way.unwrap_or_else(|| panic!("a stage is absent: {probe}"))
        + stage(answer, "r_merged_kern")
        + stage(comes, "l_rx_merged_kern")
}

#[test]
fn root_pingtraces_stages_are_the_whole_between_two_namespaces() {
    let Some(program) = agent("pingtrace") else { return };
    let explain = Command::new(&program).arg("--explain").output().unwrap();
    let explain = String::from_utf8(explain.stdout).unwrap();
    let unseen =
        explain.lines().map(str::trim).filter(|line| line.starts_with("point ") && line.contains("is not seen"));
    // point 3 is told by another point's hook too
    let unseen: Vec<&str> = unseen.filter(|line| !line.contains("r_rx_icmprcv")).collect();
    assert!(unseen.is_empty(), "stages are told as one: {unseen:?}");
    let Some((left, right)) = veth() else { return };
    let answering = right.inside(|| Running::start("pingtrace -s", Command::new(&program).arg("-s")));
    answering.await_line(&answering.out, "answering");
    for protocol in ["icmp", "udp", "tcp"] {
        for to in ["10.78.0.2", "fd78::2"] {
            let probes = PROBES.to_string();
            let args = ["-c", to, "--proto", protocol, "-C", &probes, "-i", "20000", "-o", "json", "--nslocal"];
            let output = left.inside(|| Command::new(&program).args(args).stdin(Stdio::null()).output()).unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let stat = lines.pop().expect("the end")["stat"].take();
            let what = format!("{protocol} {to}");
            assert!(output.status.success() && lines.len() == PROBES, "{what}: {} probes: {stat}", lines.len());
            let mut furthest = 0;
            for probe in &lines {
                let (sum, total) = (sum(probe), delay(probe, "total"));
                assert!((sum - total).abs() <= WHOLE, "{what}: {sum} of {total} us: {probe}");
                furthest = furthest.max((sum - total).abs());
            }
            let mut totals: Vec<i64> = lines.iter().map(|probe| delay(probe, "total")).collect();
            totals.sort_unstable();
            eprintln!("pingtrace: {what}: total {} us at the median, sums within {furthest} us", totals[PROBES / 2]);
            for strange in ["missed_num", "garbage_num", "wrong_id_num", "duplicate_num", "lost_event_num"] {
                let counters = stat["packet_num"].as_array().expect("counters");
                let count = counters.iter().find(|counter| counter["name"] == strange).expect("a counter");
                assert_eq!(count["num"], 0, "{what}: {strange}: {stat}");
            }
        }
    }
    let (said, _) = answering.end();
    let expected = format!("{} requests, {} second replies, 0 of them without", 6 * PROBES, 6 * PROBES);
    assert!(said.iter().any(|line| line.contains(&expected)), "{said:?}");
}
