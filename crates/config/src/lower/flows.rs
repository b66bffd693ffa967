//! What pools may not ask of flows: a flow has no requests, and one of UDP no connection.

use std::collections::BTreeSet;

use wire::starttls;

use crate::diagnostics::Mistakes;
use crate::spec::{
    BindTls, Ending, Listener, Policy, PolicyKind, Pool, PoolHost, PoolId, Predicate, Protocol, RetryIf, Role, Route,
    Selector, ServerAddress, Serves, Site, Sticky,
};

/// Notes what the pools of listeners of flows ask of requests, and those of UDP of connections. What requests, or flows of TCP, on
/// another listener may use is not noted.
pub(super) fn check(
    listeners: &[Listener],
    sites: &[Site],
    policies: &[Policy],
    pools: &[Option<Pool>],
    mistakes: &mut Mistakes,
) {
    let mut by_requests = reached(listeners.iter().filter(|listener| listener.role.has_requests()), sites);
    by_requests.extend(policies.iter().filter_map(|policy| match &policy.kind {
        PolicyKind::Mirror(mirror) => Some(mirror.to),
        _ => None,
    }));
    let by_flows = reached(listeners.iter().filter(|listener| listener.role == Role::Tcp), &[]);
    let by_connections: BTreeSet<_> = by_requests.union(&by_flows).copied().collect();
    for (number, pool) in pools.iter().enumerate() {
        let Some(pool) = pool else { continue };
        if pool.protocol != Protocol::H1 || by_requests.contains(&PoolId(number)) {
            check_requested(pool, mistakes);
        }
    }
    for listener in listeners.iter().filter(|listener| listener.role.is_of_flows()) {
        let is_udp = listener.role == Role::Udp;
        let flows = if is_udp { "UDP" } else { "TCP" };
        let reached: Vec<_> =
            reached([listener], &[]).iter().filter_map(|id| Some((*id, pools.get(id.0)?.as_ref()?))).collect();
        let is_early = listener.all_tls().any(|(_, tls)| tls.starttls == Some(starttls::Protocol::Mysql))
            || reached.iter().any(|(_, pool)| begins_in(pool) == Some(starttls::Protocol::Mysql));
        if let Serves::Routes(routes) = &listener.serves
            && is_early
        {
            check_early(listener, routes, mistakes);
        }
        if let Serves::Routes(routes) = &listener.serves
            && ends_tls_everywhere(listener)
        {
            check_alpn(listener, routes, mistakes);
        }
        for (id, pool) in &reached {
            if is_early {
                check_selectors(pool, mistakes);
            }
            check_starttls(listener, pool, mistakes);
            let idle = if by_requests.contains(id) { Vec::new() } else { idles(pool) };
            let mut about: Vec<_> = asks(pool, is_udp).into_iter().chain(idle).map(|what| (what, "requests")).collect();
            if is_udp {
                let idle = if by_connections.contains(id) { Vec::new() } else { idles_by_udp(pool) };
                about.extend(asks_connections(pool).into_iter().chain(idle).map(|what| (what, "connections")));
            }
            for (what, about) in about {
                let message = format!(
                    "{what} of pool `{}` is about {about}, but listener `{}` ({}) passes flows of {flows} to it",
                    pool.name, listener.name, listener.span
                );
                mistakes.note(&pool.span, message);
            }
        }
    }
    for pool in by_requests.difference(&by_flows).filter_map(|id| pools.get(id.0)?.as_ref()) {
        if pool.coalesce.is_some() {
            let message = format!(
                "`coalesce` of pool `{}` is about flows of TCP, but only requests are sent to it, remove it",
                pool.name
            );
            mistakes.note(&pool.span, message);
        }
    }
}

/// What a pool to which requests are sent may not ask of flows.
fn check_requested(pool: &Pool, mistakes: &mut Mistakes) {
    if pool.tls.as_ref().is_some_and(|tls| tls.starttls.is_some()) {
        let message =
            format!("`tls.starttls` of pool `{}` is for flows of TCP, but requests are sent to it", pool.name);
        mistakes.note(&pool.span, message);
    }
    if pool.selectors().any(Selector::is_of_flows_alone) {
        let message = format!(
            "pool `{}` goes by what clients say first in flows of TCP, but requests are sent to it, which have none of it",
            pool.name
        );
        mistakes.note(&pool.span, message);
    }
}

