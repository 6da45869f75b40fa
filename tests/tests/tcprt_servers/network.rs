//! A server of our own behind a bad network: what the network does is the network's, and the process time is what it was.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lcc_tests::impairer::{Fate, Impairer, Impairment, RIGHT_V4};
use lcc_tests::netns::Namespace;
use lcc_tests::server::prefer;
use lcc_tests::skip;
use tcprt::{Config, Event, Kind};

use crate::{Seen, alone, median, object, observe};

const PORT: u16 = 7080;
const REQUEST: usize = 30_000;
const RESPONSE: usize = 300_000;
const SERVICE: Duration = Duration::from_millis(20);
const CONNECTIONS: usize = 4;
const TASKS: usize = 8;

/// What went over the wire in one direction, by what the packets say.
#[derive(Default)]
struct Wire {
    /// Behind the last byte of data, by the ports.
    ends: BTreeMap<(u16, u16), u32>,
    /// Segments of data that had been sent before.
    again: u64,
}

impl Wire {
    /// Whether the packet carries data, which is counted.
    fn carries(&mut self, packet: &[u8]) -> bool {
        let [ip, protocol] = [usize::from(packet[0] & 0xf) * 4, usize::from(packet[9])];
        if packet[0] >> 4 != 4 || protocol != 6 {
            return false;
        }
        let (length, tcp) = (usize::from(u16::from_be_bytes([packet[2], packet[3]])), &packet[ip..]);
        let u16 = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let data = length - ip - usize::from(tcp[12] >> 4) * 4;
        if data == 0 {
            return false;
        }
        let end = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(data as u32);
        let last = self.ends.entry((u16(0), u16(2))).or_insert_with(|| end.wrapping_sub(data as u32));
        if (end.wrapping_sub(*last) as i32) > 0 {
            *last = end;
        } else {
            self.again += 1;
        }
        true
    }
}

/// Segments of data suffer this, others only the delay: how often a SYN or a last ACK is lost is not what is looked at.
fn on_data(impairment: Impairment, wire: &Arc<Mutex<Wire>>) -> impl Fate {
    let (mut fates, wire, delay) = (impairment.fates(), Arc::clone(wire), impairment.delay);
    move |packet: &mut Vec<u8>| {
        if wire.lock().unwrap().carries(packet) { fates.of(packet) } else { vec![delay] }
    }
}

struct Outcome {
    seen: Seen,
    /// The handlers' times in microseconds, by the client's port.
    handlers: BTreeMap<u16, Vec<u64>>,
    /// Segments that the client and the server sent again.
    again: (u64, u64),
}

fn run(object: &[u8], to_server: Impairment, to_client: Impairment) -> Outcome {
    let (left, right) = (Namespace::new(), Namespace::new());
    let wires = [(); 2].map(|()| Arc::new(Mutex::new(Wire::default())));
    let impairer = Impairer::with(&left, &right, on_data(to_server, &wires[0]), on_data(to_client, &wires[1]));
    let config = Config { local: vec![PORT..=PORT], peer: vec![PORT..=PORT], ..Config::default() };
    let (seen, handlers) = observe(object, &config, || {
        let listener = right.inside(|| TcpListener::bind((RIGHT_V4, PORT))).unwrap();
        let server = thread::spawn(move || {
            let serving: Vec<_> = (0..CONNECTIONS).map(|_| thread::spawn(serve(listener.accept().unwrap()))).collect();
            serving.into_iter().map(|serving| serving.join().unwrap()).collect()
        });
        let asking: Vec<_> = (0..CONNECTIONS)
            .map(|_| left.inside(|| TcpStream::connect((RIGHT_V4, PORT))).unwrap())
            .map(|stream| thread::spawn(|| ask(stream)))
            .collect();
        asking.into_iter().for_each(|asking| asking.join().unwrap());
        let handlers = server.join().unwrap();
        // the last FIN and its acknowledgement are on their way
        thread::sleep(4 * (to_server.delay + to_client.delay));
        handlers
    });
    drop(impairer);
    let again = |wire: &Arc<Mutex<Wire>>| wire.lock().unwrap().again;
    Outcome { seen, handlers, again: (again(&wires[0]), again(&wires[1])) }
}

fn serve((mut peer, address): (TcpStream, SocketAddr)) -> impl FnOnce() -> (u16, Vec<u64>) {
    move || {
        prefer(None);
        let mut took = Vec::new();
        let response = vec![b'r'; RESPONSE];
        for _ in 0..TASKS {
            peer.read_exact(&mut vec![0; REQUEST]).unwrap();
            let begin = Instant::now();
            thread::sleep(SERVICE);
            took.push(begin.elapsed().as_micros() as u64);
            peer.write_all(&response).unwrap();
        }
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        (address.port(), took)
    }
}

fn ask(mut stream: TcpStream) {
    for _ in 0..TASKS {
        stream.write_all(&[b'q'; REQUEST]).unwrap();
        stream.read_exact(&mut vec![0; RESPONSE]).unwrap();
    }
}

