//! One server: what it is, and what all workers know of it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use net::Address;
use net::dial::Security;
use observe::stats::RequestStats;

use super::Gate;
use super::complaints::Complaints;
use super::conduct::{Conduct, Ejections, Errors};
use super::standing::{Reason, Standing, UNWANTED};
use crate::balance::Latency;
use crate::balance::outlier::Verdict;

/// The identity of a server: state is kept by it over reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    /// The pool's name.
    pub pool: Arc<str>,
    /// The server's name: its key, or its address as written.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// What its connections are made with: 0 if they are plain, else a number for the settings of TLS.
    pub transport: u64,
}

/// A server. Its numbers are shared by all workers.
#[derive(Debug)]
pub struct Server {
    /// Its identity.
    pub id: ServerId,
    /// `host:port` as written, for pools that send it as Host.
    pub authority: Box<str>,
    /// Its place in tables that workers keep; given once, never used again for another. From [`LOCAL`] on it is one that a worker has
    /// given to a server that it has found by itself.
    pub slot: usize,
    /// Its requests.
    pub stats: RequestStats,
    security: Option<Security>,
    standing: Standing,
    conduct: Conduct,
    complaints: Complaints,
    last_failure: Mutex<Cow<'static, str>>,
    weight: AtomicU32,
    /// The part of its weight that it gets for now, in [`WHOLE`]s.
    ramp: AtomicU32,
    share: AtomicU64,
    max_connections: AtomicU32,
    retired: AtomicBool,
    in_flight: AtomicU32,
    open: AtomicU32,
    idle: AtomicU32,
    latency: Latency,
    /// Requests in flight at all servers of its pool; there once an algorithm has asked for it.
    crowd: OnceLock<Arc<AtomicU32>>,
}

/// A right to hold one connection to a server. Dropping it lets the next waiter have one.
#[derive(Debug)]
pub struct Lease {
    server: Arc<Server>,
    gate: Arc<Gate>,
    /// The gate has counted it.
    counted: bool,
    /// Nobody is told when it ends.
    quiet: bool,
}

/// Places from here on are a worker's own.
pub(crate) const LOCAL: usize = 1 << (usize::BITS - 1);

/// How much finer than a weight a share is: a weight of 1 is a share of this.
pub const WHOLE: u32 = 1 << 10;

/// Whether a request in flight was counted for its pool, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Counted(bool);

impl Server {
    /// A server that nothing is known of.
    pub fn new(id: ServerId, authority: &str, slot: usize, workers: usize) -> Server {
        Server {
            id,
            authority: authority.into(),
            slot,
            stats: RequestStats::new(workers),
            security: None,
            standing: Standing::new(),
            conduct: Conduct::default(),
            complaints: Complaints::default(),
            last_failure: Mutex::default(),
            weight: AtomicU32::new(1),
            ramp: AtomicU32::new(WHOLE),
            share: AtomicU64::new(u64::from(WHOLE)),
            max_connections: AtomicU32::new(u32::MAX),
            retired: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            open: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            latency: Latency::default(),
            crowd: OnceLock::new(),
        }
    }

    /// With the count of ejections that it shares with the other servers of its pool.
    #[must_use]
    pub fn among(self, ejections: &Arc<Ejections>) -> Server {
        Server { conduct: Conduct::new(Arc::clone(ejections)), ..self }
    }

    /// With TLS on its connections.
    #[must_use]
    pub fn secured(self, security: Option<Security>) -> Server {
        Server { security, ..self }
    }

    /// TLS on its connections, if there is any.
    pub fn security(&self) -> Option<&Security> {
        self.security.as_ref()
    }

    /// Its share of the load beside the others; 0 gets none.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Its weight as algorithms use it: finer, so that a server that has just come back can start with a part of it.
    pub fn share(&self) -> u64 {
        self.share.load(Ordering::Relaxed)
    }

