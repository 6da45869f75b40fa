//! A delay between hosts: what two clocks say of it, above the least that they said of late.

use std::collections::VecDeque;

/// Samples that the least is looked for in.
pub const WINDOW: u64 = 10_000;

/// What an entry's 32 bits of microseconds come round in.
const ROUND: i64 = (1 << 32) * 1000;

/// The least of the last [`WINDOW`] differences of two clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jitter {
    /// Differences that may still become the least: number and value, both growing.
    least: VecDeque<(u64, i64)>,
    first: Option<i64>,
    number: u64,
}

impl Jitter {
    /// As a difference to the first, so that 32 bits coming round is no jump.
    fn relative(&self, raw: i64) -> i64 {
        let from_first = raw.wrapping_sub(self.first.unwrap_or(raw)).rem_euclid(ROUND);
        if from_first >= ROUND / 2 { from_first - ROUND } else { from_first }
    }

    /// Takes a difference of the clocks in, and gives the jitter: nanoseconds.
    pub fn add(&mut self, raw: i64) -> u64 {
        self.first.get_or_insert(raw);
        let value = self.relative(raw);
        while self.least.back().is_some_and(|(_, other)| *other >= value) {
            self.least.pop_back();
        }
        self.least.push_back((self.number, value));
        self.number += 1;
        while self.least.front().is_some_and(|(number, _)| number + WINDOW < self.number) {
            self.least.pop_front();
        }
        self.above(raw)
    }

    /// How much a difference is above the least; 0 where it is below.
    pub fn above(&self, raw: i64) -> u64 {
        let least = self.least.front().map_or(0, |(_, value)| *value);
        u64::try_from(self.relative(raw).saturating_sub(least)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_above_the_least_is_told() {
        let mut jitter = Jitter::default();
        let told: Vec<u64> = [-500, -400, -600, -550].into_iter().map(|raw| jitter.add(raw)).collect();
        assert_eq!(told, [0, 100, 0, 50]);
    }

    #[test]
    fn the_32_bits_may_come_round() {
        let mut jitter = Jitter::default();
        jitter.add(ROUND / 2 - 1000);
        assert_eq!(jitter.add(-ROUND / 2 + 4000), 5000);
    }

    proptest! {
        #[test]
        fn the_least_is_that_of_the_window(raws in proptest::collection::vec(-1_000_000..1_000_000_i64, 1..50)) {
            let mut jitter = Jitter::default();
            // all but the window's last places are filled with what is no least
            for _ in 0..WINDOW - 10 {
                jitter.add(2_000_000);
            }
            for (at, &raw) in raws.iter().enumerate() {
                let told = jitter.add(raw);
                let least = raws[..=at].iter().min().copied().unwrap_or(raw);
                prop_assert_eq!(told, (raw - least) as u64);
            }
        }
    }

    #[test]
    fn what_is_out_of_the_window_is_no_least() {
        let mut jitter = Jitter::default();
        jitter.add(0);
        for _ in 0..WINDOW - 1 {
            assert_eq!(jitter.add(700), 700);
        }
        assert_eq!(jitter.add(700), 0);
    }
}
