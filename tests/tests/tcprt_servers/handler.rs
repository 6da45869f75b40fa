//! A server of our own, which knows how long each of its handlers took.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use lcc_tests::server::{free_port, prefer};
use tcprt::Kind;

use crate::{alone, at, check_service, object, observe};

const REQUEST: [u8; 200] = [b'q'; 200];
const RESPONSE: [u8; 1000] = [b'r'; 1000];

#[test]
fn root_handlers_that_sleep_are_measured_within_a_hundred_microseconds() {
    let _alone = alone();
    let Some(object) = object() else { return };
    for (sleep, times) in [(0, 500), (1, 200), (10, 50), (100, 10)] {
        check_service(&format!("a handler that sleeps {sleep} ms"), || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
            let address = listener.local_addr().unwrap();
            let (seen, own) = observe(object, &at(address.port()), || {
                let server = thread::spawn(move || serve(&listener, Duration::from_millis(sleep), times));
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                for _ in 0..times {
                    stream.write_all(&REQUEST).unwrap();
                    stream.read_exact(&mut [0; RESPONSE.len()]).unwrap();
                }
                drop(stream);
                server.join().unwrap()
            });
            assert_eq!((seen.count(Kind::Request), seen.lost), (times, 0), "{}", seen.summary());
            let bytes = (REQUEST.len() * times, RESPONSE.len() * times);
            assert_eq!(seen.bytes(), (bytes.0 as u64, bytes.1 as u64));
            let measured: Vec<f64> = seen.of(Kind::Request).map(|event| event.service_us as f64).collect();
            assert!(measured.iter().all(|&measured| measured >= sleep as f64 * 1000.0));
            (measured, own)
        });
    }
}

/// Answers so many requests on one connection, and gives how long each handler took, in microseconds.
fn serve(listener: &TcpListener, sleep: Duration, times: usize) -> Vec<f64> {
    prefer(None);
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    let mut own = Vec::new();
    for _ in 0..times {
        peer.read_exact(&mut [0; REQUEST.len()]).unwrap();
        let begin = Instant::now();
        thread::sleep(sleep);
        own.push(begin.elapsed().as_secs_f64() * 1e6);
        peer.write_all(&RESPONSE).unwrap();
    }
    own
}
