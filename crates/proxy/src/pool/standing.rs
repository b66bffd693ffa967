//! What all workers know of whether a server may be used, in one word.
//!
//! While all is well the word is 0, so that a request pays for one relaxed load. Only a server that failed connects keep out
//! needs the clock, since such a pause ends by itself. Everything else is taken back by whoever said it: the operator, active
//! checks, or control when an ejection is over.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why a server is not used, as long as somebody says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Reason {
    /// The operator lets it finish what it has.
    Drained = 1,
    /// Its weight is 0.
    Weightless = 2,
    /// Active checks failed.
    CheckedDown = 4,
    /// It answered requests badly.
    Ejected = 8,
}

/// The standing of one server.
#[derive(Debug)]
pub(super) struct Standing {
    begin: Instant,
    /// The reasons, one bit each, and above them the millisecond after `begin` at which a pause ends; 0 without a pause.
    word: AtomicU64,
    /// Connects that failed since the last one that succeeded.
    failures: AtomicU32,
    /// Pauses there ever were.
    pauses: AtomicU64,
}

/// After a failed connect a server is passed over for this long; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest time that failed connects alone keep a server out.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Bits of the word that are reasons.
const REASONS: u64 = 0xff;
const PAUSE_SHIFT: u32 = 8;
/// What operators say to let a server run empty.
pub(super) const UNWANTED: u64 = Reason::Drained as u64 | Reason::Weightless as u64;

impl Standing {
    /// A server with which nothing is wrong.
    pub(super) fn new() -> Standing {
        Standing {
            begin: Instant::now(),
            word: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            pauses: AtomicU64::new(0),
        }
    }

    /// Whether nothing speaks against it.
    pub(super) fn is_usable(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word == 0 || (word & REASONS == 0 && !self.pauses_still(word))
    }

    /// Whether nothing else than these reasons speaks against it.
    pub(super) fn is_usable_but_for(&self, reasons: u64) -> bool {
        let word = self.word.load(Ordering::Relaxed) & !reasons;
        word == 0 || (word & REASONS == 0 && !self.pauses_still(word))
    }

    /// Whether the operator wants requests to go to it.
    pub(super) fn is_wanted(&self) -> bool {
        self.word.load(Ordering::Relaxed) & UNWANTED == 0
    }

    /// Whether this speaks against it.
    pub(super) fn has(&self, reason: Reason) -> bool {
        self.word.load(Ordering::Relaxed) & reason as u64 != 0
    }

    /// Whether failed connects keep it out for now.
    pub(super) fn is_paused(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word > REASONS && self.pauses_still(word)
    }

    /// Says or takes back a reason; answers whether that changed anything.
    pub(super) fn set(&self, reason: Reason, holds: bool) -> bool {
        let bit = reason as u64;
        let before =
            if holds { self.word.fetch_or(bit, Ordering::SeqCst) } else { self.word.fetch_and(!bit, Ordering::SeqCst) };
        (before & bit != 0) != holds
    }

    /// A connect failed: it is passed over for a while, longer each time. Failures of connects that were under way when
    /// it went out say nothing new.
    pub(super) fn connect_failed(&self) {
        if self.is_paused() {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(8);
        let pause = FIRST_PAUSE.saturating_mul(1 << failures).min(LONGEST_PAUSE);
        self.pauses.fetch_add(1, Ordering::Relaxed);
        self.set_pause(self.millis() + pause.as_millis() as u64);
    }

    /// A connect succeeded: what failed before is forgotten.
    pub(super) fn connect_succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.set_pause(0);
        }
    }

    /// Connects that failed since the last one that succeeded.
    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How often failed connects have kept it out.
    pub(super) fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }

    /// Milliseconds since it is known.
    pub(super) fn millis(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// Whether the pause in this word lasts. One that is over is taken out of the word, so that nobody needs the clock again.
    fn pauses_still(&self, word: u64) -> bool {
        if word >> PAUSE_SHIFT > self.millis() {
            return true;
        }
        // If the word has changed meanwhile, whoever looks next finds out.
        let _ = self.word.compare_exchange(word, word & REASONS, Ordering::Relaxed, Ordering::Relaxed);
        false
    }

    fn set_pause(&self, until: u64) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let wanted = (until << PAUSE_SHIFT) | (word & REASONS);
            match self.word.compare_exchange_weak(word, wanted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_and_go_alone() {
        let standing = Standing::new();
        assert!(standing.is_usable());
        assert!(standing.set(Reason::CheckedDown, true) && !standing.set(Reason::CheckedDown, true));
        assert!(standing.set(Reason::Ejected, true));
        standing.connect_failed();
        assert!(standing.set(Reason::CheckedDown, false));
        assert!(standing.has(Reason::Ejected) && standing.is_paused() && !standing.is_usable() && standing.is_wanted());
        standing.connect_succeeded();
        assert!(standing.has(Reason::Ejected) && !standing.is_paused());
        assert!(standing.set(Reason::Ejected, false) && standing.is_usable());
        assert!(standing.set(Reason::Drained, true) && !standing.is_wanted());
    }

    #[test]
    fn a_pause_that_is_over_leaves_nothing_behind() {
        let standing = Standing::new();
        standing.set_pause(standing.millis());
        assert!(standing.is_usable());
        assert_eq!(standing.word.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_connect_that_fails_while_it_is_out_says_nothing_new() {
        let standing = Standing::new();
        standing.connect_failed();
        standing.connect_failed();
        assert_eq!((standing.failures(), standing.pauses()), (1, 1));
    }
}
