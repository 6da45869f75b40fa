//! What came in on a socket: a reply to this program's probes, or why not. Every outcome has its counter.

use std::net::IpAddr;

use crate::summary::Counters;
use crate::wire::{self, Echo, Error, Packet};

/// How probes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// ICMP or ICMPv6 echoes, which the other host's kernel answers.
    Icmp,
    /// UDP datagrams.
    Udp,
    /// Messages on a TCP connection.
    Tcp,
}

impl Protocol {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Icmp => "icmp",
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        }
    }
}

/// Whose probes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Their identifier.
    pub id: u32,
    /// Who answers them.
    pub peer: IpAddr,
    /// How they travel.
    pub protocol: Protocol,
}

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A reply to one of the asker's probes, or one that says so: its number is for the asker to judge.
    Reply(Packet),
    /// Cut short.
    Truncated,
    /// Another magic in what has this asker's identifier, or pingtrace's code.
    ForeignMagic,
    /// A broken checksum, a version or number that there is not, or a number that the two headers do not agree on.
    Garbage,
    /// Another one's identifier.
    WrongId,
    /// Another host's address.
    WrongPeer,
    /// Another program's.
    Other,
}

/// ICMP's types: requests and replies.
pub fn echo_types(peer: IpAddr) -> (u8, u8) {
    if peer.is_ipv4() { (8, 0) } else { (128, 129) }
}

fn of_error(error: Error) -> Verdict {
    match error {
        Error::Truncated { .. } => Verdict::Truncated,
        Error::ForeignMagic { .. } => Verdict::ForeignMagic,
        Error::Garbage { .. } => Verdict::Garbage,
    }
}

impl Asker {
    /// What a packet is that came from some address: of ICMP from its header on, else the payload.
    pub fn judge(&self, from: IpAddr, bytes: &[u8]) -> Verdict {
        let payload = if self.protocol == Protocol::Icmp {
            let Some((echo, payload)) = Echo::parse(bytes) else { return Verdict::Truncated };
            if echo.kind != echo_types(self.peer).1 {
                return Verdict::Other;
            }
            let is_ours = echo.id == self.id as u16;
            if !is_ours && echo.code != wire::ICMP_CODE {
                return Verdict::Other;
            }
            // the kernel has not looked at it yet; ICMPv6 it has
            if self.peer.is_ipv4() && wire::checksum(bytes) != 0 {
                return Verdict::Garbage;
            }
            if let Ok(header) = wire::Header::parse(payload)
                && (header.id as u16, header.seq as u16) != (echo.id, echo.sequence)
            {
                return if is_ours { Verdict::Garbage } else { Verdict::WrongId };
            }
            payload
        } else {
            bytes
        };
        let packet = match Packet::parse(payload) {
            Ok(packet) => packet,
            Err(error) => return of_error(error),
        };
        match () {
            () if packet.header.id != self.id => Verdict::WrongId,
            () if from != self.peer => Verdict::WrongPeer,
            () if self.protocol != Protocol::Icmp && !packet.header.is_reply() => Verdict::Garbage,
            () => Verdict::Reply(packet),
        }
    }
}

impl Verdict {
    /// Counts it, unless it is a reply.
    pub fn count(&self, counters: &mut Counters) {
        match self {
            Verdict::Reply(_) => {}
            Verdict::Truncated => counters.truncated_num += 1,
            Verdict::ForeignMagic => counters.foreign_magic_num += 1,
            Verdict::Garbage => counters.garbage_num += 1,
            Verdict::WrongId => counters.wrong_id_num += 1,
            Verdict::WrongPeer => counters.wrong_peer_num += 1,
            Verdict::Other => counters.other_num += 1,
        }
    }
}

/// What a server is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A request.
    Asked(Packet),
    /// What is none, and what it is.
    None(Verdict),
}

