//! How a server behaves toward requests: errors in a row, over all workers, and the ejection that they lead to at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use base::Kind;

use crate::balance::outlier::{Misdeed, Verdict};

/// The conduct of one server.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    /// So many errors in a row eject it; 0 if none do.
    limit: AtomicU32,
    errors: AtomicU32,
    /// The server's millisecond in which the first of them happened.
    since: AtomicU64,
    last: AtomicU32,
    /// Requests that others have answered in its place, since its last answer.
    overtaken: AtomicU32,
    /// One of them is still waited for.
    awaited: AtomicBool,
    ejections: Arc<Ejections>,
}

/// How many servers of a pool are out for their conduct, and how many may be.
#[derive(Debug, Default)]
pub struct Ejections {
    now: AtomicU32,
    most: AtomicU32,
}

/// Errors in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errors {
    /// How many.
    pub count: u32,
    /// The last of them.
    pub last: Misdeed,
    /// Milliseconds since the first.
    pub age: u64,
}

impl Conduct {
    pub(super) fn new(ejections: Arc<Ejections>) -> Conduct {
        Conduct { ejections, ..Conduct::default() }
    }

    /// Whether errors in a row mean anything here.
    pub(super) fn listens(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != 0
    }

    /// Hears how a try went; answers whether it was one error too many. `millis` is asked only if something is wrong.
    pub(super) fn hear(&self, verdict: Verdict, millis: impl Fn() -> u64) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return false;
        }
        match verdict {
            Verdict::Nothing => false,
            Verdict::Good => {
                if self.errors.load(Ordering::Relaxed) | self.overtaken.load(Ordering::Relaxed) != 0 {
                    self.forget();
                }
                false
            }
            Verdict::Bad(misdeed) => {
                // What answers badly does not hang.
                if let Misdeed::Status(_) = misdeed {
                    self.overtaken.store(0, Ordering::Relaxed);
                }
                let before = self.errors.fetch_add(1, Ordering::Relaxed);
                if before == 0 {
                    self.since.store(millis(), Ordering::Relaxed);
                }
                self.last.store(misdeed.pack(), Ordering::Relaxed);
                before.saturating_add(1) >= limit
            }
        }
    }

    /// Another server has answered in its place. Answers whether that has happened so often in a row that somebody should
    /// wait for its answer.
    pub(super) fn was_overtaken(&self, millis: impl Fn() -> u64) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return false;
        }
        let before = self.overtaken.fetch_add(1, Ordering::Relaxed);
        if before == 0 && self.errors.load(Ordering::Relaxed) == 0 {
            self.since.store(millis(), Ordering::Relaxed);
        }
        before.saturating_add(1) >= limit && !self.awaited.swap(true, Ordering::Relaxed)
    }

    /// Nobody waits for its answer any more.
    pub(super) fn was_waited_for(&self) {
        self.awaited.store(false, Ordering::Relaxed);
    }

    /// It did not answer in time: nor did it, then, any of the requests in which it was overtaken. Answers whether they are
    /// errors too many.
    pub(super) fn hangs(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let overtaken = self.overtaken.swap(0, Ordering::Relaxed);
        if limit == 0 || overtaken == 0 {
            return false;
        }
        let before = self.errors.fetch_add(overtaken, Ordering::Relaxed);
        self.last.store(Misdeed::Fault(Kind::ResponseTimeout).pack(), Ordering::Relaxed);
        before.saturating_add(overtaken) >= limit
    }

    pub(super) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn forget(&self) {
        self.errors.store(0, Ordering::Relaxed);
        self.overtaken.store(0, Ordering::Relaxed);
    }

    pub(super) fn errors(&self, millis: u64) -> Errors {
        Errors {
            count: self.errors.load(Ordering::Relaxed),
            last: Misdeed::unpack(self.last.load(Ordering::Relaxed)),
            age: millis.saturating_sub(self.since.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn ejections(&self) -> &Arc<Ejections> {
        &self.ejections
    }
}

impl Ejections {
    /// Sets how many may be out.
    pub fn set_most(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many are out.
    pub fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Takes the place of one more, if one is left.
    pub(super) fn take(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let one_more = |now: u32| (now < most).then_some(now + 1);
        self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}
