//! The queue in front of a pool whose servers have limits. It is the process's, so that `max_connections: 1` means one
//! connection whatever the number of workers, and waiters are served in the order in which they came.
//!
//! A waiter asks for any server of the pool. It is given a lease to open a connection with, or an idle connection that
//! another worker held. Whoever frees something looks here afterwards, and whoever waits looks for something free
//! after it has queued: one of the two always sees the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use net::stream::Detached;

use super::{Lease, Server};

/// The queue of one pool.
#[derive(Debug)]
pub struct Gate {
    waiting: AtomicUsize,
    length: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Slot>>>,
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

#[derive(Debug, Default)]
struct Slot {
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
        Gate { waiting: AtomicUsize::new(0), length: AtomicUsize::new(length), queue: Mutex::default() }
    }

    /// Sets how many may wait.
    pub fn set_length(&self, length: usize) {
        self.length.store(length, Ordering::Relaxed);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Queues, unless the queue is full.
    pub fn queue(self: &Arc<Gate>) -> Option<Waiting> {
        let slot = Arc::<Slot>::default();
        let mut queue = lock(&self.queue);
        if queue.len() >= self.length.load(Ordering::Relaxed) {
            return None;
        }
        queue.push_back(Arc::clone(&slot));
        self.waiting.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        Some(Waiting { gate: Arc::clone(self), slot })
    }

    /// Gives something to the first who waits; comes back with it if nobody does.
    pub fn give(&self, grant: Grant) -> Option<Grant> {
        loop {
            let mut queue = lock(&self.queue);
            let Some(slot) = queue.pop_front() else { return Some(grant) };
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

    /// A connection to this server has closed: the first who waits may open one.
    pub(super) fn released(self: &Arc<Gate>, server: &Arc<Server>) {
        if self.waiting() == 0 || server.is_retired() {
            return;
        }
        if let Some(lease) = server.lease(self) {
            // Nobody waits any more: the lease goes back without looking for a waiter again.
            drop(self.give(Grant::Lease(lease)));
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
