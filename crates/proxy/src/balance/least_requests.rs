//! Least requests: the server with the fewest requests in flight for its weight, counted over the whole process. Equal
//! ones take turns. HAProxy's `leastconn` and nginx's `least_conn` decide so, by connections.

use std::sync::Arc;

use super::{Cursor, least};
use crate::pool::Server;

pub(super) fn pick(servers: &[Arc<Server>], cursor: &mut Cursor, allowed: impl Fn(&Server) -> bool) -> Option<usize> {
    least::pick(servers, cursor, Server::in_flight, allowed)
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
            let _ = servers[number].request_began();
        }
        assert_eq!(servers[0].in_flight(), 100);
        assert_eq!(servers[1].in_flight(), 200);
    }
}
