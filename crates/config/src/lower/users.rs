//! Policies that find out who a client is.

use super::Lower;
use super::matching::single_exact;
use crate::diagnostics::{Mistakes, did_you_mean};
use crate::shape::{Map, Shape};
use crate::spec::{
    BasicAuth, BearerAuth, CertAuth, CertName, Ending, Groups, Listener, Policy, PolicyId, PolicyKind, Predicate, Role,
    Route, Serves, Site, ValueMatch,
};

impl Lower<'_, '_> {
    pub(super) fn basic_auth(&mut self, map: &Map) -> Option<BasicAuth> {
        let users = map.get("users").and_then(|value| self.file(value));
        let realm = self.realm(map);
        let groups = self.groups(map);
        Some(BasicAuth { users: users?, realm: realm?, groups: groups?, forward: map.boolean("forward")? })
    }

    pub(super) fn bearer_auth(&mut self, map: &Map) -> Option<BearerAuth> {
        let tokens = map.get("tokens").and_then(|value| self.file(value));
        let realm = self.realm(map);
        let groups = self.groups(map);
        Some(BearerAuth { tokens: tokens?, realm: realm?, groups: groups?, forward: map.boolean("forward")? })
    }

    pub(super) fn cert_auth(&mut self, map: &Map) -> Option<CertAuth> {
        let name = match map.fixed("name")? {
            "dns" => CertName::Dns,
            "email" => CertName::Email,
            "uri" => CertName::Uri,
            _ => CertName::CommonName,
        };
        Some(CertAuth { name, groups: self.groups(map)? })
    }

    /// It stands in a field between quotes.
    fn realm(&mut self, map: &Map) -> Option<String> {
        let value = map.get("realm")?;
        let text = value.fixed()?;
        if text.is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            self.note(value, format!("`realm` of {} is no text in ASCII: `{}`", map.label, text.escape_debug()));
            return None;
        }
        Some(text.to_owned())
    }

    fn groups(&mut self, map: &Map) -> Option<Groups> {
        let Some(value) = map.get("groups") else { return Some(Groups::None) };
        let Shape::Map(said) = &value.data else { return self.file(value).map(Groups::File) };
        let mut groups = Vec::new();
        for item in &said.items {
            if !crate::spec::is_group(&item.key) {
                self.mistakes.note(&item.span, format!("`{}` is no name of a group", item.key.escape_debug()));
            }
            let users = item.value.items().iter().filter_map(|value| value.fixed().map(str::to_owned));
            groups.push((item.key.clone(), users.collect()));
        }
        Some(Groups::Said(groups))
    }
}

/// What policies and matches about users need of a listener and do not find.
pub(super) fn check(listeners: &[Listener], sites: &[Site], policies: &[Policy], mistakes: &mut Mistakes) {
    let mut check = Check { policies, groups: groups(policies), mistakes };
    for listener in listeners {
        check.uses(listener, &listener.uses);
        let asks = listener.uses.iter().any(|id| policies.get(id.0).is_some_and(|one| one.kind.authenticates()));
        match &listener.serves {
            Serves::Routes(routes) => check.routes(listener, routes, asks),
            Serves::Sites(ids) => {
                for site in ids.iter().filter_map(|id| sites.get(id.0)) {
                    check.uses(listener, &site.uses);
                    check.routes(listener, &site.routes, asks);
                }
            }
        }
    }
}

/// Every group that anybody may be in; nothing if a file says that.
fn groups(policies: &[Policy]) -> Option<Vec<&str>> {
    let mut known = Vec::new();
    for policy in policies {
        let groups = match &policy.kind {
            PolicyKind::BasicAuth(said) => &said.groups,
            PolicyKind::BearerAuth(said) => &said.groups,
            PolicyKind::CertAuth(said) => &said.groups,
            _ => continue,
        };
        match groups {
            Groups::None => {}
            Groups::File(_) => return None,
            Groups::Said(said) => known.extend(said.iter().map(|(name, _)| &**name)),
        }
    }
    Some(known)
}

struct Check<'a> {
    policies: &'a [Policy],
    groups: Option<Vec<&'a str>>,
    mistakes: &'a mut Mistakes,
}

impl Check<'_> {
    fn routes(&mut self, listener: &Listener, routes: &[Route], asks: bool) {
        for route in routes {
            if !asks && route.matches.as_ref().is_some_and(is_about_users) {
                let message = format!(
                    "a route asks for `user` or `group`, but listener `{}` ({}) does not find out who asks: give it `use` with `basic_auth`, \
                     `bearer_auth` or `cert_auth`",
                    listener.name, listener.span
                );
                self.mistakes.note(&route.span, message);
            } else if let (Some(known), Some(predicate)) = (&self.groups, &route.matches)
                && let Some(name) = unknown_group(predicate, known)
            {
                let hint = did_you_mean(name, known.iter().copied());
                let message =
                    format!("a route asks for group `{name}`, in which nobody is: no policy's `groups` has it{hint}");
                self.mistakes.note(&route.span, message);
            }
            self.uses(listener, &route.uses);
            if let Ending::Routes(inner) = &route.ending {
                self.routes(listener, inner, asks);
            }
        }
    }

    fn uses(&mut self, listener: &Listener, uses: &[PolicyId]) {
        for policy in uses.iter().filter_map(|id| self.policies.get(id.0)) {
            let forward = match &policy.kind {
                PolicyKind::BasicAuth(said) => said.forward,
                PolicyKind::BearerAuth(said) => said.forward,
                _ => false,
            };
            if forward && listener.role == Role::Forward {
                let message = format!(
                    "`forward: true` does nothing at listener `{}` ({}): `Proxy-Authorization` ends with the proxy, remove it",
                    listener.name, listener.span
                );
                self.mistakes.note(&policy.span, message);
            }
            let mut asked = listener.all_tls().filter_map(|(_, tls)| tls.client_cert.as_ref());
            if matches!(policy.kind, PolicyKind::CertAuth(_)) && asked.next().is_none() {
                let message = format!(
                    "`cert_auth` lets in nobody at listener `{}` ({}), which asks for no certificate: give its `tls` a `client_cert`",
                    listener.name, listener.span
                );
                self.mistakes.note(&policy.span, message);
            }
        }
    }
}

/// A group that is asked for by its name and that nobody can be in.
fn unknown_group<'p>(predicate: &'p Predicate, known: &[&str]) -> Option<&'p str> {
    match predicate {
        Predicate::All(all) | Predicate::Any(all) => all.iter().find_map(|one| unknown_group(one, known)),
        Predicate::Not(inner) => unknown_group(inner, known),
        Predicate::Group(ValueMatch::Text(text)) => single_exact(text).filter(|name| !known.contains(name)),
        _ => None,
    }
}

fn is_about_users(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::All(all) | Predicate::Any(all) => all.iter().any(is_about_users),
        Predicate::Not(inner) => is_about_users(inner),
        Predicate::User(_) | Predicate::Group(_) => true,
        _ => false,
    }
}