    /// Sets its share of the load. Only control does, so that what follows from it cannot be mixed up.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
        self.standing.set(Reason::Weightless, weight == 0);
        self.reckon();
    }

    /// The part of its weight that it gets for now, in [`WHOLE`]s.
    pub fn ramp(&self) -> u32 {
        self.ramp.load(Ordering::Relaxed)
    }

    /// Sets the part of its weight that it gets for now, in [`WHOLE`]s. Only control does.
    pub fn set_ramp(&self, ramp: u32) {
        self.ramp.store(ramp.min(WHOLE), Ordering::Relaxed);
        self.reckon();
    }

    fn reckon(&self) {
        let share = u64::from(self.weight()) * u64::from(self.ramp());
        // A server that is wanted never has no share at all.
        self.share.store(share.max(u64::from(self.weight().min(1))), Ordering::Relaxed);
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

    /// Whether it may have one more connection.
    pub(crate) fn has_room(&self) -> bool {
        self.open.load(Ordering::SeqCst) < self.max_connections.load(Ordering::Relaxed)
    }

    /// Whether it finishes what it has and gets nothing new.
    pub fn is_drained(&self) -> bool {
        self.standing.has(Reason::Drained)
    }

    /// Starts or ends its draining.
    pub fn set_drained(&self, drained: bool) {
        self.standing.set(Reason::Drained, drained);
    }

    /// Whether no configuration names it any more: idle connections to it are closed.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Notes whether any configuration names it.
    pub fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Ordering::SeqCst);
    }

    /// Requests that it is working on.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections to it, busy and idle.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections to it that carry a request or are being opened.
    pub fn busy(&self) -> u32 {
        self.open().saturating_sub(self.idle.load(Ordering::Relaxed))
    }

    /// Begins to keep an average of its latency.
    pub fn follow_latency(&self) {
        self.latency.follow();
    }

    /// Whether [`Server::answered`] has anything to do.
    pub(crate) fn is_latency_followed(&self) -> bool {
        self.latency.is_followed()
    }

    /// It has taken this long for an answer, or has failed to give one.
    pub(crate) fn answered(&self, took: Duration, now: Instant) {
        self.latency.observe(took, now);
    }

    /// The latency that is expected of it, in microseconds; 0 if nothing is known.
    pub(crate) fn expected_latency(&self, now: Option<Instant>) -> f64 {
        self.latency.expected(now)
    }

    /// Counts its requests for the pool, too, from now on.
    pub fn count_for(&self, crowd: &Arc<AtomicU32>) {
        // A pool keeps its count for as long as it has its name, so there never is another one.
        let _ = self.crowd.set(Arc::clone(crowd));
    }

    /// Whether new requests may go to it: it is wanted, and neither failed connects nor active checks nor its answers speak
    /// against it. One relaxed load while nothing does.
    pub fn is_usable(&self) -> bool {
        self.standing.is_usable()
    }

    /// Whether requests of clients that stay with it may go to it: as [`Server::is_usable`], but they may while it is drained.
    pub(crate) fn is_usable_for_its_own(&self) -> bool {
        self.standing.is_usable_but_for(UNWANTED)
    }

    /// Whether the operator wants requests to go to it.
    pub fn is_wanted(&self) -> bool {
        self.standing.is_wanted()
    }

    /// Whether failed connects keep it out for now.
    pub fn is_paused(&self) -> bool {
        self.standing.is_paused()
    }

    /// Whether active checks say that it is down: then nothing new goes to it, even if no other is left.
    pub fn is_checked_down(&self) -> bool {
        self.standing.has(Reason::CheckedDown)
    }

    /// Notes what active checks say; answers whether that is new.
    pub fn set_checked_down(&self, down: bool) -> bool {
        self.standing.set(Reason::CheckedDown, down)
    }

    /// Whether it is out for a while, because it answered badly.
    pub fn is_ejected(&self) -> bool {
        self.standing.has(Reason::Ejected)
    }

    /// Sets how many errors in a row eject it at once; 0 lets none.
    pub fn set_most_errors(&self, most: u32) {
        self.conduct.set_limit(most);
    }

    /// Errors in a row, the last of which may have ejected it.
    pub fn errors(&self) -> Errors {
        self.conduct.errors(self.standing.millis())
    }

    /// How many servers of its pool are ejected, and may be.
    pub fn ejections(&self) -> &Ejections {
        self.conduct.ejections()
    }

    /// Hears how a try went. A server with too many errors in a row is out from here on, if its pool can spare it.
    pub(crate) fn hear(&self, verdict: impl FnOnce() -> Verdict) {
        if self.conduct.listens() && self.conduct.hear(verdict(), || self.standing.millis()) {
            self.eject();
        }
    }

    /// Another server has answered a request in its place. Answers whether its own answer should be waited for, to see
    /// whether it hangs; whoever does tells [`Server::was_waited_for`].
    pub(crate) fn was_overtaken(&self) -> bool {
        self.conduct.was_overtaken(|| self.standing.millis())
    }

    /// The answer that was waited for has come, or it did not come in time.
    pub(crate) fn was_waited_for(&self, verdict: Option<Verdict>) {
        self.conduct.was_waited_for();
        match verdict {
            Some(verdict) => self.hear(|| verdict),
            None if self.conduct.hangs() => drop(self.eject()),
            None => {}
        }
    }

    /// Ejects it, if its pool can spare it; answers whether it did.
    pub fn eject(&self) -> bool {
        if self.is_ejected() || !self.conduct.ejections().take() {
            return false;
        }
        if !self.standing.set(Reason::Ejected, true) {
            self.conduct.ejections().give_back();
            return false;
        }
        // Whoever retires a server pardons it afterwards: one of the two sees the other.
        if self.is_retired() {
            self.pardon();
        }
        true
    }

    /// Ends its ejection.
    pub fn pardon(&self) {
        self.conduct.forget();
        if self.standing.set(Reason::Ejected, false) {
            self.conduct.ejections().give_back();
        }
    }

    /// A connect failed: it is passed over for a while, longer each time.
    pub fn connect_failed(&self, why: Cow<'static, str>) {
        // Who finds it locked has nothing to add: somebody else has just failed, too.
        if let Ok(mut last) = self.last_failure.try_lock() {
            *last = why;
        }
        self.standing.connect_failed();
    }

    /// Why the last connect has failed, of those that have.
    pub fn last_failure(&self) -> Cow<'static, str> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the log may hear of another failure of it now; if so, how many it did not hear of.
    pub(crate) fn may_complain(&self) -> Option<u32> {
        self.complaints.may_say(self.standing.millis())
    }

    /// A connect succeeded: what failed before is forgotten.
    pub fn connect_succeeded(&self) {
        self.standing.connect_succeeded();
    }

    /// Connects that failed since the last one that succeeded.
    pub fn connect_failures(&self) -> u32 {
        self.standing.failures()
    }

    /// How often failed connects have kept it out.
    pub fn pauses(&self) -> u64 {
        self.standing.pauses()
    }

    /// Takes a lease for one more connection, unless its limit or the pool's is reached.
    pub fn lease(self: &Arc<Server>, gate: &Arc<Gate>) -> Option<Lease> {
        let most = self.max_connections.load(Ordering::Relaxed);
        let mut open = self.open.load(Ordering::SeqCst);
        loop {
            if open >= most {
                return None;
            }
            match self.open.compare_exchange_weak(open, open + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(now) => open = now,
            }
        }
        let counted = gate.is_limited();
        if counted && !gate.open() {
            self.open.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        Some(Lease { server: Arc::clone(self), gate: Arc::clone(gate), counted, quiet: false })
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

    pub(crate) fn request_began(&self) -> Counted {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let crowd = self.crowd.get();
        if let Some(crowd) = crowd {
            crowd.fetch_add(1, Ordering::Relaxed);
        }
        Counted(crowd.is_some())
    }

    pub(crate) fn request_ended(&self, counted: Counted) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(crowd) = self.crowd.get().filter(|_| counted.0) {
            crowd.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Lease {
    /// The server that the connection is to.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Whether it is within the limit of connections to all servers of the pool. A connection that is older than the limit is
    /// counted when this is asked first, which is when it has nothing to do: until then there may be more than the limit says,
    /// and one for which there is no room then should end.
    pub(super) fn is_within_limit(&mut self) -> bool {
        if !self.counted && self.gate.is_limited() {
            self.counted = self.gate.open();
            return self.counted;
        }
        true
    }

    /// Whether somebody waits who could have its place, and no other.
    pub(super) fn is_waited_for(&self) -> bool {
        self.gate.waiting() > 0 && !(self.server.has_room() && self.gate.has_room())
    }

    /// Ends it without looking for somebody who waits.
    pub(super) fn give_back(mut self) {
        self.quiet = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::SeqCst);
        if self.counted {
            self.gate.close();
        }
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
        Arc::new(Server::new(ServerId { pool: "p".into(), name: "s".into(), address, transport: 0 }, "s:1", 0, 1))
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
        assert!(server.is_usable());
        server.connect_failed("refused".into());
        assert!(!server.is_usable());
        server.connect_succeeded();
        assert!(server.is_usable());
    }
    #[test]
    fn errors_in_a_row_eject_as_long_as_the_pool_can_spare_it() {
        let ejections = Arc::new(Ejections::default());
        ejections.set_most(1);
        let make = || {
            let server = Arc::into_inner(server()).expect("the only one").among(&ejections);
            server.set_most_errors(3);
            server
        };
        let (one, two) = (make(), make());
        let bad = Verdict::Bad(crate::balance::outlier::Misdeed::Status(502));
        for verdict in [bad, bad, Verdict::Good, bad, bad, Verdict::Nothing] {
            one.hear(|| verdict);
        }
        assert!(one.is_usable());
        one.hear(|| bad);
        assert!(one.is_ejected() && !one.is_usable() && one.is_wanted() && one.errors().count == 3);
        (0..5).for_each(|_| two.hear(|| bad));
        assert!(!two.is_ejected() && ejections.now() == 1);
        one.pardon();
        one.pardon();
        assert!(one.is_usable() && ejections.now() == 0);
        two.hear(|| bad);
        assert!(two.is_ejected() && ejections.now() == 1);
        two.set_retired(true);
        two.pardon();
        (0..5).for_each(|_| two.hear(|| bad));
        assert!(!two.is_ejected() && ejections.now() == 0);
    }

    #[test]
    fn a_server_that_hangs_behind_hedges_is_ejected_and_a_slower_one_is_not() {
        let ejections = Arc::new(Ejections::default());
        ejections.set_most(1);
        let server = Arc::into_inner(server()).expect("the only one").among(&ejections);
        assert!((0..5).all(|_| !server.was_overtaken()));
        server.set_most_errors(3);
        let overtakings = |count: usize| (0..count).map(|_| server.was_overtaken()).collect::<Vec<_>>();
        // Whoever answers now and then is not waited for.
        for _ in 0..5 {
            assert_eq!(overtakings(2), [false; 2]);
            server.hear(|| Verdict::Good);
        }
        assert_eq!(overtakings(5), [false, false, true, false, false]);
        server.was_waited_for(Some(Verdict::Good));
        assert!(server.is_usable() && server.errors().count == 0);
        assert_eq!(overtakings(4), [false, false, true, false]);
        server.was_waited_for(None);
        assert!(server.is_ejected() && server.errors().count == 4);
        server.pardon();
        assert_eq!(overtakings(3), [false, false, true]);
    }

    #[test]
    fn a_share_is_the_weight_times_the_ramp() {
        let server = server();
        server.set_weight(3);
        assert_eq!(server.share(), 3 * u64::from(WHOLE));
        server.set_ramp(WHOLE / 4);
        assert_eq!(server.share(), 3 * u64::from(WHOLE) / 4);
        server.set_weight(0);
        assert!(server.share() == 0 && !server.is_wanted());
        server.set_weight(1);
        server.set_ramp(0);
        assert!(server.share() == 1 && server.is_usable());
    }
}
