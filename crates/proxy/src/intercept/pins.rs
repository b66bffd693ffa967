//! Clients that have not believed us for a host: those that know which certificate it should show, and will never take another. For a
//! while they are left alone with it, where the operator wants that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Those of a listener. Its lock is looked at for a tunnel that is to be read, and only while there are any.
#[derive(Debug, Default)]
pub struct Pins {
    until: Mutex<HashMap<(IpAddr, Box<str>), Instant>>,
    count: AtomicUsize,
}

/// So many are remembered; with more, the one that would be forgotten first is.
const MOST: usize = 4096;

impl Pins {
    /// Whether a client has not believed us for this host lately.
    pub(crate) fn has(&self, client: IpAddr, host: &str, now: Instant) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.lock().get(&(client, host.into())).is_some_and(|until| *until > now)
    }

    /// It has not: it is left alone for so long.
    pub(crate) fn note(&self, client: IpAddr, host: &str, now: Instant, lasts: Duration) {
        let mut all = self.lock();
        if all.len() >= MOST {
            all.retain(|_, until| *until > now);
        }
        if all.len() >= MOST {
            let first = all.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone());
            first.and_then(|first| all.remove(&first));
        }
        all.insert((client, host.into()), now + lasts);
        self.count.store(all.len(), Ordering::Relaxed);
    }

    /// A panic elsewhere leaves whole entries.
    fn lock(&self) -> MutexGuard<'_, HashMap<(IpAddr, Box<str>), Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_left_alone_with_one_host_for_a_while() {
        let (pins, now, hour) = (Pins::default(), Instant::now(), Duration::from_secs(3600));
        let client = IpAddr::from([192, 0, 2, 1]);
        assert!(!pins.has(client, "a.test", now));
        pins.note(client, "a.test", now, hour);
        assert!(pins.has(client, "a.test", now));
        assert!(!pins.has(client, "b.test", now));
        assert!(!pins.has([192, 0, 2, 2].into(), "a.test", now));
        assert!(!pins.has(client, "a.test", now + hour));
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let (pins, now) = (Pins::default(), Instant::now());
        let client = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        for number in 0..MOST + 10 {
            pins.note(client(number), "a.test", now, Duration::from_secs(1 + number as u64));
        }
        assert_eq!(pins.lock().len(), MOST);
        assert!(!pins.has(client(0), "a.test", now) && pins.has(client(MOST + 9), "a.test", now));
    }
}
