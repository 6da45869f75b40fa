//! One probe: what is known of its way, from this host's kernel, its program, and the other host.

use crate::event::{Event, Kind};
use crate::point::{DELAYS, Delay, Point};
use crate::wire::Entry;

/// A pass of a host between (network-namespace mode).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Which of the four.
    pub point: Point,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Index of the device in it.
    pub ifindex: u32,
    /// The device's name; empty where another host tells.
    pub device: String,
    /// What the user of that host has set; 0 of this host.
    pub user_id: u16,
    /// Nanoseconds of this host's monotonic clock; of another host's where that tells.
    pub time: u64,
    /// This host's kernel saw it.
    pub is_own: bool,
}

/// One probe. Times are nanoseconds of the monotonic clock; of the other host they are whole microseconds, and only their low 32
/// bits are known: they are taken to be those nearest to this host's time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Number of the request.
    pub seq: u32,
    /// By the number of the point.
    pub points: [Option<u64>; Point::COUNT],
    /// The other host has this host's clock: it is this host.
    pub one_clock: bool,
    /// The other host's network namespace; 0 where it does not tell.
    pub remote_netns: u32,
    /// What the hosts between tell, in the order of time.
    pub hops: Vec<Hop>,
}

/// How far the clock of the kernel's events is ahead of the monotonic one: nanoseconds spent suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspended(pub u64);

impl Suspended {
    /// A time of an event on the monotonic clock.
    pub fn monotonic(self, time: u64) -> u64 {
        time.saturating_sub(self.0)
    }
}

/// What fits into an entry: the low 32 bits of microseconds.
pub fn entry_time(monotonic: u64) -> u32 {
    (monotonic / 1000) as u32
}

/// The time that an entry means, nearest to another one.
fn unwrap(ts: u32, near: u64) -> u64 {
    let near_us = near / 1000;
    let ahead = i64::from(ts.wrapping_sub(near_us as u32) as i32);
    near_us.saturating_add_signed(ahead) * 1000
}

impl Sample {
    /// The time at a point.
    pub fn at(&self, point: Point) -> Option<u64> {
        self.points[point as usize]
    }

    /// Sets the time at a point.
    pub fn set(&mut self, point: Point, time: u64) {
        self.points[point as usize] = Some(time);
    }

    /// Takes over what this host's kernel has seen. Of a probe that nobody of pingtrace's has sent, the reader's time is that of
    /// the kernel.
    pub fn add_event(&mut self, event: &Event, suspended: Suspended) {
        let all = [
            (Point::LTxDevqueue, event.l_tx_devqueue),
            (Point::LTxDevout, event.l_tx_devout),
            (Point::RRxDevrcv, event.r_rx_devrcv),
            (Point::RRxIcmprcv, event.r_rx_icmprcv),
            (Point::RTxDevout, event.r_tx_devout),
            (Point::LRxSoftirq, event.l_rx_softirq),
            (Point::LRxIprcv, event.l_rx_iprcv),
            (Point::LRxSkdataready, event.l_rx_skdataready),
            (Point::LRxWakeup, event.l_rx_wakeup),
        ];
        for (point, time) in all {
            if time > 0 {
                self.set(point, suspended.monotonic(time));
            }
        }
        if event.kind == Kind::RoundTrip && event.l_rx_read > 0 && self.at(Point::LRxUser).is_none() {
            self.set(Point::LRxUser, suspended.monotonic(event.l_rx_read));
        }
    }

    /// Takes over what the other host tells. Points that it cannot know are passed over; gives how many.
    pub fn add_entries(&mut self, entries: &[Entry]) -> usize {
        let near = self.at(Point::LTxUser).unwrap_or(0);
        let mut strange = 0;
        for entry in entries {
            let time = unwrap(entry.ts, near);
            match Point::from_number(entry.function_id) {
                Some(point) if point.is_remote() => {
                    self.remote_netns = entry.ns_id;
                    self.set(point, time);
                }
                Some(point) if point.is_between() => self.hops.push(Hop {
                    point,
                    netns: entry.ns_id,
                    ifindex: entry.ifindex,
                    device: String::new(),
                    user_id: entry.user_id,
                    time,
                    is_own: self.one_clock,
                }),
                _ => strange += 1,
            }
        }
        strange
    }

