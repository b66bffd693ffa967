//! What pools may not ask of packets: the kernel rewrites addresses, and reads nothing.

use std::net::SocketAddr;

use super::flows::reached;
use super::nat::family;
use crate::diagnostics::Mistakes;
use crate::spec::{
    Algorithm, BindAddress, Breaker, Engine, Limits, Listener, NatMode, Pool, PoolHost, Protocol, Retries, Role,
    Server, ServerAddress, Site, Tier, Timeouts,
};

/// Notes what the pools of listeners of packets ask of proxies.
pub(super) fn check(listeners: &[Listener], sites: &[Site], pools: &[Option<Pool>], mistakes: &mut Mistakes) {
    let by_others = reached(listeners.iter().filter(|listener| listener.role != Role::Nat), sites);
    let mut told = Vec::new();
    for listener in listeners.iter().filter(|listener| listener.role == Role::Nat) {
        let Some(id) = listener.packets_to() else { continue };
        let Some(Some(pool)) = pools.get(id.0) else { continue };
        check_servers(listener, pool, mistakes);
        // The first listener stands for all.
        if told.contains(&id) {
            continue;
        }
        told.push(id);
        let idle = if by_others.contains(&id) { Vec::new() } else { idles(pool) };
        for what in asks(pool).into_iter().chain(idle) {
            let message = format!(
                "{what} of pool `{}` cannot be done to packets, but listener `{}` ({}) sends it some: remove it, or give that listener \
                 a pool of its own",
                pool.name, listener.name, listener.span
            );
            mistakes.note(&pool.span, message);
        }
    }
}

/// What would be different for packets than it says.
fn asks(pool: &Pool) -> Vec<String> {
    let mut asked = Vec::new();
    let mut note = |is_said: bool, what: &str| {
        if is_said {
            asked.push(what.to_owned());
        }
    };
    // A literal server is chosen by no algorithm.
    let algorithm = pool.balance.algorithm;
    note(!pool.implicit && algorithm != Algorithm::Maglev, &format!("`balance: {}`", algorithm.word()));
    note(!pool.balance.hash.is_empty(), "`balance.hash`");
    note(pool.balance.factor.is_some(), "`balance.balance_factor`");
    note(pool.protocol != Protocol::H1, "`protocol`");
    note(pool.tls.is_some(), "`tls`");
    note(pool.send_proxy.is_some(), "`send_proxy`");
    note(pool.sticky.is_some(), "`sticky`");
    note(pool.panic != 0, "`panic`");
    let of_server = |is_said: fn(&Server) -> bool| pool.servers.iter().any(is_said);
    note(of_server(|server| server.max_connections.is_some()), "`max_connections`");
    note(of_server(|server| server.tier.level.is_some_and(|level| level != Tier::BACKUP)), "`priority`");
    note(of_server(|server| server.tier.level == Some(Tier::BACKUP)), "`backup`");
    note(of_server(|server| server.tier.zone.is_some()), "`zone`");
    note(of_server(|server| matches!(server.address, ServerAddress::Unix(_))), "a server at a Unix socket");
    asked
}

/// What would do nothing where nobody but the kernel sends anything to the pool.
fn idles(pool: &Pool) -> Vec<String> {
    let mut idle = Vec::new();
    let mut note = |is_said: bool, what: &str| {
        if is_said {
            idle.push(what.to_owned());
        }
    };
    note(pool.host != PoolHost::Client, "`host`");
    note(pool.warm > 0, "`warm`");
    note(pool.queue_length != QUEUE_LENGTH || pool.timeouts.queue.is_some(), "`queue`");
    note(pool.concurrency.is_some(), "`concurrency`");
    note(pool.breaker != Breaker::default(), "`circuit_breaker`");
    note(pool.outlier.is_some(), "`outlier`");
    note(pool.slow_start.is_some(), "`slow_start`");
    note(pool.coalesce.is_some(), "`coalesce`");
    note(pool.quic.is_some(), "`quic`");
    let others = Timeouts { flow: None, queue: None, ..pool.timeouts };
    note(others != Timeouts::default() || pool.pooled_timeout.as_secs() != POOLED, "`timeouts` other than `flow`");
    note(pool.retries != Retries::default(), "`retries`");
    note(pool.limits != Limits::default(), "`limits`");
    note(pool.servers.iter().any(|server| !server.tier.labels.is_empty()), "`labels`");
    idle
}

