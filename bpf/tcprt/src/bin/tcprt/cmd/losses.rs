//! What is in no record: counted, and told on standard error.

use std::time::Duration;

use crate::agent::Agent;

/// What was lost, as far as it was told.
#[derive(Default)]
pub(super) struct Losses {
    pub(super) lost: u64,
    refused: u64,
    pub(super) evicted: u64,
    untold: u64,
}

impl Losses {
    const EVENTS: &str = "events were lost: overwritten before they were read (--slots)";
    const REFUSED: &str = "times there was no memory for a connection, which is not measured then";
    const EVICTED: &str =
        "connections went from the full table before their end: what they did is not told (--connections)";
    const REQUESTS: &str = "or more requests are not told by themselves: too many waited for an answer";

    /// What there is so far; `lost`: events.
    pub(super) fn of(agent: &Agent, lost: u64) -> Losses {
        Losses { lost, refused: agent.refused(), evicted: agent.evicted(), untold: agent.untold() }
    }

    fn all(&self) -> [(u64, &'static str); 4] {
        [
            (self.lost, Self::EVENTS),
            (self.refused, Self::REFUSED),
            (self.evicted, Self::EVICTED),
            (self.untold, Self::REQUESTS),
        ]
    }

    /// Tells what is new in an interval.
    pub(super) fn tell(&mut self, now: Losses, interval: Duration) {
        for ((number, what), (before, _)) in now.all().into_iter().zip(self.all()) {
            if number > before {
                eprintln!("tcprt: in {:.1} s, {} {what}", interval.as_secs_f64(), number - before);
            }
        }
        *self = now;
    }

    /// Tells all, at the end; `unreadable`: events.
    pub(super) fn tell_all(&self, unreadable: u64) {
        for (number, what) in self.all().into_iter().filter(|(number, _)| *number > 0) {
            eprintln!("tcprt: in all, {number} {what}");
        }
        if unreadable > 0 {
            eprintln!("tcprt: {unreadable} events were not of this version's form");
        }
    }
}
