//! What survives a reload, by identity and never by index: numbers of listeners, state of servers, queues, counters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use config::spec::{Algorithm, Secret};
use net::dial::Security;
use observe::stats::{ConnectionStats, RequestStats};
use proxy::balance::{Member, Prepared};
use proxy::bandwidth::Buckets;
use proxy::canary::State;
use proxy::destination::Own;
use proxy::filter;
use proxy::intercept::Pins;
use proxy::mirror::Report;
use proxy::policy::Policy;
use proxy::pool::{Ejections, Gate, Ids, Server, ServerId};
use proxy::seal::Seal;
use proxy::snapshot::{BindId, ListenerId, Snapshot};
use proxy::sticky::Table;

use crate::canary::{Canaries, Plan};
use crate::captures::Captures;
use crate::quotas::Quotas;

/// Everything that is kept.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    listeners: HashMap<String, Kept>,
    binds: HashMap<(String, String), BindId>,
    pools: HashMap<String, (usize, Arc<Gate>)>,
    ejections: HashMap<Arc<str>, Arc<Ejections>>,
    servers: HashMap<ServerId, Known>,
    routes: HashMap<(String, String), Arc<RequestStats>>,
    turns: HashMap<String, usize>,
    crowds: HashMap<String, Arc<AtomicU32>>,
    tables: Vec<(Algorithm, Vec<Member>, Prepared)>,
    /// The canaries.
    pub canaries: Canaries,
    /// The archives that are written.
    pub captures: Captures,
    /// What was used of quotas.
    pub quotas: Quotas,
    /// Where this process listens by TCP.
    pub own: Arc<Own>,
    stuck: HashMap<String, Arc<Table>>,
    ids: HashMap<String, Arc<Ids>>,
    buckets: HashMap<String, Arc<Buckets>>,
    mirrors: BTreeMap<String, (Arc<Report>, Arc<RequestStats>)>,
    filters: BTreeMap<String, Arc<filter::Report>>,
    next_slot: usize,
    seal: Arc<Seal>,
    /// The secret that the configuration says, and what was drawn for the time that it says none.
    secret: Option<Secret>,
    drawn: Arc<Seal>,
}

#[derive(Debug)]
struct Kept {
    id: ListenerId,
    connections: Arc<ConnectionStats>,
    handshakes: Arc<AtomicUsize>,
    pins: Arc<Pins>,
}

#[derive(Debug)]
struct Known {
    server: Arc<Server>,
    /// The weight that the configuration said last: a change of it takes back what the operator set by hand.
    weight: u32,
    /// Since when nothing names it.
    left: Option<Instant>,
}

/// How long a server that has left is known: resolvers take addresses away and give them back, and whoever comes back is
/// as it was.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(600);

impl Registry {
    /// An empty registry for this many workers.
    pub fn new(workers: usize) -> Registry {
        let drawn = Arc::new(random_seal());
        Registry {
            workers,
            listeners: HashMap::new(),
            binds: HashMap::new(),
            pools: HashMap::new(),
            ejections: HashMap::new(),
            servers: HashMap::new(),
            routes: HashMap::new(),
            turns: HashMap::new(),
            crowds: HashMap::new(),
            tables: Vec::new(),
            canaries: Canaries::default(),
            captures: Captures::default(),
            quotas: Quotas::default(),
            own: Arc::default(),
            mirrors: BTreeMap::new(),
            filters: BTreeMap::new(),
            next_slot: 0,
            stuck: HashMap::new(),
            ids: HashMap::new(),
            buckets: HashMap::new(),
            seal: Arc::clone(&drawn),
            secret: None,
            drawn,
        }
    }

    /// From now on what clients keep for us is sealed with this secret, or with the one that was drawn at the start.
    pub fn set_secret(&mut self, secret: Option<&Secret>) {
        if self.secret.as_ref() != secret {
            self.secret = secret.cloned();
            self.seal =
                secret.map_or_else(|| Arc::clone(&self.drawn), |secret| Arc::new(Seal::new(secret.0.as_bytes())));
        }
    }

