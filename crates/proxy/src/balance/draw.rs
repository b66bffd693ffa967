//! Draws by weight, for the algorithms that leave something to chance.

use std::sync::Arc;

use crate::pool::Server;

/// The sum of the shares of all that may be drawn.
pub(super) fn total(servers: &[Arc<Server>], allowed: &impl Fn(&Server) -> bool) -> u64 {
    servers.iter().filter(|server| allowed(server)).map(|server| server.share()).sum()
}

/// One of those that may be drawn, each as likely as its share of `total`. With a total of nothing it is the first.
pub(super) fn one(
    servers: &[Arc<Server>],
    total: u64,
    random: &mut fastrand::Rng,
    allowed: &impl Fn(&Server) -> bool,
) -> Option<usize> {
    let mut at = if total == 0 { 0 } else { random.u64(0..total) };
    let mut last = None;
    for (number, server) in servers.iter().enumerate() {
        if !allowed(server) {
            continue;
        }
        let share = server.share();
        if at < share || total == 0 {
            return Some(number);
        }
        at -= share;
        last = Some(number);
    }
    // Shares that another thread has just made smaller leave the draw beyond their end.
    last
}

/// Two different ones of those that may be drawn, the second as likely as its share of what the first leaves; the same one
/// twice if there is only one.
pub(super) fn two(
    servers: &[Arc<Server>],
    random: &mut fastrand::Rng,
    allowed: impl Fn(&Server) -> bool,
) -> Option<(usize, usize)> {
    let total = total(servers, &allowed);
    let first = one(servers, total, random, &allowed)?;
    let slot = servers[first].slot;
    let rest = total.saturating_sub(servers[first].share());
    let second = one(servers, rest, random, &|server| server.slot != slot && allowed(server));
    Some((first, second.unwrap_or(first)))
}
