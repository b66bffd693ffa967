//! Applies a configuration, all of it or nothing, and shows what is in force.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use config::spec::{self, LogFormat, LogSink, Spec};
use config::{Loaded, Mistake, Mistakes};
use net::dial::{may_be_source, may_be_transparent};
use net::tls::Tickets;
use observe::access::{Format, Log, Target};
use proxy::pool::{Gate, Pool};
use proxy::snapshot::Snapshot;
use proxy::worker::{Command, Fleet};

use crate::certificates::{self, Keyring, Vault};
use crate::compile::{self, Compiled, Given};
use crate::discovery::Discovery;
use crate::health::Health;
use crate::lists::Library;
use crate::nat::{self, Nat};
use crate::registry::Registry;
use crate::room::Room;
use crate::sockets::{Planned, Sockets};
use crate::users::{self, Directory};

/// What is in force.
#[derive(Debug)]
pub struct Plane {
    /// The workers.
    pub fleet: Arc<Fleet>,
    /// What survives a reload.
    pub registry: Registry,
    /// The listening sockets.
    pub sockets: Sockets,
    /// What the sources of servers say for now.
    pub discovery: Discovery,
    /// Lists of sites.
    pub library: Library,
    /// What listeners show and pools believe.
    pub keyring: Keyring,
    /// Who may come in.
    pub directory: Directory,
    /// Certificates that are asked for and made here.
    pub vault: Vault,
    /// When it was last tried to make some anew.
    tried: Option<Instant>,
    /// Whether the servers are well.
    pub health: Health,
    /// The snapshot that the workers run by.
    pub snapshot: Arc<Snapshot>,
    /// The pools, by their order in the configuration.
    pub pools: Vec<Arc<Pool>>,
    /// The configuration; absent before the first.
    pub loaded: Option<Loaded>,
    /// What it means for now, if that is something else: it has sources of servers, or listeners that the kernel cannot serve.
    in_force: Option<Spec>,
    /// What the kernel does for it.
    pub nat: Nat,
    /// When it was applied.
    pub applied: SystemTime,
    /// Reloads that were applied and refused, the first start not counted.
    pub reloads: (u64, u64),
    /// What listeners may hold that do not say it.
    pub room: Room,
    tickets: Option<Tickets>,
    log: Option<(config::spec::AccessLog, Log)>,
    /// Lines that logs before the one at hand have dropped.
    dropped_before: u64,
}

/// All that may fail has been done.
struct Prepared {
    planned: Planned,
    log: Option<(config::spec::AccessLog, Log)>,
    keyring: Keyring,
    directory: Directory,
    in_force: Option<Spec>,
    compiled: Compiled,
}

/// How long to wait where certificates that end soon cannot be made anew.
const TRIED_EVERY: Duration = Duration::from_secs(60);

impl Plane {
    /// A plane without a configuration.
    pub fn new(fleet: Arc<Fleet>, room: Room) -> Plane {
        Plane {
            registry: Registry::new(fleet.len()),
            fleet,
            sockets: Sockets::default(),
            discovery: Discovery::default(),
            library: Library::default(),
            keyring: Keyring::default(),
            directory: Directory::default(),
            vault: Vault::default(),
            tried: None,
            health: Health::default(),
            snapshot: Arc::default(),
            pools: Vec::new(),
            loaded: None,
            in_force: None,
            nat: Nat::default(),
            applied: SystemTime::now(),
            reloads: (0, 0),
            room,
            // Without them sessions are resumed from memory alone.
            tickets: Tickets::new().ok(),
            log: None,
            dropped_before: 0,
        }
    }

    /// Applies a configuration whose sources of servers have been asked, and whose lists have been read. Nothing changes unless all of it can be done.
    ///
    /// # Errors
    /// Everything that cannot be done, with its place.
    pub fn apply(&mut self, loaded: Loaded, discovery: Discovery, library: Library) -> Result<(), Mistakes> {
        let applied = self.put_in_force(loaded, discovery, library);
        if applied.is_err() {
            self.registry.quotas.abandon();
        }
        applied
    }

