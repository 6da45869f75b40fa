//! Packets that are not what they should be: each kind has its counter, and none becomes a stage.

use std::net::Ipv4Addr;
use std::time::Duration;

use lcc_tests::impairer::{Impairer, LEFT_V4, RIGHT_V4};
use pingtrace::wire::{Echo, Header, Packet, checksum};

use crate::hosts::{Agent, count, delay, parse, two};

/// An IPv4 packet with an ICMP echo in it.
fn ip(from: Ipv4Addr, to: Ipv4Addr, icmp: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend((20 + icmp.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 1, 0, 0]);
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    let sum = checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(icmp);
    bytes
}

fn reply(id: u32, seq: u32, code: u8, payload: &[u8]) -> Vec<u8> {
    Echo { kind: 0, code, id: id as u16, sequence: seq as u16 }.write(payload)
}

fn payload(id: u32, seq: u32) -> Vec<u8> {
    Packet { header: Header { id, seq, ..Header::default() }, entries: Vec::new(), room: 8 }.write()
}

#[test]
fn root_every_strange_packet_is_counted_by_its_kind() {
    let Some((left, right, _time)) = two() else { return };
    let pass = |_: &mut Vec<u8>| vec![Duration::ZERO];
    let wire = Impairer::with(&left, &right, pass, pass);
    let _server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    let client = Agent::start(&left, &["-c", &to, "-C", "15", "-i", "200000", "-o", "table"]);
    let first = client.line();
    let id = first.trim().rsplit_once("0x").and_then(|(_, id)| u32::from_str_radix(id, 16).ok()).expect("an id");
    std::thread::sleep(Duration::from_millis(700));
    let inject = |from: Ipv4Addr, icmp: &[u8]| wire.inject_left(&ip(from, LEFT_V4, icmp)).expect("injected");
    let mut broken = reply(id, 1, 1, &payload(id, 1));
    broken[40] ^= 0x55;
    // duplicates of what was answered
    inject(RIGHT_V4, &reply(id, 1, 1, &payload(id, 1)));
    inject(RIGHT_V4, &reply(id, 2, 1, &payload(id, 2)));
    // cut short: inside of pingtrace's header, and of the entries
    inject(RIGHT_V4, &reply(id, 1, 1, &payload(id, 1)[..7]));
    inject(RIGHT_V4, &reply(id, 1, 1, &payload(id, 1)[..100]));
    // a foreign magic with the right identifier
    inject(RIGHT_V4, &reply(id, 1, 1, &[0x11; 144]));
    // garbage: a broken checksum, another version
    inject(RIGHT_V4, &broken);
    let mut version = payload(id, 1);
    version[0] = 9;
    inject(RIGHT_V4, &reply(id, 1, 1, &version));
    // spoofed: a wrong identifier, a wrong number, a wrong host
    inject(RIGHT_V4, &reply(id ^ 0x7700, 1, 1, &payload(id ^ 0x7700, 1)));
    inject(RIGHT_V4, &reply(id ^ 0x7700_0000, 1, 1, &payload(id ^ 0x7700_0000, 1)));
    inject(RIGHT_V4, &reply(id, 4000, 1, &payload(id, 4000)));
    inject(Ipv4Addr::new(10, 77, 0, 77), &reply(id, 5, 1, &payload(id, 5)));
    // another program's ping
    inject(RIGHT_V4, &reply(0x4242 ^ id, 1, 0, &[0; 56]));
    let (said, status) = client.rest();
    assert_eq!(status, 0);
    for counted in [
        "15 sent, 15 answered, 0 lost",
        "2 duplicates",
        "2 truncated",
        "1 of a foreign magic",
        "2 garbage",
        "2 of a wrong id",
        "1 of a wrong number",
        "1 from a wrong host",
        "1 of other programs",
    ] {
        assert!(said.contains(counted), "{counted}: {said}");
    }
    assert!(!said.contains("strange entries"), "{said}");
}

