//! The agent under load for a while: each request is told, and nothing grows. As root.
//! `TCPRT_SECONDS=600 cargo test -p tcprt --test load` is the long form.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{program, skip};

const REQUEST: [u8; 100] = [b'q'; 100];
const RESPONSE: [u8; 500] = [b'r'; 500];

/// Answers on each connection until it is closed.
fn serve() -> SocketAddr {
    // below the ports that the kernel gives to clients
    let listener = (10_000..20_000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                while stream.read_exact(&mut [0; REQUEST.len()]).is_ok() && stream.write_all(&RESPONSE).is_ok() {}
            });
        }
    });
    address
}

/// Asks so often on each connection, on one after the other, until the end; gives how often that was.
fn ask(server: SocketAddr, each: usize, ended: &AtomicBool, made: &AtomicU64) {
    while !ended.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(server).unwrap();
        for _ in 0..each {
            stream.write_all(&REQUEST).unwrap();
            stream.read_exact(&mut [0; RESPONSE.len()]).unwrap();
            made.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    rss_kib: u64,
    peak_kib: u64,
    descriptors: usize,
    /// Of its BPF maps, by the kernel's account.
    maps_bytes: u64,
}

fn held(pid: u32) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |text: &str, key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten();
    let texts: Vec<String> = descriptors.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect();
    let maps = texts.iter().filter(|text| text.contains("map_id:"));
    Held {
        rss_kib: number(&status, "VmRSS").unwrap(),
        peak_kib: number(&status, "VmHWM").unwrap(),
        descriptors: texts.len(),
        maps_bytes: maps.filter_map(|text| number(text, "memlock")).sum(),
    }
}

#[test]
fn root_under_load_each_request_is_told_and_nothing_grows() {
    if !rustix::process::geteuid().is_root() || !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return skip("needs root, and a kernel with BTF of its own");
    }
    let seconds: u64 = std::env::var("TCPRT_SECONDS").map_or(6, |seconds| seconds.parse().expect("TCPRT_SECONDS"));
    let server = serve();
    let mut agent = program();
    agent.args(["-v", "--format", "v6", "--lport", &server.port().to_string()]);
    let mut agent = agent.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(agent.stderr.take().unwrap());
    let mut first = String::new();
    while !first.contains("attached in ") {
        assert!(said.read_line(&mut first).unwrap() > 0, "{first}");
    }
    // it listens from then on
    thread::sleep(Duration::from_millis(100));
    let told = BufReader::new(agent.stdout.take().unwrap());
    let told = thread::spawn(move || {
        let mut answered = 0_u64;
        for line in told.lines() {
            answered += u64::from(line.unwrap().starts_with("V6 R "));
        }
        answered
    });
    let said = thread::spawn(move || {
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        rest
    });

    let (ended, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let (before, after) = thread::scope(|scope| {
        for each in [1, 100, 100_000] {
            let (ended, made) = (&ended, &made);
            scope.spawn(move || ask(server, each, ended, made));
        }
        // what its tables take comes with the first thousands
        let begin = Instant::now();
        thread::sleep(Duration::from_secs((seconds / 3).clamp(2, 60)));
        let before = held(agent.id());
        thread::sleep(Duration::from_secs(seconds).saturating_sub(begin.elapsed()));
        let after = held(agent.id());
        ended.store(true, Ordering::Relaxed);
        (before, after)
    });
    // the last connections' ends
    thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&agent), Signal::INT).unwrap();
    assert!(agent.wait().unwrap().success());
    let (told, made, said) = (told.join().unwrap(), made.into_inner(), said.join().unwrap());
    eprintln!("{seconds} s, {made} requests, {told} told; held {before:?}, then {after:?}");
    assert_eq!(told, made, "{first}{said}");
    assert!(after.rss_kib <= before.rss_kib + 1024, "{before:?}, then {after:?}");
    assert!(after.descriptors <= before.descriptors, "{before:?}, then {after:?}");
    assert_eq!(after.maps_bytes, before.maps_bytes);
    assert!(after.maps_bytes > 0 && after.peak_kib >= after.rss_kib, "{after:?}");
}