    fn put_in_force(&mut self, loaded: Loaded, discovery: Discovery, library: Library) -> Result<(), Mistakes> {
        let spec = &loaded.spec;
        let plan = self.nat.plan(spec).map_err(Mistakes)?;
        let prepared = self.prepare(spec, &discovery, &library, &plan);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(mistakes) => {
                self.registry.captures.keep_those_of(self.loaded.as_ref().map(|loaded| &loaded.spec));
                self.nat.undo(plan);
                return Err(mistakes);
            }
        };
        let services = nat::services(prepared.in_force.as_ref().unwrap_or(spec), &prepared.compiled.pools);
        let prepared = match self.nat.commit(plan, services) {
            Ok(()) => prepared,
            Err(refusal) => {
                // Its sockets would keep others from their addresses.
                drop(prepared);
                let plan = self.nat.without_kernel(spec, &refusal).map_err(Mistakes)?;
                let prepared = self.prepare(spec, &discovery, &library, &plan)?;
                let given_up = self.nat.commit(plan, Vec::new());
                given_up.map_err(|refusal| nat::kept_back(spec, &refusal))?;
                prepared
            }
        };

        // From here on nothing can fail.
        let Prepared { planned, log, keyring, directory, in_force, compiled } = prepared;
        self.discovery = discovery;
        self.library = library;
        self.keyring = keyring;
        self.directory = directory;
        // Nobody is led to an address in the moment in which it becomes ours.
        self.registry.own.listen(self.sockets.by_port().chain(planned.by_port()));
        self.switch(compiled);
        let snapshot = Arc::clone(&self.snapshot);
        let registry = &mut self.registry;
        let id_of = |(name, address): &(String, String)| {
            let known = snapshot.listeners.iter().flatten().find(|one| *one.name == **name);
            known.map(|one| (one.id, registry.bind(name, address)))
        };
        self.sockets.commit(planned, &self.fleet, id_of);
        self.registry.own.listen(self.sockets.by_port());
        let alive: HashSet<(String, String)> = snapshot
            .listeners
            .iter()
            .flatten()
            .flat_map(|listener| {
                let routes = listener.routes.iter().chain([&listener.default]);
                routes.map(|route| (listener.name.to_string(), route.name.to_string()))
            })
            .collect();
        self.registry.keep_routes(|listener, route| alive.contains(&(listener.to_owned(), route.to_owned())));
        if spec.access_log.is_none() {
            self.forget_log();
            self.fleet.tell_all(|_| Command::Log(None));
        } else if let Some((wanted, log)) = log {
            self.forget_log();
            self.fleet.tell_all(|_| Command::Log(Some(log.sink())));
            self.log = Some((wanted, log));
        }
        self.nat.remark(in_force.as_ref().unwrap_or(&loaded.spec));
        self.in_force = in_force;
        self.registry.captures.keep_those_of(Some(&loaded.spec));
        self.loaded = Some(loaded);
        self.applied = SystemTime::now();
        Ok(())
    }

    /// Everything that may fail, with the kernel doing what it can do by a plan.
    fn prepare(
        &mut self,
        spec: &Spec,
        discovery: &Discovery,
        library: &Library,
        plan: &nat::Plan,
    ) -> Result<Prepared, Mistakes> {
        let mut mistakes = Vec::new();
        let in_force = in_force(spec, discovery, &plan.stand_ins);
        let now = in_force.as_ref().unwrap_or(spec);
        let planned = match self.sockets.plan(now, self.fleet.len()) {
            Ok(planned) => Some(planned),
            Err(unbound) => {
                mistakes.extend(unbound.into_iter().map(|one| Mistake { message: one.message, span: one.span }));
                None
            }
        };
        let log = match &spec.access_log {
            Some(wanted) if self.log.as_ref().is_none_or(|(open, _)| !same_log(open, wanted)) => {
                match open_log(wanted) {
                    Ok(log) => Some((wanted.clone(), log)),
                    Err(error) => {
                        let message = format!("cannot open the access log: {error}");
                        mistakes.push(Mistake { message, span: wanted.span.clone() });
                        None
                    }
                }
            }
            _ => None,
        };
        mistakes.extend(not_transparent(spec));
        mistakes.extend(self.registry.quotas.open(spec).err());
        mistakes.extend(self.registry.captures.open(spec).err().into_iter().flatten());
        mistakes.extend(foreign_sources(spec));
        let keyring = certificates::read(spec, self.tickets.as_ref(), Some(&mut self.vault));
        let keyring = keyring.map_err(|bad| mistakes.extend(bad)).ok();
        let directory = users::read(spec).map_err(|bad| mistakes.extend(bad)).ok();
        let read = keyring.zip(directory);
        let Some((planned, (keyring, directory))) = planned.zip(read).filter(|_| mistakes.is_empty()) else {
            return Err(Mistakes(mistakes));
        };
        let generation = self.snapshot.generation + 1;
        let compiled = compile::compile(
            now,
            Given { discovery, lists: &library.lists, keyring: &keyring, directory: &directory },
            &mut self.registry,
            generation,
            self.room,
        );
        Ok(Prepared { planned, log, keyring, directory, in_force, compiled })
    }

    /// The configuration in force, with the servers that its sources stand for now, and with proxies where the kernel does not
    /// rewrite packets.
    pub fn spec(&self) -> Option<&Spec> {
        self.in_force.as_ref().or_else(|| Some(&self.loaded.as_ref()?.spec))
    }

    /// Runs by other servers of the same configuration.
    pub fn readdress(&mut self, discovery: Discovery) {
        let Some(loaded) = &self.loaded else { return };
        let generation = self.snapshot.generation;
        let in_force = in_force(&loaded.spec, &discovery, self.nat.stand_ins());
        let now = in_force.as_ref().unwrap_or(&loaded.spec);
        let given = Given {
            discovery: &discovery,
            lists: &self.library.lists,
            keyring: &self.keyring,
            directory: &self.directory,
        };
        let compiled = compile::compile(now, given, &mut self.registry, generation, self.room);
        self.discovery = discovery;
        self.nat.remark(now);
        self.in_force = in_force;
        self.switch(compiled);
        self.steer();
    }

    /// Runs by other lists of the same configuration.
    pub fn relist(&mut self, library: Library) {
        self.library = library;
        let discovery = std::mem::take(&mut self.discovery);
        self.readdress(discovery);
    }

    /// Has the kernel run by what is now known of servers.
    pub fn steer(&mut self) {
        if let Some(spec) = self.spec() {
            let services = nat::services(spec, &self.pools);
            self.nat.steer(services);
        }
    }

    /// Looks after certificates that are asked for and made here.
    pub fn renew(&mut self) {
        let Some(loaded) = &self.loaded else { return };
        self.registry.captures.keep_those_of(Some(&loaded.spec));
        let has_come = self.vault.acme.look(&loaded.spec);
        let is_due = self.vault.is_due() && self.tried.is_none_or(|tried| tried.elapsed() > TRIED_EVERY);
        if is_due {
            self.tried = Some(Instant::now());
        }
        if has_come || is_due {
            self.recertify();
        }
    }

    /// Shows other certificates by the same configuration, as they are now.
    pub fn recertify(&mut self) {
        let Some(loaded) = &self.loaded else { return };
        match certificates::read(&loaded.spec, self.tickets.as_ref(), Some(&mut self.vault)) {
            Ok(keyring) => {
                self.keyring = keyring;
                let discovery = std::mem::take(&mut self.discovery);
                self.readdress(discovery);
            }
            // Files that are wrong are said by the reload that their change brings.
            Err(wrong) => observe::log::warn(format_args!("certificates stay as they are: {}", Mistakes(wrong))),
        }
    }

    /// Runs by other weights of the same configuration, where algorithms have prepared something for the old ones.
    pub fn reweigh(&mut self) {
        if self.pools.iter().any(|pool| pool.roster.is_prepared()) {
            let discovery = std::mem::take(&mut self.discovery);
            self.readdress(discovery);
        }
    }

    /// Opens the access log's file anew, for whoever has moved it away.
    pub fn reopen_log(&self) {
        if let Some((_, log)) = &self.log {
            log.reopen();
        }
    }

    /// Access lines that were dropped because the log's disk was too slow.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_before + self.log.as_ref().map_or(0, |(_, log)| log.dropped())
    }

    /// The workers' last lines still reach a log that is forgotten here: it ends with the last of its sinks.
    fn forget_log(&mut self) {
        if let Some((_, log)) = self.log.take() {
            self.dropped_before += log.dropped();
        }
    }

    /// Writes what the access log and archives still hold, and what was used of quotas.
    pub fn close_log(&mut self) {
        self.registry.quotas.close();
        self.registry.captures.close();
        if let Some((_, log)) = self.log.take() {
            log.shutdown(std::time::Duration::from_secs(2));
        }
    }

    fn switch(&mut self, compiled: Compiled) {
        self.registry.commit(&compiled.servers, Instant::now());
        self.registry.quotas.commit();
        self.snapshot = Arc::new(compiled.snapshot);
        self.registry.canaries.keep_those_of(&self.snapshot);
        self.registry.keep_mirrors_of(&self.snapshot);
        let gates: Vec<Arc<Gate>> = compiled.pools.iter().map(|pool| Arc::clone(&pool.gate)).collect();
        for (gate, (length, connections)) in gates.iter().zip(&compiled.queues) {
            gate.set_length(*length);
            gate.set_most_connections(*connections);
        }
        self.health.watch(&compiled.care);
        self.pools = compiled.pools;
        self.fleet.tell_all(|_| Command::Apply(Arc::clone(&self.snapshot)));
        gates.iter().for_each(|gate| gate.stir());
    }
}

