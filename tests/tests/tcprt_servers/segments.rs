//! Connections as sockets do not make them: a peer that is no kernel sends, and leaves out, what it wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use lcc_tests::impairer::RIGHT_V4;
use lcc_tests::segments::{ACK, FIN, Peer, RST, Wire};
use lcc_tests::skip;
use tcprt::Event;

use crate::{alone, at, object, observe};

const PORT: u16 = 7090;
const CLIENT: u16 = 40_000;
/// Close to where numbers begin again.
const FIRST: u32 = u32::MAX - 150;
const REQUEST: u32 = 200;
const RESPONSE: u32 = 1000;
/// Between two things that the test does, so that their times differ.
const PAUSE: Duration = Duration::from_millis(30);
const PAUSE_US: u64 = 30_000;

/// Answers requests of [`REQUEST`] bytes on each connection until it ends, however.
fn serve(listener: TcpListener, connections: usize, think: Duration) {
    for _ in 0..connections {
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_nodelay(true).unwrap();
        let answer = |peer: &mut TcpStream| -> std::io::Result<()> {
            loop {
                peer.read_exact(&mut [0; REQUEST as usize])?;
                thread::sleep(think);
                peer.write_all(&[b'r'; RESPONSE as usize])?;
            }
        };
        let _ = answer(&mut peer);
    }
}

/// What is told of `connections` connections while a peer does what it does.
fn told(connections: usize, think: Duration, act: impl FnOnce(&Wire) + Send) -> Option<Vec<Event>> {
    let object = object()?;
    if !Path::new("/dev/net/tun").exists() {
        skip("no TUN devices");
        return None;
    }
    let wire = Wire::new();
    let listener = wire.namespace.inside(|| TcpListener::bind((RIGHT_V4, PORT))).unwrap();
    let (seen, ()) = observe(object, &at(PORT), || {
        let server = thread::spawn(move || serve(listener, connections, think));
        act(&wire);
        server.join().unwrap();
    });
    assert_eq!(seen.lost, 0);
    Some(seen.events)
}

fn request() -> [u8; REQUEST as usize] {
    [b'q'; REQUEST as usize]
}

/// A whole task.
fn ask(peer: &mut Peer<'_>) {
    peer.write(&request());
    peer.await_bytes(RESPONSE);
    peer.acknowledge(RESPONSE);
}

/// Kind, number of the task, bytes received, sent and not acknowledged.
type Line = (char, u32, u64, u64, u64);

fn lines(events: &[Event]) -> Vec<Line> {
    let line = |event: &Event| {
        (event.kind.letter(), event.task, event.received_bytes, event.sent_bytes, event.unacknowledged_bytes)
    };
    events.iter().map(line).collect()
}

const ASKED: u64 = REQUEST as u64;
const ANSWERED: u64 = RESPONSE as u64;

#[test]
fn root_a_reset_in_each_phase() {
    let _alone = alone();
    let (first, rest) = (REQUEST as usize / 4, Duration::ZERO);
    // before any task
    let Some(events) = told(1, rest, |wire| wire.connect(CLIENT, PORT, FIRST, &[]).send(RST | ACK, 0, &[])) else {
        return;
    };
    assert_eq!(lines(&events), []);
    // in the request
    let events = told(1, rest, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        peer.write(&request()[..first]);
        thread::sleep(PAUSE);
        peer.send(RST | ACK, 0, &[]);
    });
    let events = events.unwrap();
    assert_eq!(lines(&events), [('N', 1, first as u64, 0, 0), ('E', 1, first as u64, 0, 0)]);
    assert!(events[0].total_us >= PAUSE_US && events[0].receive_us < PAUSE_US, "{events:#?}");
    // while the server thinks
    let events = told(1, 2 * PAUSE, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        peer.write(&request());
        thread::sleep(PAUSE);
        peer.send(RST | ACK, 0, &[]);
    });
    assert_eq!(lines(&events.unwrap()), [('N', 1, ASKED, 0, 0), ('E', 1, ASKED, 0, 0)]);
    // in the response
    let events = told(1, rest, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        peer.write(&request());
        peer.await_bytes(RESPONSE);
        peer.acknowledge(RESPONSE / 4);
        thread::sleep(PAUSE);
        peer.send(RST | ACK, 0, &[]);
    });
    let left = ANSWERED - ANSWERED / 4;
    let events = events.unwrap();
    assert_eq!(lines(&events), [('W', 1, ASKED, ANSWERED, left), ('E', 1, ASKED, ANSWERED, left)]);
    assert!(events[0].total_us >= PAUSE_US, "{events:#?}");
    // after it
    let events = told(1, rest, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        ask(&mut peer);
        thread::sleep(PAUSE);
        peer.send(RST | ACK, 0, &[]);
    });
    let events = events.unwrap();
    assert_eq!(lines(&events), [('R', 1, ASKED, ANSWERED, 0), ('E', 1, ASKED, ANSWERED, 0)]);
    assert!(events[0].total_us < PAUSE_US && events[1].total_us >= PAUSE_US, "{events:#?}");
}

