//! Least requests: the server with the fewest requests in flight for its weight, counted over the whole process. Equal
//! ones take turns.

use std::sync::Arc;

use super::Cursor;
use crate::pool::Server;

pub(super) fn pick(servers: &[Arc<Server>], cursor: &mut Cursor, allowed: impl Fn(&Server) -> bool) -> Option<usize> {
    let start = cursor.advance() % servers.len().max(1);
    let mut best: Option<(usize, u64, u64)> = None;
    for step in 0..servers.len() {
        let number = (start + step) % servers.len();
        let server = &servers[number];
        if !allowed(server) {
            continue;
        }
        // Compares (in flight + 1) / share without dividing.
        let (load, share) = (u64::from(server.in_flight()) + 1, server.share().max(1));
        if best.is_none_or(|(_, best_load, best_share)| load * best_share < best_load * share) {
            best = Some((number, load, share));
        }
    }
    best.map(|(number, _, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::fixture::servers;

    #[test]
    fn load_follows_weight() {
        let servers = servers(&[1, 2]);
        let mut cursor = Cursor::of(0);
        for _ in 0..300 {
            let number = pick(&servers, &mut cursor, |_| true).expect("a server");
            servers[number].request_began();
        }
        assert_eq!(servers[0].in_flight(), 100);
        assert_eq!(servers[1].in_flight(), 200);
    }

    #[test]
    fn equal_servers_take_turns() {
        let servers = servers(&[1, 1, 1]);
        let mut cursor = Cursor::of(0);
        let picks: std::collections::BTreeSet<_> = (0..3).map(|_| pick(&servers, &mut cursor, |_| true)).collect();
        assert_eq!(picks.len(), 3);
    }
}