/// What holds whatever the network does; gives how far the process time is from the handler's, at the median, in microseconds.
#[track_caller]
fn check(of: &str, outcome: &Outcome) -> f64 {
    let Outcome { seen, handlers, again } = outcome;
    let all = CONNECTIONS * TASKS;
    let counts = [Kind::Request, Kind::Peer, Kind::End].map(|kind| seen.count(kind));
    assert_eq!((counts, seen.lost, seen.events.len()), ([all, all, CONNECTIONS], 0, 2 * all + CONNECTIONS), "{of}");
    for event in &seen.events {
        let (request, response) = (REQUEST as u64, RESPONSE as u64);
        let expected = match event.kind {
            Kind::Peer => (response, request),
            Kind::End => (request * TASKS as u64, response * TASKS as u64),
            _ => (request, response),
        };
        assert_eq!((event.received_bytes, event.sent_bytes), expected, "{of}: {event:?}");
        assert!(!event.joined, "{of}: {event:?}");
    }
    let sent_again = |kind| seen.of(kind).map(|event| u64::from(event.retransmissions)).sum::<u64>();
    eprintln!(
        "{of}: sent again: client {}, server {} on the wire; told P {}, R {}, E {}",
        again.0,
        again.1,
        sent_again(Kind::Peer),
        sent_again(Kind::Request),
        sent_again(Kind::End)
    );
    assert_eq!((sent_again(Kind::Peer), sent_again(Kind::End)), *again, "{of}: what was sent again");
    assert_eq!(sent_again(Kind::Request), again.1, "{of}: what was sent again, by task");
    let differences = seen.of(Kind::Request).map(|event| {
        let own = handlers[&event.peer.port()][event.task as usize - 1];
        assert!(event.service_us + 50 >= own && event.service_us < own + 10_000, "{of}: {own} us: {event:?}");
        event.service_us as f64 - own as f64
    });
    median(differences.collect())
}

fn download_us(event: &Event) -> u64 {
    event.total_us - event.receive_us - event.service_us
}

#[test]
fn root_a_bad_network_is_told_as_the_networks() {
    let _alone = alone();
    let Some(object) = object() else { return };
    if !Path::new("/dev/net/tun").exists() {
        return skip("no TUN devices");
    }
    let middle = |outcome: &Outcome, of: fn(&Event) -> u64| {
        median(outcome.seen.of(Kind::Request).map(|event| of(event) as f64).collect())
    };
    let none = Impairment::default();
    let good = run(object, none, none);
    let good_by = check("no impairment", &good);
    // 50 ms of round trip, and 1 % lost each way
    let delay = Duration::from_millis(25);
    let lossy = Impairment { delay, loss: 0.01, seed: 1, ..none };
    let bad = run(object, lossy, Impairment { seed: 2, ..lossy });
    let bad_by = check("1 % loss, 50 ms", &bad);
    assert!(bad.again.0 > 0 && bad.again.1 > 0, "nothing was sent again");
    for (of, figure) in [
        ("upload", (|event| event.receive_us) as fn(&Event) -> u64),
        ("process", |event| event.service_us),
        ("download", download_us),
        ("min rtt", |event| event.min_rtt_us.into()),
    ] {
        eprintln!("{of}: {:.0} us, with 1 % loss and 50 ms {:.0} us", middle(&good, figure), middle(&bad, figure));
    }
    eprintln!("process, against the handler's own: {good_by:+.0} us, {bad_by:+.0} us");
    assert!(good_by.abs() <= 100.0 && bad_by.abs() <= 100.0, "{good_by} {bad_by}");
    let round_trip = 2 * delay.as_micros() as u64;
    for event in bad.seen.of(Kind::Request) {
        assert!((round_trip..round_trip + 10_000).contains(&u64::from(event.min_rtt_us)), "{event:?}");
        // the last byte's acknowledgement
        assert!(download_us(event) >= round_trip, "{event:?}");
        // what is lost is sent again a round trip later at the earliest
        assert!(event.retransmissions == 0 || download_us(event) >= 2 * round_trip, "{event:?}");
        // 30,000 bytes are more than a connection's first window
        assert!(event.task > 1 || event.receive_us >= round_trip, "{event:?}");
    }
    assert!(middle(&good, download_us) < 20_000.0);

    let mixed = Impairment { delay, jitter: Duration::from_millis(5), duplicate: 0.05, reorder: 0.05, seed: 3, ..none };
    let mixed = run(object, mixed, Impairment { seed: 4, ..mixed });
    let mixed_by = check("5 % twice, 5 % too early, 50 to 60 ms", &mixed);
    eprintln!("process, against the handler's own: {mixed_by:+.0} us");
    assert!(mixed_by.abs() <= 100.0, "{mixed_by}");
    assert!(mixed.seen.of(Kind::Request).any(|event| event.reordered));
}
