//! What is said of a server in the log at each failure, but at most once a second: a server that fails a thousand times a second
//! would otherwise fill the disk.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The complaints about one server.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Until when nothing more is said, in the server's milliseconds.
    quiet_until: AtomicU64,
    left_out: AtomicU32,
}

/// How long nothing more is said, in milliseconds.
const QUIET: u64 = 1_000;

impl Complaints {
    /// Whether something may be said now; if so, how many complaints were left out since the last one.
    pub(super) fn may_say(&self, millis: u64) -> Option<u32> {
        let until = self.quiet_until.load(Ordering::Relaxed);
        let next = millis + QUIET;
        if millis < until
            || self.quiet_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_none_is_forgotten() {
        let complaints = Complaints::default();
        let said: Vec<_> = (0..3_000).filter_map(|millis| complaints.may_say(millis)).collect();
        assert_eq!(said, [0, 999, 999]);
        assert_eq!(complaints.may_say(10_000), Some(999));
    }
}
