//! A delay that is put in at one place is blamed on the stage of that place, in at least 95 of a hundred outliers.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lcc_tests::impairer::{DEVICE, Impairer, RIGHT_V4};
use lcc_tests::netns::Namespace;
use lcc_tests::skip;
use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;

use crate::hosts::{Agent, meanwhile, parse, two_alone};

/// An outlier takes so many microseconds; what is put in takes longer, and what a busy machine does by itself seldom does.
const LATE: &str = "100000";

/// Whether the outliers of a run are blamed on what is expected: how many are, or why that is not so.
fn check(json: &str, expected: &[&str]) -> Result<String, String> {
    let (_, stat) = parse(json);
    let blamed = stat["blamed"].as_array().expect("stages");
    let number = |stage: &Value| stage["num"].as_u64().expect("a number");
    let all: u64 = blamed.iter().map(number).sum();
    let is_it = |stage: &&Value| expected.iter().any(|name| stage["delay"] == **name);
    let right: u64 = blamed.iter().filter(is_it).map(number).sum();
    // on top of some processes a sandbox runs no BPF programs (docs/pingtrace.md): of such a probe a point is missing
    let is_blind = |stage: &&Value| ["unseen", "beyond"].iter().any(|name| stage["delay"] == **name);
    let blind: u64 = blamed.iter().filter(is_blind).map(number).sum();
    if blind * 10 > all {
        return Err(format!("{blind} of {all} outliers lack a point: {blamed:?}"));
    }
    let all = all - blind;
    let found = format!("{right} of {all} outliers are blamed on {expected:?}");
    if all >= 8 && right * 100 >= all * 95 { Ok(found) } else { Err(format!("{found}: {blamed:?}, {stat}")) }
}

/// Measures for so many seconds, and holds what is blamed against what is expected. What else runs on the machine takes its time,
/// sends fewer probes and has its own outliers: three times it may be tried, each twice as long.
#[track_caller]
fn is_blamed(expected: &[&str], measure: impl Fn(&str) -> String) {
    let mut told = Vec::new();
    for seconds in ["6", "12", "24"] {
        match check(&measure(seconds), expected) {
            Ok(found) => return eprintln!("{found}"),
            Err(why) => told.push(format!("{seconds} s: {why}")),
        }
    }
    panic!("{}", told.join("\n"));
}

fn pass() -> impl FnMut(&mut Vec<u8>) -> Vec<Duration> + Send {
    |_| vec![Duration::ZERO]
}

/// Now and then an ICMP packet takes 150 ms.
fn now_and_then() -> impl FnMut(&mut Vec<u8>) -> Vec<Duration> + Send {
    let mut number = 0;
    move |packet| {
        // of a server's two replies, the first
        let is_second = packet.len() > 32 && packet[31] == 1;
        number += u32::from(!is_second);
        vec![Duration::from_millis(if !is_second && number % 8 == 0 { 150 } else { 0 })]
    }
}

fn args<'a>(to: &'a str, seconds: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["-c", to, "-t", seconds, "-i", "10000", "-o", "json", "-m", LATE], more].concat()
}

#[test]
fn root_a_slow_link_is_blamed_by_direction() {
    let Some((left, right, _time)) = two_alone() else { return };
    let to = RIGHT_V4.to_string();
    let measure = |seconds: &str| {
        let _server = Agent::server(&right, &[]);
        Agent::start(&left, &args(&to, seconds, &[])).rest().0
    };
    {
        let _wire = Impairer::with(&left, &right, now_and_then(), pass());
        is_blamed(&["l_tx_outlink"], measure);
    }
    let _wire = Impairer::with(&left, &right, pass(), now_and_then());
    is_blamed(&["l_rx_wire", "l_rx_inlink"], measure);
}

/// Datagrams that nobody reads fill the queue for 170 ms.
fn fill(from: &Namespace, bytes: usize, times: u32) {
    from.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        for _ in 0..times {
            // a full queue is what is wanted
            let _ = socket.send_to(&vec![0; bytes], (RIGHT_V4, 9));
        }
    });
}

fn slow_queue(at: &Namespace) -> bool {
    let args = ["qdisc", "replace", "dev", DEVICE, "root", "tbf", "rate", "1mbit", "burst", "2000", "limit", "60000"];
    at.inside(|| Command::new("tc").args(args).stderr(Stdio::null()).status().is_ok_and(|status| status.success()))
}

