//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016), as
//! HAProxy's `hash-balance-factor`: a server that has more than so many percent of the mean load for its weight is passed
//! over, and the next of the table is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::pool::Server;

/// The bound of a group of servers.
#[derive(Clone, Debug)]
pub struct Bound {
    /// How many percent of the mean a server may have, more than 100.
    pub percent: u32,
    /// Requests in flight at all of the group's servers, if somebody counts them; else they are added up for each choice.
    pub crowd: Option<Arc<AtomicU32>>,
    /// The sum of the weights of all of the group's servers.
    pub weight: u64,
}

/// What a server may have right now.
pub(super) struct Cap {
    percent: u64,
    /// With the request that is to be placed.
    load: u64,
    weight: u64,
}

impl Bound {
    /// The cap if all servers are there. Where some are not it is smaller than it could be, never larger.
    pub(super) fn cap(&self, servers: &[Arc<Server>]) -> Cap {
        let load = match &self.crowd {
            Some(crowd) => u64::from(crowd.load(Ordering::Relaxed)),
            None => load(servers),
        };
        Cap { percent: u64::from(self.percent), load: load + 1, weight: self.weight }
    }

    /// The cap among those that are there: it always leaves room at one of them.
    pub(super) fn cap_among(&self, servers: &[Arc<Server>], allowed: impl Fn(&Server) -> bool) -> Cap {
        let there = servers.iter().filter(|server| allowed(server));
        let weight = there.map(|server| u64::from(server.weight())).sum();
        Cap { percent: u64::from(self.percent), load: load(servers) + 1, weight }
    }
}

fn load(servers: &[Arc<Server>]) -> u64 {
    servers.iter().map(|server| u64::from(server.in_flight())).sum()
}

impl Cap {
    /// Whether one more request keeps the server within the next whole number above its share of the load times the factor.
    pub(super) fn leaves_room(&self, server: &Server) -> bool {
        let most = u128::from(self.percent) * u128::from(self.load) * u128::from(server.weight());
        u128::from(server.in_flight()) * 100 * u128::from(self.weight) < most
    }
}
