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

use super::send::is_client_gone;
use super::{Busy, GONE, Upstream, begin_try, bounded, expired, within_try};
use crate::balance::{Group, Level, Roster, Wish};
use crate::exchange::Exchange;
use crate::pool::{Grant, Lease, Parked, Place, Pool, Server, warm};
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

pub(super) enum Choice {
    /// No server may be used at all.
    None,
    /// An idle connection.
    Idle(usize, Parked),
    /// The right to open one.
    Lease(usize, Lease),
    /// Every server that may be used is at its limit.
    Saturated,
}

/// Servers that are well and untried come first, then untried ones that are paused or ejected: one of them may have come
/// back, and the ones that were tried have just failed. With all of them tried, it is well ones again, then any. A server
/// that active checks call down gets nothing, unless so many are that the pool panics.
pub(super) fn choose(worker: &Worker, arm: &Arm, wish: Wish, own: Option<usize>, tried: &[usize]) -> Choice {
    let (pool, roster) = (&arm.pool, arm.roster());
    if let Some(number) = still(pool, own) {
        return take(worker, pool, number).unwrap_or(Choice::Saturated);
    }
    let untried = |server: &Server| !tried.contains(&server.slot);
    let first_try = tried.is_empty();
    for (well, fresh) in [(true, true), (false, true), (true, false), (false, false)] {
        if first_try && !fresh {
            break;
        }
        for level in &roster.levels {
            let panics = roster.panics(level);
            let fits = |server: &Server| {
                let may = if well && !panics { server.is_usable() } else { may_be_asked(roster, server) };
                may && (first_try || !fresh || untried(server))
            };
            // With a limit, a race with another worker can take what was free a moment ago: then the choice is made again.
            for _ in 0..level.all.servers.len() {
                let Some(number) = pick(worker, pool, level, wish, &fits) else { break };
                if let Some(choice) = take(worker, pool, number) {
                    return choice;
                }
            }
            if level.all.servers.iter().any(|server| fits(server)) {
                return Choice::Saturated;
            }
        }
    }
    Choice::None
}

/// The client's own server, if it may still be used.
fn still(pool: &Pool, own: Option<usize>) -> Option<usize> {
    own.filter(|number| pool.servers[*number].is_usable_for_its_own())
}

/// A connection to this server, or the right to open one.
fn take(worker: &Worker, pool: &Pool, number: usize) -> Option<Choice> {
    let server = &pool.servers[number];
    if let Some(parked) = worker.idle.take(server) {
        return Some(Choice::Idle(number, parked));
    }
    server.lease(&pool.gate).map(|lease| Choice::Lease(number, lease))
}

/// Whether a server may be asked at all: a pool that may panic asks those that are down, too, before it gives up.
fn may_be_asked(roster: &Roster, server: &Server) -> bool {
    server.is_wanted() && (roster.panic > 0 || !server.is_checked_down())
}

fn pick(worker: &Worker, pool: &Pool, level: &Level, wish: Wish, fits: &dyn Fn(&Server) -> bool) -> Option<usize> {
    let has_room = |server: &Server| {
        !pool.limited
            || worker.idle.has(server)
            || (server.max_connections().is_none_or(|most| server.open() < most) && pool.gate.has_room())
    };
    let allowed = |server: &Server| fits(server) && has_room(server);
    let mut random = worker.random.borrow_mut();
    let (first, second) = level.groups(wish, &mut random);
    let mut pick = |group: &Group| match &group.servers[..] {
        // Where there is nothing to choose, nobody's turn is looked up.
        [only] => group.numbers.first().copied().filter(|_| allowed(only)),
        _ => worker.with_cursor(group.key, |cursor| group.pick(wish, cursor, &mut random, allowed)),
    };
    pick(first).or_else(|| second.and_then(pick))
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
        // Whoever belongs to a server waits for it.
        let accepts = match still(pool, own) {
            Some(number) => vec![&pool.servers[number]],
            None => others(arm, tried),
        };
        if accepts.is_empty() {
            break Err(Fault::proxy(Kind::NoServer));
        }
        let slots = accepts.iter().map(|server| server.slot).collect();
        let Some(waiting) = pool.gate.queue(slots, place) else { break Err(Fault::proxy(Kind::QueueFull)) };
        ask_for_room(&session.worker, arm, &accepts, still(pool, own).is_some());
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

/// The servers to wait for: those that [`choose`] would ask, in the same order of preference; none if nobody may be asked.
fn others<'a>(arm: &'a Arm, tried: &[usize]) -> Vec<&'a Arc<Server>> {
    let roster = arm.roster();
    let untried = |server: &Server| !tried.contains(&server.slot);
    let may_be = |server: &Server| may_be_asked(roster, server);
    if let Some(level) = roster
        .first_with(|server| server.is_usable() && untried(server))
        .or_else(|| roster.first_with(|server| may_be(server) && untried(server)))
    {
        let waits = |server: &&Arc<Server>| tried.is_empty() || (may_be(server) && untried(server));
        return level.all.servers.iter().filter(waits).collect();
    }
    let level = roster.first_with(Server::is_usable).or_else(|| roster.first_with(may_be));
    level.map(|level| level.all.servers.iter().collect()).unwrap_or_default()
}

/// Looks for something free, now that we stand in the queue: what became free before went unseen by whoever freed it.
fn ask_for_room(worker: &Worker, arm: &Arm, accepts: &[&Arc<Server>], is_own: bool) {
    let (pool, roster) = (&arm.pool, arm.roster());
    let fits =
        |server: &&&Arc<Server>| if is_own { server.is_usable_for_its_own() } else { may_be_asked(roster, server) };
    for server in accepts.iter().filter(fits) {
        if let Some(lease) = server.lease(&pool.gate) {
            drop(pool.gate.give(Grant::Lease(lease)));
            return;
        }
    }
    for server in accepts.iter().filter(fits).filter(|server| server.idle() > 0) {
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
