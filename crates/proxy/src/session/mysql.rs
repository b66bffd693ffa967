//! A flow of MySQL on which TLS begins on both sides at once: its server speaks first, its client asks for TLS, and the question goes on to
//! the server, so that both count their packets alike and send passwords as under TLS.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use base::{Fault, Kind, Retry, Side};
use http::Conn;
use net::Stream;
use net::tls::Agreed;
use wire::mysql::{self, Answer};
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
            // Its end should not look as if a server had answered with nothing.
            if fault.side != Side::Client {
                session.client.reset_on_close();
            }
            x.notes.fault = Some(fault);
            finish::attempt(&session.worker, &x, &flow.upstream, Some(fault));
            finish::record(&session.worker, &mut x, &flow.account.borrowed());
            session.worker.recycle(x);
        }
    }
}

/// Until both sides speak inside of TLS.
async fn secured(session: &mut Session, x: &mut Exchange, flow: &mut Tunnel, tls: &Tls) -> Result<(), Fault> {
    const SILENT: Fault = Fault::client(Kind::HeadTimeout);
    let Some(_place) = tls.begin() else { return Err(Fault::proxy(Kind::Overload)) };
    session.timer.arm(Instant::now(), tls.patience);
    // The server has greeted when it was connected to.
    let server = &mut flow.upstream.conn;
    let mut greeting = vec![0; server.carry().len()];
    server.unkeep(&mut greeting);
    let (mut client, mut server) = (taken(&mut session.client)?, taken(server)?);
    let asked = timely(session, SILENT, until_asked(&mut client, &mut server, &greeting)).await;
    session.client.put_stream(client);
    if !asked? {
        return Err(refuse(session, x).await);
    }
    let late = Fault::server(Kind::ConnectTimeout, Retry::Never);
    let begun = timely(session, late, begin(server, &flow.upstream)).await;
    if begun.as_ref().is_err_and(|fault| fault.side == Side::Server)
        && let Some(server) = flow.upstream.server()
    {
        server.connect_failed();
    }
    flow.upstream.conn.put_stream(begun?);
    let client = taken(&mut session.client)?;
    let accepted = async { tls.terminator.accept(client).await.map_err(|_| GONE) };
    let client = timely(session, SILENT, accepted).await?;
    let agreed = client.agreed().map(|agreed| Rc::new(Agreed { inside: Some(Protocol::Mysql), ..agreed }));
    (session.tls, x.facts.tls) = (agreed.clone(), agreed);
    session.client.put_stream(client);
    Ok(())
}

fn taken(conn: &mut Conn) -> Result<Stream, Fault> {
    conn.take_stream().map_err(|_| Fault::proxy(Kind::Overload))
}

/// Waits for something until the timer is over that was armed.
async fn timely<T>(
    session: &Session,
    late: Fault,
    awaited: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut awaited = pin!(awaited);
    poll_fn(|cx| match awaited.as_mut().poll(cx) {
        Poll::Pending if session.worker.is_cut() => Poll::Ready(Err(Fault::proxy(Kind::Drained))),
        Poll::Pending => session.timer.poll_expired(cx).map(|()| Err(late)),
        ready => ready,
    })
    .await
}

const GONE: Fault = Fault::client(Kind::ClientGone);

/// Passes on the server's greeting and the client's question for TLS. Answers whether it was one.
async fn until_asked(client: &mut Stream, server: &mut Stream, greeting: &[u8]) -> Result<bool, Fault> {
    client.write_all(greeting).await.map_err(|_| GONE)?;
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
            Answer::Other => return Ok(false),
        }
    }
    let question = &mut question[..mysql::SSL_REQUEST];
    if !poll_fn(|cx| Poll::Ready(client.take(cx, question))).await {
        return Err(GONE);
    }
    server.write_all(question).await.map_err(|_| Fault::server(Kind::Reset, Retry::Never))?;
    Ok(true)
}

/// Begins TLS with the server. It is too late for another one: the client has heard the greeting of this one.
async fn begin(stream: Stream, upstream: &Upstream) -> Result<Stream, Fault> {
    // The configuration has it on both sides, or on neither.
    let known = upstream.server().and_then(|server| Some((server, server.security()?)));
    let Some((server, security)) = known else { return Err(Fault::server(Kind::ServerTls, Retry::Never)) };
    security.originator.connect(stream, &security.name).await.map_err(|error| attempt::unconnected(server, &error))
}

/// Tells a client that does not begin TLS that it has to.
async fn refuse(session: &mut Session, x: &mut Exchange) -> Fault {
    let mut words = Vec::new();
    mysql::refusal(&mut words);
    if let Ok(mut client) = taken(&mut session.client) {
        // Whoever has gone needs not be told.
        let _ = client.write_all(&words).await;
        session.client.put_stream(client);
    }
    linger(&mut session.client, &session.timer, &session.worker).await;
    x.notes.reason = "a client that does not begin TLS";
    Fault::client(Kind::Malformed)
}
