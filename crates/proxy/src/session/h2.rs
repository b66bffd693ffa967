//! A connection of HTTP/2: requests side by side, each an exchange in a task of its own.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use http::Conn;
use http::h2::{Came, Driver, End, Lane};
use net::Stream;
use net::timer::Timer;
use wire::Version;
use wire::h1::{self, Reject};
use wire::h2::Limits;

use super::closing::{close, linger};
use super::http::{MOMENT, fault_of};
use super::record::{broken, taken_back};
use super::{Arrived, Common, Session, entry, masque, tunnel};
use crate::exchange::{self, After, Exchange};
use crate::reply;

/// Serves a connection until it ends. `carry` was read of it already.
pub(super) async fn serve(arrived: Arrived, stream: Stream, carry: Vec<u8>) {
    let Arrived { common, timer, counted } = arrived;
    let h1::Limits { head, line, fields } = common.listener.head;
    let limits = Limits { head, line, fields, extended_connect: true, ..Limits::default() };
    let mut trunk = Trunk {
        driver: Driver::server(stream, carry, &limits),
        begun: Instant::now(),
        idle_since: Some(Instant::now()),
        inside_since: None,
        served: false,
        announced: false,
        rested: false,
        common,
        timer,
    };
    let end = poll_fn(|cx| trunk.poll(cx)).await;
    let Trunk { driver, common, timer, .. } = trunk;
    let mut client = Conn::new(driver.into_stream());
    match end {
        End::Closed => close(&client, &timer, &common.worker).await,
        End::Left => linger(&mut client, &timer, &common.worker).await,
        End::Broken(reason) => {
            broken(&common, Version::H2, reason);
            // A close with unread bytes would be a reset, which may overtake the GOAWAY that says what was wrong.
            linger(&mut client, &timer, &common.worker).await;
        }
    }
    drop(counted);
}

/// Serves a connection that has begun as one of HTTP/1, in a task of its own: what those wait with should not grow.
pub(super) fn serve_sniffed(session: Session) {
    let Session { worker, client, origin, listener, timer, counted, tls, introduced, inside } = session;
    if let (Some((stream, carry)), Some(counted)) = (client.into_parts(), counted) {
        let common = Common { worker, origin, listener, tls, introduced, inside };
        tokio::task::spawn_local(serve(Arrived { common, timer, counted }, stream, carry));
    }
}

/// The connection, and what it knows of the time in which it has nothing to do.
struct Trunk {
    driver: Driver,
    common: Common,
    timer: Timer,
    begun: Instant,
    /// Since when it has no streams.
    idle_since: Option<Instant>,
    /// Since when a head, or a frame, is here in part.
    inside_since: Option<Instant>,
    /// A request has come on it.
    served: bool,
    /// The client was told that no more are wanted.
    announced: bool,
    /// It has given back what it had for its requests.
    rested: bool,
}

impl Trunk {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.common.worker.is_cut() {
            return Poll::Ready(End::Closed);
        }
        let now = Instant::now();
        if !self.announced && self.common.is_leaving() {
            self.announced = true;
            self.driver.announce_end();
            self.idle_since = self.idle_since.map(|_| now);
        }
        let worker = Rc::clone(&self.common.worker);
        let (common, served) = (&mut self.common, &mut self.served);
        let ended = {
            let mut block = worker.block(0);
            self.driver.poll(cx, &mut block, now, &mut |came| {
                *served = true;
                begin(common, came);
            })
        };
        if ended.is_ready() {
            return ended;
        }
        self.idle_since = if self.driver.open() == 0 { self.idle_since.or(Some(now)) } else { None };
        self.rested &= self.driver.open() == 0;
        self.inside_since = if self.driver.is_inside() { self.inside_since.or(Some(now)) } else { None };
        let Some((since, limit)) = self.limit() else {
            self.timer.disarm();
            // Not for its time, which does not end, but to be woken when the process or the listener goes.
            ready!(self.timer.poll_expired(cx));
            return Poll::Pending;
        };
        let waited = now.saturating_duration_since(since);
        if waited < limit {
            if !self.rested && waited < REST.min(limit) {
                self.timer.arm(now, REST.min(limit) - waited);
                ready!(self.timer.poll_expired(cx));
            }
            if !self.rested {
                self.driver.rest();
                self.rested = true;
            }
            // Arming it again for nothing would put the end off by a step each time.
            self.timer.arm(now, limit - waited);
            ready!(self.timer.poll_expired(cx));
        }
        // A request that is under way to us will be known to be unanswered.
        self.driver.leave();
        let mut block = worker.block(0);
        Poll::Ready(match self.driver.poll(cx, &mut block, now, &mut |_| {}) {
            Poll::Ready(end) => end,
            Poll::Pending => End::Left,
        })
    }

    /// What it waits for, and how long at most; nothing while exchanges are under way, which have times of their own.
    fn limit(&self) -> Option<(Instant, Duration)> {
        let listener = &self.common.listener;
        if let Some(since) = self.inside_since {
            return Some((since, listener.request_head));
        }
        let since = self.idle_since?;
        Some(match (self.served, self.announced) {
            (_, true) => (since, MOMENT.min(listener.keep_alive)),
            (false, _) => (self.begun, listener.request_head),
            (true, false) => (since, listener.keep_alive),
        })
    }
}

/// How long a connection keeps the memory that its requests have needed: the next may be near.
const REST: Duration = Duration::from_secs(1);

/// Begins an exchange for a request.
fn begin(common: &mut Common, came: Came<'_>) {
    common.adopt();
    let mut exchange = common.worker.exchange();
    let (lane, refused) = match came {
        Came::Request(lane, head) => {
            std::mem::swap(&mut exchange.request, head);
            (lane, None)
        }
        Came::Refused(lane, reject) => (lane, Some(reject)),
        Came::Reset(reason) => {
            common.worker.return_unused(exchange);
            return broken(common, Version::H2, reason);
        }
    };
    // In a box from the start: what is handed over whole is copied whole.
    tokio::task::spawn_local(Box::pin(stream(common.clone(), lane, exchange, refused)));
}

/// Serves one request.
async fn stream(common: Common, lane: Lane, mut exchange: Box<Exchange>, refused: Option<Reject>) {
    let worker = Rc::clone(&common.worker);
    let mut session = common.session(Conn::of_lane(lane), worker.timers.timer(), None);
    exchange.began(None);
    exchange.client.version = Version::H2;
    if session.client.is_taken_back(&mut Context::from_waker(Waker::noop())) {
        return taken_back(&session, exchange);
    }
    let after = match refused {
        None => exchange::run(&mut session, &mut exchange).await,
        Some(reject) => {
            reply::refuse(&mut session, &mut exchange, fault_of(reject), reject.reason()).await;
            After::Close
        }
    };
    match after {
        After::Tunnel(switched) => tunnel::spawn(session, exchange, *switched),
        After::Inside(entrance) => entry::enter(session, exchange, *entrance),
        After::Datagrams(flow) => masque::spawn(session, exchange, flow),
        // The stream ends with the session: what was not said to its end is reset.
        After::KeepAlive | After::Close | After::Linger => worker.recycle(exchange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl FnOnce(Common, Lane, Box<Exchange>, Option<Reject>) -> F) -> usize {
        size_of::<F>()
    }

    fn idle<F: Future>(_: impl FnOnce(Arrived, Stream, Vec<u8>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_waits_is_small() {
        assert!(idle(serve) <= 1024, "{}", idle(serve));
        // It is moved to where it lives when a request comes.
        assert!(size(stream) <= 2560, "{}", size(stream));
    }
}
