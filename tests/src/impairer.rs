//! A bad network between two network namespaces, in the test's own process: what leaves one's device waits, is lost, comes twice
//! or overtakes, and enters the other's. Works where the kernel has TUN devices, without netem.
//!
//! ```no_run
//! use std::time::Duration;
//! use lcc_tests::impairer::{Impairer, Impairment, LEFT_V4, RIGHT_V4};
//! use lcc_tests::netns::Namespace;
//!
//! let (left, right) = (Namespace::new(), Namespace::new());
//! let bad = Impairment { delay: Duration::from_millis(25), loss: 0.01, seed: 1, ..Impairment::default() };
//! let impairer = Impairer::between(&left, &right, bad, Impairment { seed: 2, ..bad });
//! let server = right.inside(|| std::net::TcpListener::bind((RIGHT_V4, 80))).unwrap();
//! let client = left.inside(|| std::net::TcpStream::connect((RIGHT_V4, 80))).unwrap();
//! println!("{:?}", impairer.counts());
//! # drop((server, client, LEFT_V4));
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::netns::Namespace;

/// The left namespace's address.
pub const LEFT_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The right namespace's address.
pub const RIGHT_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The left namespace's address.
pub const LEFT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// The right namespace's address.
pub const RIGHT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// The device's name in both namespaces.
pub const DEVICE: &str = "wire";

/// Decides what becomes of a packet, which begins with its IP header and may be changed: a copy arrives after each of the
/// durations, none if there are none.
pub trait Fate: Send + 'static {
    /// Of the next packet.
    fn of(&mut self, packet: &mut Vec<u8>) -> Vec<Duration>;
}

impl<F: FnMut(&mut Vec<u8>) -> Vec<Duration> + Send + 'static> Fate for F {
    fn of(&mut self, packet: &mut Vec<u8>) -> Vec<Duration> {
        self(packet)
    }
}

/// What happens to packets of one direction. The same seed gives the same fates. By default nothing happens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// How long each takes.
    pub delay: Duration,
    /// How much longer at most, evenly spread. Packets overtake each other by it.
    pub jitter: Duration,
    /// The share that is lost, 0.0 to 1.0.
    pub loss: f64,
    /// The share that comes twice.
    pub duplicate: f64,
    /// The share that does not wait, so that it overtakes those before it.
    pub reorder: f64,
    /// Of the random numbers.
    pub seed: u64,
}

impl Impairment {
    /// The fates of packets by it, for those who look at the packets too.
    pub fn fates(self) -> impl Fate {
        Random { impairment: self, state: self.seed }
    }
}

/// [`Impairment`], with its random numbers (splitmix64).
struct Random {
    impairment: Impairment,
    state: u64,
}

