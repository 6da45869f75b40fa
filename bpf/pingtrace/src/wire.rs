//! The packet of pingtrace: an ICMP or ICMPv6 echo of code 1, or a UDP datagram, or a message in a TCP stream, with this payload. All
//! numbers are big-endian.
//!
//! ```text
//! header, 16 bytes   u8 version = 0 | u8 num | u16 flags (1 = DONTADD) | u16 magic = 0x7ace | u16 reserve | u32 id | u32 seq
//! entry, 16 bytes    u32 ns_id | u32 ifindex | u16 user_id | u16 function_id | u32 ts (low 32 bits of monotonic microseconds)
//! ```
//!
//! `num` is the next entry to be written. It begins at 8: so many places are reserved at the front. The echo's identifier is the low
//! 16 bits of `id`, its sequence number those of `seq`. `reserve` is 0 in ICMP; as UDP and TCP have no types for it, there it tells
//! a reply (1) from a request (0).

/// `magic`.
pub const MAGIC: u16 = 0x7ace;
/// The code of the echo header.
pub const ICMP_CODE: u8 = 1;
/// Bytes of the header, and of an entry.
pub const UNIT: usize = 16;
/// Entries at the front that are reserved.
pub const RESERVED: u8 = 8;
/// Entries that a packet has room for, unless asked otherwise.
pub const DEFAULT_ENTRIES: u8 = 32;
/// The most entries.
pub const MOST_ENTRIES: u8 = 90;
/// The UDP and TCP port of a server, unless asked otherwise: the magic.
pub const PORT: u16 = MAGIC;
/// A flag: nobody writes entries into this packet any more. The second reply has it.
pub const DONTADD: u16 = 1;

/// The header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The next entry to be written; what stands between [`RESERVED`] and it was.
    pub num: u8,
    /// [`DONTADD`], or nothing.
    pub flags: u16,
    /// Of UDP and TCP: the low byte 1 is a reply, the high one entries that there is room for. 0 in ICMP.
    pub reserve: u16,
    /// Who asks.
    pub id: u32,
    /// Number of the request.
    pub seq: u32,
}

/// A time at a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Inode number of the network namespace.
    pub ns_id: u32,
    /// Index of the device in it.
    pub ifindex: u32,
    /// What the user of that host has set (`--userid`).
    pub user_id: u16,
    /// The point, a [`Point`](crate::Point)'s number.
    pub function_id: u16,
    /// Low 32 bits of the host's monotonic microseconds.
    pub ts: u32,
}

