//! Pick, check out, send, first byte: the only room for retries.
//!
//! A request is tried again only if that is safe: nothing was sent, or the method is idempotent and everything sent can
//! be sent again; and never once a byte of a response head went to the client.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::{Conn, ReadError};
use net::stream::Peek;
use wire::h1::{self, Asked};
use wire::{Framing, Head, Known, Version, forwarded, hop};

use crate::exchange::{After, Exchange};
use crate::finish::{Account, Kept};
use crate::pool::{HostRule, Lease, Server};
use crate::relay::{Pump, Stop};
use crate::session::Session;
use crate::snapshot::{Arm, Listener, Route};
use crate::worker::Block;
use crate::{finish, policy, reply};

mod checkout;

use checkout::checkout;

/// A server's connection with a request on it, and with its response's head read.
pub(crate) struct Upstream {
    pub(crate) conn: Conn,
    busy: Busy,
    /// It was idle before; its server may have closed it just now.
    pub(crate) reused: bool,
    /// What was read behind the response's head.
    surplus: Option<(Block, Range<usize>)>,
}

/// A connection that has switched protocols, with all that it needs from then on.
pub(crate) struct Tunnel {
    pub(crate) upstream: Upstream,
    /// How long it may be silent.
    pub(crate) idle: Duration,
    /// Under which names it is recorded.
    pub(crate) account: Kept,
}

/// A lease whose server counts a request in flight for as long as this lives.
struct Busy(Option<Lease>);

/// Limits of what a server may send as a head.
const RESPONSE_HEAD: h1::Limits = h1::Limits { head: 64 * 1024, line: 16 * 1024, fields: 200 };
/// How much is read at once while a head is due. What comes behind a head is copied: a large body waits for its pipe.
const FIRST_READ: usize = 16 * 1024;
/// Interim responses beyond this many are an attack.
const MOST_INTERIM: u32 = 32;

/// Sends the request and waits for the head of its response, trying again where that is safe.
pub(crate) async fn attempt(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
) -> Result<Upstream, Fault> {
    prefetch_what_is_here(session, x)?;
    let mut tried = Vec::new();
    let mut stale = false;
    loop {
        x.notes.tries = x.notes.tries.saturating_add(1);
        let fault = match checkout(session, x, route, arm, &tried, stale).await {
            Err(fault) => {
                finish::unconnected(&session.worker, x, arm, fault);
                fault
            }
            Ok(mut upstream) => {
                x.notes.reused = upstream.reused;
                if let Some(server) = upstream.server() {
                    set_host(&arm.pool.host, server, &mut x.request);
                }
                let sent = send(session, x, route, arm, &mut upstream).await;
                match sent {
                    Ok(()) if !wants_another(x, arm) => return Ok(upstream),
                    Ok(()) => {
                        finish::attempt(&session.worker, x, &upstream, None);
                        Fault::server(Kind::BadStatus, Retry::Idempotent)
                    }
                    // The server closed an idle connection while the request was on its way: that is nobody's fault, and
                    // not a retry in the sense of the configuration.
                    Err(fault) if upstream.reused && !stale && fault.kind == Kind::Reset && may_repeat(x, fault) => {
                        stale = true;
                        x.notes.tries -= 1;
                        again(x);
                        finish::attempt(&session.worker, x, &upstream, Some(fault));
                        continue;
                    }
                    Err(fault) => {
                        finish::attempt(&session.worker, x, &upstream, Some(fault));
                        fault
                    }
                }
            }
        };
        let extra = u32::from(x.notes.tries) <= arm.retries.extra;
        if !(extra && is_condition(arm, fault.kind) && may_repeat(x, fault)) {
            return Err(fault);
        }
        tried.extend(x.notes.server.and_then(|number| arm.pool.servers.get(number)).map(|server| server.slot));
        stale = false;
        again(x);
    }
}

