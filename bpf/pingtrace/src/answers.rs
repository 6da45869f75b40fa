//! What the kernel tells of requests that it, or this server, has answered; kept until the second reply.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use pingtrace::wire::{Entry, Header};
use pingtrace::{Event, Kind, Point, Suspended, entry_time};

/// Answers of the kernel that are kept for their second reply.
const MOST_ANSWERS: usize = 8192;
/// Passes of devices likewise; each second reply looks at all of them.
const MOST_PASSES: usize = 1024;

/// By what a request is known in the kernel's events: who asks, the low bits of id and number.
pub(crate) type Key = (IpAddr, u16, u16);

/// The kernel's answers, the oldest of which make room.
#[derive(Default)]
pub(crate) struct Answers {
    events: HashMap<Key, Event>,
    order: VecDeque<Key>,
    /// Passes of devices of this host, the newest last.
    passes: VecDeque<Event>,
}

impl Answers {
    /// Keeps what an event tells of an answer or of a pass.
    pub(crate) fn put(&mut self, event: Event) {
        match event.kind {
            Kind::Answered => {}
            Kind::Passed => {
                self.passes.push_back(event);
                if self.passes.len() > MOST_PASSES {
                    self.passes.pop_front();
                }
                return;
            }
            Kind::RoundTrip | Kind::Dropped => return,
        }
        let key = (event.peer(), event.id, event.sequence);
        if self.events.insert(key, event).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MOST_ANSWERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.events.remove(&oldest);
        }
    }

    /// The answer to a request, once.
    pub(crate) fn take(&mut self, key: &Key) -> Option<Event> {
        self.events.remove(key)
    }

    /// What passed in other namespaces than the answering one.
    pub(crate) fn passed(&mut self, header: &Header, netns: u32) -> Vec<Event> {
        let is_its = |event: &Event| (event.id, event.sequence) == (header.id as u16, header.seq as u16);
        let (its, others): (VecDeque<Event>, _) = self.passes.drain(..).partition(is_its);
        self.passes = others;
        its.into_iter().filter(|event| event.netns != netns).collect()
    }
}

/// What the kernel's event tells, for the other host.
pub(crate) fn entries(event: &Event, suspended: Suspended, user_id: u16) -> Vec<Entry> {
    let all = [
        (Point::RRxDevrcv, event.r_rx_devrcv),
        (Point::RRxIcmprcv, event.r_rx_icmprcv),
        (Point::RTxDevout, event.r_tx_devout),
    ];
    as_entries(&all, event, suspended, user_id)
}

/// What the event of a pass tells.
pub(crate) fn entries_of_pass(event: &Event, suspended: Suspended, user_id: u16) -> Vec<Entry> {
    let all = [
        (Point::MTxDevecho, event.m_tx_devecho),
        (Point::MRxDevecho, event.m_rx_devecho),
        (Point::MTxDevreply, event.m_tx_devreply),
        (Point::MRxDevreply, event.m_rx_devreply),
    ];
    as_entries(&all, event, suspended, user_id)
}

fn as_entries(all: &[(Point, u64)], event: &Event, suspended: Suspended, user_id: u16) -> Vec<Entry> {
    let entry = |&(point, time): &(Point, u64)| Entry {
        ns_id: event.netns,
        ifindex: event.ifindex,
        user_id,
        function_id: point as u16,
        ts: entry_time(suspended.monotonic(time)),
    };
    all.iter().filter(|(_, time)| *time > 0).map(entry).collect()
}
