//! The queue in front of a pool whose servers have limits. It is the process's, so that `max_connections: 1` means one
//! connection whatever the number of workers, and waiters are served in the order of their [`Place`]s.
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
use super::concurrency::Concurrency;
use super::limit::{Hedges, Met};
use super::place::Place;
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
    /// Requests under way, in pools that find their limit.
    pub concurrency: Concurrency,
    /// How often each limit was met.
    pub met: Met,
    /// How many hedges there were.
    pub hedges: Hedges,
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
    /// The queue was full, and somebody has come who goes first: leave.
    Displaced,
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
    place: Place,
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
            concurrency: Concurrency::new(Instant::now()),
            met: Met::default(),
            hedges: Hedges::default(),
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

    /// Queues for one of these servers, unless the queue is full of those who go first.
    pub fn queue(self: &Arc<Gate>, accepts: Box<[usize]>, place: Place) -> Option<Waiting> {
        let slot = Arc::new(Slot { accepts, place, state: Mutex::default() });
        let mut queue = lock(&self.queue);
        let mut last = None;
        if queue.len() >= self.length.load(Ordering::Relaxed) {
            if !queue.back().is_some_and(|last| place.is_before(&last.place)) {
                return None;
            }
            last = queue.pop_back();
        }
        let behind = queue.partition_point(|other| !place.is_before(&other.place));
        queue.insert(behind, Arc::clone(&slot));
        self.waiting.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        if let Some(last) = last {
            last.grant(Grant::Displaced);
        }
        Some(Waiting { gate: Arc::clone(self), slot })
    }

    /// Gives something to the first who waits for such a thing; comes back with it if nobody does.
    pub fn give(&self, mut grant: Grant) -> Option<Grant> {
        let now = Instant::now();
        loop {
            let mut queue = lock(&self.queue);
            let first = queue.iter().position(|slot| slot.takes(&grant, now)).and_then(|first| queue.remove(first));
            let Some(slot) = first else { return Some(grant) };
            self.waiting.store(queue.len(), Ordering::SeqCst);
            drop(queue);
            grant = slot.grant(grant)?;
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
        // Whoever waits would rather have another server than one that is down.
        let gets_more = (server.is_wanted() || server.is_retired()) && !server.is_checked_down();
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
        let now = Instant::now();
        let awaits = |slot: &Arc<Slot>| !slot.place.is_over(now) && slot.accepts.contains(&server.slot);
        self.waiting() > 0 && lock(&self.queue).iter().any(awaits)
    }
}

impl Slot {
    fn takes(&self, grant: &Grant, now: Instant) -> bool {
        match grant {
            Grant::Lease(lease) | Grant::Connection(_, lease) => {
                self.accepts.contains(&lease.server().slot) && !self.place.is_over(now)
            }
            Grant::Again | Grant::Displaced => !self.place.is_over(now),
        }
    }

    /// Gives it this; comes back with it if it has left.
    fn grant(&self, grant: Grant) -> Option<Grant> {
        let mut state = lock(&self.state);
        if state.given_up {
            return Some(grant);
        }
        state.grant = Some(grant);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        None
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
        match late {
            // That was for this one alone.
            None | Some(Grant::Displaced) => {}
            Some(late) => drop(self.gate.give(late)),
        }
    }
}

/// A panic in another thread cannot leave these small states half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use net::Address;

    use super::super::{Priority, ServerId};
    use super::*;

    fn server() -> Arc<Server> {
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        Arc::new(Server::new(ServerId { pool: "p".into(), name: "s".into(), address, transport: 0 }, "s:1", 0, 1))
    }

    fn place(priority: Priority, patience: Duration) -> Place {
        Place::new(Instant::now(), priority, patience)
    }

    fn granted(waiting: &Waiting) -> Option<Grant> {
        match waiting.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(grant) => Some(grant),
            Poll::Pending => None,
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_highest_class_is_served_first_and_then_the_first_that_came() {
        let (gate, server) = (Arc::new(Gate::new(10)), server());
        let classes = [Priority::Low, Priority::Normal, Priority::High, Priority::High];
        let waiting = classes.map(|class| gate.queue([0].into(), place(class, LONG)).expect("a place"));
        // What ends would be given on.
        let mut kept = Vec::new();
        for number in [2, 3, 1, 0] {
            let lease = server.lease(&gate).expect("a lease");
            assert!(gate.give(Grant::Lease(lease)).is_none());
            for (other, waiting) in waiting.iter().enumerate() {
                let grant = granted(waiting);
                assert_eq!(grant.is_some(), other == number, "{number} before {other}");
                kept.push(grant);
            }
        }
    }

    #[test]
    fn a_full_queue_refuses_its_last() {
        let gate = Arc::new(Gate::new(2));
        let first = gate.queue([0].into(), place(Priority::Normal, LONG)).expect("a place");
        let low = gate.queue([0].into(), place(Priority::Low, LONG)).expect("a place");
        assert!(gate.queue([0].into(), place(Priority::Low, LONG)).is_none());
        let high = gate.queue([0].into(), place(Priority::High, LONG)).expect("a place");
        assert!(matches!(granted(&low), Some(Grant::Displaced)));
        assert!(granted(&first).is_none() && granted(&high).is_none());
        assert_eq!(gate.waiting(), 2);
    }

    #[test]
    fn whose_time_is_over_is_passed_over() {
        let (gate, server) = (Arc::new(Gate::new(10)), server());
        let late = gate.queue([0].into(), place(Priority::High, Duration::ZERO)).expect("a place");
        let lease = server.lease(&gate).expect("a lease");
        assert!(gate.give(Grant::Lease(lease)).is_some());
        let in_time = gate.queue([0].into(), place(Priority::Low, LONG)).expect("a place");
        drop(server.lease(&gate));
        assert!(granted(&late).is_none());
        assert!(matches!(granted(&in_time), Some(Grant::Lease(_))));
    }

    #[test]
    fn room_in_a_limited_pool_is_one_for_any_server() {
        let (gate, leaving) = (Arc::new(Gate::new(10)), server());
        gate.set_most_connections(Some(1));
        let lease = leaving.lease(&gate).expect("a lease");
        assert!(leaving.lease(&gate).is_none());
        // This one's snapshot does not know the server any more.
        let waiting = gate.queue([7].into(), place(Priority::Normal, LONG)).expect("a place");
        leaving.set_retired(true);
        drop(lease);
        assert!(matches!(granted(&waiting), Some(Grant::Again)));
    }
}