/// Whether the configuration asks for another try on this.
fn is_condition(arm: &Arm, kind: Kind) -> bool {
    match kind {
        Kind::Connect | Kind::ConnectTimeout => arm.retries.connect,
        Kind::Reset | Kind::BadResponse => arm.retries.reset,
        Kind::ResponseTimeout => arm.retries.timeout,
        Kind::BadStatus => true,
        _ => false,
    }
}

/// Whether another try is safe.
fn may_repeat(x: &Exchange, fault: Fault) -> bool {
    let replayable = !x.notes.interim && x.upload.content <= x.prefix.len() as u64;
    match fault.retry {
        Retry::Always => replayable,
        Retry::Idempotent => replayable && x.request.method().is_idempotent(),
        Retry::Never => false,
    }
}

/// Whether the response that came is one that the configuration would rather not have.
fn wants_another(x: &Exchange, arm: &Arm) -> bool {
    arm.retries.statuses.contains(&x.response.status())
        && u32::from(x.notes.tries) <= arm.retries.extra
        && may_repeat(x, Fault::server(Kind::BadStatus, Retry::Idempotent))
}

fn again(x: &mut Exchange) {
    let framing = x.request.framing();
    x.upload.redirect(framing);
    x.response.clear();
}

/// Takes what of the body came with the head: it can be sent with the head, and again.
fn prefetch_what_is_here(session: &mut Session, x: &mut Exchange) -> Result<(), Fault> {
    if x.upload.is_read() || !session.client.has_carry() {
        return Ok(());
    }
    let mut block = session.worker.block(session.client.carry().len());
    let length = session.client.unkeep(&mut block);
    let used = x.upload.prefetch(&block[..length], &mut x.prefix).map_err(|stop| of_client(x, stop))?;
    session.client.keep(&block[used..length]);
    Ok(())
}

/// Reads the body until it ends or `limit` bytes of it are here, for a predicate that wants to see it.
pub(crate) async fn read_prefix(session: &mut Session, x: &mut Exchange, limit: usize) -> Result<(), Fault> {
    prefetch_what_is_here(session, x)?;
    if x.client.awaits_continue && !x.upload.is_read() {
        x.client.awaits_continue = false;
        reply::say_continue(session, x).await?;
    }
    let gap = session.listener.default.request_body;
    while !x.upload.is_read() && x.prefix.len() <= limit {
        let now = Instant::now();
        session.timer.arm(now, gap);
        poll_fn(|cx| {
            if session.timer.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(Fault::client(Kind::BodyTimeout)));
            }
            let mut block = session.worker.block(session.client.carry().len() + 4096);
            let kept = session.client.carry().len();
            let length = ready!(session.client.poll_bytes(cx, &mut block)).map_err(|_| GONE)?;
            if length == kept {
                return Poll::Ready(Err(GONE));
            }
            let used = x.upload.prefetch(&block[..length], &mut x.prefix).map_err(|stop| of_client(x, stop))?;
            session.client.keep(&block[used..length]);
            Poll::Ready(Ok(()))
        })
        .await?;
    }
    Ok(())
}

const GONE: Fault = Fault::client(Kind::ClientGone);

