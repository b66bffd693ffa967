//! What control and all workers share of a canary.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use base::ids::WorkerId;
use base::{Fault, Kind, Side};
use observe::stats::{Outcome, RequestStats};

use super::Variant;

/// The share that control moves, and what workers count.
#[derive(Debug)]
pub struct State {
    /// The candidate's share in hundredths of a percent; [`CLOSED`] if not even forced requests reach it.
    share: AtomicU32,
    stats: [RequestStats; 2],
    diverted: [AtomicU64; 2],
    /// Requests that have asked each version, and those of them that wait no longer.
    asked: [AtomicU64; 2],
    settled: [AtomicU64; 2],
}

/// A client that leaves earlier than this says nothing of whom it waited for.
const PATIENT_US: u64 = 100_000;

/// What a request counts as whose client has left: nobody's error, but a wait.
const CLOSED_REQUEST: u16 = 499;
/// A share that no number is below, and that lets no forced request pass.
const CLOSED: u32 = u32::MAX;

impl State {
    /// A canary with this share, for so many workers.
    pub fn new(share: u32, workers: usize) -> State {
        State {
            share: AtomicU32::new(share),
            stats: [RequestStats::new(workers), RequestStats::new(workers)],
            diverted: [AtomicU64::new(0), AtomicU64::new(0)],
            asked: [AtomicU64::new(0), AtomicU64::new(0)],
            settled: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// The candidate's share, in hundredths of a percent.
    pub fn share(&self) -> u32 {
        match self.share.load(Ordering::Relaxed) {
            CLOSED => 0,
            share => share,
        }
    }

    /// Sets the candidate's share.
    pub fn set_share(&self, share: u32) {
        self.share.store(share, Ordering::Relaxed);
    }

    /// Takes everything from the candidate, forced requests too, until a share is set again.
    pub fn close(&self) {
        self.share.store(CLOSED, Ordering::Relaxed);
    }

    /// Whether not even forced requests reach the candidate.
    pub fn is_closed(&self) -> bool {
        self.share.load(Ordering::Relaxed) == CLOSED
    }

    /// What was counted for a version: an error is a 5xx.
    pub fn stats(&self, variant: Variant) -> &RequestStats {
        &self.stats[variant as usize]
    }

    /// Requests that the other version has served, because this one had no server.
    pub fn diverted(&self, variant: Variant) -> u64 {
        self.diverted[variant as usize].load(Ordering::Relaxed)
    }

    /// Requests that have asked a version, and how many of them wait for its response no longer.
    pub fn waits(&self, variant: Variant) -> (u64, u64) {
        // In this order none has settled that has not asked.
        let settled = self.settled[variant as usize].load(Ordering::Acquire);
        (self.asked[variant as usize].load(Ordering::Relaxed), settled)
    }

    pub(super) fn asks(&self, variant: Variant) {
        self.asked[variant as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn settles(&self, variant: Variant) {
        self.settled[variant as usize].fetch_add(1, Ordering::Release);
    }

    pub(super) fn diverted_from(&self, variant: Variant) {
        self.diverted[variant as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that a version has served. What a client has spoiled says nothing of a version, and a response that
    /// its server broke off is an error whatever it began with.
    pub(crate) fn count(
        &self,
        worker: WorkerId,
        variant: Variant,
        (status, is_whole): (u16, bool),
        fault: Option<Fault>,
        took_us: u64,
    ) {
        let status = match fault.map(|fault| fault.side) {
            // Whoever had sent everything and got nothing has waited for the version at least so long.
            Some(Side::Client) if status == 0 && fault.is_some_and(|fault| fault.kind == Kind::ClientGone) => {
                if took_us < PATIENT_US || !is_whole {
                    return;
                }
                CLOSED_REQUEST
            }
            Some(Side::Client) => return,
            Some(Side::Server) => status.max(500),
            _ => status,
        };
        let outcome = Outcome { status, fault, bytes_in: 0, bytes_out: 0, total_us: Some(took_us) };
        self.stats[variant as usize].shard(worker).count(&outcome);
    }
}

#[cfg(test)]
mod tests {
    use base::Retry;
    use observe::stats::Class;

    use super::*;

    #[test]
    fn errors_are_those_of_the_version() {
        let state = State::new(0, 1);
        let count = |status, fault| state.count(WorkerId(0), Variant::Candidate, (status, true), fault, 1);
        count(200, None);
        count(503, None);
        count(200, Some(Fault::server(Kind::Truncated, Retry::Never)));
        count(504, Some(Fault::server(Kind::ResponseTimeout, Retry::Idempotent)));
        count(408, Some(Fault::client(Kind::BodyTimeout)));
        count(0, Some(Fault::client(Kind::ClientGone)));
        let read = state.stats(Variant::Candidate).read();
        assert_eq!((read.total(), read.with_class(Class::ServerError)), (4, 3));
        assert_eq!(state.stats(Variant::Stable).read().total(), 0);
        let gone = Some(Fault::client(Kind::ClientGone));
        state.count(WorkerId(0), Variant::Candidate, (0, false), gone, PATIENT_US);
        state.count(WorkerId(0), Variant::Candidate, (0, true), gone, PATIENT_US);
        let read = state.stats(Variant::Candidate).read();
        assert_eq!((read.total(), read.with_class(Class::ServerError)), (5, 3), "it has waited for the version");
    }

    #[test]
    fn closed_is_no_share_at_all() {
        let state = State::new(500, 1);
        state.close();
        assert!(state.is_closed() && state.share() == 0);
        state.set_share(0);
        assert!(!state.is_closed());
    }
}
