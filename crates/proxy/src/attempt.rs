//! Pick, check out, send, first byte: the only room for retries.
//!
//! A request is tried again only if that is safe: nothing was sent, or the method is idempotent and everything sent can
//! be sent again; and never once a byte of a response head went to the client.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::Conn;
use net::datagram::Peer;
use wire::grpc::Code;

use crate::exchange::Exchange;
use crate::finish::{self, Kept};
use crate::pool::{Counted, Gate, Lease, Pool, Server};
use crate::quota;
use crate::relay::{Coalesce, Stop};
use crate::session::Session;
use crate::snapshot::{Arm, Route};
use crate::sticky;
use crate::worker::Block;

mod backoff;
mod checkout;
mod choose;
mod correspond;
mod deliver;
mod discard;
mod hedge;
mod hold;
mod lead_on;
mod overtaken;
mod prefix;
mod queue;
mod race;
mod refuse;
mod reshape;
mod retry;
mod send;
mod switch;

pub(crate) use deliver::deliver;
pub(crate) use discard::discard;
pub(crate) use lead_on::is_led_on;
pub(crate) use prefix::read_prefix;
pub(crate) use switch::{open, open_datagrams, tunnel, welcome};

use checkout::checkout;
pub(crate) use checkout::{LATE, cause, unconnected, wrong_with};
pub(crate) use correspond::{Correspondent, REFUSED, correspond, may_try_another};
use prefix::prefetch_what_is_here;
pub(crate) use retry::again;
use retry::{Next, count, is_idle, may_repeat, next};
use send::{Sent, send, set_host};

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
    /// When it ends whatever is said.
    pub(crate) until: Option<Instant>,
    /// It was one from its first byte: large amounts go through pipes, and what breaks one side breaks the other.
    pub(crate) raw: bool,
    /// Which small pieces wait for others on the way to the server.
    pub(crate) coalesce: Option<Coalesce>,
    /// Under which names it is recorded.
    pub(crate) account: Kept,
}

/// A flow of UDP whose client speaks it inside of HTTP.
pub(crate) struct Datagrams {
    /// Its server.
    pub(crate) by: Correspondent<Peer>,
    /// How long it may be silent.
    pub(crate) idle: Duration,
    /// When it ends whatever is said.
    pub(crate) until: Option<Instant>,
    /// Under which names it is recorded.
    pub(crate) account: Kept,
}

/// A right to a connection, or to a part of one, whose server counts a request in flight for as long as this lives.
struct Busy(Option<(Hold, Counted)>);

enum Hold {
    /// The connection is all ours.
    Line(Lease),
    /// It is shared: its pool's gate is told when our part is free, if others may wait for one.
    Lane(Arc<Server>, Option<Arc<Gate>>),
}

/// Sends the request and waits for the head of its response, trying again where that is safe.
pub(crate) async fn attempt(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
) -> Result<Upstream, Fault> {
    count(x, arm)?;
    let ended = tries(session, x, route, arm).await;
    // What follows is at the pace of the client, who must not take a place that servers could fill.
    x.permit = None;
    ended
}

/// Connects a flow to a server, to another one where that fails.
pub(crate) async fn connect(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
) -> Result<Upstream, Fault> {
    count(x, arm)?;
    let (mut retrying, mut tried) = (None, Vec::new());
    loop {
        x.notes.tries = x.notes.tries.saturating_add(1);
        let fault = match checkout(session, x, route, arm, &tried, false).await {
            Ok(upstream) => {
                x.notes.reused = upstream.reused;
                x.permit = None;
                sticky::tell(x, &arm.pool);
                return Ok(upstream);
            }
            Err(fault) => fault,
        };
        finish::unconnected(&session.worker, x, arm, fault);
        x.notes.tries -= u8::from(is_idle(fault));
        let Next::Try(wait) = next(session, x, route, arm, fault, &mut retrying) else { return Err(fault) };
        (x.notes.reason, x.notes.cause) = ("", Cow::Borrowed(""));
        tried.extend(x.notes.server.and_then(|number| arm.pool.servers.get(number)).map(|server| server.slot));
        if !wait.is_zero() {
            backoff::pause(session, x, route, wait).await?;
        }
    }
}

