//! The door of HTTP/3: who may have a connection over QUIC, and who has to prove an address first.

use std::rc::Rc;

use net::quic::{Caller, Connection, Host, Verdict};
use observe::stats::ConnectionShard;

use crate::session::{self, Origin};
use crate::snapshot::{BindId, ListenerId};
use crate::worker::Worker;

/// Decides about the clients of one address.
pub(crate) struct Doorkeeper {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: ListenerId,
    pub(crate) bind: BindId,
    pub(crate) port: u16,
}

/// From this share of the handshakes that may be under way on, callers prove their address before anything is kept of them: a
/// flood of made-up ones then costs a packet each, and no memory (RFC 9000 section 8.1.2).
const CALM: usize = 4;

impl Doorkeeper {
    /// Counts something of the address's listener, if it is still there.
    fn count(&self, what: impl FnOnce(&ConnectionShard)) {
        if let Some(listener) = self.worker.pin().listener(self.listener) {
            what(listener.connections.shard(self.worker.id));
        }
    }
}

impl Host for Doorkeeper {
    fn decide(&self, caller: &Caller) -> Verdict {
        let snapshot = self.worker.pin();
        let Some(listener) = snapshot.listener(self.listener) else { return Verdict::Refuse };
        let Some((tls, server)) = listener.tls_at(self.bind).and_then(|tls| Some((tls, tls.quic.as_ref()?))) else {
            return Verdict::Refuse;
        };
        let under_way = tls.handshakes_under_way();
        if !caller.proven && under_way >= tls.most / CALM {
            listener.connections.shard(self.worker.id).retried();
            return Verdict::Retry;
        }
        let counters = listener.connections.shard(self.worker.id);
        counters.accepted();
        if listener.active() >= listener.max_connections {
            counters.refused();
            return Verdict::Refuse;
        }
        if under_way >= tls.most {
            counters.handshake_failed();
            return Verdict::Refuse;
        }
        Verdict::Accept(server.clone())
    }

    fn begun(&self, connection: Connection) {
        let origin = Origin {
            listener: self.listener,
            bind: self.bind,
            peer: Some(connection.remote()),
            port: self.port,
            early: false,
            led: false,
        };
        self.worker.fleet.connection_began(self.worker.id);
        session::spawn_quic(&self.worker, connection, origin);
    }

    fn handed_over(&self, kept: bool) {
        self.count(|counters| counters.handed_over(kept));
    }

    fn moved(&self) {
        self.count(ConnectionShard::moved);
    }
}