    /// The table of a pool's clients, for this many of them.
    pub fn stuck(&mut self, pool: &str, most: usize) -> Arc<Table> {
        let known = self.stuck.get(pool);
        if let Some(table) = known.filter(|table| table.most() == most) {
            return Arc::clone(table);
        }
        let table = Arc::new(Table::new(most));
        if let Some(known) = known {
            table.adopt(known, Instant::now());
        }
        self.stuck.insert(pool.to_owned(), Arc::clone(&table));
        table
    }

    /// What those have had whom a limit of bandwidth tells apart.
    pub fn buckets(&mut self, policy: &str) -> Arc<Buckets> {
        // Those that nobody has any more are forgotten when there are others.
        self.buckets.retain(|known, buckets| known == policy || Arc::strong_count(buckets) > 1);
        Arc::clone(self.buckets.entry(policy.to_owned()).or_default())
    }

    /// The ids of QUIC that a pool's servers have chosen, with room for this many.
    pub fn ids(&mut self, pool: &str, most: usize) -> Arc<Ids> {
        let ids = match self.ids.get(pool) {
            Some(ids) if ids.most() == most => return Arc::clone(ids),
            Some(ids) => Arc::new(ids.resized(most, Instant::now())),
            None => Arc::new(Ids::new(most)),
        };
        self.ids.insert(pool.to_owned(), Arc::clone(&ids));
        ids
    }

    /// The seal of what clients keep for us: the same over reloads.
    pub fn seal(&self) -> Arc<Seal> {
        Arc::clone(&self.seal)
    }

    /// The number and the counters of a listener.
    pub fn listener(&mut self, name: &str) -> (ListenerId, Arc<ConnectionStats>) {
        let next = ListenerId(self.listeners.len() as u32);
        let workers = self.workers;
        let kept = self.listeners.entry(name.to_owned()).or_insert_with(|| Kept {
            id: next,
            connections: Arc::new(ConnectionStats::new(workers)),
            handshakes: Arc::default(),
            pins: Arc::default(),
        });
        (kept.id, Arc::clone(&kept.connections))
    }

    /// The number of an address of a listener.
    pub fn bind(&mut self, listener: &str, address: &str) -> BindId {
        // There are fewer addresses than numbers.
        let next = BindId(self.binds.len() as u32);
        *self.binds.entry((listener.to_owned(), address.to_owned())).or_insert(next)
    }

    /// How many handshakes are under way at a listener that was asked for before.
    pub fn handshakes(&self, name: &str) -> Arc<AtomicUsize> {
        self.listeners.get(name).map(|kept| Arc::clone(&kept.handshakes)).unwrap_or_default()
    }

    /// The clients of a listener that was asked for before, as far as they do not believe it.
    pub fn pins(&self, name: &str) -> Arc<Pins> {
        self.listeners.get(name).map(|kept| Arc::clone(&kept.pins)).unwrap_or_default()
    }

    /// How many listener numbers were ever given.
    pub fn listener_numbers(&self) -> usize {
        self.listeners.len()
    }

    /// The number and the queue of a pool.
    pub fn pool(&mut self, name: &str) -> (usize, Arc<Gate>) {
        let next = self.pools.len();
        let (key, gate) = self.pools.entry(name.to_owned()).or_insert_with(|| (next, Arc::new(Gate::new(0))));
        (*key, Arc::clone(gate))
    }

    /// The number of a group of servers, for the places of workers in its turn.
    pub fn turn(&mut self, group: &str) -> usize {
        let next = self.turns.len();
        *self.turns.entry(group.to_owned()).or_insert(next)
    }

    /// Where the requests in flight at all servers of a pool are counted.
    pub fn crowd(&mut self, pool: &str) -> Arc<AtomicU32> {
        Arc::clone(self.crowds.entry(pool.to_owned()).or_default())
    }

    /// What an algorithm has prepared for these members: made once for as long as anybody chooses by it.
    pub fn prepared(
        &mut self,
        algorithm: Algorithm,
        members: Vec<Member>,
        make: impl FnOnce(&[Member]) -> Prepared,
    ) -> Prepared {
        let same = |table: &&(Algorithm, Vec<Member>, Prepared)| table.0 == algorithm && table.1 == members;
        if let Some((_, _, prepared)) = self.tables.iter().find(same) {
            return prepared.clone();
        }
        let prepared = make(&members);
        self.tables.push((algorithm, members, prepared.clone()));
        prepared
    }

