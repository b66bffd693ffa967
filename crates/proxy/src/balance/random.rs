//! Random: each server is as likely as its weight says, whatever it is doing. HAProxy's `random(1)`.

use std::sync::Arc;

use super::draw;
use crate::pool::Server;

pub(super) fn pick(
    servers: &[Arc<Server>],
    random: &mut fastrand::Rng,
    allowed: impl Fn(&Server) -> bool,
) -> Option<usize> {
    draw::one(servers, draw::total(servers, &allowed), random, &allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::fixture::servers;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Within one percentage point of the weights, among those that are allowed.
        #[test]
        fn draws_follow_weights(
            weights in prop::collection::vec(1..100_u32, 1..8), banned in any::<u8>(), seed in any::<u64>(),
        ) {
            const DRAWS: u32 = 100_000;
            let servers = servers(&weights);
            let allowed = |number: usize| banned & (1 << number) == 0;
            let mut random = fastrand::Rng::with_seed(seed);
            let mut hits = vec![0_u32; servers.len()];
            for _ in 0..DRAWS {
                match pick(&servers, &mut random, |server| allowed(server.slot)) {
                    Some(number) => hits[number] += 1,
                    None => prop_assert!((0..servers.len()).all(|number| !allowed(number))),
                }
            }
            let total: u32 = (0..servers.len()).filter(|number| allowed(*number)).map(|number| weights[number]).sum();
            for (number, hits) in hits.iter().enumerate() {
                let wanted = if allowed(number) { f64::from(weights[number]) / f64::from(total) } else { 0.0 };
                prop_assert!((f64::from(*hits) / f64::from(DRAWS) - wanted).abs() < 0.01, "{number}: {hits}");
            }
        }
    }
}
