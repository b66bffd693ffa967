//! What is known of passwords that were looked at lately: a bounded memory of verdicts, without clocks.
//!
//! It is kept in two halves of which the older one is forgotten whole, so that nothing is ever searched for what is too old.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

/// Who a verdict is about: a tag that nobody outside can make, of what a file keeps and of what a client says.
pub(super) type Key = [u8; 16];

/// Verdicts. Those against somebody have a room of their own, so that guesses push out no right password.
#[derive(Debug)]
pub(crate) struct Verdicts {
    right: Half,
    wrong: Half,
}

/// How long a right password is believed without looking. A user who is taken out of the file is out at once, as is who gets another
/// password: the key has what the file keeps.
const RIGHT_LASTS: Duration = Duration::from_secs(300);
/// How long a wrong one is: long enough for a client that says it over and over.
const WRONG_LASTS: Duration = Duration::from_secs(10);

impl Verdicts {
    /// Room for so many of each, never more.
    pub(crate) fn new(most: usize) -> Verdicts {
        Verdicts { right: Half::new(most, RIGHT_LASTS), wrong: Half::new(most, WRONG_LASTS) }
    }

    /// Whether it was right, if that is known still.
    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<bool> {
        let right = self.right.until(key).filter(|until| *until > now).map(|_| true);
        right.or_else(|| self.wrong.until(key).filter(|until| *until > now).map(|_| false))
    }

    /// Notes it.
    pub(super) fn note(&mut self, key: Key, right: bool, now: Instant) {
        if right { self.right.put(key, now) } else { self.wrong.put(key, now) }
    }
}

#[derive(Debug)]
struct Half {
    young: FxHashMap<Key, Instant>,
    old: FxHashMap<Key, Instant>,
    most: usize,
    lasts: Duration,
}

impl Half {
    fn new(most: usize, lasts: Duration) -> Half {
        Half { young: FxHashMap::default(), old: FxHashMap::default(), most, lasts }
    }

    fn until(&self, key: &Key) -> Option<Instant> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn put(&mut self, key: Key, now: Instant) {
        if self.young.len() >= self.most / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, now + self.lasts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn a_verdict_lasts_as_long_as_its_kind() {
        let (mut verdicts, now) = (Verdicts::new(8), Instant::now());
        verdicts.note(key(1), true, now);
        verdicts.note(key(2), false, now);
        assert_eq!((verdicts.find(&key(1), now), verdicts.find(&key(2), now)), (Some(true), Some(false)));
        assert_eq!(verdicts.find(&key(3), now), None);
        assert_eq!(verdicts.find(&key(2), now + WRONG_LASTS), None);
        assert_eq!(verdicts.find(&key(1), now + WRONG_LASTS), Some(true));
        assert_eq!(verdicts.find(&key(1), now + RIGHT_LASTS), None);
    }

    #[test]
    fn guesses_push_out_no_right_password() {
        let (mut verdicts, now) = (Verdicts::new(8), Instant::now());
        verdicts.note(key(0), true, now);
        for number in 1..1000 {
            verdicts.note(key(number), false, now);
            assert!(verdicts.wrong.young.len() + verdicts.wrong.old.len() <= 8);
        }
        assert_eq!(verdicts.find(&key(0), now), Some(true));
        assert_eq!(verdicts.find(&key(999), now), Some(false));
        assert_eq!(verdicts.find(&key(1), now), None);
    }
}
