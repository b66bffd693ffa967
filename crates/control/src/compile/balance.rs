//! How a pool chooses: the algorithm, with the tables that it wants to have prepared.

use std::sync::Arc;

use config::spec::{self, Algorithm};
use proxy::balance::{Balance, Bound, Key, Member, Parts, Prepared, Ring, Table};
use proxy::pool::Server;

use super::policies;
use crate::registry::Registry;

/// The algorithm for these servers, whose weights are those after the switch. Only where they are the whole pool are their
/// requests counted together; a part of it is added up.
pub(super) fn balance(
    pool: &spec::Pool,
    servers: &[Arc<Server>],
    weights: &[u32],
    is_whole: bool,
    registry: &mut Registry,
) -> Balance {
    let said = &pool.balance;
    let make: fn(&[Member]) -> Prepared = match said.algorithm {
        Algorithm::RoundRobin => return Balance::RoundRobin,
        Algorithm::LeastRequests => return Balance::LeastRequests,
        Algorithm::LeastConnections => return Balance::LeastConnections,
        Algorithm::Random => return Balance::Random,
        Algorithm::PowerOfTwo => return Balance::PowerOfTwo,
        Algorithm::First => return Balance::First,
        Algorithm::PeakEwma => {
            servers.iter().for_each(|server| server.follow_latency());
            return Balance::PeakEwma;
        }
        Algorithm::Maglev => |members| Prepared::Maglev(Arc::new(Table::of(members))),
        Algorithm::RingHash => |members| Prepared::Ring(Arc::new(Ring::of(members))),
        Algorithm::Source => |members| Prepared::Source(Arc::new(Parts::of(members))),
    };
    let members = servers.iter().zip(weights).map(|(server, weight)| Member::new(&server.id, *weight)).collect();
    let bound = said.factor.map(|percent| {
        let crowd = is_whole.then(|| registry.crowd(&pool.name));
        for (server, crowd) in servers.iter().zip(crowd.iter().cycle()) {
            server.count_for(crowd);
        }
        Bound { percent, crowd, weight: weights.iter().copied().map(u64::from).sum() }
    });
    Balance::Hash {
        key: Key(said.hash.iter().map(policies::selector).collect()),
        prepared: registry.prepared(said.algorithm, members, make),
        bound,
    }
}
