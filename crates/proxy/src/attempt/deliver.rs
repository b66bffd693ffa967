//! The response on its way to the client, and what becomes of both connections.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Instant;

use base::{Fault, Kind, Retry};
use http::BodyWriter;
use wire::grpc::{self, Code, Form};
use wire::{Framing, Head, Known, Version, forwarded, hop};

use super::hold::{Held, changed};
use super::refuse::refuse;
use super::reshape::{framing, reshape};
use super::switch::switch;
use super::{GONE, Upstream, bad_response, bounded, expired};
use crate::exchange::{After, Exchange};
use crate::pool::Pool;
use crate::relay::{Pump, Stop, Toll};
use crate::session::Session;
use crate::snapshot::{Arm, Listener, Route};
use crate::worker::{Out, Worker};
use crate::{canary, capture, filter, finish, policy, quota, reply, sticky};

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
    if let Some(refusal) = filter::judge(route, &x.response, x.client.head_only) {
        return Ok(Box::pin(refuse(session, x, route, arm, (upstream, false), refusal)).await);
    }
    let arrived = x.response.framing();
    let most = filter::most(route).map(|(most, _)| most);
    let mut down = Pump::new(upstream.conn.body_reader(arrived), BodyWriter::Plain, listener.splice);
    let mut held = Held { most, ..Held::default() };
    if arrived != Framing::None && reads(route, x) {
        match Box::pin(held.read(session, x, route, arm, &mut upstream, &mut down)).await {
            Ok(None) => {}
            Ok(Some(refusal)) => {
                drop(held);
                x.places.clear();
                let refused = refuse(session, x, route, arm, (upstream, down.is_read()), refusal);
                return Ok(Box::pin(refused).await);
            }
            Err(fault) => {
                x.places.clear();
                finish::attempt(&session.worker, x, &upstream, Some(fault));
                return Err(fault);
            }
        }
    }
    // Where the client's own wish was sent on, the server closes by that.
    let reusable = server_keeps_open(&x.response) && !hop::wishes(&x.request).close;
    if hop::strip(&mut x.response).is_err() {
        return Err(bad_response(x, "Connection names a field that frames the message"));
    }
    let outgoing = outgoing_framing(arrived, x.client.version);
    x.response.set_framing(outgoing);
    if x.facts.call.is_some() {
        x.notes.call = Code::said(&x.response);
    }
    let owes_code = x.facts.call.is_some() && is_native(&x.response);
    walk_back(x, listener, route, &arm.pool);
    let transform = reshape(session, x, route, arrived);
    let outgoing = if transform.is_some() { framing(x.client.version) } else { outgoing };
    x.response.set_framing(if transform.is_none() && lacks_length(x) { Framing::Length(0) } else { outgoing });
    down.write_as(session.client.body_writer(outgoing));
    if let Some(transform) = transform {
        down.transform(transform);
    }
    if let Some(most) = most {
        down.come_up_to(most);
    }
    capture::follow(x, &mut down);
    down.toll = Toll::of(&session.worker, x, route, false);
    // A client that is answered before it has sent its body may or may not send the rest: nobody can tell.
    let keep = x.client.keep_alive && x.upload.is_read() && outgoing != Framing::UntilClose && !session.is_leaving();
    x.notes.status = x.response.status();
    let held = match held.content {
        content if content.is_empty() || !down.is_changed() => content,
        content => Box::pin(changed(&mut down, content)).await.map_err(|stop| of_response(x, stop))?,
    };
    let first = encode_first(session, x, &mut upstream, &mut down, &held, keep);
    // A slow client has a copy of it in front of its socket already.
    drop(held);
    let result = relay_response(session, x, route, arm, &mut upstream, &mut down, first).await;
    x.notes.bytes_out = down.content;
    capture::followed(x, &mut down);
    if x.facts.call.is_some() {
        x.notes.call = x.notes.call.or_else(|| down.read_trailers().and_then(Code::said));
    }
    if owes_code && result.is_ok() {
        // What its client makes of it, too.
        x.notes.call = x.notes.call.or(Some(Code::Unknown));
    }
    let fault = result.err();
    finish::attempt(&session.worker, x, &upstream, fault);
    if fault == Some(TOO_LONG)
        && let Some((_, filter)) = filter::most(route)
    {
        filter.too_long().note(x, session.worker.id);
        if !x.client.answered {
            return Ok(reply::deny(session, x, route, &filter.deny).await);
        }
    }
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

/// Whether what the response holds has to be read before its client has any of it.
fn reads(route: &Route, x: &Exchange) -> bool {
    route.filters.iter().any(|filter| filter.words.is_some()) && filter::speaks_of_content(&x.response, false)
}

/// The head and what came of the body with it, in one write.
fn encode_first(
    session: &mut Session,
    x: &mut Exchange,
    upstream: &mut Upstream,
    down: &mut Pump,
    held: &[u8],
    keep: bool,
) -> Result<Out, Fault> {
    let mut out = session.worker.out();
    reply::write_response(session, x, keep, &mut out);
    if !held.is_empty() {
        down.put(held, &mut out).map_err(|stop| of_response(x, stop))?;
        return Ok(out);
    }
    let surplus = upstream.surplus.take();
    let bytes = surplus.as_ref().map_or(&[][..], |(block, range)| &block[range.clone()]);
    // A body that is broken from the start has cost nothing yet: the client can still be told.
    let used = down.encode(bytes, &mut out).map_err(|stop| of_response(x, stop))?;
    if used < bytes.len() {
        upstream.conn.keep(&bytes[used..]);
    }
    Ok(out)
}

