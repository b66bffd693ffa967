//! Answers of our own, and the one table from faults to statuses.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Side};
use wire::grpc::{self, Code, Form};
use wire::head::Method;
use wire::socks::Reply;
use wire::{Framing, Head, Known, Version};

use crate::canary;
use crate::capture;
use crate::exchange::{After, Exchange};
use crate::finish::{self, Account};
use crate::policy::{self, Client, Compress};
use crate::relay::{Encoders, PIECE};
use crate::session::Session;
use crate::snapshot::{Advert, Deny, Place, Redirect, Respond, Route};

mod blocked;

/// The status that a fault is answered with; 0 if nobody is there to answer.
pub fn status_of(kind: Kind) -> u16 {
    match kind {
        Kind::Malformed => 400,
        Kind::Unauthenticated => 401,
        Kind::Denied => 403,
        Kind::NoRoute => 404,
        Kind::ProxyUnauthenticated => 407,
        Kind::HeadTimeout | Kind::BodyTimeout => 408,
        Kind::BodyTooLarge => 413,
        Kind::LineTooLong => 414,
        Kind::Expectation => 417,
        Kind::Misdirected => 421,
        Kind::Quota => 429,
        Kind::TooEarly => 425,
        Kind::HeadTooLarge | Kind::TooManyFields => 431,
        Kind::Unsupported => 501,
        Kind::Version => 505,
        Kind::Loop => 508,
        Kind::Unresolved
        | Kind::Connect
        | Kind::Unwelcome
        | Kind::ServerTls
        | Kind::ParentRefused
        | Kind::Reset
        | Kind::BadResponse
        | Kind::Truncated
        | Kind::BadStatus => 502,
        Kind::NoServer
        | Kind::CircuitBreaker
        | Kind::QueueFull
        | Kind::QueueTimeout
        | Kind::Overload
        | Kind::Drained => 503,
        Kind::ConnectTimeout | Kind::ResponseTimeout | Kind::StreamTimeout | Kind::TotalTimeout => 504,
        Kind::ClientTls | Kind::ClientGone | Kind::TunnelTimeout => 0,
    }
}

/// The status of gRPC that the same fault is answered with, where the request is a call.
pub fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::Denied => Code::PermissionDenied,
        Kind::Unauthenticated | Kind::ProxyUnauthenticated => Code::Unauthenticated,
        Kind::NoRoute | Kind::Misdirected | Kind::Unsupported | Kind::Version | Kind::Expectation => {
            Code::Unimplemented
        }
        Kind::LineTooLong | Kind::HeadTooLarge | Kind::TooManyFields | Kind::BodyTooLarge | Kind::Quota => {
            Code::ResourceExhausted
        }
        Kind::TotalTimeout => Code::DeadlineExceeded,
        Kind::HeadTimeout | Kind::BodyTimeout | Kind::ClientTls | Kind::ClientGone => Code::Cancelled,
        Kind::Malformed | Kind::Loop | Kind::BadResponse => Code::Internal,
        Kind::Unresolved
        | Kind::Connect
        | Kind::Unwelcome
        | Kind::ServerTls
        | Kind::ParentRefused
        | Kind::Reset
        | Kind::Truncated
        | Kind::BadStatus
        | Kind::NoServer
        | Kind::CircuitBreaker
        | Kind::QueueFull
        | Kind::QueueTimeout
        | Kind::Overload
        | Kind::Drained
        | Kind::ConnectTimeout
        | Kind::ResponseTimeout
        | Kind::StreamTimeout
        | Kind::TunnelTimeout
        | Kind::TooEarly => Code::Unavailable,
    }
}

/// What a client of SOCKS is told of the same fault; nothing if it is not there to hear it.
pub fn socks_of(kind: Kind) -> Option<Reply> {
    Some(match kind {
        Kind::Denied | Kind::NoRoute | Kind::Loop | Kind::Quota => Reply::NotAllowed,
        Kind::Unresolved => Reply::HostUnreachable,
        Kind::Connect => Reply::Refused,
        Kind::ConnectTimeout | Kind::TotalTimeout => Reply::Expired,
        Kind::Unsupported => Reply::Command,
        Kind::Unauthenticated | Kind::ProxyUnauthenticated => Reply::Unproven,
        Kind::ClientGone | Kind::TunnelTimeout | Kind::HeadTimeout => return None,
        _ => Reply::Failed,
    })
}

/// What a connection is told that cannot even be served a request.
pub(crate) const OVERLOAD: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 14\r\nConnection: close\r\n\r\n503: overload\n";

