//! The queue in front of a pool whose servers have limits. It is the process's, so that `max_connections: 1` means one
//! connection whatever the number of workers, and waiters are served in the order of their [`Place`]s.
//!
//! A waiter says which servers it accepts. It is given a lease to open a connection with, or an idle connection that
//! another worker held. Whoever frees something looks here afterwards, and whoever waits looks for something free
//! after it has queued: one of the two always sees the other. What a server is like changes while somebody waits for it: so
//! whoever is given something looks whether it still wants it, and else queues again at its old [`Place`].

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
    /// Servers or limits have changed: look again.
    Again,
    /// The queue was full, and somebody has come who goes first: leave.
    Displaced,
}

/// What whoever is the first to have a use for an idle connection would do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Send a request.
    Take,
    /// Close it: another connection may be opened then, and it is that one that is waited for.
    Close,
    /// Nobody has any.
    None,
}

/// A place in the queue. Dropping it gives up the place, and passes on what came too late.
#[derive(Debug)]
pub struct Waiting {
    gate: Arc<Gate>,
    slot: Arc<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// The servers that the waiter goes to, those of its own snapshot; the one that it would choose comes first.
    accepts: Box<[Arc<Server>]>,
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
        self.connections.load(Ordering::SeqCst) < self.most_connections.load(Ordering::Relaxed)
    }

    /// Whether connections to all servers together are limited. Only then are they counted: the count is one word that all
    /// workers write.
    pub(super) fn is_limited(&self) -> bool {
        self.most_connections.load(Ordering::Relaxed) != u32::MAX
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
    pub fn queue(self: &Arc<Gate>, accepts: Box<[Arc<Server>]>, place: Place) -> Option<Waiting> {
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
        let mut queue = lock(&self.queue);
        // All at once: whoever looks again may come back before the next one is told.
        let all = std::mem::take(&mut *queue);
        self.waiting.store(0, Ordering::SeqCst);
        drop(queue);
        for slot in all {
            slot.grant(Grant::Again);
        }
    }

    /// What those who wait would do with an idle connection to this server. The first who has a use for it decides, so that
    /// nobody who only needs its place is passed by everybody who comes later and could send on it.
    pub(crate) fn use_of(&self, server: &Server) -> Use {
        if self.waiting() == 0 {
            return Use::None;
        }
        let (now, full) = (Instant::now(), !self.has_room());
        let of = |slot: &Arc<Slot>| match slot {
            slot if slot.place.is_over(now) => None,
            slot if slot.accepts(server) => Some(Use::Take),
            slot if full && slot.accepts.iter().any(|other| other.has_room()) => Some(Use::Close),
            _ => None,
        };
        lock(&self.queue).iter().find_map(of).unwrap_or(Use::None)
    }

    /// A connection to this server has closed: the first who has a use for the room may open one. That is whoever accepts the
    /// server, and where connections to all servers together are limited, it is anybody.
    pub(super) fn released(self: &Arc<Gate>, server: &Arc<Server>) {
        let is_shared = self.is_limited();
        while self.waiting() > 0 && self.has_room() && (is_shared || server.has_room()) {
            let Some((slot, lease)) = self.next(|other| is_shared || other.slot == server.slot) else { return };
            if let Some(Grant::Lease(lease)) = slot.grant(Grant::Lease(lease)) {
                // Whoever waited has left meanwhile. Giving the lease back in the usual way would lead here again.
                lease.give_back();
            }
        }
    }

    /// Takes the first from the queue who accepts one of these servers that has room, with a lease for it.
    fn next(self: &Arc<Gate>, is_meant: impl Fn(&Server) -> bool) -> Option<(Arc<Slot>, Lease)> {
        let now = Instant::now();
        let mut queue = lock(&self.queue);
        let (number, lease) = queue.iter().enumerate().find_map(|(number, slot)| {
            let mut meant = slot.accepts.iter().filter(|server| !slot.place.is_over(now) && is_meant(server));
            Some((number, meant.find_map(|server| server.lease(self))?))
        })?;
        let slot = queue.remove(number);
        self.waiting.store(queue.len(), Ordering::SeqCst);
        // A lease must not end while the queue is locked.
        drop(queue);
        slot.map(|slot| (slot, lease))
    }
}

