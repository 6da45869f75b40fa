//! `pingtrace -s`: answers with this host's times. The kernel answers ICMP echoes itself; after two milliseconds, when the stamps of
//! that answer are there, a second reply follows with them. UDP and TCP are answered at once, and then likewise.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use pingtrace::judge::{Protocol, Request, echo_types, request};
use pingtrace::summary::Counters;
use pingtrace::wire::{self, DONTADD, Echo, Entry, Header, Packet};
use pingtrace::{Config, Point, Role, Suspended, entry_time};

use crate::answers::{Answers, Key, entries, entries_of_pass};
use crate::args::Args;
use crate::kernel::{Kernel, now};
use crate::namespace;
use crate::socket::Datagrams;
use crate::stop::Stop;
use crate::transport::{is_for_later, message, wait};

/// How long it is before the second reply.
const WAIT: u64 = 2_000_000;
/// Second replies that may be due at once; what is more gets none.
const MOST_DUE: usize = 8192;
/// TCP connections at once.
const MOST_CONNECTIONS: usize = 256;
/// How long a signal may go unseen.
const TICK: u64 = 100_000_000;

/// Where a second reply goes.
enum Target {
    Icmp { to: SocketAddr, from: Option<IpAddr> },
    Udp { to: SocketAddr, from: Option<IpAddr> },
    Tcp { connection: u64 },
}

struct Due {
    at: u64,
    peer: IpAddr,
    target: Target,
    request: Packet,
    /// The server's own times.
    entries: Vec<Entry>,
}

struct Connection {
    number: u64,
    stream: TcpStream,
    peer: IpAddr,
    rest: Vec<u8>,
}

#[derive(Default)]
struct Tally {
    requests: u64,
    seconds: u64,
    /// Second replies without the kernel's times.
    blind: u64,
    overflow: u64,
    connections: u64,
    refused: u64,
    packets: Counters,
}

struct Server<'a> {
    args: &'a Args,
    kernel: Option<Kernel>,
    icmp: [Option<Datagrams>; 2],
    udp: [Option<Datagrams>; 2],
    tcp: [Option<TcpListener>; 2],
    connections: Vec<Connection>,
    due: VecDeque<Due>,
    answers: Answers,
    tally: Tally,
    netns: u32,
    buffer: Vec<u8>,
}

/// Of IPv4 and IPv6, what there is; what there is not is said.
fn both<T>(what: &str, open: impl Fn(bool) -> std::io::Result<T>) -> [Option<T>; 2] {
    [true, false].map(|is_v4| match open(is_v4) {
        Ok(socket) => Some(socket),
        Err(error) => {
            let family = if is_v4 { "IPv4" } else { "IPv6" };
            eprintln!("pingtrace: no {what} over {family}: {error}");
            None
        }
    })
}

fn listen(is_v4: bool, port: u16) -> std::io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if is_v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    let any: SocketAddr = if is_v4 { ([0, 0, 0, 0], port).into() } else { ([0_u16; 8], port).into() };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if !is_v4 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &any)?;
    listen(&socket, 128)?;
    Ok(socket.into())
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let stop = Stop::new(args)?;
    let config = Config {
        role: Role::Remote as u32,
        tcp_port: args.port,
        udp: 1,
        only_probes: 1,
        // on one host the client tells them itself
        passes: u8::from(args.namespace && !args.nslocal),
        ..Config::default()
    };
    let kernel = Kernel::load_or_say(args, &config);
    let icmp = both("ICMP", |is_v4| Datagrams::icmp(is_v4, if is_v4 { 8 } else { 128 }));
    let udp = both("UDP", |is_v4| Datagrams::udp(is_v4, args.port));
    let tcp = both("TCP", |is_v4| listen(is_v4, args.port));
    if icmp.iter().all(Option::is_none) && udp.iter().all(Option::is_none) && tcp.iter().all(Option::is_none) {
        bail!("there is nothing to answer on");
    }
    if let Some(kernel) = &kernel {
        for (point, why) in &kernel.missing {
            if point.is_remote() {
                eprintln!("pingtrace: ({}) {} is not seen: {why}", *point as u16, point.name());
            }
        }
    }
    let mut server = Server {
        args,
        kernel,
        icmp,
        udp,
        tcp,
        connections: Vec::new(),
        due: VecDeque::new(),
        answers: Answers::default(),
        tally: Tally::default(),
        netns: namespace::inum(),
        buffer: vec![0; 1 << 16],
    };
    println!("pingtrace: answering, UDP and TCP on port {}", args.port);
    while !stop.is_due() {
        server.turn(stop.left(TICK))?;
    }
    server.end();
    Ok(ExitCode::SUCCESS)
}