/// Sends the request, as far as it is here, and waits for the head of the final response. The rest of the body follows
/// as it comes.
async fn send(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    upstream: &mut Upstream,
) -> Result<(), Fault> {
    let asked = if x.client.head_only { Asked::Head } else { Asked::Other };
    let (mut begun, mut broken, mut interim) = (false, false, 0);
    let sent_at = Instant::now();
    // A client that was not told to go on yet does not stand still.
    let sends = !x.upload.is_read() && !x.client.awaits_continue;
    let gap = if sends { route.request_body } else { arm.timeouts.response };
    session.timer.arm(sent_at, bounded(x, route, gap));
    poll_fn(|cx| {
        if !begun {
            begun = true;
            let mut out = session.worker.out();
            h1::request_head(&x.request, &mut out);
            if x.upload.begin_with_content(cx, &mut upstream.conn, &mut out, &x.prefix).is_err() {
                broken = true;
            }
        }
        if !broken && !x.upload.is_done() {
            match x.upload.poll(cx, &session.worker, &mut session.client, &mut upstream.conn) {
                Poll::Ready(Ok(())) => session.timer.arm(Instant::now(), bounded(x, route, arm.timeouts.response)),
                // The server may have answered before it stopped listening: that answer is still read.
                // What it did not take of the body is lost to the next request.
                Poll::Ready(Err(Stop::Sink)) => {
                    broken = true;
                    x.client.keep_alive = false;
                }
                Poll::Ready(Err(stop)) => return Poll::Ready(Err(of_client(x, stop))),
                Poll::Pending if std::mem::take(&mut x.upload.moved) => {
                    session.timer.arm(Instant::now(), bounded(x, route, route.request_body));
                }
                Poll::Pending => {}
            }
        }
        if let Poll::Ready(Err(_)) = x.to_client.poll_flush(cx, &mut session.client) {
            return Poll::Ready(Err(GONE));
        }
        loop {
            let mut block = session.worker.block(RESPONSE_HEAD.head + FIRST_READ);
            let conn = &mut upstream.conn;
            let read = conn.poll_response(cx, &mut block, FIRST_READ, asked, &RESPONSE_HEAD, &mut x.response);
            let range = match read {
                Poll::Ready(Ok(range)) => range,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(of_server(x, error))),
                Poll::Pending => break,
            };
            if !is_interim(&x.response) {
                x.notes.response = Some(sent_at.elapsed());
                upstream.surplus = Some((block, range));
                return Poll::Ready(Ok(()));
            }
            interim += 1;
            if interim > MOST_INTERIM {
                return Poll::Ready(Err(bad_response(x, "too many interim responses")));
            }
            upstream.conn.keep(&block[range]);
            drop(block);
            let awaited = x.client.awaits_continue;
            pass_interim(session, x, cx)?;
            if awaited && !x.client.awaits_continue {
                session.timer.arm(Instant::now(), bounded(x, route, route.request_body));
            }
        }
        if x.upload.is_done() && is_client_gone(session, cx) {
            return Poll::Ready(Err(GONE));
        }
        ready!(session.timer.poll_expired(cx));
        Poll::Ready(Err(if is_over(x, route) {
            Fault::proxy(Kind::TotalTimeout)
        } else if broken || x.upload.is_read() || x.upload.waits_for_sink() || x.client.awaits_continue {
            Fault::server(Kind::ResponseTimeout, Retry::Idempotent)
        } else {
            Fault::client(Kind::BodyTimeout)
        }))
    })
    .await
}

/// Relays the response, and settles what becomes of both connections.
pub(crate) async fn deliver(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
    mut upstream: Upstream,
) -> Result<After, Fault> {
    if x.response.status() == 101 {
        return switch(session, x, listener, route, arm, upstream).await;
    }
    let reusable = server_keeps_open(&x.response);
    let arrived = x.response.framing();
    if hop::strip(&mut x.response).is_err() {
        return Err(bad_response(x, "Connection names a field that frames the message"));
    }
    let outgoing = outgoing_framing(arrived, x.client.version);
    let mut down = Pump::new(http::BodyReader::new(arrived), outgoing, listener.splice);
    x.response.set_framing(outgoing);
    walk_back(x, listener, route);
    // A client that is answered before it has sent its body may or may not send the rest: nobody can tell.
    let keep = x.client.keep_alive && x.upload.is_read() && outgoing != Framing::UntilClose && !session.is_leaving();
    x.notes.status = x.response.status();
    let result = relay_response(session, x, route, arm, &mut upstream, &mut down, keep).await;
    x.notes.bytes_out = down.content;
    let fault = result.err();
    finish::attempt(&session.worker, x, &upstream, fault);
    if let Some(fault) = fault {
        return Err(fault);
    }
    if reusable && x.upload.is_done() && !upstream.conn.has_carry() {
        finish::park(session, x, arm, upstream);
    }
    Ok(match (keep && x.client.keep_alive, x.upload.is_read()) {
        (true, true) => After::KeepAlive,
        (false, true) => After::Close,
        (_, false) => After::Linger,
    })
}

