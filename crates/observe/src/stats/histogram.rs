//! Latencies in log-linear buckets: four to an octave, so that a bucket is at most a quarter wider than its lower bound
//! (the idea of HdrHistogram, with fixed bounds).

use super::Counter;

/// The first bucket holds everything up to this many microseconds: 2⁴.
const FIRST_BITS: u32 = 4;

/// Bounds end at this many microseconds: 2²⁷, 134 seconds. Longer ones share the last bucket.
const LAST_BITS: u32 = 27;

/// One up to 16 µs, four for each octave, one beyond.
const BUCKETS: usize = 1 + 4 * (LAST_BITS - FIRST_BITS) as usize + 1;

/// A reading of latencies: how many fell into each bucket, and their sum. All times are microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

/// The shard that a worker counts into.
#[derive(Debug)]
pub(super) struct Cells {
    counts: [Counter; BUCKETS],
    sum_us: Counter,
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, us: u64) {
        self.counts[bucket_of(us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// What was counted since an earlier reading of the same source.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].saturating_sub(earlier.counts[bucket])),
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all latencies, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The latency that the share `q` of all (0.99 for p99) did not exceed, in microseconds; none if nothing was
    /// counted. It lies in the bucket of the exact answer, so it is off by less than a quarter; beyond 134 seconds the
    /// answer is 134 seconds.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        // The cast saturates, so a share outside 0..=1 asks for the first or the last.
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total);
        let mut below = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            if below + count < rank {
                below += count;
                continue;
            }
            let Some(upper) = upper_bound(bucket) else { break };
            let lower = bucket.checked_sub(1).and_then(upper_bound).unwrap_or(0);
            let share = (rank - below) as f64 / count as f64;
            return Some(lower + ((upper - lower) as f64 * share).ceil() as u64);
        }
        Some(1 << LAST_BITS)
    }

    /// How many were certainly longer than this: those in buckets above its own.
    pub fn beyond(&self, us: u64) -> u64 {
        self.counts[bucket_of(us) + 1..].iter().sum()
    }

    /// Pairs of an upper bound in microseconds and how many did not exceed it, one an octave from 2⁸ (256 µs) to 2²⁶
    /// (67 s): exact, since they are bounds of our buckets.
    pub fn octaves(&self) -> impl Iterator<Item = (u64, u64)> {
        (8..LAST_BITS).scan((0, 0), |(below, done), bits| {
            let bucket = 4 * (bits - FIRST_BITS) as usize;
            *below += self.counts[*done..=bucket].iter().sum::<u64>();
            *done = bucket + 1;
            Some((1 << bits, *below))
        })
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [0; BUCKETS], sum_us: 0 }
    }
}

impl Cells {
    pub(super) fn record(&self, us: u64) {
        self.counts[bucket_of(us)].add(1);
        self.sum_us.add(us);
    }

    pub(super) fn read(&self) -> Histogram {
        Histogram { counts: std::array::from_fn(|bucket| self.counts[bucket].read()), sum_us: self.sum_us.read() }
    }
}

impl Default for Cells {
    fn default() -> Cells {
        Cells { counts: [const { Counter::new() }; BUCKETS], sum_us: Counter::new() }
    }
}

/// The bucket of a latency. A bucket's upper bound belongs to it, as Prometheus's `le` wants it.
fn bucket_of(us: u64) -> usize {
    let below = us.saturating_sub(1);
    if below < 1 << FIRST_BITS {
        return 0;
    }
    let octave = below.ilog2();
    if octave >= LAST_BITS {
        return BUCKETS - 1;
    }
    // The two bits behind the first one choose the quarter.
    let quarter = (below >> (octave - 2)) & 3;
    1 + 4 * (octave - FIRST_BITS) as usize + quarter as usize
}

/// The largest latency that a bucket holds; the last has none.
fn upper_bound(bucket: usize) -> Option<u64> {
    let Some(above_first) = bucket.checked_sub(1) else { return Some(1 << FIRST_BITS) };
    let (octave, quarter) = (above_first / 4, above_first % 4);
    (bucket < BUCKETS - 1).then(|| (5 + quarter as u64) << (octave + FIRST_BITS as usize - 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|us| histogram.record(*us));
        histogram
    }

    #[test]
    fn bounds_are_ordered_and_inclusive() {
        for bucket in 0..BUCKETS - 1 {
            let upper = upper_bound(bucket).expect("bounded");
            assert_eq!(bucket_of(upper), bucket);
            assert_eq!(bucket_of(upper + 1), bucket + 1);
        }
        assert_eq!(upper_bound(BUCKETS - 1), None);
        assert_eq!(upper_bound(BUCKETS - 2), Some(1 << LAST_BITS));
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn what_is_beyond_is_in_buckets_above() {
        let histogram = of(&[10, 100, 1_000, 10_000, u64::MAX]);
        assert_eq!([0, 16, 100, 1_000, 50_000, u64::MAX].map(|us| histogram.beyond(us)), [4, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(of(&[u64::MAX]).quantile(0.5), Some(1 << LAST_BITS));
    }

    #[test]
    fn shards_read_as_they_were_written() {
        let cells = Cells::default();
        let values = [0, 3, 17, 1_000, 250_000, 1 << 40];
        values.iter().for_each(|us| cells.record(*us));
        assert_eq!(cells.read(), of(&values));
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_quarter(
            mut values in prop::collection::vec((0u32..27, 0u64..1 << 27).prop_map(|(bits, us)| us >> bits), 1..300),
            q in 0.0..=1.0f64,
        ) {
            let estimate = of(&values).quantile(q).expect("not empty") as f64;
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let slack = (exact * 0.25).max(16.0);
            prop_assert!((estimate - exact).abs() <= slack, "estimate {estimate}, exact {exact}");
        }

        #[test]
        fn octaves_count_what_does_not_exceed_them(values in prop::collection::vec(0u64..1 << 30, 0..200)) {
            for (bound, count) in of(&values).octaves() {
                prop_assert_eq!(count, values.iter().filter(|us| **us <= bound).count() as u64);
            }
        }

        #[test]
        fn merging_is_counting_both_and_since_undoes_it(
            left in prop::collection::vec(any::<u32>().prop_map(u64::from), 0..100),
            right in prop::collection::vec(any::<u32>().prop_map(u64::from), 0..100),
        ) {
            let mut both = of(&left);
            both.merge(&of(&right));
            prop_assert_eq!(&both, &of(&[left.clone(), right.clone()].concat()));
            prop_assert_eq!(both.since(&of(&left)), of(&right));
        }
    }
}
