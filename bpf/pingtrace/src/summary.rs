//! What all probes of a run come to: counters, each delay's least, mean, greatest and 99th percentile, and for each outlier the stage
//! to blame.

use crate::histogram::Histogram;
use crate::jitter::Jitter;
use crate::point::{DELAYS, Delay};
use crate::sample::Sample;

/// Outliers that are kept for the end: the slowest.
const OUTLIERS: usize = 1000;
/// Probes before an outlier is told from others while the run goes on.
const ENOUGH: u64 = 10;
/// Without a threshold, an outlier takes more than so many times the median.
const TIMES_MEDIAN: u64 = 3;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $words:literal,)*) => {
        /// What was counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Name, words and number of each, in order.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $words, self.$name),)*]
            }
        }
    };
}

counters! {
    /// Requests sent.
    send_num "sent",
    /// Requests that were answered in time.
    reply_num "answered",
    /// Requests that were not.
    lost_num "lost",
    /// Of the answered ones: the second reply, with the other host's times, did not come.
    missed_num "answered without the other host's times",
    /// Replies after their time.
    late_num "late replies",
    /// The same reply once more.
    duplicate_num "duplicates",
    /// Replies that overtook others.
    reordered_num "reordered",
    /// Too short for what they say that they are.
    truncated_num "truncated",
    /// Another program's magic.
    foreign_magic_num "of a foreign magic",
    /// Broken checksums, versions or numbers.
    garbage_num "garbage",
    /// Another identifier: of another pingtrace, or spoofed.
    wrong_id_num "of a wrong id",
    /// A number that nobody was sent.
    wrong_seq_num "of a wrong number",
    /// Another host's address.
    wrong_peer_num "from a wrong host",
    /// Entries of points that the other host cannot know.
    strange_entry_num "strange entries",
    /// Pings of other programs that came by.
    other_num "of other programs",
    /// What the kernel refused to send.
    send_error_num "not sent",
    /// Events of the kernel that were lost.
    lost_event_num "events lost",
}

/// Which stage an outlier is blamed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Its place in [`DELAYS`].
    pub stage: usize,
    /// How much longer than its own median it took: nanoseconds.
    pub excess: u64,
    /// How much longer than its median the whole took.
    pub whole: u64,
}

impl Blame {
    /// The stage's part of the excess, in percent; at most 100.
    pub fn percent(&self) -> u64 {
        self.excess.saturating_mul(100).checked_div(self.whole).unwrap_or(0).min(100)
    }
}

/// All probes so far.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Counters.
    pub counters: Counters,
    /// Nanoseconds from which a probe is late; 0: none is asked for.
    pub threshold: u64,
    /// The hosts have one clock.
    pub one_clock: bool,
    histograms: Vec<Histogram>,
    jitters: Vec<Jitter>,
    /// Delays that were a stage of some probe.
    are_stages: Vec<bool>,
    outliers: Vec<Sample>,
    /// Probes so slow that they were outliers, and not kept.
    not_kept: u64,
}

impl Summary {
    /// Of no probes.
    pub fn new(threshold: u64) -> Summary {
        Summary {
            counters: Counters::default(),
            threshold,
            one_clock: false,
            histograms: vec![Histogram::default(); DELAYS.len()],
            jitters: vec![Jitter::default(); DELAYS.len()],
            are_stages: vec![false; DELAYS.len()],
            outliers: Vec::new(),
            not_kept: 0,
        }
    }

    /// A delay as it can be told: between hosts of two clocks its jitter, above the least so far; `None` where it is not seen.
    pub fn told(&self, sample: &Sample, delay: usize) -> Option<u64> {
        if delay == 0 {
            return sample.total();
        }
        let raw = sample.delay(delay)?;
        if DELAYS[delay].is_between_hosts() && !sample.one_clock {
            return Some(self.jitters[delay].above(raw));
        }
        Some(u64::try_from(raw).unwrap_or(0))
    }

    /// Takes a probe in that was answered. Gives whether it is late.
    pub fn add(&mut self, sample: &Sample) -> bool {
        self.one_clock |= sample.one_clock;
        for (at, delay) in DELAYS.iter().enumerate() {
            let raw = sample.delay(at).filter(|_| delay.is_between_hosts() && !sample.one_clock);
            if let Some(raw) = raw {
                self.jitters[at].add(raw);
            }
            if let Some(told) = self.told(sample, at) {
                self.histograms[at].add(told);
            }
        }
        sample.stages().into_iter().for_each(|stage| self.are_stages[stage] = true);
        let total = sample.total().unwrap_or(0);
        if self.is_outlier(total) {
            // what slows down later may have been an outlier only so far: all is looked at again at the end
            let at = self.outliers.partition_point(|other| other.total().unwrap_or(0) >= total);
            self.outliers.insert(at, sample.clone());
            self.not_kept += u64::from(self.outliers.len() > OUTLIERS);
            self.outliers.truncate(OUTLIERS);
        }
        total >= self.threshold
    }

    fn is_outlier(&self, total: u64) -> bool {
        if self.threshold > 0 {
            return total >= self.threshold;
        }
        let medians = self.histograms[0].number() < ENOUGH;
        medians || self.histograms[0].permille(500).is_some_and(|median| total > median.saturating_mul(TIMES_MEDIAN))
    }

    /// Whether a delay was the whole, or a stage of some probe: the others are merged of these.
    pub fn is_stage(&self, delay: usize) -> bool {
        delay == 0 || self.are_stages[delay]
    }

    /// What a delay was.
    pub fn histogram(&self, delay: usize) -> &Histogram {
        &self.histograms[delay]
    }

