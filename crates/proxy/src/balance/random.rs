//! Power of two choices (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 1996): two servers are
//! drawn by weight, and the one with fewer requests in flight is taken.

use std::sync::Arc;

use crate::pool::Server;

pub(super) fn pick(
    servers: &[Arc<Server>],
    random: &mut fastrand::Rng,
    allowed: impl Fn(&Server) -> bool,
) -> Option<usize> {
    let total: u64 = servers.iter().filter(|server| allowed(server)).map(|server| server.share()).sum();
    if total == 0 {
        return servers.iter().position(|server| allowed(server));
    }
    let mut draw = || {
        let mut at = random.u64(0..total);
        servers.iter().position(|server| {
            if !allowed(server) {
                return false;
            }
            let share = server.share();
            if at < share {
                return true;
            }
            at -= share;
            false
        })
    };
    let (first, second) = (draw()?, draw()?);
    let busier = servers[second].in_flight() < servers[first].in_flight();
    Some(if busier { second } else { first })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::fixture::servers;

    #[test]
    fn draws_follow_weights() {
        let servers = servers(&[1, 3]);
        let mut random = fastrand::Rng::with_seed(7);
        let hits = (0..100_000).filter(|_| pick(&servers, &mut random, |_| true) == Some(1)).count();
        assert!((74_000..76_000).contains(&hits), "{hits}");
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let servers = servers(&[1, 1]);
        for _ in 0..10 {
            servers[0].request_began();
        }
        let mut random = fastrand::Rng::with_seed(7);
        let hits = (0..10_000).filter(|_| pick(&servers, &mut random, |_| true) == Some(1)).count();
        // Only if both draws are the busy one is it taken: one time in four.
        assert!((7_300..7_700).contains(&hits), "{hits}");
    }
}
