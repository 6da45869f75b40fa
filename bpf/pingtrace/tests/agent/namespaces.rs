//! Network-namespace mode: what a container's probes pass on its host.

use std::process::Command;

use lcc_tests::netns::Namespace;
use lcc_tests::skip;
use serde_json::Value;

use crate::hosts::{Agent, parse, two};

/// The inode number of a namespace.
fn inum(namespace: &Namespace) -> u64 {
    use std::os::unix::fs::MetadataExt;
    namespace.inside(|| std::fs::metadata("/proc/thread-self/ns/net").expect("a namespace").ino())
}

/// `left` - `host` - `right`, with routes; false where that is not possible.
fn connect(left: &Namespace, host: &Namespace, right: &Namespace) -> bool {
    let ip = |at: &Namespace, args: &str| {
        at.inside(|| Command::new("ip").args(args.split(' ')).status().is_ok_and(|status| status.success()))
    };
    // the other end is put where a process of the other namespace is
    let cable = |a: &Namespace, name: &str, b: &Namespace, other: &str| {
        let mut sleeper = b.inside(|| Command::new("sleep").arg("60").spawn()).expect("sleep");
        let made = ip(a, &format!("link add {name} type veth peer name {other} netns {}", sleeper.id()));
        let _ = sleeper.kill();
        let _ = sleeper.wait();
        made
    };
    let set = |at: &Namespace, device: &str, v4: &str, v6: &str| {
        ip(at, &format!("addr add {v4}/24 dev {device}"))
            && ip(at, &format!("addr add {v6}/64 dev {device} nodad"))
            && ip(at, &format!("link set {device} up"))
    };
    cable(host, "tol", left, "eth")
        && cable(host, "tor", right, "eth")
        && set(left, "eth", "10.78.1.1", "fd78:1::1")
        && set(host, "tol", "10.78.1.9", "fd78:1::9")
        && set(right, "eth", "10.78.2.1", "fd78:2::1")
        && set(host, "tor", "10.78.2.9", "fd78:2::9")
        && ip(left, "route add default via 10.78.1.9")
        && ip(right, "route add default via 10.78.2.9")
        && ip(left, "-6 route add default via fd78:1::9")
        && ip(right, "-6 route add default via fd78:2::9")
        && host.inside(|| {
            let forward = |file: &str| std::fs::write(file, "1").is_ok();
            forward("/proc/sys/net/ipv4/ip_forward") && forward("/proc/sys/net/ipv6/conf/all/forwarding")
        })
}

/// What a probe passed: point, namespace, `user_id`.
fn hops(probe: &Value) -> Vec<(String, u64, u64)> {
    let all = probe["hops"].as_array().map_or(&[][..], Vec::as_slice);
    let hop = |hop: &Value| {
        let number = |name: &str| hop[name].as_u64().expect("a number");
        (hop["point"].as_str().expect("a point").to_owned(), number("ns_id"), number("user_id"))
    };
    all.iter().map(hop).collect()
}

#[test]
fn root_a_containers_probes_are_told_where_they_pass_its_host() {
    let Some((left, right, _time)) = two() else { return };
    let host = Namespace::new();
    if !connect(&left, &host, &right) {
        return skip("no veth, or no route between namespaces");
    }
    let on_host = inum(&host);
    let way = ["m_rx_devecho", "m_tx_devecho", "m_rx_devreply", "m_tx_devreply"];
    let own: Vec<_> = way.iter().map(|point| ((*point).to_owned(), on_host, 0)).collect();
    let server = Agent::server(&right, &[]);
    // until each knows the others' hardware addresses
    for to in ["10.78.2.1", "fd78:2::1"] {
        let warm = || Agent::start(&left, &["-c", to, "-C", "1", "--mode", "pingpong", "-o", "json"]).rest().1 == 0;
        assert!((0..6).any(|_| warm()), "no way to {to}");
    }
    let mut softirqs = 0;
    for protocol in ["icmp", "udp", "tcp"] {
        for to in ["10.78.2.1", "fd78:2::1"] {
            let args = ["-c", to, "--proto", protocol, "-C", "4", "-i", "20000", "-o", "json", "-n", "--nslocal"];
            let (json, status) = Agent::start(&left, &args).rest();
            let (probes, stat) = parse(&json);
            assert_eq!((status, probes.len()), (0, 4), "{protocol} {to}: {stat}");
            for probe in &probes {
                softirqs += u32::from(crate::hosts::delay(probe, "l_rx_softirq") >= 0);
                assert_eq!(hops(probe), own, "{protocol} {to}: {probe}");
                let times: Vec<u64> =
                    probe["hops"].as_array().expect("hops").iter().filter_map(|hop| hop["ts"].as_u64()).collect();
                assert!(times.is_sorted(), "{probe}");
            }
        }
    }
    assert!(softirqs >= 12, "{softirqs} of 24 replies are seen to be received by a softirq");
    // without -n nothing of it is told
    let (json, _) = Agent::start(&left, &["-c", "10.78.2.1", "-C", "1", "-o", "json"]).rest();
    assert!(parse(&json).0.iter().all(|probe| hops(probe).is_empty()));
    drop(server);
    // a server tells what it sees as that of another host, with its user's number
    let _server = Agent::server(&right, &["-n", "--userid", "7"]);
    let (json, _) = Agent::start(&left, &["-c", "10.78.2.1", "-C", "3", "-i", "20000", "-o", "json"]).rest();
    for probe in &parse(&json).0 {
        // its kernel is also the client's here
        let told = hops(probe).into_iter().filter(|(_, netns, _)| *netns == on_host);
        assert_eq!(told.filter(|(_, _, user)| *user == 7).count(), 4, "{probe}");
    }
}

#[test]
fn root_a_client_goes_into_a_namespace_itself() {
    let Some((left, right, _time)) = two() else { return };
    let _wire = lcc_tests::impairer::Impairer::between(&left, &right, Default::default(), Default::default());
    let mut sleeper = left.inside(|| Command::new("sleep").arg("60").spawn()).expect("sleep");
    let pid = sleeper.id().to_string();
    let to = lcc_tests::impairer::RIGHT_V4.to_string();
    // started elsewhere
    let here = Namespace::new();
    let args = ["-c", &to, "-C", "2", "-i", "1000", "-o", "json", "--mode", "pingpong", "--netns", &pid];
    let (json, status) = Agent::start(&here, &args).rest();
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    let (probes, _) = parse(&json);
    assert_eq!((status, probes.len()), (0, 2));
    assert!(probes.iter().all(|probe| crate::hosts::delay(probe, "l_tx_qdisc") >= 0));
    let (_, status) = Agent::start(&here, &["-c", &to, "--netns", "no-such-namespace"]).rest();
    assert_eq!(status, 2);
}
