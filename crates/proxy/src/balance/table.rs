//! The choice by hash, whatever the table: the hash's own server, or the next in the table that may be used, so that nobody
//! else moves while a server is out.

use std::sync::Arc;

use super::bounded::Bound;
use super::maglev::Table;
use super::ring_hash::Ring;
use super::source::Parts;
use crate::pool::Server;
use base::xxh64::scale;

/// What was prepared for a group of servers.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// For Maglev.
    Maglev(Arc<Table>),
    /// For ring hash.
    Ring(Arc<Ring>),
    /// For source.
    Source(Arc<Parts>),
}

impl Prepared {
    /// Whether anybody else holds it, too.
    pub fn is_shared(&self) -> bool {
        match self {
            Prepared::Maglev(table) => Arc::strong_count(table) > 1,
            Prepared::Ring(ring) => Arc::strong_count(ring) > 1,
            Prepared::Source(parts) => Arc::strong_count(parts) > 1,
        }
    }
}

pub(super) fn pick(
    prepared: &Prepared,
    bound: Option<&Bound>,
    servers: &[Arc<Server>],
    hash: u64,
    allowed: impl Fn(&Server) -> bool,
) -> Option<usize> {
    let Some(bound) = bound else { return next(prepared, servers, hash, allowed) };
    let cap = bound.cap(servers);
    next(prepared, servers, hash, |server| allowed(server) && cap.leaves_room(server))
        .or_else(|| {
            let cap = bound.cap_among(servers, &allowed);
            next(prepared, servers, hash, |server| allowed(server) && cap.leaves_room(server))
        })
        // Other workers have just filled what was free.
        .or_else(|| next(prepared, servers, hash, allowed))
}

fn next(prepared: &Prepared, servers: &[Arc<Server>], hash: u64, allowed: impl Fn(&Server) -> bool) -> Option<usize> {
    let found = match prepared {
        Prepared::Maglev(table) => walk(table.from(hash), servers, &allowed),
        Prepared::Ring(ring) => walk(ring.from(hash), servers, &allowed),
        Prepared::Source(parts) => walk(parts.from(hash), servers, &allowed),
    };
    found.or_else(|| {
        let start = scale(hash, servers.len() as u64) as usize;
        (start..servers.len()).chain(0..start).find(|number| allowed(&servers[*number]))
    })
}

/// A table is asked so often that whoever may be used is nearly always found, and then the servers themselves.
fn walk(
    table: impl Iterator<Item = usize>,
    servers: &[Arc<Server>],
    allowed: &impl Fn(&Server) -> bool,
) -> Option<usize> {
    table.take(2 * servers.len() + 16).find(|number| servers.get(*number).is_some_and(|server| allowed(server)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::balance::fixture::{members, servers};

    fn all_kinds(weights: &[u32]) -> [Prepared; 3] {
        let members = members(weights);
        [
            Prepared::Maglev(Arc::new(Table::of(&members))),
            Prepared::Ring(Arc::new(Ring::of(&members))),
            Prepared::Source(Arc::new(Parts::of(&members))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn who_is_not_allowed_is_not_picked_and_moves_nobody_else(
            weights in prop::collection::vec(1..5_u32, 1..12),
            banned in any::<u16>(),
            hashes in prop::collection::vec(any::<u64>(), 100),
        ) {
            let servers = servers(&weights);
            let allowed = |server: &Server| banned & (1 << server.slot) == 0;
            for kind in all_kinds(&weights) {
                for hash in &hashes {
                    let own = pick(&kind, None, &servers, *hash, |_| true).expect("a server");
                    match pick(&kind, None, &servers, *hash, allowed) {
                        Some(number) => {
                            prop_assert!(allowed(&servers[number]));
                            prop_assert!(number == own || !allowed(&servers[own]));
                        }
                        None => prop_assert!(!servers.iter().any(|server| allowed(server))),
                    }
                }
            }
        }

        /// After every placement nobody has more than the factor times the mean for its weight, rounded up.
        #[test]
        fn bounded_loads_stay_below_their_bound(
            weights in prop::collection::vec(1..5_u32, 2..12),
            banned in any::<u16>(),
            percent in 101..300_u32,
            hot in any::<u64>(),
            steps in prop::collection::vec((any::<u64>(), any::<bool>(), 0..12_usize), 0..300),
        ) {
            for kind in all_kinds(&weights) {
                let servers = servers(&weights);
                let crowd = Arc::new(AtomicU32::new(0));
                servers.iter().for_each(|server| server.count_for(&crowd));
                let mut counted = None;
                let weight = weights.iter().copied().map(u64::from).sum();
                let bound = Bound { percent, crowd: Some(Arc::clone(&crowd)), weight };
                let allowed = |server: &Server| banned & (1 << server.slot) == 0;
                let there: u32 = (0..weights.len()).filter(|number| allowed(&servers[*number])).map(|number| weights[number]).sum();
                for (hash, is_hot, end) in &steps {
                    let ends = servers.get(*end).filter(|server| server.in_flight() > 0);
                    if let (Some(server), Some(counted)) = (ends, counted) {
                        server.request_ended(counted);
                    }
                    let hash = if *is_hot { hot } else { *hash };
                    let Some(number) = pick(&kind, Some(&bound), &servers, hash, allowed) else { continue };
                    counted = Some(servers[number].request_began());
                    let total = crowd.load(Ordering::Relaxed);
                    let share = f64::from(weights[number]) / f64::from(there);
                    let most = (f64::from(percent) / 100.0 * f64::from(total) * share - 1e-9).ceil();
                    prop_assert!(f64::from(servers[number].in_flight()) <= most);
                }
            }
        }
    }

    #[test]
    fn the_last_of_many_is_found() {
        let servers = servers(&[1; 300]);
        for kind in all_kinds(&[1; 300]) {
            for last in [0, 150, 299] {
                assert_eq!(pick(&kind, None, &servers, 99, |server| server.slot == last), Some(last));
            }
            assert_eq!(pick(&kind, None, &servers, 99, |_| false), None);
        }
    }
}
