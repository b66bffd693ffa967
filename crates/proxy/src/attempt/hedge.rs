//! A hedge: the same request at another server, while the first one takes long. The first usable response is the client's,
//! and the connections of the others are closed. (Dean and Barroso, The Tail at Scale, 2013; Envoy's `hedge_policy`.)
//!
//! Only what is safe to send twice is hedged: idempotent requests without a body that ask for no other protocol. A hedge is a
//! further try: it counts against the pool's budget and its circuit breaker, and nobody waits in a queue for it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::Conn;
use net::dial::{Call, dial, is_shortage};
use net::stream::Stream;
use wire::h1::Asked;
use wire::{Framing, Head};

use super::checkout::{cause, introduction, source, unconnected};
use super::choose::{Choice, choose};
use super::lead_on::is_led_on;
use super::overtaken::overtaken;
use super::retry::{afford, meet};
use super::send::{
    FIRST_READ, MOST_INTERIM, RESPONSE_HEAD, is_client_gone, is_interim, note_answer, note_silence, of_server, set_host,
};
use super::{Busy, GONE, Upstream, bad_response, is_over, unwanted, within_try};
use crate::exchange::Exchange;
use crate::finish;
use crate::pool::trunks::{Failed, Joined, Joining};
use crate::pool::{Entry, Lease, Server, Suited, trunks};
use crate::relay::Pump;
use crate::session::Session;
use crate::snapshot::{Arm, Hedge, Route};
use crate::sticky;

/// The hedging that applies to this request, if any does.
pub(super) fn applies<'a>(x: &Exchange, arm: &'a Arm) -> Option<&'a Hedge> {
    let hedge = arm.retries.hedge.as_ref()?;
    let is_safe = x.request.method().is_idempotent() && x.request.framing() == Framing::None && !x.facts.websocket;
    is_safe.then_some(hedge)
}

/// The same request at another server.
struct Leg {
    /// The server's number in its pool.
    number: usize,
    server: Arc<Server>,
    stage: Stage,
    began: Instant,
    /// The head on its way to the server.
    pump: Pump,
    interim: u32,
    /// Its place among the further tries of a pool that limits them.
    _entry: Option<Entry>,
}

enum Stage {
    /// A connection is being made.
    Connecting(Dialling, Busy),
    /// One that is shared is being made.
    Joining(Joining, Busy),
    /// The request is to be written.
    Connected(Upstream),
    /// It was, and the response's head is due.
    Waiting(Upstream),
    /// It has failed or won.
    Over,
}

type Dialling = Pin<Box<dyn Future<Output = io::Result<Stream>>>>;

/// What became of the server that was asked first.
enum First {
    Waiting,
    Failed(Fault),
    /// With a status that the configuration would rather not have, after so long.
    Answered(Box<Head>, Duration),
}

