//! Under load for a while nothing grows. `PINGTRACE_SECONDS=600 cargo test -p pingtrace root_under_load` is the long form.

use std::time::{Duration, Instant};

use lcc_tests::impairer::{Impairer, Impairment, RIGHT_V4};

use crate::hosts::{Agent, count, parse, two};

/// Resident memory of a process: KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").count()
}

#[test]
fn root_under_load_nothing_grows() {
    let Some((left, right, _time)) = two() else { return };
    let seconds: u64 = std::env::var("PINGTRACE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let bad =
        Impairment { loss: 0.0005, duplicate: 0.01, jitter: Duration::from_micros(500), seed: 1, ..Default::default() };
    let _wire = Impairer::between(&left, &right, bad, bad);
    let server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    let time = seconds.to_string();
    let log = tempfile::tempdir().expect("a folder");
    let start = |protocol: &str| {
        let file = log.path().join(protocol).display().to_string();
        let args = ["-c", &to, "-i", "0", "-t", &time, "--proto", protocol, "-o", "log", "--log", &file];
        Agent::start(&left, &[&args[..], &["--logsize", "100000", "--logbackup", "2"]].concat())
    };
    // a client that sends as fast as it can, thrice; each waits for the one that is under way
    let clients = ["icmp", "udp", "tcp"].map(start);
    let flood =
        Agent::start(&left, &["-c", &to, "-i", "0", "-t", &time, "--mode", "pingpong", "-o", "json", "-m", "60000000"]);
    let all = || [&clients[0], &clients[1], &clients[2], &flood, &server].map(Agent::pid);
    // memory that all windows and histograms take comes with the first thousands
    let begin = Instant::now();
    std::thread::sleep(Duration::from_secs((seconds / 3).clamp(2, 90)));
    let before = all().map(|pid| (resident(pid), descriptors(pid)));
    std::thread::sleep(Duration::from_secs(seconds).saturating_sub(begin.elapsed() + Duration::from_secs(1)));
    let after = all().map(|pid| (resident(pid), descriptors(pid)));
    eprintln!(
        "resident KiB and descriptors of three clients, a fast one and a server, before and after: {before:?} {after:?}"
    );
    for ((before, files_before), (after, files_after)) in before.into_iter().zip(after) {
        assert!(after <= before + 1024, "{before} KiB, then {after} KiB");
        assert!(files_after <= files_before, "{files_before} descriptors, then {files_after}");
    }
    let (json, _) = flood.rest();
    let (_, stat) = parse(&json);
    assert!(count(&stat, "reply_num") > 50 * seconds as i64, "{stat}");
    assert_eq!(count(&stat, "lost_event_num"), 0, "{stat}");
    eprintln!("the fast one: {}", stat["packet_num"]);
    for client in clients {
        client.rest();
    }
    for protocol in ["icmp", "udp", "tcp"] {
        let size = |name: String| std::fs::metadata(log.path().join(name)).map_or(0, |meta| meta.len());
        assert!(size(protocol.to_owned()) > 0 && size(format!("{protocol}.1")) <= 100_000);
        assert_eq!(size(format!("{protocol}.3")), 0);
    }
    let (said, _) = server.end();
    eprintln!("{}", said.trim());
    assert!(!said.contains("events lost"), "{said}");
}

/// The programs and links that a process holds, by the kernel's numbers.
fn held(pid: u32) -> (Vec<String>, Vec<String>) {
    let (mut programs, mut links) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("its files") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default();
        let number = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        // a link tells its program too
        match number("link_id:") {
            Some(link) => links.push(link),
            None => programs.extend(number("prog_id:")),
        }
    }
    (programs, links)
}

#[test]
fn root_nothing_stays_attached() {
    let Some((left, right, _time)) = two() else { return };
    let exists = |what: &str, id: &str| {
        let show = std::process::Command::new("bpftool").args([what, "show", "id", id]).output();
        show.map(|output| output.status.success())
    };
    if let Err(error) = exists("prog", "1") {
        return lcc_tests::skip(&format!("bpftool: {error}"));
    }
    let _wire = Impairer::between(&left, &right, Impairment::default(), Impairment::default());
    for killed in [false, true] {
        let agent = Agent::server(&right, &["-n"]);
        let (programs, links) = held(agent.pid());
        assert!(programs.len() > 10 && links.len() > 10, "{programs:?} {links:?}");
        assert!(programs.iter().all(|id| exists("prog", id).expect("bpftool")));
        if killed {
            agent.signal(rustix::process::Signal::KILL);
            agent.rest();
        } else {
            agent.end();
        }
        // the kernel frees what nobody holds a little later
        let is_left = || {
            let programs = programs.iter().filter(|id| exists("prog", id).expect("bpftool")).count();
            programs + links.iter().filter(|id| exists("link", id).expect("bpftool")).count()
        };
        let gone = (0..50).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            is_left() == 0
        });
        assert!(gone, "{} programs and links are left", is_left());
    }
}