/// What a server is sent: of ICMP from its header on, else the payload.
pub fn request(from: IpAddr, protocol: Protocol, bytes: &[u8]) -> Request {
    let payload = if protocol == Protocol::Icmp {
        let Some((echo, payload)) = Echo::parse(bytes) else { return Request::None(Verdict::Truncated) };
        if echo.kind != echo_types(from).0 || echo.code != wire::ICMP_CODE {
            return Request::None(Verdict::Other);
        }
        if from.is_ipv4() && wire::checksum(bytes) != 0 {
            return Request::None(Verdict::Garbage);
        }
        if let Ok(header) = wire::Header::parse(payload)
            && (header.id as u16, header.seq as u16) != (echo.id, echo.sequence)
        {
            return Request::None(Verdict::Garbage);
        }
        payload
    } else {
        bytes
    };
    match Packet::parse(payload) {
        Ok(packet) if packet.header.is_final() || packet.header.is_reply() => Request::None(Verdict::Garbage),
        Ok(packet) => Request::Asked(packet),
        Err(error) => Request::None(of_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;
    use proptest::prelude::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const ASKER: Asker = Asker { id: 0x1234_5678, peer: PEER, protocol: Protocol::Icmp };

    fn payload(id: u32, seq: u32) -> Vec<u8> {
        Packet { header: Header { id, seq, ..Header::default() }, entries: Vec::new(), room: 8 }.write()
    }

    fn echo(kind: u8, code: u8, id: u16, sequence: u16) -> Echo {
        Echo { kind, code, id, sequence }
    }

    #[track_caller]
    fn check(from: IpAddr, bytes: &[u8], expected: Verdict) {
        assert_eq!(ASKER.judge(from, bytes), expected);
    }

    #[test]
    fn every_kind_of_packet_has_its_verdict() {
        let good = echo(0, 1, 0x5678, 9).write(&payload(0x1234_5678, 9));
        assert!(matches!(ASKER.judge(PEER, &good), Verdict::Reply(packet) if packet.header.seq == 9));
        check("10.0.0.3".parse().expect("an address"), &good, Verdict::WrongPeer);
        check(PEER, &good[..4], Verdict::Truncated);
        check(PEER, &echo(0, 1, 0x5678, 9).write(&[0, 8]), Verdict::Truncated);
        check(PEER, &echo(0, 1, 0x5678, 9).write(&[7; 40]), Verdict::ForeignMagic);
        check(PEER, &echo(0, 0, 0x5678, 9).write(&[7; 40]), Verdict::ForeignMagic);
        check(PEER, &echo(0, 0, 0x9999, 9).write(&[7; 40]), Verdict::Other);
        check(PEER, &echo(8, 1, 0x5678, 9).write(&payload(0x1234_5678, 9)), Verdict::Other);
        check(PEER, &echo(0, 1, 0x5678, 9).write(&payload(0x4321_5678, 9)), Verdict::WrongId);
        check(PEER, &echo(0, 1, 0x5679, 9).write(&payload(0x1234_5679, 9)), Verdict::WrongId);
        check(PEER, &echo(0, 1, 0x5678, 8).write(&payload(0x1234_5678, 9)), Verdict::Garbage);
        let mut broken = good;
        broken[30] ^= 1;
        check(PEER, &broken, Verdict::Garbage);
    }

    #[test]
    fn udp_and_tcp_tell_replies_by_reserve() {
        let asker = Asker { protocol: Protocol::Udp, ..ASKER };
        assert_eq!(asker.judge(PEER, &payload(0x1234_5678, 1)), Verdict::Garbage);
        let header = Header { id: 0x1234_5678, seq: 1, reserve: Header::reserve_of(true, 8), ..Header::default() };
        let bytes = Packet { header, entries: Vec::new(), room: 8 }.write();
        assert!(matches!(asker.judge(PEER, &bytes), Verdict::Reply(_)));
        assert_eq!(header.message_len(), bytes.len());
        assert_eq!(request(PEER, Protocol::Udp, &bytes), Request::None(Verdict::Garbage));
    }

    #[test]
    fn a_server_takes_requests_only() {
        let asked = |bytes: &[u8]| request(PEER, Protocol::Icmp, bytes);
        let good = echo(8, 1, 0x5678, 9).write(&payload(0x1234_5678, 9));
        assert!(matches!(asked(&good), Request::Asked(packet) if packet.header.id == 0x1234_5678));
        assert_eq!(asked(&echo(8, 0, 1, 1).write(&[0; 56])), Request::None(Verdict::Other));
        assert_eq!(asked(&echo(8, 1, 1, 1).write(&[0; 56])), Request::None(Verdict::ForeignMagic));
        assert_eq!(asked(&good[..100]), Request::None(Verdict::Truncated));
        assert_eq!(asked(&[8]), Request::None(Verdict::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            for protocol in [Protocol::Icmp, Protocol::Udp, Protocol::Tcp] {
                let mut counters = Counters::default();
                Asker { protocol, ..ASKER }.judge(PEER, &bytes).count(&mut counters);
                let counted: u64 = counters.all().iter().map(|(_, _, number)| number).sum();
                prop_assert_eq!(counted, 1);
                request(PEER, protocol, &bytes);
            }
        }
    }
}
