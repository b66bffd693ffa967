//! What pools may not ask of flows: a flow has no requests.

use crate::diagnostics::Mistakes;
use crate::spec::{Ending, Listener, Pool, PoolId, Protocol, Role, Route, Selector, Serves, Sticky};

/// Notes what the pools of listeners of flows ask of requests.
pub(super) fn check(listeners: &[Listener], pools: &[Pool], mistakes: &mut Mistakes) {
    for listener in listeners.iter().filter(|listener| listener.role == Role::Tcp) {
        let Serves::Routes(routes) = &listener.serves else { continue };
        let mut reached = Vec::new();
        reach(routes, &mut reached);
        reached.sort_unstable();
        reached.dedup();
        for pool in reached.iter().filter_map(|id| pools.get(id.0)) {
            for what in asks(pool) {
                let message = format!(
                    "{what} of pool `{}` is about requests, but listener `{}` ({}) passes flows of TCP to it",
                    pool.name, listener.name, listener.span
                );
                mistakes.note(&pool.span, message);
            }
        }
    }
}

fn reach(routes: &[Route], reached: &mut Vec<PoolId>) {
    for route in routes {
        match &route.ending {
            Ending::To(pool) => reached.push(*pool),
            Ending::Split(portions) => reached.extend(portions.iter().map(|portion| portion.to)),
            Ending::Routes(routes) => reach(routes, reached),
            Ending::Canary(_) | Ending::Redirect(_) | Ending::Respond(_) | Ending::Deny(_) => {}
        }
    }
}

fn asks(pool: &Pool) -> Vec<&'static str> {
    let mut asked = Vec::new();
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
        | Selector::Alpn
        | Selector::ClientFingerprint
        | Selector::RequestId => true,
        Selector::Host
        | Selector::Path
        | Selector::Uri
        | Selector::Method
        | Selector::Header(_)
        | Selector::Cookie(_)
        | Selector::Query(_) => false,
    }
}
