//! A flow of MySQL on which TLS begins on both sides at once: its server speaks first, its client asks for TLS, and the question goes on to
//! the server, so that both count their packets alike and send passwords as under TLS.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use base::{Fault, Kind, Retry};
use net::Stream;
use net::tls::Agreed;
use wire::mysql::{self, Answer, Greeting};
use wire::starttls::Protocol;

use super::closing::linger;
use super::{Session, stream, tunnel};
use crate::attempt::{self, Tunnel, Upstream};
use crate::exchange::Exchange;
use crate::finish;
use crate::snapshot::Tls;

/// Serves a flow until it ends.
pub(super) async fn serve(mut session: Session, tls: Tls) {
    let mut x = stream::begun(&session);
    let Some(mut flow) = stream::connected(&mut session, &mut x).await else { return session.worker.recycle(x) };
    let connections = std::sync::Arc::clone(&session.listener.connections);
    let counters = connections.shard(session.worker.id);
    match secured(&mut session, &mut x, &mut flow, &tls).await {
        Ok(()) => {
            counters.handshake_done();
            tunnel::spawn(session, x, flow);
        }
        Err(fault) => {
            counters.handshake_failed();
            x.notes.fault = Some(fault);
            finish::attempt(&session.worker, &x, &flow.upstream, Some(fault));
            finish::record(&session.worker, &mut x, &flow.account.borrowed());
            session.worker.recycle(x);
        }
    }
}

/// Until both sides speak inside of TLS.
async fn secured(session: &mut Session, x: &mut Exchange, flow: &mut Tunnel, tls: &Tls) -> Result<(), Fault> {
    let Some(_place) = tls.begin() else { return Err(Fault::proxy(Kind::Overload)) };
    let streams = session.client.take_stream().and_then(|client| Ok((client, flow.upstream.conn.take_stream()?)));
    let Ok((mut client, mut server)) = streams else { return Err(Fault::proxy(Kind::Overload)) };
    session.timer.arm(Instant::now(), tls.patience);
    let waits_for = Cell::new(Fault::server(Kind::ConnectTimeout, Retry::Never));
    let ended = {
        let mut asked = pin!(until_asked(&mut client, &mut server, &waits_for));
        poll_fn(|cx| match asked.as_mut().poll(cx) {
            Poll::Pending if session.worker.is_cut() => Poll::Ready(Err(Broken::Fault(Fault::proxy(Kind::Drained)))),
            Poll::Pending => session.timer.poll_expired(cx).map(|()| Err(Broken::Fault(waits_for.get()))),
            ready => ready,
        })
        .await
    };
    if let Err(broken) = ended {
        return Err(said(session, x, flow, client, broken).await);
    }
    waits_for.set(Fault::server(Kind::ConnectTimeout, Retry::Never));
    let (client, server) = {
        let mut shaken = pin!(shake_hands(client, server, &flow.upstream, tls, &waits_for));
        poll_fn(|cx| match shaken.as_mut().poll(cx) {
            Poll::Pending if session.worker.is_cut() => Poll::Ready(Err(Fault::proxy(Kind::Drained))),
            Poll::Pending => session.timer.poll_expired(cx).map(|()| Err(waits_for.get())),
            ready => ready,
        })
        .await?
    };
    let agreed = client.agreed().map(|agreed| Rc::new(Agreed { inside: Some(Protocol::Mysql), ..agreed }));
    (session.tls, x.facts.tls) = (agreed.clone(), agreed);
    session.client.put_stream(client);
    flow.upstream.conn.put_stream(server);
    Ok(())
}

/// Why both did not come to TLS.
enum Broken {
    /// For this, of which nobody is told.
    Fault(Fault),
    /// The server has no TLS.
    Server,
    /// The server has refused, in words that the client has been told.
    Refused,
    /// The client has not asked for TLS.
    Client,
}

/// Passes on the server's greeting and the client's question for TLS.
async fn until_asked(client: &mut Stream, server: &mut Stream, waits_for: &Cell<Fault>) -> Result<(), Broken> {
    const LOST: Broken = Broken::Fault(Fault::server(Kind::Reset, Retry::Never));
    const GONE: Broken = Broken::Fault(Fault::client(Kind::ClientGone));
    let mut words = Vec::new();
    let is_welcome = loop {
        let mut block = [0; 1024];
        match poll_fn(|cx| server.poll_read(cx, &mut block)).await {
            Ok(length @ 1..) => words.extend_from_slice(&block[..length]),
            _ => return Err(LOST),
        }
        match mysql::greeting(&words) {
            Greeting::Partial => {}
            // It is the client's turn: what follows would have been put there by somebody else.
            Greeting::Secure(length) if length == words.len() => break true,
            Greeting::Refusal(length) if length == words.len() => break false,
            _ => return Err(Broken::Server),
        }
    };
    waits_for.set(Fault::client(Kind::HeadTimeout));
    write(client, &words).await.map_err(|_| GONE)?;
    if !is_welcome {
        return Err(Broken::Refused);
    }
    let mut question = [0; mysql::SSL_REQUEST + 1];
    let mut seen = 0;
    loop {
        seen = match poll_fn(|cx| client.poll_look(cx, &mut question, seen)).await {
            Ok(more) if more > seen => more,
            _ => return Err(GONE),
        };
        match mysql::answer(&question[..seen]) {
            Answer::Partial => {}
            Answer::Tls => break,
            Answer::Other => return Err(Broken::Client),
        }
    }
    let question = &mut question[..mysql::SSL_REQUEST];
    let mut taken = 0;
    while taken < question.len() {
        match poll_fn(|cx| client.poll_read(cx, &mut question[taken..])).await {
            Ok(length @ 1..) => taken += length,
            _ => return Err(GONE),
        }
    }
    write(server, question).await.map_err(|_| LOST)
}

async fn shake_hands(
    client: Stream,
    server: Stream,
    upstream: &Upstream,
    tls: &Tls,
    waits_for: &Cell<Fault>,
) -> Result<(Stream, Stream), Fault> {
    // The configuration has it on both sides, or on neither.
    let known = upstream.server().and_then(|server| Some((server, server.security()?)));
    let Some((known, security)) = known else { return Err(Fault::server(Kind::ServerTls, Retry::Never)) };
    let server = security.originator.connect(server, &security.name).await;
    let server = server.map_err(|error| attempt::unconnected(known, &error))?;
    waits_for.set(Fault::client(Kind::HeadTimeout));
    let client = tls.terminator.accept(client).await.map_err(|_| Fault::client(Kind::ClientGone))?;
    Ok((client, server))
}

/// What it means, and what the client is told that has not been told yet.
async fn said(session: &mut Session, x: &mut Exchange, flow: &Tunnel, mut client: Stream, broken: Broken) -> Fault {
    let fault = match broken {
        Broken::Fault(fault) => return fault,
        Broken::Refused => Fault::server(Kind::Connect, Retry::Never),
        Broken::Server => {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the server has no TLS");
            return match flow.upstream.server() {
                Some(server) => attempt::unconnected(server, &error),
                None => Fault::server(Kind::ServerTls, Retry::Never),
            };
        }
        Broken::Client => {
            let mut words = Vec::new();
            mysql::refusal(&mut words);
            // Whoever has gone needs not be told.
            let _ = write(&mut client, &words).await;
            x.notes.reason = "a client that does not begin TLS";
            Fault::client(Kind::Malformed)
        }
    };
    session.client.put_stream(client);
    linger(&mut session.client, &session.timer, &session.worker).await;
    fault
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        written += poll_fn(|cx| stream.poll_write(cx, &bytes[written..])).await?;
    }
    Ok(())
}