/// Asks others, too, and waits for the first usable head. The request's response and its server are those of the winner; if
/// there is none, those of the server that was asked first.
pub(super) async fn race(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    hedge: &Hedge,
    upstream: &mut Upstream,
    tried: &mut Vec<usize>,
) -> Result<(), Fault> {
    tried.extend(upstream.server().map(|server| server.slot));
    let began = Instant::now();
    let deadline = began + within_try(x, route, began, arm.timeouts.response.saturating_sub(hedge.after));
    let mut due = Some(began);
    let mut left = hedge.extra;
    let (mut first, mut legs) = (First::Waiting, Vec::new());
    let asked = if x.client.head_only { Asked::Head } else { Asked::Other };
    let mut interim = 0;
    let asked_first = upstream.server().map(Arc::clone);
    let ended = poll_fn(|cx| {
        loop {
            let now = Instant::now();
            if due.is_some_and(|due| due <= now) {
                left -= 1;
                due = (left > 0).then_some(now + hedge.after);
                legs.extend(begin(session, x, arm, tried));
                let next = due.map_or(deadline, |due| due.min(deadline));
                session.timer.arm(now, next.saturating_duration_since(now));
            }
            if matches!(first, First::Waiting)
                && let Poll::Ready(head) = poll_head(cx, session, x, upstream, asked, &mut interim)
            {
                first = match head {
                    Ok(()) if legs.is_empty() || !is_unwanted(x, arm) => {
                        note_answer(x, arm, now, hedge.after + (now - began));
                        return Poll::Ready(Ok(()));
                    }
                    Ok(()) => First::Answered(Box::new(std::mem::take(&mut x.response)), hedge.after + (now - began)),
                    Err(fault) => First::Failed(fault),
                };
            }
            let mut number = 0;
            while let Some(leg) = legs.get_mut(number) {
                match leg.poll(cx, session, x, arm, asked) {
                    Poll::Pending => number += 1,
                    Poll::Ready(Some(winner)) => {
                        let leg = legs.swap_remove(number);
                        let loser = std::mem::replace(upstream, winner);
                        match std::mem::replace(&mut first, First::Waiting) {
                            First::Waiting => overtaken(session, route, arm, loser, asked, hedge.after + (now - began)),
                            First::Failed(fault) => lose(session, x, &loser, Err(fault)),
                            First::Answered(head, took) => lose(session, x, &loser, Ok((&head, took))),
                        }
                        win(x, arm, &leg);
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(None) => drop(legs.swap_remove(number)),
                }
            }
            if legs.is_empty() {
                match std::mem::replace(&mut first, First::Waiting) {
                    First::Waiting => {}
                    First::Failed(fault) => return Poll::Ready(Err(fault)),
                    First::Answered(head, took) => {
                        x.response = *head;
                        x.notes.response = Some(took);
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            if session.worker.is_cut() {
                return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
            }
            if is_client_gone(session, cx) {
                return Poll::Ready(Err(GONE));
            }
            if session.timer.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if now >= deadline {
                note_silence(x, arm, now, hedge.after + (now - began));
                return Poll::Ready(Err(if is_over(x, route) {
                    Fault::proxy(Kind::TotalTimeout)
                } else {
                    Fault::server(Kind::ResponseTimeout, Retry::Idempotent)
                }));
            }
        }
    })
    .await;
    // Whoever has lost has taken at least so long.
    if ended.is_ok() {
        for leg in legs.iter().filter(|leg| leg.has_waited(hedge.after)) {
            finish::overtaken(&session.worker, &leg.server, leg.began.elapsed());
        }
    }
    if let Some(server) = asked_first.filter(|server| ended != Err(GONE) && server.is_latency_followed()) {
        server.answered(hedge.after + began.elapsed(), Instant::now());
    }
    ended
}

/// Asks one more server, if there is one that may be asked at once.
fn begin(session: &Session, x: &mut Exchange, arm: &Arm, tried: &mut Vec<usize>) -> Option<Leg> {
    let pool = &arm.pool;
    let is_other = |server: &Server| !tried.contains(&server.slot);
    if (pool.limited && pool.gate.waiting() > 0)
        || !pool.servers.iter().any(|server| server.is_usable() && is_other(server))
    {
        return None;
    }
    // What its server knows of a client that stays with it, another does not.
    if sticky::own(x, pool).is_some() {
        return None;
    }
    let (mut entry, now) = (None, Instant::now());
    if let Err(limit) = afford(arm, &mut entry, now) {
        meet(x, arm, limit);
        return None;
    }
    let wish = arm.roster().wish(|| x.facts.view(&x.request));
    let (number, server, stage) = match choose(&session.worker, arm, wish, None, tried, Suited::Any) {
        Choice::Idle(number, parked) => {
            let server = Arc::clone(parked.lease.server());
            if !is_other(&server) {
                // It has become the only one that is left, just now.
                session.worker.idle.park(parked.conn, parked.lease, now, pool.pooled);
                return unsent(arm, now);
            }
            if pool.is_personal() {
                // Of one that was opened ahead the right alone is of use: what is said first takes a wait.
                (number, server, connecting(session, x, arm, parked.lease))
            } else {
                let upstream = Upstream::new(parked.conn, Busy::begin(parked.lease), true);
                (number, server, Stage::Connected(upstream))
            }
        }
        Choice::Lane(number, conn) if is_other(&pool.servers[number]) => {
            let server = Arc::clone(&pool.servers[number]);
            let upstream = Upstream::new(conn, Busy::share(&server, pool), true);
            (number, server, Stage::Connected(upstream))
        }
        Choice::Opening(number) if is_other(&pool.servers[number]) => {
            let server = Arc::clone(&pool.servers[number]);
            let joining = session.worker.trunks.join(&server);
            (number, Arc::clone(&server), Stage::Joining(joining, Busy::share(&server, pool)))
        }
        Choice::Lease(number, lease) if is_other(lease.server()) => {
            let server = Arc::clone(lease.server());
            let stage = if let Some(protocol) = pool.shared {
                trunks::open(&session.worker, pool, protocol, lease);
                Stage::Joining(session.worker.trunks.join(&server), Busy::share(&server, pool))
            } else {
                connecting(session, x, arm, lease)
            };
            (number, server, stage)
        }
        Choice::Lease(..) | Choice::Lane(..) | Choice::Opening(_) | Choice::None | Choice::Saturated => {
            return unsent(arm, now);
        }
    };
    tried.push(server.slot);
    x.notes.tries = x.notes.tries.saturating_add(1);
    x.notes.hedges += 1;
    pool.gate.hedges.sent();
    let pump = Pump::default();
    Some(Leg { number, server, stage, began: now, pump, interim: 0, _entry: entry })
}

/// A connection of the hedge's own.
fn connecting(session: &Session, x: &Exchange, arm: &Arm, lease: Lease) -> Stage {
    let to = Arc::clone(lease.server());
    let said = introduction(session, x, arm).unwrap_or_default();
    let source = source(x, arm, &to);
    let dialling = Box::pin(async move {
        let call = Call { prologue: &said, security: to.security(), source, greeted: None, hello: &[] };
        dial(&to.id.address, &call).await.map(|dialled| dialled.stream)
    });
    Stage::Connecting(dialling, Busy::begin(lease))
}

/// There is nobody to ask after all: the budget keeps what the hedge would have cost.
fn unsent(arm: &Arm, counted: Instant) -> Option<Leg> {
    if arm.retries.budget.is_some() {
        arm.pool.gate.budget.give_back(counted);
    }
    None
}

/// Counts what the server that was asked first gave for an answer, which nobody wants.
fn lose(session: &Session, x: &mut Exchange, loser: &Upstream, answer: Result<(&Head, Duration), Fault>) {
    let won = std::mem::take(&mut x.response);
    if let Ok((head, took)) = answer {
        x.response.start_response(head.status());
        x.notes.response = Some(took);
    }
    finish::attempt(&session.worker, x, loser, answer.err());
    x.response = won;
}

/// Notes that another server than the first has answered first.
fn win(x: &mut Exchange, arm: &Arm, leg: &Leg) {
    if leg.server.is_latency_followed() {
        leg.server.answered(leg.began.elapsed(), Instant::now());
    }
    x.notes.server = Some(leg.number);
    note_answer(x, arm, Instant::now(), leg.began.elapsed());
    arm.pool.gate.hedges.won();
}

impl Leg {
    /// Whether its server has had the request for so long.
    fn has_waited(&self, time: Duration) -> bool {
        matches!(self.stage, Stage::Waiting(_)) && self.began.elapsed() >= time
    }

    /// Ready with its connection when a usable head is here; ready with nothing when it has failed, which is recorded.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut Session,
        x: &mut Exchange,
        arm: &Arm,
        asked: Asked,
    ) -> Poll<Option<Upstream>> {
        loop {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Connecting(mut dialling, busy) => match dialling.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.stage = Stage::Connecting(dialling, busy);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(stream)) => {
                        self.server.connect_succeeded();
                        Stage::Connected(Upstream::new(Conn::new(stream), busy, false))
                    }
                    Poll::Ready(Err(error)) => {
                        if !is_shortage(&error) {
                            self.server.connect_failed(cause(&error));
                            let first = x.notes.server.replace(self.number);
                            finish::unconnected(&session.worker, x, arm, unconnected(&self.server, &error));
                            x.notes.server = first;
                        }
                        return Poll::Ready(None);
                    }
                },
                Stage::Joining(joining, busy) => match session.worker.trunks.poll_joined(&joining, cx) {
                    Poll::Pending => {
                        self.stage = Stage::Joining(joining, busy);
                        return Poll::Pending;
                    }
                    Poll::Ready(Joined::Lane(conn)) => Stage::Connected(Upstream::new(conn, busy, false)),
                    Poll::Ready(Joined::Failed(Failed { fault, .. })) => {
                        let first = x.notes.server.replace(self.number);
                        finish::unconnected(&session.worker, x, arm, fault);
                        x.notes.server = first;
                        return Poll::Ready(None);
                    }
                    // Nobody waits in a queue for a hedge.
                    Poll::Ready(Joined::Again) => return Poll::Ready(None),
                },
                Stage::Connected(mut upstream) => {
                    set_host(&arm.pool.host, &self.server, &mut x.request);
                    let mut out = session.worker.out();
                    let is_led_on = is_led_on(x, arm);
                    arm.pool.write_request(&mut upstream.conn, &x.request, is_led_on, &mut out);
                    // What could not be written shows when the answer is read.
                    let _ = self.pump.begin_with_content(cx, &mut upstream.conn, Framing::None, &mut out, &[]);
                    Stage::Waiting(upstream)
                }
                Stage::Waiting(mut upstream) => {
                    if !self.pump.is_done() {
                        let _ = self.pump.poll(cx, &session.worker, &mut session.client, &mut upstream.conn);
                    }
                    let fault = match poll_head(cx, session, x, &mut upstream, asked, &mut self.interim) {
                        Poll::Pending => {
                            self.stage = Stage::Waiting(upstream);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(())) if !is_unwanted(x, arm) => {
                            x.notes.reused = upstream.reused;
                            return Poll::Ready(Some(upstream));
                        }
                        Poll::Ready(Ok(())) => None,
                        Poll::Ready(Err(fault)) => Some(fault),
                    };
                    finish::attempt(&session.worker, x, &upstream, fault);
                    return Poll::Ready(None);
                }
                Stage::Over => return Poll::Ready(None),
            };
        }
    }
}

/// Reads until the head of the final response is here. While several servers are asked, nobody is told of interim ones.
fn poll_head(
    cx: &mut Context<'_>,
    session: &Session,
    x: &mut Exchange,
    upstream: &mut Upstream,
    asked: Asked,
    interim: &mut u32,
) -> Poll<Result<(), Fault>> {
    loop {
        let mut block = session.worker.block(RESPONSE_HEAD.head + FIRST_READ);
        let read = upstream.conn.poll_response(cx, &mut block, FIRST_READ, asked, &RESPONSE_HEAD, &mut x.response);
        let range = match std::task::ready!(read) {
            Ok(range) => range,
            Err(error) => return Poll::Ready(Err(of_server(x, error))),
        };
        if !is_interim(&x.response) {
            upstream.surplus = Some((block, range));
            return Poll::Ready(Ok(()));
        }
        *interim += 1;
        if *interim > MOST_INTERIM {
            return Poll::Ready(Err(bad_response(x, "too many interim responses")));
        }
        upstream.conn.keep(&block[range]);
    }
}

fn is_unwanted(x: &Exchange, arm: &Arm) -> bool {
    unwanted(x, arm).is_some()
}
