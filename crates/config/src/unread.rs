//! Refusals that a tunnel goes around: what they look at nobody knows of it, and nobody reads it.

use crate::diagnostics::Mistake;
use crate::spec::{Ending, Predicate, Role, Route, Serves, Spec};

/// Routes of forward proxies that refuse by what a tunnel does not show, where tunnels are not read.
pub(crate) fn unread(spec: &Spec) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    for listener in spec.listeners.iter().filter(|one| one.role == Role::Forward && one.intercept.is_none()) {
        if let Serves::Routes(routes) = &listener.serves
            && tunnels_pass(routes)
        {
            walk(&listener.name, routes, None, &mut warnings);
        }
    }
    warnings
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
