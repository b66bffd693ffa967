//! Which server a request goes to: the order of preference among those that may be asked, and what is free of them.

use std::sync::Arc;

use http::Conn;

use super::lead_on::is_led_on;
use crate::balance::{Group, Level, Roster, Wish};
use crate::exchange::Exchange;
use crate::pool::{Lease, Parked, Pool, Server, Suited};
use crate::snapshot::Arm;
use crate::worker::Worker;

pub(super) enum Choice {
    /// No server may be used at all.
    None,
    /// An idle connection.
    Idle(usize, Parked),
    /// The right to open one.
    Lease(usize, Lease),
    /// A part of a connection that is shared.
    Lane(usize, Conn),
    /// One that will be shared is being opened.
    Opening(usize),
    /// Every server that may be used is at its limit.
    Saturated,
}

/// The servers of a level that may be asked, as long as there is nobody whom an earlier turn lets pass.
struct Turn<'a> {
    level: &'a Level,
    demand: Demand,
    /// Slots of servers that are passed over.
    without: &'a [usize],
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// Nothing speaks against it.
    Usable,
    /// It is wanted, and active checks do not call it down.
    NotDown,
    /// It is wanted.
    Wanted,
}

/// Chooses for a request that has tried these servers before; `own` is the one that its client stays with.
pub(super) fn choose(
    worker: &Worker,
    arm: &Arm,
    wish: Wish,
    own: Option<usize>,
    tried: &[usize],
    suited: Suited,
) -> Choice {
    let pool = &arm.pool;
    let has_room = |server: &Server| {
        !pool.limited || has_free(worker, pool, server, suited) || (server.has_room() && pool.gate.has_room())
    };
    choose_by(worker, arm, wish, own, tried, has_room, |number| take(worker, pool, number, suited))
}

/// The same by what the request is: a tunnel has a connection of its own, and one that a proxy has led on is for where it leads.
pub(super) fn choose_for(
    worker: &Worker,
    x: &Exchange,
    arm: &Arm,
    wish: Wish,
    own: Option<usize>,
    tried: &[usize],
) -> Choice {
    if x.is_tunnel() {
        return choose_new(worker, arm, wish, own, tried);
    }
    if arm.races {
        // A connection that stands is better than one to an address that comes first.
        let idle = |(number, server): (usize, &Arc<Server>)| Some((number, worker.idle.take(server, Suited::Any)?));
        let mut others = arm.pool.servers.iter().enumerate().filter(|(_, server)| !tried.contains(&server.slot));
        if let Some((number, parked)) = others.find_map(idle) {
            return Choice::Idle(number, parked);
        }
    }
    let suited = match &x.beyond {
        Some(place) if is_led_on(x, arm) => Suited::To(place),
        _ => Suited::Straight,
    };
    choose(worker, arm, wish, own, tried, suited)
}

/// The same for what never finds a connection that is there: the right to open one.
pub(super) fn choose_new(worker: &Worker, arm: &Arm, wish: Wish, own: Option<usize>, tried: &[usize]) -> Choice {
    let pool = &arm.pool;
    let has_room = |server: &Server| !pool.limited || (server.has_room() && pool.gate.has_room());
    let take = |number: usize| pool.servers[number].lease(&pool.gate).map(|lease| Choice::Lease(number, lease));
    choose_by(worker, arm, wish, own, tried, has_room, take)
}

fn choose_by(
    worker: &Worker,
    arm: &Arm,
    wish: Wish,
    own: Option<usize>,
    tried: &[usize],
    has_room: impl Fn(&Server) -> bool + Copy,
    take: impl Fn(usize) -> Option<Choice>,
) -> Choice {
    if let Some(number) = still(&arm.pool, own) {
        return take(number).unwrap_or(Choice::Saturated);
    }
    let roster = arm.roster();
    for turn in turns(roster, tried) {
        // With a limit, a race with another worker can take what was free a moment ago: then the choice is made again.
        for _ in 0..turn.level.all.servers.len() {
            let Some(number) = pick(worker, &turn, wish, has_room) else { break };
            if let Some(choice) = take(number) {
                return choice;
            }
        }
        if turn.has_anybody() {
            return Choice::Saturated;
        }
    }
    Choice::None
}