    /// The weight that a server will have once a configuration that says this one is in force.
    pub fn weight_to_be(&self, server: &Server, said: u32) -> u32 {
        match self.servers.get(&server.id) {
            Some(known) if known.weight == said => known.server.weight(),
            _ => said,
        }
    }

    /// The counters of a listener's route.
    pub fn route(&mut self, listener: &str, route: &str) -> Arc<RequestStats> {
        let workers = self.workers;
        let key = (listener.to_owned(), route.to_owned());
        Arc::clone(self.routes.entry(key).or_insert_with(|| Arc::new(RequestStats::new(workers))))
    }

    /// What all share of a canary.
    pub fn canary(&mut self, listener: &str, route: &str, plan: &Plan) -> Arc<State> {
        self.canaries.state(listener, route, plan, self.workers)
    }

    /// What is known of a mirror's copies, and the counters of their route.
    pub fn mirror(&mut self, name: &str) -> (Arc<Report>, Arc<RequestStats>) {
        let workers = self.workers;
        let new = || (Arc::new(Report::new(name)), Arc::new(RequestStats::new(workers)));
        self.mirrors.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// What a filter has refused.
    pub fn filter(&mut self, name: &str) -> Arc<filter::Report> {
        // Those that nobody has any more are forgotten when there are others.
        self.filters.retain(|known, report| known == name || Arc::strong_count(report) > 1);
        let new = || Arc::new(filter::Report::new(name, self.workers));
        Arc::clone(self.filters.entry(name.to_owned()).or_insert_with(new))
    }

    /// What all filters have refused that are in force, by name.
    pub fn filters(&self) -> impl Iterator<Item = &Arc<filter::Report>> {
        self.filters.values().filter(|report| Arc::strong_count(report) > 1)
    }

    /// The reports of all mirrors, by name.
    pub fn mirrors(&self) -> impl Iterator<Item = &Arc<Report>> {
        self.mirrors.values().map(|(report, _)| report)
    }

    /// Forgets the mirrors that are not in force any more.
    pub fn keep_mirrors_of(&mut self, snapshot: &Snapshot) {
        let routes = || snapshot.listeners.iter().flatten().flat_map(|listener| &listener.routes);
        let is_of = |policy: &Policy, report: &Arc<Report>| matches!(policy, Policy::Mirror(mirror) if Arc::ptr_eq(&mirror.report, report));
        self.mirrors.retain(|_, (report, _)| routes().any(|route| route.policies.iter().any(|one| is_of(one, report))));
    }

    /// A server's state. Nothing about it changes before [`Registry::commit`].
    pub fn server(
        &mut self,
        id: &ServerId,
        authority: &str,
        weight: u32,
        security: impl FnOnce() -> Option<Security>,
    ) -> Arc<Server> {
        // An address that a name has gained is treated as the operator treats that name.
        let sibling =
            |known: &&Known| known.left.is_none() && known.server.id.pool == id.pool && known.server.id.name == id.name;
        let (by_hand, drained) = self
            .servers
            .values()
            .find(sibling)
            .map_or((weight, false), |known| (known.server.weight(), known.server.is_drained()));
        let (workers, next_slot) = (self.workers, &mut self.next_slot);
        let ejections = self.ejections.entry(Arc::clone(&id.pool)).or_default();
        let known = self.servers.entry(id.clone()).or_insert_with(|| {
            let server = Server::new(id.clone(), authority, *next_slot, workers).among(ejections).secured(security());
            server.set_weight(by_hand);
            server.set_drained(drained);
            *next_slot += 1;
            Known { server: Arc::new(server), weight, left: None }
        });
        Arc::clone(&known.server)
    }

    /// Makes the servers what the new configuration says. Those that it does not name are retired, and forgotten later.
    pub fn commit(&mut self, named: &HashMap<ServerId, (u32, Option<u32>)>, now: Instant) {
        self.tables.retain(|(_, _, prepared)| prepared.is_shared());
        self.servers.retain(|id, known| match named.get(id) {
            Some((weight, max_connections)) => {
                if known.weight != *weight {
                    known.weight = *weight;
                    known.server.set_weight(*weight);
                }
                known.server.set_max_connections(*max_connections);
                known.server.set_retired(false);
                known.left = None;
                true
            }
            None => {
                known.server.set_retired(true);
                now.saturating_duration_since(*known.left.get_or_insert(now)) < REMEMBERED
            }
        });
    }

    /// Forgets the counters of routes that are gone.
    pub fn keep_routes(&mut self, keep: impl Fn(&str, &str) -> bool) {
        self.routes.retain(|(listener, route), _| keep(listener, route));
    }

    /// The servers of a pool that the configuration does not name any more and that still have connections.
    pub fn leaving(&self, pool: &str) -> impl Iterator<Item = &Server> {
        let left = self.servers.values().filter(|known| known.left.is_some());
        let mut leaving: Vec<_> = left.map(|known| &*known.server).filter(|server| server.open() > 0).collect();
        leaving.retain(|server| *server.id.pool == *pool);
        leaving.sort_by(|one, other| one.id.cmp(&other.id));
        leaving.into_iter()
    }

    /// All servers that the configuration names, in the order of their identities.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        let named = self.servers.values().filter(|known| known.left.is_none());
        let mut servers: Vec<_> = named.map(|known| Arc::clone(&known.server)).collect();
        servers.sort_by(|one, other| one.id.cmp(&other.id));
        servers
    }
}

