//! Two versions of a service behind one route.

use super::{PoolId, Selector};

/// A share of the clients sees the candidate, the others the stable version.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The version that is known to work.
    pub stable: PoolId,
    /// The new one.
    pub candidate: PoolId,
    /// The candidate's share, held, in hundredths of a percent.
    pub share: u32,
    /// What gives a client its number.
    pub cohorts: Cohorts,
    /// Requests that choose for themselves.
    pub force: Option<Force>,
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
