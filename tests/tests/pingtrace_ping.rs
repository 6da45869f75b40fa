//! `ping`, and what pingtrace's object tells of it on the running kernel: over loopback, and between network namespaces, which
//! are two hosts of one kernel. Each test looks only at the pings that it asked for; others may run.
//!
//! As root; needs clang, ping, ip and tc.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use btf::object_file::ObjectFile;
use lcc_tests::{compile, may_load, skip};
use loader::choose::{Places, choose};
use pingtrace::{Config, Delays, Event, Kind, Packet, Role, UserTimes};
use rustix::time::{ClockId, clock_gettime};

const MILLISECOND: u64 = 1_000_000;

/// The object; `None`, said, where it cannot be compiled or loaded here.
fn object() -> Option<Vec<u8>> {
    if !may_load() {
        return None;
    }
    for program in ["ping", "ip", "tc"] {
        if let Err(error) = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status()
        {
            skip(&format!("{program}: {error}"));
            return None;
        }
    }
    compile("bpf/pingtrace/pingtrace.bpf.c")
}

/// The events while something is done; `without` some of the object's programs.
fn trace<T: Send>(bytes: &[u8], config: Config, without: &[&str], what: impl FnOnce() -> T + Send) -> (Vec<Event>, T) {
    let object = ObjectFile::parse("pingtrace.o", bytes).expect("an object");
    let facts = loader::probe_for(Path::new("/"), &object);
    let chosen = choose(&object, &facts, &Places::here()).expect("BTF");
    let mut options = loader::Options::default();
    options.config = config.to_bytes();
    let refused = without.iter().map(|name| plan::Refused::new(*name, "load", "taken out by the test"));
    options.hints.refused.extend(refused);
    let session = loader::load("pingtrace.o", bytes, &facts, chosen.btf.as_ref(), &options).expect("loading");
    let mut events = Vec::new();
    let listener =
        session.listen(|event| events.push(Event::parse(event.bytes).expect("an event"))).expect("listening");
    // others' pings must not fill the buffer meanwhile
    let done = std::thread::scope(|scope| {
        let doing = scope.spawn(what);
        while !doing.is_finished() {
            listener.poll(Duration::from_millis(50)).expect("reading events");
        }
        doing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    listener.consume().expect("reading events");
    assert!(listener.lost().expect("counting").values().all(|&lost| lost == 0));
    drop(listener);
    (events, done)
}

/// Nanoseconds of the boot clock.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A `ping` that was run: when, and what it says itself.
struct Ping {
    pid: u32,
    started: u64,
    ended: u64,
    /// By sequence number: nanoseconds.
    round_trips: Vec<(u16, u64)>,
}

/// Runs `ping`, in a network namespace if one is given.
fn ping(namespace: Option<&Namespace>, args: &[&str]) -> Ping {
    let mut command = match namespace {
        // it becomes the program, so that the process is the same
        Some(namespace) => {
            let mut ip = Command::new("ip");
            ip.args(["netns", "exec", &namespace.name, "ping"]);
            ip
        }
        None => Command::new("ping"),
    };
    let started = now();
    let child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("ping");
    let pid = child.id();
    let output = child.wait_with_output().expect("ping");
    let text = String::from_utf8(output.stdout).expect("text");
    let round_trips = text.lines().filter_map(|line| {
        let sequence = line.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok()?;
        let milliseconds: f64 = line.split_once("time=")?.1.split(' ').next()?.parse().ok()?;
        Some((sequence, (milliseconds * MILLISECOND as f64) as u64))
    });
    Ping { pid, started, ended: now(), round_trips: round_trips.collect() }
}

impl Ping {
    /// Its round trips, and how they were answered, on this machine: in pairs, by sequence number.
    #[track_caller]
    fn told(&self, events: &[Event]) -> Vec<(Event, Event)> {
        let locals: Vec<&Event> =
            events.iter().filter(|event| event.kind == Kind::RoundTrip && event.pid == self.pid).collect();
        let sequences: Vec<u16> = locals.iter().map(|event| event.sequence).collect();
        let asked: Vec<u16> = self.round_trips.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, asked, "an event for each ping that was answered, and no more");
        let pairs = locals.into_iter().map(|local| {
            let is_its = |event: &&Event| {
                event.kind == Kind::Answered
                    && (event.id, event.sequence) == (local.id, local.sequence)
                    && event.local_address == local.peer_address
                    && event.peer_address == local.local_address
            };
            let remotes: Vec<&Event> = events.iter().filter(is_its).collect();
            assert_eq!(remotes.len(), 1, "one answer to {local:?}");
            (local.clone(), remotes[0].clone())
        });
        pairs.collect()
    }

    /// Holds the events of its pings against the way that they took, and against the times that it has itself.
    #[track_caller]
    fn check(&self, events: &[Event]) -> Vec<(Event, Event)> {
        let pairs = self.told(events);
        for ((local, remote), (_, round_trip)) in pairs.iter().zip(&self.round_trips) {
            let seen = [local.l_tx_devqueue, local.l_tx_devout, remote.r_rx_devrcv, remote.r_tx_devout];
            let read = [local.l_rx_iprcv, local.l_rx_skdataready, local.l_rx_read];
            assert!(seen.iter().chain(&read).all(|&time| time > 0), "{local:?} {remote:?}");
            // what not every kernel, or not every ping, has
            let softirq = [remote.r_rx_icmprcv, local.l_rx_softirq, local.l_rx_wakeup];
            let way = [
                &[self.started][..],
                &seen[..3],
                &softirq[..1],
                &seen[3..],
                &softirq[1..2],
                &read[..2],
                &softirq[2..],
                &read[2..],
                &[self.ended][..],
            ];
            let way: Vec<u64> = way.concat().into_iter().filter(|&time| time > 0).collect();
            assert!(way.is_sorted(), "in the order of the way: {local:?} {remote:?}");
            // ping's time ends where the kernel received the reply, or where ping read it
            let shortest = remote.r_tx_devout - local.l_tx_devqueue;
            let longest = local.l_rx_read - local.l_tx_devqueue;
            // three digits; and until ping's packet is queued, it may have waited for its CPU
            let (rounded, waited) = (round_trip / 100 + 2_000, 500 * MILLISECOND);
            assert!(shortest <= round_trip + rounded, "{shortest} ns in the kernel, {round_trip} ns by ping");
            assert!(*round_trip <= longest + rounded + waited, "{round_trip} ns by ping, {longest} ns in the kernel");
            assert_eq!(delays(local).total, Some(longest));
            assert_eq!(local.thread_name(), "ping");
        }
        pairs
    }
}

fn delays(event: &Event) -> Delays {
    event.delays(UserTimes::default())
}

/// A network namespace, until it is dropped.
struct Namespace {
    name: String,
}

impl Namespace {
    /// `None`, said, where the kernel has none.
    fn new(name: &str) -> Option<Namespace> {
        let namespace = Namespace { name: format!("lcc-{}-{name}", std::process::id()) };
        let made = run("ip", &["netns", "add", &namespace.name]) && namespace.ip(&["link", "set", "lo", "up"]);
        if !made {
            skip("network namespaces cannot be made here");
        }
        made.then_some(namespace)
    }

    fn ip(&self, args: &[&str]) -> bool {
        run("ip", &[&["-n", &self.name], args].concat())
    }

    /// The queue of a device: none, or one that lets a byte pass in two milliseconds, and holds so many.
    fn set_queue(&self, device: &str, limit: Option<&str>) -> bool {
        let on = [&["-n", &self.name, "qdisc"][..], &["replace", "dev", device, "root"]].concat();
        match limit {
            Some(limit) => run("tc", &[&on[..], &["tbf", "rate", "4kbit", "burst", "100", "limit", limit]].concat()),
            None => run("tc", &["-n", &self.name, "qdisc", "del", "dev", device, "root"]),
        }
    }

    /// The number that the kernel tells it by.
    fn inum(&self) -> u32 {
        std::fs::metadata(Path::new("/run/netns").join(&self.name)).expect("the namespace's file").ino() as u32
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run("ip", &["netns", "del", &self.name]);
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Two network namespaces with a cable between them, `left` to `right`. `None`, said, where there cannot be such.
fn two_hosts(test: &str, net: u8) -> Option<(Namespace, Namespace)> {
    let (left, right) = (Namespace::new(&format!("{test}-l"))?, Namespace::new(&format!("{test}-r"))?);
    let link = ["link", "add", "left", "netns", &left.name, "type", "veth", "peer", "name", "right", "netns"];
    let mut up = run("ip", &[&link[..], &[&right.name]].concat());
    for (namespace, device, host) in [(&left, "left", 1), (&right, "right", 2)] {
        up &= namespace.ip(&["addr", "add", &format!("10.77.{net}.{host}/24"), "dev", device]);
        up &= namespace.ip(&["addr", "add", &format!("fd77:{net}::{host}/64"), "dev", device, "nodad"]);
        up &= namespace.ip(&["link", "set", device, "up"]);
    }
    if !up {
        skip("network namespaces cannot be connected here");
        return None;
    }
    // each knows the other's hardware address from here on
    ping(Some(&left), &["-c", "1", "-W", "2", &format!("10.77.{net}.2")]);
    ping(Some(&left), &["-c", "1", "-W", "2", &format!("fd77:{net}::2")]);
    Some((left, right))
}

#[test]
fn root_every_ping_of_this_host_to_itself_is_told_once_for_each_end() {
    let Some(object) = object() else { return };
    let args = ["-c", "3", "-i", "0.1"];
    // each hook for point 6 in its turn, as far as the kernel has it
    let hooks = ["data_ready_fentry", "data_ready_kprobe", "data_ready_tracepoint"];
    for without in 0..=hooks.len() {
        let (events, pings) = trace(&object, Config::default(), &hooks[..without], || {
            [["-4", "127.0.0.1"], ["-6", "::1"]].map(|to| ping(None, &[&args[..], &to].concat()))
        });
        for (ping, (family, length)) in pings.iter().zip([(2, 84), (10, 104)]) {
            assert_eq!(ping.round_trips.len(), 3);
            for (local, remote) in ping.check(&events) {
                assert_eq!((local.role, remote.role), (Role::Local, Role::Remote));
                assert_eq!((local.family, local.length, remote.length), (family, length, length));
                assert_eq!((local.device_name().as_str(), local.netns), ("lo", remote.netns));
            }
        }
    }
}

#[test]
fn root_pings_at_once_are_not_mixed_up() {
    let Some(object) = object() else { return };
    let (events, pings) = trace(&object, Config::default(), &[], || {
        std::thread::scope(|scope| {
            let start = |to| scope.spawn(move || ping(None, &["-c", "20", "-i", "0.01", to]));
            let running: Vec<_> = ["127.0.0.1", "::1", "127.0.0.1", "127.0.0.2", "::1", "127.0.0.1"].map(start).into();
            running.into_iter().map(|ping| ping.join().expect("ping")).collect::<Vec<_>>()
        })
    });
    for ping in &pings {
        assert_eq!(ping.check(&events).len(), 20);
    }
}

#[test]
fn root_a_threshold_and_a_process_are_asked_for_in_the_kernel() {
    let Some(object) = object() else { return };
    let count = |config| {
        let (events, ping) = trace(&object, config, &[], || ping(None, &["-c", "2", "-i", "0.1", "127.0.0.1"]));
        let is_its = |event: &&Event| event.pid == ping.pid || u32::from(event.id) == ping.pid & 0xffff;
        events.iter().filter(is_its).count()
    };
    assert_eq!(count(Config { threshold_ns: 3_600_000 * MILLISECOND, ..Config::default() }), 0);
    // the first process never pings
    assert_eq!(count(Config { pid: 1, ..Config::default() }), 0);
    assert_eq!(count(Config { role: Role::Local as u32, ..Config::default() }), 2);
}

#[test]
fn root_each_end_of_a_ping_between_namespaces_knows_its_own() {
    let Some(object) = object() else { return };
    let Some((left, right)) = two_hosts("way", 1) else { return };
    let (events, pings) = trace(&object, Config::default(), &[], || {
        ["10.77.1.2", "fd77:1::2"].map(|to| ping(Some(&left), &["-c", "3", "-i", "0.1", to]))
    });
    for (ping, (here, there)) in pings.iter().zip([("10.77.1.1", "10.77.1.2"), ("fd77:1::1", "fd77:1::2")]) {
        assert_eq!(ping.round_trips.len(), 3);
        for (local, remote) in ping.check(&events) {
            assert_eq!((local.netns, remote.netns), (left.inum(), right.inum()));
            assert_eq!((local.device_name().as_str(), remote.device_name().as_str()), ("left", "right"));
            assert_eq!((local.local().to_string().as_str(), local.peer().to_string().as_str()), (here, there));
            assert_eq!((remote.local(), remote.peer()), (local.peer(), local.local()));
        }
    }
}

/// A packet takes all that the queue lets pass for 196 ms, and they come every 60 ms.
#[test]
fn root_a_delay_is_told_where_it_is() {
    let Some(object) = object() else { return };
    let Some((left, right)) = two_hosts("delay", 2) else { return };
    let slowly = |host: &Namespace, device| {
        if !host.set_queue(device, Some("5000")) {
            skip("no tbf");
            return None;
        }
        let (events, ping) = trace(&object, Config::default(), &[], || {
            // the first takes what the queue has left; without a deadline, ping would not wait for what is late
            ping(Some(&left), &["-c", "4", "-i", "0.06", "-w", "20", "10.77.2.2"])
        });
        assert!(host.set_queue(device, None));
        // a queue's timer may interrupt a process on top of which a sandbox runs no BPF programs (docs/pingtrace.md): that
        // ping's events are not there, or not whole
        let is_seen = |sequence| {
            let is_its = |event: &&Event| event.sequence == sequence && event.netns == left.inum();
            events.iter().find(is_its).is_some_and(|event| event.l_rx_iprcv > 0)
        };
        let (seen, not_seen) = ping.round_trips.iter().partition(|(sequence, _)| is_seen(*sequence));
        let not_seen: Vec<(u16, u64)> = not_seen;
        assert!(not_seen.len() < 2, "{not_seen:?}");
        let events: Vec<Event> = events
            .into_iter()
            .filter(|event| not_seen.iter().all(|(sequence, _)| event.sequence != *sequence))
            .collect();
        let pairs = Ping { round_trips: seen, ..ping }.check(&events);
        assert!(pairs.len() > 2);
        Some(pairs)
    };
    let is_most_of = |part: Option<u64>, local: &Event| {
        let (part, total) = (part.expect("a delay"), delays(local).total.expect("a delay"));
        assert!(part > 20 * MILLISECOND && part <= total && part > total / 2, "{part} of {total} ns: {local:?}");
    };
    let Some(pairs) = slowly(&left, "left") else { return };
    for (local, remote) in &pairs[1..] {
        is_most_of(delays(local).l_tx_qdisc, local);
        assert!(delays(remote).r_merged_kern < delays(local).l_tx_qdisc);
    }
    let Some(pairs) = slowly(&right, "right") else { return };
    for (local, remote) in &pairs[1..] {
        is_most_of(delays(remote).r_merged_kern, local);
        assert!(delays(local).l_tx_qdisc < delays(remote).r_merged_kern);
    }
    // who waits that long sleeps; another task may have been woken on the same CPU in the same moment, but not each time
    let woken = pairs[1..].iter().filter(|(local, _)| local.l_rx_wakeup > 0);
    assert!(woken.count() > 0, "{pairs:?}");
}

#[test]
fn root_what_is_dropped_is_told_with_its_place() {
    let Some(object) = object() else { return };
    let Some((left, right)) = two_hosts("drop", 3) else { return };
    for (host, device, role, packet) in
        [(&left, "left", Role::Local, Packet::Request), (&right, "right", Role::Remote, Packet::Reply)]
    {
        // a queue with no room for one packet
        if !host.set_queue(device, Some("50")) {
            return skip("no tbf");
        }
        let (events, ping) = trace(&object, Config::default(), &[], || {
            ping(Some(&left), &["-c", "1", "-W", "1", "-s", "400", "10.77.3.2"])
        });
        assert!(host.set_queue(device, None));
        assert_eq!(ping.round_trips, []);
        let of_host: Vec<&Event> = events.iter().filter(|event| event.netns == host.inum()).collect();
        // ping tries once more where the kernel tells it of the drop
        assert!(!of_host.is_empty());
        for event in of_host {
            assert_eq!((event.kind, event.role, event.dropped_packet), (Kind::Dropped, role, packet), "{event:?}");
            let begin = if role == Role::Local { event.l_tx_devqueue } else { event.r_rx_devrcv };
            assert!(ping.started < begin && begin < event.dropped && event.dropped < ping.ended, "{event:?}");
            assert_eq!((event.l_tx_devout, event.r_tx_devout, event.l_rx_read), (0, 0, 0));
        }
    }
}

#[test]
fn root_a_host_that_only_forwards_tells_nothing() {
    let Some(object) = object() else { return };
    let Some((left, middle)) = two_hosts("route", 4) else { return };
    let Some(far) = Namespace::new("route-f") else { return };
    let link =
        ["link", "add", "near", "netns", &middle.name, "type", "veth", "peer", "name", "far", "netns", &far.name];
    let up = run("ip", &link)
        && middle.ip(&["addr", "add", "10.77.5.1/24", "dev", "near"])
        && middle.ip(&["link", "set", "near", "up"])
        && far.ip(&["addr", "add", "10.77.5.2/24", "dev", "far"])
        && far.ip(&["link", "set", "far", "up"])
        && far.ip(&["route", "add", "default", "via", "10.77.5.1"])
        && left.ip(&["route", "add", "default", "via", "10.77.4.2"])
        && run("ip", &["netns", "exec", &middle.name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    if !up {
        return skip("no route between network namespaces");
    }
    let (events, ping) =
        trace(&object, Config::default(), &[], || ping(Some(&left), &["-c", "3", "-i", "0.1", "10.77.5.2"]));
    let pairs = ping.check(&events);
    assert_eq!(pairs.len(), 3);
    assert!(pairs.iter().all(|(local, remote)| (local.netns, remote.netns) == (left.inum(), far.inum())));
    assert!(events.iter().all(|event| event.netns != middle.inum()));
}
