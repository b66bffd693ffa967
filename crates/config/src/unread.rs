//! Refusals that a tunnel goes around: what they look at nobody knows of it, and nobody reads it; or it is asked for in another way.

use crate::diagnostics::Mistake;
use crate::spec::{Ending, Kind, Predicate, Role, Route, Serves, Spec};

/// Routes of forward proxies that refuse by what a tunnel does not show, where tunnels are not read.
pub(crate) fn unread(spec: &Spec) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    for listener in spec.listeners.iter().filter(|one| one.role == Role::Forward) {
        let Serves::Routes(routes) = &listener.serves else { continue };
        if tunnels_pass(routes) {
            if listener.intercept.is_none() {
                walk(&listener.name, routes, None, &mut warnings);
            }
            walk_kinds(&listener.name, routes, &mut warnings);
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

fn walk(listener: &str, routes: &[Route], outer: Option<&'static str>, warnings: &mut Vec<Mistake>) {
    for route in routes {
        let looks_at = route.matches.as_ref().and_then(hidden).or(outer);
        match (&route.ending, looks_at) {
            (Ending::Deny(_), Some(key)) => {
                let message = format!(
                    "a `deny` of listener `{listener}` looks at `{key}`, which of `https://` pages nobody sees without `intercept`: they pass"
                );
                warnings.push(Mistake::new(route.span.clone(), message));
            }
            (Ending::Routes(inner), _) => walk(listener, inner, looks_at, warnings),
            _ => {}
        }
    }
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
