//! Listeners, sites and nested routes, flattened into one table.

use std::sync::Arc;
use std::time::Duration;

use config::spec::{self, Ending as Said, Serves, SiteHost, Spec};
use proxy::canary::{Canary, Cohorts, CookieRule, Force};
use proxy::destination::Way;
use proxy::filter::Filter;
use proxy::lists::{Listed, Lists, Wanted};
use proxy::policy::Policy;
use proxy::pool::{Pool, Priority};
use proxy::quota::Quota;
use proxy::route::{Condition, HostPattern, Rule, Table, Words};
use proxy::snapshot::{
    Advert, Arm, Backoff, Ending, Face, Hears, Hedge, Listener, Place, Redirect, Respond, Retries, Role, Route,
    Timeouts, Tls, Transparent, Versions,
};
use proxy::users::Authentication;
use wire::forwarded::{Client, Format, Names, Rules};
use wire::h1::Limits;

use super::origins::{self, Origins};
use super::pools::coalesce;
use super::{intercept, matching, pac, policies};
use crate::canary::Plan;
use crate::certificates::Keyring;
use crate::registry::Registry;
use crate::room::Room;
use crate::sockets;
use crate::users::Directory;

/// What an outer level hands down to the routes inside it.
#[derive(Clone)]
struct Level {
    conditions: Vec<Condition>,
    policies: Vec<Arc<Policy>>,
    /// Who may come in, beyond what the listener asks of all.
    users: Vec<Arc<Authentication>>,
    // Routes and sites only: the pool stands between them and the listener.
    priority: Option<spec::Priority>,
    timeouts: spec::Timeouts,
    retries: spec::Retries,
    limits: spec::Limits,
    source: Option<spec::Source>,
    subset: spec::Labels,
}

struct Flattener<'a> {
    spec: &'a Spec,
    listener: &'a spec::Listener,
    pools: &'a [Arc<Pool>],
    policies: &'a [Option<Arc<Policy>>],
    lists: &'a Arc<Lists>,
    directory: &'a Directory,
    /// Where clients may name servers themselves.
    origins: Option<Origins>,
    registry: &'a mut Registry,
    rules: Vec<Rule>,
    routes: Vec<Arc<Route>>,
}

/// What listeners name, by what it was made into.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) pools: &'a [Arc<Pool>],
    /// Those that only ask who the client is are none here.
    pub(super) policies: &'a [Option<Arc<Policy>>],
    pub(super) lists: &'a Arc<Lists>,
    pub(super) keyring: &'a Keyring,
    pub(super) directory: &'a Directory,
    /// Fields in which servers are told who asks.
    pub(super) identity: &'a Arc<[Box<str>]>,
}