async fn relay_response(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    upstream: &mut Upstream,
    down: &mut Pump,
    keep: bool,
) -> Result<(), Fault> {
    let mut broken = x.upload.is_done();
    let mut begun = false;
    poll_fn(|cx| {
        if !begun {
            begun = true;
            let mut out = session.worker.out();
            reply::write_response(session, x, keep, &mut out);
            let surplus = upstream.surplus.take();
            let bytes = surplus.as_ref().map_or(&[][..], |(block, range)| &block[range.clone()]);
            // A body that is broken from the start has cost nothing yet: the client can still be told.
            let used = down.encode(bytes, &mut out).map_err(|stop| of_response(x, stop))?;
            x.client.answered = true;
            down.follow(std::mem::take(&mut x.to_client));
            down.begin(cx, &mut session.client, &out).map_err(|stop| of_response(x, stop))?;
            if used < bytes.len() {
                upstream.conn.keep(&bytes[used..]);
            }
            if !down.is_done() {
                session.timer.arm(Instant::now(), bounded(x, route, arm.timeouts.stream));
            }
        }
        if session.worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        if !broken
            && let Poll::Ready(ended) = x.upload.poll(cx, &session.worker, &mut session.client, &mut upstream.conn)
        {
            // Whether the rest of the request could be sent no longer decides anything: the response does.
            broken = true;
            if ended.is_err() {
                x.client.keep_alive = false;
            }
        }
        match down.poll(cx, &session.worker, &mut upstream.conn, &mut session.client) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(stop)) => return Poll::Ready(Err(of_response(x, stop))),
            Poll::Pending => {}
        }
        if std::mem::take(&mut down.moved) | std::mem::take(&mut x.upload.moved) {
            session.timer.arm(Instant::now(), bounded(x, route, arm.timeouts.stream));
        }
        ready!(session.timer.poll_expired(cx));
        Poll::Ready(Err(expired(x, route, Fault::proxy(Kind::StreamTimeout))))
    })
    .await
}

/// The server has switched protocols: the client is told, and from there on both sides say what they like.
async fn switch(
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
    x.response.add(b"Connection", b"Upgrade");
    x.response.add(b"Upgrade", b"websocket");
    walk_back(x, listener, route);
    x.notes.status = 101;
    x.client.answered = true;
    let mut out = Vec::new();
    h1::response_head(&x.response, &mut out);
    if let Some((block, range)) = upstream.surplus.take() {
        upstream.conn.keep(&block[range]);
    }
    reply::write_all(session, x, &out).await?;
    let account = Account::of(listener, route, &x.notes).owned();
    Ok(After::Tunnel(Box::new(Tunnel { upstream, idle: arm.timeouts.tunnel, account })))
}

/// What every response meets on its way back.
fn walk_back(x: &mut Exchange, listener: &Listener, route: &Route) {
    if listener.forwarding.via {
        forwarded::response_via(&mut x.response);
    }
    policy::backwards(&route.policies, &x.request, &mut x.response, &x.facts);
}

/// Makes Host what this server should see.
fn set_host(rule: &HostRule, server: &Server, request: &mut Head) {
    let there = request.value_of(Known::Host).unwrap_or_default();
    let wanted = match rule {
        HostRule::Server => server.authority.as_bytes(),
        HostRule::Name(name) => name.as_bytes(),
        // HTTP/1.0 may come without, HTTP/1.1 must not go without.
        HostRule::Client if there.is_empty() => server.authority.as_bytes(),
        HostRule::Client => return,
    };
    if wanted != there {
        let wanted = wanted.to_vec();
        request.set(b"Host", &wanted);
    }
}

fn is_interim(response: &Head) -> bool {
    (100..200).contains(&response.status()) && response.status() != 101
}

