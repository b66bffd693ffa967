//! Ways around a guard: a listener of flows reaches a server that a route of HTTP lets only some requests come to.

use std::collections::BTreeSet;

use crate::diagnostics::Mistake;
use crate::span::Span;
use crate::spec::{Ending, Listener, PolicyId, Pool, Predicate, Role, Route, Server, ServerAddress, Serves, Spec};

/// What keeps some from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Guard {
    /// Who has no certificate.
    Certificate,
    /// Who comes from elsewhere.
    Network,
    /// Who does not show who they are.
    User,
    /// Whom a route refuses that stands before.
    Refusal,
}

impl Guard {
    fn word(self) -> &'static str {
        match self {
            Guard::Certificate => "a client certificate",
            Guard::Network => "the client's network",
            Guard::User => "who its users are",
            Guard::Refusal => "a `deny` before it",
        }
    }
}

/// A way to a server.
struct Way<'a> {
    listener: &'a Listener,
    span: &'a Span,
    pool: &'a Pool,
    server: &'a Server,
    guards: BTreeSet<Guard>,
}

/// Flows that come to a server without what guards it from requests: one for each listener and server.
pub(crate) fn ways_around(spec: &Spec) -> Vec<Mistake> {
    let (mut guarded, mut open) = (Vec::new(), Vec::new());
    for listener in &spec.listeners {
        let is_http = listener.role == Role::Http;
        let ways = ways(spec, listener);
        if is_http { guarded.extend(ways) } else { open.extend(ways) }
    }
    let mut told: Vec<(&str, &ServerAddress)> = Vec::new();
    let mut warnings = Vec::new();
    for way in &open {
        let around = guarded.iter().find_map(|by| {
            let gone_around = by.guards.difference(&way.guards).next()?;
            (by.server.address == way.server.address).then_some((by, *gone_around))
        });
        let key = (way.listener.name.as_str(), &way.server.address);
        if let Some((by, guard)) = around
            && !told.contains(&key)
        {
            told.push(key);
            let message = format!(
                "listener `{}` passes flows on to server `{}` of pool `{}`, which a route of listener `{}` ({}) guards by {}: whoever comes here goes around it",
                way.listener.name,
                way.server.name,
                way.pool.name,
                by.listener.name,
                by.span,
                guard.word()
            );
            warnings.push(Mistake::new(way.span.clone(), message));
        }
    }
    warnings
}

/// All ways from a listener to servers.
fn ways<'a>(spec: &'a Spec, listener: &'a Listener) -> Vec<Way<'a>> {
    let mut guards = by_policies(spec, &listener.uses);
    let asks = |tls: &crate::spec::ListenerTls| tls.client_cert.as_ref().is_some_and(|asked| asked.required);
    let mut tls = listener.binds.iter().map(|bind| listener.tls_at(bind));
    if tls.all(|tls| tls.is_some_and(asks)) {
        guards.insert(Guard::Certificate);
    }
    let mut found = Vec::new();
    match &listener.serves {
        Serves::Routes(routes) => walk(spec, listener, routes, &guards, &mut found),
        Serves::Sites(sites) => {
            for site in sites.iter().map(|id| spec.site(*id)) {
                let guards = &guards | &by_policies(spec, &site.uses);
                walk(spec, listener, &site.routes, &guards, &mut found);
            }
        }
    }
    found
}

fn walk<'a>(
    spec: &'a Spec,
    listener: &'a Listener,
    routes: &'a [Route],
    outer: &BTreeSet<Guard>,
    found: &mut Vec<Way<'a>>,
) {
    let mut outer = outer.clone();
    for route in routes {
        let mut guards = outer.clone();
        guards.extend(route.matches.iter().flat_map(asked));
        guards.extend(by_policies(spec, &route.uses));
        for pool in route.ending.pools().into_iter().map(|id| spec.pool(id)) {
            let way = |server| Way { listener, span: &route.span, pool, server, guards: guards.clone() };
            found.extend(pool.servers.iter().map(way));
        }
        match &route.ending {
            Ending::Deny(_) => _ = outer.insert(Guard::Refusal),
            Ending::Routes(inner) => walk(spec, listener, inner, &guards, found),
            _ => {}
        }
    }
}

/// What policies guard by. One that limits or filters would be asked for here.
fn by_policies(spec: &Spec, uses: &[PolicyId]) -> BTreeSet<Guard> {
    let asks = |id: &&PolicyId| spec.policy(**id).kind.authenticates();
    uses.iter().find(asks).map(|_| Guard::User).into_iter().collect()
}

/// What a match certainly asks for that guards.
fn asked(predicate: &Predicate) -> BTreeSet<Guard> {
    match predicate {
        Predicate::All(all) => all.iter().flat_map(asked).collect(),
        Predicate::Any(any) => {
            any.iter().map(asked).reduce(|both, next| both.intersection(&next).copied().collect()).unwrap_or_default()
        }
        Predicate::ClientCert(true) | Predicate::Fingerprint(_) => [Guard::Certificate].into(),
        Predicate::Client(_) => [Guard::Network].into(),
        _ => BTreeSet::new(),
    }
}