/// One try after the other.
async fn tries(session: &mut Session, x: &mut Exchange, route: &Route, arm: &Arm) -> Result<Upstream, Fault> {
    prefetch_what_is_here(session, x)?;
    let mut retrying = None;
    let mut tried = Vec::new();
    let mut stale = false;
    loop {
        x.notes.tries = x.notes.tries.saturating_add(1);
        let (fault, answer) = match checkout(session, x, route, arm, &tried, stale).await {
            Err(fault) => {
                finish::unconnected(&session.worker, x, arm, fault);
                x.notes.tries -= u8::from(is_idle(fault));
                (fault, None)
            }
            Ok(mut upstream) => {
                x.notes.reused = upstream.reused;
                if let Some(server) = upstream.server() {
                    set_host(&arm.pool.host, server, &mut x.request);
                }
                let hedge = hedge::applies(x, arm);
                let sent = match (send(session, x, route, arm, &mut upstream, hedge).await, hedge) {
                    (Ok(Sent::Late), Some(hedge)) => {
                        hedge::race(session, x, route, arm, hedge, &mut upstream, &mut tried).await
                    }
                    (sent, _) => sent.map(|_| ()),
                };
                match sent {
                    Ok(()) if lead_on::is_refused(x, arm, &upstream) => {
                        let fault = Fault::proxy(Kind::ParentRefused);
                        finish::attempt(&session.worker, x, &upstream, Some(fault));
                        (fault, None)
                    }
                    Ok(()) => match unwanted(x, arm) {
                        None => return Ok(upstream),
                        Some(retry) => (Fault::server(Kind::BadStatus, retry), Some(upstream)),
                    },
                    // The server closed an idle connection while the request was on its way: that is nobody's fault, and
                    // not a retry in the sense of the configuration.
                    Err(fault) if upstream.reused && !stale && fault.kind == Kind::Reset && may_repeat(x, fault) => {
                        stale = true;
                        x.notes.tries -= 1;
                        finish::attempt(&session.worker, x, &upstream, Some(fault));
                        again(x);
                        continue;
                    }
                    Err(fault) => {
                        finish::attempt(&session.worker, x, &upstream, Some(fault));
                        (fault, None)
                    }
                }
            }
        };
        let wait = match next(session, x, route, arm, fault, &mut retrying) {
            Next::Try(wait) => wait,
            // A response that the configuration would rather not have is better than none.
            Next::Stop => return answer.ok_or(fault),
        };
        if let Some(upstream) = answer {
            x.notes.call = x.facts.call.and_then(|_| Code::said(&x.response));
            finish::attempt(&session.worker, x, &upstream, None);
        }
        tried.extend(x.notes.server.and_then(|number| arm.pool.servers.get(number)).map(|server| server.slot));
        stale = false;
        again(x);
        if !wait.is_zero() {
            backoff::pause(session, x, route, wait).await?;
        }
    }
}

/// Whether the configuration would rather have another answer than this, and what it takes for that to be safe. Every call of gRPC
/// is a POST: whoever names how calls end says that those may be made again.
fn unwanted(x: &Exchange, arm: &Arm) -> Option<Retry> {
    if arm.retries.statuses.contains(&x.response.status()) {
        return Some(Retry::Idempotent);
    }
    if arm.retries.codes.is_empty() || x.facts.call.is_none() {
        return None;
    }
    Code::said(&x.response).filter(|code| arm.retries.codes.contains(code)).map(|_| Retry::Always)
}

/// What is left of the request's whole time, if that is limited.
fn time_left(x: &Exchange, route: &Route) -> Option<Duration> {
    total(x, route).map(|total| total.saturating_sub(x.notes.began.elapsed()))
}

/// A gap, unless the request's whole time ends earlier.
pub(crate) fn bounded(x: &Exchange, route: &Route, gap: Duration) -> Duration {
    time_left(x, route).map_or(gap, |left| gap.min(left))
}