    /// Takes over that this host's kernel saw the probe pass a device.
    pub fn add_pass(&mut self, event: &Event, suspended: Suspended) {
        let all = [
            (Point::MTxDevecho, event.m_tx_devecho),
            (Point::MRxDevecho, event.m_rx_devecho),
            (Point::MTxDevreply, event.m_tx_devreply),
            (Point::MRxDevreply, event.m_rx_devreply),
        ];
        self.hops.extend(all.into_iter().filter(|(_, time)| *time > 0).map(|(point, time)| Hop {
            point,
            netns: event.netns,
            ifindex: event.ifindex,
            device: event.device_name(),
            user_id: 0,
            time: suspended.monotonic(time),
            is_own: true,
        }));
    }

    /// A delay, by its place in [`DELAYS`]: nanoseconds. `None` where a point is not seen, or, on one clock, came after the other
    /// one; between hosts the difference of two clocks is in it, and it may be negative.
    pub fn delay(&self, delay: usize) -> Option<i64> {
        let delay = &DELAYS[delay];
        let (from, to) = (self.at(delay.between.0)?, self.at(delay.between.1)?);
        let took = to.wrapping_sub(from) as i64;
        if delay.is_between_hosts() {
            // two times of one clock, of which one is cut to whole microseconds
            let is_cut = self.one_clock && (-1000..0).contains(&took);
            return Some(if is_cut { 0 } else { took });
        }
        (took >= 0).then_some(took)
    }

    /// The delays that make up the whole, one behind the other, as finely as points are seen: places in [`DELAYS`]. Their sum is
    /// the total, whatever the clocks.
    pub fn stages(&self) -> Vec<usize> {
        use Point::{
            LRxIprcv, LRxSkdataready, LRxSoftirq, LRxUser, LRxWakeup, LTxDevout, LTxDevqueue, LTxUser, RRxDevrcv,
            RRxIcmprcv, RRxUser, RTxDevout, RTxUser,
        };
        let sees = |points: &[Point]| points.iter().all(|&point| self.at(point).is_some());
        let mut way = Vec::with_capacity(13);
        let mut go = |points: &[Point]| way.extend(points.iter().copied().filter(|&point| sees(&[point])));
        go(&[LTxUser]);
        if sees(&[LTxDevout]) {
            go(&[LTxDevqueue, LTxDevout]);
            if sees(&[RRxDevrcv, RTxDevout]) && sees(&[LRxIprcv]) {
                go(&[RRxDevrcv]);
                if sees(&[RRxIcmprcv]) {
                    go(&[RRxIcmprcv]);
                    if sees(&[RRxUser, RTxUser]) {
                        go(&[RRxUser, RTxUser]);
                    }
                }
                go(&[RTxDevout]);
            }
            if sees(&[LRxIprcv]) && self.softirq_is_in_order() {
                go(&[LRxSoftirq]);
            }
        }
        go(&[LRxIprcv]);
        if sees(&[LRxIprcv, LRxSkdataready]) {
            go(&[LRxSkdataready, LRxWakeup]);
        }
        go(&[LRxUser]);
        way.windows(2).filter_map(|pair| Delay::by_points(pair[0], pair[1])).collect()
    }

    /// On one clock the softirq that receives the reply may have been raised before the reply left: it is then no point of the way.
    fn softirq_is_in_order(&self) -> bool {
        match (self.at(Point::LRxSoftirq), self.at(Point::RTxDevout)) {
            (Some(raised), Some(left)) => !self.one_clock || raised >= left,
            _ => true,
        }
    }