/// Gives an interim response to the client, if it can understand one.
fn pass_interim(session: &mut Session, x: &mut Exchange, cx: &mut Context<'_>) -> Result<(), Fault> {
    if x.client.version == Version::H10 || (x.response.status() == 100 && !x.client.awaits_continue) {
        return Ok(());
    }
    if x.response.status() == 100 {
        x.client.awaits_continue = false;
    }
    if hop::strip(&mut x.response).is_err() {
        return Err(bad_response(x, "Connection names a field that frames the message"));
    }
    x.notes.interim = true;
    let mut out = session.worker.out();
    h1::response_head(&x.response, &mut out);
    x.to_client.push(cx, &mut session.client, &out).map_err(|_| GONE)
}

/// Whether the client has left while the server works: a reset is; a mere end of its sending is not.
fn is_client_gone(session: &Session, cx: &mut Context<'_>) -> bool {
    session.client.stream().poll_peek(cx) == Poll::Ready(Peek::Broken)
}

/// How the body goes on to the client.
fn outgoing_framing(arrived: Framing, client: Version) -> Framing {
    match (arrived, client) {
        (Framing::Unknown | Framing::UntilClose, Version::H10) => Framing::UntilClose,
        (Framing::UntilClose, Version::H11) => Framing::Unknown,
        (framing, _) => framing,
    }
}

/// Whether the server's connection can take another request after this response.
fn server_keeps_open(response: &Head) -> bool {
    if response.framing() == Framing::UntilClose {
        return false;
    }
    let wishes = hop::wishes(response);
    match response.version() {
        Version::H11 => !wishes.close,
        Version::H10 => wishes.keep_alive && !wishes.close,
    }
}

/// A gap, unless the request's whole time ends earlier.
fn bounded(x: &Exchange, route: &Route, gap: Duration) -> Duration {
    match route.total {
        None => gap,
        Some(total) => gap.min(total.saturating_sub(x.notes.began.elapsed())),
    }
}

/// What a wait that was [`bounded`] has ended with: this, unless it was the request's whole time that ended.
fn expired(x: &Exchange, route: &Route, fault: Fault) -> Fault {
    if is_over(x, route) { Fault::proxy(Kind::TotalTimeout) } else { fault }
}

fn is_over(x: &Exchange, route: &Route) -> bool {
    route.total.is_some_and(|total| x.notes.began.elapsed() >= total)
}

fn of_client(x: &mut Exchange, stop: Stop) -> Fault {
    match stop {
        Stop::Source(Kind::Malformed) => {
            x.notes.reason = "broken chunked coding";
            Fault::client(Kind::Malformed)
        }
        Stop::Source(_) | Stop::Sink => GONE,
        Stop::TooLarge => Fault::client(Kind::BodyTooLarge),
    }
}

fn of_response(x: &mut Exchange, stop: Stop) -> Fault {
    match stop {
        Stop::Source(Kind::Malformed) => bad_response(x, "broken chunked coding"),
        Stop::Source(_) | Stop::TooLarge => Fault::server(Kind::Truncated, Retry::Never),
        Stop::Sink => GONE,
    }
}

fn of_server(x: &mut Exchange, error: ReadError) -> Fault {
    match error {
        ReadError::Reject(reject) => bad_response(x, reject.reason()),
        ReadError::Ended | ReadError::Io(_) => Fault::server(Kind::Reset, Retry::Idempotent),
    }
}

fn bad_response(x: &mut Exchange, reason: &'static str) -> Fault {
    x.notes.reason = reason;
    Fault::server(Kind::BadResponse, Retry::Idempotent)
}

impl Upstream {
    fn new(conn: Conn, lease: Lease, reused: bool) -> Upstream {
        lease.server().request_began();
        Upstream { conn, busy: Busy(Some(lease)), reused, surplus: None }
    }

    /// The server.
    pub(crate) fn server(&self) -> Option<&Arc<Server>> {
        self.busy.0.as_ref().map(Lease::server)
    }

    /// The connection and the right to it, once the request is done.
    pub(crate) fn into_parts(mut self) -> Option<(Conn, Lease)> {
        let lease = self.busy.finish()?;
        Some((self.conn, lease))
    }
}

impl Busy {
    fn finish(&mut self) -> Option<Lease> {
        let lease = self.0.take()?;
        lease.server().request_ended();
        Some(lease)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.finish());
    }
}
