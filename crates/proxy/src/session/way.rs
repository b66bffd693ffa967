//! The way of a flow: the route that its listener finds for what is known of it.

use std::sync::Arc;

use net::tls::Alpn;

use crate::exchange::Exchange;
use crate::route::{self, Body, Finding};
use crate::snapshot::{Listener, Route};

/// Finds it, for a flow that arrived at this port, or asks for it, and whose client has offered these protocols.
pub(super) fn find<'a>(listener: &'a Listener, x: &mut Exchange, port: u16, offered: &[Alpn]) -> &'a Arc<Route> {
    let tls = x.facts.tls.as_deref();
    let name = tls.and_then(|tls| tls.name.as_deref()).or(x.facts.sni.as_deref()).unwrap_or_default();
    let facts = route::Facts {
        head: &x.request,
        host: &x.facts.host,
        path: b"",
        client: x.facts.client,
        port,
        secure: true,
        kind: if x.facts.socks.is_some() { route::Kind::Socks } else { route::Kind::Http },
        sni: name.as_bytes(),
        alpn: offered,
        fingerprint: tls.and_then(|tls| tls.fingerprint.as_ref()),
        said: x.facts.said.as_deref(),
        user: x.facts.user.as_deref(),
        now: x.notes.second(),
        body: Body::Unread,
    };
    match listener.table.find(&facts, 0) {
        Finding::Rule(found) => {
            let hit = listener.table.hit(found.ordinal, &facts);
            x.notes.hit = hit;
            &listener.routes[found.ordinal]
        }
        // Nothing here has a body.
        Finding::None | Finding::NeedsBody { .. } | Finding::TooLarge { .. } => &listener.default,
    }
}
