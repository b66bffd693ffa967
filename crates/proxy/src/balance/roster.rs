//! In which order the servers of a pool, or of a part of it, are asked: by priority, the nearest zone first.
//!
//! The first level that has a server that may be used serves; the later ones, backups among them, only wait. Inside of a
//! level our own zone takes all as long as enough of it is well, and what it cannot carry spills over: with Envoy's factor
//! ("overprovisioning", 140 %), seven tenths of a zone's weight count as the whole of it, and half of them as 5/7 of it.

use std::sync::Arc;

use super::{Balance, Cursor, Wish, pick};
use crate::policy::View;
use crate::pool::Server;
use base::xxh64::{hash, scale};

/// Servers in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Roster {
    /// The first one first.
    pub levels: Box<[Level]>,
    /// Below this share of usable servers in the level that serves, in hundredths of a percent, health does not count.
    pub panic: u32,
    /// Whether each of the pool's servers is one of these.
    pub members: Box<[bool]>,
}

/// Servers of one priority.
#[derive(Debug)]
pub struct Level {
    /// All of them.
    pub all: Group,
    /// The same by how near they are, if there are both.
    pub zones: Option<Zones>,
}

/// The servers of a level by how near they are.
#[derive(Debug)]
pub struct Zones {
    /// In our own zone.
    pub near: Group,
    /// The others.
    pub far: Group,
}

/// Servers among which an algorithm chooses, with what it has prepared for them.
#[derive(Debug)]
pub struct Group {
    /// A number that stays the same over reloads, for a worker's place in its turn.
    pub key: usize,
    /// What they are called in the pool.
    pub numbers: Box<[usize]>,
    /// The servers, in the order of their identities.
    pub servers: Vec<Arc<Server>>,
    /// How one is chosen.
    pub balance: Balance,
}

/// Envoy's factor, in percent.
const OVERPROVISIONED: u64 = 140;

impl Roster {
    /// Whether anything was prepared by the weights of the servers.
    pub fn is_prepared(&self) -> bool {
        self.levels.iter().any(|level| matches!(level.all.balance, Balance::Hash { .. }))
    }

    /// What is to be known of this request.
    pub(crate) fn wish<'a>(&self, view: impl FnOnce() -> View<'a>) -> Wish {
        self.levels.first().map_or_else(Wish::default, |level| level.all.balance.wish(view))
    }

    /// Whether so few servers of a level are well that it is better to ask all of them. If none is, the next level is asked
    /// first. A server that the operator does not want says nothing of health.
    pub(crate) fn panics(&self, level: &Level) -> bool {
        if self.panic == 0 {
            return false;
        }
        let wanted = || level.all.servers.iter().filter(|server| server.is_wanted());
        let usable = wanted().filter(|server| server.is_usable()).count() as u64;
        usable > 0 && usable * u64::from(base::units::Share::WHOLE) < u64::from(self.panic) * wanted().count() as u64
    }
}

impl Level {
    /// The group to ask, and the one to ask if that has nobody.
    pub(crate) fn groups(&self, wish: Wish, random: &mut fastrand::Rng) -> (&Group, Option<&Group>) {
        let Some(zones) = &self.zones else { return (&self.all, None) };
        let weight = |servers: &mut dyn Iterator<Item = &Arc<Server>>| {
            servers.map(|server| u64::from(server.weight())).sum::<u64>()
        };
        let whole = weight(&mut zones.near.servers.iter());
        let usable = weight(&mut zones.near.servers.iter().filter(|server| server.is_usable()));
        let carries = usable * OVERPROVISIONED;
        if carries >= whole * 100 {
            return (&zones.near, Some(&zones.far));
        }
        // By hash the same requests spill over as long as the same servers are out.
        let drawn = match self.all.balance {
            Balance::Hash { .. } => hash(1, &wish.hash.to_le_bytes()),
            _ => random.u64(..),
        };
        if scale(drawn, whole * 100) < carries {
            (&zones.near, Some(&zones.far))
        } else {
            (&zones.far, Some(&zones.near))
        }
    }
}

impl Group {
    /// Picks one of the servers that `allowed` lets pass, as its number in the pool.
    pub(crate) fn pick(
        &self,
        wish: Wish,
        cursor: &mut Cursor,
        random: &mut fastrand::Rng,
        allowed: impl Fn(&Server) -> bool,
    ) -> Option<usize> {
        let at = pick(&self.balance, &self.servers, wish, cursor, random, allowed)?;
        self.numbers.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::fixture::servers;

    fn group(servers: &[Arc<Server>], numbers: std::ops::Range<usize>) -> Group {
        let members = servers[numbers.clone()].to_vec();
        Group { key: 0, numbers: numbers.collect(), servers: members, balance: Balance::RoundRobin }
    }

    fn near_share(out: &[usize]) -> f64 {
        const DRAWS: u32 = 20_000;
        let servers = servers(&[1; 20]);
        let level = Level {
            all: group(&servers, 0..20),
            zones: Some(Zones { near: group(&servers, 0..10), far: group(&servers, 10..20) }),
        };
        out.iter().for_each(|number| servers[*number].set_drained(true));
        let mut random = fastrand::Rng::with_seed(1);
        let near = (0..DRAWS).filter(|_| level.groups(Wish::default(), &mut random).0.numbers.contains(&0)).count();
        near as f64 / f64::from(DRAWS)
    }

    /// As Envoy's table has it: 140 % of what is well, and never more than all.
    #[test]
    fn what_our_zone_cannot_carry_spills_over() {
        for (out, wanted) in [(0, 1.0), (2, 1.0), (3, 0.98), (5, 0.7), (9, 0.14), (10, 0.0)] {
            let share = near_share(&(0..out).collect::<Vec<_>>());
            assert!((share - wanted).abs() < 0.01, "{out} out: {share}");
        }
    }

    #[test]
    fn a_level_panics_below_its_share_but_not_when_none_is_left() {
        let servers = servers(&[1; 4]);
        let level = || Level { all: group(&servers, 0..4), zones: None };
        let roster = |panic| Roster { levels: [level()].into(), panic, members: Box::default() };
        let panics = |panic| roster(panic).panics(&level());
        assert!(!panics(5000));
        servers[0].set_checked_down(true);
        servers[1].set_checked_down(true);
        assert!(!panics(5000) && panics(5001) && !panics(0));
        servers[2].set_checked_down(true);
        servers[3].set_checked_down(true);
        assert!(!panics(10_000));
    }

    #[test]
    fn what_the_operator_does_not_want_is_no_reason_to_panic() {
        let servers = servers(&[1, 1, 1, 1, 0]);
        let level = || Level { all: group(&servers, 0..5), zones: None };
        let roster = |panic| Roster { levels: [level()].into(), panic, members: Box::default() };
        let panics = |panic| roster(panic).panics(&level());
        servers[0].set_drained(true);
        servers[1].set_drained(true);
        assert!(!panics(10_000));
        servers[2].set_checked_down(true);
        assert!(!panics(5000) && panics(5001));
    }
}
