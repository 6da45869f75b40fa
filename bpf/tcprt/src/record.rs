//! A task or the end of a connection, as it is told to people and programs: an event with its time of day and with who it was.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::http::Http;
use crate::{Event, Kind, Protocol};

/// What one line of a log says. What a form does not carry is 0, empty or `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it tells.
    pub kind: Kind,
    /// When the task, or the connection, began: microseconds since 1970, by the wall clock.
    pub start_us: u64,
    /// The own side.
    pub local: SocketAddr,
    /// The other side.
    pub peer: SocketAddr,
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
    /// The smallest round trip time, microseconds; 0 where it is not known.
    pub min_rtt_us: u32,
    /// Segments that were sent again.
    pub retransmissions: u32,
    /// Number of the task on its connection, from 1 on.
    pub task: u32,
    /// The largest segment, bytes of payload.
    pub mss: u32,
    /// Part of the task came out of order.
    pub reordered: bool,
    /// The connection is older than its observation; or a time of the task is later than it was, as [`Event::joined`] has it.
    pub joined: bool,
    /// Who it was.
    pub owner: Owner,
    /// What was asked for, where it was HTTP.
    pub http: Option<Http>,
    /// What the payload was recognised as.
    pub protocol: Protocol,
}

/// Whose connection it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The process (thread group); 0 where it is not known.
    pub pid: u32,
    /// Its name, of at most 15 bytes; empty where it is not known.
    pub process: String,
    /// The control group: the inode number of its folder; 0 where it is not known.
    pub cgroup: u64,
    /// The network namespace: its inode number; 0 where it is not known.
    pub netns: u32,
    /// The container that the control group is of.
    pub container: Option<Arc<Container>>,
}

/// A container, as its control group's path names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// `docker`, `containerd`, `cri-o`, `podman`; empty where the path does not tell.
    pub runtime: &'static str,
    /// The Kubernetes pod's UID, with dashes.
    pub pod: Option<String>,
}

impl Container {
    /// The id's first 12 digits, as the runtimes' commands show it.
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// Which side of the connection is the own one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The own side answers.
    Server,
    /// The own side asks.
    Client,
}

impl Side {
    /// `server` or `client`.
    pub fn name(self) -> &'static str {
        match self {
            Side::Server => "server",
            Side::Client => "client",
        }
    }
}

/// A server's port, and the side it is seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Which side.
    pub side: Side,
    /// Of the server: the local one, or the peer's where the own side is the client's.
    pub number: u16,
}

impl Record {
    /// A record of nothing yet.
    pub(crate) fn empty(kind: Kind, local: SocketAddr, peer: SocketAddr) -> Record {
        Record {
            kind,
            start_us: 0,
            local,
            peer,
            total_us: 0,
            receive_us: 0,
            service_us: 0,
            sent_bytes: 0,
            received_bytes: 0,
            unacknowledged_bytes: 0,
            min_rtt_us: 0,
            retransmissions: 0,
            task: 0,
            mss: 0,
            reordered: false,
            joined: false,
            owner: Owner::default(),
            http: None,
            protocol: Protocol::Any,
        }
    }

    /// A record of an event. `epoch_ns` is what the wall clock shows at the event's clock's 0, nanoseconds since 1970.
    pub fn of(event: &Event, epoch_ns: u64) -> Record {
        let mut record = Record::empty(event.kind, event.local, event.peer);
        record.become_of(event, epoch_ns);
        record
    }

    /// Becomes the record of another event, as [`of`](Record::of) gives it, without memory of its own for it as a rule.
    pub fn become_of(&mut self, event: &Event, epoch_ns: u64) {
        self.kind = event.kind;
        self.start_us = epoch_ns.saturating_add(event.start_ns) / 1000;
        (self.local, self.peer) = (event.local, event.peer);
        (self.total_us, self.receive_us, self.service_us) = (event.total_us, event.receive_us, event.service_us);
        (self.sent_bytes, self.received_bytes) = (event.sent_bytes, event.received_bytes);
        self.unacknowledged_bytes = event.unacknowledged_bytes;
        (self.min_rtt_us, self.retransmissions) = (event.min_rtt_us, event.retransmissions);
        (self.task, self.mss) = (event.task, event.mss);
        (self.reordered, self.joined) = (event.reordered, event.joined);
        (self.owner.pid, self.owner.cgroup, self.owner.netns) = (event.pid, event.cgroup, event.netns);
        event.comm.show(&mut self.owner.process);
        self.owner.container = None;
        self.http = Http::of(event.request.bytes(), event.status);
        self.protocol = event.protocol;
    }

    /// The server's port.
    pub fn port(&self) -> Port {
        match self.kind {
            Kind::Peer => Port { side: Side::Client, number: self.peer.port() },
            _ => Port { side: Side::Server, number: self.local.port() },
        }
    }

    /// It tells of a task, and not of a connection's end.
    pub fn is_task(&self) -> bool {
        self.kind != Kind::End
    }

