//! The wait for a server, in the queue of a pool with limits.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use base::{Fault, Kind};
use http::Conn;
use net::stream::Peek;

use super::checkout::{connect, join, reuse};
use super::choose::{Choice, accepts, awaited, choose_for};
use super::lead_on::is_led_on;
use super::{Busy, GONE, Upstream, begin_try, bounded, expired};
use crate::balance::Wish;
use crate::exchange::Exchange;
use crate::pool::{Grant, Lease, Place, Pool, Server, Waiting};
use crate::session::Session;
use crate::snapshot::{Arm, Route};
use crate::worker::{Command, Worker};

/// Waits for a server below its limit, in the order of priority and arrival across all workers.
pub(super) async fn queue(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    wish: Wish,
    own: Option<usize>,
    tried: &[usize],
) -> Result<Option<Upstream>, Fault> {
    let pool = &arm.pool;
    let began = Instant::now();
    let patience = bounded(x, route, arm.timeouts.queue);
    // Whoever has to queue again keeps its place.
    let place = Place::new(began, route.priority, patience);
    let result = loop {
        let wanted = awaited(&session.worker, arm, wish, own, tried);
        if wanted.is_empty() {
            break Err(Fault::proxy(Kind::NoServer));
        }
        let Some(waiting) = pool.gate.queue(wanted.clone().into(), place) else {
            break Err(Fault::proxy(Kind::QueueFull));
        };
        match look(&session.worker, x, arm, wish, own, tried, &waiting) {
            Choice::None => break Err(Fault::proxy(Kind::NoServer)),
            Choice::Idle(_, parked) => break Ok(Got::Idle(parked.lease, parked.conn)),
            Choice::Lease(_, lease) => break Ok(Got::Lease(lease)),
            Choice::Lane(number, conn) => break Ok(Got::Lane(number, conn)),
            // Whoever waits for it stands beside the queue: it is not known yet for how many it has room.
            Choice::Opening(number) => break Ok(Got::Opening(number)),
            Choice::Saturated => ask_for_idle(&session.worker, pool, &wanted),
        }
        session.timer.arm(began, patience);
        let granted = poll_fn(|cx| {
            if let Poll::Ready(grant) = waiting.poll(cx) {
                return Poll::Ready(Ok(grant));
            }
            if session.worker.is_cut() {
                return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
            }
            // Whoever hangs up in a queue has left it, even if only half of the connection is closed.
            let left = session.client.poll_peek(cx);
            // A flow whose client has said all may still be answered.
            if left == Poll::Ready(Peek::Broken) || (left == Poll::Ready(Peek::End) && !x.client.is_flow) {
                return Poll::Ready(Err(GONE));
            }
            session.timer.poll_expired(cx).map(|()| Err(expired(x, route, Fault::proxy(Kind::QueueTimeout))))
        })
        .await;
        drop(waiting);
        // A server that is out since we queued is left to whoever still wants it.
        let is_welcome = |lease: &Lease| accepts(arm, own, tried, lease.server());
        match granted {
            Ok(Grant::Lease(lease)) if is_welcome(&lease) => break Ok(Got::Lease(lease)),
            Ok(Grant::Connection(detached, lease)) if is_welcome(&lease) => {
                let attached = detached.attach().map_err(|_| Fault::proxy(Kind::Overload));
                break attached.map(|stream| Got::Idle(lease, Conn::new(stream)));
            }
            Ok(Grant::Again | Grant::Lease(_) | Grant::Connection(..)) => {}
            Ok(Grant::Displaced) => break Err(Fault::proxy(Kind::QueueFull)),
            Err(fault) => break Err(fault),
        }
    };
    begin_try(x, arm);
    x.notes.queue = Some(x.notes.queue.unwrap_or_default() + began.elapsed());
    let number_of = |lease: &Lease| pool.servers.iter().position(|server| server.slot == lease.server().slot);
    match result? {
        Got::Idle(lease, conn) if x.is_tunnel() || is_led_on(x, arm) => {
            // It was somebody's before, or leads nowhere yet: the right alone is of use.
            drop(conn);
            x.notes.server = number_of(&lease);
            connect(session, x, route, arm, lease, tried).await
        }
        Got::Idle(lease, conn) => {
            x.notes.server = number_of(&lease);
            reuse(session, x, route, arm, conn, lease).await
        }
        Got::Lease(lease) => {
            x.notes.server = number_of(&lease);
            connect(session, x, route, arm, lease, tried).await
        }
        Got::Lane(number, conn) => {
            x.notes.server = Some(number);
            Ok(Some(Upstream::new(conn, Busy::share(&pool.servers[number], pool), true)))
        }
        Got::Opening(number) => {
            x.notes.server = Some(number);
            join(session, x, route, arm, Arc::clone(&pool.servers[number])).await
        }
    }
}

/// What the wait has brought.
enum Got {
    Idle(Lease, Conn),
    Lease(Lease),
    Lane(usize, Conn),
    Opening(usize),
}

/// Looks for something free, now that we stand in the queue: what became free before went unseen by whoever freed it. What
/// somebody waits for who goes first is handed on.
fn look(
    worker: &Worker,
    x: &Exchange,
    arm: &Arm,
    wish: Wish,
    own: Option<usize>,
    tried: &[usize],
    waiting: &Waiting,
) -> Choice {
    while !waiting.is_served() {
        match choose_for(worker, x, arm, wish, own, tried) {
            Choice::Idle(_, parked) if !waiting.is_first_for(parked.lease.server()) => {
                worker.hand_on(parked, &arm.pool.gate);
            }
            Choice::Lease(_, lease) if !waiting.is_first_for(lease.server()) => {
                drop(arm.pool.gate.give(Grant::Lease(lease)));
            }
            choice => return choice,
        }
    }
    Choice::Saturated
}

/// Asks all workers for idle connections: to one of these servers, or to any where it is the pool that has no room.
fn ask_for_idle(worker: &Worker, pool: &Arc<Pool>, wanted: &[Arc<Server>]) {
    let is_idle = |server: &Arc<Server>| server.idle() > 0;
    if wanted.iter().any(is_idle) || (!pool.gate.has_room() && pool.servers.iter().any(is_idle)) {
        worker.fleet.tell_all(|_| Command::Relinquish(Arc::clone(pool)));
    }
}
