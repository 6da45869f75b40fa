//! What the kernel sends, and what it is configured with: the structs of `pingtrace.h`, byte for byte.

use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv6Addr};

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// A request left this host and its reply was read.
    RoundTrip = 1,
    /// A request came to this host and its reply left.
    Answered = 2,
    /// The request or the reply was dropped on this host.
    Dropped = 3,
    /// A probe of pingtrace's passed a device on its way through this host.
    Passed = 4,
}

/// Which end of the ping this host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Role {
    /// It sent the request.
    Local = 1,
    /// It was sent the request.
    Remote = 2,
    /// Neither: of a device that is passed.
    Between = 3,
}

/// Which packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Packet {
    /// None.
    None = 0,
    /// The request.
    Request = 1,
    /// The reply.
    Reply = 2,
}

/// One ping on one host: `struct pingtrace_event`. Numbers are in host order. Times are nanoseconds of the boot clock
/// (monotonic before Linux 5.8), 0 where the point was not seen; they stand in the order of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// What it tells.
    pub kind: Kind,
    /// Which end this host is. On loopback it is both, and there is an event of each.
    pub role: Role,
    /// Identifier of the echo header.
    pub id: u16,
    /// Sequence number of the echo header.
    pub sequence: u16,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// Of IP: ICMP (1), ICMPv6 (58), UDP (17) or TCP (6).
    pub protocol: u16,
    /// Address of this host, in network order; IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2). Of the request's destination where
    /// this host dropped what it was only to forward.
    pub local_address: [u8; 16],
    /// Address of the other host, likewise.
    pub peer_address: [u8; 16],
    /// Inode number of the network namespace, as in `/proc/PID/ns/net`.
    pub netns: u32,
    /// Index of the device that the request left by first, or came in by; or that is passed.
    pub ifindex: u32,
    /// Its name, ending with a zero.
    pub device: [u8; 16],
    /// Bytes of the request's IP packet, headers included.
    pub length: u32,
    /// Process that read the reply; 0 where none did. As long as a ping is in the map, the process that it woke.
    pub pid: u32,
    /// Its thread that did.
    pub tid: u32,
    /// The thread's name, ending with a zero.
    pub comm: [u8; 16],
    /// `enum skb_drop_reason` of this kernel; 0 where the kernel does not say why (always before 5.17).
    pub drop_reason: u32,
    /// The packet that was dropped.
    pub dropped_packet: Packet,
    /// CPU at `r_rx_devrcv` or `l_rx_iprcv`.
    pub receive_cpu: u32,
    /// Point 1: the request is queued for its device.
    pub l_tx_devqueue: u64,
    /// Point 2: the driver is given the request; of devices on top of each other, the lowest.
    pub l_tx_devout: u64,
    /// Point 9: the request is taken from its device.
    pub r_rx_devrcv: u64,
    /// Point 3: ICMP, or a socket of the server's, has the request.
    pub r_rx_icmprcv: u64,
    /// Point 4: the driver is given the reply.
    pub r_tx_devout: u64,
    /// Point 10: the softirq is raised that receives the reply; or, where one was under way, the reply is queued for it.
    pub l_rx_softirq: u64,
    /// Point 5: the reply is taken from its device.
    pub l_rx_iprcv: u64,
    /// Point 6: the socket has the reply.
    pub l_rx_skdataready: u64,
    /// Point 7: the reader is put on a run queue; 0 where it did not sleep.
    pub l_rx_wakeup: u64,
    /// The reader has copied the reply: what the kernel sees of point 8, `l_rx_user`.
    pub l_rx_read: u64,
    /// The packet is freed without having arrived.
    pub dropped: u64,
    /// Point 11: a driver is given the request, on its way through this host.
    pub m_tx_devecho: u64,
    /// Point 12: a device has brought the request.
    pub m_rx_devecho: u64,
    /// Point 13: a driver is given the reply.
    pub m_tx_devreply: u64,
    /// Point 14: a device has brought the reply.
    pub m_rx_devreply: u64,
}

/// Why bytes are no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Fewer than an event has.
    #[error("reading an event: {found} bytes, of {needed}")]
    TooShort {
        /// How many there are.
        found: usize,
        /// How many an event has.
        needed: usize,
    },
    /// A number that none of its names has.
    #[error("reading an event: {field} at byte {at} is {value}")]
    UnknownValue {
        /// The member.
        field: &'static str,
        /// Its offset.
        at: usize,
        /// What is there.
        value: u32,
    },
}

/// The bytes of an event, long enough.
struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.0[at..at + N]);
        array
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.array(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }

    fn name<T: Copy>(&self, field: &'static str, at: usize, names: &[(u32, T)]) -> Result<T, Error> {
        let value = self.u32(at);
        let name = names.iter().find(|(number, _)| *number == value);
        name.map(|(_, name)| *name).ok_or(Error::UnknownValue { field, at, value })
    }
}

