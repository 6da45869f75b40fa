//! A TCP peer that is no kernel: it sends what segments a test wants, when it wants, and acknowledges what it wants, over a TUN
//! device, to a server in a network namespace.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::impairer::{LEFT_V4, RIGHT_V4, RIGHT_V6, device};
use crate::netns::Namespace;

/// Flags of a segment (RFC 9293, 3.1).
pub const FIN: u8 = 1;
/// Opens a connection.
pub const SYN: u8 = 2;
/// Ends it at once.
pub const RST: u8 = 4;
/// Is to be handed on at once.
pub const PSH: u8 = 8;
/// The acknowledgement counts.
pub const ACK: u8 = 16;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A namespace of servers at [`RIGHT_V4`], whose network is this process, at [`LEFT_V4`].
pub struct Wire {
    /// Where servers listen.
    pub namespace: Namespace,
    tun: File,
}

/// A segment, without what has no part in tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The sender's port.
    pub from: u16,
    /// The receiver's port.
    pub to: u16,
    /// Number of its first byte.
    pub sequence: u32,
    /// Number of the byte that is expected next.
    pub acknowledges: u32,
    /// [`SYN`] and the like.
    pub flags: u8,
    /// Bytes that may be sent.
    pub window: u16,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its checksum is wrong.
    pub is_damaged: bool,
}

impl Segment {
    /// The packet, from its IP header on.
    pub fn packet(&self) -> Vec<u8> {
        let mut tcp = Vec::with_capacity(20 + self.data.len());
        tcp.extend(self.from.to_be_bytes());
        tcp.extend(self.to.to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledges.to_be_bytes());
        tcp.extend([5 << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(&self.data);
        let length = tcp.len() as u16;
        let addresses = [LEFT_V4.octets(), RIGHT_V4.octets()].concat();
        let sum = checksum(&[&addresses, &[0, 6], &length.to_be_bytes(), &tcp]) ^ u16::from(self.is_damaged);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());

        let mut ip = vec![0x45, 0];
        ip.extend((20 + length).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        ip.extend(addresses);
        let sum = checksum(&[&ip]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [ip, tcp].concat()
    }

    /// Of a packet of IPv4; `None` where it is none of TCP.
    pub fn parse(packet: &[u8]) -> Option<Segment> {
        let ip = usize::from(packet.first()? & 0xf) * 4;
        let whole = packet.get(..usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?])))?;
        let tcp = whole.get(ip..)?;
        if packet[0] >> 4 != 4 || packet.get(9) != Some(&6) || tcp.len() < 20 {
            return None;
        }
        let u16 = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let u32 = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        Some(Segment {
            from: u16(0),
            to: u16(2),
            sequence: u32(4),
            acknowledges: u32(8),
            flags: tcp[13],
            window: u16(14),
            data: tcp.get(usize::from(tcp[12] >> 4) * 4..)?.to_vec(),
            is_damaged: false,
        })
    }
}

/// The internet checksum (RFC 1071) of parts of which all but the last have even lengths.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let word = |chunk: &[u8]| u32::from(u16::from_be_bytes([chunk[0], chunk.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

impl Wire {
    /// A new one.
    ///
    /// # Panics
    /// Not root, no TUN devices, or no `ip`.
    #[expect(clippy::new_without_default, reason = "it makes a thing of the kernel")]
    pub fn new() -> Self {
        let namespace = Namespace::new();
        let tun = device(&namespace, RIGHT_V4, RIGHT_V6);
        Wire { namespace, tun }
    }

    /// Sends a segment.
    ///
    /// # Panics
    /// The device does not take it.
    pub fn send(&self, segment: &Segment) {
        (&self.tun).write_all(&segment.packet()).expect("sending");
    }

