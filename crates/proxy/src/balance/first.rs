//! First available, as HAProxy's `first`: the first server in the order of names that is below its `max_connections`. The
//! others are only needed when it is full, and could be shut down until then.

use std::sync::Arc;

use crate::pool::Server;

pub(super) fn pick(servers: &[Arc<Server>], allowed: impl Fn(&Server) -> bool) -> Option<usize> {
    servers.iter().position(|server| allowed(server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::fixture::servers;

    #[test]
    fn the_first_allowed_is_picked() {
        let servers = servers(&[1, 9, 1]);
        assert_eq!(pick(&servers, |_| true), Some(0));
        assert_eq!(pick(&servers, |server| server.slot != 0), Some(1));
        assert_eq!(pick(&servers, |_| false), None);
    }
}