impl Event {
    /// Reads an event as the kernel of this machine sends it. There may be more bytes behind it: perf buffers fill up to eight.
    ///
    /// # Errors
    /// Too few bytes, or a number that has no name.
    pub fn parse(bytes: &[u8]) -> Result<Event, Error> {
        if bytes.len() < size_of::<Event>() {
            return Err(Error::TooShort { found: bytes.len(), needed: size_of::<Event>() });
        }
        let bytes = Bytes(bytes);
        let kinds = [Kind::RoundTrip, Kind::Answered, Kind::Dropped, Kind::Passed].map(|kind| (kind as u32, kind));
        let roles = [Role::Local, Role::Remote, Role::Between].map(|role| (role as u32, role));
        let packets = [Packet::None, Packet::Request, Packet::Reply].map(|packet| (packet as u32, packet));
        Ok(Event {
            kind: bytes.name("kind", offset_of!(Event, kind), &kinds)?,
            role: bytes.name("role", offset_of!(Event, role), &roles)?,
            id: bytes.u16(offset_of!(Event, id)),
            sequence: bytes.u16(offset_of!(Event, sequence)),
            family: bytes.u16(offset_of!(Event, family)),
            protocol: bytes.u16(offset_of!(Event, protocol)),
            local_address: bytes.array(offset_of!(Event, local_address)),
            peer_address: bytes.array(offset_of!(Event, peer_address)),
            netns: bytes.u32(offset_of!(Event, netns)),
            ifindex: bytes.u32(offset_of!(Event, ifindex)),
            device: bytes.array(offset_of!(Event, device)),
            length: bytes.u32(offset_of!(Event, length)),
            pid: bytes.u32(offset_of!(Event, pid)),
            tid: bytes.u32(offset_of!(Event, tid)),
            comm: bytes.array(offset_of!(Event, comm)),
            drop_reason: bytes.u32(offset_of!(Event, drop_reason)),
            dropped_packet: bytes.name("dropped_packet", offset_of!(Event, dropped_packet), &packets)?,
            receive_cpu: bytes.u32(offset_of!(Event, receive_cpu)),
            l_tx_devqueue: bytes.u64(offset_of!(Event, l_tx_devqueue)),
            l_tx_devout: bytes.u64(offset_of!(Event, l_tx_devout)),
            r_rx_devrcv: bytes.u64(offset_of!(Event, r_rx_devrcv)),
            r_rx_icmprcv: bytes.u64(offset_of!(Event, r_rx_icmprcv)),
            r_tx_devout: bytes.u64(offset_of!(Event, r_tx_devout)),
            l_rx_softirq: bytes.u64(offset_of!(Event, l_rx_softirq)),
            l_rx_iprcv: bytes.u64(offset_of!(Event, l_rx_iprcv)),
            l_rx_skdataready: bytes.u64(offset_of!(Event, l_rx_skdataready)),
            l_rx_wakeup: bytes.u64(offset_of!(Event, l_rx_wakeup)),
            l_rx_read: bytes.u64(offset_of!(Event, l_rx_read)),
            dropped: bytes.u64(offset_of!(Event, dropped)),
            m_tx_devecho: bytes.u64(offset_of!(Event, m_tx_devecho)),
            m_rx_devecho: bytes.u64(offset_of!(Event, m_rx_devecho)),
            m_tx_devreply: bytes.u64(offset_of!(Event, m_tx_devreply)),
            m_rx_devreply: bytes.u64(offset_of!(Event, m_rx_devreply)),
        })
    }

    /// Address of this host.
    pub fn local(&self) -> IpAddr {
        Ipv6Addr::from(self.local_address).to_canonical()
    }

    /// Address of the other host.
    pub fn peer(&self) -> IpAddr {
        Ipv6Addr::from(self.peer_address).to_canonical()
    }

    /// Name of the device; what is not UTF-8 in it is replaced.
    pub fn device_name(&self) -> String {
        text(&self.device)
    }