    /// The next segment to that port, within that time.
    pub fn receive(&self, to: u16, within: Duration) -> Option<Segment> {
        let end = Instant::now() + within;
        let mut buffer = vec![0; 65_536];
        loop {
            while let Ok(length) = (&self.tun).read(&mut buffer) {
                if let Some(segment) = Segment::parse(&buffer[..length]).filter(|segment| segment.to == to) {
                    return Some(segment);
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let _ = poll(&mut [PollFd::new(&self.tun, PollFlags::IN)], Some(&timeout));
        }
    }

    /// Opens a connection from a port to a port, with `first` as the number of its SYN; `data` comes with the handshake's last
    /// segment.
    ///
    /// # Panics
    /// Nobody answers, or otherwise than with SYN and ACK.
    pub fn connect(&self, from: u16, to: u16, first: u32, data: &[u8]) -> Peer<'_> {
        let mut peer = Peer { wire: self, from, to, next: first, expected: 0, window: 65_535 };
        peer.send(SYN, 0, &[]);
        let answer = self.receive(from, PATIENCE).expect("an answer to the SYN");
        assert_eq!(answer.flags & (SYN | ACK | RST), SYN | ACK, "{answer:?}");
        (peer.next, peer.expected) = (first.wrapping_add(1), answer.sequence.wrapping_add(1));
        peer.send(ACK, 0, data);
        peer.next = peer.next.wrapping_add(data.len() as u32);
        peer
    }
}

/// One end of a connection.
pub struct Peer<'w> {
    wire: &'w Wire,
    /// Its port, and the server's.
    pub from: u16,
    to: u16,
    /// The number of what it sends next.
    pub next: u32,
    /// The number of what it acknowledges: all before it.
    pub expected: u32,
    /// What it says that it has room for.
    pub window: u16,
}

impl Peer<'_> {
    /// Sends a segment whose first byte is `ahead` of what it sends next, which does not move.
    pub fn send(&self, flags: u8, ahead: i32, data: &[u8]) {
        self.wire.send(&self.segment(flags, ahead, data));
    }

    /// What [`Peer::send`] sends.
    pub fn segment(&self, flags: u8, ahead: i32, data: &[u8]) -> Segment {
        Segment {
            from: self.from,
            to: self.to,
            sequence: self.next.wrapping_add_signed(ahead),
            acknowledges: self.expected,
            flags,
            window: self.window,
            data: data.to_vec(),
            is_damaged: false,
        }
    }

    /// Sends what is next.
    pub fn write(&mut self, data: &[u8]) {
        self.send(ACK | PSH, 0, data);
        self.next = self.next.wrapping_add(data.len() as u32);
    }

    /// Waits for so many bytes from the server, which are not acknowledged: that does [`Peer::acknowledge`].
    ///
    /// # Panics
    /// They do not come.
    pub fn await_bytes(&self, count: u32) {
        let all = self.expected.wrapping_add(count);
        while let Some(segment) = self.wire.receive(self.from, PATIENCE) {
            if segment.sequence.wrapping_add(segment.data.len() as u32) == all && !segment.data.is_empty() {
                return;
            }
        }
        panic!("{count} bytes did not come");
    }

    /// Acknowledges so many bytes more.
    pub fn acknowledge(&mut self, count: u32) {
        self.expected = self.expected.wrapping_add(count);
        self.send(ACK, 0, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read_as_they_are_written() {
        let segment = Segment {
            from: 40_000,
            to: 80,
            sequence: 0xffff_fff0,
            acknowledges: 7,
            flags: ACK | PSH,
            window: 1000,
            data: b"abc".to_vec(),
            is_damaged: false,
        };
        let packet = segment.packet();
        assert_eq!(Segment::parse(&packet), Some(segment));
        // with the checksum inside, the sum is none (RFC 1071)
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let pseudo = [&packet[12..20], &[0, 6, 0, 23]].concat();
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        assert_eq!(Segment::parse(&packet[..30]), None);
        assert_eq!(Segment::parse(&[]), None);
    }
}
