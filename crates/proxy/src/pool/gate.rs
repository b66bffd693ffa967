//! The queue in front of a pool whose servers have limits. It is the process's, so that `max_connections: 1` means one
//! connection whatever the number of workers, and waiters are served in the order in which they came.
//!
//! A waiter asks for any server of the pool. It is given a lease to open a connection with, or an idle connection that
//! another worker held. Whoever frees something looks here afterwards, and whoever waits looks for something free
//! after it has queued: one of the two always sees the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use net::stream::Detached;

use super::budget::Budget;
use super::limit::Met;
use super::tally::Tally;
use super::{Lease, Server};

/// What stands in front of one pool: its queue, and what bounds the load on it.
#[derive(Debug)]
pub struct Gate {
    waiting: AtomicUsize,
    length: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Slot>>>,
    /// Connections to all servers together, and how many there may be.
    connections: AtomicU32,
    most_connections: AtomicU32,
    /// The retries that `retries.budget` allows.
    pub budget: Budget,
    /// Requests under way, in pools that limit them.
    pub requests: Tally,
    /// Further tries under way, in pools that limit them.
    pub retries: Tally,
    /// How often each limit was met.
    pub met: Met,
}

/// What a waiter is given.
#[derive(Debug)]
pub enum Grant {
    /// The right to open a connection.
    Lease(Lease),
    /// A connection that was idle in another worker.
    Connection(Detached, Lease),
    /// The pool has changed: look again.
    Again,
}

/// A place in the queue. Dropping it gives up the place, and passes on what came too late.
#[derive(Debug)]
pub struct Waiting {
    gate: Arc<Gate>,
    slot: Arc<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// The servers that the waiter may go to: those of its own snapshot, by [`Server::slot`].
    accepts: Box<[usize]>,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    grant: Option<Grant>,
    waker: Option<Waker>,
    given_up: bool,
}

impl Gate {
    /// A queue for this many requests.
    pub fn new(length: usize) -> Gate {
        Gate {
            waiting: AtomicUsize::new(0),
            length: AtomicUsize::new(length),
            queue: Mutex::default(),
            connections: AtomicU32::new(0),
            most_connections: AtomicU32::new(u32::MAX),
            budget: Budget::new(Instant::now()),
            requests: Tally::default(),
            retries: Tally::default(),
            met: Met::default(),
        }
    }

    /// Sets how many may wait.
    pub fn set_length(&self, length: usize) {
        self.length.store(length, Ordering::Relaxed);
    }

    /// Sets how many connections the pool's servers may have together.
    pub fn set_most_connections(&self, most: Option<u32>) {
        self.most_connections.store(most.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Whether the pool's servers may have one more connection.
    pub fn has_room(&self) -> bool {
        self.connections.load(Ordering::Relaxed) < self.most_connections.load(Ordering::Relaxed)
    }

    /// Counts one more connection, unless there are as many as there may be.
    pub(super) fn open(&self) -> bool {
        let most = self.most_connections.load(Ordering::Relaxed);
        let below = |count: u32| (count < most).then_some(count + 1);
        self.connections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, below).is_ok()
    }

    /// Counts one connection less.
    pub(super) fn close(&self) {
        self.connections.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Queues for one of these servers, unless the queue is full.
    pub fn queue(self: &Arc<Gate>, accepts: Box<[usize]>) -> Option<Waiting> {
        let slot = Arc::new(Slot { accepts, state: Mutex::default() });
        let mut queue = lock(&self.queue);
        if queue.len() >= self.length.load(Ordering::Relaxed) {
            return None;
        }
        queue.push_back(Arc::clone(&slot));
        self.waiting.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        Some(Waiting { gate: Arc::clone(self), slot })
    }

    /// Gives something to the first who waits for such a thing; comes back with it if nobody does.
    pub fn give(&self, grant: Grant) -> Option<Grant> {
        loop {
            let mut queue = lock(&self.queue);
            let first = queue.iter().position(|slot| slot.takes(&grant)).and_then(|first| queue.remove(first));
            let Some(slot) = first else { return Some(grant) };
            self.waiting.store(queue.len(), Ordering::SeqCst);
            drop(queue);
            let mut state = lock(&slot.state);
            if state.given_up {
                continue;
            }
            state.grant = Some(grant);
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
            return None;
        }
    }

    /// Makes everybody look again: servers or limits have changed.
    pub fn stir(&self) {
        for _ in 0..self.waiting() {
            if self.give(Grant::Again).is_some() {
                return;
            }
        }
    }

    /// A connection to this server has closed: the first who waits for the server may open one. A server that is retired
    /// still serves those whose snapshot names it; one that is drained gets nothing new.
    pub(super) fn released(self: &Arc<Gate>, server: &Arc<Server>) {
        let gets_more = server.is_wanted() || server.is_retired();
        while gets_more && self.is_awaited(server) {
            let Some(lease) = server.lease(self) else { break };
            match self.give(Grant::Lease(lease)) {
                // Whoever waited has left meanwhile. Giving the lease back in the usual way would lead here again.
                Some(Grant::Lease(lease)) => lease.give_back(),
                _ => return,
            }
        }
        // Where connections to all servers together are limited, the room that it leaves is one for any of them.
        if self.waiting() > 0 && self.most_connections.load(Ordering::Relaxed) != u32::MAX {
            drop(self.give(Grant::Again));
        }
    }

    fn is_awaited(&self, server: &Server) -> bool {
        self.waiting() > 0 && lock(&self.queue).iter().any(|slot| slot.accepts.contains(&server.slot))
    }
}

impl Slot {
    fn takes(&self, grant: &Grant) -> bool {
        match grant {
            Grant::Lease(lease) | Grant::Connection(_, lease) => self.accepts.contains(&lease.server().slot),
            Grant::Again => true,
        }
    }
}

impl Waiting {
    /// Ready when it is this waiter's turn.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Grant> {
        let mut state = lock(&self.slot.state);
        if let Some(grant) = state.grant.take() {
            return Poll::Ready(grant);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes the place itself back, for one who found something free after queueing. What was given meanwhile comes with it.
    pub fn leave(self) -> Option<Grant> {
        lock(&self.slot.state).grant.take()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = lock(&self.slot.state);
        state.given_up = true;
        let late = state.grant.take();
        drop(state);
        let mut queue = lock(&self.gate.queue);
        queue.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        self.gate.waiting.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        if let Some(late) = late {
            drop(self.gate.give(late));
        }
    }
}

/// A panic in another thread cannot leave these small states half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
