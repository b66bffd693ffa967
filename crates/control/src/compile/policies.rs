//! Policies and templates.

use std::sync::Arc;
use std::time::Duration;

use base::units::Share;
use config::spec::{self, Spec};
use observe::stats::RequestStats;
use proxy::mirror::Mirror;
use proxy::policy::{Edits, Headers, Part, Policy, Rewrite, Selector, Template};
use proxy::pool::{Pool, Priority};
use proxy::snapshot::{Ending, Route};

use super::routes;
use crate::registry::Registry;

pub(super) fn policy(spec: &Spec, policy: &spec::Policy, pools: &[Arc<Pool>], registry: &mut Registry) -> Policy {
    match &policy.kind {
        spec::PolicyKind::Headers(headers) => {
            Policy::Headers(Headers { request: edits(&headers.request), response: edits(&headers.response) })
        }
        spec::PolicyKind::Mirror(mirror) => {
            Policy::Mirror(Arc::new(self::mirror(spec, policy, mirror, pools, registry)))
        }
        spec::PolicyKind::Rewrite(rewrite) => Policy::Rewrite(Rewrite { path: template(&rewrite.path) }),
    }
}

/// A mirror is known by its policy's name, or that of its pool if it has none.
fn mirror(
    spec: &Spec,
    policy: &spec::Policy,
    said: &spec::Mirror,
    pools: &[Arc<Pool>],
    registry: &mut Registry,
) -> Mirror {
    let pool = spec.pool(said.to);
    let name = policy.name.as_deref().unwrap_or(&pool.name);
    let route = Route {
        name: format!("mirror:{name}").into(),
        policies: [].into(),
        ending: Ending::Pools([routes::arm(&pools[said.to.0], Share::WHOLE, pool.timeouts, &pool.retries)].into()),
        max_request_body: u64::MAX,
        request_body: Duration::MAX,
        total: Some(said.timeout),
        priority: Priority::Low,
        stats: Arc::new(RequestStats::new(registry.workers())),
    };
    Mirror {
        route,
        share: said.share,
        limit: usize::try_from(said.limit).unwrap_or(usize::MAX),
        at_once: said.at_once,
        report: registry.mirror(name),
    }
}

fn edits(edits: &spec::HeaderEdits) -> Edits {
    let fields = |fields: &[(String, spec::Template)]| {
        fields.iter().map(|(name, value)| (name.as_str().into(), template(value))).collect()
    };
    Edits {
        remove: edits.remove.iter().map(|name| name.as_str().into()).collect(),
        set: fields(&edits.set),
        add: fields(&edits.add),
        default: fields(&edits.default),
    }
}

pub(super) fn template(template: &spec::Template) -> Template {
    let part = |part: &spec::Part| match part {
        spec::Part::Literal(text) => Part::Literal(text.as_str().into()),
        spec::Part::Star => Part::Star,
        spec::Part::Group(number) => Part::Group(*number),
        spec::Part::Selector(selector) => Part::Selector(self::selector(selector)),
    };
    Template { parts: template.parts.iter().map(part).collect() }
}

pub(super) fn selector(selector: &spec::Selector) -> Selector {
    match selector {
        spec::Selector::ClientIp => Selector::ClientIp,
        spec::Selector::PeerIp => Selector::PeerIp,
        spec::Selector::Host => Selector::Host,
        spec::Selector::Path => Selector::Path,
        spec::Selector::Uri => Selector::Uri,
        spec::Selector::Method => Selector::Method,
        spec::Selector::RequestId => Selector::RequestId,
        spec::Selector::Sni => Selector::Sni,
        spec::Selector::TlsVersion => Selector::TlsVersion,
        spec::Selector::TlsCipher => Selector::TlsCipher,
        spec::Selector::ClientFingerprint => Selector::ClientFingerprint,
        spec::Selector::Header(name) => Selector::Header(name.as_str().into()),
        spec::Selector::Cookie(name) => Selector::Cookie(name.as_str().into()),
        spec::Selector::Query(name) => Selector::Query(name.as_str().into()),
    }
}
