//! Least connections: the server with the fewest busy connections for its weight, counted over the whole process: those
//! that carry a request and those that are being opened. Equal ones take turns.

use std::sync::Arc;

use super::{Cursor, least};
use crate::pool::Server;

pub(super) fn pick(servers: &[Arc<Server>], cursor: &mut Cursor, allowed: impl Fn(&Server) -> bool) -> Option<usize> {
    least::pick(servers, cursor, Server::busy, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::fixture::servers;
    use crate::pool::Gate;

    #[test]
    fn a_connection_counts_from_its_connect_until_it_is_idle() {
        let servers = servers(&[1, 1]);
        let gate = Arc::new(Gate::new(0));
        let next = || pick(&servers, &mut Cursor::of(1), |_| true);
        assert_eq!(next(), Some(0));
        let lease = servers[0].lease(&gate);
        assert_eq!(next(), Some(1));
        servers[0].parked();
        assert_eq!(next(), Some(0));
        servers[0].unparked();
        drop(lease);
        assert_eq!(next(), Some(0));
    }
}
