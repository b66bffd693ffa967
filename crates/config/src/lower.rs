//! Shaped values to a [`Spec`], with every mistake collected on the way.
//!
//! In order: names (so that anything may refer to anything), pools, policies, sites, listeners, and what they may not share.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::diagnostics::Mistakes;
use crate::interpolate::Sources;
use crate::shape::{Item, Map, Shape, Shaped, Value};
use crate::spec::{
    AccessLog, Admin, Bind, Dns, LogFormat, LogSink, PolicyId, Pool, PoolId, Role, Shutdown, SiteId, Spec,
};

mod address;
mod balance;
mod bandwidth;
mod body;
mod canary;
mod capture;
mod certificate;
mod compress;
mod ending;
mod fields;
mod filter;
mod flows;
mod forward;
mod health;
mod http3;
mod intercept;
mod levels;
mod list;
mod listener;
mod matching;
mod name;
mod nat;
mod pac;
mod packets;
mod parents;
mod path;
mod policy;
mod pool;
mod quic;
mod quota;
mod reach;
mod route;
mod site;
mod sticky;
mod template;
mod text;
mod tier;
mod time;
mod tls;
mod users;

pub(crate) use flows::reached;
pub(crate) use packets::is_loopback;

/// The whole document; nothing if anything in it was reported.
pub(crate) fn lower(shaped: &Shaped, sources: &Sources<'_>, mistakes: &mut Mistakes) -> Option<Spec> {
    let top = &shaped.top;
    let mut lower = Lower::new(top, &shaped.bare_pool, sources, mistakes);
    lower.names();
    lower.pools();
    lower.named_policies();
    let sites = lower.sites();
    let listeners = lower.listeners(&sites);
    let all_sites: Vec<_> = sites.iter().map(|(site, _)| site.clone()).collect();
    let certificates = lower.certificates(&listeners, &all_sites);
    let admin = lower.admin();
    lower.refuse_shared_binds(admin.as_ref());
    let dns = lower.dns();
    let lists = lower.lists();
    let access_log = lower.access_log();
    lower.refuse_shared_files(access_log.as_ref().map(|log| &log.to));
    let secret = lower.secret();
    let mut pools = std::mem::take(&mut lower.pools);
    lower.share_out_subsets(&mut pools);
    let policies: Vec<_> = std::mem::take(&mut lower.policies).into_iter().map(|(policy, _)| policy).collect();
    flows::check(&listeners, &all_sites, &policies, &pools, lower.mistakes);
    lower.spread_datagrams(&listeners, &all_sites, &mut pools);
    users::check(&listeners, &all_sites, &policies, lower.mistakes);
    quota::check(&listeners, &all_sites, &policies, lower.mistakes);
    packets::check(&listeners, &all_sites, &pools, lower.mistakes);
    let spec = Spec {
        zone: top.fixed("zone").map(str::to_owned),
        secret,
        workers: top.integer("workers").and_then(|count| usize::try_from(count).ok()),
        splice: top.boolean("splice").unwrap_or(true),
        access_log,
        certificates,
        admin,
        sites: all_sites,
        policies,
        lists,
        pools: pools.into_iter().flatten().collect(),
        nat_connections: top.map("nat").and_then(|nat| u32::try_from(nat.integer("connections")?).ok()),
        shutdown: shutdown(top),
        dns,
        state: top.get("state").and_then(|value| {
            let dir = sources.dir_of(&value.span.file);
            value.fixed().map(|path| dir.join(path))
        }),
        listeners,
    };
    mistakes.0.is_empty().then_some(spec)
}

/// The servers of a document that is a list of them.
pub(crate) fn listed_servers(list: &Map, sources: &Sources<'_>, mistakes: &mut Mistakes) -> Vec<crate::spec::Server> {
    let mut lower = Lower::new(list, list, sources, mistakes);
    let servers = lower.servers(list);
    lower.refuse_files(&servers);
    servers
}

/// What is known on the way.
struct Lower<'a, 'b> {
    top: &'a Map,
    bare_pool: &'a Map,
    sources: &'a Sources<'b>,
    mistakes: &'a mut Mistakes,
    pool_ids: HashMap<&'a str, PoolId>,
    /// Pools that stand for a literal `host:port`, by that text.
    literal_pools: HashMap<String, PoolId>,
    /// By their ids: those with names come first, then the literal ones. A faulty one is nothing, and keeps its place.
    pools: Vec<Option<Pool>>,
    policy_ids: HashMap<&'a str, Vec<PolicyId>>,
    policies: Vec<(crate::spec::Policy, template::Needs)>,
    subsets: Vec<tier::Subset>,
    /// The role of the listener that is lowered.
    role: Role,
    /// Whether the predicate that is lowered stands in a `not`.
    is_negated: bool,
    /// Certificates that a listener names and that need no entry of their own.
    implied: Vec<crate::spec::Certificate>,
    /// Every address that is listened on, with its listener's name.
    binds: Vec<(Bind, &'a str)>,
}

impl<'a, 'b> Lower<'a, 'b> {
    fn new(top: &'a Map, bare_pool: &'a Map, sources: &'a Sources<'b>, mistakes: &'a mut Mistakes) -> Lower<'a, 'b> {
        Lower {
            top,
            bare_pool,
            sources,
            mistakes,
            pool_ids: HashMap::new(),
            literal_pools: HashMap::new(),
            pools: Vec::new(),
            policy_ids: HashMap::new(),
            policies: Vec::new(),
            binds: Vec::new(),
            subsets: Vec::new(),
            role: Role::default(),
            is_negated: false,
            implied: Vec::new(),
        }
    }

