//! What pools may not ask of flows: a flow has no requests.

use crate::diagnostics::Mistakes;
use crate::spec::{
    Ending, Listener, Pool, PoolHost, PoolId, Protocol, RetryIf, Role, Route, Selector, Serves, Site, Sticky,
};

/// Notes what the pools of listeners of flows ask of requests. What requests on another listener may use is not noted.
pub(super) fn check(listeners: &[Listener], sites: &[Site], pools: &[Pool], mistakes: &mut Mistakes) {
    let (mut asked, mut passed) = (Vec::new(), Vec::new());
    for listener in listeners.iter().filter(|listener| listener.role == Role::Http) {
        if let Serves::Routes(routes) = &listener.serves {
            reach(routes, &mut asked);
        }
    }
    sites.iter().for_each(|site| reach(&site.routes, &mut asked));
    for listener in listeners.iter().filter(|listener| listener.role == Role::Tcp) {
        let Serves::Routes(routes) = &listener.serves else { continue };
        let mut reached = Vec::new();
        reach(routes, &mut reached);
        reached.sort_unstable();
        reached.dedup();
        for (id, pool) in reached.iter().filter_map(|id| Some((id, pools.get(id.0)?))) {
            let idle = if asked.contains(id) { Vec::new() } else { idles(pool) };
            for what in asks(pool).into_iter().chain(idle) {
                let message = format!(
                    "{what} of pool `{}` is about requests, but listener `{}` ({}) passes flows of TCP to it",
                    pool.name, listener.name, listener.span
                );
                mistakes.note(&pool.span, message);
            }
        }
        passed.extend(reached);
    }
    for (_, pool) in
        pools.iter().enumerate().filter(|(id, _)| asked.contains(&PoolId(*id)) && !passed.contains(&PoolId(*id)))
    {
        if pool.coalesce.is_some() {
            let message = format!(
                "`coalesce` of pool `{}` is about flows of TCP, but only requests are sent to it, remove it",
                pool.name
            );
            mistakes.note(&pool.span, message);
        }
    }
}

/// The pools that routes lead to.
pub(super) fn reach(routes: &[Route], reached: &mut Vec<PoolId>) {
    for route in routes {
        match &route.ending {
            Ending::To(pool) => reached.push(*pool),
            Ending::Split(portions) => reached.extend(portions.iter().map(|portion| portion.to)),
            Ending::Routes(routes) => reach(routes, reached),
            Ending::Canary(canary) => reached.extend([canary.stable, canary.candidate]),
            Ending::Origin | Ending::Redirect(_) | Ending::Respond(_) | Ending::Deny(_) => {}
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
