//! Refusals that a tunnel goes around: what they look at nobody knows of it, and nobody reads it; or it is asked for in another way.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::diagnostics::Mistake;
use crate::span::Span;
use crate::spec::{Ending, Kind, Listener, PolicyId, PolicyKind, Predicate, Role, Route, Serves, Spec};

/// Routes of forward proxies that refuse by what a tunnel does not show, where tunnels are not read.
pub(crate) fn unread(spec: &Spec) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    for listener in spec.listeners.iter().filter(|one| one.role == Role::Forward) {
        let Serves::Routes(routes) = &listener.serves else { continue };
        if tunnels_pass(routes) {
            let mut refusals = Vec::new();
            walk(routes, None, &mut refusals);
            for (span, key) in refusals {
                let said = format!("a `deny` of listener `{}` looks at `{key}`", listener.name);
                warnings.extend(passing(listener, &said).map(|message| Mistake::new(span.clone(), message)));
            }
            if listener.is_known() {
                walk_kinds(&listener.name, routes, &mut warnings);
            }
            for (span, key) in unasked(spec, listener, routes) {
                let message = format!(
                    "a route of listener `{}` asks who clients are and looks at `{key}`, so that nobody gets there through a tunnel: they are not asked \
                     when it is opened, and cannot be asked inside, ask them by `use` of the listener",
                    listener.name
                );
                warnings.push(Mistake::new(span.clone(), message));
            }
            for span in filters(spec, listener, routes) {
                let said = format!("a `filter` of listener `{}` looks at responses", listener.name);
                warnings.extend(passing(listener, &said).map(|message| Mistake::new(span.clone(), message)));
            }
        }
    }
    warnings
}

/// Who refuses tunnels and does not say which: SOCKS is spoken on the same port.
fn walk_kinds(listener: &str, routes: &[Route], warnings: &mut Vec<Mistake>) {
    for route in routes {
        let kinds = route.matches.as_ref().map(kinds).unwrap_or_default();
        match &route.ending {
            Ending::Deny(_) if kinds.contains(&Kind::Tunnel) && !kinds.contains(&Kind::Socks) => {
                let message = format!(
                    "a `deny` of listener `{listener}` is about `kind: tunnel`, which what is asked for in SOCKS is not: it passes, write `[tunnel, \
                     socks]`"
                );
                warnings.push(Mistake::new(route.span.clone(), message));
            }
            Ending::Routes(inner) => walk_kinds(listener, inner, warnings),
            _ => {}
        }
    }
}

/// The kinds that it names, one or a list.
fn kinds(predicate: &Predicate) -> Vec<Kind> {
    match predicate {
        Predicate::Kind(kind) => vec![*kind],
        Predicate::All(all) | Predicate::Any(all) => all.iter().flat_map(kinds).collect(),
        _ => Vec::new(),
    }
}

/// Refusals that look at what no tunnel shows.
fn walk<'a>(routes: &'a [Route], outer: Option<&'static str>, refusals: &mut Vec<(&'a Span, &'static str)>) {
    for route in routes {
        let looks_at = route.matches.as_ref().and_then(hidden).or(outer);
        match (&route.ending, looks_at) {
            (Ending::Deny(_), Some(key)) => refusals.push((&route.span, key)),
            (Ending::Routes(inner), _) => walk(inner, looks_at, refusals),
            _ => {}
        }
    }
}

