//! A request as rules see it.

use wire::head::Scheme;

use super::Exchange;
use crate::route::{self, Body};
use crate::snapshot::{Listener, Role};

/// What a request shows to the table, that arrived at this port.
pub(crate) fn seen<'a>(x: &'a Exchange, listener: &Listener, port: u16, body: Body<'a>) -> route::Facts<'a> {
    route::Facts {
        head: &x.request,
        host: &x.facts.host,
        path: &x.facts.path,
        client: x.facts.client,
        port: match listener.role {
            Role::Forward => x.facts.port.unwrap_or_default(),
            _ => port,
        },
        secure: match listener.role {
            Role::Forward => match &x.facts.inside {
                Some(inside) => inside.secure.is_some(),
                None => x.request.scheme() == Scheme::Https,
            },
            _ => x.facts.tls.is_some(),
        },
        kind: match (x.facts.websocket, x.facts.call) {
            _ if x.facts.socks.is_some() => route::Kind::Socks,
            _ if x.is_tunnel() => route::Kind::Tunnel,
            (true, _) => route::Kind::Websocket,
            (false, Some(_)) => route::Kind::Grpc,
            (false, None) => route::Kind::Http,
        },
        sni: x.facts.tls.as_ref().and_then(|tls| tls.name.as_deref()).unwrap_or_default().as_bytes(),
        alpn: x.facts.tls.as_ref().map(|tls| tls.alpn.as_slice()).unwrap_or_default(),
        fingerprint: x.facts.tls.as_ref().and_then(|tls| tls.fingerprint.as_ref()),
        said: None,
        user: x.facts.user.as_deref(),
        now: x.notes.second(),
        body,
    }
}