/// A seal that nobody can guess.
pub(crate) fn random_seal() -> Seal {
    let mut secret = [0; 32];
    let mut filled = 0;
    while filled < secret.len() {
        // The kernel's generator only ever makes us wait at the machine's start, or be interrupted.
        filled += rustix::rand::getrandom(&mut secret[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    Seal::new(&secret)
}

#[cfg(test)]
mod tests {
    use net::Address;

    use super::*;

    fn id(name: &str) -> ServerId {
        ServerId {
            pool: "p".into(),
            name: name.into(),
            address: Address::Tcp(([127, 0, 0, 1], 1).into()),
            transport: 0,
        }
    }

    #[test]
    fn state_is_kept_by_identity() {
        let (mut registry, now) = (Registry::new(1), Instant::now());
        let first = registry.server(&id("a"), "a:1", 1, || None);
        first.set_drained(true);
        registry.commit(&HashMap::from([(id("a"), (1, None))]), now);
        let again = registry.server(&id("a"), "a:1", 1, || None);
        assert!(Arc::ptr_eq(&first, &again) && again.is_drained());
    }

    #[test]
    fn a_mirror_keeps_its_report_and_its_counters() {
        let mut registry = Registry::new(1);
        let (first, again, other) = (registry.mirror("copy"), registry.mirror("copy"), registry.mirror("other"));
        assert!(Arc::ptr_eq(&first.0, &again.0) && Arc::ptr_eq(&first.1, &again.1));
        assert!(!Arc::ptr_eq(&first.0, &other.0) && !Arc::ptr_eq(&first.1, &other.1));
    }

    #[test]
    fn a_server_that_returns_is_as_it_was_for_a_while() {
        let (mut registry, now) = (Registry::new(1), Instant::now());
        let named = HashMap::from([(id("a"), (1, None))]);
        let first = registry.server(&id("a"), "a:1", 1, || None);
        registry.commit(&named, now);
        registry.commit(&HashMap::new(), now);
        assert!(first.is_retired() && registry.servers().is_empty());
        let later = now + REMEMBERED - Duration::from_secs(1);
        registry.commit(&HashMap::new(), later);
        assert!(Arc::ptr_eq(&first, &registry.server(&id("a"), "a:1", 1, || None)));
        registry.commit(&named, later);
        assert!(!first.is_retired() && registry.servers().len() == 1);
        registry.commit(&HashMap::new(), later);
        registry.commit(&HashMap::new(), later + REMEMBERED);
        assert_ne!(registry.server(&id("a"), "a:1", 1, || None).slot, first.slot);
    }

    #[test]
    fn a_weight_set_by_hand_lasts_until_the_configuration_changes_it() {
        let mut registry = Registry::new(1);
        let server = registry.server(&id("a"), "a:1", 2, || None);
        server.set_weight(9);
        registry.commit(&HashMap::from([(id("a"), (2, None))]), Instant::now());
        assert_eq!(server.weight(), 9);
        registry.commit(&HashMap::from([(id("a"), (3, None))]), Instant::now());
        assert_eq!(server.weight(), 3);
    }
}
