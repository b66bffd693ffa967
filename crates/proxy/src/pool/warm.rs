//! Connections that are opened before a request needs them, in pools with `warm`.
//!
//! A pool says how many connections to each server the process keeps ready. Every worker opens a fixed part of them, so that
//! the number is met exactly whatever the number of workers, and no worker has to ask another. What is used, ages out or
//! is closed by its server is opened again. A server that may not be used, or is at its limit, gets none; one that does not
//! answer is asked by one connect at a time, with a pause between them that doubles.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Conn;
use net::dial::{Call, dial, is_shortage};

use super::{Lease, Pool, Server, trunks};
use crate::attempt;
use crate::worker::Worker;

/// What one worker opens ahead.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    /// By [`Server::slot`].
    by_slot: RefCell<Vec<Opening>>,
}

/// The connects to one server that are under way, and what the last ones have shown.
#[derive(Debug, Default)]
struct Opening {
    under_way: u32,
    course: Course,
}

/// What may be opened next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Connects succeed: everything that is missing, at once.
    Steady,
    /// Nobody knows whether the server answers: one connect shows it. If it fails, a pause of this length follows.
    Trying(Duration),
    /// Nothing before this moment, then one connect; the second is the pause after that.
    Pausing(Instant, Duration),
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Opens what is missing, to all servers of all pools that are kept warm.
pub(crate) fn keep_all(worker: &Rc<Worker>) {
    let snapshot = worker.pin();
    for pool in &snapshot.warm {
        for server in &pool.servers {
            keep(worker, pool, server);
        }
    }
}

/// Opens what is missing of this worker's part to one server.
pub(crate) fn keep(worker: &Rc<Worker>, pool: &Arc<Pool>, server: &Arc<Server>) {
    let part = part_of(worker.id.0, worker.fleet.len(), server.slot, pool.warm);
    let here = if pool.shares() { worker.trunks.count(server) } else { worker.idle.count(server) };
    if here >= part || worker.is_draining() || !server.is_usable() || server.is_retired() {
        return;
    }
    // What is free belongs to those who wait for it.
    if pool.limited && pool.gate.waiting() > 0 {
        return;
    }
    if let Some(protocol) = pool.shared {
        // Shared connections are opened one at a time, each with a task that looks after the pauses by itself.
        if !worker.trunks.is_opening(server)
            && worker.warm.may_open(server.slot, 1, Instant::now()) > 0
            && let Some(lease) = server.lease(&pool.gate)
        {
            trunks::open(worker, pool, protocol, lease);
        }
        return;
    }
    for _ in 0..worker.warm.may_open(server.slot, part - here, Instant::now()) {
        let Some(lease) = server.lease(&pool.gate) else { return };
        worker.warm.began(server.slot);
        tokio::task::spawn_local(open(Rc::clone(worker), Arc::clone(pool), lease));
    }
}

async fn open(worker: Rc<Worker>, pool: Arc<Pool>, lease: Lease) {
    let server = Arc::clone(lease.server());
    let call = Call { security: server.security(), ..Call::default() };
    let dialled = tokio::time::timeout(pool.connect, dial(&server.id.address, &call)).await;
    let now = Instant::now();
    let is_first = match dialled {
        Ok(Ok(dialled)) => {
            server.connect_succeeded();
            let is_first = worker.warm.ended(server.slot, Course::Steady);
            if server.is_wanted() && !worker.is_draining() {
                // Those that were opened together do not all age out together.
                let sooner = worker.random.borrow_mut().f64() / 8.0;
                worker.idle.park(Conn::new(dialled.stream), lease, now, pool.pooled.mul_f64(1.0 - sooner));
                worker.relinquish(&server, &pool.gate);
            }
            is_first
        }
        failed => {
            match failed {
                Ok(Err(error)) if is_shortage(&error) => {}
                Ok(Err(error)) => server.connect_failed(attempt::cause(&error)),
                _ => server.connect_failed(attempt::LATE),
            }
            worker.warm.failed(server.slot, now)
        }
    };
    if is_first {
        keep_all(&worker);
    }
}

impl Warm {
    /// How many of the missing connections may be opened now.
    fn may_open(&self, slot: usize, missing: u32, now: Instant) -> u32 {
        let mut all = self.by_slot.borrow_mut();
        if all.len() <= slot {
            all.resize_with(slot + 1, Opening::default);
        }
        let opening = &mut all[slot];
        opening.course = opening.course.at(now);
        match opening.course {
            Course::Steady => missing.saturating_sub(opening.under_way),
            Course::Trying(_) => u32::from(opening.under_way == 0),
            Course::Pausing(..) => 0,
        }
    }