/// The servers to wait for when [`choose`] finds them at their limits: first the one that it would choose if none were.
pub(super) fn awaited(worker: &Worker, arm: &Arm, wish: Wish, own: Option<usize>, tried: &[usize]) -> Vec<Arc<Server>> {
    let pool = &arm.pool;
    if let Some(number) = still(pool, own) {
        return vec![Arc::clone(&pool.servers[number])];
    }
    let Some(turn) = turns(arm.roster(), tried).find(Turn::has_anybody) else { return Vec::new() };
    let first = pick(worker, &turn, wish, |_| true).map(|number| &pool.servers[number]);
    let others = turn.servers().filter(|server| first.is_none_or(|first| first.slot != server.slot));
    first.into_iter().chain(others).map(Arc::clone).collect()
}

/// Whether a server is one of those to wait for.
pub(super) fn accepts(arm: &Arm, own: Option<usize>, tried: &[usize], server: &Server) -> bool {
    if let Some(number) = still(&arm.pool, own) {
        return arm.pool.servers[number].slot == server.slot;
    }
    let turn = turns(arm.roster(), tried).find(Turn::has_anybody);
    turn.is_some_and(|turn| turn.servers().any(|other| other.slot == server.slot))
}

/// In which order servers are asked: those that are well and untried, well ones again, and at the very end those that are
/// paused or ejected, the untried ones first. So none of these gets what a server could have that is well, in whatever level,
/// even if that one has just failed this request. Where so few of a level are well that it panics, all of it count as well.
/// A server that active checks call down gets nothing, unless the pool may panic.
fn turns<'a>(roster: &'a Roster, tried: &'a [usize]) -> impl Iterator<Item = Turn<'a>> {
    let last = if roster.panic > 0 { Demand::Wanted } else { Demand::NotDown };
    let rounds = [(true, true), (true, false), (false, true), (false, false)];
    let again = !tried.is_empty();
    rounds.into_iter().filter(move |(_, fresh)| *fresh || again).flat_map(move |(well, fresh)| {
        let without = if fresh { tried } else { &[] };
        roster.levels.iter().map(move |level| {
            let demand = match well {
                true if roster.panics(level) => Demand::Wanted,
                true => Demand::Usable,
                false => last,
            };
            Turn { level, demand, without }
        })
    })
}

/// The client's own server, if it may still be used.
fn still(pool: &Pool, own: Option<usize>) -> Option<usize> {
    own.filter(|number| pool.servers[*number].is_usable_for_its_own())
}

/// Whether this worker has a connection to this server that could take a request, or soon will.
fn has_free(worker: &Worker, pool: &Pool, server: &Server, suited: Suited) -> bool {
    if pool.shares() { worker.trunks.has(server) } else { worker.idle.has(server, suited) }
}

/// A connection to this server, or the right to open one.
fn take(worker: &Worker, pool: &Pool, number: usize, suited: Suited) -> Option<Choice> {
    let server = &pool.servers[number];
    if pool.shares() {
        if let Some(conn) = worker.trunks.lane(server) {
            return Some(Choice::Lane(number, conn));
        }
        if worker.trunks.is_opening(server) {
            return Some(Choice::Opening(number));
        }
        return server.lease(&pool.gate).map(|lease| Choice::Lease(number, lease));
    }
    if let Some(parked) = worker.idle.take(server, suited) {
        return Some(Choice::Idle(number, parked));
    }
    server.lease(&pool.gate).map(|lease| Choice::Lease(number, lease))
}

