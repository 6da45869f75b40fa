//! The delays between a ping's points, by the names that pingtrace's users know.

use crate::event::Event;

/// What the program that pings knows itself: points 0 and 8, nanoseconds of the same clock as the event's. `None` where it does
/// not, as of other programs' pings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserTimes {
    /// Point 0: it is about to send the request.
    pub l_tx_user: Option<u64>,
    /// Point 8: it has the reply.
    pub l_rx_user: Option<u64>,
}

/// Nanoseconds between points of one host. `None` where one of the two was not seen, or came after the other.
///
/// The two delays between hosts, `l_tx_outlink` (2 to 9) and `l_rx_inlink` (4 to 5), are not here: they take two events and
/// cross two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// The whole round trip: 0 to 8. Where user space's times are not known, from 1 and to `l_rx_read`.
    pub total: Option<u64>,
    /// The stack of the sender: 0 to 1.
    pub l_tx_kern: Option<u64>,
    /// Its qdisc: 1 to 2.
    pub l_tx_qdisc: Option<u64>,
    /// Both: 0 to 2.
    pub l_tx_merged_kern: Option<u64>,
    /// The receiving stack of the answerer: 9 to 3.
    pub r_rx_kern: Option<u64>,
    /// Its sending stack, with its qdisc: 3 to 4.
    pub r_tx_kern: Option<u64>,
    /// Both, which needs no probe of ICMP: 9 to 4.
    pub r_merged_kern: Option<u64>,
    /// From raising the softirq to its taking the reply: 10 to 5.
    pub l_rx_softirq: Option<u64>,
    /// The receiving stack of the sender: 5 to 6.
    pub l_rx_kern: Option<u64>,
    /// From the socket to a run queue: 6 to 7.
    pub l_rx_task_waking: Option<u64>,
    /// On the run queue: 7 to 8, or to `l_rx_read`.
    pub l_rx_task_queue: Option<u64>,
    /// From the device to the reader: 5 to 8, or to `l_rx_read`.
    pub l_rx_merged_kern: Option<u64>,
}

impl Event {
    /// The delays of this host's part.
    pub fn delays(&self, user: UserTimes) -> Delays {
        let from_user = user.l_tx_user.unwrap_or(0);
        let to_user = user.l_rx_user.unwrap_or(self.l_rx_read);
        Delays {
            total: between(user.l_tx_user.unwrap_or(self.l_tx_devqueue), to_user),
            l_tx_kern: between(from_user, self.l_tx_devqueue),
            l_tx_qdisc: between(self.l_tx_devqueue, self.l_tx_devout),
            l_tx_merged_kern: between(from_user, self.l_tx_devout),
            r_rx_kern: between(self.r_rx_devrcv, self.r_rx_icmprcv),
            r_tx_kern: between(self.r_rx_icmprcv, self.r_tx_devout),
            r_merged_kern: between(self.r_rx_devrcv, self.r_tx_devout),
            l_rx_softirq: between(self.l_rx_softirq, self.l_rx_iprcv),
            l_rx_kern: between(self.l_rx_iprcv, self.l_rx_skdataready),
            l_rx_task_waking: between(self.l_rx_skdataready, self.l_rx_wakeup),
            l_rx_task_queue: between(self.l_rx_wakeup, to_user),
            l_rx_merged_kern: between(self.l_rx_iprcv, to_user),
        }
    }
}

fn between(from: u64, to: u64) -> Option<u64> {
    if from == 0 || to == 0 { None } else { to.checked_sub(from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Kind, Packet, Role};

    fn event() -> Event {
        Event {
            kind: Kind::RoundTrip,
            role: Role::Local,
            id: 1,
            sequence: 1,
            family: 2,
            protocol: 1,
            local_address: [0; 16],
            peer_address: [0; 16],
            netns: 0,
            ifindex: 1,
            device: [0; 16],
            length: 84,
            pid: 0,
            tid: 0,
            comm: [0; 16],
            drop_reason: 0,
            dropped_packet: Packet::None,
            receive_cpu: 0,
            l_tx_devqueue: 0,
            l_tx_devout: 0,
            r_rx_devrcv: 0,
            r_rx_icmprcv: 0,
            r_tx_devout: 0,
            l_rx_softirq: 0,
            l_rx_iprcv: 0,
            l_rx_skdataready: 0,
            l_rx_wakeup: 0,
            l_rx_read: 0,
            dropped: 0,
            m_tx_devecho: 0,
            m_rx_devecho: 0,
            m_tx_devreply: 0,
            m_rx_devreply: 0,
        }
    }

    #[track_caller]
    fn check(event: &Event, user: UserTimes, expected: Delays) {
        assert_eq!(event.delays(user), expected);
    }

    fn round_trip() -> Event {
        Event {
            l_tx_devqueue: 1_010,
            l_tx_devout: 1_030,
            l_rx_softirq: 2_000,
            l_rx_iprcv: 2_005,
            l_rx_skdataready: 2_012,
            l_rx_wakeup: 2_022,
            l_rx_read: 2_100,
            ..event()
        }
    }

    #[test]
    fn a_foreign_ping_has_all_but_what_its_user_knows() {
        let expected = Delays {
            total: Some(1_090),
            l_tx_qdisc: Some(20),
            l_rx_softirq: Some(5),
            l_rx_kern: Some(7),
            l_rx_task_waking: Some(10),
            l_rx_task_queue: Some(78),
            l_rx_merged_kern: Some(95),
            ..Delays::default()
        };
        check(&round_trip(), UserTimes::default(), expected);
    }

    #[test]
    fn the_stages_of_an_own_ping_sum_up() {
        let user = UserTimes { l_tx_user: Some(1_000), l_rx_user: Some(2_111) };
        let delays = round_trip().delays(user);
        assert_eq!(delays.total, Some(1_111));
        assert_eq!((delays.l_tx_kern, delays.l_tx_merged_kern), (Some(10), Some(30)));
        let stages = [delays.l_rx_kern, delays.l_rx_task_waking, delays.l_rx_task_queue];
        assert_eq!(stages.into_iter().sum::<Option<u64>>(), delays.l_rx_merged_kern);
    }

    #[test]
    fn the_answerers_part_with_and_without_a_probe_of_icmp() {
        let mut event = Event { r_rx_devrcv: 50, r_rx_icmprcv: 60, r_tx_devout: 90, ..event() };
        let all = Delays { r_rx_kern: Some(10), r_tx_kern: Some(30), r_merged_kern: Some(40), ..Delays::default() };
        check(&event, UserTimes::default(), all);
        event.r_rx_icmprcv = 0;
        check(&event, UserTimes::default(), Delays { r_merged_kern: Some(40), ..Delays::default() });
    }

    #[test]
    fn times_of_two_clocks_are_no_delay() {
        let event = Event { l_tx_devqueue: 20, l_tx_devout: 10, ..event() };
        check(&event, UserTimes::default(), Delays::default());
    }
}