    fn began(&self, slot: usize) {
        if let Some(opening) = self.by_slot.borrow_mut().get_mut(slot) {
            opening.under_way += 1;
        }
    }

    /// One connect less is under way. Answers whether it has shown that others may follow.
    fn ended(&self, slot: usize, course: Course) -> bool {
        let mut all = self.by_slot.borrow_mut();
        let Some(opening) = all.get_mut(slot) else { return false };
        opening.under_way -= 1;
        let news = course == Course::Steady && opening.course != Course::Steady;
        opening.course = course;
        news
    }

    fn failed(&self, slot: usize, now: Instant) -> bool {
        let course = self.by_slot.borrow().get(slot).map(|opening| opening.course.after_failure(now));
        self.ended(slot, course.unwrap_or_default())
    }
}

impl Default for Course {
    fn default() -> Course {
        Course::Trying(FIRST_PAUSE)
    }
}

impl Course {
    fn at(self, now: Instant) -> Course {
        match self {
            Course::Pausing(until, pause) if until <= now => Course::Trying(pause),
            other => other,
        }
    }

    /// Of several connects that were under way together only the first failure makes a pause.
    fn after_failure(self, now: Instant) -> Course {
        match self {
            Course::Steady => Course::Pausing(now + FIRST_PAUSE, FIRST_PAUSE * 2),
            Course::Trying(pause) => Course::Pausing(now + pause, (pause * 2).min(LONGEST_PAUSE)),
            pausing @ Course::Pausing(..) => pausing,
        }
    }
}

/// How many of the connections to a server one worker opens: they are dealt out one by one, beginning with another worker
/// for each server.
fn part_of(worker: usize, workers: usize, slot: usize, warm: u32) -> u32 {
    let (workers, warm) = (workers.max(1), warm as usize);
    let turn = (worker + workers - slot % workers) % workers;
    (warm / workers + usize::from(turn < warm % workers)) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_parts_of_all_workers_make_the_whole(workers in 1..64_usize, slot in 0..10_000_usize, warm in 0..1024_u32) {
            let parts: Vec<u32> = (0..workers).map(|worker| part_of(worker, workers, slot, warm)).collect();
            prop_assert_eq!(parts.iter().sum::<u32>(), warm);
            prop_assert!(parts.iter().max().zip(parts.iter().min()).is_some_and(|(most, least)| most - least <= 1));
        }

        #[test]
        fn a_single_connection_to_each_of_many_servers_is_dealt_out_evenly(workers in 1..16_usize, rounds in 1..20_usize) {
            let of = |worker| (0..workers * rounds).map(|slot| part_of(worker, workers, slot, 1)).sum::<u32>() as usize;
            prop_assert!((0..workers).all(|worker| of(worker) == rounds));
        }
    }

    #[test]
    fn one_connect_shows_whether_more_may_follow() {
        let (warm, now) = (Warm::default(), Instant::now());
        assert_eq!(warm.may_open(3, 4, now), 1);
        warm.began(3);
        assert_eq!(warm.may_open(3, 4, now), 0, "the first has not come back");
        assert!(warm.ended(3, Course::Steady));
        assert_eq!(warm.may_open(3, 3, now), 3);
        (0..3).for_each(|_| warm.began(3));
        assert_eq!(warm.may_open(3, 3, now), 0, "all are under way");
        assert!(!warm.ended(3, Course::Steady), "no news");
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let (warm, mut now) = (Warm::default(), Instant::now());
        for pause in [250, 500, 1000, 2000, 4000, 8000, 8000] {
            assert_eq!(warm.may_open(0, 9, now), 1);
            warm.began(0);
            assert!(!warm.failed(0, now));
            now += Duration::from_millis(pause) - Duration::from_millis(1);
            assert_eq!(warm.may_open(0, 9, now), 0, "{pause}");
            now += Duration::from_millis(1);
        }
        assert_eq!(warm.may_open(0, 9, now), 1);
        warm.began(0);
        assert!(warm.ended(0, Course::Steady));
        assert_eq!(warm.may_open(0, 9, now), 9);
    }

    #[test]
    fn connects_that_fail_together_make_one_pause() {
        let (warm, now) = (Warm::default(), Instant::now());
        warm.may_open(0, 1, now);
        warm.began(0);
        warm.ended(0, Course::Steady);
        (0..4).for_each(|_| warm.began(0));
        (0..4).for_each(|_| assert!(!warm.failed(0, now)));
        assert_eq!(warm.may_open(0, 4, now + FIRST_PAUSE), 1);
    }
}
