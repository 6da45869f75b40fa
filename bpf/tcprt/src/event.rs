//! `struct tcprt_event` of `bpf/tcprt/tcprt.h`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What an event tells: the letters of the vendor's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A server's task: answered, and the answer acknowledged.
    Request,
    /// A server's task: the connection was closed before all of the answer was acknowledged.
    ClosedWhileSending,
    /// A server's task: the connection was closed before the answer began.
    ClosedWhileReceiving,
    /// A server's connection is over, after at least one task.
    End,
    /// A client's task.
    Peer,
}

impl Kind {
    /// R, W, N, E or P.
    pub fn letter(self) -> char {
        match self {
            Kind::Request => 'R',
            Kind::ClosedWhileSending => 'W',
            Kind::ClosedWhileReceiving => 'N',
            Kind::End => 'E',
            Kind::Peer => 'P',
        }
    }

    pub(crate) fn of(letter: u8) -> Option<Kind> {
        Some(match letter {
            b'R' => Kind::Request,
            b'W' => Kind::ClosedWhileSending,
            b'N' => Kind::ClosedWhileReceiving,
            b'E' => Kind::End,
            b'P' => Kind::Peer,
            _ => return None,
        })
    }
}

/// What a task took, or what became of a connection.
///
/// Which times and bytes these are depends on the kind: `struct tcprt_event` says it, member by member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it tells.
    pub kind: Kind,
    /// When the task, or the connection, began: nanoseconds of the monotonic clock.
    pub start_ns: u64,
    /// Microseconds that the task or the connection lasted.
    pub total_us: u64,
    /// Microseconds from the first to the last packet of what was received.
    pub receive_us: u64,
    /// Microseconds from the request's last packet to the response's first.
    pub service_us: u64,
    /// Bytes of payload.
    pub sent_bytes: u64,
    /// Bytes of payload.
    pub received_bytes: u64,
    /// Bytes that the peer did not acknowledge.
    pub unacknowledged_bytes: u64,
    /// The smallest round trip time of the connection, microseconds; 0 where the kernel knows none.
    pub min_rtt_us: u32,
    /// Segments that were sent again.
    pub retransmissions: u32,
    /// Number of the task on its connection, from 1 on.
    pub task: u32,
    /// The largest segment, bytes of payload.
    pub mss: u32,
    /// The own side.
    pub local: SocketAddr,
    /// The other side.
    pub peer: SocketAddr,
    /// Part of the task came out of order.
    pub reordered: bool,
    /// The connection is older than its observation: its first task may be cut off, and its side is a guess. Or, of a task, the kernel
    /// has left out a program's call, and a time is later than it was.
    pub joined: bool,
    /// The socket's control group: its id, the inode number of its folder; 0 where it has none, or is not known.
    pub cgroup: u64,
    /// The network namespace, by its inode number; 0 where it is not known.
    pub netns: u32,
    /// The process that first read from the socket since the connection is observed; 0 where none did.
    pub pid: u32,
    /// What the process is called.
    pub comm: Text<16>,
    /// The status of an HTTP response; 0 where there is none.
    pub status: u16,
    /// What the task was recognised as.
    pub protocol: Protocol,
    /// The begin of an HTTP request: its first line, and more or less of it.
    pub request: Text<92>,
}

/// What a task was recognised as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// It was not looked at.
    #[default]
    Any,
    /// HTTP/1.
    Http,
    /// TLS.
    Tls,
}

/// Bytes that are text as a rule: up to `N`, filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> Text<N> {
    /// The bytes before the first zero.
    pub fn bytes(&self) -> &[u8] {
        let length = self.0.iter().position(|&byte| byte == 0).unwrap_or(N);
        &self.0[..length]
    }

    /// Makes `out` what is shown of it: what is no UTF-8, and what would move a terminal's cursor, as U+FFFD.
    pub(crate) fn show(&self, out: &mut String) {
        let is_plain = is_plain(&self.0);
        let was = out.as_bytes();
        let is_begin = self.0.starts_with(was) && self.0.get(was.len()).is_none_or(|&byte| byte == 0);
        if is_plain && is_begin && !was.contains(&0) {
            return;
        }
        let bytes = self.bytes();
        out.clear();
        match std::str::from_utf8(bytes) {
            Ok(text) if is_plain => out.push_str(text),
            _ => {
                let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
                out.extend(String::from_utf8_lossy(bytes).chars().map(shown));
            }
        }
    }
}