pub(super) fn listener(
    spec: &Spec,
    listener: &spec::Listener,
    known: Known<'_>,
    registry: &mut Registry,
    room: Room,
) -> Listener {
    let Known { pools, policies, lists, keyring, directory, identity } = known;
    let (id, connections) = registry.listener(&listener.name);
    let under_way = registry.handshakes(&listener.name);
    let secure = |at: Option<usize>, tls: Option<&spec::ListenerTls>| {
        let terminator = keyring.listeners.get(&(listener.name.clone(), at));
        tls.zip(terminator).map(|(tls, terminator)| Tls {
            terminator: terminator.clone(),
            starttls: tls.starttls,
            lets_plain: tls.lets_plain,
            quic: keyring.quic.get(&(listener.name.clone(), at)).cloned(),
            early_data: listener.http3.early_data,
            patience: tls.handshake_timeout,
            most: tls.handshakes as usize,
            under_way: Arc::clone(&under_way),
        })
    };
    let tls = secure(None, listener.tls.as_ref());
    let binds = listener.binds.iter().zip(sockets::keys(listener)).enumerate();
    let differing = binds.filter(|(_, (bind, _))| bind.tls != spec::BindTls::Inherited);
    let faces: Box<[Face]> = differing
        .map(|(at, (bind, (name, address)))| Face {
            bind: registry.bind(&name, &address),
            tls: secure(Some(at), listener.tls_at(bind)),
            versions: versions(&bind.http),
        })
        .collect();
    let introduced = listener
        .binds
        .iter()
        .zip(sockets::keys(listener))
        .filter(|(bind, _)| !bind.accept_proxy.is_empty())
        .map(|(bind, (name, address))| {
            (registry.bind(&name, &address), bind.accept_proxy.iter().map(matching::net).collect())
        })
        .collect();
    let led = listener.binds.iter().zip(sockets::keys(listener)).filter_map(|(bind, (name, address))| {
        let by = match bind.transparent? {
            spec::Transparent::Redirect => Transparent::Redirect,
            spec::Transparent::Tproxy => Transparent::Tproxy,
        };
        Some((registry.bind(&name, &address), by))
    });
    let led = led.collect();
    let reader = keyring.readers.get(&listener.name);
    let intercept = listener.intercept.as_ref().zip(reader);
    let intercept = intercept
        .map(|(said, reader)| intercept::intercept(&listener.name, said, reader, origins::names(spec), registry));
    let ways = reader.map(|reader| Arc::clone(&reader.originators));
    let origins = listener.egress.as_ref().map(|said| Origins::of(spec, said, ways, registry));
    let mut flat = Flattener {
        spec,
        listener,
        pools,
        policies,
        lists,
        directory,
        origins,
        registry,
        rules: Vec::new(),
        routes: Vec::new(),
    };
    let top = Level {
        conditions: Vec::new(),
        policies: flat.policies_of(&listener.uses),
        users: Vec::new(),
        priority: None,
        timeouts: spec::Timeouts::default(),
        retries: spec::Retries::default(),
        limits: spec::Limits::default(),
        source: None,
        subset: spec::Labels::default(),
    };
    let default = Arc::new(flat.route("", Ending::NoRoute, &top));
    match &listener.serves {
        Serves::Routes(routes) => flat.list(routes, &top, ""),
        Serves::Sites(sites) => flat.sites(sites, &top),
    }
    let Flattener { rules, routes, .. } = flat;
    let secured = listener.all_tls().next().map(|_| ());
    let serves_h3 = listener.binds.iter().any(|bind| bind.http.contains(&spec::HttpVersion::H3));
    let role = match listener.role {
        spec::Role::Http => Role::Http,
        spec::Role::Forward => Role::Forward,
        spec::Role::Udp => Role::Udp,
        // No listener of packets is compiled: what stands in for one is of TCP or of UDP.
        spec::Role::Tcp | spec::Role::Nat => {
            let reached = routes.iter().flat_map(|route| route.ending.arms()).map(|arm| &*arm.pool.name);
            let pools = |name: &str| spec.pools.iter().find(|pool| pool.name == name);
            let reached: Vec<&spec::Pool> = reached.filter_map(pools).collect();
            let asks =
                |words| rules.iter().any(|rule| rule.asks(words)) || reached.iter().any(|pool| goes_by(pool, words));
            Role::Tcp {
                hears: Hears {
                    hello: asks(Words::Hello),
                    // A client that would have TLS with us is told that it has none, before TLS begins with its server.
                    postgres: asks(Words::Postgres),
                    mqtt: asks(Words::Mqtt),
                    http: false,
                },
            }
        }
    };
    let users = directory.ways(&listener.uses);
    let most = if listener.role == spec::Role::Udp { room.flows(spec) } else { room.connections };
    Listener {
        id,
        name: listener.name.as_str().into(),
        role,
        versions: versions(&listener.http),
        advert: listener
            .http3
            .advert
            .filter(|_| serves_h3)
            .map(|said| Advert { port: said.port, max_age: said.max_age }),
        head: Limits {
            head: size(listener.head.request_head),
            line: size(listener.head.request_line),
            fields: listener.head.fields as usize,
        },
        hosts: secured.and_then(|()| Table::of_hosts(&rules)),
        tls,
        faces,
        led,
        tokens: keyring.tokens.clone(),
        pac: listener.pac.as_ref().map(|said| pac::pac(spec, listener, said)),
        introduced,
        request_head: listener.request_head_timeout,
        keep_alive: listener.keep_alive_timeout,
        max_connections: listener.head.connections.map_or(most, |most| most as usize),
        forwarding: forwarding(&listener.forwarding),
        asks_who: users.is_some() || routes.iter().any(|route| !route.users.is_empty()),
        users,
        identity: Arc::clone(identity),
        table: Table::compile(rules),
        routes,
        default,
        connections,
        coalesce: listener.coalesce.map(coalesce),
        splice: spec.splice,
        intercept,
        inspect: listener.inspect.clone().into(),
    }
}

