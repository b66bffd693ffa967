//! One server: what it is, and what all workers know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use net::Address;
use observe::stats::RequestStats;

use super::Gate;

/// The identity of a server: state is kept by it over reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    /// The pool's name.
    pub pool: Arc<str>,
    /// The server's name: its key, or its address as written.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
}

/// A server. Its numbers are shared by all workers.
#[derive(Debug)]
pub struct Server {
    /// Its identity.
    pub id: ServerId,
    /// `host:port` as written, for pools that send it as Host.
    pub authority: Box<str>,
    /// Its place in tables that workers keep; given once, never used again for another.
    pub slot: usize,
    /// Its requests.
    pub stats: RequestStats,
    begin: Instant,
    weight: AtomicU32,
    max_connections: AtomicU32,
    drained: AtomicBool,
    retired: AtomicBool,
    in_flight: AtomicU32,
    open: AtomicU32,
    idle: AtomicU32,
    failures: AtomicU32,
    /// Milliseconds after `begin` until which it is passed over; 0 if it is not.
    down_until: AtomicU64,
}

/// A right to hold one connection to a server. Dropping it lets the next waiter have one.
#[derive(Debug)]
pub struct Lease {
    server: Arc<Server>,
    gate: Arc<Gate>,
    /// Nobody is told when it ends.
    quiet: bool,
}

/// How much finer than a weight a share is.
const SHARE_BITS: u32 = 10;
/// After a failed connect a server is passed over for this long; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest time that failed connects alone keep a server out.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

impl Server {
    /// A server that nothing is known of.
    pub fn new(id: ServerId, authority: &str, slot: usize, workers: usize) -> Server {
        Server {
            id,
            authority: authority.into(),
            slot,
            stats: RequestStats::new(workers),
            begin: Instant::now(),
            weight: AtomicU32::new(1),
            max_connections: AtomicU32::new(u32::MAX),
            drained: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            open: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            down_until: AtomicU64::new(0),
        }
    }

    /// Its share of the load beside the others; 0 gets none.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Its weight as algorithms use it: finer, so that a server that has just come back can start with a part of it.
    pub fn share(&self) -> u64 {
        u64::from(self.weight()) << SHARE_BITS
    }

    /// Sets its share of the load.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// Connections that the process may hold to it.
    pub fn max_connections(&self) -> Option<u32> {
        let most = self.max_connections.load(Ordering::Relaxed);
        (most != u32::MAX).then_some(most)
    }

    /// Sets how many connections the process may hold to it.
    pub fn set_max_connections(&self, most: Option<u32>) {
        self.max_connections.store(most.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Whether it finishes what it has and gets nothing new.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Starts or ends its draining.
    pub fn set_drained(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    /// Whether no configuration names it any more: idle connections to it are closed.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Notes whether any configuration names it.
    pub fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Ordering::Relaxed);
    }

    /// Requests that it is working on.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections to it, busy and idle.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether failed connects keep it out for now.
    pub fn is_down(&self) -> bool {
        let until = self.down_until.load(Ordering::Relaxed);
        until != 0 && until > self.millis()
    }

    /// Whether new requests may go to it, as long as others are there.
    pub fn is_usable(&self) -> bool {
        self.is_wanted() && !self.is_down()
    }

    /// Whether the operator wants requests to go to it.
    pub fn is_wanted(&self) -> bool {
        !self.is_drained() && self.weight() > 0
    }

    /// A connect failed: it is passed over for a while, longer each time. Failures of connects that were under way when
    /// it went out say nothing new.
    pub fn connect_failed(&self) {
        if self.is_down() {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(8);
        let pause = FIRST_PAUSE.saturating_mul(1 << failures).min(LONGEST_PAUSE);
        self.down_until.store(self.millis() + pause.as_millis() as u64, Ordering::Relaxed);
    }

    /// A connect succeeded: what failed before is forgotten.
    pub fn connect_succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.down_until.store(0, Ordering::Relaxed);
        }
    }

    /// Takes a lease for one more connection, unless the limit is reached.
    pub fn lease(self: &Arc<Server>, gate: &Arc<Gate>) -> Option<Lease> {
        let most = self.max_connections.load(Ordering::Relaxed);
        let mut open = self.open.load(Ordering::SeqCst);
        loop {
            if open >= most {
                return None;
            }
            match self.open.compare_exchange_weak(open, open + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Some(Lease { server: Arc::clone(self), gate: Arc::clone(gate), quiet: false }),
                Err(now) => open = now,
            }
        }
    }

    /// Idle connections to it, in all workers.
    pub(crate) fn idle(&self) -> u32 {
        self.idle.load(Ordering::SeqCst)
    }

    pub(crate) fn parked(&self) {
        self.idle.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn unparked(&self) {
        self.idle.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn request_began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request_ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }
}

impl Lease {
    /// The server that the connection is to.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Ends it without looking for somebody who waits.
    pub(super) fn give_back(mut self) {
        self.quiet = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::SeqCst);
        if !self.quiet {
            self.gate.released(&self.server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Arc<Server> {
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        Arc::new(Server::new(ServerId { pool: "p".into(), name: "s".into(), address }, "s:1", 0, 1))
    }

    #[test]
    fn leases_stop_at_the_limit_and_come_back() {
        let (server, gate) = (server(), Arc::new(Gate::new(1)));
        server.set_max_connections(Some(1));
        let lease = server.lease(&gate);
        assert!(lease.is_some());
        assert!(server.lease(&gate).is_none());
        drop(lease);
        assert!(server.lease(&gate).is_some());
    }

    #[test]
    fn a_failed_connect_keeps_a_server_out_until_one_succeeds() {
        let server = server();
        server.set_weight(1);
        assert!(server.is_usable());
        server.connect_failed();
        assert!(!server.is_usable());
        server.connect_succeeded();
        assert!(server.is_usable());
    }
}
