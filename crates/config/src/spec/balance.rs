//! How a pool chooses among its servers.

use super::Selector;

/// How a pool chooses among its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// By which rule.
    pub algorithm: Algorithm,
    /// What is hashed: the first that a request has, or else the client's address. Empty for algorithms that do not hash.
    pub hash: Vec<Selector>,
    /// How many percent of the mean load a server may have, from 101; absent is no bound.
    pub factor: Option<u32>,
}

/// A rule by which servers are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// In turn, by weight.
    RoundRobin,
    /// Fewest requests in flight for its weight.
    LeastRequests,
    /// Fewest busy connections for its weight.
    LeastConnections,
    /// By chance, by weight.
    Random,
    /// The less busy of two drawn by weight.
    PowerOfTwo,
    /// Of two drawn by weight the one that should answer sooner.
    PeakEwma,
    /// The first in the order of names that is below its limit.
    First,
    /// The client's address over the usable servers.
    Source,
    /// Maglev hashing.
    Maglev,
    /// A ring of points.
    RingHash,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 10] = [
        Algorithm::LeastRequests,
        Algorithm::LeastConnections,
        Algorithm::RoundRobin,
        Algorithm::Random,
        Algorithm::PowerOfTwo,
        Algorithm::PeakEwma,
        Algorithm::First,
        Algorithm::Source,
        Algorithm::Maglev,
        Algorithm::RingHash,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Algorithm::RoundRobin => "round_robin",
            Algorithm::LeastRequests => "least_requests",
            Algorithm::LeastConnections => "least_connections",
            Algorithm::Random => "random",
            Algorithm::PowerOfTwo => "power_of_two",
            Algorithm::PeakEwma => "peak_ewma",
            Algorithm::First => "first",
            Algorithm::Source => "source",
            Algorithm::Maglev => "maglev",
            Algorithm::RingHash => "ring_hash",
        }
    }

    /// Whether what is hashed and how far a server may be above the mean can be said.
    pub fn is_consistent_hash(self) -> bool {
        matches!(self, Algorithm::Maglev | Algorithm::RingHash)
    }
}