impl Random {
    /// 0.0 to below 1.0.
    fn next(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Fate for Random {
    fn of(&mut self, _packet: &mut Vec<u8>) -> Vec<Duration> {
        let Impairment { delay, jitter, loss, duplicate, reorder, .. } = self.impairment;
        let (lost, twice, overtakes, longer) =
            (self.next() < loss, self.next() < duplicate, self.next() < reorder, self.next());
        let delay = if overtakes { Duration::ZERO } else { delay + jitter.mul_f64(longer) };
        vec![delay; usize::from(!lost) * (1 + usize::from(twice))]
    }
}

/// Packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Left the one namespace.
    pub sent: u64,
    /// Were dropped.
    pub lost: u64,
    /// Entered the other namespace; copies count.
    pub delivered: u64,
}

/// One way of the wire.
struct Way {
    fate: Mutex<Box<dyn Fate>>,
    /// To the receiving namespace.
    to: Arc<File>,
    sent: AtomicU64,
    lost: AtomicU64,
    delivered: AtomicU64,
}

/// The network between two namespaces. It ends when this is dropped, and its devices with it.
pub struct Impairer {
    to_right: Arc<Way>,
    to_left: Arc<Way>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Impairer {
    /// Connects two namespaces by [`LEFT_V4`], [`RIGHT_V4`] and the same of IPv6, with an MTU of 1500.
    ///
    /// # Panics
    /// Not root, no TUN devices, or no `ip`.
    pub fn between(left: &Namespace, right: &Namespace, to_right: Impairment, to_left: Impairment) -> Self {
        Self::with(left, right, to_right.fates(), to_left.fates())
    }

    /// The same, with a fate of your own for each packet.
    ///
    /// # Panics
    /// As [`Impairer::between`].
    pub fn with(left: &Namespace, right: &Namespace, to_right: impl Fate, to_left: impl Fate) -> Self {
        let at_left = Arc::new(device(left, LEFT_V4, LEFT_V6));
        let at_right = Arc::new(device(right, RIGHT_V4, RIGHT_V6));
        let way = |fate: Box<dyn Fate>, to: &Arc<File>| {
            let none = AtomicU64::default;
            Arc::new(Way { fate: Mutex::new(fate), to: Arc::clone(to), sent: none(), lost: none(), delivered: none() })
        };
        let (to_right, to_left) = (way(Box::new(to_right), &at_right), way(Box::new(to_left), &at_left));
        let ended = Arc::new(AtomicBool::new(false));
        let threads = [(at_left, &to_right), (at_right, &to_left)].map(|(from, way)| {
            let (way, ended) = (Arc::clone(way), Arc::clone(&ended));
            std::thread::spawn(move || forward(&from, &way, &ended))
        });
        Impairer { to_right, to_left, ended, threads: threads.into() }
    }

    /// From now on, other fates of what goes to the right and to the left. What is on its way keeps its own.
    pub fn change(&self, to_right: Impairment, to_left: Impairment) {
        for (way, impairment) in [(&self.to_right, to_right), (&self.to_left, to_left)] {
            *way.fate.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(impairment.fates());
        }
    }

    /// Puts a packet, which begins with its IP header, into the right namespace as if the left had sent it.
    ///
    /// # Errors
    /// The device does not take it.
    pub fn inject_right(&self, packet: &[u8]) -> std::io::Result<()> {
        (&*self.to_right.to).write_all(packet)
    }

    /// The same, to the left.
    ///
    /// # Errors
    /// The device does not take it.
    pub fn inject_left(&self, packet: &[u8]) -> std::io::Result<()> {
        (&*self.to_left.to).write_all(packet)
    }

    /// To the right, and to the left.
    pub fn counts(&self) -> (Counts, Counts) {
        let of = |way: &Way| Counts {
            sent: way.sent.load(Ordering::Relaxed),
            lost: way.lost.load(Ordering::Relaxed),
            delivered: way.delivered.load(Ordering::Relaxed),
        };
        (of(&self.to_right), of(&self.to_left))
    }
}

impl Drop for Impairer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A TUN device in the namespace, up, with these addresses.
pub(crate) fn device(namespace: &Namespace, v4: Ipv4Addr, v6: Ipv6Addr) -> File {
    let file = namespace.inside(|| {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
        let file = file.expect("/dev/net/tun");
        // SAFETY: ifreq is a C struct of integers and bytes, for which all zeros is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: the request is a live ifreq, which is what TUNSETIFF reads and writes.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) };
        assert_eq!(made, 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
        file
    });
    let ip = |args: &str| namespace.run(Command::new("ip").args(args.split(' ')));
    // no packets but those of the test
    ip(&format!("link set {DEVICE} addrgenmode none"));
    ip(&format!("link set {DEVICE} txqueuelen 10000 up"));
    ip(&format!("addr add {v4}/24 dev {DEVICE}"));
    ip(&format!("addr add {v6}/64 dev {DEVICE} nodad"));
    file
}

/// Until the end: what comes from one device goes to the other.
fn forward(from: &File, way: &Way, ended: &AtomicBool) {
    /// How long the end may take.
    const WAIT: Duration = Duration::from_millis(20);
    let mut waiting: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut buffer = vec![0; 65_536];
    let mut number = 0;
    while !ended.load(Ordering::Relaxed) {
        while let Ok(length) = (&*from).read(&mut buffer) {
            let now = Instant::now();
            let mut packet = buffer[..length].to_vec();
            way.sent.fetch_add(1, Ordering::Relaxed);
            let delays = way.fate.lock().unwrap_or_else(PoisonError::into_inner).of(&mut packet);
            if delays.is_empty() {
                way.lost.fetch_add(1, Ordering::Relaxed);
            }
            for delay in delays {
                // of those that are due at once, the first goes first
                number += 1;
                waiting.push(Reverse((now + delay, number, packet.clone())));
            }
        }
        while let Some(Reverse((due, ..))) = waiting.peek() {
            if *due > Instant::now() {
                break;
            }
            let Some(Reverse((.., packet))) = waiting.pop() else { break };
            // a device that is down takes none
            if (&*way.to).write_all(&packet).is_ok() {
                way.delivered.fetch_add(1, Ordering::Relaxed);
            }
        }
        let next = waiting.peek().map_or(WAIT, |Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        let next = next.min(WAIT);
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(next.subsec_nanos()) };
        let _ = poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&timeout));
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[track_caller]
    fn check(impairment: Impairment, expected: impl Fn(&[Vec<Duration>]) -> bool) {
        let fates = || {
            let mut random = impairment.fates();
            (0..10_000).map(|_| random.of(&mut Vec::new())).collect::<Vec<_>>()
        };
        assert!(expected(&fates()), "{impairment:?}");
        assert_eq!(fates(), fates());
    }

    #[test]
    fn fates_are_those_asked_for() {
        let share = |fates: &[Vec<Duration>], copies: usize| {
            fates.iter().filter(|fate| fate.len() == copies).count() as f64 / fates.len() as f64
        };
        let near = |found: f64, wanted: f64| (found - wanted).abs() < 0.02;
        check(Impairment::default(), |fates| fates.iter().all(|fate| fate == &[Duration::ZERO]));
        check(Impairment { loss: 0.1, ..Impairment::default() }, |fates| near(share(fates, 0), 0.1));
        check(Impairment { duplicate: 0.3, seed: 7, ..Impairment::default() }, |fates| near(share(fates, 2), 0.3));
        let delay = Duration::from_millis(50);
        check(Impairment { delay, reorder: 0.2, ..Impairment::default() }, |fates| {
            near(fates.iter().filter(|fate| fate[0] == Duration::ZERO).count() as f64 / fates.len() as f64, 0.2)
        });
        let jitter = Duration::from_millis(10);
        check(Impairment { delay, jitter, ..Impairment::default() }, |fates| {
            let mean = fates.iter().map(|fate| fate[0].as_secs_f64()).sum::<f64>() / fates.len() as f64;
            fates.iter().all(|fate| fate[0] >= delay && fate[0] < delay + jitter) && (mean - 0.055).abs() < 0.001
        });
    }

    #[test]
    fn root_packets_wait_and_come_as_often_as_they_are_to() {
        if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/net/tun").exists() {
            crate::skip("needs root, and TUN devices");
            return;
        }
        let (left, right) = (Namespace::new(), Namespace::new());
        let delay = Duration::from_millis(30);
        let twice = Impairment { delay, duplicate: 1.0, ..Impairment::default() };
        let impairer = Impairer::between(&left, &right, twice, Impairment { loss: 1.0, ..Impairment::default() });
        let server = right.inside(|| UdpSocket::bind((RIGHT_V4, 7000))).unwrap();
        let client = left.inside(|| UdpSocket::bind((LEFT_V4, 7000))).unwrap();
        let begin = Instant::now();
        client.send_to(b"hello", (RIGHT_V4, 7000)).unwrap();
        for _ in 0..2 {
            let mut buffer = [0; 16];
            assert_eq!(server.recv_from(&mut buffer).unwrap(), (5, (LEFT_V4, 7000).into()));
        }
        let took = begin.elapsed();
        assert!(took >= delay && took < delay * 3, "{took:?}");
        client.set_read_timeout(Some(delay)).unwrap();
        server.send_to(b"lost", (LEFT_V4, 7000)).unwrap();
        client.recv_from(&mut [0; 16]).unwrap_err();
        let (to_right, to_left) = impairer.counts();
        assert_eq!(to_right, Counts { sent: 1, lost: 0, delivered: 2 });
        assert_eq!(to_left, Counts { sent: 1, lost: 1, delivered: 0 });
        // and by IPv6, without anything
        impairer.change(Impairment::default(), Impairment::default());
        let server = right.inside(|| UdpSocket::bind((RIGHT_V6, 7000))).unwrap();
        let client = left.inside(|| UdpSocket::bind((LEFT_V6, 7000))).unwrap();
        client.send_to(b"hello", (RIGHT_V6, 7000)).unwrap();
        assert_eq!(server.recv_from(&mut [0; 16]).unwrap(), (5, (LEFT_V6, 7000).into()));
    }
}