    /// A task that was answered whole: R, and P unless the connection was closed before the answer.
    pub fn is_answered(&self) -> bool {
        match self.kind {
            Kind::Request => true,
            Kind::Peer => self.received_bytes > 0,
            _ => false,
        }
    }

    /// Microseconds in which the request was on its way: a server's, from its first packet to its last; a client's, from the
    /// first that is sent to the last.
    pub fn upload_us(&self) -> u64 {
        match self.kind {
            Kind::Peer => self.total_us.saturating_sub(self.service_us).saturating_sub(self.receive_us),
            Kind::End => 0,
            _ => self.receive_us,
        }
    }

    /// Microseconds from the request's last packet to the response's first; a client's has the network in it.
    pub fn process_us(&self) -> u64 {
        self.service_us
    }

    /// Microseconds in which the response was on its way: a server's, from its first packet until all is acknowledged; a
    /// client's, from the first that it received to the last.
    pub fn download_us(&self) -> u64 {
        match self.kind {
            Kind::Peer => self.receive_us,
            Kind::Request | Kind::ClosedWhileSending => {
                self.total_us.saturating_sub(self.receive_us).saturating_sub(self.service_us)
            }
            _ => 0,
        }
    }

    /// When it was over: microseconds since 1970.
    pub fn end_us(&self) -> u64 {
        self.start_us.saturating_add(self.total_us)
    }

    /// What does not stand in its line of the vendor's log is 0 or empty.
    pub fn as_logged(&self) -> Record {
        let mut logged =
            Record { joined: false, owner: Owner::default(), http: None, protocol: Protocol::Any, ..self.clone() };
        match self.kind {
            Kind::Request | Kind::Peer => logged.unacknowledged_bytes = 0,
            Kind::ClosedWhileSending => logged.received_bytes = 0,
            Kind::ClosedWhileReceiving => {
                (logged.receive_us, logged.service_us, logged.sent_bytes) = (0, 0, 0);
                (logged.unacknowledged_bytes, logged.min_rtt_us, logged.retransmissions) = (0, 0, 0);
            }
            Kind::End => {
                (logged.total_us, logged.receive_us, logged.service_us) = (0, 0, 0);
                (logged.reordered, logged.mss) = (false, 0);
            }
        }
        logged
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{} {}", self.number, self.side.name())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A server's task: 15 us of upload, 24 of processing, 3264 of download.
    pub(crate) fn sample() -> Record {
        Record {
            kind: Kind::Request,
            start_us: 1_700_000_001_000_002,
            local: "10.0.0.1:80".parse().unwrap(),
            peer: "[2001:db8::2]:40000".parse().unwrap(),
            total_us: 3303,
            receive_us: 15,
            service_us: 24,
            sent_bytes: 690,
            received_bytes: 120,
            unacknowledged_bytes: 0,
            min_rtt_us: 2240,
            retransmissions: 2,
            task: 10,
            mss: 1448,
            reordered: true,
            joined: false,
            owner: Owner::default(),
            http: None,
            protocol: Protocol::Any,
        }
    }

    #[track_caller]
    fn check_parts(kind: Kind, expected: [u64; 3]) {
        let record = Record { kind, ..sample() };
        assert_eq!([record.upload_us(), record.process_us(), record.download_us()], expected);
    }

    #[test]
    fn the_parts_of_a_task_are_its_total() {
        check_parts(Kind::Request, [15, 24, 3264]);
        check_parts(Kind::ClosedWhileSending, [15, 24, 3264]);
        check_parts(Kind::Peer, [3264, 24, 15]);
    }

    #[test]
    fn an_event_is_a_record_with_the_time_of_day() {
        let mut bytes = vec![0; Event::SIZE];
        bytes[crate::event::KIND] = b'R';
        bytes[..8].copy_from_slice(&1_000_002_500u64.to_ne_bytes());
        bytes[crate::event::COMM..][..5].copy_from_slice(b"nginx");
        bytes[crate::event::STATUS..][..2].copy_from_slice(&404u16.to_ne_bytes());
        let record = Record::of(&Event::parse(&bytes).unwrap(), 1_700_000_000_000_000_000);
        assert_eq!((record.start_us, record.owner.process.as_str()), (1_700_000_001_000_002, "nginx"));
        assert_eq!(record.http.as_ref().unwrap().line(), "404");
        // what another was leaves nothing
        let mut other = sample();
        other.owner.process = "another".to_owned();
        other.owner.container = Some(Arc::default());
        other.become_of(&Event::parse(&bytes).unwrap(), 1_700_000_000_000_000_000);
        assert_eq!(other, record);
    }

    #[test]
    fn the_servers_port_is_the_local_one_or_the_peers() {
        let record = sample();
        assert_eq!(record.port().to_string(), ":80 server");
        assert_eq!(Record { kind: Kind::Peer, ..record }.port().to_string(), ":40000 client");
    }
}
