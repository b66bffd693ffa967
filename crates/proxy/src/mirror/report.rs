//! What came of copies beside the real requests.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base::ids::RequestId;
use observe::stats::{Class, Histogram};

/// What is known of a mirror's copies. It survives a reload by the mirror's name.
#[derive(Debug)]
pub struct Report {
    /// The mirror's name: that of its policy, or of the route that an inline one is written in and its pool.
    pub name: Box<str>,
    copies: AtomicU32,
    sent: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    // Only copies look at it, after the real request has been answered.
    compared: Mutex<Comparison>,
}

/// Copies and their originals, side by side.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Pairs with the very same status.
    pub same: u64,
    /// Pairs by the class of the real status and of the copy's; class `none` is no answer at all.
    pub pairs: [[u64; Class::ALL.len()]; Class::ALL.len()],
    /// How long the real requests waited for their responses.
    pub real: Histogram,
    /// How long the copies did.
    pub shadow: Histogram,
    /// By how much copies were slower than their originals.
    pub slower: Histogram,
    /// By how much they were faster.
    pub faster: Histogram,
    /// The latest pairs with different statuses.
    pub differences: VecDeque<Difference>,
}

/// A copy that was answered with another status than its original.
#[derive(Clone, Debug)]
pub struct Difference {
    /// When.
    pub time: SystemTime,
    /// Under which id both stand in the access log.
    pub id: RequestId,
    /// The method.
    pub method: Box<[u8]>,
    /// The path.
    pub path: Box<[u8]>,
    /// The status of the real response.
    pub real: u16,
    /// The status of the copy's; 0 if there was none.
    pub shadow: u16,
}

/// Why a request was not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its body was larger than the mirror takes.
    TooLarge,
    /// The mirror had as many copies as it may: its servers are slow, or there are more requests than they take.
    TooMany,
    /// The request was not read to its end, or nobody waited for its answer.
    Unfinished,
    /// The process had no room: it drains, or has no descriptors left.
    NoRoom,
}

/// One copy of those that a mirror may have at a time.
#[derive(Debug)]
pub(super) struct Slot(Arc<Report>);

/// What one side of a pair was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) status: u16,
    pub(super) took_us: u64,
}

/// Differences that are remembered.
const REMEMBERED: usize = 50;

impl Report {
    /// An empty report.
    pub fn new(name: &str) -> Report {
        Report {
            name: name.into(),
            copies: AtomicU32::new(0),
            sent: AtomicU64::new(0),
            dropped: [const { AtomicU64::new(0) }; Dropped::ALL.len()],
            compared: Mutex::default(),
        }
    }

    /// Copies that are under way.
    pub fn copies(&self) -> u32 {
        self.copies.load(Ordering::Relaxed)
    }

    /// Copies that were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Copies that were not sent, for this reason.
    pub fn dropped_for(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// What came of those that were sent.
    pub fn compared(&self) -> Comparison {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn dropped(&self, reason: Dropped) {
        self.dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn compare(&self, id: RequestId, method: &[u8], path: &[u8], real: Side, shadow: Side) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        compared.pairs[Class::of(real.status) as usize][Class::of(shadow.status) as usize] += 1;
        compared.real.record(real.took_us);
        compared.shadow.record(shadow.took_us);
        match shadow.took_us.checked_sub(real.took_us) {
            Some(more) => compared.slower.record(more),
            None => compared.faster.record(real.took_us - shadow.took_us),
        }
        if real.status == shadow.status {
            compared.same += 1;
            return;
        }
        if compared.differences.len() == REMEMBERED {
            compared.differences.pop_front();
        }
        let (time, real, shadow) = (SystemTime::now(), real.status, shadow.status);
        compared.differences.push_back(Difference { time, id, method: method.into(), path: path.into(), real, shadow });
    }
}

impl Dropped {
    /// All of them.
    pub const ALL: [Dropped; 4] = [Dropped::TooLarge, Dropped::TooMany, Dropped::Unfinished, Dropped::NoRoom];

    /// The name, as metrics and the API say it.
    pub const fn name(self) -> &'static str {
        match self {
            Dropped::TooLarge => "too_large",
            Dropped::TooMany => "too_many",
            Dropped::Unfinished => "unfinished",
            Dropped::NoRoom => "no_room",
        }
    }
}

impl Slot {
    /// One more copy, unless there are so many already.
    pub(super) fn take(report: &Arc<Report>, most: u32) -> Option<Slot> {
        let slot = Slot(Arc::clone(report));
        // It is counted first, so that a race lets one too few through, never one too many.
        (report.copies.fetch_add(1, Ordering::Relaxed) < most).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId { origin: 1, sequence: 2 };

    #[test]
    fn slots_end_at_the_limit_and_come_back() {
        let report = Arc::new(Report::new("shadow"));
        let (one, two) = (Slot::take(&report, 2), Slot::take(&report, 2));
        assert!(one.is_some() && two.is_some() && Slot::take(&report, 2).is_none());
        assert_eq!(report.copies(), 2);
        drop(one);
        assert!(Slot::take(&report, 2).is_some());
    }

    #[test]
    fn pairs_are_counted_and_differences_remembered() {
        let report = Report::new("shadow");
        let side = |status, took_us| Side { status, took_us };
        report.compare(ID, b"GET", b"/same", side(200, 1_000), side(200, 5_000));
        report.compare(ID, b"GET", b"/other", side(200, 5_000), side(404, 1_000));
        for number in 0..REMEMBERED {
            report.compare(ID, b"GET", format!("/{number}").as_bytes(), side(201, 1), side(0, 1));
        }
        let compared = report.compared();
        let pair = |real, shadow| compared.pairs[Class::of(real) as usize][Class::of(shadow) as usize];
        assert_eq!((compared.same, pair(200, 200), pair(200, 404), pair(200, 0)), (1, 1, 1, REMEMBERED as u64));
        assert_eq!((compared.slower.count(), compared.faster.count()), (1 + REMEMBERED as u64, 1));
        assert_eq!(compared.differences.len(), REMEMBERED);
        assert!(compared.differences.iter().all(|difference| difference.shadow == 0));
        assert_eq!(report.sent(), 2 + REMEMBERED as u64);
    }
}
