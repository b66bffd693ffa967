//! Policies and templates.

use std::sync::Arc;

use config::spec::{self, Spec};
use proxy::balance::Key;
use proxy::bandwidth::Bandwidth;
use proxy::filter::{Filter, Lookout};
use proxy::lists::Lists;
use proxy::policy::{
    Compress, Cookies, Edits, Headers, MediaType, Part, Policy, Privacy, Referer, Rewrite, Selector, Template,
    UserAgent,
};
use proxy::pool::Pool;
use proxy::quota::{Ledger, Most, Quota};
use proxy::relay::Recipe;
use proxy::snapshot::Deny;

use super::mirrors;
use crate::registry::Registry;

/// A policy; `name` is what it is called if it is a mirror, a filter or a quota. Nothing for one that only asks who the client is.
pub(super) fn policy(
    spec: &Spec,
    policy: &spec::Policy,
    name: &str,
    pools: &[Arc<Pool>],
    lists: &Lists,
    registry: &mut Registry,
) -> Option<Policy> {
    Some(match &policy.kind {
        spec::PolicyKind::Headers(headers) => {
            Policy::Headers(Headers { request: edits(&headers.request), response: edits(&headers.response) })
        }
        spec::PolicyKind::Mirror(mirror) => {
            Policy::Mirror(Arc::new(mirrors::mirror(spec, name, mirror, pools, registry)))
        }
        spec::PolicyKind::Compress(said) => Policy::Compress(Arc::new(compress(said))),
        spec::PolicyKind::Bandwidth(said) => Policy::Bandwidth(Arc::new(Bandwidth {
            rate: said.rate,
            burst: said.burst,
            by: Key(said.by.iter().map(selector).collect()),
            up: said.up,
            down: said.down,
            // An inline one is known by its place: its servers may change meanwhile.
            buckets: registry.buckets(&policy.name.clone().unwrap_or_else(|| policy.span.to_string())),
        })),
        spec::PolicyKind::Quota(said) => Policy::Quota(Arc::new(quota(said, registry.quotas.ledger(name, said)))),
        spec::PolicyKind::Capture(said) => Policy::Capture(registry.captures.recorder(said)),
        spec::PolicyKind::GrpcWeb => Policy::GrpcWeb,
        spec::PolicyKind::Filter(said) => Policy::Filter(Arc::new(filter(spec, said, name, lists, registry))),
        spec::PolicyKind::Privacy(said) => Policy::Privacy(privacy(said)),
        // What is asked for before anything is done to a request is no step of what is.
        spec::PolicyKind::BasicAuth(_) | spec::PolicyKind::BearerAuth(_) | spec::PolicyKind::CertAuth(_) => {
            return None;
        }
        spec::PolicyKind::Rewrite(rewrite) => Policy::Rewrite(Rewrite { path: template(&rewrite.path) }),
    })
}

/// The fields in which servers are told who asks, by any policy: what clients say there themselves must never reach one.
pub(super) fn identity_fields(spec: &Spec) -> Arc<[Box<str>]> {
    let tells = |(_, value): &&(String, spec::Template)| {
        let of_user =
            |part: &spec::Part| matches!(part, spec::Part::Selector(spec::Selector::User | spec::Selector::Groups));
        value.parts.iter().any(of_user)
    };
    let headers = spec.policies.iter().filter_map(|policy| match &policy.kind {
        spec::PolicyKind::Headers(headers) => Some(&headers.request),
        _ => None,
    });
    let fields = headers.flat_map(|edits| [&edits.set, &edits.add, &edits.default]).flatten().filter(tells);
    let mut names: Vec<Box<str>> = fields.map(|(name, _)| name.as_str().into()).collect();
    names.sort();
    names.dedup();
    names.into()
}

