//! Pools and their servers.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use wire::proxy_protocol::Form;

use super::{Lower, address, name};
use crate::diagnostics::did_you_mean;
use crate::shape::{Item, Map, Shape, Value};
use crate::span::Span;
use crate::spec::{Bounds, Breaker, Coalesce, Pool, PoolHost, PoolId, Protocol, Server, ServerAddress, Tier};

impl<'a> Lower<'a, '_> {
    /// The pools with names.
    pub(super) fn pools(&mut self) {
        let items = self.top.named("pools");
        self.pools = items.iter().map(|item| self.named_pool(item)).collect();
    }

    /// The pool that `to` means: a name, or a literal `host:port`.
    pub(super) fn destination(&mut self, value: &Value) -> Option<PoolId> {
        let id = self.any_pool(value)?;
        self.refuse_parents(value, id)
    }

    /// The same for whoever may also go by proxies.
    pub(super) fn any_pool(&mut self, value: &Value) -> Option<PoolId> {
        let text = value.fixed()?;
        if let Some(id) = self.pool_ids.get(text) {
            return Some(*id);
        }
        if text == "origin" {
            self.note(
                value,
                "`origin` is the server that a client asked for and exists only under `role: forward`, name a pool",
            );
            return None;
        }
        if !text.contains(':') && self.mistakes.is_full() {
            return None;
        }
        if !text.contains(':') {
            let hint = match text.parse::<std::net::IpAddr>() {
                Ok(address) => format!(", a server needs its port: `{address}:PORT`"),
                Err(_) => did_you_mean(text, self.pool_ids.keys().copied()),
            };
            self.note(value, format!("there is no pool `{text}`{hint}"));
            return None;
        }
        if let Some(id) = self.literal_pools.get(text) {
            return Some(*id);
        }
        let server = self.server(text, value)?;
        let mut pool = self.pool(self.bare_pool, text, &value.span)?;
        pool.implicit = true;
        pool.servers = vec![server];
        pool.quic = self.quic(self.bare_pool, &pool.servers);
        self.check_files(&pool.servers);
        self.check_whole(self.bare_pool, &pool, &pool.servers);
        let id = PoolId(self.pools.len());
        self.pools.push(Some(pool));
        self.literal_pools.insert(text.to_owned(), id);
        Some(id)
    }

    fn named_pool(&mut self, item: &'a Item) -> Option<Pool> {
        let map = item.value.map()?;
        let servers = self.servers(map);
        let quic = self.quic(map, &servers);
        let pool = Pool { quic, ..self.pool(map, &item.key, &item.span)? };
        self.check_files(&servers);
        self.check_whole(map, &pool, &servers);
        Some(Pool { servers, ..pool })
    }

    /// What keys of a pool may not say together.
    fn check_whole(&mut self, map: &Map, pool: &Pool, servers: &[Server]) {
        self.refuse_more_warm_than_open(map, pool.warm, servers);
        self.demand_a_name(map, pool, servers);
        self.check_pool_h3(map, pool, servers);
        self.check_send_proxy(map, pool);
        self.check_source(map, pool, servers);
        self.check_pool_starttls(map, pool);
        self.check_parents(map, pool);
    }

    /// Everything of a pool but its servers.
    fn pool(&mut self, map: &Map, name: &str, span: &Span) -> Option<Pool> {
        let mut levels = self.levels(map);
        let queue = map.map("queue");
        if let Some(queue) = queue.filter(|queue| queue.has("timeout")) {
            levels.timeouts.queue = self.time(queue, "timeout");
        }
        let pooled_timeout = map.map("timeouts").and_then(|times| self.time(times, "pooled"));
        let host = self.pool_host(map);
        let balance = self.balance(map);
        let sticky = map.map("sticky").and_then(|sticky| self.sticky(sticky));
        let outlier = map.map("outlier").and_then(|outlier| self.outlier(outlier));
        let health = map.map("health").and_then(|health| self.health(health));
        Some(Pool {
            name: name.to_owned(),
            span: span.clone(),
            implicit: false,
            servers: Vec::new(),
            balance: balance?,
            panic: map.share("panic")?,
            subsets: Vec::new(),
            concurrency: map.map("concurrency").and_then(|map| self.bounds(map)),
            sticky,
            breaker: map.map("circuit_breaker").map(breaker).unwrap_or_default(),
            queue_length: queue?.small("length")?,
            pooled_timeout: pooled_timeout?,
            warm: map.small("warm")?,
            timeouts: levels.timeouts,
            retries: levels.retries,
            limits: levels.limits,
            host: host?,
            tls: self.pool_tls(map),
            protocol: match map.fixed("protocol") {
                Some("h2") => Protocol::H2,
                Some("h3") => Protocol::H3,
                Some("http_proxy") => Protocol::HttpProxy,
                Some("socks5") => Protocol::Socks5,
                _ => Protocol::H1,
            },
            credentials: self.credentials(map),
            send_proxy: map.fixed("send_proxy").map(|word| if word == "v1" { Form::V1 } else { Form::V2 }),
            coalesce: map.map("coalesce").and_then(|map| self.coalesce(map)),
            quic: None,
            as_client: map.fixed("source").is_some(),
            health,
            outlier,
            slow_start: if map.has("slow_start") { self.time(map, "slow_start") } else { None },
        })
    }

    pub(super) fn coalesce(&mut self, map: &Map) -> Option<Coalesce> {
        let (bytes, delay) = (map.size("bytes")?, map.duration("delay")?);
        if let Some(value) = map.get("bytes").filter(|_| !(1..=MOST_GATHERED).contains(&bytes)) {
            self.note(value, format!("`bytes` of {} is not from 1 to 64KiB", map.label));
        }
        if let Some(value) = map.get("delay").filter(|_| !DELAYS.contains(&delay)) {
            self.note(value, format!("`delay` of {} is not from 1us to 10s", map.label));
        }
        Some(Coalesce { bytes: u32::try_from(bytes).unwrap_or(u32::MAX), delay })
    }

    fn check_send_proxy(&mut self, map: &Map, pool: &Pool) {
        let Some(value) = map.get("send_proxy") else { return };
        if matches!(pool.protocol, Protocol::H2 | Protocol::H3) {
            let message = format!(
                "`send_proxy` of {}: many clients share a connection of its `protocol`, remove one of them",
                map.label
            );
            self.note(value, message);
        }
        if pool.warm > 0 && pool.tls.is_some() {
            let message = format!(
                "`send_proxy` of {}: with `tls` it is said before the handshake, so that no connection can be `warm`, remove one of them",
                map.label
            );
            self.note(value, message);
        }
    }

    fn check_source(&mut self, map: &Map, pool: &Pool, servers: &[Server]) {
        let Some(value) = map.get("source") else { return };
        let label = &map.label;
        if matches!(pool.protocol, Protocol::H2 | Protocol::H3) {
            let why = "many clients share a connection of its `protocol`, remove one of them";
            self.note(value, format!("`source` of {label}: {why}"));
        }
        if pool.warm > 0 {
            let why = "it is not known for whom a connection that is `warm` will be, remove one of them";
            self.note(value, format!("`source` of {label}: {why}"));
        }
        if servers.iter().any(|server| matches!(server.address, ServerAddress::Unix(_))) {
            self.note(value, format!("`source` of {label}: connections to Unix sockets have no address, remove it"));
        }
    }

    fn bounds(&mut self, map: &Map) -> Option<Bounds> {
        let bounds = Bounds { min: map.small("min")?, max: map.small("max")? };
        if bounds.max < bounds.min {
            let message = format!("`max` of {} is {} and below its `min`: {}", map.label, bounds.max, bounds.min);
            self.mistakes.note(&map.span, message);
        }
        Some(bounds)
    }

    fn pool_host(&mut self, map: &Map) -> Option<PoolHost> {
        let value = map.get("host")?;
        match value.fixed()? {
            "client" => Some(PoolHost::Client),
            "server" => Some(PoolHost::Server),
            text => {
                let (host, port) = match text.rsplit_once(':') {
                    Some((host, port)) if !text.ends_with(']') => {
                        (host, port.parse::<u16>().ok().filter(|port| *port > 0))
                    }
                    _ => (text, Some(0)),
                };
                match (name::host(host), port) {
                    (Ok(_), Some(_)) => Some(PoolHost::Name(text.to_ascii_lowercase())),
                    (Err(why), _) => {
                        self.note(value, format!("`host` of {}: {why}", map.label));
                        None
                    }
                    (Ok(_), None) => {
                        self.note(value, format!("`host` of {}: `{text}` has no valid port", map.label));
                        None
                    }
                }
            }
        }
    }

    pub(super) fn servers(&mut self, pool: &Map) -> Vec<Server> {
        let Some(value) = pool.get("servers") else { return Vec::new() };
        let mut servers = Vec::new();
        match &value.data {
            Shape::List(list) => {
                for value in list {
                    servers.extend(value.map().and_then(|map| self.one_server(map, None)));
                }
            }
            Shape::Map(named) => {
                for item in &named.items {
                    if let Err(why) = name::check(&item.key) {
                        self.mistakes.note(&item.span, why);
                    }
                    servers.extend(item.value.map().and_then(|map| self.one_server(map, Some(&item.key))));
                }
                if named.items.is_empty() {
                    self.note(value, format!("{} has no servers", pool.label));
                }
            }
            Shape::Faulty | Shape::Scalar(..) => {}
        }
        self.refuse_twins(pool, &servers);
        servers
    }

    fn one_server(&mut self, map: &Map, name: Option<&str>) -> Option<Server> {
        let value = map.get("address")?;
        let mut server = self.server(value.fixed()?, value)?;
        if let Some(name) = name {
            if server.address.is_source() {
                let message = format!("`{name}` names one server, `{}` stands for several, write a list", server.name);
                self.note(value, message);
            }
            name.clone_into(&mut server.name);
        }
        server.weight = map.small("weight")?;
        server.max_connections = map.small("max_connections");
        server.tier = self.tier(map);
        server.quic_id = map.get("quic_id").map(|value| self.quic_id(value).unwrap_or_default());
        Some(server)
    }

    /// A server of which only the address is known.
    fn server(&mut self, text: &str, value: &Value) -> Option<Server> {
        let dir = self.sources.dir_of(&value.span.file);
        match address::server(text, dir, &value.span.file) {
            Ok(address) => Some(Server {
                name: text.to_owned(),
                address,
                weight: 1,
                max_connections: None,
                quic_id: None,
                tier: Tier::default(),
                span: value.span.clone(),
            }),
            Err(why) => {
                self.note(value, why);
                None
            }
        }
    }

    /// What is wrong in a file of servers is told among the mistakes of whoever names it.
    fn check_files(&mut self, servers: &[Server]) {
        for server in servers {
            let ServerAddress::File(file) = &server.address else { continue };
            if !file.path.is_file() {
                let message = format!("there is no file `{}`", file.path.display());
                self.mistakes.note(&server.span, message);
                continue;
            }
            crate::servers::read(file, self.sources.env, self.mistakes);
        }
    }

    /// A file of servers that names another could name itself.
    pub(super) fn refuse_files(&mut self, servers: &[Server]) {
        for server in servers.iter().filter(|server| matches!(server.address, ServerAddress::File(_))) {
            let message = format!("`{}` stands in a file of servers, name it in the pool", server.name);
            self.mistakes.note(&server.span, message);
        }
    }

    fn refuse_more_warm_than_open(&mut self, pool: &Map, warm: u32, servers: &[Server]) {
        let limited =
            servers.iter().find_map(|server| Some((server, server.max_connections.filter(|most| *most < warm)?)));
        let (Some(value), Some((server, most))) = (pool.get("warm"), limited) else { return };
        let message = format!(
            "`warm` of {} is {warm}, but server `{}` has `max_connections: {most}`, use at most {most}",
            pool.label, server.name
        );
        self.note(value, message);
    }

    /// A server's identity is its name and address, so two of the same would share one state.
    fn refuse_twins(&mut self, pool: &Map, servers: &[Server]) {
        let mut seen = HashSet::new();
        for server in servers {
            if !seen.insert((&server.name, &server.address)) {
                let message = format!(
                    "server `{}` stands twice in {}, use `weight` to give it more load",
                    server.name, pool.label
                );
                self.mistakes.note(&server.span, message);
            }
        }
    }
}

fn breaker(map: &Map) -> Breaker {
    Breaker { connections: map.small("connections"), requests: map.small("requests"), retries: map.small("retries") }
}

/// What one read of the data plane brings at most: so much goes on at once whatever is said.
const MOST_GATHERED: u64 = 64 * 1024;
const DELAYS: RangeInclusive<Duration> = Duration::from_micros(1)..=Duration::from_secs(10);