/// A gap that begins now, unless the time of the try or of the request ends earlier.
fn within_try(x: &Exchange, route: &Route, now: Instant, gap: Duration) -> Duration {
    let gap = match x.notes.until {
        None => gap,
        Some(until) => gap.min(until.saturating_duration_since(now)),
    };
    bounded(x, route, gap)
}

/// The time of a try runs from here.
fn begin_try(x: &mut Exchange, arm: &Arm) {
    x.notes.until = arm.timeouts.per_try.map(|most| Instant::now() + most);
}

/// What a wait that was [`bounded`] has ended with: this, unless it was the request's whole time that ended.
pub(crate) fn expired(x: &Exchange, route: &Route, fault: Fault) -> Fault {
    if is_over(x, route) { Fault::proxy(Kind::TotalTimeout) } else { fault }
}

fn is_over(x: &Exchange, route: &Route) -> bool {
    total(x, route).is_some_and(|total| x.notes.began.elapsed() >= total)
}

/// The whole time of the request: what the route gives it, or the call itself if that is less.
fn total(x: &Exchange, route: &Route) -> Option<Duration> {
    match (route.total, x.facts.timeout) {
        (Some(ours), Some(its)) => Some(ours.min(its)),
        (ours, its) => ours.or(its),
    }
}

fn of_client(x: &mut Exchange, stop: Stop) -> Fault {
    // What has come behind the body may be lost with it: nobody can tell where another request would begin.
    x.client.keep_alive = false;
    match stop {
        Stop::Source(Kind::Malformed) => {
            x.notes.reason = "broken chunked coding";
            Fault::client(Kind::Malformed)
        }
        Stop::Source(_) | Stop::Sink => GONE,
        Stop::TooLarge => Fault::client(Kind::BodyTooLarge),
        Stop::Spent => quota::spent(x),
        Stop::Spoiled(Kind::Malformed) => {
            x.notes.reason = "broken base64";
            Fault::client(Kind::Malformed)
        }
        Stop::Spoiled(_) => Fault::proxy(Kind::Overload),
    }
}

fn bad_response(x: &mut Exchange, reason: &'static str) -> Fault {
    x.notes.reason = reason;
    Fault::server(Kind::BadResponse, Retry::Idempotent)
}

const GONE: Fault = Fault::client(Kind::ClientGone);

impl Upstream {
    fn new(conn: Conn, busy: Busy, reused: bool) -> Upstream {
        Upstream { conn, busy, reused, surplus: None }
    }

    /// The server.
    pub(crate) fn server(&self) -> Option<&Arc<Server>> {
        self.busy.server()
    }

    /// The connection and the right to it, once the request is done.
    pub(crate) fn into_parts(mut self) -> Option<(Conn, Lease)> {
        match self.busy.finish()? {
            Hold::Line(lease) => Some((self.conn, lease)),
            hold @ Hold::Lane(..) => {
                drop(self.conn);
                hold.release();
                None
            }
        }
    }
}

impl Busy {
    fn begin(lease: Lease) -> Busy {
        let counted = lease.server().request_began();
        Busy(Some((Hold::Line(lease), counted)))
    }

    /// A part of a connection to this server.
    fn share(server: &Arc<Server>, pool: &Pool) -> Busy {
        let counted = server.request_began();
        let gate = pool.limited.then(|| Arc::clone(&pool.gate));
        Busy(Some((Hold::Lane(Arc::clone(server), gate), counted)))
    }

    fn server(&self) -> Option<&Arc<Server>> {
        self.0.as_ref().map(|(hold, _)| hold.server())
    }

    fn finish(&mut self) -> Option<Hold> {
        let (hold, counted) = self.0.take()?;
        hold.server().request_ended(counted);
        Some(hold)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.finish().into_iter().for_each(Hold::release);
    }
}

impl Hold {
    fn server(&self) -> &Arc<Server> {
        match self {
            Hold::Line(lease) => lease.server(),
            Hold::Lane(server, _) => server,
        }
    }

    fn release(self) {
        if let Hold::Lane(_, Some(gate)) = self
            && gate.waiting() > 0
        {
            gate.stir();
        }
    }
}