/// Packets keep their family, and without another address they keep their port.
fn check_servers(listener: &Listener, pool: &Pool, mistakes: &mut Mistakes) {
    let asked: Vec<SocketAddr> = listener
        .binds
        .iter()
        .filter_map(|bind| match &bind.address {
            BindAddress::Ip(address) => Some(*address),
            BindAddress::AnyFamily(_) | BindAddress::Unix { .. } => None,
        })
        .collect();
    let (name, span) = (&listener.name, &listener.span);
    for server in &pool.servers {
        let (ip, port) = match &server.address {
            ServerAddress::Ip(address) => (Some(address.ip()), address.port()),
            ServerAddress::Name { port, .. } => (None, *port),
            ServerAddress::Unix(_) | ServerAddress::Service(_) | ServerAddress::File(_) => continue,
        };
        let is_kernels = listener.nat.as_ref().is_some_and(|nat| nat.engine == Engine::Kernel);
        if is_kernels && is_loopback(&server.address) {
            let message = format!(
                "server `{}` of pool `{}` is at loopback, which no packet reaches that the kernel rewrites, but listener `{name}` ({span}) \
                 sends it some: put it on another host, or use `role: tcp` or `udp`",
                server.name, pool.name
            );
            mistakes.note(&server.span, message);
        }
        let is_own = |own: &&SocketAddr| ip.is_some_and(|ip| **own == SocketAddr::new(ip, port));
        if let Some(own) = asked.iter().find(is_own) {
            let message = format!(
                "server `{}` of pool `{}` is at {own}, where listener `{name}` ({span}) is, so that packets would never arrive",
                server.name, pool.name
            );
            mistakes.note(&server.span, message);
        }
        if let Some(ip) = ip
            && let Some(other) = asked.first()
            && !asked.iter().any(|own| own.is_ipv4() == ip.is_ipv4())
        {
            let message = format!(
                "server `{}` of pool `{}` is of {}, but the addresses of listener `{name}` ({span}) are of {}, and packets keep their family",
                server.name,
                pool.name,
                family(ip),
                family(other.ip())
            );
            mistakes.note(&server.span, message);
        }
        let is_direct = listener.nat.as_ref().is_some_and(|nat| nat.mode == NatMode::Dsr);
        if let Some(other) = asked.iter().find(|own| is_direct && own.port() != port) {
            let message = format!(
                "server `{}` of pool `{}` has port {port}, but with `nat: dsr` packets come to it as they are, to port {} of listener `{name}` ({span})",
                server.name,
                pool.name,
                other.port()
            );
            mistakes.note(&server.span, message);
        }
    }
    let literal = |server: &Server| match &server.address {
        ServerAddress::Ip(address) => Some(address.is_ipv4()),
        _ => None,
    };
    let families: Vec<Option<bool>> = pool.servers.iter().map(literal).collect();
    for own in &asked {
        let has_some = families.iter().any(|family| family.is_none_or(|v4| v4 == own.is_ipv4()));
        // One family for all was said of each server.
        let has_others = asked.iter().any(|other| other.is_ipv4() != own.is_ipv4());
        if !has_some && has_others {
            let message = format!(
                "listener `{name}` has an address of {}, but no server of pool `{}` is of it: {own}",
                family(own.ip()),
                pool.name
            );
            mistakes.note(span, message);
        }
    }
}

/// Whether a server is one that only this host reaches, as far as the configuration says it.
pub(crate) fn is_loopback(address: &ServerAddress) -> bool {
    match address {
        ServerAddress::Ip(address) => address.ip().to_canonical().is_loopback(),
        ServerAddress::Name { host, .. } => host == "localhost",
        ServerAddress::Unix(_) | ServerAddress::Service(_) | ServerAddress::File(_) => false,
    }
}

/// The defaults: what is as it would be without a word was not asked for.
const QUEUE_LENGTH: u32 = 100;
const POOLED: u64 = 60;