/// Answers a fault, if the client can still be answered; else makes it visible that the response was cut.
pub(crate) async fn fault(session: &mut Session, x: &mut Exchange, route: &Route, fault: Fault) -> After {
    x.notes.fault = Some(fault);
    if fault.kind == Kind::ClientGone
        && let Some(reason) = session.client.wrong()
    {
        // It has not left: it broke the protocol, and was told so by the protocol's own means.
        (x.notes.fault, x.notes.reason) = (Some(Fault::client(Kind::Malformed)), reason);
    }
    let over = x.meter.as_ref().and_then(|meter| meter.over()).filter(|_| fault.kind == Kind::Quota);
    let status = over.map_or_else(|| status_of(fault.kind), |over| over.status);
    if x.client.answered {
        x.notes.cut = true;
        if status != 0 && owes_trailers(x) {
            break_call(session, x, code_of(fault.kind), &format!("{status}: {}", fault.code()));
        }
        if x.response.framing() == Framing::UntilClose {
            session.client.reset_on_close();
        }
        return After::Close;
    }
    if status == 0 {
        return After::Close;
    }
    let text = match x.notes.reason {
        "" => format!("{status}: {}\n", fault.code()),
        reason => format!("{status}: {}: {reason}\n", fault.code()),
    };
    // A message that was refused leaves no trustworthy place at which the next one could begin.
    if fault.side == Side::Client && !matches!(fault.kind, Kind::NoRoute | Kind::Denied | Kind::Quota) {
        x.client.keep_alive = false;
    }
    if let Some(form) = x.facts.call {
        return end_call(session, x, route, form, code_of(fault.kind), &text).await;
    }
    x.response.start_response(status);
    if let Some(over) = over {
        // RFC 6585 section 4, RFC 9110 section 10.2.3.
        x.response.add(b"Retry-After", itoa::Buffer::new().format(over.seconds).as_bytes());
    }
    x.response.add(b"Content-Type", b"text/plain; charset=utf-8");
    answer(session, x, route, text.as_bytes()).await
}

/// Whether the client awaits trailers that say how its call has ended, and can be given some.
fn owes_trailers(x: &Exchange) -> bool {
    matches!(x.client.version, Version::H2 | Version::H3)
        && x.facts.call == Some(Form::Native)
        && x.notes.status == 200
        && Code::said(&x.response).is_none()
}

/// Ends a call of gRPC whose answer has begun: a mere reset would be INTERNAL to its client, whatever it was.
fn break_call(session: &mut Session, x: &mut Exchange, code: Code, text: &str) {
    let mut trailers = Head::default();
    trailers.add(b"grpc-status", code.number().to_string().as_bytes());
    trailers.add(b"grpc-message", &grpc::message(text));
    x.notes.call = Some(code);
    session.client.finish(Some(&trailers));
}

/// Ends a call of gRPC before it reached a server: its status stands where trailers would, and nothing follows.
async fn end_call(session: &mut Session, x: &mut Exchange, route: &Route, form: Form, code: Code, text: &str) -> After {
    x.notes.call = Some(code);
    x.response.start_response(200);
    x.response.add(b"Content-Type", form.media_type().as_bytes());
    x.response.add(b"grpc-status", code.number().to_string().as_bytes());
    x.response.add(b"grpc-message", &grpc::message(text.trim_end()));
    answer(session, x, route, b"").await
}

/// Answers a request whose head could not be read.
pub(crate) async fn refuse(session: &mut Session, x: &mut Exchange, fault: Fault, reason: &'static str) {
    x.request.start_request(b"", b"", b"", None);
    x.began(None);
    x.notes.reason = reason;
    x.client.keep_alive = false;
    x.came(&session.worker, &session.origin, session.tls.as_ref());
    let listener = std::sync::Arc::clone(&session.listener);
    self::fault(session, x, &listener.default, fault).await;
    let account = Account::of(&listener, &listener.default, &x.notes);
    finish::record(&session.worker, x, &account);
}

/// Answers with another place.
pub(crate) async fn redirect(session: &mut Session, x: &mut Exchange, route: &Route, redirect: &Redirect) -> After {
    let location = location(x, &redirect.to);
    x.response.start_response(redirect.status);
    x.response.add(b"Location", &location);
    answer(session, x, route, b"").await
}

/// Answers what the route says.
pub(crate) async fn respond(session: &mut Session, x: &mut Exchange, route: &Route, respond: &Respond) -> After {
    x.response.start_response(respond.status);
    for (name, value) in &respond.fields {
        x.response.add(name.as_bytes(), value.as_bytes());
    }
    answer(session, x, route, &respond.body).await
}

