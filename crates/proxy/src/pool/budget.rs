//! A budget of retries: at most a share of the requests of the last ten seconds, in the whole process. (Finagle's
//! `RetryBudget`; Envoy's `retry_budget` counts what is in flight instead.) A pool whose servers all fail is then asked a little
//! more often than its clients ask, not several times as often.
//!
//! Requests and retries are counted by the second, in one word a second, so that both are known together and no lock is
//! needed. A moment is given from outside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The requests and retries of one pool in the last seconds.
#[derive(Debug)]
pub struct Budget {
    begin: Instant,
    /// By second, modulo their number: see [`Second`].
    seconds: [AtomicU64; SECONDS],
}

/// What was counted in one second: its number, the requests and the retries, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Second {
    number: u64,
    requests: u64,
    retries: u64,
}

/// Seconds that are remembered; more than the window, so that what is read is not what is written over.
const SECONDS: usize = 16;
/// Seconds that count.
const WINDOW: u64 = 10;
/// Retries that a window allows whatever its requests: a quiet pool can retry, too.
const MINIMUM: u64 = 10;
/// A whole, as shares are given.
const WHOLE: u64 = 10_000;
/// Bits of the word for requests and for retries.
const REQUEST_BITS: u32 = 24;
const RETRY_BITS: u32 = 20;

impl Budget {
    /// A budget without a past.
    pub fn new(begin: Instant) -> Budget {
        Budget { begin, seconds: Default::default() }
    }

    /// A request has come, now or a while ago: one whose body was awaited may belong to a second that is long over.
    pub fn request(&self, now: Instant) {
        let number = self.number(now);
        let place = &self.seconds[number as usize % SECONDS];
        let seen = place.load(Ordering::Relaxed);
        if Second::of(seen).number == number % Second::NUMBERS {
            // A second with more than sixteen million requests would run into its number; none has.
            place.fetch_add(1 << RETRY_BITS, Ordering::Relaxed);
        } else if !Second::of(seen).is_after(number) {
            let fresh = Second { number, requests: 1, retries: 0 };
            // Whoever was faster has begun the second, and missing one request in it harms nobody.
            let _ = place.compare_exchange(seen, fresh.word(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether another try is within this share of the requests, in hundredths of a percent; if so, it is counted.
    pub fn retry(&self, now: Instant, share: u32) -> bool {
        let number = self.number(now);
        let place = &self.seconds[number as usize % SECONDS];
        loop {
            let seen = place.load(Ordering::Relaxed);
            let mut current = Second::of(seen);
            if current.number != number % Second::NUMBERS {
                current = Second { number, requests: 0, retries: 0 };
            }
            let (requests, retries) = self.before(number);
            let allowed = (requests + current.requests) * u64::from(share) / WHOLE + MINIMUM;
            if retries + current.retries >= allowed || current.retries + 1 >= 1 << RETRY_BITS {
                return false;
            }
            current.retries += 1;
            if place.compare_exchange(seen, current.word(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Takes back a try that was counted at this moment, since there was none.
    pub fn give_back(&self, then: Instant) {
        let number = self.number(then);
        let place = &self.seconds[number as usize % SECONDS];
        let one_less = |seen: u64| {
            let second = Second::of(seen);
            (second.number == number % Second::NUMBERS && second.retries > 0).then(|| seen - 1)
        };
        // A second that is over long since has taken its count with it.
        let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }

    /// The sums of the window without its last second.
    fn before(&self, number: u64) -> (u64, u64) {
        (number.saturating_sub(WINDOW - 1)..number)
            .map(|earlier| (earlier, Second::of(self.seconds[earlier as usize % SECONDS].load(Ordering::Relaxed))))
            .filter(|(earlier, second)| second.number == earlier % Second::NUMBERS)
            .fold((0, 0), |(requests, retries), (_, second)| (requests + second.requests, retries + second.retries))
    }

    /// Seconds are counted from 1: a word that was never written is of none.
    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_secs() + 1
    }
}

impl Second {
    /// Numbers come round after twelve days; what stood still for exactly so long would count for ten seconds more.
    const NUMBERS: u64 = 1 << (64 - REQUEST_BITS - RETRY_BITS);

    /// Whether it came after that one, within an hour.
    fn is_after(self, number: u64) -> bool {
        (1..3_600).contains(&(self.number.wrapping_sub(number) % Second::NUMBERS)) && self.number != 0
    }

    fn of(word: u64) -> Second {
        Second {
            number: word >> (REQUEST_BITS + RETRY_BITS),
            requests: word >> RETRY_BITS & ((1 << REQUEST_BITS) - 1),
            retries: word & ((1 << RETRY_BITS) - 1),
        }
    }

    fn word(self) -> u64 {
        (self.number % Second::NUMBERS) << (REQUEST_BITS + RETRY_BITS) | self.requests << RETRY_BITS | self.retries
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The budget beside a list of everything that happened.
        #[test]
        fn retries_are_a_share_of_recent_requests(share in 0_u32..=10_000, steps in prop::collection::vec((0_u64..1_500, prop::bool::weighted(0.6)), 0..400)) {
            let begin = Instant::now();
            let budget = Budget::new(begin);
            let mut past: VecDeque<(u64, bool)> = VecDeque::new();
            let mut millis = 0;
            for (pause, is_request) in steps {
                millis += pause / 10;
                let now = begin + Duration::from_millis(millis);
                let second = millis / 1_000;
                past.retain(|(at, _)| second - at < WINDOW);
                if is_request {
                    budget.request(now);
                    past.push_back((second, true));
                    continue;
                }
                let requests = past.iter().filter(|(_, request)| *request).count() as u64;
                let retries = past.len() as u64 - requests;
                let expected = retries < requests * u64::from(share) / WHOLE + MINIMUM;
                prop_assert_eq!(budget.retry(now, share), expected);
                if expected {
                    past.push_back((second, false));
                }
            }
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let begin = Instant::now();
        let budget = Budget::new(begin);
        budget.give_back(begin);
        (0..MINIMUM).for_each(|_| assert!(budget.retry(begin, 0)));
        assert!(!budget.retry(begin, 0));
        budget.give_back(begin);
        budget.give_back(begin + Duration::from_secs(1));
        assert!(budget.retry(begin, 0) && !budget.retry(begin, 0));
    }

    #[test]
    fn a_request_that_is_late_takes_nothing_from_a_later_second() {
        let begin = Instant::now();
        let (budget, now) = (Budget::new(begin), begin + Duration::from_secs(20));
        (0..MINIMUM).for_each(|_| assert!(budget.retry(now, 0)));
        // Its second has had the place of the one that counts now.
        budget.request(now - Duration::from_secs(SECONDS as u64));
        assert!(!budget.retry(now, 0));
    }

    #[test]
    fn workers_together_stay_within_it() {
        let begin = Instant::now();
        let budget = Arc::new(Budget::new(begin));
        (0..1_000).for_each(|_| budget.request(begin));
        let granted: usize = thread::scope(|scope| {
            let workers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..500).filter(|_| budget.retry(begin, 2_000)).count())).collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
        });
        assert_eq!(granted as u64, 200 + MINIMUM);
        assert!(!budget.retry(begin + Duration::from_secs(9), 2_000));
        assert!(budget.retry(begin + Duration::from_secs(10), 2_000));
    }
}
