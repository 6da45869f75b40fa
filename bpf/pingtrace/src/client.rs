//! `pingtrace -c`: probes, one after the other.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use pingtrace::judge::{Asker, Protocol, Verdict};
use pingtrace::picture::Hosts;
use pingtrace::summary::Summary;
use pingtrace::wire::{Echo, Header, Packet};
use pingtrace::{Config, Event, Key, Kind, Point, Role, Sample};

use crate::args::{Args, Mode, Output};
use crate::kernel::{Kernel, now};
use crate::namespace;
use crate::output::Teller;
use crate::stop::Stop;
use crate::transport::{Transport, local_address, wait};

/// How long a probe waits for its replies.
const TIMEOUT: u64 = 1_000_000_000;
/// Second replies in a row that may stay away before `auto` waits for none any more.
const MISSES: u32 = 3;
/// Probes whose replies are still known when they come late.
const REMEMBERED: usize = 1024;

/// Which replies of a probe have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Come {
    first: bool,
    second: bool,
}

struct Client<'a> {
    args: &'a Args,
    asker: Asker,
    transport: Transport,
    kernel: Option<Kernel>,
    summary: Summary,
    hosts: Hosts,
    teller: Teller,
    stop: Stop,
    netns: u32,
    compact: bool,
    misses: u32,
    /// The last probes' replies, the newest last.
    come: VecDeque<(u32, Come)>,
    buffer: Vec<u8>,
    /// The kernel's points of receiving may be those of a packet that was no reply.
    deceived: bool,
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr> {
    let mut addresses = (host, port).to_socket_addrs().with_context(|| host.to_owned())?;
    addresses.next().ok_or_else(|| anyhow!("{host}: no address"))
}

