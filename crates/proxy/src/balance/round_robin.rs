//! Smooth weighted round robin, as nginx introduced it (`ngx_http_upstream_round_robin`, 2012): each server's claim grows
//! by its weight with every pick, the largest claim wins and pays the total. Over a full cycle every server is picked
//! exactly as often as its weight says, and never in bursts.

use std::sync::Arc;

use crate::pool::Server;

/// A worker's place in a pool's turn: the claims of the servers, by their slots.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    claims: Vec<(usize, i64)>,
    /// How far a worker starts into the turn, so that workers do not all begin with the same server.
    offset: usize,
}

impl Cursor {
    /// The place of a worker with this number.
    pub fn of(worker: usize) -> Cursor {
        Cursor { claims: Vec::new(), offset: worker }
    }

    /// The next start for algorithms that break ties in turn.
    pub(super) fn advance(&mut self) -> usize {
        self.offset = self.offset.wrapping_add(1);
        self.offset
    }

    fn align(&mut self, servers: &[Arc<Server>]) {
        let same = self.claims.len() == servers.len()
            && self.claims.iter().zip(servers).all(|((slot, _), server)| *slot == server.slot);
        if same {
            return;
        }
        let old = std::mem::take(&mut self.claims);
        let claim = |slot| old.iter().find(|(known, _)| *known == slot).map_or(0, |(_, claim)| *claim);
        self.claims = servers.iter().map(|server| (server.slot, claim(server.slot))).collect();
        if old.is_empty() && !servers.is_empty() {
            let first = self.offset % servers.len();
            self.claims[first].1 = 1;
        }
    }
}

pub(super) fn pick(servers: &[Arc<Server>], cursor: &mut Cursor, allowed: impl Fn(&Server) -> bool) -> Option<usize> {
    cursor.align(servers);
    let mut total = 0;
    let mut best: Option<usize> = None;
    for (number, server) in servers.iter().enumerate() {
        if !allowed(server) {
            continue;
        }
        let share = server.share() as i64;
        total += share;
        cursor.claims[number].1 += share;
        if best.is_none_or(|best| cursor.claims[number].1 > cursor.claims[best].1) {
            best = Some(number);
        }
    }
    let best = best?;
    cursor.claims[best].1 -= total;
    Some(best)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::fixture::servers;

    #[test]
    fn every_cycle_is_exact_and_smooth() {
        let servers = servers(&[5, 1, 1]);
        let mut cursor = Cursor::of(0);
        for _ in 0..10 {
            let picks: Vec<usize> = (0..7).map(|_| pick(&servers, &mut cursor, |_| true).expect("a server")).collect();
            assert_eq!(picks.iter().filter(|pick| **pick == 0).count(), 5);
            assert_eq!(picks.iter().filter(|pick| **pick == 1).count(), 1);
            assert!(picks.windows(5).all(|run| run.iter().any(|pick| *pick != 0)), "{picks:?}");
        }
    }

    proptest! {
        /// Whatever the weights, wherever a worker starts, and whoever is out: over each cycle everybody is picked as often as
        /// their weight says.
        #[test]
        fn any_weights_are_exact_over_every_cycle(
            weights in prop::collection::vec(1..30_u32, 1..8), worker in 0..9_usize, banned in any::<u8>(),
        ) {
            let servers = servers(&weights);
            let allowed = |number: usize| banned & (1 << number) == 0;
            let wanted: Vec<u32> = (0..weights.len()).map(|number| if allowed(number) { weights[number] } else { 0 }).collect();
            let mut cursor = Cursor::of(worker);
            for _ in 0..3 {
                let mut counts = vec![0; weights.len()];
                for _ in 0..wanted.iter().sum() {
                    let number = pick(&servers, &mut cursor, |server| allowed(server.slot)).expect("a server");
                    counts[number] += 1;
                }
                prop_assert_eq!(&counts, &wanted);
            }
        }
    }

    #[test]
    fn what_is_not_allowed_is_not_picked() {
        let servers = servers(&[1, 1]);
        let mut cursor = Cursor::of(0);
        for _ in 0..5 {
            assert_eq!(pick(&servers, &mut cursor, |server| server.slot == 1), Some(1));
        }
        assert_eq!(pick(&servers, &mut cursor, |_| false), None);
    }

    #[test]
    fn workers_begin_at_different_servers() {
        let servers = servers(&[1, 1, 1]);
        let first = |worker| pick(&servers, &mut Cursor::of(worker), |_| true);
        assert_eq!([first(0), first(1), first(2)], [Some(0), Some(1), Some(2)]);
    }
}
