//! The way to servers that clients name themselves.

use std::sync::Arc;
use std::time::Duration;

use config::spec::{self, Spec};
use proxy::destination::{Egress, Names, Origin, Originators, Parent};
use proxy::pool::{Breaker, HostRule, Pool};
use proxy::snapshot::{Arm, Sources};

use super::{matching, routes};
use crate::registry::Registry;

/// What all of them have in common.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    egress: Arc<Egress>,
    names: Arc<Names>,
    secure: Option<Arc<Originators>>,
    pool: Arc<Pool>,
    source: Option<spec::Source>,
}

/// What names mean.
pub(super) fn names(spec: &Spec) -> Arc<Names> {
    let hosts = spec.dns.hosts.iter().map(|(name, addresses)| (name.as_str().into(), addresses.clone()));
    Arc::new(Names { hosts: hosts.collect(), servers: spec.dns.servers.clone() })
}

impl Origins {
    /// Those of a listener.
    pub(super) fn of(
        spec: &Spec,
        said: &spec::Egress,
        secure: Option<Arc<Originators>>,
        registry: &mut Registry,
    ) -> Origins {
        let egress = Egress {
            allow: said.allow.iter().map(matching::net).collect(),
            connect_ports: said.connect_ports.clone().into(),
            own: Arc::clone(&registry.own),
        };
        let (key, gate) = registry.pool(NAME);
        let pool = Pool {
            name: NAME.into(),
            key,
            servers: Vec::new(),
            roster: Arc::default(),
            subsets: Vec::new(),
            sticky: None,
            host: HostRule::Client,
            shared: None,
            parent: None,
            send_proxy: None,
            as_client: false,
            coalesce: None,
            quic: None,
            pooled: KEPT,
            warm: 0,
            connect: Duration::MAX,
            gate,
            limited: false,
            breaker: Breaker::default(),
            concurrency: None,
        };
        Origins {
            egress: Arc::new(egress),
            names: names(spec),
            secure,
            pool: Arc::new(pool),
            source: said.source.clone(),
        }
    }

    /// What holds on the way by what was said on all levels.
    pub(super) fn to(
        &self,
        timeouts: spec::Timeouts,
        retries: &spec::Retries,
        source: Option<&spec::Source>,
    ) -> Arc<Origin> {
        let sources = source.or(self.source.as_ref()).map(|source| Sources { v4: source.v4, v6: source.v6 });
        let arm = Arm { sources, ..routes::arm(&self.pool, 10_000, timeouts, retries) };
        let (egress, names) = (Arc::clone(&self.egress), Arc::clone(&self.names));
        Arc::new(Origin { arm, egress, names, secure: self.secure.clone() })
    }

    /// What holds by proxies.
    pub(super) fn by(&self, arm: Arm) -> Arc<Parent> {
        Arc::new(Parent { arm: Arc::new(arm), egress: Arc::clone(&self.egress), names: Arc::clone(&self.names) })
    }
}

/// What they are called, where others have a pool: no pool can have that name.
const NAME: &str = "origin";
/// How long an idle connection to one is kept, as with pools that do not say.
const KEPT: Duration = Duration::from_secs(60);