/// Whether a pool's servers are chosen by what clients say first in these words.
fn goes_by(pool: &spec::Pool, words: Words) -> bool {
    pool.selectors().any(|selector| match selector {
        spec::Selector::Sni => words == Words::Hello,
        spec::Selector::PostgresUser | spec::Selector::PostgresDatabase => words == Words::Postgres,
        spec::Selector::MqttClient => words == Words::Mqtt,
        _ => false,
    })
}

fn versions(http: &[spec::HttpVersion]) -> Versions {
    let speaks = |version| http.contains(&version);
    Versions { h1: speaks(spec::HttpVersion::H1), h2: speaks(spec::HttpVersion::H2), h3: speaks(spec::HttpVersion::H3) }
}

impl Flattener<'_> {
    /// Exact hosts first, then wildcards, the longest first, then the default: so the first match is the best one.
    fn sites(&mut self, sites: &[spec::SiteId], top: &Level) {
        let mut entries: Vec<(usize, Option<HostPattern>, spec::SiteId)> = Vec::new();
        for id in sites {
            for host in &self.spec.site(*id).hosts {
                entries.push(match host {
                    SiteHost::Exact(name) => (usize::MAX, Some(HostPattern::Exact(name.clone())), *id),
                    SiteHost::Wildcard(name) => (name.len(), Some(HostPattern::Wildcard(name.clone())), *id),
                    SiteHost::Default => (0, None, *id),
                });
            }
        }
        entries.sort_by_key(|(rank, _, _)| std::cmp::Reverse(*rank));
        for (_, host, id) in entries {
            let site = self.spec.site(id);
            let level = Level {
                conditions: host.map(|host| Condition::Host(vec![host])).into_iter().collect(),
                policies: [&top.policies[..], &self.policies_of(&site.uses)].concat(),
                users: self.directory.ways(&site.uses).into_iter().collect(),
                priority: site.priority,
                timeouts: site.timeouts.or(top.timeouts),
                retries: site.retries.clone().or(&top.retries),
                limits: site.limits.or(top.limits),
                source: None,
                subset: spec::Labels::default(),
            };
            self.list(&site.routes, &level, &format!("{}/", site.name));
            self.dead_end(&level, &site.name);
        }
    }

    fn list(&mut self, routes: &[spec::Route], outer: &Level, path: &str) {
        for (number, route) in routes.iter().enumerate() {
            let mut level = Level {
                conditions: outer.conditions.clone(),
                policies: [&outer.policies[..], &self.policies_of(&route.uses)].concat(),
                users: outer.users.iter().cloned().chain(self.directory.ways(&route.uses)).collect(),
                priority: route.priority.or(outer.priority),
                timeouts: route.timeouts.or(outer.timeouts),
                retries: route.retries.clone().or(&outer.retries),
                limits: route.limits.or(outer.limits),
                source: route.source.clone().or_else(|| outer.source.clone()),
                subset: route.subset.clone(),
            };
            level.conditions.extend(route.matches.iter().flat_map(|predicate| self.conditions(predicate)));
            let name = route.name.clone().unwrap_or_else(|| format!("{path}{number}"));
            if let Said::Routes(inner) = &route.ending {
                self.list(inner, &level, &format!("{name}/"));
                self.dead_end(&level, &name);
                continue;
            }
            let ending = self.ending(&route.ending, &level, &name);
            self.push(&name, ending, &level);
        }
    }

    fn conditions(&self, predicate: &spec::Predicate) -> Vec<Condition> {
        let place = |id: &spec::ListId| {
            let named = self.spec.lists.get(id.0)?;
            self.lists.place(&named.name)
        };
        matching::conditions(predicate, &|of, ids| Listed {
            lists: Arc::clone(self.lists),
            wanted: Wanted::of(ids.iter().filter_map(place)),
            of,
        })
    }

    /// What matches a block but nothing inside it ends there: it never falls through to a later route.
    fn dead_end(&mut self, level: &Level, name: &str) {
        self.push(name, Ending::NoRoute, level);
    }

    fn push(&mut self, name: &str, ending: Ending, level: &Level) {
        let route = self.route(name, ending, level);
        self.rules.push(Rule { conditions: level.conditions.clone() });
        self.routes.push(Arc::new(route));
    }

    fn route(&mut self, name: &str, ending: Ending, level: &Level) -> Route {
        // A pool decides over what happens before it is reached only if it is the one that every request reaches.
        let only = match &ending {
            Ending::Pools(arms) if arms.len() == 1 => Some(&arms[0]),
            Ending::Ways(ways) => match &**ways {
                [Way::Parent(parent)] => Some(&*parent.arm),
                _ => None,
            },
            _ => None,
        };
        let pool = only.and_then(|arm| self.spec.pools.iter().find(|pool| pool.name == *arm.pool.name));
        let (of_pool, limits_of_pool) = pool.map_or_else(Default::default, |pool| (pool.timeouts, pool.limits));
        let timeouts = level.timeouts.or(of_pool).or(self.listener.timeouts).or(spec::Timeouts::DEFAULT);
        let limits = level.limits.or(limits_of_pool).or(self.listener.limits).or(spec::Limits::DEFAULT);
        Route {
            name: name.into(),
            policies: level.policies.clone().into(),
            users: level.users.clone().into(),
            // The nearest level wins.
            compress: level.policies.iter().rev().find_map(|policy| match &**policy {
                Policy::Compress(compress) => Some(Arc::clone(compress)),
                _ => None,
            }),
            bandwidth: level.policies.iter().rev().find_map(|policy| match &**policy {
                Policy::Bandwidth(bandwidth) => Some(Arc::clone(bandwidth)),
                _ => None,
            }),
            quotas: quotas(&level.policies, &ending),
            capture: level.policies.iter().rev().find_map(|policy| match &**policy {
                Policy::Capture(recorder) => recorder.clone(),
                _ => None,
            }),
            filters: filters(&level.policies),
            grpc_web: level.policies.iter().any(|policy| matches!(**policy, Policy::GrpcWeb)),
            ending,
            max_request_body: limits.request_body.unwrap_or(u64::MAX),
            request_body: timeouts.request_body.unwrap_or(Duration::MAX),
            stream: timeouts.stream.unwrap_or(Duration::MAX),
            total: timeouts.total,
            flow: timeouts.flow.unwrap_or(spec::Transport::Udp.idle()),
            tunnel: timeouts.tunnel.unwrap_or(Duration::MAX),
            priority: match level.priority.unwrap_or_default() {
                spec::Priority::High => Priority::High,
                spec::Priority::Normal => Priority::Normal,
                spec::Priority::Low => Priority::Low,
            },
            stats: self.registry.route(&self.listener.name, name),
        }
    }

    fn ending(&mut self, ending: &Said, level: &Level, name: &str) -> Ending {
        match ending {
            Said::To(pool) => match self.way(spec::Way::Pool(*pool), level) {
                Some(parent @ Way::Parent(_)) => Ending::Ways([parent].into()),
                _ => Ending::Pools([self.arm(*pool, 10_000, level)].into()),
            },
            Said::Origin => Ending::Ways(self.way(spec::Way::Origin, level).into_iter().collect()),
            Said::Ways(ways) => Ending::Ways(ways.iter().filter_map(|way| self.way(*way, level)).collect()),
            Said::Split(portions) => {
                let mut up_to = 0;
                let arm = |portion: &spec::Portion| {
                    up_to += portion.share;
                    self.arm(portion.to, up_to, level)
                };
                Ending::Pools(portions.iter().map(arm).collect())
            }
            Said::Canary(canary) => Ending::Canary(Box::new(self.canary(canary, level, name))),
            Said::Redirect(redirect) => Ending::Redirect(Redirect {
                status: redirect.status,
                to: match &redirect.target {
                    spec::RedirectTarget::Location(template) => Place::Location(policies::template(template)),
                    spec::RedirectTarget::Parts { scheme, host, port } => Place::Parts {
                        secure: scheme.map(|scheme| scheme == spec::Scheme::Https),
                        host: host.as_deref().map(Into::into),
                        port: *port,
                    },
                },
            }),
            Said::Respond(respond) => Ending::Respond(self.respond(respond)),
            Said::Deny(deny) if !self.listener.role.has_requests() => Ending::Close { reset: deny.reset },
            Said::Deny(deny) => Ending::Deny(policies::deny(deny)),
            Said::Routes(_) => Ending::NoRoute,
        }
    }

    /// A way of a forward proxy; other listeners have none.
    fn way(&self, way: spec::Way, level: &Level) -> Option<Way> {
        let origins = self.origins.as_ref()?;
        Some(match way {
            spec::Way::Origin => {
                let timeouts = level.timeouts.or(self.listener.timeouts);
                let retries = level.retries.clone().or(&self.listener.retries);
                Way::Origin(origins.to(timeouts, &retries, level.source.as_ref()))
            }
            spec::Way::Pool(id) if self.pools[id.0].parent.is_some() => {
                Way::Parent(origins.by(self.arm(id, 10_000, level)))
            }
            spec::Way::Pool(id) => Way::Pool(Arc::new(self.arm(id, 10_000, level))),
        })
    }

    fn canary(&mut self, said: &spec::Canary, level: &Level, name: &str) -> Canary {
        let listener = &self.listener.name;
        let cohorts = match &said.cohorts {
            spec::Cohorts::Chance => Cohorts::Chance,
            spec::Cohorts::Cookie(cookie) => {
                Cohorts::Cookie(CookieRule::new(listener, name, cookie.as_deref(), self.registry.seal()))
            }
            spec::Cohorts::Selectors(by) => Cohorts::Hash {
                seed: format!("{listener}/{name}").into(),
                by: by.iter().map(policies::selector).collect(),
            },
        };
        let force = said.force.as_ref().map(|force| Force {
            by: policies::selector(&force.by),
            candidate: force.candidate.as_deref().map(Into::into),
            stable: force.stable.as_deref().map(Into::into),
        });
        let plan = Plan {
            stable: self.spec.pool(said.stable).name.clone(),
            candidate: self.spec.pool(said.candidate).name.clone(),
            course: said.course.clone(),
        };
        Canary {
            arms: [self.arm(said.stable, 0, level), self.arm(said.candidate, 0, level)],
            cohorts,
            force,
            state: self.registry.canary(listener, name, &plan),
        }
    }

    fn respond(&self, respond: &spec::Respond) -> Respond {
        let mut fields: Vec<(Box<str>, Box<str>)> =
            respond.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
        if !respond.body.is_empty() && !fields.iter().any(|(name, _)| &**name == "content-type") {
            fields.push(("Content-Type".into(), "text/plain; charset=utf-8".into()));
        }
        Respond { status: respond.status, fields: fields.into(), body: respond.body.as_bytes().into() }
    }

    fn arm(&self, id: spec::PoolId, up_to: u32, level: &Level) -> Arm {
        let pool = self.spec.pool(id);
        let timeouts = level.timeouts.or(pool.timeouts).or(self.listener.timeouts);
        let retries = level.retries.clone().or(&pool.retries).or(&self.listener.retries);
        let pool = &self.pools[id.0];
        let subset = pool.subsets.iter().find(|subset| !level.subset.is_empty() && subset.labels == level.subset);
        Arm { subset: subset.map(|subset| Arc::clone(&subset.roster)), ..arm(pool, up_to, timeouts, &retries) }
    }

    fn policies_of(&self, uses: &[spec::PolicyId]) -> Vec<Arc<Policy>> {
        uses.iter().filter_map(|id| self.policies[id.0].clone()).collect()
    }
}

