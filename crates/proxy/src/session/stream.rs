//! A flow of TCP: found, connected, relayed, recorded. It is the exchange's little sister, and knows of what is said no more than its
//! client's first words, if a route asks for them.

use std::sync::Arc;

use base::{Fault, Kind};
use net::tls::Alpn;
use wire::client_hello::ClientHello;
use wire::starttls::Protocol;

use super::{Session, heard, mysql, tunnel, unbound, way};
use crate::attempt::{self, Tunnel};
use crate::exchange::{self, Exchange};
use crate::finish::{self, Account};
use crate::snapshot::{Ending, Hears, Listener, Role, Route};

/// Serves a flow until it ends.
pub(super) async fn serve(mut session: Session) {
    let mut x = begun(&session);
    match connected(&mut session, &mut x).await {
        None => session.worker.recycle(x),
        // In a task of its own, as a tunnel: what led to it should not stay with it.
        Some(flow) if mysql::behind(&flow).is_some() => {
            drop(tokio::task::spawn_local(mysql::go_on(session, x, flow, None)));
        }
        Some(flow) => tunnel::spawn(session, x, flow),
    }
}

/// What a flow needs.
pub(super) fn begun(session: &Session) -> Box<Exchange> {
    let mut x = session.worker.exchange();
    x.began(None);
    x.client.is_flow = true;
    x
}

/// Until both sides may speak; nothing if it came to nothing, which is recorded then.
pub(super) async fn connected(session: &mut Session, x: &mut Exchange) -> Option<Tunnel> {
    let pinned = exchange::pin(session);
    let mut route = &pinned.default;
    let ended = story(session, x, &pinned, &mut route).await;
    let fault = match ended {
        Ok(tunnel) => return Some(tunnel),
        Err(fault) => fault,
    };
    x.notes.fault = Some(fault);
    // What was refused for no fault of a server's ends like a conversation, if the route does not say otherwise. Else it should not
    // look as if a server had answered with nothing.
    let is_refused = matches!(fault.kind, Kind::Denied | Kind::NoRoute);
    if !is_refused || matches!(route.ending, Ending::Close { reset: true }) {
        session.client.reset_on_close();
    }
    let account = Account::of(&pinned, route, &x.notes);
    finish::record(&session.worker, x, &account);
    None
}

async fn story<'a>(
    session: &mut Session,
    x: &mut Exchange,
    listener: &'a Listener,
    route: &mut &'a Arc<Route>,
) -> Result<Tunnel, Fault> {
    x.came(&session.worker, &session.origin, session.tls.as_ref());
    let hears = match listener.role {
        Role::Tcp { hears } => hears,
        Role::Http | Role::Forward | Role::Udp => Hears::default(),
    };
    let heard = heard::hear(session, listener, hears).await?;
    x.facts.said = heard.said.map(Box::new);
    x.facts.sni = heard.hello.as_ref().and_then(|hello| hello.name.clone());
    *route = way::find(listener, x, session.origin.port, &offered(x, heard.hello.as_ref()));
    let arm = match &route.ending {
        Ending::Pools(arms) => exchange::choose(&session.worker, x, arms),
        Ending::Close { .. } => return Err(Fault::client(Kind::Denied)),
        // Others end requests.
        _ => return Err(Fault::client(Kind::NoRoute)),
    };
    let is_bare = session.tls.is_none() && arm.pool.begins_in(Protocol::Postgres);
    if is_bare && !hears.postgres {
        // It may ask for TLS, and has to hear that there is none with us before it begins with its server.
        heard::hear(session, listener, Hears { postgres: true, ..Hears::default() }).await?;
    }
    let mut upstream = attempt::connect(session, x, route, arm).await?;
    if is_bare {
        // Boxed: hardly any flow needs it.
        let opened = Box::pin(unbound::open(session, x, &mut upstream, route, arm.timeouts.tunnel)).await;
        opened.inspect_err(|fault| finish::attempt(&session.worker, x, &upstream, Some(*fault)))?;
    }
    let until = route.total.map(|total| x.notes.began + total);
    let account = Account::of(listener, route, &x.notes).owned();
    Ok(Tunnel { upstream, idle: arm.timeouts.tunnel, until, raw: true, coalesce: arm.pool.coalesce, account })
}

/// What a client of TLS offers, where TLS ends here or elsewhere.
fn offered(x: &Exchange, hello: Option<&ClientHello>) -> Vec<Alpn> {
    match hello {
        Some(hello) => hello.alpn.iter().filter_map(|name| Alpn::of(name)).collect(),
        None => x.facts.tls.as_deref().and_then(|tls| tls.alpn).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl FnOnce(Session) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_waits_for_a_server_is_small() {
        assert!(size(serve) <= 2304, "{}", size(serve));
    }
}