/// What a configuration means for now, if that is something else.
fn in_force(spec: &Spec, discovery: &Discovery, stand_ins: &BTreeMap<String, String>) -> Option<Spec> {
    let expanded = discovery.expand(spec);
    match nat::in_force(expanded.as_ref().unwrap_or(spec), stand_ins) {
        Cow::Owned(spec) => Some(spec),
        Cow::Borrowed(_) => expanded,
    }
}

fn same_log(one: &config::spec::AccessLog, other: &config::spec::AccessLog) -> bool {
    one.to == other.to && one.format == other.format
}

/// Pools whose servers should see clients' addresses, where this process may not show them.
fn not_transparent(spec: &Spec) -> Vec<Mistake> {
    let wanted: Vec<_> = spec.pools.iter().filter(|pool| pool.as_client).collect();
    if wanted.is_empty() || may_be_transparent().is_ok() {
        return Vec::new();
    }
    let mistake = |pool: &spec::Pool| {
        let message = format!(
            "`source: client` of pool `{}` needs `CAP_NET_ADMIN` or `CAP_NET_RAW`, which this process has not: \
             `setcap cap_net_admin+ep` on the program, or `AmbientCapabilities=CAP_NET_ADMIN` in its unit",
            pool.name
        );
        Mistake { message, span: pool.span.clone() }
    };
    wanted.into_iter().map(mistake).collect()
}

