//! The name that a client of TLS asks for inside of a tunnel. A tunnel is routed by the host that its client has told us; what it tells
//! its server may be another one, and lists are about that as well.
//!
//! What the client says first waits here until it is known. What the server says does not: it may be the one that speaks first.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use base::{Fault, Kind};
use http::Conn;
use wire::client_hello::{ClientHello, Seen};

use super::heard;
use crate::exchange::{self, Exchange};
use crate::route::{self, Body, Finding};
use crate::snapshot::{Ending, Listener, Role};
use crate::worker::Worker;

/// Where a tunnel's first words wait.
pub(super) struct Gate {
    listener: Arc<Listener>,
}

impl Gate {
    /// If some route of the listener asks lists.
    pub(super) fn of(listener: &Arc<Listener>) -> Option<Gate> {
        let asks = listener.role == Role::Forward && listener.table.asks_lists();
        asks.then(|| Gate { listener: Arc::clone(listener) })
    }

    /// Until it is known whether the tunnel may go on. What was said is kept for the server.
    pub(super) fn poll(
        &self,
        worker: &Rc<Worker>,
        client: &mut Conn,
        x: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        heard::poll_hello(worker, client, cx).map(|said| match said? {
            Seen::Hello(ClientHello { name: Some(name), .. }) => judge(&self.listener, client, x, &name, cx),
            Seen::Unreadable => {
                x.notes.reason = heard::UNREADABLE;
                Err(Fault::client(Kind::ClientTls))
            }
            Seen::Hello(_) | Seen::Partial | Seen::Other => Ok(()),
        })
    }
}

/// Whether a tunnel may go on whose client asks for this name. If a tunnel to a host of that name would have been refused by a list, its
/// client is told.
pub(crate) fn judge(
    listener: &Listener,
    client: &mut Conn,
    x: &mut Exchange,
    name: &str,
    cx: &mut Context<'_>,
) -> Result<(), Fault> {
    if !listener.table.asks_lists() || x.facts.host == name.as_bytes() {
        return Ok(());
    }
    let facts = route::Facts { host: name.as_bytes(), ..exchange::seen(x, listener, 0, Body::Unread) };
    let hit = match listener.table.find(&facts, 0) {
        Finding::Rule(found) if matches!(listener.routes[found.ordinal].ending, Ending::Deny(_)) => {
            listener.table.hit(found.ordinal, &facts)
        }
        _ => None,
    };
    if hit.is_none() {
        return Ok(());
    }
    x.facts.sni = Some(name.into());
    (x.notes.hit, x.notes.reason) = (hit, "the name asked for in TLS is on a list");
    // It is what its client awaits next, who then knows why (RFC 8446 section 6.2). If it cannot be written at once, it closes without.
    let _ = client.poll_write(cx, ACCESS_DENIED);
    Err(Fault::client(Kind::Denied))
}

/// A record of TLS with a fatal alert, `access_denied`.
const ACCESS_DENIED: &[u8] = &[21, 3, 3, 0, 2, 2, 49];