impl Slot {
    fn accepts(&self, server: &Server) -> bool {
        self.accepts.iter().any(|other| other.slot == server.slot)
    }

    fn takes(&self, grant: &Grant, now: Instant) -> bool {
        let is_wanted = match grant {
            Grant::Lease(lease) | Grant::Connection(_, lease) => self.accepts(lease.server()),
            Grant::Again | Grant::Displaced => true,
        };
        is_wanted && !self.place.is_over(now)
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

    /// Whether it has been given something.
    pub fn is_served(&self) -> bool {
        lock(&self.slot.state).grant.is_some()
    }

    /// Whether it is the first of those who wait that accepts this server.
    pub fn is_first_for(&self, server: &Server) -> bool {
        let now = Instant::now();
        let queue = lock(&self.gate.queue);
        let mut ahead = queue.iter().filter(|slot| slot.accepts(server) && !slot.place.is_over(now));
        ahead.next().is_some_and(|first| Arc::ptr_eq(first, &self.slot))
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
            None | Some(Grant::Displaced | Grant::Again) => {}
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
        numbered(0)
    }

    fn numbered(slot: usize) -> Arc<Server> {
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        Arc::new(Server::new(ServerId { pool: "p".into(), name: "s".into(), address, transport: 0 }, "s:1", slot, 1))
    }

    fn queue(gate: &Arc<Gate>, accepts: &[&Arc<Server>], priority: Priority) -> Waiting {
        try_queue(gate, accepts, priority).expect("a place")
    }

    fn try_queue(gate: &Arc<Gate>, accepts: &[&Arc<Server>], priority: Priority) -> Option<Waiting> {
        gate.queue(accepts.iter().map(|server| Arc::clone(server)).collect(), place(priority, LONG))
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
        let waiting = classes.map(|class| queue(&gate, &[&server], class));
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
        let (gate, server) = (Arc::new(Gate::new(2)), server());
        let first = queue(&gate, &[&server], Priority::Normal);
        let low = queue(&gate, &[&server], Priority::Low);
        assert!(try_queue(&gate, &[&server], Priority::Low).is_none());
        let high = queue(&gate, &[&server], Priority::High);
        assert!(matches!(granted(&low), Some(Grant::Displaced)));
        assert!(granted(&first).is_none() && granted(&high).is_none());
        assert_eq!(gate.waiting(), 2);
    }

    #[test]
    fn whose_time_is_over_is_passed_over() {
        let (gate, server) = (Arc::new(Gate::new(10)), server());
        let late = gate.queue([Arc::clone(&server)].into(), place(Priority::High, Duration::ZERO)).expect("a place");
        let lease = server.lease(&gate).expect("a lease");
        assert!(gate.give(Grant::Lease(lease)).is_some());
        let in_time = queue(&gate, &[&server], Priority::Low);
        drop(server.lease(&gate));
        assert!(granted(&late).is_none());
        assert!(matches!(granted(&in_time), Some(Grant::Lease(_))));
    }

    #[test]
    fn room_in_a_limited_pool_is_one_for_any_server() {
        let (gate, leaving, other) = (Arc::new(Gate::new(10)), server(), numbered(7));
        gate.set_most_connections(Some(1));
        let lease = leaving.lease(&gate).expect("a lease");
        assert!(leaving.lease(&gate).is_none());
        // This one's snapshot does not know the server any more.
        let waiting = queue(&gate, &[&other], Priority::Normal);
        leaving.set_retired(true);
        drop(lease);
        assert!(matches!(granted(&waiting), Some(Grant::Lease(lease)) if lease.server().slot == 7));
    }

    #[test]
    fn room_goes_to_the_first_who_can_use_it() {
        let (gate, full, other) = (Arc::new(Gate::new(10)), numbered(0), numbered(1));
        gate.set_most_connections(Some(2));
        full.set_max_connections(Some(1));
        let (_stays, ends) = (full.lease(&gate), other.lease(&gate));
        let first = queue(&gate, &[&full], Priority::High);
        let second = queue(&gate, &[&full, &other], Priority::Normal);
        drop(ends);
        assert!(granted(&first).is_none());
        assert!(matches!(granted(&second), Some(Grant::Lease(lease)) if lease.server().slot == 1));
        assert!(granted(&first).is_none());
    }

    #[test]
    fn connections_are_counted_once_there_is_a_limit() {
        let (gate, server) = (Arc::new(Gate::new(10)), server());
        let count = || gate.connections.load(Ordering::Relaxed);
        let [one, two] = [(); 2].map(|()| server.lease(&gate).expect("a lease"));
        let mut early = [one, two];
        assert_eq!(count(), 0, "nobody asks");
        assert!(early.iter_mut().all(Lease::is_within_limit));
        gate.set_most_connections(Some(1));
        assert_eq!(early.each_mut().map(Lease::is_within_limit), [true, false]);
        assert_eq!(early.each_mut().map(Lease::is_within_limit), [true, false], "it is counted once");
        assert!(server.lease(&gate).is_none());
        let [counted, uncounted] = early;
        drop(uncounted);
        assert_eq!(count(), 1);
        // The limit is gone before what was counted ends.
        gate.set_most_connections(None);
        drop(counted);
        assert_eq!((count(), server.open()), (0, 0));
    }

    #[test]
    fn who_is_chosen_comes_before_who_is_free_as_well() {
        let (gate, one, two) = (Arc::new(Gate::new(10)), numbered(0), numbered(1));
        gate.set_most_connections(Some(1));
        let ends = one.lease(&gate);
        let waiting = queue(&gate, &[&two, &one], Priority::Normal);
        drop(ends);
        assert!(matches!(granted(&waiting), Some(Grant::Lease(lease)) if lease.server().slot == 1));
    }

    #[test]
    fn everybody_is_stirred_even_if_the_first_comes_back_at_once() {
        let (gate, server) = (Arc::new(Gate::new(10)), server());
        let waiting = [Priority::High, Priority::Normal, Priority::Low].map(|class| queue(&gate, &[&server], class));
        gate.stir();
        assert!(waiting.iter().all(|waiting| matches!(granted(waiting), Some(Grant::Again))));
        assert_eq!(gate.waiting(), 0);
    }

    #[test]
    fn the_first_who_has_a_use_for_an_idle_connection_decides() {
        let (gate, idle, other) = (Arc::new(Gate::new(10)), numbered(0), numbered(1));
        gate.set_most_connections(Some(2));
        assert_eq!(gate.use_of(&idle), Use::None);
        let _held = idle.lease(&gate);
        let needs_other = queue(&gate, &[&other], Priority::High);
        assert_eq!(gate.use_of(&idle), Use::None, "there is room without it");
        gate.set_most_connections(Some(1));
        assert_eq!(gate.use_of(&idle), Use::Close);
        let takes = queue(&gate, &[&idle], Priority::Low);
        assert!(takes.is_first_for(&idle) && !takes.is_first_for(&other));
        assert_eq!(gate.use_of(&idle), Use::Close, "who came first goes first");
        drop(needs_other);
        assert_eq!(gate.use_of(&idle), Use::Take);
        other.set_max_connections(Some(0));
        drop(takes);
        let _in_vain = queue(&gate, &[&other], Priority::High);
        assert_eq!(gate.use_of(&idle), Use::None, "its place is of no use");
    }
}