/// The quotas of a route that leads anywhere, each once however many levels use it.
fn quotas(policies: &[Arc<Policy>], ending: &Ending) -> Box<[Arc<Quota>]> {
    let leads = matches!(ending, Ending::Pools(_) | Ending::Canary(_) | Ending::Ways(_));
    each_once(policies.iter().filter(|_| leads).filter_map(|policy| match &**policy {
        Policy::Quota(quota) => Some(quota),
        _ => None,
    }))
}

/// The filters of a route, the nearest to the server first, each once however many levels use it.
fn filters(policies: &[Arc<Policy>]) -> Box<[Arc<Filter>]> {
    each_once(policies.iter().rev().filter_map(|policy| match &**policy {
        Policy::Filter(filter) => Some(filter),
        _ => None,
    }))
}

/// The first of those that are one and the same.
fn each_once<'a, T: 'a>(all: impl Iterator<Item = &'a Arc<T>>) -> Box<[Arc<T>]> {
    let mut known: Vec<Arc<T>> = Vec::new();
    for one in all {
        if !known.iter().any(|other| Arc::ptr_eq(other, one)) {
            known.push(Arc::clone(one));
        }
    }
    known.into()
}

/// The way to a pool by what was said on all levels; the rest is as it is by default.
pub(super) fn arm(pool: &Arc<Pool>, up_to: u32, timeouts: spec::Timeouts, retries: &spec::Retries) -> Arm {
    let timeouts = timeouts.or(spec::Timeouts::DEFAULT);
    Arm {
        pool: Arc::clone(pool),
        subset: None,
        up_to,
        timeouts: Timeouts {
            connect: timeouts.connect.unwrap_or(Duration::MAX),
            queue: timeouts.queue.unwrap_or(Duration::MAX),
            response: timeouts.response.unwrap_or(Duration::MAX),
            stream: timeouts.stream.unwrap_or(Duration::MAX),
            tunnel: timeouts.tunnel.unwrap_or(Duration::MAX),
            flow: timeouts.flow.unwrap_or(spec::Transport::Udp.idle()),
            per_try: timeouts.per_try,
        },
        retries: self::retries(&retries.clone().or(&spec::Retries::standard())),
        races: false,
        sources: None,
    }
}

