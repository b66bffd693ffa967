//! What is counted of a pool: the limits that keep a request from something, and how often each did; hedges.

use std::sync::atomic::{AtomicU64, Ordering};

/// A limit that a request has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `retries.budget`: there was no further try.
    RetryBudget,
    /// `circuit_breaker.retries`: there was no further try.
    Retries,
    /// `circuit_breaker.requests`: it was refused.
    Requests,
    /// `concurrency`: it was refused.
    Concurrency,
}

/// How often each limit was met.
#[derive(Debug, Default)]
pub struct Met([AtomicU64; Limit::ALL.len()]);

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 4] = [Limit::RetryBudget, Limit::Retries, Limit::Requests, Limit::Concurrency];

    /// Its name in the log and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Limit::RetryBudget => "retry_budget",
            Limit::Retries => "retries",
            Limit::Requests => "requests",
            Limit::Concurrency => "concurrency",
        }
    }
}

impl Met {
    /// A request has met it.
    pub fn count(&self, limit: Limit) {
        self.0[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often each was.
    pub fn read(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.into_iter().zip(&self.0).map(|(limit, count)| (limit, count.load(Ordering::Relaxed)))
    }
}

/// How many hedges a pool has sent, and how many of them came first.
#[derive(Debug, Default)]
pub struct Hedges {
    sent: AtomicU64,
    won: AtomicU64,
}

impl Hedges {
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn won(&self) {
        self.won.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were sent, and how many won.
    pub fn read(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.won.load(Ordering::Relaxed))
    }
}
