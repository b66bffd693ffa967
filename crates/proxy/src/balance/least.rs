//! The least loaded server for its weight, whatever load is.

use std::sync::Arc;

use super::Cursor;
use crate::pool::Server;

pub(super) fn pick(
    servers: &[Arc<Server>],
    cursor: &mut Cursor,
    load: impl Fn(&Server) -> u32,
    allowed: impl Fn(&Server) -> bool,
) -> Option<usize> {
    let start = cursor.advance() % servers.len().max(1);
    let mut best: Option<(usize, u64, u64)> = None;
    for step in 0..servers.len() {
        let number = (start + step) % servers.len();
        let server = &servers[number];
        if !allowed(server) {
            continue;
        }
        // Compares (load + 1) / share without dividing.
        let (load, share) = (u64::from(load(server)) + 1, server.share().max(1));
        if best.is_none_or(|(_, best_load, best_share)| load * best_share < best_load * share) {
            best = Some((number, load, share));
        }
    }
    best.map(|(number, _, _)| number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::fixture::servers;

    #[test]
    fn equal_servers_take_turns() {
        let servers = servers(&[1, 1, 1]);
        let mut cursor = Cursor::of(0);
        let picks: std::collections::BTreeSet<_> =
            (0..3).map(|_| pick(&servers, &mut cursor, |_| 0, |_| true)).collect();
        assert_eq!(picks.len(), 3);
    }

    proptest! {
        /// A simulation that divides: after every begin and end of requests nobody allowed is less loaded than the one picked.
        #[test]
        fn nobody_allowed_is_less_loaded(
            weights in prop::collection::vec(1..20_u32, 1..8),
            banned in any::<u8>(),
            ends in prop::collection::vec(0..8_usize, 0..200),
        ) {
            let servers = servers(&weights);
            let mut loads = vec![0_u32; servers.len()];
            let mut cursor = Cursor::of(0);
            let allowed = |number: usize| banned & (1 << number) == 0;
            for end in ends {
                let picked = pick(&servers, &mut cursor, Server::in_flight, |server| allowed(server.slot));
                let score = |number: usize| f64::from(loads[number] + 1) / f64::from(weights[number]);
                let least = (0..servers.len()).filter(|number| allowed(*number)).map(score).reduce(f64::min);
                prop_assert_eq!(picked.map(score), least);
                let Some(picked) = picked else { continue };
                prop_assert!(allowed(picked));
                let counted = servers[picked].request_began();
                loads[picked] += 1;
                if let Some(load) = loads.get_mut(end).filter(|load| **load > 0) {
                    *load -= 1;
                    servers[end].request_ended(counted);
                }
            }
        }
    }
}
