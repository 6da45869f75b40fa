//! How often values were seen: buckets of equal width in each power of two, so that memory and relative error are bounded
//! (as HdrHistogram's).

/// Buckets in each power of two, as a power of two: a value told is at most 1/64 (1.6 %) off.
const BITS: u32 = 5;
const PER_OCTAVE: usize = 1 << BITS;

/// Values, by how often they were seen. At most 1,920 buckets of eight bytes, those between the smallest and the largest value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Number of the first bucket that is kept.
    first: usize,
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

fn bucket(value: u64) -> usize {
    let octave = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    (octave as usize) * PER_OCTAVE + (value >> octave) as usize
}

/// The smallest value of a bucket, and the largest.
fn bounds(bucket: usize) -> (u64, u64) {
    let octave = (bucket / PER_OCTAVE).saturating_sub(1);
    let low = ((bucket - octave * PER_OCTAVE) as u64) << octave;
    (low, low + ((1u64 << octave) - 1))
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        let bucket = bucket(value);
        match self.counts.get_mut(bucket.wrapping_sub(self.first)) {
            Some(count) => *count += 1,
            None => self.add_to(bucket, 1),
        }
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    fn add_to(&mut self, bucket: usize, number: u64) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = self.first - bucket;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let at = bucket - self.first;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(number);
    }

    /// Counts all that another has counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (at, &number) in other.counts.iter().enumerate().filter(|(_, number)| **number > 0) {
            self.add_to(other.first + at, number);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest, exactly; 0 where there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Their mean; 0 where there is none.
    pub fn mean(&self) -> u64 {
        self.sum / self.count.max(1)
    }

    /// The value that `quantile` (0 to 1) of all are not above: the middle of its bucket, at most 1.6 % off. 0 where there is
    /// none.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = ((quantile * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (at, &number) in self.counts.iter().enumerate() {
            seen += number;
            if seen >= rank {
                let (low, high) = bounds(self.first + at);
                return (low + (high - low) / 2).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_have_no_gaps() {
        let mut next = 0;
        for number in 0..=bucket(u64::MAX) {
            let (low, high) = bounds(number);
            assert_eq!((low, bucket(low), bucket(high)), (next, number, number));
            next = high.wrapping_add(1);
        }
        assert_eq!((next, bucket(u64::MAX)), (0, 1919));
    }

    #[test]
    fn nothing_and_one() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.max(), histogram.mean()), (0, 0, 0));
        histogram.add(1_000_003);
        assert_eq!((histogram.quantile(0.0), histogram.max(), histogram.count()), (1_000_003, 1_000_003, 1));
    }

    proptest! {
        /// Against sorting.
        #[test]
        fn quantiles_are_near(values in prop::collection::vec(0u64..1 << 40, 1..300), percent in 0u32..=100) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|&value| histogram.add(value));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let quantile = f64::from(percent) / 100.0;
            let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
            let (exact, told) = (sorted[rank - 1] as f64, histogram.quantile(quantile) as f64);
            prop_assert!((told - exact).abs() <= exact / 64.0 + 0.5, "{told} for {exact}");
            prop_assert_eq!(histogram.max(), *sorted.last().unwrap());
        }

        #[test]
        fn merged_is_as_counted_at_once(a in prop::collection::vec(any::<u64>(), 0..50),
                                        b in prop::collection::vec(any::<u64>(), 0..50)) {
            let (mut one, mut other, mut all) = (Histogram::default(), Histogram::default(), Histogram::default());
            a.iter().for_each(|&value| { one.add(value); all.add(value); });
            b.iter().for_each(|&value| { other.add(value); all.add(value); });
            one.merge(&other);
            prop_assert_eq!(one, all);
        }
    }
}