#[test]
fn root_strange_requests_are_counted_by_the_server() {
    let Some((left, right, _time)) = two() else { return };
    let pass = |_: &mut Vec<u8>| vec![Duration::ZERO];
    let wire = Impairer::with(&left, &right, pass, pass);
    let server = Agent::server(&right, &[]);
    let ask = |code, payload: &[u8]| {
        let icmp = Echo { kind: 8, code, id: 7, sequence: 1 }.write(payload);
        wire.inject_right(&ip(LEFT_V4, RIGHT_V4, &icmp)).expect("injected");
    };
    ask(1, &payload(7, 1));
    ask(1, &payload(7, 2));
    ask(1, &payload(7, 1)[..20]);
    ask(1, &[3; 144]);
    ask(0, &[3; 56]);
    std::thread::sleep(Duration::from_millis(300));
    let (said, _) = server.end();
    let expected =
        ["1 requests, 1 second replies", "1 truncated", "1 of a foreign magic", "1 garbage", "1 of other programs"];
    for counted in expected {
        assert!(said.contains(counted), "{counted}: {said}");
    }
}

#[test]
fn root_an_entry_of_this_hosts_points_is_not_taken_from_another_host() {
    let Some((left, right, _time)) = two() else { return };
    let pass = |_: &mut Vec<u8>| vec![Duration::ZERO];
    // the second reply says that this host had the reply an hour ago
    let lie = |packet: &mut Vec<u8>| {
        if packet.len() > 200 && packet[20] == 0 && packet[31] == 1 {
            packet[28 + 16 * 9 + 10..28 + 16 * 9 + 12].copy_from_slice(&[0, 8]);
            packet[22..24].fill(0);
            let sum = checksum(&packet[20..]);
            packet[22..24].copy_from_slice(&sum.to_be_bytes());
        }
        vec![Duration::ZERO]
    };
    let _wire = Impairer::with(&left, &right, pass, lie);
    let _server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    let (json, _) = Agent::start(&left, &["-c", &to, "-C", "5", "-i", "10000", "-o", "json", "--nslocal"]).rest();
    let (probes, stat) = parse(&json);
    assert_eq!((count(&stat, "strange_entry_num"), count(&stat, "reply_num")), (5, 5));
    assert!(probes.iter().all(|probe| (0..1_000_000).contains(&delay(probe, "total"))));
}

#[test]
fn root_a_false_reply_before_the_true_one_makes_no_false_stage() {
    let Some((left, right, _time)) = two() else { return };
    let (send, asked) = std::sync::mpsc::channel();
    let ask = move |packet: &mut Vec<u8>| {
        let _ = send.send(packet.clone());
        vec![Duration::ZERO]
    };
    let slow = |_: &mut Vec<u8>| vec![Duration::from_millis(30)];
    let wire = Impairer::with(&left, &right, ask, slow);
    let _server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    let client = Agent::start(&left, &["-c", &to, "-C", "6", "-i", "10000", "-o", "json", "--nslocal"]);
    let mut requests = 0;
    while requests < 6 {
        let packet = asked.recv_timeout(Duration::from_secs(10)).expect("a request");
        // an echo request over IPv4
        if packet[9] != 1 || packet[20] != 8 {
            continue;
        }
        requests += 1;
        // only each second one is met by a false reply: its checksum is broken
        if requests % 2 == 0 {
            let mut icmp = packet[20..].to_vec();
            icmp[0] = 0;
            wire.inject_left(&ip(RIGHT_V4, LEFT_V4, &icmp)).expect("injected");
        }
    }
    let (json, _) = client.rest();
    let (probes, stat) = parse(&json);
    assert_eq!((count(&stat, "garbage_num"), count(&stat, "reply_num")), (3, 6), "{stat}");
    for (at, probe) in probes.iter().enumerate() {
        let is_deceived = at % 2 == 1;
        assert!(delay(probe, "total") >= 30_000, "{probe}");
        for name in ["l_rx_kern", "l_rx_inlink", "l_rx_task"] {
            assert_eq!(delay(probe, name) == -1, is_deceived, "{name}: {probe}");
        }
        assert!(delay(probe, "r_merged_kern") >= 0, "{probe}");
    }
}