impl Server<'_> {
    /// Waits for what comes, or is due, and does it.
    fn turn(&mut self, most: u64) -> Result<()> {
        let due = self.due.front().map_or(most, |due| due.at.saturating_sub(now()).min(most));
        let datagrams = self.icmp.iter().chain(&self.udp).flatten().map(AsFd::as_fd);
        let streams = self.tcp.iter().flatten().map(AsFd::as_fd);
        let connections = self.connections.iter().map(|connection| connection.stream.as_fd());
        let all: Vec<_> = datagrams.chain(streams).chain(connections).collect();
        wait(&all, due).context("waiting for requests")?;
        for at in 0..2 {
            self.datagrams(at, Protocol::Icmp)?;
            self.datagrams(at, Protocol::Udp)?;
            self.accept(at);
        }
        self.streams();
        self.second_replies()
    }

    fn datagrams(&mut self, at: usize, protocol: Protocol) -> Result<()> {
        loop {
            let socket = if protocol == Protocol::Icmp { &self.icmp[at] } else { &self.udp[at] };
            let Some(socket) = socket else { return Ok(()) };
            let Some(got) = socket.receive(&mut self.buffer).context("receiving")? else { return Ok(()) };
            let received = now();
            let peer = got.from.ip();
            let packet = match request(peer, protocol, &self.buffer[got.begin..got.end]) {
                Request::Asked(packet) => packet,
                Request::None(verdict) => {
                    verdict.count(&mut self.tally.packets);
                    continue;
                }
            };
            let from = got.to.map(|(address, _)| address).filter(|address| !is_multicast(*address));
            let (target, entries) = if protocol == Protocol::Icmp {
                (Target::Icmp { to: got.from, from }, Vec::new())
            } else {
                let bytes = first_reply(&packet);
                let sent = now();
                if socket.send(&bytes, got.from, from).is_err() {
                    self.tally.packets.send_error_num += 1;
                }
                let ifindex = got.to.map_or(0, |(_, ifindex)| ifindex);
                (Target::Udp { to: got.from, from }, self.own_entries(ifindex, received, sent))
            };
            self.put(peer, target, packet, entries, received);
        }
    }

    fn own_entries(&self, ifindex: u32, received: u64, sent: u64) -> Vec<Entry> {
        let entry = |(point, time): (Point, u64)| Entry {
            ns_id: self.netns,
            ifindex,
            user_id: self.args.userid,
            function_id: point as u16,
            ts: entry_time(time),
        };
        [(Point::RRxUser, received), (Point::RTxUser, sent)].map(entry).into()
    }

    fn put(&mut self, peer: IpAddr, target: Target, request: Packet, entries: Vec<Entry>, received: u64) {
        self.tally.requests += 1;
        if self.due.len() >= MOST_DUE {
            self.tally.overflow += 1;
            return;
        }
        self.due.push_back(Due { at: received + WAIT, peer: peer.to_canonical(), target, request, entries });
    }

    fn accept(&mut self, at: usize) {
        let Some(listener) = &self.tcp[at] else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let is_ready = stream.set_nonblocking(true).is_ok() && stream.set_nodelay(true).is_ok();
            if !is_ready || self.connections.len() >= MOST_CONNECTIONS {
                self.tally.refused += 1;
                continue;
            }
            self.tally.connections += 1;
            let number = self.tally.connections;
            self.connections.push(Connection { number, stream, peer: peer.ip(), rest: Vec::new() });
        }
    }

    fn streams(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        connections.retain_mut(|connection| self.stream(connection).is_some());
        self.connections = connections;
    }

    /// Reads what a connection has. `None` where it is over.
    fn stream(&mut self, connection: &mut Connection) -> Option<()> {
        loop {
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => return None,
                Ok(number) => connection.rest.extend(&self.buffer[..number]),
                Err(error) if is_for_later(&error) => return Some(()),
                Err(_) => return None,
            }
            let received = now();
            while let Some(bytes) = message(&mut connection.rest) {
                let packet = match request(connection.peer, Protocol::Tcp, &bytes) {
                    Request::Asked(packet) => packet,
                    // what follows cannot be told from what this was
                    Request::None(verdict) => {
                        verdict.count(&mut self.tally.packets);
                        return None;
                    }
                };
                let reply = first_reply(&packet);
                let sent = now();
                if connection.stream.write_all(&reply).is_err() {
                    self.tally.packets.send_error_num += 1;
                    return None;
                }
                let entries = self.own_entries(0, received, sent);
                self.put(connection.peer, Target::Tcp { connection: connection.number }, packet, entries, received);
            }
        }
    }

    fn second_replies(&mut self) -> Result<()> {
        if self.due.front().is_none_or(|due| due.at > now()) {
            return Ok(());
        }
        let mut suspended = Suspended(0);
        if let Some(kernel) = &self.kernel {
            suspended = kernel.suspended();
            kernel.take()?.into_iter().for_each(|event| self.answers.put(event));
        }
        while self.due.front().is_some_and(|due| due.at <= now()) {
            let Some(due) = self.due.pop_front() else { break };
            self.second_reply(due, suspended);
        }
        Ok(())
    }

    fn second_reply(&mut self, due: Due, suspended: Suspended) {
        let header = due.request.header;
        let key: Key = (due.peer, header.id as u16, header.seq as u16);
        let mut entries = match self.answers.take(&key) {
            Some(event) => entries(&event, suspended, self.args.userid),
            None => {
                self.tally.blind += 1;
                Vec::new()
            }
        };
        entries.extend(due.entries);
        for event in self.answers.passed(&header, self.netns) {
            entries.extend(entries_of_pass(&event, suspended, self.args.userid));
        }
        let is_icmp = matches!(due.target, Target::Icmp { .. });
        let reserve = if is_icmp { 0 } else { Header::reserve_of(true, due.request.room) };
        let header = Header { flags: DONTADD, reserve, ..header };
        let bytes = Packet { header, entries, room: due.request.room }.write();
        let sent = match due.target {
            Target::Icmp { to, from } => {
                let (kind, code) = (echo_types(to.ip()).1, wire::ICMP_CODE);
                let echo = Echo { kind, code, id: header.id as u16, sequence: header.seq as u16 };
                let socket = &self.icmp[usize::from(to.is_ipv6())];
                socket.as_ref().map_or(Ok(()), |socket| socket.send(&echo.write(&bytes), to, from))
            }
            Target::Udp { to, from } => {
                let socket = &self.udp[usize::from(to.is_ipv6())];
                socket.as_ref().map_or(Ok(()), |socket| socket.send(&bytes, to, from))
            }
            Target::Tcp { connection } => {
                let connection = self.connections.iter_mut().find(|other| other.number == connection);
                connection.map_or(Ok(()), |connection| connection.stream.write_all(&bytes))
            }
        };
        match sent {
            Ok(()) => self.tally.seconds += 1,
            Err(_) => self.tally.packets.send_error_num += 1,
        }
    }

    fn end(&self) {
        let Tally { requests, seconds, blind, overflow, connections, refused, packets } = &self.tally;
        println!("\n--- pingtrace -s");
        print!("{requests} requests, {seconds} second replies, {blind} of them without the kernel's times");
        let lost = self.kernel.as_ref().map_or(0, Kernel::lost);
        let more = [
            (*overflow, "more due than there is room for"),
            (*connections, "connections"),
            (*refused, "connections refused"),
            (lost, "events lost"),
        ];
        for (number, words) in more.into_iter().filter(|(number, _)| *number > 0) {
            print!(", {number} {words}");
        }
        for (_, words, number) in packets.all().into_iter().filter(|(_, _, number)| *number > 0) {
            print!(", {number} {words}");
        }
        println!();
    }
}

fn is_multicast(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}

/// What was asked, as a reply.
fn first_reply(request: &Packet) -> Vec<u8> {
    let header = Header { reserve: Header::reserve_of(true, request.room), ..request.header };
    Packet { header, entries: request.entries.clone(), room: request.room }.write()
}