fn retries(retries: &spec::Retries) -> Retries {
    let conditions = retries.conditions.as_deref().unwrap_or_default();
    let has = |wanted| conditions.contains(&wanted);
    Retries {
        extra: retries.extra.unwrap_or(0),
        connect: has(spec::RetryIf::Connect),
        reset: has(spec::RetryIf::Reset),
        timeout: has(spec::RetryIf::Timeout),
        statuses: conditions
            .iter()
            .filter_map(|condition| match condition {
                spec::RetryIf::Status(status) => Some(*status),
                _ => None,
            })
            .collect(),
        codes: conditions
            .iter()
            .filter_map(|condition| match condition {
                spec::RetryIf::Grpc(code) => Some(*code),
                _ => None,
            })
            .collect(),
        budget: retries.budget,
        hedge: retries.hedge.map(|said| Hedge { after: said.after, extra: said.extra }),
        backoff: retries.backoff.map(|said| Backoff { base: said.base, max: said.max }),
    }
}

fn forwarding(said: &spec::Forwarding) -> Rules {
    Rules {
        client: match said.client {
            spec::ForwardClient::Append => Client::Append,
            spec::ForwardClient::Replace => Client::Replace,
            spec::ForwardClient::Keep => Client::Keep,
            spec::ForwardClient::None => Client::None,
        },
        via: said.via,
        format: match said.format {
            spec::ForwardFormat::XForwarded => Format::XForwarded,
            spec::ForwardFormat::Rfc7239 => Format::Rfc7239,
            spec::ForwardFormat::Both => Format::Both,
        },
        trust: said.trust.iter().map(matching::net).collect(),
        identifying: match &said.identifying {
            Some(names) => Names::new(names.iter().map(String::as_str)),
            None if said.client == spec::ForwardClient::None => Names::identifying(),
            None => Names::default(),
        },
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