    /// Name of the thread that read the reply; what is not UTF-8 in it is replaced.
    pub fn thread_name(&self) -> String {
        text(&self.comm)
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Where a ping stands in the map `pings`, as long as it has not ended: `struct ping_key`. The value begins with the event so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Key {
    /// The other host's address, as in an event.
    pub peer: [u8; 16],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Identifier of the echo header; of UDP and TCP, the low 16 bits of that of the probe.
    pub id: u16,
    /// Likewise the sequence number.
    pub sequence: u16,
    /// A [`Role`].
    pub role: u32,
}

impl Key {
    /// Of a probe that this host sends.
    pub fn local(peer: IpAddr, netns: u32, id: u32, seq: u32) -> Key {
        let peer = match peer {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Key { peer, netns, id: id as u16, sequence: seq as u16, role: Role::Local as u32 }
    }

    /// As the kernel of this machine reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.peer.to_vec();
        bytes.extend(self.netns.to_ne_bytes());
        bytes.extend(self.id.to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend(self.role.to_ne_bytes());
        bytes
    }
}

/// What is told: `struct pingtrace_config`. The default is everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Nanoseconds from `l_tx_devqueue` to `l_rx_read`, or `r_rx_devrcv` to `r_tx_devout`: faster pings are not told. What is
    /// dropped is.
    pub threshold_ns: u64,
    /// Only pings that this process reads; 0: of all. Then nothing is told of what this host answers.
    pub pid: u32,
    /// Only this network namespace, by its inode number; 0: all.
    pub netns: u32,
    /// Only this [`Role`]; 0: both.
    pub role: u32,
    /// Only this identifier of the echo header, in host order; 0: all.
    pub id: u16,
    /// TCP probes to this port and from it too, in host order; 0: none.
    pub tcp_port: u16,
    /// 1: UDP probes too.
    pub udp: u8,
    /// 1: no pings but pingtrace's own.
    pub only_probes: u8,
    /// 1: each device that pingtrace's own pass is told too, [`Kind::Passed`].
    pub passes: u8,
    /// Nothing.
    pub unused: [u8; 5],
}

impl Config {
    /// As the kernel of this machine reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Config>()];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(offset_of!(Config, threshold_ns), &self.threshold_ns.to_ne_bytes());
        put(offset_of!(Config, pid), &self.pid.to_ne_bytes());
        put(offset_of!(Config, netns), &self.netns.to_ne_bytes());
        put(offset_of!(Config, role), &self.role.to_ne_bytes());
        put(offset_of!(Config, id), &self.id.to_ne_bytes());
        put(offset_of!(Config, tcp_port), &self.tcp_port.to_ne_bytes());
        put(offset_of!(Config, udp), &[self.udp, self.only_probes, self.passes]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of an event of a round trip, with other numbers at some offsets.
    fn bytes(others: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Event>()];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(offset_of!(Event, kind), &1_u32.to_ne_bytes());
        put(offset_of!(Event, role), &1_u32.to_ne_bytes());
        for (at, value) in others {
            put(*at, value);
        }
        bytes
    }

    #[test]
    fn every_member_is_read_from_its_place() {
        let mut address = [0; 16];
        address[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
        let event = Event::parse(&bytes(&[
            (offset_of!(Event, kind), &3_u32.to_ne_bytes()),
            (offset_of!(Event, role), &2_u32.to_ne_bytes()),
            (offset_of!(Event, id), &0x1234_u16.to_ne_bytes()),
            (offset_of!(Event, sequence), &7_u16.to_ne_bytes()),
            (offset_of!(Event, local_address), &address),
            (offset_of!(Event, peer_address), &Ipv6Addr::LOCALHOST.octets()),
            (offset_of!(Event, device), b"eth0\0old"),
            (offset_of!(Event, comm), b"a-name-of-16-let"),
            (offset_of!(Event, dropped_packet), &2_u32.to_ne_bytes()),
            (offset_of!(Event, dropped), &(1_u64 << 40).to_ne_bytes()),
        ]));
        let event = event.expect("an event");
        assert_eq!((event.kind, event.role), (Kind::Dropped, Role::Remote));
        assert_eq!((event.id, event.sequence), (0x1234, 7));
        assert_eq!(event.local().to_string(), "10.1.2.3");
        assert_eq!(event.peer().to_string(), "::1");
        assert_eq!((event.device_name().as_str(), event.thread_name().as_str()), ("eth0", "a-name-of-16-let"));
        assert_eq!((event.dropped_packet, event.dropped), (Packet::Reply, 1 << 40));
    }

    #[test]
    fn a_perf_buffers_padding_is_no_matter() {
        let mut padded = bytes(&[]);
        padded.extend([0xaa; 4]);
        assert_eq!(Event::parse(&padded), Event::parse(&bytes(&[])));
    }

    #[track_caller]
    fn check(bytes: &[u8], message: &str) {
        assert_eq!(Event::parse(bytes).expect_err("no event").to_string(), message);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        check(&[], "reading an event: 0 bytes, of 232");
        check(&bytes(&[])[..231], "reading an event: 231 bytes, of 232");
        let kind = 9_u32.to_ne_bytes();
        check(&bytes(&[(offset_of!(Event, kind), &kind)]), "reading an event: kind at byte 0 is 9");
        check(&bytes(&[(offset_of!(Event, role), &[0; 4])]), "reading an event: role at byte 4 is 0");
        let packet = u32::MAX.to_ne_bytes();
        let at = offset_of!(Event, dropped_packet);
        check(&bytes(&[(at, &packet)]), "reading an event: dropped_packet at byte 104 is 4294967295");
    }

    #[test]
    fn a_configuration_is_written_to_its_places() {
        let config = Config {
            threshold_ns: 1 << 33,
            pid: 5,
            netns: 6,
            role: Role::Remote as u32,
            id: 0x102,
            tcp_port: 0x304,
            udp: 1,
            only_probes: 2,
            passes: 3,
            unused: [0; 5],
        };
        let mut expected = Vec::new();
        expected.extend((1_u64 << 33).to_ne_bytes());
        for number in [5_u32, 6, 2] {
            expected.extend(number.to_ne_bytes());
        }
        expected.extend(0x102_u16.to_ne_bytes());
        expected.extend(0x304_u16.to_ne_bytes());
        expected.extend([1, 2, 3, 0, 0, 0, 0, 0]);
        assert_eq!(config.to_bytes(), expected);
    }
}