/// The pools that listeners lead to, and sites.
pub(crate) fn reached<'a>(
    listeners: impl IntoIterator<Item = &'a Listener>,
    sites: impl IntoIterator<Item = &'a Site>,
) -> BTreeSet<PoolId> {
    let mut all = Vec::new();
    for listener in listeners {
        if let Serves::Routes(routes) = &listener.serves {
            reach(routes, &mut all);
        }
    }
    sites.into_iter().for_each(|site| reach(&site.routes, &mut all));
    all.into_iter().collect()
}

/// A server of MySQL speaks before its client: nothing is known of the client when it is chosen but its address.
fn check_early(listener: &Listener, routes: &[Route], mistakes: &mut Mistakes) {
    for route in routes {
        if route.matches.as_ref().is_some_and(is_late) {
            let message = format!(
                "a route of listener `{}` asks for what is not known yet: with `starttls: mysql` the server is chosen before its client says \
                 anything, use `client` and `port`",
                listener.name
            );
            mistakes.note(&route.span, message);
        }
        if let Ending::Routes(inner) = &route.ending {
            check_early(listener, inner, mistakes);
        }
    }
}

/// Where TLS ends here no version of HTTP is agreed on: bytes are passed on, and nobody here would speak it.
fn check_alpn(listener: &Listener, routes: &[Route], mistakes: &mut Mistakes) {
    for route in routes {
        if route.matches.as_ref().is_some_and(asks_alpn) {
            let message = format!(
                "a route of listener `{}` asks for `alpn`, on which nothing is agreed where TLS ends here, remove it, or `tls` of the listener",
                listener.name
            );
            mistakes.note(&route.span, message);
        }
        if let Ending::Routes(inner) = &route.ending {
            check_alpn(listener, inner, mistakes);
        }
    }
}

fn ends_tls_everywhere(listener: &Listener) -> bool {
    listener.binds.iter().all(|bind| match bind.tls {
        BindTls::Own(_) => true,
        BindTls::Inherited => listener.tls.is_some(),
        BindTls::Off => false,
    })
}

fn asks_alpn(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::All(all) | Predicate::Any(all) => all.iter().any(asks_alpn),
        Predicate::Not(inner) => asks_alpn(inner),
        Predicate::Alpn(_) => true,
        _ => false,
    }
}

fn is_early(selector: &Selector) -> bool {
    matches!(selector, Selector::ClientIp | Selector::PeerIp | Selector::RequestId)
}

fn is_late(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::All(all) | Predicate::Any(all) => all.iter().any(is_late),
        Predicate::Not(inner) => is_late(inner),
        Predicate::Client(_) | Predicate::Port(_) | Predicate::Time(_) => false,
        _ => true,
    }
}

/// The protocol inside of which TLS with a pool's servers begins.
fn begins_in(pool: &Pool) -> Option<starttls::Protocol> {
    pool.tls.as_ref().and_then(|tls| tls.starttls)
}

/// The same for what a server of a pool is chosen by.
fn check_selectors(pool: &Pool, mistakes: &mut Mistakes) {
    if pool.selectors().any(|selector| !is_early(selector)) {
        let message = format!(
            "pool `{}` goes by what is not known yet: with `starttls: mysql` the server is chosen before its client says anything, use `client_ip`",
            pool.name
        );
        mistakes.note(&pool.span, message);
    }
}

/// What TLS inside of a protocol means for both sides of a flow.
fn check_starttls(listener: &Listener, pool: &Pool, mistakes: &mut Mistakes) {
    let behind = begins_in(pool);
    for before in listener.all_tls().filter_map(|(_, tls)| tls.starttls) {
        let place = format!("listener `{}` ({})", listener.name, listener.span);
        if behind.is_some_and(|behind| behind != before) {
            let message = format!("`tls.starttls` of pool `{}` is another protocol than that of {place}", pool.name);
            mistakes.note(&pool.span, message);
        }
        if before.greets() && pool.warm > 0 {
            let message =
                format!("`warm` of pool `{}`: its servers speak first, by what {place} says, remove it", pool.name);
            mistakes.note(&pool.span, message);
        }
    }
}

