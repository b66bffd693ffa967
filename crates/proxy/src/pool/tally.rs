//! How many of something are under way in the whole process, and no more than a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A count of what is under way.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicU32>);

/// One that is under way, until this is dropped.
#[derive(Debug)]
pub struct Entry(Arc<AtomicU32>);

impl Tally {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, unless there are `most`.
    pub fn enter(&self, most: u32) -> Option<Entry> {
        let below = |count: u32| (count < most).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()?;
        Some(Entry(Arc::clone(&self.0)))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn never_more_than_the_limit_and_none_is_lost() {
        let (tally, seen) = (Tally::default(), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let entry = tally.enter(3);
                        seen.fetch_max(tally.count(), Ordering::Relaxed);
                        drop(entry);
                    }
                });
            }
        });
        assert!(seen.into_inner() <= 3);
        assert_eq!(tally.count(), 0);
        assert!(tally.enter(0).is_none());
    }
}