/// Answers an OPTIONS or TRACE request that goes no farther than here (RFC 9110 section 7.6.2). We do not send requests back:
/// they may hold what only their sender should see.
pub(crate) async fn last_hop(session: &mut Session, x: &mut Exchange, route: &Route) -> After {
    x.response.start_response(if x.request.method() == Method::Options { 200 } else { 405 });
    x.response.add(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    answer(session, x, route, b"").await
}

/// Refuses.
pub(crate) async fn deny(session: &mut Session, x: &mut Exchange, route: &Route, deny: &Deny) -> After {
    x.notes.fault = Some(Fault::client(Kind::Denied));
    let line = blocked::line(deny, x.notes.hit.as_ref());
    if let Some(form) = x.facts.call {
        return end_call(session, x, route, form, Code::of_http(deny.status), &line).await;
    }
    x.response.start_response(deny.status);
    let mut page = None;
    if let Some(hit) = &x.notes.hit {
        // Lists change, and what is blocked today should not be so tomorrow by memory alone.
        x.response.add(b"Cache-Control", b"no-store");
        let wants_page = !x.is_tunnel() && blocked::wants_page(&x.request);
        page = wants_page.then(|| blocked::page(deny, &x.facts.host, hit));
    }
    if page.is_some() {
        x.response.add(b"Content-Type", b"text/html; charset=utf-8");
        x.response.add(b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'");
    } else {
        x.response.add(b"Content-Type", b"text/plain; charset=utf-8");
    }
    let text = page.unwrap_or(line);
    answer(session, x, route, text.as_bytes()).await
}

/// Asks who the client is, in each of these ways (RFC 9110 sections 11.6.1 and 11.7.1).
pub(crate) async fn challenge(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    kind: Kind,
    challenges: &[String],
) -> After {
    x.notes.fault = Some(Fault::client(kind));
    let status = status_of(kind);
    let text = match x.notes.reason {
        "" => format!("{status}: {}\n", kind.code()),
        reason => format!("{status}: {}: {reason}\n", kind.code()),
    };
    if let Some(form) = x.facts.call {
        return end_call(session, x, route, form, code_of(kind), &text).await;
    }
    x.response.start_response(status);
    let field: &[u8] = if status == 407 { b"Proxy-Authenticate" } else { b"WWW-Authenticate" };
    challenges.iter().for_each(|challenge| x.response.add(field, challenge.as_bytes()));
    x.response.add(b"Content-Type", b"text/plain; charset=utf-8");
    answer(session, x, route, text.as_bytes()).await
}

/// Tells a client that waits to send its body.
pub(crate) async fn say_continue(session: &mut Session, x: &mut Exchange) -> Result<(), Fault> {
    let mut out = session.worker.out();
    x.response.start_response(100);
    session.client.write_interim(&x.response, &mut out);
    let patience = session.listener.default.stream;
    write_all(session, x, patience, &out).await
}

/// Writes all of this to the client, behind what waits. It may take nothing for so long.
pub(crate) async fn write_all(
    session: &mut Session,
    x: &mut Exchange,
    patience: Duration,
    bytes: &[u8],
) -> Result<(), Fault> {
    const GONE: Fault = Fault::client(Kind::ClientGone);
    let mut pushed = false;
    let mut left = usize::MAX;
    poll_fn(|cx| {
        if !pushed {
            pushed = true;
            x.to_client.push(cx, &mut session.client, bytes).map_err(|_| GONE)?;
        }
        if let Poll::Ready(flushed) = x.to_client.poll_flush(cx, &mut session.client) {
            return Poll::Ready(flushed.map_err(|_| GONE));
        }
        if std::mem::replace(&mut left, x.to_client.len()) != x.to_client.len() {
            session.timer.arm(Instant::now(), patience);
        }
        ready!(session.timer.poll_expired(cx));
        Poll::Ready(Err(GONE))
    })
    .await
}

/// How long a client may take nothing of an answer of ours: as long as of any other, and no longer than its request may take as a
/// whole. An answer that says that this time is over has the first alone.
fn patience(x: &Exchange, route: &Route) -> Duration {
    let left = route.total.map(|total| total.saturating_sub(x.notes.began.elapsed()));
    left.filter(|left| !left.is_zero()).map_or(route.stream, |left| left.min(route.stream))
}

/// Writes the head of the response to the client.
pub(crate) fn write_response(session: &mut Session, x: &mut Exchange, keep: bool, out: &mut Vec<u8>) {
    if !x.response.has(Known::Date) {
        x.response.add(b"Date", &session.worker.date());
    }
    if let Some(advert) = &session.listener.advert {
        advertise(session, &mut x.response, x.client.version, advert);
    }
    x.client.answered |= session.client.write_response(&mut x.response, x.client.version, keep, out);
}

/// Tells a client that came by TCP that it may come by UDP (RFC 9114 section 3.1.1). What a server says there is of its own address.
fn advertise(session: &Session, response: &mut Head, version: Version, advert: &Advert) {
    let port = advert.port.unwrap_or(session.origin.port);
    if version == Version::H3 || port == 0 || !session.listener.versions_at(session.origin.bind).h3 {
        return;
    }
    let (mut digits, mut seconds) = (itoa::Buffer::new(), itoa::Buffer::new());
    let parts: [&[u8]; 4] =
        [b"h3=\":", digits.format(port).as_bytes(), b"\"; ma=", seconds.format(advert.max_age.as_secs()).as_bytes()];
    response.remove(b"Alt-Svc");
    response.add_parts(b"Alt-Svc", &parts);
}

/// Finishes an answer of ours: policies, framing, and what becomes of the connection.
async fn answer(session: &mut Session, x: &mut Exchange, route: &Route, body: &[u8]) -> After {
    canary::tell(&route.ending, x);
    policy::backwards(&route.policies, &x.request, &mut x.response, &x.facts);
    let unread = !x.upload.is_read();
    let keep = x.client.keep_alive && !unread && !session.is_leaving();
    let bodiless = matches!(x.response.status(), 204 | 304);
    x.notes.status = x.response.status();
    let mut coded = None;
    if !bodiless {
        x.response.set_framing(Framing::Length(body.len() as u64));
        coded = code(session, x, route, body).await;
    }
    let body = coded.as_deref().unwrap_or(body);
    capture::answered(x, if x.client.head_only || bodiless { b"" } else { body });
    x.notes.bytes_out = if x.client.head_only || bodiless { 0 } else { body.len() as u64 };
    let mut out = Vec::with_capacity(512 + body.len());
    write_response(session, x, keep, &mut out);
    if x.notes.bytes_out > 0 {
        out.extend_from_slice(body);
    }
    x.client.answered = true;
    let patience = patience(x, route);
    if write_all(session, x, patience, &out).await.is_err() {
        x.notes.cut = true;
        x.notes.fault = x.notes.fault.or(Some(Fault::client(Kind::ClientGone)));
        return After::Close;
    }
    session.client.finish(None);
    match (keep, unread || x.notes.fault.is_some()) {
        (true, _) => After::KeepAlive,
        (false, false) => After::Close,
        (false, true) => After::Linger,
    }
}

/// An answer of our own in a content coding, if it is to have one: its head says so then.
async fn code(session: &Session, x: &mut Exchange, route: &Route, body: &[u8]) -> Option<Vec<u8>> {
    let compress = route.compress.as_ref()?;
    let client = Client { wish: x.facts.wish, version: x.client.version };
    let recipe = compress.choose(client, &x.request, &mut x.response)?;
    let mut encoder = Encoders::lend(&session.worker, recipe, compress.at_once)?;
    let mut coded = Vec::new();
    for piece in body.chunks(PIECE) {
        encoder.content(piece, &mut coded).ok()?;
        tokio::task::yield_now().await;
    }
    encoder.end(&mut coded).ok()?;
    Compress::coded(&mut x.response, recipe);
    x.response.set_framing(Framing::Length(coded.len() as u64));
    Some(coded)
}

fn location(x: &Exchange, to: &Place) -> Vec<u8> {
    match to {
        Place::Location(template) => {
            let mut location = template.fill(&x.facts.view(&x.request));
            // A path that begins with two slashes is another host to a browser: what the request's own text filled in
            // must not lead there.
            while location.starts_with(b"//") || location.starts_with(b"/\\") {
                location.remove(1);
            }
            if let Some(query) = &x.facts.query
                && !location.contains(&b'?')
            {
                location.push(b'?');
                location.extend_from_slice(query);
            }
            location
        }
        Place::Parts { secure, host, port } => {
            let was_secure = x.facts.tls.is_some();
            let secure_now = secure.unwrap_or(was_secure);
            let mut location = if secure_now { b"https://".to_vec() } else { b"http://".to_vec() };
            location.extend_from_slice(host.as_ref().map_or(&x.facts.host, |host| host.as_bytes()));
            let own = wire::uri::port(x.request.authority());
            let changed = host.is_some() || secure_now != was_secure;
            let standard = if secure_now { 443 } else { 80 };
            if let Some(port) = port.or(if changed { None } else { own })
                && port != standard
            {
                location.extend_from_slice(format!(":{port}").as_bytes());
            }
            location.extend_from_slice(&x.facts.path);
            if let Some(query) = &x.facts.query {
                location.push(b'?');
                location.extend_from_slice(query);
            }
            location
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_status_that_says_whose_it_is() {
        for kind in Kind::ALL {
            let status = status_of(kind);
            assert!(status == 0 || (400..600).contains(&status), "{kind:?}");
        }
        assert_eq!(code_of(Kind::TotalTimeout), Code::DeadlineExceeded);
        assert_eq!(status_of(Kind::ClientGone), 0);
        assert_eq!(status_of(Kind::BadResponse), 502);
    }
}
