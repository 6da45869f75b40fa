//! Every stage that the kernel offers is there, and together they are the whole.

use std::time::Duration;

use lcc_tests::impairer::{Impairer, Impairment, RIGHT_V4, RIGHT_V6};
use serde_json::Value;

use crate::hosts::{Agent, count, delay, parse, two};

/// How far the sum may be from the whole: each of two hosts cuts its times to whole microseconds.
const NEAR: i64 = 10;

/// The stages that make up the whole.
fn sum(probe: &Value) -> i64 {
    let by_server = delay(probe, "r_user") >= 0;
    let answer: &[&str] = if by_server { &["r_task", "r_user", "r_tx_user_kern"] } else { &["r_tx_kern"] };
    let way = ["l_tx_kern", "l_tx_qdisc", "l_tx_outlink", "r_rx_kern", "l_rx_inlink", "l_rx_kern"];
    let all = way.iter().chain(answer).map(|name| {
        let took = delay(probe, name);
        assert!(took >= 0, "{name} is absent: {probe}");
        took
    });
    let all: i64 = all.sum();
    // a program that did not sleep is not woken
    let woken = delay(probe, "l_rx_task_waking");
    all + if woken >= 0 { woken + delay(probe, "l_rx_task_queue") } else { delay(probe, "l_rx_task") }
}

#[test]
fn root_the_stages_of_every_protocol_are_all_there_and_sum_up() {
    let Some((left, right, _time)) = two() else { return };
    // long enough under way for the client to sleep, and to be woken
    let slow = Impairment { delay: Duration::from_millis(3), ..Impairment::default() };
    let _wire = Impairer::between(&left, &right, slow, slow);
    let server = Agent::server(&right, &[]);
    for protocol in ["icmp", "udp", "tcp"] {
        for to in [RIGHT_V4.to_string(), RIGHT_V6.to_string()] {
            let args = ["-c", &to, "--proto", protocol, "-C", "20", "-i", "20000", "-o", "json", "--nslocal"];
            let (json, status) = Agent::start(&left, &args).rest();
            let (probes, stat) = parse(&json);
            assert_eq!((status, probes.len(), count(&stat, "reply_num")), (0, 20, 20), "{protocol} {to}: {stat}");
            let mut woken = 0;
            for probe in &probes {
                let (sum, total) = (sum(probe), delay(probe, "total"));
                assert!((sum - total).abs() <= NEAR, "{protocol} {to}: {sum} of {total} us: {probe}");
                woken += u32::from(delay(probe, "l_rx_task_waking") >= 0);
                // a TUN device receives in the process that writes
                assert_eq!(delay(probe, "l_rx_softirq"), -1, "{probe}");
            }
            // some other may be woken first
            assert!(woken > 15, "{protocol} {to}: {woken} are woken");
            for strange in ["missed_num", "garbage_num", "wrong_id_num", "duplicate_num", "lost_event_num"] {
                assert_eq!(count(&stat, strange), 0, "{protocol} {to}: {strange}");
            }
        }
    }
    let (said, status) = server.end();
    assert_eq!(status, 0);
    assert!(said.contains("120 requests, 120 second replies, 0 of them without the kernel's times"), "{said}");
}

#[test]
fn root_without_a_server_round_trips_are_told() {
    let Some((left, right, _time)) = two() else { return };
    let _wire = Impairer::between(&left, &right, Impairment::default(), Impairment::default());
    let to = RIGHT_V4.to_string();
    let (json, status) =
        Agent::start(&left, &["-c", &to, "-C", "3", "--mode", "pingpong", "-i", "1000", "-o", "json"]).rest();
    let (probes, stat) = parse(&json);
    assert_eq!((status, probes.len(), count(&stat, "missed_num")), (0, 3, 0));
    for probe in &probes {
        let stages = ["l_tx_kern", "l_tx_qdisc", "outside", "l_rx_kern", "l_rx_task"];
        let sum: i64 = stages.iter().map(|name| delay(probe, name)).sum();
        assert!((sum - delay(probe, "total")).abs() <= NEAR, "{probe}");
        assert_eq!(delay(probe, "r_merged_kern"), -1);
    }
    // nobody answers at all
    let (json, status) = Agent::start(&left, &["-c", "10.77.0.9", "-C", "1", "-o", "json"]).rest();
    let (probes, stat) = parse(&json);
    assert_eq!((status, probes.len(), count(&stat, "lost_num")), (1, 0, 1));
}

