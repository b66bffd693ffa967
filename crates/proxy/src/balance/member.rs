//! A server as tables know it: what it is called, and its weight. State is not part of it, so that tables last.

use crate::pool::ServerId;

/// A server of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name and address, the same in every process with the same configuration.
    identity: Box<[u8]>,
    /// Its share of the table; 0 gets none.
    weight: u32,
}

impl Member {
    /// The member that a server with this weight is. The pool's name is no part of it: the same servers are chosen alike
    /// whatever a pool is called.
    pub fn new(id: &ServerId, weight: u32) -> Member {
        Member { identity: base::maglev::identity(&id.name, &id.address), weight }
    }

    pub(super) fn weight(&self) -> u32 {
        self.weight
    }

    pub(super) fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// One of the member's hashes.
    pub(super) fn hash(&self, number: u64) -> u64 {
        base::xxh64::hash(number, &self.identity)
    }
}