#[test]
fn root_a_reset_that_is_none_of_the_connection_changes_nothing() {
    let _alone = alone();
    let events = told(1, Duration::ZERO, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        ask(&mut peer);
        // outside of the window
        peer.send(RST, 1 << 20, &[]);
        peer.send(RST, -1000, &[]);
        thread::sleep(PAUSE);
        ask(&mut peer);
        peer.send(RST, 0, &[]);
    });
    let Some(events) = events else { return };
    let task = |number| ('R', number, ASKED, ANSWERED, 0);
    assert_eq!(lines(&events), [task(1), task(2), ('E', 2, 2 * ASKED, 2 * ANSWERED, 0)]);
}

#[test]
fn root_data_that_comes_again_overlaps_or_is_late_counts_once() {
    let _alone = alone();
    let think = 2 * PAUSE;
    let half = REQUEST as i32 / 2;
    let events = told(1, think, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        // again, while the server thinks about it
        peer.write(&request());
        thread::sleep(PAUSE);
        peer.send(ACK, -(REQUEST as i32), &request());
        peer.await_bytes(RESPONSE);
        peer.acknowledge(RESPONSE);
        // and after the answer
        peer.send(ACK, -half, &request()[..half as usize]);
        // parts that overlap
        peer.send(ACK, 0, &request()[..150]);
        thread::sleep(PAUSE);
        peer.send(ACK, 100, &request()[100..]);
        peer.next = peer.next.wrapping_add(REQUEST);
        peer.await_bytes(RESPONSE);
        peer.acknowledge(RESPONSE);
        // the second half first
        peer.send(ACK, half, &request()[half as usize..]);
        thread::sleep(PAUSE);
        peer.send(ACK, 0, &request()[..half as usize]);
        peer.next = peer.next.wrapping_add(REQUEST);
        peer.await_bytes(RESPONSE);
        peer.acknowledge(RESPONSE);
        // damaged at first: a copy comes later
        let mut damaged = peer.segment(ACK, 0, &request());
        damaged.is_damaged = true;
        wire.send(&damaged);
        thread::sleep(PAUSE);
        ask(&mut peer);
        peer.send(RST, 0, &[]);
    });
    let Some(events) = events else { return };
    let task = |number| ('R', number, ASKED, ANSWERED, 0);
    assert_eq!(lines(&events), [task(1), task(2), task(3), task(4), ('E', 4, 4 * ASKED, 4 * ANSWERED, 0)]);
    let think = think.as_micros() as u64;
    for event in &events[..4] {
        assert!((think..think + PAUSE_US / 2).contains(&event.service_us), "{event:?}");
    }
    assert!(events[0].receive_us < PAUSE_US / 2, "what came again is no news: {:?}", events[0]);
    assert!(events[1].receive_us >= PAUSE_US && events[2].receive_us >= PAUSE_US, "{events:#?}");
    assert!(!events[0].reordered && !events[1].reordered && events[2].reordered, "{events:#?}");
}

#[test]
fn root_a_gap_that_stays_is_no_data() {
    let _alone = alone();
    let first = REQUEST as usize / 4;
    let events = told(1, Duration::ZERO, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        peer.write(&request()[..first]);
        // behind a gap
        peer.send(ACK, 50, &request()[..first]);
        thread::sleep(PAUSE);
        peer.send(RST, 0, &[]);
    });
    let Some(events) = events else { return };
    // what the server could have read
    assert_eq!(lines(&events), [('N', 1, first as u64, 0, 0), ('E', 1, first as u64, 0, 0)]);
}

#[test]
fn root_data_outside_of_the_window_is_none() {
    let _alone = alone();
    let events = told(1, Duration::ZERO, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        peer.send(ACK, 1 << 26, &request());
        thread::sleep(PAUSE);
        ask(&mut peer);
        peer.send(ACK, 1 << 26, &request());
        ask(&mut peer);
        peer.send(RST, 0, &[]);
    });
    let Some(events) = events else { return };
    let task = |number| ('R', number, ASKED, ANSWERED, 0);
    assert_eq!(lines(&events), [task(1), task(2), ('E', 2, 2 * ASKED, 2 * ANSWERED, 0)]);
    assert!(events[0].receive_us < PAUSE_US, "{events:#?}");
}