fn reach(routes: &[Route], reached: &mut Vec<PoolId>) {
    for route in routes {
        reached.extend(route.ending.pools());
        if let Ending::Routes(inner) = &route.ending {
            reach(inner, reached);
        }
    }
}

/// What would do nothing where no request comes.
fn idles(pool: &Pool) -> Vec<&'static str> {
    let mut idle = Vec::new();
    let mut note = |is_said: bool, what| {
        if is_said {
            idle.push(what);
        }
    };
    let Pool { timeouts, retries, .. } = pool;
    note(pool.host != PoolHost::Client, "`host`");
    note(timeouts.request_body.is_some(), "`timeouts.request_body`");
    note(timeouts.response.is_some(), "`timeouts.response`");
    note(timeouts.stream.is_some(), "`timeouts.stream`");
    note(timeouts.per_try.is_some(), "`timeouts.try`");
    note(pool.limits.request_body.is_some(), "`limits.request_body`");
    note(retries.hedge.is_some(), "`retries.hedge`");
    let others = retries.conditions.iter().flatten().any(|condition| *condition != RetryIf::Connect);
    note(others, "`retries.if` beyond `connect`");
    idle
}

/// What would do nothing where no connection comes.
fn idles_by_udp(pool: &Pool) -> Vec<&'static str> {
    let Pool { timeouts, .. } = pool;
    let said = [
        (timeouts.connect.is_some(), "`timeouts.connect`"),
        (timeouts.queue.is_some(), "`queue.timeout`"),
        (timeouts.tunnel.is_some(), "`timeouts.tunnel`"),
        (pool.warm > 0, "`warm`"),
        (pool.retries.backoff.is_some(), "`retries.backoff`"),
        (pool.coalesce.is_some(), "`coalesce`"),
    ];
    said.into_iter().filter(|(is_said, _)| *is_said).map(|(_, what)| what).collect()
}

/// What cannot be had without a connection.
fn asks_connections(pool: &Pool) -> Vec<&'static str> {
    let said = [
        (pool.send_proxy.is_some(), "`send_proxy`"),
        (pool.as_client, "`source`"),
        (pool.tls.is_some(), "`tls`"),
        (
            pool.servers.iter().any(|server| matches!(server.address, ServerAddress::Unix(_))),
            "a server at a Unix socket",
        ),
    ];
    said.into_iter().filter(|(is_said, _)| *is_said).map(|(_, what)| what).collect()
}

fn asks(pool: &Pool, is_udp: bool) -> Vec<&'static str> {
    let mut asked = Vec::new();
    if pool.concurrency.is_some() {
        asked.push("`concurrency`");
    }
    if pool.protocol != Protocol::H1 {
        asked.push("`protocol`");
    }
    if matches!(pool.sticky, Some(Sticky::Cookie { .. })) {
        asked.push("`sticky` by a cookie");
    }
    if !pool.sticky.iter().flat_map(Sticky::by).all(|by| is_of_flows(by, is_udp)) {
        asked.push("`sticky.by`");
    }
    if !pool.balance.hash.iter().all(|by| is_of_flows(by, is_udp)) {
        asked.push("`balance.hash`");
    }
    asked
}

fn is_of_flows(selector: &Selector, is_udp: bool) -> bool {
    match selector {
        Selector::ClientIp | Selector::PeerIp | Selector::RequestId => true,
        Selector::Sni
        | Selector::TlsVersion
        | Selector::TlsCipher
        | Selector::ClientFingerprint
        | Selector::PostgresUser
        | Selector::PostgresDatabase
        | Selector::MqttClient => !is_udp,
        // Flows agree on none with us.
        Selector::Alpn
        | Selector::Host
        | Selector::Path
        | Selector::Uri
        | Selector::Method
        | Selector::User
        | Selector::Groups
        | Selector::Header(_)
        | Selector::Cookie(_)
        | Selector::Query(_) => false,
    }
}
