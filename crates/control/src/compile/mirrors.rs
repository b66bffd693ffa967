//! Mirrors: the way of their copies, and what they are called.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base::units::Share;
use config::spec::{self, Ending as Said, PolicyId, PolicyKind, Route as SaidRoute, Serves, Spec};
use proxy::mirror::Mirror;
use proxy::pool::{Pool, Priority};
use proxy::snapshot::{Ending, Route};

use super::routes;
use crate::registry::Registry;

/// A mirror, which is known by its name over reloads.
pub(super) fn mirror(
    spec: &Spec,
    name: &str,
    said: &spec::Mirror,
    pools: &[Arc<Pool>],
    registry: &mut Registry,
) -> Mirror {
    let pool = spec.pool(said.to);
    let (report, stats) = registry.mirror(name);
    let route = Route {
        name: format!("mirror:{name}").into(),
        policies: [].into(),
        users: [].into(),
        compress: None,
        bandwidth: None,
        quotas: [].into(),
        capture: None,
        filters: [].into(),
        grpc_web: false,
        ending: Ending::Pools([routes::arm(&pools[said.to.0], Share::WHOLE, pool.timeouts, &pool.retries)].into()),
        max_request_body: u64::MAX,
        request_body: Duration::MAX,
        stream: Duration::MAX,
        total: Some(said.timeout),
        flow: Duration::MAX,
        tunnel: Duration::MAX,
        priority: Priority::Low,
        stats,
    };
    Mirror {
        route,
        share: said.share,
        limit: usize::try_from(said.limit).unwrap_or(usize::MAX),
        at_once: said.at_once,
        report,
    }
}

/// The names of all mirrors, filters and quotas: that of their policy, or, as an inline one has a state of its own, who uses it and its
/// pool: `web/checkout/shadow` for the route `checkout` of the listener `web`, `web/shadow` for a listener or a site. A filter's has `filter`
/// in the place of the pool, and a quota's `quota`.
#[derive(Debug)]
pub(super) struct Names<'a> {
    spec: &'a Spec,
    names: HashMap<usize, String>,
    taken: HashSet<String>,
}

impl<'a> Names<'a> {
    pub(super) fn of(spec: &'a Spec) -> Names<'a> {
        let named = spec.policies.iter().filter_map(|policy| policy.name.clone()).collect();
        let mut names = Names { spec, names: HashMap::new(), taken: named };
        for listener in &spec.listeners {
            names.used(&listener.uses, &listener.name);
            if let Serves::Routes(routes) = &listener.serves {
                names.list(routes, &listener.name);
            }
        }
        for site in &spec.sites {
            names.used(&site.uses, &site.name);
            names.list(&site.routes, &site.name);
        }
        names
    }

    /// The name of the policy with this number.
    pub(super) fn name(&self, number: usize) -> &str {
        let own = self.spec.policies.get(number).and_then(|policy| policy.name.as_deref());
        own.or_else(|| self.names.get(&number).map(String::as_str)).unwrap_or_default()
    }

    fn list(&mut self, routes: &[SaidRoute], path: &str) {
        for (number, route) in routes.iter().enumerate() {
            let path = route.name.as_ref().map_or_else(|| format!("{path}/{number}"), |name| format!("{path}/{name}"));
            self.used(&route.uses, &path);
            if let Said::Routes(inner) = &route.ending {
                self.list(inner, &path);
            }
        }
    }

    fn used(&mut self, uses: &[PolicyId], owner: &str) {
        for id in uses {
            let Some(policy) = self.spec.policies.get(id.0).filter(|policy| policy.name.is_none()) else { continue };
            let plain = match &policy.kind {
                PolicyKind::Mirror(mirror) => format!("{owner}/{}", self.spec.pool(mirror.to).name),
                PolicyKind::Filter(_) => format!("{owner}/filter"),
                PolicyKind::Quota(_) => format!("{owner}/quota"),
                _ => continue,
            };
            // The same twice in one list, or a site that is called like a listener.
            let mut name = plain.clone();
            for number in 2.. {
                if self.taken.insert(name.clone()) {
                    break;
                }
                name = format!("{plain}#{number}");
            }
            self.names.insert(id.0, name);
        }
    }
}
