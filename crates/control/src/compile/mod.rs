//! `Spec` to `Snapshot`: what is nested becomes flat, what is named becomes shared, and the nearest level wins.
//!
//! Nothing here touches a socket or a running server: [`plane`](crate::plane) commits what is compiled here.

mod balance;
mod intercept;
mod matching;
mod mirrors;
mod origins;
mod pac;
mod policies;
mod pools;
mod roster;
mod routes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use config::spec::{Role, Spec};
use proxy::lists::Lists;
use proxy::pool::ServerId;
use proxy::snapshot::Snapshot;

pub(crate) use matching::{text, zone};

use crate::certificates::Keyring;
use crate::discovery::Discovery;
use crate::registry::Registry;
use crate::room::Room;
use crate::users::Directory;

/// A snapshot that is not in force yet, and what its servers should become when it is.
#[derive(Debug)]
pub struct Compiled {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Weight and limit of every server that it names.
    pub servers: HashMap<ServerId, (u32, Option<u32>)>,
    /// How each pool's servers are watched.
    pub care: Vec<Care>,
    /// The pools, by their order in the configuration.
    pub pools: Vec<Arc<proxy::pool::Pool>>,
    /// How many requests may wait for each of them.
    pub queues: Vec<(usize, Option<u32>)>,
}

/// How a pool's servers are watched.
#[derive(Debug)]
pub struct Care {
    /// The pool.
    pub pool: Arc<proxy::pool::Pool>,
    /// Active checks.
    pub health: Option<config::spec::Health>,
    /// What ejects a server, and for how long.
    pub outlier: Option<config::spec::Outlier>,
    /// How long a server that comes back gets less than its share.
    pub slow_start: Option<Duration>,
}

/// What was read and asked for a configuration beside itself.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// What the sources of servers say.
    pub discovery: &'a Discovery,
    /// Lists of sites.
    pub lists: &'a Arc<Lists>,
    /// What listeners show and pools believe.
    pub keyring: &'a Keyring,
    /// Who may come in.
    pub directory: &'a Directory,
}

/// Compiles a configuration whose servers each have a place of their own.
pub fn compile(spec: &Spec, given: Given<'_>, registry: &mut Registry, generation: u64, room: Room) -> Compiled {
    let Given { discovery, lists, keyring, directory } = given;
    registry.set_secret(spec.secret.as_ref());
    let mut servers = HashMap::new();
    let pools: Vec<_> = spec
        .pools
        .iter()
        .map(|pool| {
            let way = keyring.pools.get(&pool.name);
            Arc::new(pools::pool(pool, spec.zone.as_deref(), discovery, registry, &mut servers, way))
        })
        .collect();
    let names = mirrors::Names::of(spec);
    let policies: Vec<_> = spec
        .policies
        .iter()
        .enumerate()
        .map(|(number, policy)| {
            policies::policy(spec, policy, names.name(number), &pools, lists, registry).map(Arc::new)
        })
        .collect();
    let identity = policies::identity_fields(spec);
    let compiled: Vec<_> = spec
        .listeners
        .iter()
        .filter(|listener| listener.role != Role::Nat)
        .map(|listener| {
            let known =
                routes::Known { pools: &pools, policies: &policies, lists, keyring, directory, identity: &identity };
            routes::listener(spec, listener, known, registry, room)
        })
        .collect();
    let mut listeners = vec![None; registry.listener_numbers()];
    for listener in compiled {
        let number = listener.id.0;
        listeners[number as usize] = Some(Arc::new(listener));
    }
    let queues = spec.pools.iter().map(|pool| (pool.queue_length as usize, pool.breaker.connections)).collect();
    let warm = pools.iter().filter(|pool| pool.warm > 0).cloned().collect();
    let care = spec.pools.iter().zip(&pools).map(|(pool, compiled)| care(pool, compiled)).collect();
    Compiled { snapshot: Snapshot { generation, listeners, warm }, servers, care, pools, queues }
}

fn care(pool: &config::spec::Pool, compiled: &Arc<proxy::pool::Pool>) -> Care {
    Care {
        pool: Arc::clone(compiled),
        health: pool.health.clone(),
        outlier: pool.outlier.clone(),
        slow_start: pool.slow_start,
    }
}
