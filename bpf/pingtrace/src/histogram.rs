//! How often something took how long: in little memory, with an error below 1/32.

/// Parts of each power of two.
const PARTS: usize = 32;
/// Powers of two above the parts: up to 2^45 ns, ten hours.
const POWERS: usize = 40;

/// Counts of nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Made with the first value.
    counts: Vec<u32>,
    number: u64,
    sum: u64,
    min: u64,
    max: u64,
}

fn place(value: u64) -> usize {
    if value < PARTS as u64 {
        return value as usize;
    }
    let power = value.ilog2() as usize - PARTS.ilog2() as usize;
    let place = power * PARTS + (value >> power) as usize;
    place.min((POWERS + 1) * PARTS - 1)
}

/// The middle of what is counted in a place.
fn middle(place: usize) -> u64 {
    if place < 2 * PARTS {
        return place as u64;
    }
    let power = place / PARTS - 1;
    let from = ((place - power * PARTS) as u64) << power;
    from + (1 << power) / 2
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; (POWERS + 1) * PARTS];
            self.min = u64::MAX;
        }
        let count = &mut self.counts[place(value)];
        *count = count.saturating_add(1);
        self.number += 1;
        self.sum = self.sum.saturating_add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// How many values there are.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The smallest; `None` of no values, as below.
    pub fn min(&self) -> Option<u64> {
        (self.number > 0).then_some(self.min)
    }

    /// The greatest.
    pub fn max(&self) -> Option<u64> {
        (self.number > 0).then_some(self.max)
    }

    /// The mean.
    pub fn average(&self) -> Option<u64> {
        self.sum.checked_div(self.number)
    }

    /// The value that so many of a thousand do not exceed; at most 1/32 off.
    pub fn permille(&self, permille: u64) -> Option<u64> {
        if self.number == 0 {
            return None;
        }
        let rank = self.number.saturating_mul(permille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (at, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return Some(middle(at).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    /// The bars by powers of two of microseconds: from, to (not included), and how many. None of them is empty at the ends.
    pub fn bars(&self) -> Vec<(u64, u64, u64)> {
        let mut bars: Vec<(u64, u64, u64)> = Vec::new();
        for (at, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let us = middle(at) / 1000;
            let power = if us == 0 { 0 } else { us.ilog2() as usize + 1 };
            while bars.len() <= power {
                let from = if bars.is_empty() { 0 } else { 1 << (bars.len() - 1) };
                bars.push((from, 1 << bars.len(), 0));
            }
            bars[power].2 += u64::from(count);
        }
        let first = bars.iter().position(|bar| bar.2 > 0).unwrap_or(0);
        bars.split_off(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_no_values_nothing_is_known() {
        let none = Histogram::default();
        assert_eq!((none.min(), none.max(), none.average(), none.permille(500)), (None, None, None, None));
        assert_eq!(none.bars(), []);
    }

    #[test]
    fn bars_are_powers_of_two_of_microseconds() {
        let mut histogram = Histogram::default();
        for value in [3_000, 3_500, 4_200, 17_000] {
            histogram.add(value);
        }
        assert_eq!(histogram.bars(), [(2, 4, 2), (4, 8, 1), (8, 16, 0), (16, 32, 1)]);
    }

    proptest! {
        #[test]
        fn permilles_are_those_of_the_sorted_values(
            mut values in proptest::collection::vec(0..10_000_000_000_u64, 1..200), permille in 1..=1000_u64,
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|&value| histogram.add(value));
            values.sort_unstable();
            let exact = values[(values.len() as u64 * permille).div_ceil(1000) as usize - 1];
            let told = histogram.permille(permille).expect("values");
            prop_assert!(told.abs_diff(exact) <= exact / 32 + 1, "{} for {}", told, exact);
            prop_assert_eq!((histogram.min(), histogram.max()), (values.first().copied(), values.last().copied()));
        }

        #[test]
        fn no_value_is_too_large(value: u64) {
            let mut histogram = Histogram::default();
            histogram.add(value);
            prop_assert_eq!(histogram.permille(1000), Some(value));
        }
    }
}
