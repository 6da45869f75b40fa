//! What a bad network does: loss, duplicates, replies that overtake each other or are late.

use std::time::Duration;

use lcc_tests::impairer::{Impairer, RIGHT_V4};

use crate::hosts::{Agent, count, parse, two};

/// Number of the request that an echo reply over IPv4 answers, and whether it is the second reply.
fn reply(packet: &[u8]) -> Option<(u32, bool)> {
    let (echo, payload) = (packet.get(20..28)?, packet.get(28..44)?);
    (packet[9] == 1 && echo[0] == 0).then(|| (u32::from(payload[15]), payload[3] == 1))
}

#[test]
fn root_loss_duplicates_and_disorder_are_counted() {
    let Some((left, right, _time)) = two() else { return };
    let pass = |_: &mut Vec<u8>| vec![Duration::ZERO];
    let at_once = Duration::ZERO;
    let to_left = move |packet: &mut Vec<u8>| match reply(packet) {
        // both replies lost
        Some((2, _)) => vec![],
        // the first one twice
        Some((4, false)) => vec![at_once, at_once],
        // the second one three times
        Some((6, true)) => vec![at_once, at_once, at_once],
        // the second one overtakes
        Some((8, false)) => vec![Duration::from_millis(40)],
        // only the second one is lost
        Some((10, true)) => vec![],
        // too late
        Some((12, _)) => vec![Duration::from_millis(1200)],
        _ => vec![at_once],
    };
    let _wire = Impairer::with(&left, &right, pass, to_left);
    let _server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    let (json, status) = Agent::start(&left, &["-c", &to, "-C", "16", "-i", "100000", "-o", "json"]).rest();
    let (probes, stat) = parse(&json);
    assert_eq!((status, probes.len()), (0, 14));
    let expected = [
        ("send_num", 16),
        ("reply_num", 14),
        ("lost_num", 2),
        ("missed_num", 1),
        ("duplicate_num", 3),
        ("reordered_num", 1),
        ("late_num", 2),
        ("garbage_num", 0),
    ];
    for (name, number) in expected {
        assert_eq!(count(&stat, name), number, "{name}: {stat}");
    }
}

#[test]
fn root_tcp_probes_survive_loss() {
    let Some((left, right, _time)) = two() else { return };
    let lose = |every: usize| {
        let mut number = 0;
        move |packet: &mut Vec<u8>| {
            // segments with data only
            number += usize::from(packet.len() > 200);
            if packet.len() > 200 && number % every == 0 { vec![] } else { vec![Duration::ZERO] }
        }
    };
    let _wire = Impairer::with(&left, &right, lose(7), lose(9));
    let _server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    let args = ["-c", &to, "--proto", "tcp", "-C", "20", "-i", "10000", "-o", "json"];
    let (json, status) = Agent::start(&left, &args).rest();
    let (_, stat) = parse(&json);
    assert_eq!((status, count(&stat, "garbage_num"), count(&stat, "wrong_seq_num")), (0, 0, 0), "{stat}");
    assert!(count(&stat, "reply_num") >= 15, "{stat}");
}

#[test]
fn root_a_server_that_is_killed_and_started_again_costs_what_is_counted() {
    let Some((left, right, _time)) = two() else { return };
    let _wire =
        Impairer::with(&left, &right, |_: &mut Vec<u8>| vec![Duration::ZERO], |_: &mut Vec<u8>| vec![Duration::ZERO]);
    let to = RIGHT_V4.to_string();
    for protocol in ["icmp", "udp", "tcp"] {
        let server = Agent::server(&right, &[]);
        let args = ["-c", &to, "--proto", protocol, "-C", "60", "-i", "50000", "-o", "json", "--mode", "compact"];
        let client = Agent::start(&left, &args);
        // some probes are answered before, and some after
        let before: Vec<String> = (0..10).map(|_| client.line()).collect();
        server.signal(rustix::process::Signal::KILL);
        server.rest();
        std::thread::sleep(Duration::from_millis(300));
        let _server = Agent::server(&right, &[]);
        let (json, status) = client.rest();
        let (probes, stat) = parse(&json);
        let [sent, answered, lost, errors] =
            ["send_num", "reply_num", "lost_num", "send_error_num"].map(|name| count(&stat, name));
        assert_eq!((status, sent + errors, answered + lost), (0, 60, sent), "{protocol}: {stat}");
        assert_eq!(before.len() + probes.len(), answered as usize, "{protocol}: {stat}");
        assert!(lost + errors < 12 && probes.len() > 30, "{protocol}: {stat}");
        // the kernel answers echoes also while nobody is there to tell its times
        assert!(protocol != "icmp" || lost + errors == 0, "{stat}");
        let last = probes.last().expect("a probe");
        assert!(crate::hosts::delay(last, "r_merged_kern") >= 0, "{protocol}: {last}");
    }
}