/// A packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The header; its `num` is of no account to [`Packet::write`], which counts.
    pub header: Header,
    /// The entries from the eighth on that were written.
    pub entries: Vec<Entry>,
    /// Entries that there is room for, the reserved ones among them.
    pub room: u8,
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Fewer bytes than the header has, or than `num` entries take.
    #[error("reading a packet: {found} bytes, of {needed}")]
    Truncated {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Another program's magic.
    #[error("reading a packet: the magic at byte 4 is {found:#06x}, not 0x7ace")]
    ForeignMagic {
        /// What is there.
        found: u16,
    },
    /// A version, a number of entries or flags that there are not.
    #[error("reading a packet: {field} at byte {at} is {value}")]
    Garbage {
        /// The member.
        field: &'static str,
        /// Its offset.
        at: usize,
        /// What is there.
        value: u16,
    },
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

impl Header {
    /// Reads the header in front of a payload.
    ///
    /// # Errors
    /// Too few bytes, another magic, or a version, `num` or flags that there are not.
    pub fn parse(bytes: &[u8]) -> Result<Header, Error> {
        if bytes.len() < UNIT {
            return Err(Error::Truncated { found: bytes.len(), needed: UNIT });
        }
        let magic = u16_at(bytes, 4);
        if magic != MAGIC {
            return Err(Error::ForeignMagic { found: magic });
        }
        let (num, flags, reserve) = (bytes[1], u16_at(bytes, 2), u16_at(bytes, 6));
        let garbage = |field, at, value| Err(Error::Garbage { field, at, value });
        match () {
            () if bytes[0] != 0 => garbage("version", 0, bytes[0].into()),
            () if !(RESERVED..=MOST_ENTRIES).contains(&num) => garbage("num", 1, num.into()),
            () if flags & !DONTADD != 0 => garbage("flags", 2, flags),
            () if reserve & 0xff > 1 => garbage("reserve", 6, reserve),
            () => Ok(Header { num, flags, reserve, id: u32_at(bytes, 8), seq: u32_at(bytes, 12) }),
        }
    }

    /// Of UDP and TCP: a reply.
    pub fn is_reply(&self) -> bool {
        self.reserve & 0xff == 1
    }

    /// Bytes of the message, of TCP.
    pub fn message_len(&self) -> usize {
        UNIT * (1 + usize::from(self.reserve >> 8))
    }

    /// `reserve` of UDP and TCP.
    pub fn reserve_of(is_reply: bool, room: u8) -> u16 {
        u16::from(room) << 8 | u16::from(is_reply)
    }

    /// Nobody writes entries into the packet any more: it is a second reply.
    pub fn is_final(&self) -> bool {
        self.flags & DONTADD != 0
    }
}

impl Packet {
    /// Reads a payload. What stands behind the last whole entry is no matter.
    ///
    /// # Errors
    /// See [`Header::parse`]; and fewer bytes than `num` entries take.
    pub fn parse(bytes: &[u8]) -> Result<Packet, Error> {
        let header = Header::parse(bytes)?;
        let needed = UNIT * (1 + usize::from(header.num));
        if bytes.len() < needed {
            return Err(Error::Truncated { found: bytes.len(), needed });
        }
        let written = &bytes[UNIT * (1 + usize::from(RESERVED))..needed];
        let entry = |bytes: &[u8]| Entry {
            ns_id: u32_at(bytes, 0),
            ifindex: u32_at(bytes, 4),
            user_id: u16_at(bytes, 8),
            function_id: u16_at(bytes, 10),
            ts: u32_at(bytes, 12),
        };
        let room = (bytes.len() / UNIT - 1).min(MOST_ENTRIES.into()) as u8;
        Ok(Packet { header, entries: written.chunks_exact(UNIT).map(entry).collect(), room })
    }

    /// The payload: header, and `room` entries, what was not written being zero. There are at least the reserved entries and at
    /// most [`MOST_ENTRIES`]; entries that there is no room for are left out.
    pub fn write(&self) -> Vec<u8> {
        let room = self.room.clamp(RESERVED, MOST_ENTRIES);
        let entries = &self.entries[..self.entries.len().min(usize::from(room - RESERVED))];
        let mut bytes = Vec::with_capacity(UNIT * (1 + usize::from(room)));
        bytes.extend([0, RESERVED + entries.len() as u8]);
        bytes.extend(self.header.flags.to_be_bytes());
        bytes.extend(MAGIC.to_be_bytes());
        bytes.extend(self.header.reserve.to_be_bytes());
        bytes.extend(self.header.id.to_be_bytes());
        bytes.extend(self.header.seq.to_be_bytes());
        bytes.resize(UNIT * (1 + usize::from(RESERVED)), 0);
        for entry in entries {
            bytes.extend(entry.ns_id.to_be_bytes());
            bytes.extend(entry.ifindex.to_be_bytes());
            bytes.extend(entry.user_id.to_be_bytes());
            bytes.extend(entry.function_id.to_be_bytes());
            bytes.extend(entry.ts.to_be_bytes());
        }
        bytes.resize(UNIT * (1 + usize::from(room)), 0);
        bytes
    }
}

/// An ICMP header for an echo: what stands before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Type: 8 and 0 of ICMP, 128 and 129 of ICMPv6.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub sequence: u16,
}

impl Echo {
    /// Bytes of the header.
    pub const SIZE: usize = 8;

    /// Reads the header and gives what is behind it. `None` where there are too few bytes.
    pub fn parse(bytes: &[u8]) -> Option<(Echo, &[u8])> {
        let (head, payload) = bytes.split_at_checked(Echo::SIZE)?;
        Some((Echo { kind: head[0], code: head[1], id: u16_at(head, 4), sequence: u16_at(head, 6) }, payload))
    }

