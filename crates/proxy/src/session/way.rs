//! The way of a flow: the route that its listener finds for what is known of it.

use std::sync::Arc;

use net::tls::Alpn;
use wire::head::Method;

use crate::exchange::{self, Exchange};
use crate::route::{self, Body};
use crate::snapshot::{Listener, Route};

/// Finds it, for a flow that arrived at this port, or asks for it, and whose client has offered these protocols.
pub(super) fn find<'a>(listener: &'a Listener, x: &mut Exchange, port: u16, offered: &[Alpn]) -> &'a Arc<Route> {
    let (rule, hit) = exchange::find_at_once(x, listener, seen(x, port, offered));
    let Some(rule) = rule else { return &listener.default };
    x.notes.hit = hit;
    &listener.routes[rule]
}

fn seen<'a>(x: &'a Exchange, port: u16, offered: &'a [Alpn]) -> route::Facts<'a> {
    let tls = x.facts.tls.as_deref();
    let name = tls.and_then(|tls| tls.name.as_deref()).or(x.facts.sni.as_deref()).unwrap_or_default();
    route::Facts {
        head: &x.request,
        host: &x.facts.host,
        path: b"",
        client: x.facts.client,
        port,
        secure: true,
        kind: match x.facts.socks {
            Some(_) => route::Kind::Socks,
            None if x.request.method() == Method::Connect => route::Kind::Tunnel,
            None => route::Kind::Http,
        },
        sni: name.as_bytes(),
        alpn: offered,
        fingerprint: tls.and_then(|tls| tls.fingerprint.as_ref()),
        said: x.facts.said.as_deref(),
        user: x.facts.user.as_deref(),
        now: x.notes.second(),
        // Nothing here has a body.
        body: Body::Unread,
    }
}
