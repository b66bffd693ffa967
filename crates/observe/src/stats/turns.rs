//! How long a worker kept its thread without going back to wait: what blocks one flow blocks all of that worker's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Counter;

/// A turn longer than this is slow: nothing that takes so long belongs on a worker.
const SLOW: Duration = Duration::from_millis(1);

/// One worker's turns. Only that worker may record.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TurnMeter {
    longest_us: AtomicU64,
    slow: Counter,
}

impl TurnMeter {
    /// One turn is over.
    pub fn record(&self, turn: Duration) {
        let us = u64::try_from(turn.as_micros()).unwrap_or(u64::MAX);
        // The locked instruction, which a reset by another thread makes necessary, is for a new record alone.
        if us > self.longest_us.load(Ordering::Relaxed) {
            self.longest_us.fetch_max(us, Ordering::Relaxed);
        }
        if turn > SLOW {
            self.slow.add(1);
        }
    }

    /// The longest turn since the start, or since the last [`reset`](TurnMeter::reset).
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }

    /// How many turns took more than a millisecond, since the start.
    pub fn slow(&self) -> u64 {
        self.slow.read()
    }

    /// Forgets the longest turn, and answers it.
    pub fn reset(&self) -> Duration {
        Duration::from_micros(self.longest_us.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_and_the_slow_ones() {
        let meter = TurnMeter::default();
        for us in [10, 5_000, 1_000, 1_001] {
            meter.record(Duration::from_micros(us));
        }
        assert_eq!((meter.longest(), meter.slow()), (Duration::from_millis(5), 2));
        assert_eq!(meter.reset(), Duration::from_millis(5));
        assert_eq!((meter.longest(), meter.slow()), (Duration::ZERO, 2));
    }
}