fn pick(worker: &Worker, turn: &Turn, wish: Wish, has_room: impl Fn(&Server) -> bool) -> Option<usize> {
    let allowed = |server: &Server| turn.admits(server) && has_room(server);
    let mut random = worker.random.borrow_mut();
    let (first, second) = turn.level.groups(wish, &mut random);
    let mut pick = |group: &Group| match &group.servers[..] {
        // Where there is nothing to choose, nobody's turn is looked up.
        [only] => group.numbers.first().copied().filter(|_| allowed(only)),
        _ => worker.with_cursor(group.key, |cursor| group.pick(wish, cursor, &mut random, allowed)),
    };
    pick(first).or_else(|| second.and_then(pick))
}

impl Turn<'_> {
    fn admits(&self, server: &Server) -> bool {
        self.demand.is_met_by(server) && !self.without.contains(&server.slot)
    }

    fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.level.all.servers.iter().filter(|server| self.admits(server))
    }

    fn has_anybody(&self) -> bool {
        self.servers().next().is_some()
    }
}

impl Demand {
    fn is_met_by(self, server: &Server) -> bool {
        match self {
            Demand::Usable => server.is_usable(),
            Demand::NotDown => server.is_wanted() && !server.is_checked_down(),
            Demand::Wanted => server.is_wanted(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{Balance, fixture};

    /// Two levels of two servers each: 0 and 1, 2 and 3.
    fn roster(servers: &[Arc<Server>], panic: u32) -> Roster {
        let level = |numbers: std::ops::Range<usize>| {
            let servers = servers[numbers.clone()].to_vec();
            let all = Group { key: 0, numbers: numbers.collect(), servers, balance: Balance::RoundRobin };
            Level { all, zones: None }
        };
        Roster { levels: [level(0..2), level(2..4)].into(), panic, members: Box::default() }
    }

    /// In which order they are asked, each once.
    fn order(roster: &Roster, tried: &[usize]) -> Vec<Vec<usize>> {
        let mut seen = Vec::new();
        let new = |turn: Turn| {
            let slots: Vec<usize> = turn.servers().map(|server| server.slot).collect();
            let new = slots.into_iter().filter(|slot| !seen.contains(slot)).collect::<Vec<_>>();
            seen.extend(&new);
            new
        };
        turns(roster, tried).map(new).filter(|new| !new.is_empty()).collect()
    }

    #[test]
    fn well_ones_come_first_and_untried_ones_among_equals() {
        let servers = fixture::servers(&[1; 4]);
        let calm = roster(&servers, 0);
        assert_eq!(order(&calm, &[]), [[0, 1], [2, 3]]);
        assert_eq!(order(&calm, &[1]), [vec![0], vec![2, 3], vec![1]]);
        servers[0].connect_failed("".into());
        servers[2].connect_failed("".into());
        assert_eq!(order(&calm, &[]), [[1], [3], [0], [2]]);
        assert_eq!(order(&calm, &[1, 3]), [[1], [3], [0], [2]], "none that has only failed once gives way");
        assert_eq!(order(&calm, &[0]), [[1], [3], [2], [0]]);
    }

    #[test]
    fn who_is_checked_down_is_asked_in_a_panic_and_at_the_very_end_if_the_pool_may_panic() {
        let servers = fixture::servers(&[1; 4]);
        servers[0].set_checked_down(true);
        assert_eq!(order(&roster(&servers, 0), &[]), [vec![1], vec![2, 3]]);
        // Half of the first level is well.
        assert_eq!(order(&roster(&servers, 4_000), &[1]), [vec![2, 3], vec![1], vec![0]]);
        assert_eq!(order(&roster(&servers, 6_000), &[1]), [vec![0], vec![2, 3], vec![1]]);
    }

    #[test]
    fn nobody_is_asked_who_is_not_wanted() {
        let servers = fixture::servers(&[1, 0, 1, 1]);
        servers[0].set_drained(true);
        for panic in [0, 9_999] {
            assert_eq!(order(&roster(&servers, panic), &[3]).concat(), [2, 3]);
        }
    }
}
