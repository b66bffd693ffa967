//! An HTTP/1 connection: request after request until one side has had enough.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind};
use http::{Arrival, ReadError};
use wire::h1::Reject;

use super::closing::{close, linger};
use super::{Session, entry, h2, masque, socks, tunnel};
use crate::exchange::{self, After, Exchange};
use crate::reply;

/// Serves a connection that has begun otherwise, in a task of its own: what that has needed should not stay with it.
pub(super) fn spawn(session: Session) {
    tokio::task::spawn_local(serve(session));
}

/// Serves a connection until it ends. A connection that waits for a request holds no buffer and no exchange.
pub(crate) async fn serve(mut session: Session) {
    let mut waiting = Waiting { since: Instant::now(), fresh: true, begun: false };
    loop {
        let (mut exchange, arrived) = poll_fn(|cx| poll_request(&mut session, &mut waiting, cx)).await;
        let after = match arrived {
            Request::Arrived => Box::pin(exchange::run(&mut session, &mut exchange)).await,
            Request::Refused(fault, reason) => {
                Box::pin(reply::refuse(&mut session, &mut exchange, fault, reason)).await;
                After::Linger
            }
            Request::Nothing => After::Close,
            Request::Preface => {
                session.worker.return_unused(exchange);
                return h2::serve_sniffed(session);
            }
            Request::Socks => {
                session.worker.return_unused(exchange);
                return socks::spawn(session);
            }
        };
        let after = match after {
            After::Tunnel(switched) => return tunnel::spawn(session, exchange, *switched),
            After::Inside(entrance) => return entry::enter(session, exchange, *entrance),
            After::Datagrams(flow) => return masque::spawn(session, exchange, flow),
            after => after,
        };
        let now = exchange.ended_at();
        session.worker.recycle(exchange);
        match after {
            After::KeepAlive => waiting = Waiting { since: now, fresh: false, begun: false },
            After::Linger => {
                let Session { client, timer, worker, .. } = &mut session;
                return Box::pin(linger(client, timer, worker)).await;
            }
            After::Close | After::Tunnel(_) | After::Datagrams(_) | After::Inside(_) => {
                return close(&session.client, &session.timer, &session.worker).await;
            }
        }
    }
}

/// What a connection that waits for a request knows.
struct Waiting {
    /// When the wait began; once the request has begun, when that was.
    since: Instant,
    /// No request has come on this connection yet.
    fresh: bool,
    /// Some of the request has come.
    begun: bool,
}

enum Request {
    Arrived,
    Refused(Fault, &'static str),
    /// HTTP/2 begins here.
    Preface,
    /// SOCKS begins here.
    Socks,
    Nothing,
}

fn poll_request(session: &mut Session, waiting: &mut Waiting, cx: &mut Context<'_>) -> Poll<(Box<Exchange>, Request)> {
    let worker = Rc::clone(&session.worker);
    let mut exchange = worker.exchange();
    let polled = {
        let mut block = worker.block(session.listener.head.head + READ_AHEAD);
        session.client.poll_request(cx, &mut block, &session.listener.head, &mut exchange.request)
    };
    let request = match polled {
        Poll::Ready(Ok(Arrival::Head)) if !session.listener.versions.h1 && session.inside.is_none() => {
            Request::Refused(Fault::client(Kind::Version), "HTTP/1 is not spoken here")
        }
        Poll::Ready(Ok(Arrival::Head)) => {
            exchange.began(waiting.begun.then_some(waiting.since));
            Request::Arrived
        }
        Poll::Ready(Ok(Arrival::Closed)) => Request::Nothing,
        Poll::Ready(Ok(Arrival::Preface)) => Request::Preface,
        Poll::Ready(Ok(Arrival::Socks)) => Request::Socks,
        // What ends inside a head cannot be answered: whoever sent it is gone.
        Poll::Ready(Err(ReadError::Ended | ReadError::Io(_) | ReadError::Refused)) => Request::Nothing,
        Poll::Ready(Err(ReadError::Reject(reject))) => Request::Refused(fault_of(reject), reject.reason()),
        Poll::Pending => match ready_to_stop(session, waiting, cx) {
            Poll::Ready(request) => request,
            Poll::Pending => {
                worker.return_unused(exchange);
                return Poll::Pending;
            }
        },
    };
    Poll::Ready((exchange, request))
}

/// Bytes of a body that may come with a head of the largest size.
const READ_AHEAD: usize = 4096;

/// Whether waiting any longer makes sense.
fn ready_to_stop(session: &mut Session, waiting: &mut Waiting, cx: &Context<'_>) -> Poll<Request> {
    let begun = session.client.has_carry();
    let now = Instant::now();
    if begun && !waiting.begun {
        waiting.begun = true;
        waiting.since = if waiting.fresh { waiting.since } else { now };
    }
    if session.worker.is_cut() {
        return Poll::Ready(Request::Nothing);
    }
    let limit = match () {
        () if begun => session.listener.request_head,
        () if session.is_leaving() => MOMENT.min(session.listener.keep_alive),
        () if waiting.fresh => session.listener.request_head,
        () => session.listener.keep_alive,
    };
    let waited = now.saturating_duration_since(waiting.since);
    // Arming it again for nothing would put the end off by a step each time.
    if waited < limit {
        session.timer.arm(now, limit - waited);
        ready!(session.timer.poll_expired(cx));
    }
    Poll::Ready(if begun {
        Request::Refused(Fault::client(Kind::HeadTimeout), "the head did not arrive in time")
    } else {
        Request::Nothing
    })
}

/// How long a connection that is leaving may be idle: one that is in use gets a response with `Connection: close` before
/// that, so that no request is lost.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

/// What the reader refused, as a fault.
pub(super) fn fault_of(reject: Reject) -> Fault {
    Fault::client(match reject {
        Reject::Malformed(_) => Kind::Malformed,
        Reject::LineTooLong => Kind::LineTooLong,
        Reject::HeadTooLarge => Kind::HeadTooLarge,
        Reject::TooManyFields => Kind::TooManyFields,
        Reject::UnknownCoding => Kind::Unsupported,
        Reject::Version => Kind::Version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl FnOnce(Session) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        // What a request needs lives in a box that exists only while the request does.
        assert!(size(serve) <= 512, "{}", size(serve));
    }
}
