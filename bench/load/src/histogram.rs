//! Latencies in buckets no wider than 1/64 of their value.

use std::time::Duration;

const PRECISION: u32 = 6;

pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { buckets: vec![0; 64 << PRECISION], count: 0 }
    }

    pub fn record(&mut self, latency: Duration) {
        self.buckets[bucket(latency.as_nanos() as u64)] += 1;
        self.count += 1;
    }

    /// The lower edge of the bucket below which `share` of the latencies lie.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.count as f64) as u64;
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen > rank
        });
        Duration::from_nanos(edge(at.unwrap_or(0)))
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(PRECISION + 1);
    ((shift as usize) << PRECISION) + (nanos >> shift) as usize
}

fn edge(bucket: usize) -> u64 {
    let shift = (bucket >> PRECISION).saturating_sub(1);
    ((bucket - (shift << PRECISION)) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::{bucket, edge};

    #[test]
    fn a_bucket_holds_its_edge_and_is_narrow() {
        for nanos in (0..40).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + (1 << bit) / 3]) {
            let low = edge(bucket(nanos));
            assert_eq!(bucket(low), bucket(nanos));
            assert!(low <= nanos && nanos - low <= nanos / 64, "{nanos} in the bucket of {low}");
        }
    }
}
