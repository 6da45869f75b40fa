//! How a client's probes travel.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use pingtrace::judge::{Protocol, echo_types};
use pingtrace::wire::{self, Echo, Header, Packet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::kernel::now;
use crate::socket::Datagrams;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A client's socket.
pub(crate) enum Transport {
    /// ICMP or ICMPv6.
    Icmp(Datagrams, SocketAddr),
    /// UDP.
    Udp(Datagrams, SocketAddr),
    /// TCP: the connection, where there is one, and what came of a message that is not whole yet.
    Tcp(Option<TcpStream>, SocketAddr, Vec<u8>),
}

/// What came in.
pub(crate) struct Incoming {
    /// Who sent it.
    pub(crate) from: IpAddr,
    /// Of ICMP from its header on, else the payload.
    pub(crate) bytes: Vec<u8>,
    /// When the program had it: nanoseconds of the monotonic clock.
    pub(crate) time: u64,
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, CONNECT)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// The address that this host speaks to another one with.
pub(crate) fn local_address(to: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    // sends nothing; a port of 0 would be refused
    let port = if to.port() == 0 { wire::PORT } else { to.port() };
    let mut to = to;
    to.set_port(port);
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// Waits until one of the sockets can be read, at most so many nanoseconds. A signal ends it too.
pub(crate) fn wait(sockets: &[BorrowedFd<'_>], nanoseconds: u64) -> io::Result<()> {
    let mut all: Vec<PollFd<'_>> = sockets.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = Timespec {
        tv_sec: (nanoseconds / 1_000_000_000).min(i64::MAX as u64) as i64,
        tv_nsec: (nanoseconds % 1_000_000_000) as i64,
    };
    match poll(&mut all, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Transport {
    pub(crate) fn open(protocol: Protocol, to: SocketAddr) -> Result<Transport> {
        match protocol {
            Protocol::Icmp => {
                let (_, reply) = echo_types(to.ip());
                let socket = Datagrams::icmp(to.is_ipv4(), reply);
                let socket = socket.context("a raw socket for ICMP (CAP_NET_RAW)")?;
                Ok(Transport::Icmp(socket, SocketAddr::new(to.ip(), 0).with_scope_of(to)))
            }
            Protocol::Udp => Ok(Transport::Udp(Datagrams::udp(to.is_ipv4(), 0).context("a UDP socket")?, to)),
            Protocol::Tcp => {
                let stream = connect(to).with_context(|| format!("connecting to {to} (pingtrace -s)"))?;
                Ok(Transport::Tcp(Some(stream), to, Vec::new()))
            }
        }
    }

    /// What can be waited for.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Transport::Icmp(socket, _) | Transport::Udp(socket, _) => Some(socket.as_fd()),
            Transport::Tcp(stream, _, _) => stream.as_ref().map(AsFd::as_fd),
        }
    }

    /// Sends a probe, and gives when it was about to.
    pub(crate) fn send(&mut self, packet: &Packet) -> (u64, io::Result<()>) {
        match self {
            Transport::Icmp(socket, to) => {
                let (id, sequence) = (packet.header.id as u16, packet.header.seq as u16);
                let (kind, code) = (echo_types(to.ip()).0, wire::ICMP_CODE);
                let bytes = Echo { kind, code, id, sequence }.write(&packet.write());
                let time = now();
                (time, socket.send(&bytes, *to, None))
            }
            Transport::Udp(socket, to) => {
                let bytes = packet.write();
                let time = now();
                (time, socket.send(&bytes, *to, None))
            }
            Transport::Tcp(stream, to, rest) => {
                let bytes = packet.write();
                if stream.is_none() {
                    rest.clear();
                    *stream = match connect(*to) {
                        Ok(stream) => Some(stream),
                        Err(error) => return (now(), Err(error)),
                    };
                }
                let time = now();
                let sent = stream.as_mut().map_or(Ok(()), |stream| stream.write_all(&bytes));
                if sent.is_err() {
                    *stream = None;
                }
                (time, sent)
            }
        }
    }

    /// The next packet, or none where there is none yet.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Incoming>> {
        match self {
            Transport::Icmp(socket, _) | Transport::Udp(socket, _) => {
                let received = socket.receive(buffer)?;
                let time = now();
                Ok(received.map(|got| Incoming {
                    from: got.from.ip().to_canonical(),
                    bytes: buffer[got.begin..got.end].to_vec(),
                    time,
                }))
            }
            Transport::Tcp(stream, to, rest) => {
                let mut time = now();
                if let Some(open) = stream {
                    match open.read(buffer) {
                        Ok(0) => *stream = None,
                        Ok(number) => {
                            time = now();
                            rest.extend(&buffer[..number]);
                        }
                        Err(error) if is_for_later(&error) => {}
                        Err(_) => *stream = None,
                    }
                }
                Ok(message(rest).map(|bytes| Incoming { from: to.ip(), bytes, time }))
            }
        }
    }
}

pub(crate) fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Takes a message off the front of a stream, or all of it where that is none.
pub(crate) fn message(stream: &mut Vec<u8>) -> Option<Vec<u8>> {
    if stream.len() < wire::UNIT {
        return None;
    }
    let length = match Header::parse(stream) {
        Ok(header) => header.message_len(),
        Err(_) => stream.len(),
    };
    (stream.len() >= length).then(|| stream.drain(..length).collect())
}

/// IPv6 link-local addresses have a device.
trait WithScope {
    fn with_scope_of(self, other: SocketAddr) -> SocketAddr;
}

impl WithScope for SocketAddr {
    fn with_scope_of(mut self, other: SocketAddr) -> SocketAddr {
        if let (SocketAddr::V6(own), SocketAddr::V6(other)) = (&mut self, other) {
            own.set_scope_id(other.scope_id());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_from_a_stream_by_their_room() {
        let header = Header { id: 1, seq: 2, reserve: Header::reserve_of(false, 9), ..Header::default() };
        let one = Packet { header, entries: Vec::new(), room: 9 }.write();
        let mut stream = [one.clone(), one.clone(), one[..50].to_vec()].concat();
        assert_eq!(message(&mut stream), Some(one.clone()));
        assert_eq!(message(&mut stream), Some(one.clone()));
        assert_eq!(message(&mut stream), None);
        assert_eq!(stream, one[..50]);
        let mut garbage = vec![9; 40];
        assert_eq!(message(&mut garbage), Some(vec![9; 40]));
        assert!(garbage.is_empty());
    }
}
