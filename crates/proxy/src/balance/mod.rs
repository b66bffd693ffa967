//! Which server a request goes to. Each algorithm is a decision without IO in a file of its own.

mod least_requests;
mod random;
mod round_robin;

use std::sync::Arc;

pub use round_robin::Cursor;

use crate::pool::Server;

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The fewest requests in flight for its weight.
    LeastRequests,
    /// The less busy of two drawn by weight.
    Random,
}

/// Picks one of the servers that `allowed` lets pass, as the index in `servers`; none if it lets none pass.
///
/// `cursor` is this worker's place in the pool's turn.
pub fn pick(
    balance: Balance,
    servers: &[Arc<Server>],
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
        Balance::Random => random::pick(servers, random, allowed),
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    use std::sync::Arc;

    use net::Address;

    use crate::pool::{Server, ServerId};

    /// Servers with these weights.
    pub(crate) fn servers(weights: &[u32]) -> Vec<Arc<Server>> {
        let make = |(number, weight): (usize, &u32)| {
            let address = Address::Tcp(([127, 0, 0, 1], number as u16 + 1).into());
            let id = ServerId { pool: "p".into(), name: format!("s{number}").into(), address };
            let server = Server::new(id, "s", number, 1);
            server.set_weight(*weight);
            Arc::new(server)
        };
        weights.iter().enumerate().map(make).collect()
    }
}
