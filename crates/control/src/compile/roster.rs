//! In which order servers are asked: levels by priority, our own zone first, subsets by label.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::spec;
use proxy::balance::{Group, Level, Roster, Zones};
use proxy::pool::Server;

use super::balance;
use crate::registry::Registry;

/// A server of a pool, with what was said of it and the weight that it will have.
pub(super) struct Placed<'a> {
    pub(super) server: Arc<Server>,
    pub(super) said: &'a spec::Server,
    pub(super) weight: u32,
}

/// The roster of those of a pool's servers that have all of these labels.
pub(super) fn roster(
    pool: &spec::Pool,
    placed: &[Placed<'_>],
    labels: &[(String, String)],
    zone: Option<&str>,
    registry: &mut Registry,
) -> Roster {
    let members: Box<[bool]> =
        placed.iter().map(|one| labels.iter().all(|label| one.said.tier.labels.contains(label))).collect();
    let mut levels: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (number, (one, is_member)) in placed.iter().zip(&members).enumerate() {
        if *is_member {
            levels.entry(one.said.tier.level.unwrap_or(0)).or_default().push(number);
        }
    }
    let mut name = format!("{}\0{labels:?}", pool.name);
    let mut group = |numbers: Vec<usize>, registry: &mut Registry| {
        name.push('\0');
        let servers: Vec<_> = numbers.iter().map(|number| Arc::clone(&placed[*number].server)).collect();
        let weights: Vec<_> = numbers.iter().map(|number| placed[*number].weight).collect();
        let balance = balance::balance(pool, &servers, &weights, servers.len() == placed.len(), registry);
        Group { key: registry.turn(&name), numbers: numbers.into(), servers, balance }
    };
    let levels = levels.into_values().map(|numbers| {
        let is_near = |number: &usize| placed[*number].said.tier.zone.as_deref() == zone;
        let (near, far): (Vec<_>, Vec<_>) = numbers.iter().copied().partition(is_near);
        let all = group(numbers, registry);
        let zones = (zone.is_some() && !near.is_empty() && !far.is_empty())
            .then(|| Zones { near: group(near, registry), far: group(far, registry) });
        Level { all, zones }
    });
    Roster { levels: levels.collect(), panic: pool.panic, members }
}