fn quota(said: &spec::Quota, ledger: Arc<Ledger>) -> Quota {
    Quota {
        most: Most { bytes: said.bytes, requests: said.requests },
        by: said.by.iter().map(|(word, by)| (word.as_str().into(), selector(by))).collect(),
        up: said.up,
        down: said.down,
        cuts: said.cuts,
        status: said.status,
        ledger,
    }
}

pub(super) fn deny(said: &spec::Deny) -> Deny {
    Deny {
        status: said.status,
        reason: said.reason.as_deref().map(Into::into),
        contact: said.contact.as_deref().map(Into::into),
    }
}

fn filter(spec: &Spec, said: &spec::Filter, name: &str, lists: &Lists, registry: &mut Registry) -> Filter {
    let list = |id: &spec::ListId| {
        let named = spec.lists.get(id.0)?;
        lists.all.iter().find(|list| *list.name == *named.name).cloned()
    };
    let lookout = |words: &spec::Words| Lookout {
        lists: words.lists.iter().filter_map(list).collect(),
        score: words.score.into(),
        types: words.types.iter().map(media_type).collect(),
        hold: usize::try_from(words.hold).unwrap_or(usize::MAX),
        wait: words.wait,
        refuses_unread: words.refuses_unread,
        at_once: words.at_once as usize,
    };
    Filter {
        types: said.types.iter().map(media_type).collect(),
        except: said.except.iter().map(media_type).collect(),
        over: said.over,
        words: said.words.as_ref().map(lookout),
        deny: deny(&said.deny),
        report: registry.filter(name),
    }
}

fn media_type(said: &spec::MediaType) -> MediaType {
    match said {
        spec::MediaType::Exact(name) => MediaType::Exact(name.as_str().into()),
        spec::MediaType::All(start) => MediaType::Prefix(start.as_str().into()),
        spec::MediaType::WithSuffix(start, end) => MediaType::Suffix(start.as_str().into(), end.as_str().into()),
    }
}

fn compress(said: &spec::Compress) -> Compress {
    Compress {
        recipes: said.codings.iter().map(|(coding, level)| Recipe { coding: *coding, level: *level }).collect(),
        min_size: said.min_size,
        types: said.types.iter().map(media_type).collect(),
        offload: said.offload,
        at_once: said.at_once as usize,
    }
}

fn privacy(said: &spec::Privacy) -> Privacy {
    Privacy {
        referer: match said.referer {
            spec::Referer::Keep => Referer::Keep,
            spec::Referer::Origin => Referer::Origin,
            spec::Referer::SameOrigin => Referer::SameOrigin,
            spec::Referer::OriginWhenCrossOrigin => Referer::OriginWhenCrossOrigin,
            spec::Referer::Remove => Referer::Remove,
        },
        cookies: match said.cookies {
            spec::Cookies::Keep => Cookies::Keep,
            spec::Cookies::FirstParty => Cookies::FirstParty,
            spec::Cookies::Remove => Cookies::Remove,
        },
        user_agent: match &said.user_agent {
            spec::UserAgent::Keep => UserAgent::Keep,
            spec::UserAgent::Remove => UserAgent::Remove,
            spec::UserAgent::Text(text) => UserAgent::Text(text.as_str().into()),
        },
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
        spec::Selector::Alpn => Selector::Alpn,
        spec::Selector::TlsVersion => Selector::TlsVersion,
        spec::Selector::TlsCipher => Selector::TlsCipher,
        spec::Selector::ClientFingerprint => Selector::ClientFingerprint,
        spec::Selector::PostgresUser => Selector::PostgresUser,
        spec::Selector::PostgresDatabase => Selector::PostgresDatabase,
        spec::Selector::MqttClient => Selector::MqttClient,
        spec::Selector::User => Selector::User,
        spec::Selector::Groups => Selector::Groups,
        spec::Selector::Header(name) => Selector::Header(name.as_str().into()),
        spec::Selector::Cookie(name) => Selector::Cookie(name.as_str().into()),
        spec::Selector::Query(name) => Selector::Query(name.as_str().into()),
    }
}