    /// The stage whose excess over its own median is the greatest part of the excess of the whole. `None` where no stage was seen,
    /// or nothing took longer than usual.
    pub fn blame(&self, sample: &Sample) -> Option<Blame> {
        let excess = |delay: usize| {
            let median = self.histograms[delay].permille(500)?;
            Some(self.told(sample, delay)?.saturating_sub(median))
        };
        let whole = excess(0)?;
        let stages = sample.stages();
        let of_stages = stages.iter().filter_map(|&stage| Some((stage, excess(stage)?)));
        let (stage, excess) = of_stages.max_by_key(|(_, excess)| *excess).filter(|(_, excess)| *excess > 0)?;
        Some(Blame { stage, excess, whole })
    }

    /// The outliers, as they look from here: the slowest first, each with the stage to blame.
    pub fn outliers(&self) -> Vec<(&Sample, Option<Blame>)> {
        let median = self.histograms[0].permille(500).unwrap_or(0);
        let is_one = |sample: &&Sample| match self.threshold {
            0 => sample.total().is_some_and(|total| total > median.saturating_mul(TIMES_MEDIAN)),
            threshold => sample.total().is_some_and(|total| total >= threshold),
        };
        self.outliers.iter().filter(is_one).map(|sample| (sample, self.blame(sample))).collect()
    }

    /// How often each stage was blamed, the most often first; and how many outliers there were that were not kept.
    pub fn blamed(&self) -> (Vec<(usize, u64)>, u64) {
        let mut counts = vec![0_u64; DELAYS.len()];
        for (_, blame) in self.outliers() {
            if let Some(blame) = blame {
                counts[blame.stage] += 1;
            }
        }
        let mut counts: Vec<(usize, u64)> = counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        counts.sort_by_key(|&(stage, count)| (std::cmp::Reverse(count), stage));
        (counts, self.not_kept)
    }

    /// Whether only the jitter of a delay is known.
    pub fn is_jitter(&self, delay: &Delay) -> bool {
        delay.is_between_hosts() && !self.one_clock
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::point::Point;
    use crate::sample::tests::whole;

    /// A probe that is so much slower, from some point of the local host on.
    fn slower(from: Point, by: u64) -> Sample {
        let mut sample = whole();
        let begin = sample.at(from).expect("seen");
        for point in Point::ALL.into_iter().filter(|point| point.is_remote()) {
            if let Some(time) = sample.at(point).filter(|_| begin < 1_000_200_000) {
                sample.set(point, time + by);
            }
        }
        for point in Point::ALL.into_iter().filter(|point| !point.is_remote()) {
            if let Some(time) = sample.at(point).filter(|&time| time >= begin) {
                sample.set(point, time + by);
            }
        }
        sample
    }

    pub(crate) fn run() -> Summary {
        let mut summary = Summary::new(0);
        for _ in 0..30 {
            summary.add(&whole());
        }
        summary
    }

    #[track_caller]
    fn check(summary: &Summary, sample: &Sample, expected: &str) {
        let blame = summary.blame(sample).expect("a stage");
        assert_eq!(DELAYS[blame.stage].name, expected);
        assert!(blame.percent() >= 95, "{blame:?}");
    }

    #[test]
    fn an_outlier_is_blamed_on_the_stage_that_took_longer_than_usual() {
        let summary = run();
        check(&summary, &slower(Point::LTxDevqueue, 9_000_000), "l_tx_kern");
        check(&summary, &slower(Point::LTxDevout, 9_000_000), "l_tx_qdisc");
        check(&summary, &slower(Point::LRxIprcv, 9_000_000), "l_rx_softirq");
        check(&summary, &slower(Point::LRxSkdataready, 9_000_000), "l_rx_kern");
        check(&summary, &slower(Point::LRxWakeup, 9_000_000), "l_rx_task_waking");
        check(&summary, &slower(Point::LRxUser, 9_000_000), "l_rx_task_queue");
        check(&summary, &slower(Point::LRxSoftirq, 9_000_000), "l_rx_wire");
        assert_eq!(summary.blame(&whole()), None);
    }

    #[test]
    fn outliers_are_found_at_the_end_with_and_without_a_threshold() {
        let mut summary = run();
        assert!(summary.outliers().is_empty());
        summary.add(&slower(Point::LRxUser, 2_000_000));
        summary.add(&slower(Point::LRxUser, 5_000_000));
        let slow: Vec<u64> = summary.outliers().iter().filter_map(|(sample, _)| sample.total()).collect();
        assert_eq!(slow, [5_200_000, 2_200_000]);
        let (blamed, not_kept) = summary.blamed();
        assert_eq!((blamed, not_kept), (vec![(Delay::by_name("l_rx_task_queue").expect("a delay"), 2)], 0));
        let mut strict = Summary::new(100_000);
        assert!(strict.add(&whole()));
        assert_eq!(strict.outliers().len(), 1);
        assert!(!Summary::new(1_000_000).add(&whole()));
    }

    #[test]
    fn only_the_slowest_outliers_are_kept() {
        let mut summary = Summary::new(1);
        for by in 0..1100 {
            summary.add(&slower(Point::LRxUser, by * 1000));
        }
        assert_eq!((summary.outliers().len(), summary.blamed().1), (1000, 100));
        assert_eq!(summary.outliers()[999].0.total(), Some(300_000));
    }

    #[test]
    fn between_two_clocks_only_jitter_is_told() {
        let summary = run();
        let out = Delay::by_name("l_tx_outlink").expect("a delay");
        assert_eq!(summary.histogram(out).max(), Some(0));
        assert!(summary.is_jitter(&DELAYS[out]));
        assert_eq!(summary.told(&slower(Point::LTxUser, 5_000), out), Some(0));
    }
}