/// Routes that ask who clients are, and that only what is read inside of tunnels comes to, where nobody who opens one is asked.
fn unasked<'a>(spec: &Spec, listener: &Listener, routes: &'a [Route]) -> Vec<(&'a Span, &'static str)> {
    fn walk<'a>(
        routes: &'a [Route],
        outer: Option<&'static str>,
        asks: &dyn Fn(&[PolicyId]) -> bool,
        found: &mut Vec<(&'a Span, Option<&'static str>)>,
    ) {
        for route in routes {
            let looks_at = route.matches.as_ref().and_then(hidden).or(outer);
            if asks(&route.uses) {
                found.push((&route.span, looks_at));
            }
            if let Ending::Routes(inner) = &route.ending {
                walk(inner, looks_at, asks, found);
            }
        }
    }
    let asks = |uses: &[PolicyId]| {
        uses.iter().filter_map(|id| spec.policies.get(id.0)).any(|policy| policy.kind.authenticates())
    };
    if asks(&listener.uses) || (listener.intercept.is_none() && listener.inspect.is_empty()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    walk(routes, None, &asks, &mut found);
    // Where some tunnels are asked for, whoever is behind those is known inside.
    found.iter().map(|(span, looks_at)| Some((*span, (*looks_at)?))).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// Filters of responses, each once.
fn filters<'a>(spec: &'a Spec, listener: &'a Listener, routes: &'a [Route]) -> Vec<&'a Span> {
    fn walk(routes: &[Route], used: &mut BTreeSet<PolicyId>) {
        for route in routes {
            used.extend(&route.uses);
            if let Ending::Routes(inner) = &route.ending {
                walk(inner, used);
            }
        }
    }
    let mut used: BTreeSet<PolicyId> = listener.uses.iter().copied().collect();
    walk(routes, &mut used);
    let policies = used.into_iter().filter_map(|id| spec.policies.get(id.0));
    policies.filter(|policy| matches!(policy.kind, PolicyKind::Filter(_))).map(|policy| &policy.span).collect()
}

/// What passes a refusal that looks at this: pages under TLS, and requests in plain in tunnels to where servers answer them.
fn passing(listener: &Listener, said: &str) -> impl Iterator<Item = String> {
    let secured = listener
        .intercept
        .is_none()
        .then(|| format!("{said}, which of `https://` pages nobody sees without `intercept`: they pass"));
    // Who is led here opens no tunnels, and is heard at every port.
    let goes_to =
        |port: &u16| listener.is_known() && listener.egress.iter().any(|egress| has(&egress.connect_ports, *port));
    let plain = PLAIN.into_iter().filter(goes_to).find(|port| !has(&listener.inspect, *port)).map(|port| {
        format!("{said}, which of requests in tunnels to port {port} nobody sees without `inspect: {port}`: they pass")
    });
    secured.into_iter().chain(plain)
}

/// Where servers of HTTP in plain are, by IANA's registry.
const PLAIN: [u16; 2] = [80, 8080];

fn has(ranges: &[RangeInclusive<u16>], port: u16) -> bool {
    ranges.iter().any(|ports| ports.contains(&port))
}

/// Whether any tunnel is led on at all.
fn tunnels_pass(routes: &[Route]) -> bool {
    routes.iter().any(|route| match &route.ending {
        _ if route.matches.as_ref().and_then(hidden).is_some() => false,
        Ending::Routes(inner) => tunnels_pass(inner),
        Ending::Deny(_) | Ending::Respond(_) | Ending::Redirect(_) => false,
        _ => true,
    })
}

/// What it looks at that no tunnel shows. Who names kinds of requests knows what they do.
fn hidden(predicate: &Predicate) -> Option<&'static str> {
    match predicate {
        Predicate::All(all) if all.iter().any(|one| matches!(one, Predicate::Kind(_))) => None,
        Predicate::All(all) => all.iter().find_map(hidden),
        // It matches a tunnel if one of them can.
        Predicate::Any(any) => any.iter().map(hidden).collect::<Option<Vec<_>>>()?.first().copied(),
        Predicate::Not(inner) => hidden(inner),
        Predicate::Path(_) => Some("path"),
        Predicate::Method(_) => Some("method"),
        Predicate::Header { .. } => Some("header"),
        Predicate::Cookie { .. } => Some("cookie"),
        Predicate::Query { .. } => Some("query"),
        Predicate::Body(_) => Some("body"),
        _ => None,
    }
}
