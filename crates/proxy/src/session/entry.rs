//! How a client gets into a tunnel that is read: at once, or once hands were shaken with it.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base::{Fault, Kind};
use http::Conn;
use net::Stream;
use net::tls::{Agreed, Terminator, doubt};

use super::closing::close;
use super::inside::Inside;
use super::{Arrived, Common, Counted, Session, h2, http as h1, speak};
use crate::exchange::Exchange;
use crate::finish::{self, Kept};
use crate::intercept::{Entrance, Intercept};
use crate::relay;
use crate::snapshot::Listener;
use crate::worker::Worker;

/// Lets a client into a tunnel, in a task of its own: what led there should not stay with what speaks inside.
pub(super) fn enter(session: Session, exchange: Box<Exchange>, entrance: Entrance) {
    let Entrance { tls, inside, idle, account } = entrance;
    let entering = Entering { inside, idle, account };
    match tls {
        Some((intercept, terminator)) => {
            drop(tokio::task::spawn_local(admitted(session, exchange, entering, intercept, terminator)));
        }
        None => at_once(session, exchange, entering),
    }
}

/// Who gets in.
struct Entering {
    inside: Inside,
    idle: Duration,
    account: Kept,
}

/// Serves what a client says in plain, in the version in which it has begun.
fn at_once(session: Session, exchange: Box<Exchange>, entering: Entering) {
    let Entering { inside, idle, account } = entering;
    let Session { worker, client, origin, listener, timer, counted, tls, introduced, .. } = session;
    let counted = counted.unwrap_or_else(|| one_more(&worker, &listener));
    let h2 = inside.h2;
    let (stream, heard) = match stream_of(&worker, client, idle, |_| true) {
        Ok(parts) => parts,
        Err(_) => return refused(&worker, exchange, &account, Fault::proxy(Kind::Overload), NO_DESCRIPTORS),
    };
    let inside = Some(Rc::new(inside.recorded(&worker, exchange, account)));
    let arrived = Arrived { common: Common { worker, origin, listener, tls, introduced, inside }, timer, counted };
    if h2 {
        drop(tokio::task::spawn_local(h2::serve(arrived, stream, heard)));
    } else {
        let mut client = Conn::new(stream);
        client.keep(&heard);
        h1::spawn(arrived.session(client));
    }
}

/// Shakes hands with the client, and serves what it says then. A client that does not come through it is told by its alert.
async fn admitted(
    session: Session,
    mut exchange: Box<Exchange>,
    entering: Entering,
    intercept: Arc<Intercept>,
    terminator: Terminator,
) {
    let Entering { inside, idle, account } = entering;
    let Session { worker, client, origin, listener, timer, counted, tls, introduced, .. } = session;
    let Some(_place) = intercept.tls.begin() else {
        let reason = "too many handshakes are under way";
        return refused(&worker, exchange, &account, Fault::proxy(Kind::Overload), reason);
    };
    let counted = counted.unwrap_or_else(|| one_more(&worker, &listener));
    // There is no TLS in TLS on one socket.
    let (stream, heard) = match stream_of(&worker, client, idle, Stream::is_plain) {
        Ok(parts) => parts,
        Err(_) => return refused(&worker, exchange, &account, Fault::proxy(Kind::Overload), NO_DESCRIPTORS),
    };
    timer.arm(Instant::now(), intercept.tls.patience);
    let mut accepting = pin!(terminator.accept_told(stream, heard));
    let shaken = poll_fn(|cx| {
        if let Poll::Ready(done) = accepting.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(Some));
        }
        if worker.is_cut() {
            return Poll::Ready(Err(None));
        }
        timer.poll_expired(cx).map(|()| Err(None))
    })
    .await;
    let counters = listener.connections.shard(worker.id);
    let stream = match shaken {
        Ok(stream) => stream,
        Err(error) => {
            counters.handshake_failed();
            let is_pinned = error.as_ref().is_some_and(|wrong| doubt::is_clients(&wrong.error));
            if !is_pinned {
                exchange.notes.cause = error.as_ref().map(doubt::of_client).unwrap_or_default();
            }
            if let (true, Some((lasts, pins)), Some(secure)) = (is_pinned, &intercept.bypass, &inside.secure) {
                pins.note(exchange.facts.client, &secure.name, Instant::now(), *lasts);
            }
            let reason = match (is_pinned, error) {
                (true, _) => "the client does not believe our certificate",
                (false, Some(_)) => "the client and we could not agree on TLS",
                (false, None) => "the client has not ended the handshake of TLS in time",
            };
            return refused(&worker, exchange, &account, Fault::client(Kind::ClientTls), reason);
        }
    };
    counters.handshake_done();
    // Who the client has shown to be when it came to us it is inside, too.
    let outer = tls.as_deref().cloned().unwrap_or_default();
    let (fingerprint, subject) = (outer.fingerprint, outer.subject);
    let tls = stream.agreed().map(|agreed| Rc::new(Agreed { fingerprint, subject, ..agreed }));
    exchange.notes.ended = exchange.notes.began;
    let inside = Some(Rc::new(inside.recorded(&worker, exchange, account).watched(intercept.bypass.as_ref())));
    let common =
        Common { worker: Rc::clone(&worker), origin, listener: Arc::clone(&listener), tls, introduced, inside };
    speak(Arrived { common, timer, counted }, stream);
}

