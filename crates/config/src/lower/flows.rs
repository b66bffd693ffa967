//! What pools may not ask of flows: a flow has no requests, and one of UDP no connection.

use std::collections::BTreeSet;

use crate::diagnostics::Mistakes;
use crate::spec::{
    Ending, Listener, Pool, PoolHost, PoolId, Protocol, RetryIf, Role, Route, Selector, ServerAddress, Serves, Site,
    Sticky,
};

/// Notes what the pools of listeners of flows ask of requests, and those of UDP of connections. What requests, or flows of TCP, on
/// another listener may use is not noted.
pub(super) fn check(listeners: &[Listener], sites: &[Site], pools: &[Pool], mistakes: &mut Mistakes) {
    let by_requests = reached(listeners.iter().filter(|listener| listener.role == Role::Http), sites);
    let by_connections = reached(listeners.iter().filter(|listener| listener.role != Role::Udp), sites);
    for listener in listeners.iter().filter(|listener| listener.role.is_of_flows()) {
        let is_udp = listener.role == Role::Udp;
        let flows = if is_udp { "UDP" } else { "TCP" };
        for (id, pool) in reached([listener], &[]).iter().filter_map(|id| Some((id, pools.get(id.0)?))) {
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
}

/// The pools that listeners lead to, and sites.
pub(super) fn reached<'a>(listeners: impl IntoIterator<Item = &'a Listener>, sites: &[Site]) -> BTreeSet<PoolId> {
    let mut all = Vec::new();
    for listener in listeners {
        if let Serves::Routes(routes) = &listener.serves {
            reach(routes, &mut all);
        }
    }
    sites.iter().for_each(|site| reach(&site.routes, &mut all));
    all.into_iter().collect()
}

fn reach(routes: &[Route], reached: &mut Vec<PoolId>) {
    for route in routes {
        match &route.ending {
            Ending::To(pool) => reached.push(*pool),
            Ending::Split(portions) => reached.extend(portions.iter().map(|portion| portion.to)),
            Ending::Routes(routes) => reach(routes, reached),
            Ending::Canary(canary) => reached.extend([canary.stable, canary.candidate]),
            Ending::Redirect(_) | Ending::Respond(_) | Ending::Deny(_) => {}
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
    ];
    said.into_iter().filter(|(is_said, _)| *is_said).map(|(_, what)| what).collect()
}

/// What cannot be had without a connection.
fn asks_connections(pool: &Pool) -> Vec<&'static str> {
    let said = [
        (pool.send_proxy.is_some(), "`send_proxy`"),
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
    let by = match &pool.sticky {
        Some(Sticky::Cookie { .. }) => {
            asked.push("`sticky` by a cookie");
            &[][..]
        }
        Some(Sticky::Table { by, .. }) => by,
        None => &[],
    };
    if !by.iter().all(|by| is_of_flows(by, is_udp)) {
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
        Selector::Sni | Selector::TlsVersion | Selector::TlsCipher | Selector::ClientFingerprint => !is_udp,
        // Flows agree on none with us.
        Selector::Alpn
        | Selector::Host
        | Selector::Path
        | Selector::Uri
        | Selector::Method
        | Selector::Header(_)
        | Selector::Cookie(_)
        | Selector::Query(_) => false,
    }
}
