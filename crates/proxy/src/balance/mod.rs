//! Which server a request goes to. Each algorithm is a decision without IO in a file of its own.

mod bounded;
mod draw;
mod first;
mod key;
mod least;
mod least_connections;
mod least_requests;
mod maglev;
mod member;
pub mod outlier;
mod peak_ewma;
mod power_of_two;
mod random;
mod ring_hash;
mod roster;
mod round_robin;
pub mod slow_start;
mod source;
pub mod statistics;
mod table;

use std::sync::Arc;
use std::time::Instant;

pub use bounded::Bound;
pub use key::Key;
pub use maglev::Table;
pub use member::Member;
pub use peak_ewma::Latency;
pub use ring_hash::Ring;
pub use roster::{Group, Level, Roster, Zones};
pub use round_robin::Cursor;
pub use source::Parts;
pub use table::Prepared;

use crate::policy::View;
use crate::pool::Server;

/// How a server is chosen.
#[derive(Clone, Debug)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The fewest requests in flight for its weight.
    LeastRequests,
    /// The fewest busy connections for its weight.
    LeastConnections,
    /// By chance, by weight.
    Random,
    /// The less busy of two drawn by weight.
    PowerOfTwo,
    /// Of two drawn by weight the one that should answer sooner.
    PeakEwma,
    /// The first below its limit.
    First,
    /// By what a request is told apart by.
    Hash {
        /// What that is.
        key: Key,
        /// Whose it is.
        prepared: Prepared,
        /// How much of the mean load a server may have.
        bound: Option<Bound>,
    },
}

/// What an algorithm wants to know of a request; made only as far as it asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// The hash of what the request is told apart by.
    pub hash: u64,
    /// Now.
    pub now: Option<Instant>,
}

impl Balance {
    /// What is to be known of this request.
    pub(crate) fn wish<'a>(&self, view: impl FnOnce() -> View<'a>) -> Wish {
        match self {
            Balance::Hash { key, .. } => Wish { hash: key.hash(&view()), now: None },
            Balance::PeakEwma => Wish { hash: 0, now: Some(Instant::now()) },
            _ => Wish::default(),
        }
    }
}

/// Picks one of the servers that `allowed` lets pass, as the index in `servers`; none if it lets none pass.
///
/// `cursor` is this worker's place in the pool's turn.
fn pick(
    balance: &Balance,
    servers: &[Arc<Server>],
    wish: Wish,
    cursor: &mut Cursor,
    random: &mut fastrand::Rng,
    allowed: impl Fn(&Server) -> bool,
) -> Option<usize> {
    if let [only] = servers {
        return allowed(only).then_some(0);
    }
    match balance {
        Balance::RoundRobin => round_robin::pick(servers, cursor, allowed),
        Balance::LeastRequests => least_requests::pick(servers, cursor, allowed),
        Balance::LeastConnections => least_connections::pick(servers, cursor, allowed),
        Balance::Random => random::pick(servers, random, allowed),
        Balance::PowerOfTwo => power_of_two::pick(servers, random, allowed),
        Balance::PeakEwma => peak_ewma::pick(servers, wish.now, random, allowed),
        Balance::First => first::pick(servers, allowed),
        Balance::Hash { prepared, bound, .. } => table::pick(prepared, bound.as_ref(), servers, wish.hash, allowed),
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    use std::sync::Arc;

    use net::Address;

    use super::Member;
    use crate::pool::{Server, ServerId};

    /// Servers with these weights.
    pub(crate) fn servers(weights: &[u32]) -> Vec<Arc<Server>> {
        let make = |(number, weight): (usize, &u32)| {
            let server = Server::new(id(number), "s", number, 1);
            server.set_weight(*weight);
            Arc::new(server)
        };
        weights.iter().enumerate().map(make).collect()
    }

    /// The same as tables know them.
    pub(crate) fn members(weights: &[u32]) -> Vec<Member> {
        weights.iter().enumerate().map(|(number, weight)| Member::new(&id(number), *weight)).collect()
    }

    fn id(number: usize) -> ServerId {
        let address = Address::Tcp(([127, 0, 0, 1], number as u16 + 1).into());
        ServerId { pool: "p".into(), name: format!("s{number}").into(), address, transport: 0 }
    }
}
