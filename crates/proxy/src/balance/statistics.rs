//! Outliers by comparison: a server that fails more often, or is slower, than the others of its pool (sans-IO).
//!
//! The success rate is judged as Envoy does it (its manual, "Outlier detection, success rate"): a server whose rate lies more than
//! `factor` standard deviations below the mean is out. What is added is a margin, since without one the worst of many
//! healthy servers would be out by chance. Latencies are compared with the pool's median, which one slow server cannot move.

/// When the success rate of a server speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRule {
    /// Standard deviations below the mean, in thousandths.
    pub factor: u32,
    /// Servers that must have had enough requests.
    pub min_servers: usize,
    /// Requests that are enough.
    pub min_requests: u64,
}

/// When the latency of a server speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyRule {
    /// How many times the median is too slow.
    pub ratio: u32,
    /// Below this many microseconds nobody is too slow.
    pub over_us: u64,
    /// Servers that must have had enough requests.
    pub min_servers: usize,
    /// Latencies that are enough.
    pub min_requests: u64,
}

/// What one server did in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Requests that it was given.
    pub requests: u64,
    /// Those that it failed.
    pub errors: u64,
    /// How many latencies are known: less than requests if some had no answer, more if others answered in its place.
    pub timed: u64,
    /// Their mean in microseconds.
    pub mean_us: u64,
}

/// A server that differs from its pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier<T> {
    /// Its place among the windows.
    pub server: usize,
    /// What it has.
    pub own: T,
    /// What its pool has.
    pub pool: T,
}

/// A rate that is less than this below the mean is no reason, however much alike the others are.
const MARGIN: f64 = 0.05;

impl Window {
    fn success(&self) -> f64 {
        1.0 - self.errors.min(self.requests) as f64 / self.requests.max(1) as f64
    }
}

impl SuccessRule {
    /// Servers whose success rate is too low, with theirs and the mean, from 0 to 1.
    pub fn judge(&self, windows: &[Window]) -> Vec<Outlier<f64>> {
        let rates: Vec<_> = counted(windows, |window| window.requests, self.min_requests)
            .map(|(server, window)| (server, window.success()))
            .collect();
        if rates.len() < self.min_servers.max(2) {
            return Vec::new();
        }
        let count = rates.len() as f64;
        let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
        let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
        let least = mean - (variance.sqrt() * f64::from(self.factor) / 1000.0).max(MARGIN);
        let low = rates.into_iter().filter(|(_, rate)| *rate < least);
        low.map(|(server, own)| Outlier { server, own, pool: mean }).collect()
    }
}

impl LatencyRule {
    /// Servers that are too slow, with their mean and the pool's median of means, in microseconds.
    pub fn judge(&self, windows: &[Window]) -> Vec<Outlier<u64>> {
        let means: Vec<_> = counted(windows, |window| window.timed, self.min_requests)
            .map(|(server, window)| (server, window.mean_us))
            .collect();
        let mut sorted: Vec<_> = means.iter().map(|(_, mean)| *mean).collect();
        sorted.sort_unstable();
        // With two servers the median is the faster one.
        let Some(median) = sorted.get(sorted.len().saturating_sub(1) / 2).copied() else { return Vec::new() };
        if means.len() < self.min_servers.max(2) {
            return Vec::new();
        }
        let most = median.saturating_mul(u64::from(self.ratio)).max(self.over_us);
        let slow = means.into_iter().filter(|(_, mean)| *mean > most);
        slow.map(|(server, own)| Outlier { server, own, pool: median }).collect()
    }
}

fn counted(windows: &[Window], of: fn(&Window) -> u64, least: u64) -> impl Iterator<Item = (usize, &Window)> {
    windows.iter().enumerate().filter(move |(_, window)| of(window) >= least.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUCCESS: SuccessRule = SuccessRule { factor: 1500, min_servers: 5, min_requests: 100 };
    const LATENCY: LatencyRule = LatencyRule { ratio: 3, over_us: 5_000, min_servers: 3, min_requests: 50 };

    fn failing(errors: &[u64]) -> Vec<Window> {
        errors.iter().map(|errors| Window { requests: 1000, errors: *errors, timed: 1000, mean_us: 100 }).collect()
    }

    fn slow(means: &[u64]) -> Vec<Window> {
        means.iter().map(|mean_us| Window { requests: 100, errors: 0, timed: 100, mean_us: *mean_us }).collect()
    }

    fn servers<T>(outliers: Vec<Outlier<T>>) -> Vec<usize> {
        outliers.into_iter().map(|outlier| outlier.server).collect()
    }

    #[test]
    fn the_one_that_fails_more_often_is_found() {
        let found = SUCCESS.judge(&failing(&[10, 10, 390, 5, 0]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].server, found[0].own), (2, 0.61));
        assert!((found[0].pool - 0.917).abs() < 1e-9);
        // By chance somebody is the worst.
        assert!(servers(SUCCESS.judge(&failing(&[10, 12, 50, 9, 11]))).is_empty());
        // All fail: nobody differs.
        assert!(servers(SUCCESS.judge(&failing(&[500, 510, 505, 490, 500]))).is_empty());
        assert!(servers(SUCCESS.judge(&failing(&[0, 0, 500, 0]))).is_empty(), "too few servers");
        let mut few = failing(&[0, 0, 500, 0, 0]);
        few[0].requests = 99;
        assert!(servers(SUCCESS.judge(&few)).is_empty(), "too few requests");
    }

    #[test]
    fn the_one_that_is_slow_is_found() {
        let found = LATENCY.judge(&slow(&[10_000, 12_000, 40_000]));
        assert_eq!(found, [Outlier { server: 2, own: 40_000, pool: 12_000 }]);
        assert!(servers(LATENCY.judge(&slow(&[100, 100, 4_000]))).is_empty(), "fast enough for anybody");
        assert!(servers(LATENCY.judge(&slow(&[10_000, 12_000, 30_000]))).is_empty());
        assert!(servers(LATENCY.judge(&slow(&[10_000, 90_000]))).is_empty(), "too few servers");
        let two = LatencyRule { min_servers: 2, ..LATENCY };
        assert_eq!(servers(two.judge(&slow(&[90_000, 10_000]))), [0]);
        let mut few = slow(&[10_000, 12_000, 40_000]);
        few[2].timed = 49;
        assert!(servers(LATENCY.judge(&few)).is_empty(), "too few latencies");
    }

    proptest! {
        /// Never the majority, and never anybody who is as good as the rest.
        #[test]
        fn outliers_are_few(errors in prop::collection::vec(0_u64..=1000, 0..20), means in prop::collection::vec(0_u64..1_000_000, 0..20)) {
            let windows = failing(&errors);
            let low = servers(SUCCESS.judge(&windows));
            prop_assert!(low.is_empty() || low.len() * 2 <= windows.len());
            let best = errors.iter().min().copied().unwrap_or(0);
            prop_assert!(low.iter().all(|server| errors[*server] > best));
            let late = servers(LATENCY.judge(&slow(&means)));
            prop_assert!(late.is_empty() || late.len() * 2 <= means.len());
        }
    }
}
