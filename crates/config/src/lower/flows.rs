//! What pools may not ask of flows: a flow has no requests.

use wire::starttls;

use crate::diagnostics::Mistakes;
use crate::spec::{
    Ending, Listener, Policy, PolicyKind, Pool, PoolHost, PoolId, Predicate, Protocol, RetryIf, Role, Route, Selector,
    Serves, Site, Sticky,
};

/// Notes what the pools of listeners of flows ask of requests. What requests on another listener may use is not noted.
pub(super) fn check(
    listeners: &[Listener],
    sites: &[Site],
    policies: &[Policy],
    pools: &[Pool],
    mistakes: &mut Mistakes,
) {
    let mut asked = Vec::new();
    for listener in listeners.iter().filter(|listener| listener.role == Role::Http) {
        if let Serves::Routes(routes) = &listener.serves {
            reach(routes, &mut asked);
        }
    }
    sites.iter().for_each(|site| reach(&site.routes, &mut asked));
    let mirrors = policies.iter().filter_map(|policy| match &policy.kind {
        PolicyKind::Mirror(mirror) => Some(mirror.to),
        _ => None,
    });
    asked.extend(mirrors);
    for (number, pool) in pools.iter().enumerate() {
        let requests = pool.protocol != Protocol::H1 || asked.contains(&PoolId(number));
        if requests && pool.tls.as_ref().is_some_and(|tls| tls.starttls.is_some()) {
            let message =
                format!("`tls.starttls` of pool `{}` is for flows of TCP, but requests are sent to it", pool.name);
            mistakes.note(&pool.span, message);
        }
        if requests && selectors(pool).any(Selector::is_of_flows_alone) {
            let message = format!(
                "pool `{}` goes by what clients say first in flows of TCP, but requests are sent to it, which have none of it",
                pool.name
            );
            mistakes.note(&pool.span, message);
        }
    }
    for listener in listeners.iter().filter(|listener| listener.role == Role::Tcp) {
        let Serves::Routes(routes) = &listener.serves else { continue };
        check_early(listener, routes, mistakes);
        let mut reached = Vec::new();
        reach(routes, &mut reached);
        reached.sort_unstable();
        reached.dedup();
        for (id, pool) in reached.iter().filter_map(|id| Some((id, pools.get(id.0)?))) {
            check_starttls(listener, pool, mistakes);
            let idle = if asked.contains(id) { Vec::new() } else { idles(pool) };
            for what in asks(pool).into_iter().chain(idle) {
                let message = format!(
                    "{what} of pool `{}` is about requests, but listener `{}` ({}) passes flows of TCP to it",
                    pool.name, listener.name, listener.span
                );
                mistakes.note(&pool.span, message);
            }
        }
    }
}

/// A server of MySQL speaks before its client: nothing is known of the client when it is chosen but its address.
fn check_early(listener: &Listener, routes: &[Route], mistakes: &mut Mistakes) {
    if !listener.all_tls().any(|(_, tls)| tls.starttls == Some(starttls::Protocol::Mysql)) {
        return;
    }
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

fn is_early(selector: &Selector) -> bool {
    matches!(selector, Selector::ClientIp | Selector::PeerIp | Selector::RequestId)
}

/// What the servers of a pool are chosen by.
fn selectors(pool: &Pool) -> impl Iterator<Item = &Selector> {
    let stuck = match &pool.sticky {
        Some(Sticky::Table { by, .. }) => &by[..],
        _ => &[],
    };
    pool.balance.hash.iter().chain(stuck)
}

fn is_late(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::All(all) | Predicate::Any(all) => all.iter().any(is_late),
        Predicate::Not(inner) => is_late(inner),
        Predicate::Client(_) | Predicate::Port(_) => false,
        _ => true,
    }
}

/// What TLS inside of a protocol means for both sides of a flow.
fn check_starttls(listener: &Listener, pool: &Pool, mistakes: &mut Mistakes) {
    let behind = pool.tls.as_ref().and_then(|tls| tls.starttls);
    let fronts = listener.binds.iter().map(|bind| listener.tls_at(bind).and_then(|tls| tls.starttls));
    let is_mysql = |side| side == Some(starttls::Protocol::Mysql);
    let (some, all) = (fronts.clone().any(is_mysql), fronts.clone().all(is_mysql));
    if some != is_mysql(behind) || some != all {
        let message = format!(
            "`tls.starttls: mysql` has to be said of pool `{}` and of all of listener `{}` ({}), or of neither: passwords of MySQL are sent in \
             another way where there is TLS",
            pool.name, listener.name, listener.span
        );
        return mistakes.note(&pool.span, message);
    }
    if some && selectors(pool).any(|selector| !is_early(selector)) {
        let message = format!(
            "pool `{}` goes by what is not known yet: with `starttls: mysql` the server is chosen before its client says anything, use `client_ip`",
            pool.name
        );
        mistakes.note(&pool.span, message);
    }
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

fn asks(pool: &Pool) -> Vec<&'static str> {
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
    if !by.iter().all(is_of_flows) {
        asked.push("`sticky.by`");
    }
    if !pool.balance.hash.iter().all(is_of_flows) {
        asked.push("`balance.hash`");
    }
    asked
}

fn is_of_flows(selector: &Selector) -> bool {
    match selector {
        Selector::ClientIp
        | Selector::PeerIp
        | Selector::Sni
        | Selector::TlsVersion
        | Selector::TlsCipher
        | Selector::ClientFingerprint
        | Selector::PostgresUser
        | Selector::PostgresDatabase
        | Selector::MqttClient
        | Selector::RequestId => true,
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
