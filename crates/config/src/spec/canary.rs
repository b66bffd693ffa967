//! Two versions of a service behind one route.

use std::time::Duration;

use super::{PoolId, Selector};

/// A share of the clients sees the candidate, the others the stable version.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The version that is known to work.
    pub stable: PoolId,
    /// The new one.
    pub candidate: PoolId,
    /// What becomes of the candidate's share.
    pub course: Course,
    /// What gives a client its number.
    pub cohorts: Cohorts,
    /// Requests that choose for themselves.
    pub force: Option<Force>,
}

/// What becomes of the candidate's share. Shares are hundredths of a percent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// It stays what it is.
    Held(u32),
    /// It drives itself.
    Steps {
        /// The shares; they grow, and the last is the whole.
        steps: Vec<u32>,
        /// How long each takes at least; also the time over which the versions are compared.
        every: Duration,
        /// When it ends with nothing.
        guard: Guard,
    },
}

/// What the candidate may do worse than the stable version. At least one of the bounds is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// More errors, in hundredths of a percentage point.
    pub error_points: Option<u32>,
    /// A longer wait, as a ratio of its 99th percentile, in hundredths.
    pub p99_ratio: Option<u32>,
    /// Requests of the candidate without which nothing is judged, and of the stable version without which no step is taken.
    pub min_requests: u64,
}

/// What gives a client its number: it sees the candidate while that is below the share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cohorts {
    /// Nothing: each request draws one.
    Chance,
    /// A signed cookie; absent is a name that no other canary has.
    Cookie(Option<String>),
    /// A hash of these.
    Selectors(Vec<Selector>),
}

/// Requests that choose for themselves, by the value of something that they carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Force {
    /// What is compared.
    pub by: Selector,
    /// The value that chooses the candidate.
    pub candidate: Option<String>,
    /// The value that chooses the stable version.
    pub stable: Option<String>,
}
