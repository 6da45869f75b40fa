//! tcprt on the running kernel against real servers: nginx, redis and PostgreSQL, asked by the clients that measure them. What is
//! counted, in tasks and bytes, is what they count themselves, and times are those of their own logs. Also behind a bad network,
//! and against a peer that sends what no kernel would.
//!
//! As root. `LCC_REQUESTS` says how many requests, 10,000 unless given.

mod handler;
mod network;
mod nginx;
mod postgres;
mod redis;
mod segments;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use btf::object_file::ObjectFile;
use lcc_tests::may_load;
use loader::Options;
use loader::choose::{Places, choose};
use tcprt::{Config, Event, Kind};

/// One after the other: they share the machine, and time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The object; `None`, said, where it cannot be loaded here.
fn object() -> Option<&'static [u8]> {
    may_load().then_some(tcprt::OBJECT)
}

/// How many requests a client is to make.
fn requests() -> usize {
    std::env::var("LCC_REQUESTS").map_or(10_000, |requests| requests.parse().expect("LCC_REQUESTS, a number"))
}

/// What tcprt told while something was done.
struct Seen {
    events: Vec<Event>,
    lost: u64,
}

impl Seen {
    fn of(&self, kind: Kind) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }

    fn count(&self, kind: Kind) -> usize {
        self.of(kind).count()
    }

    /// In letters, for messages.
    fn summary(&self) -> String {
        let letters = [Kind::Request, Kind::ClosedWhileSending, Kind::ClosedWhileReceiving, Kind::End, Kind::Peer];
        let counts = letters.map(|kind| format!("{} {}", kind.letter(), self.count(kind)));
        format!("{}, lost {}", counts.join(", "), self.lost)
    }

    /// Of all tasks, answered or not: received and sent.
    fn bytes(&self) -> (u64, u64) {
        let tasks = self.events.iter().filter(|event| event.kind != Kind::End);
        tasks.fold((0, 0), |(received, sent), event| (received + event.received_bytes, sent + event.sent_bytes))
    }
}

/// Measures what is configured while `act` acts, and until nothing more is told.
fn observe<T: Send>(object: &[u8], config: &Config, act: impl FnOnce() -> T + Send) -> (Seen, T) {
    observe_with(object, config, None, act)
}

/// The same, with room for so many events on each processor.
fn observe_with<T: Send>(
    object: &[u8],
    config: &Config,
    slots: Option<u32>,
    act: impl FnOnce() -> T + Send,
) -> (Seen, T) {
    const QUIET: Duration = Duration::from_millis(300);
    let parsed = ObjectFile::parse("tcprt.o", object).unwrap();
    let facts = loader::probe_for(Path::new("/"), &parsed);
    let chosen = choose(&parsed, &facts, &Places::here()).unwrap();
    let mut options = Options::default();
    options.config = config.bytes().unwrap().to_vec();
    options.hints.unwanted = config.mode.unwanted().collect();
    options.map_entries.extend(slots.map(|slots| ("events".to_owned(), slots)));
    let session = loader::load("tcprt.o", object, &facts, chosen.btf.as_ref(), &options).unwrap();
    let mut events = Vec::new();
    let listener = session.listen(|event| events.push(Event::parse(event.bytes).unwrap())).unwrap();
    let done = thread::scope(|scope| {
        let acting = scope.spawn(act);
        while !acting.is_finished() {
            listener.poll(Duration::from_millis(10)).unwrap();
        }
        acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let mut last = Instant::now();
    while last.elapsed() < QUIET {
        if listener.poll(Duration::from_millis(50)).unwrap() > 0 {
            last = Instant::now();
        }
    }
    let lost = listener.lost().unwrap().values().sum();
    drop(listener);
    (Seen { events, lost }, done)
}

/// A server's connections.
fn at(port: u16) -> Config {
    Config { local: vec![port..=port], ..Config::default() }
}

/// The middle one of them.
fn median(mut all: Vec<f64>) -> f64 {
    assert!(!all.is_empty());
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// At the median, what tcprt measured is what the server did, within 100 us; both in microseconds, of the same tasks. What else
/// runs on the machine takes its time between the two: three times it may be tried.
#[track_caller]
fn check_service(of: &str, mut measure: impl FnMut() -> (Vec<f64>, Vec<f64>)) {
    let mut told = Vec::new();
    for _ in 0..3 {
        let (measured, own) = measure();
        assert_eq!(measured.len(), own.len(), "{of}");
        let differences = measured.iter().zip(&own).map(|(measured, own)| measured - own).collect();
        let (differs, measured, own) = (median(differences), median(measured), median(own));
        told.push(format!(
            "{of}: service {measured:.0} us, its own log {own:.0} us, each {differs:+.0} us at the median"
        ));
        if differs.abs() <= 100.0 {
            eprintln!("{}", told.join("\n"));
            return;
        }
    }
    panic!("{}", told.join("\n"));
}
