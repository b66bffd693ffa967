//! Connections that wait for their next request. Each worker has its own, so that taking one costs no lock.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use http::Conn;
use rustc_hash::FxHashMap;

use super::{LOCAL, Lease, Server};
use crate::destination::Place;

/// The idle connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// By [`Server::slot`]; the newest last.
    by_slot: RefCell<Vec<Vec<Parked>>>,
    /// The same for servers that this worker has found by itself, which come and go.
    local: RefCell<FxHashMap<usize, Vec<Parked>>>,
}

/// An idle connection.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) conn: Conn,
    pub(crate) lease: Lease,
    /// The server to which its own, a proxy, has led it on: nobody else's requests may come there.
    pub(crate) beyond: Option<Rc<Place>>,
    until: Instant,
}

/// Which idle connections are of use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Suited<'a> {
    /// Any.
    Any,
    /// Those that nobody has led on.
    Straight,
    /// Those that lead on to this server.
    To(&'a Place),
}

impl Suited<'_> {
    fn suits(self, parked: &Parked) -> bool {
        match self {
            Suited::Any => true,
            Suited::Straight => parked.beyond.is_none(),
            Suited::To(place) => parked.beyond.as_deref() == Some(place),
        }
    }
}

/// Connections that a worker keeps to one server; more would only be closed by the server.
const MOST: usize = 1024;

impl Idle {
    /// Takes the one of those connections that was used last and still seems open.
    pub(crate) fn take(&self, server: &Arc<Server>, suited: Suited) -> Option<Parked> {
        self.of(server, |parked| {
            while let Some(at) = parked.iter().rposition(|candidate| suited.suits(candidate)) {
                let candidate = parked.remove(at);
                server.unparked();
                if is_silent(&candidate.conn) {
                    return Some(candidate);
                }
            }
            None
        })?
    }

    /// Whether there is such a connection to this server.
    pub(crate) fn has(&self, server: &Server, suited: Suited) -> bool {
        self.of(server, |parked| parked.iter().any(|parked| suited.suits(parked))).unwrap_or(false)
    }

    /// How many connections there are to this server.
    pub(crate) fn count(&self, server: &Server) -> u32 {
        self.of(server, |parked| parked.len() as u32).unwrap_or(0)
    }

    /// Looks at the connections to a server, if there were any.
    fn of<R>(&self, server: &Server, work: impl FnOnce(&mut Vec<Parked>) -> R) -> Option<R> {
        if server.slot < LOCAL {
            self.by_slot.borrow_mut().get_mut(server.slot).map(work)
        } else {
            self.local.borrow_mut().get_mut(&server.slot).map(work)
        }
    }

    /// Closes all connections to a server that this worker has found by itself.
    pub(crate) fn forget(&self, server: &Server) {
        let parked = self.local.borrow_mut().remove(&server.slot).unwrap_or_default();
        parked.iter().for_each(|parked| parked.lease.server().unparked());
        // Dropping a lease may wake a waiter, which must find the table free.
        drop(parked);
    }

    /// Keeps a connection to its server.
    pub(crate) fn park(&self, conn: Conn, lease: Lease, now: Instant, keep: Duration) {
        self.park_beyond(conn, lease, None, now, keep);
    }

    /// Keeps a connection that its server has led on.
    pub(crate) fn park_beyond(
        &self,
        conn: Conn,
        mut lease: Lease,
        beyond: Option<Rc<Place>>,
        now: Instant,
        keep: Duration,
    ) {
        let slot = lease.server().slot;
        let keep = |parked: &mut Vec<Parked>| {
            if parked.len() < MOST && is_kept(&mut lease) {
                lease.server().parked();
                parked.push(Parked { conn, lease, beyond, until: now + keep });
            }
        };
        if slot >= LOCAL {
            return keep(self.local.borrow_mut().entry(slot).or_default());
        }
        let mut all = self.by_slot.borrow_mut();
        if all.len() <= slot {
            all.resize_with(slot + 1, Vec::new);
        }
        keep(&mut all[slot]);
    }

    /// Closes what was idle for too long, was closed by its server, or leads to one that is retired, drained or down.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut closed = Vec::new();
        for parked in self.by_slot.borrow_mut().iter_mut().chain(self.local.borrow_mut().values_mut()) {
            let keep =
                |parked: &mut Parked| parked.until > now && is_silent(&parked.conn) && is_kept(&mut parked.lease);
            let mut at = 0;
            while at < parked.len() {
                if keep(&mut parked[at]) {
                    at += 1;
                } else {
                    parked[at].lease.server().unparked();
                    closed.push(parked.remove(at));
                }
            }
        }
        self.local.borrow_mut().retain(|_, parked| !parked.is_empty());
        // Dropping a lease may wake a waiter, which must find the table free.
        drop(closed);
    }
}

/// Whether an idle connection is of use: its server is in the configuration and not drained, active checks do not say that it
/// is down, and the pool has room for it.
fn is_kept(lease: &mut Lease) -> bool {
    let server = lease.server();
    !server.is_retired() && !server.is_drained() && !server.is_checked_down() && lease.is_within_limit()
}

/// Whether nothing has happened on a connection that should be silent: no byte, no end, no error. Mostly the runtime knows
/// it without a system call.
fn is_silent(conn: &Conn) -> bool {
    conn.poll_peek(&mut Context::from_waker(Waker::noop())).is_pending()
}
