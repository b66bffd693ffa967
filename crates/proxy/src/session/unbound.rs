//! The first words between a client of PostgreSQL that is spoken to in plain and a server with which TLS was begun for it.
//!
//! A server under TLS offers ways to log in that are bound to its TLS. A client without any takes that offer for the work of somebody
//! who has taken TLS away, and leaves: so it is not told of them.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::{Backlog, Conn};
use wire::postgres;

use super::Session;
use crate::attempt::{self, Upstream};
use crate::exchange::Exchange;
use crate::snapshot::Route;

/// Passes on what the client says until the server has offered how to log in, and leaves that offer for the client.
pub(super) async fn open(
    session: &mut Session,
    x: &mut Exchange,
    upstream: &mut Upstream,
    route: &Route,
    silence: Duration,
) -> Result<(), Fault> {
    let Session { worker, client, timer, .. } = session;
    let mut first = Backlog::default();
    let mut words = Vec::new();
    timer.arm(Instant::now(), attempt::bounded(x, route, silence));
    let opened = poll_fn(|cx| {
        if worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        let mut block = worker.block(ROOM);
        while let Poll::Ready(passed) = poll_up(client, &mut upstream.conn, &mut first, cx, &mut block[..ROOM]) {
            x.notes.bytes_in += passed? as u64;
        }
        match poll_down(&mut upstream.conn, &mut words, cx, &mut block[..ROOM]) {
            Poll::Pending => timer.poll_expired(cx).map(|()| Err(attempt::expired(x, route, SILENT))),
            ready => ready,
        }
    })
    .await;
    // What its server has not taken of it yet goes on with what follows.
    if !first.is_empty() {
        x.notes.bytes_in -= first.len() as u64;
        client.keep(first.rest());
    }
    opened
}

const SILENT: Fault = Fault::proxy(Kind::TunnelTimeout);
/// How much is read at a time.
const ROOM: usize = 4096;

/// Passes something on from the client; answers how much.
fn poll_up(
    client: &mut Conn,
    server: &mut Conn,
    first: &mut Backlog,
    cx: &mut Context<'_>,
    block: &mut [u8],
) -> Poll<Result<usize, Fault>> {
    const GONE: Fault = Fault::client(Kind::ClientGone);
    let lost = |_| Fault::server(Kind::Truncated, Retry::Never);
    ready!(first.poll_flush(cx, server)).map_err(lost)?;
    // What was heard of it before its route was known comes first.
    if client.has_carry() {
        let mut kept = vec![0; client.carry().len()];
        client.unkeep(&mut kept);
        first.push(cx, server, &kept).map_err(lost)?;
        return Poll::Ready(Ok(kept.len()));
    }
    let length = ready!(client.poll_read(cx, block)).map_err(|_| GONE)?;
    if length == 0 {
        return Poll::Ready(Err(GONE));
    }
    first.push(cx, server, &block[..length]).map_err(lost)?;
    Poll::Ready(Ok(length))
}

/// Ready when the server's first words are there, or when there are none.
fn poll_down(
    server: &mut Conn,
    words: &mut Vec<u8>,
    cx: &mut Context<'_>,
    block: &mut [u8],
) -> Poll<Result<(), Fault>> {
    loop {
        let length = ready!(server.poll_read(cx, block)).map_err(|_| Fault::server(Kind::Truncated, Retry::Never))?;
        words.extend_from_slice(&block[..length]);
        match postgres::without_binding(words) {
            None if length > 0 => {}
            // It has ended inside of them: the client sees as much of them, and the end.
            None => server.keep(words),
            Some(told) => server.keep(&told),
        }
        if server.has_carry() || length == 0 {
            return Poll::Ready(Ok(()));
        }
    }
}
