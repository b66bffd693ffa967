//! Counters that cost a worker nothing but a load and a store.
//!
//! Everything counted has one shard a worker, on cache lines of its own. Only that worker writes to it, so that counting
//! needs no locked instruction; whoever reads sums the shards. A reading is exact once the workers stand still, and at
//! most one request behind while they do not.
//!
//! A shard is made when its worker first asks for it: a thousand routes that see no traffic cost a thousand pointers.

mod connections;
mod histogram;
mod requests;
mod turns;

use std::sync::atomic::{AtomicU64, Ordering};

pub use connections::{ConnectionShard, ConnectionStats, Connections};
pub use histogram::Histogram;
pub use requests::{Class, Outcome, RequestStats, Requests, Shard};
pub use turns::TurnMeter;

/// A counter with one writer and any number of readers.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Adds. Only the shard's own worker may call it: a second writer would lose counts.
    fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
