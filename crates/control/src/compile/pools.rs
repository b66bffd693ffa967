//! Pools and their servers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use config::spec;
use net::Address;
use net::dial::Security;
use proxy::balance::Key;
use proxy::pool::{Bounds, Breaker, Credentials, HostRule, Parent, Pool, Quic, Server, ServerId, Subset};
use proxy::relay::Coalesce;
use proxy::sticky::{Cookie, Known, Sticky};

use super::policies;
use super::roster::{Placed, roster};
use crate::certificates::Way;
use crate::discovery::Discovery;
use crate::registry::Registry;

/// A pool with the servers that its names stand for now.
pub(super) fn pool(
    pool: &spec::Pool,
    zone: Option<&str>,
    discovery: &Discovery,
    registry: &mut Registry,
    named: &mut HashMap<ServerId, (u32, Option<u32>)>,
    way: Option<&Way>,
) -> Pool {
    let name: Arc<str> = pool.name.as_str().into();
    let mut placed: Vec<Placed<'_>> = Vec::new();
    let parent = parent(pool);
    // Nor by those who are others to a proxy.
    let asked = parent.as_ref().map_or(0, |parent| {
        let mut number = DefaultHasher::new();
        parent.hash(&mut number);
        number.finish()
    });
    for said in &pool.servers {
        for (address, authority) in addresses(&said.address, discovery) {
            // Connections of another kind must not be found by those who want this one.
            let told = pool.send_proxy.map_or(0, |form| 1 + form as u64) + 3 * u64::from(pool.as_client);
            let transport = way.map_or(0, |way| way.transport).wrapping_mul(6).wrapping_add(told) ^ asked;
            let id = ServerId { pool: Arc::clone(&name), name: said.name.as_str().into(), address, transport };
            named.insert(id.clone(), (said.weight, said.max_connections));
            let server = registry.server(&id, &authority, said.weight, || way.map(|way| security(way, &authority)));
            let weight = registry.weight_to_be(&server, said.weight);
            placed.push(Placed { server, said, weight });
        }
    }
    // One order for all workers and processes, whatever order a resolver answers in.
    placed.sort_by(|one, other| one.server.id.cmp(&other.server.id));
    placed.dedup_by(|one, other| one.server.id == other.server.id);
    let whole = Arc::new(roster(pool, &placed, &[], zone, registry));
    let subset = |labels: &spec::Labels| Subset {
        labels: labels.clone(),
        roster: Arc::new(roster(pool, &placed, labels, zone, registry)),
    };
    let subsets = pool.subsets.iter().map(subset).collect();
    let ids = placed.iter().map(|one| one.said.quic_id.clone()).collect();
    let servers: Vec<_> = placed.into_iter().map(|one| one.server).collect();
    let sticky = pool.sticky.as_ref().map(|said| sticky(said, &pool.name, &servers, registry));
    let quic = pool.quic.map(|said| quic(said, &pool.name, ids, registry));
    let (key, gate) = registry.pool(&pool.name);
    Pool {
        name,
        key,
        servers,
        roster: whole,
        subsets,
        sticky,
        host: match &pool.host {
            spec::PoolHost::Client => HostRule::Client,
            spec::PoolHost::Server => HostRule::Server,
            spec::PoolHost::Name(name) => HostRule::Name(name.as_str().into()),
        },
        shared: shared(pool.protocol),
        parent,
        send_proxy: pool.send_proxy,
        coalesce: pool.coalesce.map(coalesce),
        quic,
        as_client: pool.as_client,
        pooled: pool.pooled_timeout,
        warm: pool.warm,
        connect: pool.timeouts.or(spec::Timeouts::DEFAULT).connect.unwrap_or(Duration::MAX),
        gate,
        limited: pool.breaker.connections.is_some()
            || pool.servers.iter().any(|server| server.max_connections.is_some()),
        concurrency: pool.concurrency.map(|said| Bounds { min: said.min, max: said.max }),
        breaker: Breaker { requests: pool.breaker.requests, retries: pool.breaker.retries },
    }
}

/// Which small pieces of flows wait for others.
pub(super) fn coalesce(said: spec::Coalesce) -> Coalesce {
    Coalesce { bytes: said.bytes as usize, delay: said.delay }
}

/// What is spoken on connections that requests share.
fn shared(protocol: spec::Protocol) -> Option<http::shared::Protocol> {
    match protocol {
        spec::Protocol::H1 | spec::Protocol::HttpProxy | spec::Protocol::Socks5 => None,
        spec::Protocol::H2 => Some(http::shared::Protocol::H2),
        spec::Protocol::H3 => Some(http::shared::Protocol::H3),
    }
}

/// How its servers are asked for others.
fn parent(pool: &spec::Pool) -> Option<Parent> {
    let known = pool.credentials.as_ref();
    let credentials = known.map(|known| Credentials::new(&known.username, &known.password.0));
    match pool.protocol {
        spec::Protocol::HttpProxy => Some(Parent::Http(credentials)),
        spec::Protocol::Socks5 => Some(Parent::Socks5(credentials)),
        spec::Protocol::H1 | spec::Protocol::H2 | spec::Protocol::H3 => None,
    }
}

fn sticky(said: &spec::Sticky, pool: &str, servers: &[Arc<Server>], registry: &mut Registry) -> Sticky {
    match said {
        spec::Sticky::Cookie { name, lasts } => {
            Sticky::Cookie(Cookie::new(pool, servers, name.as_deref(), *lasts, &registry.seal()))
        }
        spec::Sticky::Table { by, lasts, most } => {
            let key = Key(by.iter().map(policies::selector).collect());
            Sticky::Table(Known::new(servers, key, registry.stuck(pool, *most), *lasts))
        }
    }
}

/// How servers are found by the ids of QUIC, each of which may write its own into them.
fn quic(said: spec::Quic, pool: &str, ids: Vec<Option<Vec<u8>>>, registry: &mut Registry) -> Quic {
    match said {
        spec::Quic::Learned { most } => Quic::Learned(registry.ids(pool, most)),
        spec::Quic::Encoded { offset, length } => {
            let named = ids.into_iter().zip(0..).filter_map(|(id, number)| Some((id?.into(), number)));
            Quic::Encoded { offset, length, servers: named.collect() }
        }
    }
}

/// A server is who its own address says, unless the pool says who all of them are.
fn security(way: &Way, authority: &str) -> Security {
    let host = || authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    let name = way.server_name.as_deref().unwrap_or_else(host).into();
    Security { originator: way.originator.clone(), name, starttls: way.starttls, lets_plain: way.lets_plain }
}

fn addresses(address: &spec::ServerAddress, discovery: &Discovery) -> Vec<(Address, String)> {
    match address {
        spec::ServerAddress::Ip(address) => vec![(Address::Tcp(*address), address.to_string())],
        spec::ServerAddress::Unix(path) => vec![(Address::Unix(path.clone()), "localhost".to_owned())],
        spec::ServerAddress::Name { host, port } => discovery
            .addresses(host)
            .iter()
            .map(|ip| (Address::Tcp((*ip, *port).into()), format!("{host}:{port}")))
            .collect(),
        // Discovery has put their servers in their place.
        spec::ServerAddress::Service(_) | spec::ServerAddress::File(_) => Vec::new(),
    }
}
