//! The server has switched protocols: the client is told, and from there on both sides say what they like.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use net::datagram::Peer;
use wire::socks::Reply;
use wire::{Known, Version, hop, masque, websocket};

use super::deliver::walk_back;
use super::{Datagrams, Tunnel, Upstream, bad_response, connect, correspond};
use crate::exchange::{After, Exchange};
use crate::finish::Account;
use crate::relay::Tolls;
use crate::reply;
use crate::session::Session;
use crate::snapshot::{Arm, Listener, Route};

use base::Fault;

/// Makes a tunnel of the exchange.
pub(super) async fn switch(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
    mut upstream: Upstream,
) -> Result<After, Fault> {
    let agreed = x.facts.websocket
        && x.response
            .values_of(Known::Upgrade)
            .flat_map(hop::options)
            .any(|name| name.eq_ignore_ascii_case(b"websocket"));
    if !agreed || hop::strip(&mut x.response).is_err() {
        return Err(bad_response(x, "the server switched to a protocol that nobody asked for"));
    }
    settle_key(x)?;
    walk_back(x, listener, route, &arm.pool);
    x.client.answered = true;
    let mut out = Vec::new();
    session.client.write_switched(&mut x.response, &mut out);
    x.notes.status = x.response.status();
    if let Some((block, range)) = upstream.surplus.take() {
        upstream.conn.keep(&block[range]);
    }
    reply::write_all(session, x, arm.timeouts.stream, &out).await?;
    let account = Account::of(listener, route, &x.notes).through(Some(arm), &x.notes).owned();
    x.tolls = Tolls::of(&session.worker, x, route);
    Ok(After::Tunnel(Box::new(Tunnel {
        upstream,
        idle: arm.timeouts.tunnel,
        until: None,
        raw: false,
        coalesce: None,
        account,
    })))
}

/// Connects a client to the server that it has asked for, and says so: from there on both sides say what they like (RFC 9110 section
/// 9.3.6).
pub(crate) async fn open(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
) -> Result<After, Fault> {
    let upstream = connect(session, x, route, arm).await?;
    welcome(session, x, arm, || upstream.conn.local()).await?;
    Ok(tunnel(session, x, listener, route, arm, upstream))
}

/// Says to a client that its tunnel stands, and which end of the connection to the server is ours.
pub(crate) async fn welcome(
    session: &mut Session,
    x: &mut Exchange,
    arm: &Arm,
    local: impl FnOnce() -> Option<SocketAddr>,
) -> Result<(), Fault> {
    x.client.answered = true;
    x.notes.answered = Some(Instant::now());
    let mut out = Vec::new();
    if let Some(version) = x.facts.socks {
        Reply::Granted.write(version, local(), &mut out);
    } else if x.facts.led.is_none() {
        x.response.start_response(200);
        session.client.write_switched(&mut x.response, &mut out);
        x.notes.status = 200;
    }
    reply::write_all(session, x, arm.timeouts.stream, &out).await
}

/// What bytes pass through from here on.
pub(crate) fn tunnel(
    session: &Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
    upstream: Upstream,
) -> After {
    let until = route.total.map(|total| x.notes.began + total);
    let account = Account::of(listener, route, &x.notes).through(Some(arm), &x.notes).owned();
    let idle = arm.timeouts.tunnel;
    x.tolls = Tolls::of(&session.worker, x, route);
    After::Tunnel(Box::new(Tunnel { upstream, idle, until, raw: true, coalesce: None, account }))
}

/// The same for a client that speaks of UDP: it is told as whoever switches protocols (RFC 9298 section 3).
pub(crate) async fn open_datagrams(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
) -> Result<After, Fault> {
    let worker = Rc::clone(&session.worker);
    let by = correspond(&worker, x, arm, None, &mut Vec::new(), &mut None, |to| {
        Peer::connect(to, arm.sources.and_then(|sources| sources.towards(to.ip())))
    })?;
    x.response.start_response(101);
    x.response.set_protocol(masque::PROTOCOL);
    x.response.add(masque::CAPSULE_PROTOCOL.0, masque::CAPSULE_PROTOCOL.1);
    x.client.answered = true;
    x.notes.answered = Some(Instant::now());
    let mut out = Vec::new();
    session.client.write_switched(&mut x.response, &mut out);
    x.notes.status = x.response.status();
    reply::write_all(session, x, arm.timeouts.stream, &out).await?;
    let until = route.total.map(|total| x.notes.began + total);
    let account = Account::of(listener, route, &x.notes).through(Some(arm), &x.notes).owned();
    Ok(After::Datagrams(Box::new(Datagrams { by, idle: arm.timeouts.tunnel, until, account })))
}

/// A client of HTTP/1.1 looks at the answer to its key itself. That to a key of ours, nobody else does; and where a server needs
/// none, the client still does.
fn settle_key(x: &mut Exchange) -> Result<(), Fault> {
    if x.client.version == Version::H11 {
        if !x.response.values(websocket::ACCEPT).any(|_| true)
            && let Some(key) = x.request.value(websocket::KEY)
        {
            let answer = websocket::accept(key);
            x.response.add(websocket::ACCEPT, &answer);
        }
        return Ok(());
    }
    // A server of HTTP/2 or 3 has seen no key.
    if x.response.version() == Version::H11 && !websocket::is_answered(&x.request, &x.response) {
        return Err(bad_response(x, "the server has not answered the key of the WebSocket"));
    }
    x.response.remove(websocket::ACCEPT);
    Ok(())
}
