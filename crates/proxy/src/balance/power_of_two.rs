//! Power of two choices (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 1996): two servers are
//! drawn by weight, and the one with fewer requests in flight is taken. Both draws may be the same server, as in the paper.

use std::sync::Arc;

use super::draw;
use crate::pool::Server;

pub(super) fn pick(
    servers: &[Arc<Server>],
    random: &mut fastrand::Rng,
    allowed: impl Fn(&Server) -> bool,
) -> Option<usize> {
    let total = draw::total(servers, &allowed);
    let first = draw::one(servers, total, random, &allowed)?;
    let second = draw::one(servers, total, random, &allowed)?;
    let busier = servers[second].in_flight() < servers[first].in_flight();
    Some(if busier { second } else { first })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::fixture::servers;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The reference adds up every pair of draws.
        #[test]
        fn picks_are_as_likely_as_all_pairs_say(
            kinds in prop::collection::vec((1..10_u32, 0..4_u32), 2..6), seed in any::<u64>(),
        ) {
            const DRAWS: u32 = 100_000;
            let weights: Vec<u32> = kinds.iter().map(|(weight, _)| *weight).collect();
            let servers = servers(&weights);
            for (server, (_, load)) in servers.iter().zip(&kinds) {
                for _ in 0..*load {
                    let _ = server.request_began();
                }
            }
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let mut wanted = vec![0.0; servers.len()];
            for (first, (first_weight, first_load)) in kinds.iter().enumerate() {
                for (second, (second_weight, second_load)) in kinds.iter().enumerate() {
                    let taken = if second_load < first_load { second } else { first };
                    wanted[taken] += f64::from(*first_weight) / total * f64::from(*second_weight) / total;
                }
            }
            let mut random = fastrand::Rng::with_seed(seed);
            let mut hits = vec![0_u32; servers.len()];
            for _ in 0..DRAWS {
                hits[pick(&servers, &mut random, |_| true).expect("a server")] += 1;
            }
            for (hits, wanted) in hits.iter().zip(wanted) {
                prop_assert!((f64::from(*hits) / f64::from(DRAWS) - wanted).abs() < 0.01, "{hits} {wanted}");
            }
        }
    }
}