pub(crate) fn run(args: &Args, host: &str) -> Result<ExitCode> {
    let to = resolve(host, args.port)?;
    let stop = Stop::new(args)?;
    let protocol = Protocol::from(args.proto);
    let local = local_address(to).with_context(|| format!("a route to {}", to.ip()))?;
    // nobody can guess it who does not see the probes
    let id = RandomState::new().build_hasher().finish() as u32;
    let config = Config {
        role: Role::Local as u32,
        id: id as u16,
        udp: u8::from(protocol == Protocol::Udp),
        tcp_port: if protocol == Protocol::Tcp { args.port } else { 0 },
        only_probes: 1,
        passes: u8::from(args.namespace),
        ..Config::default()
    };
    let kernel = Kernel::load_or_say(args, &config);
    let transport = Transport::open(protocol, to)?;
    let teller = Teller::new(args, Output::Image)?;
    let missing = kernel.as_ref().map_or_else(Vec::new, |kernel| kernel.missing.clone());
    // points of the answerer are not this kernel's to see
    let missing = missing.into_iter().filter(|(point, _)| !point.is_remote()).collect();
    let hosts =
        Hosts { local: local.to_string(), remote: to.ip().to_string(), protocol: protocol.name().to_owned(), missing };
    let mut client = Client {
        args,
        asker: Asker { id, peer: to.ip(), protocol },
        transport,
        kernel,
        summary: Summary::new(args.maxdelay.saturating_mul(1000)),
        hosts,
        teller,
        stop,
        netns: namespace::inum(),
        compact: args.mode != Mode::Pingpong,
        misses: 0,
        come: VecDeque::new(),
        buffer: vec![0; 1 << 16],
        deceived: false,
    };
    client.summary.one_clock = args.nslocal || local == to.ip();
    client.probes()?;
    let answered = client.summary.counters.reply_num;
    client.end()?;
    Ok(if answered > 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl Client<'_> {
    fn probes(&mut self) -> Result<()> {
        let Hosts { local, remote, protocol, .. } = &self.hosts;
        let size = self.args.room();
        let begin = format!("pingtrace {local} > {remote}: {protocol}, {size} entries, id {:#010x}", self.asker.id);
        self.teller.begin(&begin)?;
        if self.args.output.is_some() {
            // each picture says so itself
            for (point, why) in &self.hosts.missing {
                self.teller.begin(&format!("  ({}) {} is not seen: {why}", *point as u16, point.name()))?;
            }
        }
        let mut next = now();
        let last = self.args.count.unwrap_or(u64::MAX);
        for number in 1..=last {
            self.probe(number as u32)?;
            next = next.saturating_add(self.args.interval.saturating_mul(1000)).max(now());
            // nobody waits behind the last one
            while number < last && !self.is_over() && now() < next {
                self.receive(next - now(), None)?;
            }
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stop.is_due() || self.teller.closed
    }

    /// Sends a probe and waits for its replies.
    fn probe(&mut self, seq: u32) -> Result<()> {
        let room = self.args.room();
        let reserve = if self.asker.protocol == Protocol::Icmp { 0 } else { Header::reserve_of(false, room) };
        let header = Header { id: self.asker.id, seq, reserve, ..Header::default() };
        let mut sample = Sample { seq, one_clock: self.summary.one_clock, ..Sample::default() };
        self.come.push_back((seq, Come::default()));
        if self.come.len() > REMEMBERED {
            self.come.pop_front();
        }
        let (time, sent) = self.transport.send(&Packet { header, entries: Vec::new(), room });
        if let Err(error) = sent {
            self.summary.counters.send_error_num += 1;
            return self.teller.note(&format!("seq {seq}: not sent: {error}"));
        }
        self.summary.counters.send_num += 1;
        sample.set(Point::LTxUser, time);
        self.deceived = false;
        let deadline = time + TIMEOUT;
        while !self.is_complete() && now() < deadline && !self.is_over() {
            self.receive(deadline.saturating_sub(now()), Some(&mut sample))?;
        }
        self.finish(sample)
    }

    fn newest(&self) -> Come {
        self.come.back().map_or(Come::default(), |(_, come)| *come)
    }

    fn is_complete(&self) -> bool {
        let come = self.newest();
        come.first && (come.second || !self.compact)
    }

    /// Waits for packets and takes all that are there, for the probe that is under way if there is one.
    fn receive(&mut self, nanoseconds: u64, mut sample: Option<&mut Sample>) -> Result<()> {
        // not longer than a signal may go unseen, should it come right before
        let nanoseconds = self.stop.left(nanoseconds).min(100_000_000);
        let descriptor: Vec<_> = self.transport.descriptor().into_iter().collect();
        wait(&descriptor, nanoseconds).context("waiting for replies")?;
        while let Some(incoming) = self.transport.receive(&mut self.buffer).context("receiving")? {
            match self.asker.judge(incoming.from, &incoming.bytes) {
                Verdict::Reply(packet) => self.reply(&packet, incoming.time, sample.as_deref_mut()),
                other => {
                    other.count(&mut self.summary.counters);
                    let waits = sample.as_deref().filter(|_| !self.newest().first);
                    self.deceived |= waits.is_some_and(|sample| self.kernel_takes(&incoming.bytes, sample.seq));
                }
            }
        }
        Ok(())
    }

    /// The kernel's part knows replies by the low bits of id and number alone: whether it takes this one, which is none, for one.
    fn kernel_takes(&self, bytes: &[u8], seq: u32) -> bool {
        match (self.asker.protocol, Echo::parse(bytes)) {
            (Protocol::Icmp, Some((echo, _))) => (echo.id, echo.sequence) == (self.asker.id as u16, seq as u16),
            (Protocol::Icmp, None) => false,
            _ => true,
        }
    }

    fn reply(&mut self, packet: &Packet, time: u64, sample: Option<&mut Sample>) {
        let (seq, is_second) = (packet.header.seq, packet.header.is_final());
        let counters = &mut self.summary.counters;
        let Some((_, come)) = self.come.iter_mut().find(|(number, _)| *number == seq) else {
            // long ago, or never asked
            let was_asked = self.come.front().is_some_and(|(oldest, _)| seq > 0 && seq < *oldest);
            *(if was_asked { &mut counters.late_num } else { &mut counters.wrong_seq_num }) += 1;
            return;
        };
        let seen = if is_second { &mut come.second } else { &mut come.first };
        if std::mem::replace(seen, true) {
            counters.duplicate_num += 1;
            return;
        }
        let overtaken = !is_second && come.second;
        match sample.filter(|sample| sample.seq == seq) {
            Some(sample) if is_second => {
                counters.strange_entry_num += sample.add_entries(&packet.entries) as u64;
            }
            Some(sample) => {
                counters.reordered_num += u64::from(overtaken);
                sample.set(Point::LRxUser, time);
                // kernels that write into packets tell their points here, and this host's among them
                sample.add_entries(&packet.entries);
            }
            // who waits for one reply only is sent the second one all the same
            None if is_second && !self.compact => {}
            None => counters.late_num += 1,
        }
    }

    /// All that is known of a probe is together.
    fn finish(&mut self, mut sample: Sample) -> Result<()> {
        let come = self.newest();
        let event = self.of_kernel(&mut sample)?;
        if !come.first {
            if self.is_over() && now() < sample.at(Point::LTxUser).unwrap_or(0) + TIMEOUT {
                // it was not given its time
                self.summary.counters.send_num -= 1;
                return Ok(());
            }
            self.summary.counters.lost_num += 1;
            let why = event.as_ref().map_or("", how_far);
            return self.teller.note(&format!("seq {}: no reply within a second{why}", sample.seq));
        }
        self.summary.counters.reply_num += 1;
        if self.compact {
            self.summary.counters.missed_num += u64::from(!come.second);
            self.misses = if come.second { 0 } else { self.misses + 1 };
            if self.args.mode == Mode::Auto && self.misses > MISSES {
                self.compact = false;
                self.teller.note("no second replies (is there a pingtrace -s?): from here on round trips only")?;
            }
        }
        let (own, other) = (self.netns, sample.remote_netns);
        let has_one_clock = sample.one_clock;
        sample.hops.retain(|hop| !hop.is_own || hop.netns != own && (!has_one_clock || hop.netns != other));
        sample.hops.sort_by_key(|hop| (hop.user_id, hop.time));
        if self.summary.add(&sample) {
            self.teller.probe(&sample, &self.summary, &self.hosts, "")?;
        }
        Ok(())
    }

    /// Takes over what this host's kernel tells of the probe: its way, and what it passes. Gives how far it came.
    fn of_kernel(&self, sample: &mut Sample) -> Result<Option<Event>> {
        let Some(kernel) = &self.kernel else { return Ok(None) };
        let suspended = kernel.suspended();
        let mut last = None;
        for event in kernel.take()? {
            if event.id != self.asker.id as u16 || event.sequence != sample.seq as u16 {
                continue;
            }
            match event.kind {
                Kind::Passed => sample.add_pass(&event, suspended),
                Kind::RoundTrip | Kind::Dropped => last = Some(event),
                Kind::Answered => {}
            }
        }
        if last.is_none() {
            // replies in UDP and TCP have no end in the kernel, and what is lost has none at all
            let key = Key::local(self.asker.peer, self.netns, self.asker.id, sample.seq);
            last = kernel.unfinished(&key).map(|mut event| {
                let read = sample.at(Point::LRxUser).unwrap_or(0);
                // some other process was woken, or this one had not yet slept: it did not wait for that
                if event.pid != std::process::id() || suspended.monotonic(event.l_rx_wakeup) > read {
                    event.l_rx_wakeup = 0;
                }
                event
            });
        }
        if let Some(event) = &last {
            sample.add_event(event, suspended);
        }
        if self.deceived {
            for point in [Point::LRxSoftirq, Point::LRxIprcv, Point::LRxSkdataready, Point::LRxWakeup] {
                sample.points[point as usize] = None;
            }
        }
        Ok(last)
    }

    fn end(mut self) -> Result<()> {
        self.summary.counters.lost_event_num = self.kernel.as_ref().map_or(0, Kernel::lost);
        let Hosts { local, remote, protocol, .. } = &self.hosts;
        let title = format!("pingtrace {local} > {remote}, {protocol}");
        self.teller.end(&self.summary, &title)
    }
}

/// How far a probe came that was not answered.
fn how_far(event: &Event) -> &'static str {
    match (event.kind, event.dropped_packet) {
        (Kind::Dropped, pingtrace::Packet::Reply) => ": this host has dropped the reply",
        (Kind::Dropped, _) => ": this host has dropped the request",
        _ if event.l_rx_skdataready > 0 => ": its reply came to the socket",
        _ if event.l_rx_iprcv > 0 => ": its reply came to the device, and not to the socket",
        _ if event.l_tx_devout > 0 => ": it has left this host",
        _ => ": it waits for its device",
    }
}