#[test]
fn root_probes_are_no_tasks() {
    let _alone = alone();
    let events = told(1, Duration::ZERO, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        // a keepalive, without and with its byte (RFC 9293, 3.8.4)
        peer.send(ACK, -1, &[]);
        peer.send(ACK, -1, b"k");
        ask(&mut peer);
        thread::sleep(PAUSE);
        peer.send(ACK, -1, &[]);
        peer.send(ACK, -1, b"k");
        thread::sleep(PAUSE);
        ask(&mut peer);
        peer.send(RST, 0, &[]);
    });
    let Some(events) = events else { return };
    let task = |number| ('R', number, ASKED, ANSWERED, 0);
    assert_eq!(lines(&events), [task(1), task(2), ('E', 2, 2 * ASKED, 2 * ANSWERED, 0)]);
    assert!(events[0].total_us < PAUSE_US && events[1].receive_us < PAUSE_US, "{events:#?}");
}

#[test]
fn root_the_same_ports_again_at_once_are_another_connection() {
    let _alone = alone();
    let events = told(3, Duration::ZERO, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        ask(&mut peer);
        ask(&mut peer);
        peer.send(RST, 0, &[]);
        // with the handshake's last segment comes the request
        let mut peer = wire.connect(CLIENT, PORT, FIRST / 2, &request());
        peer.await_bytes(RESPONSE);
        peer.acknowledge(RESPONSE);
        // both sides close, and the last of it is acknowledged
        peer.send(FIN | ACK, 0, &[]);
        peer.next = peer.next.wrapping_add(1);
        let fin = std::iter::from_fn(|| wire.receive(CLIENT, Duration::from_secs(5)));
        assert!(fin.into_iter().any(|segment| segment.flags & FIN != 0));
        peer.acknowledge(1);
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        ask(&mut peer);
        peer.send(RST, 0, &[]);
    });
    let Some(events) = events else { return };
    let task = |number| ('R', number, ASKED, ANSWERED, 0);
    let end = |tasks: u32| ('E', tasks, u64::from(tasks) * ASKED, u64::from(tasks) * ANSWERED, 0);
    assert_eq!(lines(&events), [task(1), task(2), end(2), task(1), end(1), task(1), end(1)]);
    assert!(events.iter().all(|event| !event.joined && event.peer.port() == CLIENT), "{events:#?}");
}

#[test]
fn root_what_the_peer_has_no_room_for_waits() {
    let _alone = alone();
    // of those who do not say (RFC 9293, 3.7.1)
    const SEGMENT: u32 = 536;
    let events = told(1, Duration::ZERO, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        peer.window = SEGMENT as u16;
        peer.write(&request());
        peer.await_bytes(SEGMENT);
        thread::sleep(PAUSE);
        // the rest is sent, and acknowledged in two
        peer.acknowledge(SEGMENT);
        peer.await_bytes(RESPONSE - SEGMENT);
        thread::sleep(PAUSE);
        peer.acknowledge(100);
        thread::sleep(PAUSE);
        peer.acknowledge(RESPONSE - SEGMENT - 100);
        // and it closes with the rest of the second answer unsent
        peer.write(&request());
        peer.await_bytes(SEGMENT);
        thread::sleep(PAUSE);
        peer.send(RST | ACK, 0, &[]);
    });
    let Some(events) = events else { return };
    let sent = u64::from(SEGMENT);
    assert_eq!(
        lines(&events),
        [
            ('R', 1, ASKED, ANSWERED, 0),
            // what was not sent is not acknowledged
            ('W', 2, ASKED, sent, ANSWERED),
            ('E', 2, 2 * ASKED, ANSWERED + sent, ANSWERED)
        ]
    );
    let download = events[0].total_us - events[0].service_us - events[0].receive_us;
    assert!((3 * PAUSE_US..4 * PAUSE_US).contains(&download), "{:?}", events[0]);
    assert!(events[0].service_us < PAUSE_US / 2, "{:?}", events[0]);
}

#[test]
fn root_the_next_request_before_the_answer_is_acknowledged() {
    let _alone = alone();
    let events = told(1, Duration::ZERO, |wire| {
        let mut peer = wire.connect(CLIENT, PORT, FIRST, &[]);
        peer.write(&request());
        peer.await_bytes(RESPONSE);
        thread::sleep(PAUSE);
        // it acknowledges only half
        peer.expected = peer.expected.wrapping_add(RESPONSE / 2);
        peer.write(&request());
        peer.await_bytes(RESPONSE / 2 + RESPONSE);
        peer.acknowledge(RESPONSE / 2 + RESPONSE);
        thread::sleep(PAUSE);
        peer.send(RST, 0, &[]);
    });
    let Some(events) = events else { return };
    let task = |number| ('R', number, ASKED, ANSWERED, 0);
    assert_eq!(lines(&events), [task(1), task(2), ('E', 2, 2 * ASKED, 2 * ANSWERED, 0)]);
    // until it came
    assert!((PAUSE_US..2 * PAUSE_US).contains(&events[0].total_us), "{:?}", events[0]);
    assert!(events[1].total_us < PAUSE_US, "{:?}", events[1]);
}
