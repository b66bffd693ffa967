//! The request on its way to a server, until the head of the final response is here.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry, Side};
use http::ReadError;
use net::stream::Peek;
use wire::grpc;
use wire::h1::{self, Asked};
use wire::{Head, Known, Version, hop};

use super::lead_on::is_led_on;
use super::{GONE, Upstream, bad_response, begin_try, bounded, is_over, of_client, time_left, within_try};
use crate::capture;
use crate::exchange::Exchange;
use crate::pool::{HostRule, Server};
use crate::relay::Stop;
use crate::session::Session;
use crate::snapshot::{Arm, Hedge, Route};
use crate::worker::Worker;

/// Limits of what a server may send as a head.
pub(super) const RESPONSE_HEAD: h1::Limits = h1::Limits { head: 64 * 1024, line: 16 * 1024, fields: 200 };
/// How much is read at once while a head is due. What comes behind a head is copied: a large body waits for its pipe.
pub(super) const FIRST_READ: usize = 16 * 1024;
/// Interim responses beyond this many are an attack.
pub(super) const MOST_INTERIM: u32 = 32;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The head of the final response is here.
    Answered,
    /// It is sent, and the answer takes so long that others should be asked, too.
    Late,
}

/// Sends the request, as far as it is here, and waits for the head of the final response. The rest of the body follows
/// as it comes.
pub(super) async fn send(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    upstream: &mut Upstream,
    hedge: Option<&Hedge>,
) -> Result<Sent, Fault> {
    let asked = if x.client.head_only { Asked::Head } else { Asked::Other };
    let (mut begun, mut broken, mut interim) = (false, false, 0);
    Worker::give_way().await;
    let sent_at = Instant::now();
    let mut due_since = sent_at;
    x.notes.sent = Some(sent_at);
    // A client that was not told to go on yet does not stand still. While one sends, the time of the try does not run.
    let mut sends = !x.upload.is_read() && !x.client.awaits_continue;
    let gap = match sends {
        true => bounded(x, route, upload_gap(x, route, arm)),
        false => within_try(x, route, sent_at, arm.timeouts.response),
    };
    session.timer.arm(sent_at, hedge.map_or(gap, |hedge| gap.min(hedge.after)));
    let (mut patience, mut is_owed) = (hedge, true);
    let ended = poll_fn(|cx| {
        if !begun {
            begun = true;
            if session.client.is_taken_back(cx) {
                return Poll::Ready(Err(GONE));
            }
            if x.facts.call.is_some()
                && let Some(left) = time_left(x, route)
            {
                x.request.set(b"grpc-timeout", grpc::write_timeout(left).as_bytes());
            }
            let mut out = session.worker.out();
            arm.pool.write_request(&mut upstream.conn, &x.request, is_led_on(x, arm), &mut out);
            let framing = x.request.framing();
            match x.upload.begin_with_content(cx, &mut upstream.conn, framing, &mut out, &x.prefix) {
                Ok(()) => {}
                Err(Stop::Sink) => broken = true,
                Err(stop) => return Poll::Ready(Err(of_client(x, stop))),
            }
        }
        if !broken && !x.upload.is_done() {
            match x.upload.poll(cx, &session.worker, &mut session.client, &mut upstream.conn) {
                Poll::Ready(Ok(())) => {
                    if std::mem::take(&mut sends) {
                        begin_try(x, arm);
                    }
                    due_since = Instant::now();
                    session.timer.arm(due_since, within_try(x, route, due_since, arm.timeouts.response));
                }
                // The server may have answered before it stopped listening: that answer is still read.
                // What it did not take of the body is lost to the next request.
                Poll::Ready(Err(Stop::Sink)) => {
                    broken = true;
                    x.client.keep_alive = false;
                }
                Poll::Ready(Err(stop)) => return Poll::Ready(Err(of_client(x, stop))),
                Poll::Pending if std::mem::take(&mut x.upload.moved) => {
                    let gap = upload_gap(x, route, arm);
                    let now = Instant::now();
                    due_since = now;
                    let gap = if sends { bounded(x, route, gap) } else { within_try(x, route, now, gap) };
                    session.timer.arm(now, gap);
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
                let now = Instant::now();
                note_answer(x, arm, now, now - due_since);
                upstream.surplus = Some((block, range));
                return Poll::Ready(Ok(Sent::Answered));
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
                sends = true;
                session.timer.arm(Instant::now(), bounded(x, route, upload_gap(x, route, arm)));
            }
        }
        if session.worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        let is_gone = if x.upload.is_done() { is_client_gone(session, cx) } else { session.client.is_taken_back(cx) };
        if is_gone {
            return Poll::Ready(Err(GONE));
        }
        ready!(session.timer.poll_expired(cx));
        if let Some(hedge) = patience.take_if(|hedge| sent_at.elapsed() >= hedge.after) {
            if x.upload.is_done() && !x.notes.interim {
                return Poll::Ready(Ok(Sent::Late));
            }
            let rest = arm.timeouts.response.saturating_sub(hedge.after);
            let now = Instant::now();
            session.timer.arm(now, within_try(x, route, now, rest));
            ready!(session.timer.poll_expired(cx));
        }
        let is_due = broken || x.upload.is_read() || x.upload.waits_for_sink() || x.client.awaits_continue;
        if is_due {
            let now = Instant::now();
            note_silence(x, arm, now, now - due_since);
        }
        is_owed = is_due;
        Poll::Ready(Err(if !is_due && x.facts.call.is_none() {
            // Whichever time has ended: the client has used it up.
            Fault::client(Kind::BodyTimeout)
        } else if is_over(x, route) {
            Fault::proxy(Kind::TotalTimeout)
        } else if !is_due {
            // A stream may be open both ways and quiet: nobody here knows whose turn it was, and a client that says nothing must not be
            // able to make a server look bad.
            Fault::proxy(Kind::ResponseTimeout)
        } else {
            Fault::server(Kind::ResponseTimeout, Retry::Idempotent)
        }))
    })
    .await;
    // What a client did wrong says nothing of the server.
    let is_telling =
        matches!(ended, Ok(Sent::Answered)) || ended.is_err_and(|fault| is_owed && fault.side != Side::Client);
    if let Some(server) = upstream.server().filter(|server| is_telling && server.is_latency_followed()) {
        server.answered(due_since.elapsed(), Instant::now());
    }
    ended
}

/// How long nothing may come of a body that is not whole. In a call of gRPC both sides speak when they like: there an upload that is open
/// and quiet is a wait for the server as well.
fn upload_gap(x: &Exchange, route: &Route, arm: &Arm) -> Duration {
    match x.facts.call {
        Some(_) => route.request_body.max(arm.timeouts.response),
        None => route.request_body,
    }
}

/// Notes how long the server took that answers. How fast one can fail says nothing of how much it can do.
pub(super) fn note_answer(x: &mut Exchange, arm: &Arm, now: Instant, took: Duration) {
    x.notes.response = Some(took);
    x.notes.answered = Some(now);
    if let Some(bounds) = arm.pool.concurrency.filter(|_| x.response.status() < 500) {
        arm.pool.gate.concurrency.sample(now, took, bounds);
    }
}

/// Notes how long a server had that did not answer in time: it would have taken longer.
pub(super) fn note_silence(x: &mut Exchange, arm: &Arm, now: Instant, waited: Duration) {
    x.notes.waited = Some(waited);
    if let Some(bounds) = arm.pool.concurrency {
        arm.pool.gate.concurrency.sample(now, waited, bounds);
    }
}

/// Makes Host what this server should see.
pub(super) fn set_host(rule: &HostRule, server: &Server, request: &mut Head) {
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

pub(super) fn is_interim(response: &Head) -> bool {
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
    capture::interim(x);
    let mut out = session.worker.out();
    session.client.write_interim(&x.response, &mut out);
    x.to_client.push(cx, &mut session.client, &out).map_err(|_| GONE)
}

/// Whether the client has left while the server works: a reset is; a mere end of its sending is not.
pub(super) fn is_client_gone(session: &Session, cx: &mut Context<'_>) -> bool {
    session.client.poll_peek(cx) == Poll::Ready(Peek::Broken)
}

pub(super) fn of_server(x: &mut Exchange, error: ReadError) -> Fault {
    match error {
        ReadError::Reject(reject) => bad_response(x, reject.reason()),
        ReadError::Ended | ReadError::Io(_) => Fault::server(Kind::Reset, Retry::Idempotent),
        // RFC 9113 section 8.7: it was not looked at, so it is as if there had been no connection.
        ReadError::Refused => Fault::server(Kind::Connect, Retry::Always),
    }
}
