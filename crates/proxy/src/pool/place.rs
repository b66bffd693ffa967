//! A place in a queue: who is served before whom.
//!
//! A class is a head start: everybody has a rank, the moment of the arrival and a second more for each class below the
//! highest, and the lowest rank is served first. So within a second the class decides, and nobody waits for ever: whoever
//! came a second earlier goes before the next class (HAProxy's `set-priority-offset`).

use std::time::{Duration, Instant};

/// How soon a request is served among those that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// A second before the normal ones.
    High,
    /// As most.
    #[default]
    Normal,
    /// A second after the normal ones.
    Low,
}

/// A place in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    rank: Instant,
    until: Instant,
}

/// The head start that a class has before the next.
const HEAD_START: Duration = Duration::from_secs(1);

impl Place {
    /// The place of one who has come now and goes when its patience ends.
    pub fn new(now: Instant, priority: Priority, patience: Duration) -> Place {
        let classes = match priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        // A time that cannot be told is so far away that it never comes.
        let until = now.checked_add(patience).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)));
        Place { rank: now + HEAD_START * classes, until }
    }

    /// Whether it is served before that one.
    pub(super) fn is_before(&self, other: &Place) -> bool {
        self.rank < other.rank
    }

    /// Whether serving it would come too late.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class() -> impl Strategy<Value = Priority> {
        prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)]
    }

    proptest! {
        #[test]
        fn a_class_goes_first_unless_the_other_has_waited_longer(one in class(), other in class(), later in 0_u64..5_000) {
            let now = Instant::now();
            let first = Place::new(now, one, Duration::MAX);
            let second = Place::new(now + Duration::from_millis(later), other, Duration::MAX);
            let ahead = (one as u64).saturating_sub(other as u64) * 1_000;
            prop_assert_eq!(second.is_before(&first), later < ahead);
        }

        /// Nobody is passed by one who comes two seconds later, whatever their classes.
        #[test]
        fn nobody_waits_for_ever(one in class(), other in class(), later in 2_000_u64..100_000) {
            let now = Instant::now();
            let second = Place::new(now + Duration::from_millis(later), other, Duration::MAX);
            prop_assert!(!second.is_before(&Place::new(now, one, Duration::MAX)));
        }
    }

    #[test]
    fn whose_time_is_over_is_not_served() {
        let now = Instant::now();
        let place = Place::new(now, Priority::High, Duration::from_millis(5));
        assert!(!place.is_over(now) && place.is_over(now + Duration::from_millis(5)));
    }
}