/// Whether all are zero or ASCII that is printed.
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = bytes.as_chunks();
    let is_plain = words.iter().all(|word| {
        let word = u64::from_ne_bytes(*word);
        // the highest bit of each byte: not ASCII, or not below 1, not below b' ', not below 0x7f
        let not_below = |limit: u64| word.wrapping_add((0x80 - limit) * ONES);
        let strange = not_below(1) & !not_below(0x20) | not_below(0x7f);
        (word | strange) & (0x80 * ONES) == 0
    });
    is_plain && rest.iter().all(|byte| matches!(byte, 0 | b' '..=b'~'))
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text([0; N])
    }
}

/// What is no UTF-8, and what would move a terminal's cursor, is shown as U+FFFD.
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.show(&mut text);
        f.write_str(&text)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Why bytes are no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// There are not enough of them. (A perf buffer may have more than were sent.)
    #[error("an event of {found} bytes, expected {}", Event::SIZE)]
    Short {
        /// How many there are.
        found: usize,
    },
    /// A kind that is not known.
    #[error("an event of kind {found:#04x}")]
    Kind {
        /// The byte at its place.
        found: u8,
    },
}

impl Event {
    /// Bytes of `struct tcprt_event`.
    pub const SIZE: usize = 240;

    /// Reads what the object sent, in this machine's byte order.
    ///
    /// # Errors
    /// Too few bytes, or an unknown kind.
    pub fn parse(bytes: &[u8]) -> Result<Event, ParseError> {
        let short = ParseError::Short { found: bytes.len() };
        let bytes: &[u8; Event::SIZE] = bytes.first_chunk().ok_or(short)?;
        let letter = field::<1>(bytes, KIND)[0];
        let flag = |bit| field::<1>(bytes, FLAGS)[0] & bit != 0;
        let u16 = |at| u16::from_ne_bytes(field(bytes, at));
        let u32 = |at| u32::from_ne_bytes(field(bytes, at));
        let u64 = |at| u64::from_ne_bytes(field(bytes, at));
        let end = |address, port| {
            let is_mapped = u64(address) == 0 && field(bytes, address + 8) == [0, 0, 0xff, 0xff];
            let address = match is_mapped {
                true => IpAddr::from(field::<4>(bytes, address + 12)),
                false => IpAddr::from(field::<16>(bytes, address)),
            };
            SocketAddr::new(address, u16(port))
        };
        Ok(Event {
            kind: Kind::of(letter).ok_or(ParseError::Kind { found: letter })?,
            start_ns: u64(START_NS),
            total_us: u64(TOTAL_US),
            receive_us: u64(RECEIVE_US),
            service_us: u64(SERVICE_US),
            sent_bytes: u64(SENT_BYTES),
            received_bytes: u64(RECEIVED_BYTES),
            unacknowledged_bytes: u64(UNACKNOWLEDGED_BYTES),
            min_rtt_us: u32(MIN_RTT_US),
            retransmissions: u32(RETRANSMISSIONS),
            task: u32(TASK),
            mss: u32(MSS),
            local: end(LOCAL, LOCAL_PORT),
            peer: end(PEER, PEER_PORT),
            reordered: flag(REORDERED),
            joined: flag(JOINED),
            cgroup: u64(CGROUP),
            netns: u32(NETNS),
            pid: u32(PID),
            comm: Text(field(bytes, COMM)),
            status: u16(STATUS),
            protocol: match field::<1>(bytes, PROTOCOL)[0] {
                1 => Protocol::Http,
                2 => Protocol::Tls,
                _ => Protocol::Any,
            },
            request: request(bytes),
        })
    }
}

// Byte offsets in struct tcprt_event; layout.rs holds them against the object.
pub(crate) const START_NS: usize = 0;
pub(crate) const TOTAL_US: usize = 8;
pub(crate) const RECEIVE_US: usize = 16;
pub(crate) const SERVICE_US: usize = 24;
pub(crate) const SENT_BYTES: usize = 32;
pub(crate) const RECEIVED_BYTES: usize = 40;
pub(crate) const UNACKNOWLEDGED_BYTES: usize = 48;
pub(crate) const MIN_RTT_US: usize = 56;
pub(crate) const RETRANSMISSIONS: usize = 60;
pub(crate) const TASK: usize = 64;
pub(crate) const MSS: usize = 68;
pub(crate) const LOCAL: usize = 72;
pub(crate) const PEER: usize = 88;
pub(crate) const LOCAL_PORT: usize = 104;
pub(crate) const PEER_PORT: usize = 106;
pub(crate) const KIND: usize = 110;
/// Two bits, counted as the machine's C does: from the lowest on little-endian ones.
pub(crate) const FLAGS: usize = 111;
pub(crate) const REORDERED: u8 = if cfg!(target_endian = "little") { 1 << 0 } else { 1 << 7 };
pub(crate) const JOINED: u8 = if cfg!(target_endian = "little") { 1 << 1 } else { 1 << 6 };