const NO_DESCRIPTORS: &str = "no descriptors for what speaks inside of a stream";

/// Records a tunnel into which nobody comes.
fn refused(worker: &Rc<Worker>, mut x: Box<Exchange>, account: &Kept, fault: Fault, reason: &'static str) {
    (x.notes.fault, x.notes.reason, x.notes.cut) = (Some(fault), reason, true);
    finish::record(worker, &mut x, &account.borrowed());
    worker.recycle(x);
}

/// What speaks inside of a stream of a connection is a connection of its own.
fn one_more(worker: &Rc<Worker>, listener: &Listener) -> Counted {
    worker.fleet.connection_began(worker.id);
    Counted::of(worker, &listener.connections)
}

/// The client's stream, and what was read of it. Where that does not fit, or is shared, as one of HTTP/2, its bytes are passed on through a
/// socket.
fn stream_of(
    worker: &Rc<Worker>,
    mut client: Conn,
    idle: Duration,
    fits: impl Fn(&Stream) -> bool,
) -> io::Result<(Stream, Vec<u8>)> {
    if client.stream_mut().is_some_and(|stream| fits(stream)) {
        return client.into_parts().ok_or_else(|| io::ErrorKind::Unsupported.into());
    }
    Ok((passed_on(worker, client, idle)?, Vec::new()))
}

/// A stream on which TLS can be spoken, of one to a server. There is no TLS in TLS on one socket.
pub(crate) fn bare_stream(worker: &Rc<Worker>, stream: Stream, idle: Duration) -> io::Result<Stream> {
    if stream.is_plain() { Ok(stream) } else { passed_on(worker, Conn::new(stream), idle) }
}

/// The other end of what passes on the bytes of a connection.
fn passed_on(worker: &Rc<Worker>, mut conn: Conn, idle: Duration) -> io::Result<Stream> {
    let (here, there) = Stream::pair()?;
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let timer = worker.timers.timer();
        let mut there = Conn::new(there);
        let limits = relay::TunnelLimits { idle, until: None, splice: false, up: None, down: None };
        // What is said in it is judged where it is read.
        let mut hold = |_: &Rc<Worker>, _: &mut Conn, _: &mut Context<'_>| Poll::Ready(Ok(()));
        let mut ways = relay::Ways::new(&worker, &timer, limits, relay::Tolls::default());
        let mut sides = relay::Sides { client: &mut conn, server: &mut there, timer: &timer, hold: &mut hold };
        let ended = poll_fn(|cx| ways.poll(&worker, &mut sides, cx)).await;
        if ended.fault.is_none() {
            close(&conn, &timer, &worker).await;
        }
    });
    Ok(here)
}