async fn relay_response(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    upstream: &mut Upstream,
    down: &mut Pump,
    first: Result<Out, Fault>,
) -> Result<(), Fault> {
    let (mut broken, mut unheard) = (x.upload.is_done(), false);
    let mut first = Some(first?);
    // What is gathered anyway need not give way. And the head of a stream that has left without content must be told at once that it is
    // all: clients of gRPC believe a status in the head only if nothing follows, not even an empty frame.
    if !session.client.gathers_writes() {
        Worker::give_way().await;
    }
    poll_fn(|cx| {
        if let Some(first) = first.take() {
            x.client.answered = true;
            down.follow(std::mem::take(&mut x.to_client));
            down.begin(cx, &mut session.client, &first).map_err(|stop| of_response(x, stop))?;
            if !down.is_done() {
                session.timer.arm(Instant::now(), bounded(x, route, arm.timeouts.stream));
            }
        }
        if !x.places.is_empty() && down.lets_go(cx, &mut session.client) {
            x.places.clear();
        }
        if session.worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        if !broken
            && let Poll::Ready(ended) = x.upload.poll(cx, &session.worker, &mut session.client, &mut upstream.conn)
        {
            // Whether the rest of the request could be sent no longer decides anything: the response does. But a call of gRPC whose client
            // is not heard any more would only wait.
            broken = true;
            if let Err(stop) = ended {
                x.client.keep_alive = false;
                if stop == Stop::Spent {
                    return Poll::Ready(Err(quota::spent(x)));
                }
                unheard = x.facts.call.is_some() && matches!(stop, Stop::TooLarge);
            }
        }
        match down.poll(cx, &session.worker, &mut upstream.conn, &mut session.client) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(stop)) => return Poll::Ready(Err(of_response(x, stop))),
            Poll::Pending if unheard => return Poll::Ready(Err(Fault::client(Kind::BodyTooLarge))),
            Poll::Pending => {}
        }
        if session.client.is_taken_back(cx) {
            return Poll::Ready(Err(GONE));
        }
        if std::mem::take(&mut down.moved) | std::mem::take(&mut x.upload.moved) {
            session.timer.arm(Instant::now(), bounded(x, route, arm.timeouts.stream));
        }
        ready!(session.timer.poll_expired(cx));
        Poll::Ready(Err(expired(x, route, Fault::proxy(Kind::StreamTimeout))))
    })
    .await
}

/// What every response meets on its way back.
pub(super) fn walk_back(x: &mut Exchange, listener: &Listener, route: &Route, pool: &Pool) {
    if listener.forwarding.via {
        forwarded::response_via(&mut x.response);
    }
    canary::tell(&route.ending, x);
    sticky::tell(x, pool);
    policy::backwards(&route.policies, &x.request, &mut x.response, &x.facts);
}

/// Whether it is an answer to a call whose trailers say how the call has ended.
fn is_native(response: &Head) -> bool {
    let form = response.value(b"content-type").and_then(grpc::content_type);
    response.status() == 200 && matches!(form, Some((Form::Native, _)))
}

/// How the body goes on to the client.
fn outgoing_framing(arrived: Framing, client: Version) -> Framing {
    match (arrived, client) {
        (Framing::Unknown | Framing::UntilClose, Version::H10) => Framing::UntilClose,
        (Framing::UntilClose, _) => Framing::Unknown,
        (framing, _) => framing,
    }
}

/// Whether the end of the stream said that there is no content, and nothing else does: a client of HTTP/1 would wait for it.
fn lacks_length(x: &Exchange) -> bool {
    let (response, status) = (&x.response, x.response.status());
    matches!(response.version(), Version::H2 | Version::H3)
        && matches!(x.client.version, Version::H10 | Version::H11)
        && response.framing() == Framing::None
        && !x.client.head_only
        && !matches!(status, 100..200 | 204 | 304)
        && !response.has(Known::ContentLength)
}

/// Whether the server's connection can take another request after this response.
pub(super) fn server_keeps_open(response: &Head) -> bool {
    if response.framing() == Framing::UntilClose {
        return false;
    }
    let wishes = hop::wishes(response);
    match response.version() {
        Version::H10 => wishes.keep_alive && !wishes.close,
        _ => !wishes.close,
    }
}

/// What a filter has cut off. The server has done nothing wrong.
const TOO_LONG: Fault = Fault::client(Kind::Denied);

pub(super) fn of_response(x: &mut Exchange, stop: Stop) -> Fault {
    match stop {
        Stop::Source(Kind::Malformed) => bad_response(x, "broken chunked coding"),
        Stop::TooLarge => {
            x.notes.reason = "the content is longer than a filter lets pass";
            TOO_LONG
        }
        Stop::Source(_) => Fault::server(Kind::Truncated, Retry::Never),
        Stop::Sink => GONE,
        Stop::Spent => quota::spent(x),
        Stop::Spoiled(_) => Fault::proxy(Kind::Overload),
    }
}