pub(crate) const CGROUP: usize = 112;
pub(crate) const NETNS: usize = 120;
pub(crate) const PID: usize = 124;
pub(crate) const COMM: usize = 128;
pub(crate) const STATUS: usize = 144;
pub(crate) const PROTOCOL: usize = 146;
pub(crate) const REQUEST_LENGTH: usize = 147;
pub(crate) const REQUEST: usize = 148;

/// The request's bytes that are filled.
fn request(bytes: &[u8; Event::SIZE]) -> Text<92> {
    let mut request = [0; 92];
    let length = usize::from(bytes[REQUEST_LENGTH]).min(request.len());
    request[..length].copy_from_slice(&bytes[REQUEST..REQUEST + length]);
    Text(request)
}

/// The field's bytes: its place is a constant inside of the struct.
fn field<const N: usize>(bytes: &[u8; Event::SIZE], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    /// The vendor's sample: 690 bytes sent, 3303 us, smallest round trip 2240 us, task 10, 24 us of service.
    fn sample(kind: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in [1_000_002_500u64, 3303, 15, 24, 690, 120, 7] {
            bytes.extend(value.to_ne_bytes());
        }
        for value in [2240u32, 2, 10, 1448] {
            bytes.extend(value.to_ne_bytes());
        }
        bytes.extend(std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets());
        bytes.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        for value in [80u16, 40000, 2] {
            bytes.extend(value.to_ne_bytes());
        }
        bytes.extend([kind, REORDERED]);
        bytes.extend(7777u64.to_ne_bytes());
        bytes.extend(4026531840u32.to_ne_bytes());
        bytes.extend(4321u32.to_ne_bytes());
        bytes.extend(*b"nginx\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend(404u16.to_ne_bytes());
        bytes.extend([1, 16]);
        // what is behind its length is older
        bytes.extend([&b"GET /a HTTP/1.1\r"[..], &[b'x'; 76]].concat());
        bytes
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        let bytes = sample(b'R');
        assert_eq!(bytes.len(), Event::SIZE);
        let mut padded = bytes.clone();
        padded.extend([0; 4]);
        assert_eq!(Event::parse(&padded), Event::parse(&bytes));
        let told = |bytes: &[u8]| Event::parse(bytes).unwrap_err().to_string();
        assert_eq!(told(&bytes[1..]), "an event of 239 bytes, expected 240");
        assert_eq!(told(&sample(b'X')), "an event of kind 0x58");
    }

    #[test]
    fn who_and_what_is_read() {
        let event = Event::parse(&sample(b'R')).unwrap();
        assert_eq!((event.cgroup, event.netns, event.pid, event.status), (7777, 4026531840, 4321, 404));
        assert_eq!(
            (event.comm.to_string(), event.request.to_string()),
            ("nginx".into(), "GET /a HTTP/1.1\u{fffd}".into())
        );
        assert_eq!(event.protocol, Protocol::Http);
    }

    #[test]
    fn ipv4_is_what_is_mapped() {
        for text in ["::ffff:10.0.0.1", "::10.0.0.1", "::fffe:10.0.0.1", "1::ffff:10.0.0.1", "::"] {
            let address: Ipv6Addr = text.parse().unwrap();
            let mut bytes = sample(b'R');
            bytes[LOCAL..][..16].copy_from_slice(&address.octets());
            let expected = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
            assert_eq!(Event::parse(&bytes).unwrap().local, SocketAddr::new(expected, 80));
        }
    }

    #[test]
    fn plain_is_what_is_printed() {
        for byte in 0..=255 {
            for at in 0..20 {
                let mut bytes = *b"a name of 20 letters";
                bytes[at] = byte;
                assert_eq!(is_plain(&bytes), matches!(byte, 0 | b' '..=b'~'), "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_name_is_shown_whatever_was_there() {
        for (name, expected) in [(&b"nginx\0older\x01"[..], "nginx"), (b"a\x1b[2J", "a\u{fffd}[2J"), (b"", "")] {
            let mut text = Text([0; 16]);
            text.0[..name.len()].copy_from_slice(name);
            for before in ["", expected, "nginx", "nginx\0", "nginx\0older", "redis-server"] {
                let mut out = before.to_owned();
                text.show(&mut out);
                assert_eq!(out, expected);
            }
        }
    }

    #[test]
    fn flags_are_bits() {
        let mut bytes = sample(b'R');
        let flags = |bytes: &[u8]| Event::parse(bytes).map(|event| (event.reordered, event.joined));
        assert_eq!(flags(&bytes), Ok((true, false)));
        bytes[FLAGS] = JOINED;
        assert_eq!(flags(&bytes), Ok((false, true)));
    }
}
