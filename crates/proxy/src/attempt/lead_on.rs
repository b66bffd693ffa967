//! A server that is a proxy is asked to lead its connection on to another server, for a tunnel or by SOCKS.

use std::future::Future as _;
use std::io;
use std::pin::pin;

use base::{Fault, Kind, Retry};
use net::Stream;
use net::dial::{self, Dialled, Through};
use net::tls::doubt;
use wire::parent::{Refusal, socks5};
use wire::{Head, Known, forwarded, h1};

use super::checkout::{Patience, connected, patiently};
use super::{Busy, Upstream};
use crate::destination::{self, Place};
use crate::exchange::Exchange;
use crate::pool::{Credentials, Parent, Server};
use crate::session::Session;
use crate::session::entry::bare_stream;
use crate::snapshot::{Arm, Route};

/// Lets a proxy lead a connection on, if it has to.
pub(super) async fn lead_on(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    busy: Busy,
    mut dialled: Dialled,
) -> Result<Upstream, Fault> {
    let (Some(parent), Some(place)) = (&arm.pool.parent, x.beyond.clone()) else { return Ok(connected(dialled, busy)) };
    let request;
    let through = match parent {
        Parent::Http(_) if !is_led_on(x, arm) => return Ok(connected(dialled, busy)),
        Parent::Http(credentials) => {
            request = tunnel_request(session, x, &place.authority(), credentials.as_ref());
            Through::Connect(&request)
        }
        Parent::Socks5(_) if place.host.len() > socks5::LONGEST => {
            x.notes.reason = "a name that is too long for SOCKS";
            return Err(Fault::client(Kind::Malformed));
        }
        Parent::Socks5(credentials) => {
            let credentials = credentials.as_ref().map(Credentials::said);
            Through::Socks5(socks5::Asked { host: &place.host, port: place.port, credentials })
        }
    };
    // It has to connect, too. How long the server takes that a client has chosen says nothing of the proxy.
    let patience = Patience { most: arm.timeouts.response, late: Fault::proxy(Kind::ResponseTimeout) };
    let led = {
        let mut leading = pin!(dial::lead_on(&mut dialled.stream, through));
        patiently(session, x, route, patience, |_, cx| leading.as_mut().poll(cx)).await?
    };
    let error = match led {
        Ok(said) => {
            let mut led = Dialled { greeting: said, ..dialled };
            if place.secure.is_some() {
                led.stream = secure_beyond(session, x, route, arm, &place, led.stream, &led.greeting).await?;
            }
            return Ok(connected(led, busy));
        }
        Err(error) => error,
    };
    Err(match (dial::refusal(&error), error.kind()) {
        (Some(refusal), _) => {
            busy.server().into_iter().for_each(|server| complain(server, refusal));
            x.notes.reason = refusal.reason();
            Fault::proxy(Kind::ParentRefused)
        }
        (None, io::ErrorKind::InvalidInput) => {
            x.notes.reason = "the parent does not answer like a proxy";
            Fault::server(Kind::BadResponse, Retry::Always)
        }
        (None, _) => Fault::server(Kind::Reset, Retry::Always),
    })
}

/// Speaks TLS with the server that a proxy has led a connection on to, for requests inside of a tunnel that is read.
async fn secure_beyond(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    place: &Place,
    stream: Stream,
    said: &[u8],
) -> Result<Stream, Fault> {
    let intercept = session.listener.intercept.clone();
    let (Some(name), Some(intercept)) = (&place.secure, intercept) else {
        x.notes.reason = destination::UNREAD;
        return Err(Fault::client(Kind::Misdirected));
    };
    if !said.is_empty() {
        x.notes.reason = "the server says something before TLS has begun";
        return Err(Fault::server(Kind::ServerTls, Retry::Never));
    }
    let stream = bare_stream(&session.worker, stream, arm.timeouts.tunnel);
    let stream = stream.map_err(|_| Fault::proxy(Kind::Overload))?;
    let shaken = {
        let mut shaking = pin!(intercept.originators.h1.connect(stream, name));
        patiently(session, x, route, Patience::of(arm), |_, cx| shaking.as_mut().poll(cx)).await?
    };
    shaken.map_err(|error| {
        x.notes.reason = doubt::of_server(&error);
        Fault::server(Kind::ServerTls, Retry::Never)
    })
}

/// Whether what is said for a request on its connection is heard by the server that it asks for, to which a proxy has led it on.
pub(crate) fn is_led_on(x: &Exchange, arm: &Arm) -> bool {
    match (&arm.pool.parent, &x.beyond) {
        (Some(Parent::Socks5(_)), Some(_)) => true,
        // A proxy that is asked by HTTP goes where the request says.
        (Some(Parent::Http(_)), Some(place)) => {
            place.tunnel || place.secure.is_some() || !place.is_named_by(&x.request)
        }
        _ => false,
    }
}

/// A CONNECT that says no more than it has to: where to, who asks, and what `forwarding` has of the client and the way.
fn tunnel_request(session: &Session, x: &Exchange, authority: &str, credentials: Option<&Credentials>) -> Vec<u8> {
    let mut head = Head::default();
    head.start_request(b"CONNECT", authority.as_bytes(), b"", None);
    head.set(b"Host", authority.as_bytes());
    // A loop is found out by it, through whatever proxies it leads.
    x.request.values_of(Known::Via).for_each(|via| head.add(b"Via", via));
    for name in [&b"Forwarded"[..], b"X-Forwarded-For"] {
        x.request.values(name).for_each(|value| head.add(name, value));
    }
    let origin = &session.origin;
    forwarded::apply(&mut head, x.facts.peer.ip(), session.tls.is_some(), origin.port, &session.listener.forwarding);
    let mut out = Vec::new();
    h1::request_head_for_proxy(&head, credentials.map(Credentials::basic), &mut out);
    out
}

/// Whether a proxy has answered a request by asking who we are. That is between it and us: its client has other credentials, which are
/// not for it.
pub(super) fn is_refused(x: &mut Exchange, arm: &Arm, upstream: &Upstream) -> bool {
    let is_asked = matches!(arm.pool.parent, Some(Parent::Http(_))) && !is_led_on(x, arm);
    if !is_asked || x.response.status() != 407 {
        return false;
    }
    let refusal = Refusal::Status(407);
    upstream.server().into_iter().for_each(|server| complain(server, refusal));
    x.notes.reason = refusal.reason();
    true
}

/// What nobody but the operator can mend is said in the process's log, too.
fn complain(server: &Server, refusal: Refusal) {
    if refusal.is_of_credentials()
        && let Some(left_out) = server.may_complain()
    {
        let id = &server.id;
        let more = if left_out > 0 { format!(" ({left_out} more since the last time)") } else { String::new() };
        observe::log::warn(format_args!(
            "server `{}` of pool `{}` at {}: {refusal}, look at `username` and `password`{more}",
            id.name, id.pool, id.address
        ));
    }
}