#[test]
fn root_auto_gives_up_waiting_for_second_replies() {
    let Some((left, right, _time)) = two() else { return };
    let _wire = Impairer::between(&left, &right, Impairment::default(), Impairment::default());
    let to = RIGHT_V4.to_string();
    let (said, _) = Agent::start(&left, &["-c", &to, "-C", "8", "-i", "1000", "-o", "table"]).rest();
    assert!(said.contains("from here on round trips only"), "{said}");
    assert!(said.contains("8 sent, 8 answered, 0 lost, 4 answered without the other host's times"), "{said}");
}

#[test]
fn root_ctrl_c_ends_with_the_summary() {
    let Some((left, right, _time)) = two() else { return };
    let _wire = Impairer::between(&left, &right, Impairment::default(), Impairment::default());
    let to = RIGHT_V4.to_string();
    let args = ["-c", &to, "-i", "1000", "-o", "table", "--mode", "pingpong", "--histogram"];
    let client = Agent::start(&left, &args);
    // the heading, and some probes
    while !client.line().trim_start().starts_with("5 ") {}
    let (said, status) = client.end();
    assert_eq!(status, 0);
    assert!(said.contains("--- pingtrace 10.77.0.1 > 10.77.0.2, icmp"), "{said}");
    assert!(
        said.contains(" 0 lost") && said.contains("total: us") && said.contains("from sending to having the reply"),
        "{said}"
    );
}

#[test]
fn root_everyones_pings_are_watched() {
    let Some((left, right, _time)) = two() else { return };
    let _wire = Impairer::between(&left, &right, Impairment::default(), Impairment::default());
    let watcher = Agent::start(&left, &[]);
    assert!(watcher.line().starts_with("pingtrace: watching everyone's pings"));
    for to in [RIGHT_V4.to_string(), RIGHT_V6.to_string()] {
        left.run(std::process::Command::new("ping").args(["-c", "3", "-i", "0.1", &to]));
    }
    let (said, status) = watcher.end();
    assert_eq!(status, 0);
    for (here, there) in [("10.77.0.1", "10.77.0.2"), ("fd77::1", "fd77::2")] {
        let sent = said.lines().filter(|line| line.contains(&format!("{here} > {there} wire, ping ")));
        assert_eq!(sent.count(), 3, "{said}");
        let answered = said.lines().filter(|line| line.contains(&format!("{here} > {there} wire, answered here")));
        // other tests' hosts may have the same addresses
        assert!(answered.count() >= 3, "{said}");
    }
}

#[test]
fn root_the_capabilities_that_the_help_names_are_enough() {
    let Some((left, right, _time)) = two() else { return };
    if std::process::Command::new("setpriv").arg("--version").output().is_err() {
        return lcc_tests::skip("setpriv");
    }
    let _wire = Impairer::between(&left, &right, Impairment::default(), Impairment::default());
    let _server = Agent::server(&right, &[]);
    let to = RIGHT_V4.to_string();
    let probes = |capabilities: &str, protocol: &str| {
        let args = ["-c", &to, "-C", "2", "-i", "1000", "-o", "json", "--proto", protocol];
        let (json, status) = Agent::start_with(&left, capabilities, &args).rest();
        assert_eq!(status, 0, "{capabilities} {protocol}");
        parse(&json).0
    };
    let sees = |probe: &Value| delay(probe, "l_tx_qdisc") >= 0 && delay(probe, "outside") >= 0;
    assert!(probes(",+net_raw,+bpf,+perfmon", "icmp").iter().all(sees));
    assert!(probes(",+bpf,+perfmon", "udp").iter().all(sees));
    assert!(probes(",+bpf,+perfmon,+net_admin", "tcp").iter().all(sees));
    // without those for the kernel's points, what the other host tells is there all the same
    for (capabilities, protocol) in [(",+net_raw", "icmp"), ("", "udp"), ("", "tcp")] {
        for probe in probes(capabilities, protocol) {
            assert!(!sees(&probe) && delay(&probe, "r_merged_kern") >= 0, "{probe}");
        }
    }
    let (_, status) = Agent::start_with(&left, "", &["-c", &to, "-C", "1"]).rest();
    assert_eq!(status, 2);
}