    /// The header with a payload. The checksum is ICMP's; that of ICMPv6 covers addresses too, and the kernel writes it.
    pub fn write(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.code, 0, 0];
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(payload);
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// The internet checksum (RFC 1071). Over bytes with a right one in them it is 0.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet() -> Packet {
        let entry = Entry { ns_id: 0xf000_0001, ifindex: 2, user_id: 3, function_id: 9, ts: 0x0102_0304 };
        let header = Header { num: 9, flags: DONTADD, reserve: 0, id: 0xaabb_ccdd, seq: 7 };
        Packet { header, entries: vec![entry], room: 10 }
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let bytes = packet().write();
        assert_eq!(bytes.len(), 16 * 11);
        assert_eq!(bytes[..16], [0, 9, 0, 1, 0x7a, 0xce, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd, 0, 0, 0, 7]);
        assert!(bytes[16..16 * 9].iter().all(|&byte| byte == 0));
        assert_eq!(bytes[16 * 9..16 * 10], [0xf0, 0, 0, 1, 0, 0, 0, 2, 0, 3, 0, 9, 1, 2, 3, 4]);
        assert!(bytes[16 * 10..].iter().all(|&byte| byte == 0));
    }

    #[track_caller]
    fn check(bytes: &[u8], message: &str) {
        assert_eq!(Packet::parse(bytes).expect_err("no packet").to_string(), message);
    }

    #[test]
    fn what_is_no_packet_is_refused_by_its_kind() {
        let bytes = packet().write();
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        check(&[], "reading a packet: 0 bytes, of 16");
        check(&bytes[..15], "reading a packet: 15 bytes, of 16");
        check(&bytes[..159], "reading a packet: 159 bytes, of 160");
        check(&with(4, 0x7b), "reading a packet: the magic at byte 4 is 0x7bce, not 0x7ace");
        check(&with(0, 4), "reading a packet: version at byte 0 is 4");
        check(&with(1, 7), "reading a packet: num at byte 1 is 7");
        check(&with(1, 91), "reading a packet: num at byte 1 is 91");
        check(&with(3, 2), "reading a packet: flags at byte 2 is 2");
        check(&with(7, 2), "reading a packet: reserve at byte 6 is 2");
    }

    #[test]
    fn entries_without_room_are_left_out() {
        let packet = Packet { entries: vec![Entry::default(); 200], room: 255, ..packet() };
        let bytes = packet.write();
        assert_eq!((bytes.len(), bytes[1]), (16 * 91, 90));
        assert_eq!(Packet { room: 0, ..packet }.write().len(), 16 * 9);
    }

    #[test]
    fn an_echos_checksum_is_right() {
        let bytes = Echo { kind: 8, code: 1, id: 0x1234, sequence: 5 }.write(&[1, 2, 3]);
        assert_eq!(checksum(&bytes), 0);
        // RFC 1071, 3
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        let (echo, payload) = Echo::parse(&bytes).expect("a header");
        assert_eq!((echo.kind, echo.code, echo.id, echo.sequence, payload), (8, 1, 0x1234, 5, &[1, 2, 3][..]));
        assert_eq!(Echo::parse(&bytes[..7]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            flags in 0..2_u16, reserve in prop_oneof![Just(0), Just(1), Just(0x2001)], id: u32, seq: u32,
            entries in proptest::collection::vec((any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>(), any::<u32>()), 0..=82),
            spare in 0..=82_u8,
        ) {
            let entries: Vec<Entry> = entries
                .into_iter()
                .map(|(ns_id, ifindex, user_id, function_id, ts)| Entry { ns_id, ifindex, user_id, function_id, ts })
                .collect();
            let num = RESERVED + entries.len() as u8;
            let room = num.saturating_add(spare).min(MOST_ENTRIES);
            let packet = Packet { header: Header { num, flags, reserve, id, seq }, entries, room };
            prop_assert_eq!(Packet::parse(&packet.write()), Ok(packet));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                let written = packet.write();
                prop_assert_eq!(Packet::parse(&written), Ok(packet));
            }
        }
    }
}
