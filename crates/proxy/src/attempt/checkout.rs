//! A connection to a server: which server, an idle one or a new one, and the wait for one where there is a limit.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::Conn;
use net::dial::{dial, is_shortage};
use net::stream::Peek;

use super::choose::{Choice, awaited, choose};
use super::send::is_client_gone;
use super::{Busy, GONE, Upstream, begin_try, bounded, expired, within_try};
use crate::balance::Wish;
use crate::exchange::Exchange;
use crate::pool::{Grant, Lease, Place, Pool, Server, warm};
use crate::session::Session;
use crate::snapshot::{Arm, Route};
use crate::sticky;
use crate::worker::{Command, Worker};

/// Finds a server that was not tried yet, if there is one, and gets a connection to it. `fresh` asks for a new connection
/// to the server of the last try, whose idle one had gone stale.
pub(super) async fn checkout(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    tried: &[usize],
    fresh: bool,
) -> Result<Upstream, Fault> {
    let pool = &arm.pool;
    begin_try(x, arm);
    if fresh
        && let Some(server) = x.notes.server.and_then(|number| pool.servers.get(number))
        && let Some(lease) = server.lease(&pool.gate)
    {
        return connect(session, x, route, arm, lease).await;
    }
    // Another try goes to another server, whoever the client belongs to.
    let own = sticky::own(x, pool).filter(|_| tried.is_empty()).filter(|number| arm.roster().members[*number]);
    let wish = arm.roster().wish(|| x.facts.view(&x.request));
    let choice = if pool.limited && pool.gate.waiting() > 0 {
        Choice::Saturated
    } else {
        choose(&session.worker, arm, wish, own, tried)
    };
    match choice {
        Choice::None => Err(Fault::proxy(Kind::NoServer)),
        Choice::Idle(number, parked) => {
            x.notes.server = Some(number);
            if pool.warm > 0 {
                warm::keep(&session.worker, pool, parked.lease.server());
            }
            Ok(Upstream::new(parked.conn, Busy::begin(parked.lease), true))
        }
        Choice::Lease(number, lease) => {
            x.notes.server = Some(number);
            connect(session, x, route, arm, lease).await
        }
        Choice::Saturated => queue(session, x, route, arm, wish, own, tried).await,
    }
}

/// Waits for a server below its limit, in the order of priority and arrival across all workers.
async fn queue(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    wish: Wish,
    own: Option<usize>,
    tried: &[usize],
) -> Result<Upstream, Fault> {
    let pool = &arm.pool;
    let began = Instant::now();
    let patience = bounded(x, route, arm.timeouts.queue);
    // Whoever has to queue again keeps its place.
    let place = Place::new(began, route.priority, patience);
    let result = loop {
        let accepts = awaited(arm, own, tried);
        if accepts.is_empty() {
            break Err(Fault::proxy(Kind::NoServer));
        }
        let slots = accepts.iter().map(|server| server.slot).collect();
        let Some(waiting) = pool.gate.queue(slots, place) else { break Err(Fault::proxy(Kind::QueueFull)) };
        ask_for_room(&session.worker, pool, &accepts);
        session.timer.arm(began, patience);
        let granted = poll_fn(|cx| {
            if let Poll::Ready(grant) = waiting.poll(cx) {
                return Poll::Ready(Ok(grant));
            }
            // Whoever hangs up in a queue has left it, even if only half of the connection is closed.
            if matches!(session.client.stream().poll_peek(cx), Poll::Ready(Peek::Broken | Peek::End)) {
                return Poll::Ready(Err(GONE));
            }
            session.timer.poll_expired(cx).map(|()| Err(expired(x, route, Fault::proxy(Kind::QueueTimeout))))
        })
        .await;
        drop(waiting);
        match granted {
            Ok(Grant::Again) => match choose(&session.worker, arm, wish, own, tried) {
                Choice::Saturated => {}
                Choice::None => break Err(Fault::proxy(Kind::NoServer)),
                Choice::Idle(_, parked) => break Ok((parked.lease, Some(parked.conn))),
                Choice::Lease(_, lease) => break Ok((lease, None)),
            },
            Ok(Grant::Lease(lease)) => break Ok((lease, None)),
            Ok(Grant::Connection(detached, lease)) => {
                let attached = detached.attach().map_err(|_| Fault::proxy(Kind::Overload))?;
                break Ok((lease, Some(Conn::new(attached))));
            }
            Ok(Grant::Displaced) => break Err(Fault::proxy(Kind::QueueFull)),
            Err(fault) => break Err(fault),
        }
    };
    begin_try(x, arm);
    x.notes.queue = Some(x.notes.queue.unwrap_or_default() + began.elapsed());
    let (lease, conn) = result?;
    x.notes.server = pool.servers.iter().position(|server| server.slot == lease.server().slot);
    match conn {
        Some(conn) => Ok(Upstream::new(conn, Busy::begin(lease), true)),
        None => connect(session, x, route, arm, lease).await,
    }
}

/// Looks for something free, now that we stand in the queue: what became free before went unseen by whoever freed it.
fn ask_for_room(worker: &Worker, pool: &Pool, accepts: &[Arc<Server>]) {
    for server in accepts {
        if let Some(lease) = server.lease(&pool.gate) {
            drop(pool.gate.give(Grant::Lease(lease)));
            return;
        }
    }
    for server in accepts.iter().filter(|server| server.idle() > 0) {
        worker.fleet.tell_all(|_| Command::Relinquish(Arc::clone(server), Arc::clone(&pool.gate)));
    }
}

async fn connect(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    lease: Lease,
) -> Result<Upstream, Fault> {
    let server = Arc::clone(lease.server());
    // It counts from here: connects that hang are load, too.
    let busy = Busy::begin(lease);
    let began = Instant::now();
    session.timer.arm(began, within_try(x, route, began, arm.timeouts.connect));
    let dialled = {
        let mut dialling = pin!(dial(&server.id.address, server.security()));
        poll_fn(|cx| {
            if let Poll::Ready(dialled) = dialling.as_mut().poll(cx) {
                return Poll::Ready(Ok(dialled));
            }
            if is_client_gone(session, cx) {
                return Poll::Ready(Err(GONE));
            }
            ready!(session.timer.poll_expired(cx));
            Poll::Ready(Err(expired(x, route, Fault::server(Kind::ConnectTimeout, Retry::Always))))
        })
        .await
    };
    x.notes.connect = Some(x.notes.connect.unwrap_or(Duration::ZERO) + began.elapsed());
    match dialled {
        Ok(Ok(stream)) => {
            server.connect_succeeded();
            Ok(Upstream::new(Conn::new(stream), busy, false))
        }
        Ok(Err(error)) if is_shortage(&error) => Err(Fault::proxy(Kind::Overload)),
        Ok(Err(error)) => {
            server.connect_failed();
            Err(unconnected(&server, &error))
        }
        Err(fault) => {
            if fault.kind == Kind::ConnectTimeout {
                server.connect_failed();
            }
            Err(fault)
        }
    }
}

/// What it means that a server could not be connected to. Why TLS failed is for the operator alone.
pub(super) fn unconnected(server: &Server, error: &io::Error) -> Fault {
    if error.kind() != io::ErrorKind::InvalidData {
        return Fault::server(Kind::Connect, Retry::Always);
    }
    let id = &server.id;
    observe::log::warn(format_args!("server `{}` of pool `{}` at {} and TLS: {error}", id.name, id.pool, id.address));
    Fault::server(Kind::ServerTls, Retry::Always)
}