    /// Checks every name that others may refer to, and gives pools their ids.
    fn names(&mut self) {
        for key in ["certificates", "listeners", "sites", "policies", "pools", "lists"] {
            for item in self.top.named(key) {
                if let Err(why) = name::check(&item.key) {
                    self.mistakes.note(&item.span, why);
                }
            }
        }
        for (n, item) in self.top.named("pools").iter().enumerate() {
            self.pool_ids.insert(&item.key, PoolId(n));
        }
    }

    /// Notes what is wrong with a value, but never shows one that came from outside: it may be a secret.
    fn note(&mut self, value: &Value, message: impl Into<String>) {
        match &value.data {
            Shape::Scalar(text, _) if text.has_secret() => {
                let message = format!("`{}` has a value that is not valid here", text.written);
                self.mistakes.note(&value.span, message);
            }
            _ => self.mistakes.note(&value.span, message),
        }
    }

    fn access_log(&mut self) -> Option<AccessLog> {
        let log = self.top.map("access_log")?;
        let to = log.item("to")?;
        let to = match to.value.fixed()? {
            "stdout" => LogSink::Stdout,
            "stderr" => LogSink::Stderr,
            "off" => return None,
            word @ ("true" | "false" | "on" | "yes" | "no") => {
                let why =
                    format!("`{word}` would be a file, write `stdout`, `stderr`, `off` or a path such as `./{word}`");
                self.note(&to.value, why);
                return None;
            }
            path => LogSink::File(PathBuf::from(path)),
        };
        let format = if log.fixed("format") == Some("combined") { LogFormat::Combined } else { LogFormat::Json };
        Some(AccessLog { to, format, span: log.get("to")?.span.clone() })
    }

    fn admin(&mut self) -> Option<Admin> {
        let bind = self.top.map("admin")?.get("bind")?;
        match address::admin(bind.fixed()?) {
            Ok(address) => Some(Admin { bind: address, span: bind.span.clone() }),
            Err(why) => {
                self.note(bind, format!("`bind` of `admin`: {why}"));
                None
            }
        }
    }

    fn dns(&mut self) -> Dns {
        let mut dns = Dns { servers: Vec::new(), hosts: Vec::new() };
        let Some(map) = self.top.map("dns") else { return dns };
        for server in map.list("servers") {
            match server.fixed().map(address::socket) {
                Some(Ok(address)) => dns.servers.push(address),
                Some(Err(why)) => self.note(server, format!("`servers` of `dns`: {why}")),
                None => {}
            }
        }
        for Item { key, span, value } in map.named("hosts") {
            let addresses = self.fixed_answers(key, value);
            match name::host(key) {
                Ok(host) => dns.hosts.push((host, addresses)),
                Err(why) => self.mistakes.note(span, format!("`hosts` of `dns`: {why}")),
            }
        }
        self.refuse_same_name(map.named("hosts"), "host");
        dns
    }

    fn fixed_answers(&mut self, host: &str, value: &Value) -> Vec<std::net::IpAddr> {
        let mut addresses = Vec::new();
        for value in value.items() {
            match value.fixed().map(str::parse) {
                Some(Ok(address)) => addresses.push(address),
                Some(Err(_)) => self.note(value, format!("host `{host}`: the value is no IP address")),
                None => {}
            }
        }
        addresses
    }
}

fn shutdown(top: &Map) -> Shutdown {
    let times = top.map("shutdown");
    let time = |key| times.and_then(|times| times.duration(key)).unwrap_or_default();
    Shutdown { delay: time("delay"), drain: time("drain") }
}

/// A site and the listeners that it names.
type PlacedSite = (crate::spec::Site, Vec<(String, crate::span::Span)>);

/// The sites that name a listener.
fn sites_of(sites: &[PlacedSite], listener: &str) -> Vec<SiteId> {
    let names = |(_, listeners): &PlacedSite| listeners.iter().any(|(name, _)| name == listener);
    sites.iter().enumerate().filter(|(_, site)| names(site)).map(|(n, _)| SiteId(n)).collect()
}
