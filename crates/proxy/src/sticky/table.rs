//! Who was sent where, for clients that keep nothing for us: a table of bounded size whose entries end by themselves.
//!
//! An entry has its place in one of a few rows by its key. A row that is full loses the entry that would end first, so
//! that every look and every change takes the same short time, whoever fills the table.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The table of one pool, for all workers.
#[derive(Debug)]
pub struct Table {
    begin: Instant,
    most: usize,
    shards: Box<[Mutex<Box<[Entry]>>]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    /// The server's slot, which lasts over reloads.
    slot: usize,
    /// The millisecond after the table's beginning at which it ends; 0 if there is none.
    until: u64,
}

/// Workers rarely meet in one of so many.
const SHARDS: usize = 64;
/// Entries among which the one is found that must go.
const WAYS: usize = 8;

impl Table {
    /// An empty table for about this many entries, never more.
    pub fn new(most: usize) -> Table {
        let shards = SHARDS.min(most.max(1));
        let each = most.max(1) / shards;
        let shards = (0..shards).map(|_| Mutex::new(vec![Entry::default(); each].into()));
        Table { begin: Instant::now(), most, shards: shards.collect() }
    }

    /// For how many entries it was made.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Takes over what another table holds and still has room for.
    pub fn adopt(&self, other: &Table, now: Instant) {
        for shard in &other.shards {
            for entry in lock(shard).iter().filter(|entry| entry.until > other.millis(now)) {
                let left = Duration::from_millis(entry.until - other.millis(now));
                self.put(entry.key, entry.slot, now, left);
            }
        }
    }

    /// The slot of the server that this key was sent to last, if that was not too long ago.
    pub(crate) fn find(&self, key: u64, now: Instant) -> Option<usize> {
        let now = self.millis(now);
        let shard = self.shard(key);
        row(&shard, key).iter().find(|entry| entry.key == key && entry.until > now).map(|entry| entry.slot)
    }

    /// Notes the server's slot for this long.
    pub(crate) fn put(&self, key: u64, slot: usize, now: Instant, lasts: Duration) {
        let until = self.millis(now + lasts).max(1);
        let mut shard = self.shard(key);
        let range = row_of(shard.len(), key);
        let row = &mut shard[range];
        let same = row.iter().position(|entry| entry.until > 0 && entry.key == key);
        let place = same.or_else(|| (0..row.len()).min_by_key(|place| row[*place].until));
        if let Some(entry) = place.and_then(|place| row.get_mut(place)) {
            *entry = Entry { key, slot, until };
        }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Box<[Entry]>> {
        lock(&self.shards[key as usize % self.shards.len()])
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_millis() as u64
    }
}

fn row(shard: &[Entry], key: u64) -> &[Entry] {
    &shard[row_of(shard.len(), key)]
}

/// The part of a shard in which a key has its place.
fn row_of(entries: usize, key: u64) -> std::ops::Range<usize> {
    let rows = entries.div_ceil(WAYS);
    let from = (key >> 32) as usize % rows * WAYS;
    from..(from + WAYS).min(entries)
}

/// A panic in another thread cannot leave an entry half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::xxh64::hash;

    const FOR: Duration = Duration::from_secs(60);

    fn key(number: u64) -> u64 {
        hash(0, &number.to_be_bytes())
    }

    #[test]
    fn what_was_noted_is_found_until_it_ends() {
        let (table, now) = (Table::new(1000), Instant::now());
        table.put(key(1), 7, now, FOR);
        assert_eq!(table.find(key(1), now), Some(7));
        assert_eq!(table.find(key(2), now), None);
        table.put(key(1), 8, now, FOR * 2);
        assert_eq!(table.find(key(1), now + FOR), Some(8));
        assert_eq!(table.find(key(1), now + FOR * 2), None);
    }

    #[test]
    fn it_never_grows_and_loses_the_oldest() {
        let now = Instant::now();
        for most in [1, 2, 63, 64, 100, 5000] {
            let table = Table::new(most);
            for number in 0..10_000 {
                table.put(key(number), number as usize, now + Duration::from_millis(number), FOR);
                assert_eq!(table.find(key(number), now), Some(number as usize));
            }
            let left = (0..10_000).filter(|number| table.find(key(*number), now).is_some()).count();
            assert!(left <= most && left * 2 >= most, "{left} of {most}");
        }
    }

    #[test]
    fn another_size_keeps_what_it_can() {
        let (small, large, now) = (Table::new(640), Table::new(10_000), Instant::now());
        for number in 0..300 {
            small.put(key(number), number as usize, now, FOR);
        }
        let before = (0..300).filter(|number| small.find(key(*number), now).is_some()).count();
        large.adopt(&small, now);
        let after = (0..300).filter(|number| large.find(key(*number), now).is_some()).count();
        assert_eq!(before, after);
        large.adopt(&small, now + FOR);
    }
}
