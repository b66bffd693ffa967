//! A server of TLS is met before its client is: what it has shown decides what that is shown.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Instant, SystemTime};

use base::{Fault, Kind};
use net::Stream;
use net::stream::Peek;
use net::tls::{Alpn, Identity, Terminator, doubt};

use super::leaves::{self, Sought};
use super::{Intercept, Subject};
use crate::attempt::{self, Upstream};
use crate::exchange::Exchange;
use crate::finish;
use crate::session::Session;
use crate::session::entry::bare_stream;
use crate::session::inside::Lead;
use crate::snapshot::{Arm, Route};
use crate::worker::Worker;

/// What is known of a server once hands were shaken with it.
pub(super) struct Met {
    /// What its client is shown.
    pub(super) terminator: Terminator,
    /// Whether it speaks HTTP/2.
    pub(super) h2: bool,
    /// Why it cannot be believed.
    pub(super) doubt: Option<&'static str>,
    /// The connection, for the first request.
    pub(super) lead: Lead,
}

/// Shakes hands with the server, and has signed what its client is shown of it.
pub(super) async fn meet(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    (intercept, arm): (&Arc<Intercept>, &Arm),
    sought: Sought,
    upstream: Upstream,
) -> Result<Met, Fault> {
    finish::attempt(&session.worker, x, &upstream, None);
    let Some((conn, lease)) = upstream.into_parts() else { return Err(Fault::proxy(Kind::Overload)) };
    let has_spoken = conn.has_carry();
    let shaken = match conn.into_stream() {
        Some(_) if has_spoken => Err("the server says something before TLS has begun"),
        Some(stream) => shake(session, x, route, (intercept, arm), &sought, stream).await?,
        None => Err("the server has broken off the handshake of TLS"),
    };
    let name = sought.name.clone();
    Ok(match shaken {
        Ok((stream, shown)) => {
            let signed = signed(&session.worker, intercept, Subject::of(&shown), Some(shown), &name).await?;
            let h2 = stream.alpn() == Some(Alpn::H2);
            session.worker.leaves.learn(sought, &signed, h2, Instant::now());
            Met { terminator: signed.terminator, h2, doubt: None, lead: Lead::of(stream, lease) }
        }
        Err(doubt) => {
            let signed = signed(&session.worker, intercept, Subject::Named(name.clone()), None, &name).await?;
            Met { terminator: signed.terminator, h2: false, doubt: Some(doubt), lead: Lead::none() }
        }
    })
}

/// The handshake with the server, as long as a connect may take. What went wrong with it is nothing to end the tunnel for.
async fn shake(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    (intercept, arm): (&Arc<Intercept>, &Arm),
    sought: &Sought,
    stream: Stream,
) -> Result<Result<(Stream, Vec<u8>), &'static str>, Fault> {
    let originator = if sought.h2 { &intercept.originators.either } else { &intercept.originators.h1 };
    let stream = match bare_stream(&session.worker, stream, arm.timeouts.tunnel) {
        Ok(stream) => stream,
        Err(_) => return Err(Fault::proxy(Kind::Overload)),
    };
    let began = Instant::now();
    session.timer.arm(began, attempt::bounded(x, route, arm.timeouts.connect));
    let mut shaking = pin!(originator.connect_and_look(stream, &sought.name));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = shaking.as_mut().poll(cx) {
            return Poll::Ready(Ok(ended.map_err(|error| doubt::of_server(&error))));
        }
        if session.worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        if session.client.poll_peek(cx) == Poll::Ready(Peek::Broken) {
            return Poll::Ready(Err(Fault::client(Kind::ClientGone)));
        }
        ready!(session.timer.poll_expired(cx));
        Poll::Ready(Ok(Err("the server has not ended the handshake of TLS in time")))
    })
    .await;
    x.notes.connect = Some(x.notes.connect.unwrap_or_default() + began.elapsed());
    ended
}

/// What a client is shown: signed lately, or now.
async fn signed(
    worker: &Worker,
    intercept: &Arc<Intercept>,
    subject: Subject,
    server: Option<Vec<u8>>,
    name: &str,
) -> Result<leaves::Signed, Fault> {
    let (mark, now) = (intercept.authority.mark(), Instant::now());
    if let Some(known) = worker.leaves.signed(mark, &subject, now) {
        return Ok(known);
    }
    let authority = Arc::clone(&intercept.authority);
    let (is_quick, host) = (authority.is_quick(), name.to_owned());
    let sign = move || -> Result<Identity, String> {
        let now = SystemTime::now();
        match server {
            Some(server) => authority.like(&server, now),
            None => authority.named(&host, now),
        }
    };
    // With an elliptic curve it is the work of some 50 microseconds, no more than the handshake itself; with RSA it is that of milliseconds.
    let identity = if is_quick {
        sign()
    } else {
        tokio::task::spawn_blocking(sign).await.unwrap_or_else(|error| Err(error.to_string()))
    };
    match identity {
        Ok(identity) => Ok(worker.leaves.keep(mark, subject, &identity, &intercept.tls.terminator, now)),
        Err(why) => {
            observe::log::warn(format_args!("no certificate could be signed for `{name}`: {why}"));
            Err(Fault::proxy(Kind::Overload))
        }
    }
}