    /// From the first to the last point of this host: the total, or what is seen of it.
    pub fn total(&self) -> Option<u64> {
        let from = self.at(Point::LTxUser).or_else(|| self.at(Point::LTxDevqueue))?;
        self.at(Point::LRxUser)?.checked_sub(from)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A probe of which all is seen. The other host's clock is 5 s ahead.
    pub(crate) fn whole() -> Sample {
        let mut sample = Sample { seq: 7, ..Sample::default() };
        let local = [
            (Point::LTxUser, 100),
            (Point::LTxDevqueue, 112),
            (Point::LTxDevout, 115),
            (Point::LRxSoftirq, 250),
            (Point::LRxIprcv, 254),
            (Point::LRxSkdataready, 260),
            (Point::LRxWakeup, 268),
            (Point::LRxUser, 300),
        ];
        for (point, us) in local {
            sample.set(point, (1_000_000 + us) * 1000);
        }
        let entry = |point: Point, us: u32| Entry { function_id: point as u16, ts: 6_000_000 + us, ..Entry::default() };
        let entries = [entry(Point::RRxDevrcv, 160), entry(Point::RRxIcmprcv, 163), entry(Point::RTxDevout, 200)];
        assert_eq!(sample.add_entries(&entries), 0);
        sample
    }

    #[track_caller]
    fn check(sample: &Sample, expected: &[&str]) {
        let stages = sample.stages();
        let names: Vec<&str> = stages.iter().map(|&stage| DELAYS[stage].name).collect();
        assert_eq!(names, expected);
        let sum: i64 = stages.iter().map(|&stage| sample.delay(stage).expect("both points")).sum();
        assert_eq!(Some(sum as u64), sample.total());
    }

    #[test]
    fn the_stages_make_up_the_whole_whatever_is_seen() {
        let mut sample = whole();
        let ends = ["l_rx_wire", "l_rx_softirq", "l_rx_kern", "l_rx_task_waking", "l_rx_task_queue"];
        let begins = ["l_tx_kern", "l_tx_qdisc", "l_tx_outlink", "r_rx_kern", "r_tx_kern"];
        check(&sample, &[begins, ends].concat());
        sample.points[Point::RRxIcmprcv as usize] = None;
        sample.points[Point::LRxWakeup as usize] = None;
        let ends = ["r_merged_kern", "l_rx_wire", "l_rx_softirq", "l_rx_kern", "l_rx_task"];
        check(&sample, &[&begins[..3], &ends].concat());
        sample.points[Point::RRxDevrcv as usize] = None;
        sample.points[Point::LRxSoftirq as usize] = None;
        sample.points[Point::LTxDevqueue as usize] = None;
        check(&sample, &["l_tx_merged_kern", "outside", "l_rx_kern", "l_rx_task"]);
        sample.points[Point::LTxDevout as usize] = None;
        sample.points[Point::LRxSkdataready as usize] = None;
        check(&sample, &["unseen", "l_rx_merged_kern"]);
        sample.points[Point::LRxIprcv as usize] = None;
        check(&sample, &["total"]);
    }

    #[test]
    fn a_server_of_udp_has_its_own_time() {
        let mut sample = whole();
        let entry = |point: Point, us: u32| Entry { function_id: point as u16, ts: 6_000_000 + us, ..Entry::default() };
        sample.add_entries(&[entry(Point::RRxUser, 170), entry(Point::RTxUser, 180)]);
        let middle = ["l_tx_outlink", "r_rx_kern", "r_task", "r_user", "r_tx_user_kern", "l_rx_wire"];
        let ends = ["l_rx_softirq", "l_rx_kern", "l_rx_task_waking", "l_rx_task_queue"];
        check(&sample, &[&["l_tx_kern", "l_tx_qdisc"][..], &middle, &ends].concat());
    }

    #[test]
    fn a_softirq_that_was_raised_too_early_is_no_stage_on_one_clock() {
        let mut sample = whole();
        for point in Point::ALL.into_iter().filter(|point| point.is_remote()) {
            sample.points[point as usize] = sample.at(point).map(|time| time - 5_000_000_000);
        }
        sample.one_clock = true;
        sample.set(Point::LRxSoftirq, 1_000_199_000);
        let stages = sample.stages();
        assert!(stages.contains(&Delay::by_name("l_rx_inlink").expect("a delay")));
    }

    #[test]
    fn microseconds_are_cut_off_at_32_bits_and_found_again() {
        let late = (u64::from(u32::MAX) + 10) * 1000;
        let mut sample = Sample::default();
        sample.set(Point::LTxUser, late);
        let entry = Entry { function_id: 9, ts: entry_time(late + 7_000), ..Entry::default() };
        let before = Entry { function_id: 4, ts: entry_time(late - 20_000), ..Entry::default() };
        sample.add_entries(&[entry, before]);
        assert_eq!(sample.at(Point::RRxDevrcv), Some(late + 7_000));
        assert_eq!(sample.at(Point::RTxDevout), Some(late - 20_000));
    }

    #[test]
    fn points_that_the_other_host_cannot_know_are_counted_and_not_taken() {
        let mut sample = whole();
        let before = sample.clone();
        let entry = |function_id| Entry { function_id, ts: 1, ..Entry::default() };
        assert_eq!(sample.add_entries(&[entry(0), entry(8), entry(17), entry(u16::MAX)]), 4);
        assert_eq!(sample, before);
    }
}
