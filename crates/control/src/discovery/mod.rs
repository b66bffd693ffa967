//! Where servers come from: what the configuration says itself, names, services, and files.
//!
//! A [`ServerAddress`] is the seam: each of its variants that stands for servers which somebody else keeps has a table here, of
//! what it means for now and until when. [`Discovery::servers`] puts a pool together; whoever asks for that never sees where
//! a server came from. A further source (etcd, Consul, Kubernetes) is a variant, a table and a line in `refresh`.
//!
//! A source that fails keeps what it said last. So does a name that is gone and a file that is broken: servers that have
//! really gone are found out by connecting to them, and a mistake in a zone must not empty a pool. Only a service whose
//! records say that it is decidedly not there (RFC 2782: the target `.`) has no servers.

mod ask;
mod file;
mod member;
mod table;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use config::spec::{Dns, Pool, Server, ServerAddress, ServersFile, Spec};
use net::dns::{Answer, Resolver, Target};

use crate::watch::{Seen, Watch};
use table::Table;

/// What the sources of servers say for now.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// By their paths.
    files: Table<Server>,
    services: Table<Target>,
    names: Table<IpAddr>,
    /// The files as they were when they were looked at.
    seen: HashMap<String, Seen>,
}

/// What a configuration wants to know: its servers that are no fixed places, and whom to ask.
#[derive(Clone, Debug)]
pub struct Wanted {
    servers: Vec<Server>,
    dns: Dns,
}

/// Which sources are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Those whose time has come.
    Due,
    /// These, and all files: somebody has asked for a reload.
    Reload,
}

/// How long a fixed answer holds; only a reload changes it, and that asks again.
const FIXED: Duration = Duration::from_secs(3600);

impl Discovery {
    /// The addresses that a name stands for; none while it is unknown.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.names.found(name)
    }

    /// The servers of a pool, each in a place of its own: a name, an address or a socket.
    pub fn servers(&self, pool: &Pool) -> Vec<Server> {
        let mut seen = HashSet::new();
        let all = pool.servers.iter().flat_map(|said| self.members(said));
        all.filter(|server| seen.insert((server.name.clone(), server.address.clone()))).collect()
    }

    /// The configuration with the servers that its sources stand for now; nothing if it has no sources.
    pub fn expand(&self, spec: &Spec) -> Option<Spec> {
        let sources = |pool: &Pool| pool.servers.iter().any(|server| server.address.is_source());
        if !spec.pools.iter().any(sources) {
            return None;
        }
        let mut spec = spec.clone();
        for pool in &mut spec.pools {
            pool.servers = self.servers(pool);
        }
        Some(spec)
    }

    /// Every source as the configuration writes it, and whether it has answered when it was asked last, in order.
    pub fn sources(&self) -> Vec<(String, bool)> {
        let files = self.files.states().map(|(path, up)| (format!("file:{path}"), up));
        let services = self.services.states().map(|(name, up)| (format!("srv:{name}"), up));
        let names = self.names.states().map(|(name, up)| (name.to_owned(), up));
        let mut sources: Vec<_> = files.chain(services).chain(names).collect();
        sources.sort_unstable();
        sources
    }

    /// When the first of the sources must be asked again.
    pub fn next(&self) -> Option<Instant> {
        [self.files.next(), self.services.next(), self.names.next()].into_iter().flatten().min()
    }

    /// Asks the sources of a configuration that are unknown or too old, and forgets the others. Answers whether any of them
    /// says something new.
    pub async fn refresh(&mut self, wanted: &Wanted, look: Look) -> bool {
        let resolver = Resolver::new(&wanted.dns.servers).map_err(|error| error.to_string());
        let mut changed = self.refresh_files(&wanted.servers, look);
        changed |= self.refresh_services(&wanted.servers, &resolver).await;
        changed | self.refresh_names(wanted, &resolver).await
    }

    fn refresh_files(&mut self, said: &[Server], look: Look) -> bool {
        let wanted = said.iter().filter_map(|server| match &server.address {
            ServerAddress::File(file) => Some((key(file), file)),
            _ => None,
        });
        let wanted: HashMap<String, &ServersFile> = wanted.collect();
        let now = Instant::now();
        let mut changed = false;
        self.seen.retain(|path, _| wanted.contains_key(path));
        for path in self.files.keep(wanted.keys().cloned().collect()) {
            if look == Look::Due && !self.files.is_due(&path, now) {
                continue;
            }
            let file = wanted[&path];
            if self.seen.entry(path.clone()).or_default().is_new(Watch::of(std::slice::from_ref(&file.path)), look) {
                changed |= self.files.learn(&path, file::read(file), now, |server| server.name.clone());
            }
            // A broken file is read again when it has changed, not before.
            self.files.believe(&path, now + file::EVERY);
        }
        changed
    }

    async fn refresh_services(&mut self, said: &[Server], resolver: &Result<Resolver, String>) -> bool {
        let wanted = said.iter().flat_map(|said| self.listed(said)).filter_map(|server| match server.address {
            ServerAddress::Service(name) => Some(name),
            _ => None,
        });
        let wanted = self.services.keep(wanted.collect());
        let now = Instant::now();
        let due = wanted.into_iter().filter(|name| self.services.is_due(name, now)).collect();
        let answers = ask::all(due, resolver, |resolver, name| async move { resolver.services(&name).await }).await;
        let show = |target: &Target| format!("{}:{} ({} {})", target.host, target.port, target.priority, target.weight);
        let now = Instant::now();
        answers
            .into_iter()
            .fold(false, |changed, (name, answer)| self.services.learn(&name, answer, now, show) | changed)
    }

    async fn refresh_names(&mut self, wanted: &Wanted, resolver: &Result<Resolver, String>) -> bool {
        let Wanted { servers, dns } = wanted;
        let wanted = servers.iter().flat_map(|said| self.members(said)).filter_map(|server| match server.address {
            ServerAddress::Name { host, .. } => Some(host),
            _ => None,
        });
        let wanted = self.names.keep(wanted.collect());
        let fixed: HashMap<&str, &Vec<IpAddr>> =
            dns.hosts.iter().map(|(name, addresses)| (name.as_str(), addresses)).collect();
        let now = Instant::now();
        let mut due = Vec::new();
        let mut answers = Vec::new();
        for name in wanted {
            match fixed.get(name.as_str()) {
                Some(addresses) => answers.push((name, Ok(Answer { found: (*addresses).clone(), ttl: FIXED }))),
                None if self.names.is_due(&name, now) => due.push(name),
                None => {}
            }
        }
        answers.extend(ask::all(due, resolver, |resolver, name| async move { resolver.addresses(&name).await }).await);
        let now = Instant::now();
        answers
            .into_iter()
            .fold(false, |changed, (name, answer)| self.names.learn(&name, answer, now, IpAddr::to_string) | changed)
    }
}

impl Wanted {
    /// What this configuration wants to know.
    pub fn of(spec: &Spec) -> Wanted {
        let all = spec.pools.iter().flat_map(|pool| &pool.servers);
        let open = all.filter(|server| match server.address {
            ServerAddress::Ip(_) | ServerAddress::Unix(_) => false,
            ServerAddress::Name { .. } | ServerAddress::Service(_) | ServerAddress::File(_) => true,
        });
        Wanted { servers: open.cloned().collect(), dns: spec.dns.clone() }
    }
}

/// How a file is known.
fn key(file: &ServersFile) -> String {
    file.path.to_string_lossy().into_owned()
}
