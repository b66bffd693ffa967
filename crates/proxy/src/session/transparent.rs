//! A connection that was meant for somebody else, and led to us by the system's rules for packets: its client knows nothing of a proxy.
//!
//! It goes on to the address that it was opened to, whatever its client says. What the client says first decides which rules hold: a
//! ClientHello makes it a tunnel to the name there, a request in plain is one like any other, anything else is a tunnel to the address.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use base::{Fault, Kind};
use net::Stream;
use net::tls::Alpn;
use wire::client_hello::ClientHello;
use wire::uri;

use super::heard::Asks;
use super::{Introduction, Session, entry, h2, heard, http, tunnel, way};
use crate::attempt::Tunnel;
use crate::destination;
use crate::exchange::{self, After, Exchange};
use crate::finish::{self, Account};
use crate::intercept::Entrance;
use crate::snapshot::{Hears, Listener, Route, Transparent};

/// Serves a connection that was led to us in this way.
pub(super) async fn serve(mut session: Session, by: Transparent) {
    let asked = match by {
        Transparent::Redirect => session.client.plain().and_then(Stream::opened_to),
        Transparent::Tproxy => session.client.local(),
    };
    let canonical = |asked: SocketAddr| SocketAddr::new(asked.ip().to_canonical(), asked.port());
    let opened_to = asked.map(canonical);
    session.introduced = Some(Rc::new(Introduction { opened_to, ..Introduction::default() }));
    session.origin.led = true;
    let mut x = session.worker.exchange();
    x.began(None);
    x.came(&session.worker, &session.origin, session.tls.as_ref());
    x.client.is_flow = true;
    let pinned = exchange::pin(&mut session);
    let mut route = &pinned.default;
    let fault = match story(&mut session, &mut x, &pinned, &mut route).await {
        Ok(Says::Tunnel(switched)) => return tunnel::spawn(session, x, *switched),
        Ok(Says::Inside(entrance)) => return entry::enter(session, x, *entrance),
        Ok(Says::Requests(by)) => {
            session.worker.recycle(x);
            drop(pinned);
            return match by {
                Asks::H1 => http::spawn(session),
                Asks::H2 => h2::serve_sniffed(session),
            };
        }
        Err(fault) => fault,
    };
    x.notes.fault = Some(fault);
    // A client that gets nothing should not think that a server has ended in peace.
    session.client.reset_on_close();
    let origin = x.origin.take();
    let account = Account::of(&pinned, route, &x.notes).through(origin.as_deref(), &x.notes);
    finish::record(&session.worker, &mut x, &account);
    session.worker.recycle(x);
}

/// What comes of what a client says first.
enum Says {
    Tunnel(Box<Tunnel>),
    /// One whose TLS ends here.
    Inside(Box<Entrance>),
    /// A request in plain has begun, in these words.
    Requests(Asks),
}

async fn story<'a>(
    session: &mut Session,
    x: &mut Exchange,
    listener: &'a Listener,
    route: &mut &'a Arc<Route>,
) -> Result<Says, Fault> {
    let asked = session.asked_at().ok_or_else(|| {
        x.notes.reason = "no address that it was opened to: it was not led here";
        Fault::client(Kind::Malformed)
    })?;
    x.facts.led = Some(asked);
    x.facts.host = destination::host_of(asked.ip());
    let heard = heard::hear(session, listener, Hears { hello: true, http: true, ..Hears::default() }).await?;
    if let Some(by) = heard.request {
        return Ok(Says::Requests(by));
    }
    if heard.is_unreadable {
        x.notes.reason = heard::UNREADABLE;
        return Err(Fault::client(Kind::ClientTls));
    }
    x.facts.sni = heard.hello.as_ref().and_then(|hello| hello.name.clone());
    settle(x, asked);
    if listener.users.is_some() {
        x.notes.reason = "who does not know of a proxy cannot say who it is";
        return Err(Fault::client(Kind::ProxyUnauthenticated));
    }
    *route = way::find(listener, x, asked.port(), &offered(heard.hello.as_ref()));
    if !route.users.is_empty() {
        x.notes.reason = "who does not know of a proxy cannot say who it is";
        return Err(Fault::client(Kind::ProxyUnauthenticated));
    }
    match Box::pin(exchange::pass(session, x, listener, route)).await? {
        After::Tunnel(switched) => Ok(Says::Tunnel(switched)),
        After::Inside(entrance) => Ok(Says::Inside(entrance)),
        _ => Err(Fault::client(Kind::Denied)),
    }
}

/// Settles what rules know of it: a tunnel to the name that its client asks for, or to the address.
fn settle(x: &mut Exchange, asked: SocketAddr) {
    let name = x.facts.sni.as_deref().filter(|name| uri::is_authority(name.as_bytes()) && !name.contains(':'));
    if let Some(name) = name {
        x.facts.host = uri::host(name.as_bytes()).into_owned();
        destination::settle_host(&mut x.facts.host);
    }
    let authority = [&x.facts.host[..], format!(":{}", asked.port()).as_bytes()].concat();
    x.request.start_request(b"CONNECT", &authority, b"", None);
    x.facts.port = Some(asked.port());
}

fn offered(hello: Option<&ClientHello>) -> Vec<Alpn> {
    hello.map(|hello| hello.alpn.iter().filter_map(|name| Alpn::of(name)).collect()).unwrap_or_default()
}