/// Addresses to connect from that are not this host's.
fn foreign_sources(spec: &Spec) -> Vec<Mistake> {
    let mut sources: Vec<&spec::Source> = Vec::new();
    for listener in &spec.listeners {
        sources.extend(listener.egress.iter().flat_map(|egress| &egress.source));
        if let spec::Serves::Routes(routes) = &listener.serves {
            gather_sources(routes, &mut sources);
        }
    }
    let addresses = |source: &spec::Source| [source.v4.map(IpAddr::V4), source.v6.map(IpAddr::V6)];
    let each = sources.iter().flat_map(|source| addresses(source).into_iter().flatten().map(|ip| (ip, &source.span)));
    let mistake = |(ip, span): (IpAddr, &config::Span)| {
        let error = may_be_source(ip).err()?;
        let message = format!("`source`: connections cannot be made from {ip}, use an address of this host: {error}");
        Some(Mistake { message, span: span.clone() })
    };
    each.filter_map(mistake).collect()
}

fn gather_sources<'a>(routes: &'a [spec::Route], sources: &mut Vec<&'a spec::Source>) {
    for route in routes {
        sources.extend(&route.source);
        if let spec::Ending::Routes(inner) = &route.ending {
            gather_sources(inner, sources);
        }
    }
}

fn open_log(wanted: &config::spec::AccessLog) -> std::io::Result<Log> {
    let target = match &wanted.to {
        LogSink::Stdout => Target::Stdout,
        LogSink::Stderr => Target::Stderr,
        LogSink::File(path) => Target::File(path.clone()),
    };
    let format = match wanted.format {
        LogFormat::Json => Format::Json,
        LogFormat::Combined => Format::Combined,
    };
    Log::open(target, format)
}