#[test]
fn root_a_full_qdisc_is_blamed() {
    let Some((left, right, _time)) = two_alone() else { return };
    let _wire = Impairer::with(&left, &right, pass(), pass());
    if !slow_queue(&left) {
        return skip("no tbf");
    }
    let _server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    is_blamed(&["l_tx_qdisc"], |seconds| {
        let mut client = Agent::start(&left, &args(&to, seconds, &["-i", "20000"]));
        // the output is small enough for a pipe
        meanwhile(&mut client, Duration::from_millis(400), |_| fill(&left, 1400, 16));
        client.rest().0
    });
}

#[test]
fn root_a_stopped_receiver_is_blamed() {
    let Some((left, right, _time)) = two_alone() else { return };
    // long enough under way for it to be stopped meanwhile
    let slow = |_: &mut Vec<u8>| vec![Duration::from_millis(4)];
    let _wire = Impairer::with(&left, &right, pass(), slow);
    let _server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    is_blamed(&["l_rx_task", "l_rx_task_waking", "l_rx_task_queue"], |seconds| {
        let mut client = Agent::start(&left, &args(&to, seconds, &["-i", "1000"]));
        let pid = client.pid();
        let signal = |signal| {
            let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process");
            // it may just have ended
            let _ = rustix::process::kill_process(pid, signal);
        };
        meanwhile(&mut client, Duration::from_millis(330), |_| {
            signal(Signal::STOP);
            std::thread::sleep(Duration::from_millis(150));
            signal(Signal::CONT);
        });
        client.rest().0
    });
}

#[test]
fn root_a_stopped_server_is_blamed() {
    let Some((left, right, _time)) = two_alone() else { return };
    let _wire = Impairer::with(&left, &right, pass(), pass());
    let server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    for protocol in ["udp", "tcp"] {
        is_blamed(&["r_task"], |seconds| {
            let mut client = Agent::start(&left, &args(&to, seconds, &["--proto", protocol]));
            meanwhile(&mut client, Duration::from_millis(330), |_| {
                server.signal(Signal::STOP);
                std::thread::sleep(Duration::from_millis(150));
                server.signal(Signal::CONT);
            });
            client.rest().0
        });
    }
}

/// A process of the highest priority on one processor, for 150 ms of each 400.
struct Hog(Child);

impl Hog {
    fn new(cpu: usize) -> Option<Hog> {
        let burn = "import time\nwhile 1:\n b=time.monotonic()+.15\n while time.monotonic()<b: pass\n time.sleep(.25)";
        let mut command = Command::new("chrt");
        command.args(["-f", "80", "python3", "-c", burn]).stdout(Stdio::null()).stderr(Stdio::null());
        let started = std::thread::scope(|scope| {
            let spawn = scope.spawn(|| {
                pin(cpu);
                command.spawn()
            });
            spawn.join().expect("a thread")
        });
        let mut child = started.ok()?;
        std::thread::sleep(Duration::from_millis(300));
        child.try_wait().ok()?.is_none().then_some(Hog(child))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This thread, and what it starts, runs on one processor.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).expect("a processor");
}

#[test]
fn root_a_hog_of_higher_priority_is_blamed_on_the_run_queue() {
    let Some((left, right, _time)) = two_alone() else { return };
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return skip("one processor");
    }
    // what carries the packets runs elsewhere
    let wire = std::thread::scope(|scope| {
        let make = scope.spawn(|| {
            pin(0);
            let slow = |_: &mut Vec<u8>| vec![Duration::from_millis(8)];
            (Impairer::with(&left, &right, pass(), slow), Agent::server(&right, &[]))
        });
        make.join().expect("a thread")
    });
    let Some(hog) = Hog::new(1) else { return skip("no chrt, no python3, or no right to SCHED_FIFO") };
    let to = RIGHT_V4.to_string();
    is_blamed(&["l_rx_task_queue", "l_rx_task"], |seconds| {
        let client = std::thread::scope(|scope| {
            let start = scope.spawn(|| {
                pin(1);
                Agent::start(&left, &args(&to, seconds, &["-i", "1000"]))
            });
            start.join().expect("a thread")
        });
        let begin = Instant::now();
        let (json, _) = client.rest();
        assert!(begin.elapsed() < Duration::from_secs(120));
        json
    });
    drop((hog, wire));
}
