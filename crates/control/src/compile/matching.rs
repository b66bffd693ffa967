//! What a route matches, in the table's words.

use config::spec::{self, Predicate, TextMatch, TextTest, ValueMatch};
use ipnet::IpNet;
use net::tls::Alpn;
use proxy::lists::{Listed, Of};
use proxy::route::{
    BodyCondition, Condition, HostPattern, JsonPath, JsonStep, Kind, PathPattern, Schedule, Text, Zone,
};
use regex::bytes::Regex;
use wire::forwarded::Net;

/// The conditions of a predicate, all of which must hold.
pub(super) fn conditions(predicate: &Predicate, listed: OnLists<'_>) -> Vec<Condition> {
    match predicate {
        Predicate::All(all) => all.iter().flat_map(|one| conditions(one, listed)).collect(),
        single => vec![condition(single, listed)],
    }
}

/// How the condition is made that something is on some lists.
pub(super) type OnLists<'a> = &'a dyn Fn(Of, &[spec::ListId]) -> Listed;

fn condition(predicate: &Predicate, listed: OnLists<'_>) -> Condition {
    match predicate {
        Predicate::All(_) => Condition::Any(vec![conditions(predicate, listed)]),
        Predicate::Any(any) => alike(any, listed)
            .unwrap_or_else(|| Condition::Any(any.iter().map(|one| conditions(one, listed)).collect())),
        Predicate::Not(inner) => Condition::Not(conditions(inner, listed)),
        Predicate::Host(pattern) => Condition::Host(vec![host(pattern)]),
        Predicate::Path(pattern) => Condition::Path(vec![path(pattern)]),
        Predicate::Method(test) => Condition::Method(vec![text(test)]),
        Predicate::Header { name, value: test } => Condition::Header { name: name.clone(), values: vec![value(test)] },
        Predicate::Cookie { name, value: test } => Condition::Cookie { name: name.clone(), values: vec![value(test)] },
        Predicate::Query { name, value: test } => Condition::Query { name: name.clone(), values: vec![value(test)] },
        Predicate::Client(client) => Condition::Client(vec![net(client)]),
        Predicate::Kind(spec::Kind::Http) => Condition::Kind(vec![Kind::Http]),
        Predicate::Kind(spec::Kind::Websocket) => Condition::Kind(vec![Kind::Websocket]),
        Predicate::Kind(spec::Kind::Tunnel) => Condition::Kind(vec![Kind::Tunnel]),
        Predicate::Kind(spec::Kind::Socks) => Condition::Kind(vec![Kind::Socks]),
        Predicate::Kind(spec::Kind::Grpc) => Condition::Kind(vec![Kind::Grpc]),
        Predicate::GrpcService(test) => Condition::GrpcService(vec![text(test)]),
        Predicate::GrpcMethod(test) => Condition::GrpcMethod(vec![text(test)]),
        Predicate::Port(port) => Condition::Port(vec![*port]),
        Predicate::Sni(pattern) => Condition::Sni(vec![host(pattern)]),
        Predicate::NoSni(wanted) => Condition::NoSni(*wanted),
        Predicate::Alpn(version) => Condition::Alpn(vec![alpn(*version)]),
        Predicate::ClientCert(present) => Condition::ClientCert(*present),
        Predicate::Fingerprint(wanted) => Condition::Fingerprint(vec![*wanted]),
        Predicate::PostgresUser(test) => Condition::PostgresUser(vec![text(test)]),
        Predicate::PostgresDatabase(test) => Condition::PostgresDatabase(vec![text(test)]),
        Predicate::MqttClient(test) => Condition::MqttClient(vec![text(test)]),
        Predicate::User(test) => Condition::User(vec![text(test)]),
        Predicate::Group(test) => Condition::Group(vec![value(test)]),
        Predicate::Time(said) => Condition::Time(vec![schedule(said)]),
        Predicate::Listed { of: spec::Listed::Url, lists } => Condition::Listed(listed(Of::Url, lists)),
        Predicate::Listed { of: spec::Listed::Host, lists } => Condition::Listed(listed(Of::Host, lists)),
        Predicate::Listed { of: spec::Listed::Sni, lists } => Condition::Listed(listed(Of::Sni, lists)),
        Predicate::Body(test) => Condition::Body(body(test)),
    }
}

/// Alternatives that ask for the same thing become one condition with several values, which the table can index.
fn alike(any: &[Predicate], listed: OnLists<'_>) -> Option<Condition> {
    let mut merged: Option<Condition> = None;
    for alternative in any {
        let next = match alternative {
            Predicate::All(_) | Predicate::Any(_) | Predicate::Not(_) | Predicate::Body(_) => return None,
            single => condition(single, listed),
        };
        match (&mut merged, next) {
            (None, next) => merged = Some(next),
            (Some(Condition::Host(all)), Condition::Host(more)) => all.extend(more),
            (Some(Condition::Path(all)), Condition::Path(more)) => all.extend(more),
            (Some(Condition::Method(all)), Condition::Method(more)) => all.extend(more),
            (Some(Condition::Client(all)), Condition::Client(more)) => all.extend(more),
            (Some(Condition::Kind(all)), Condition::Kind(more)) => all.extend(more),
            (Some(Condition::GrpcService(all)), Condition::GrpcService(more)) => all.extend(more),
            (Some(Condition::GrpcMethod(all)), Condition::GrpcMethod(more)) => all.extend(more),
            (Some(Condition::PostgresUser(all)), Condition::PostgresUser(more)) => all.extend(more),
            (Some(Condition::PostgresDatabase(all)), Condition::PostgresDatabase(more)) => all.extend(more),
            (Some(Condition::MqttClient(all)), Condition::MqttClient(more)) => all.extend(more),
            (Some(Condition::User(all)), Condition::User(more)) => all.extend(more),
            (Some(Condition::Group(all)), Condition::Group(more)) => all.extend(more),
            (Some(Condition::Time(all)), Condition::Time(more)) => all.extend(more),
            (Some(Condition::Port(all)), Condition::Port(more)) => all.extend(more),
            (Some(Condition::Sni(all)), Condition::Sni(more)) => all.extend(more),
            (Some(Condition::Alpn(all)), Condition::Alpn(more)) => all.extend(more),
            (Some(Condition::Fingerprint(all)), Condition::Fingerprint(more)) => all.extend(more),
            (Some(Condition::Header { name, values }), Condition::Header { name: other, values: more })
            | (Some(Condition::Cookie { name, values }), Condition::Cookie { name: other, values: more })
            | (Some(Condition::Query { name, values }), Condition::Query { name: other, values: more })
                if *name == other =>
            {
                values.extend(more);
            }
            _ => return None,
        }
    }
    merged
}

pub(super) fn host(pattern: &spec::HostPattern) -> HostPattern {
    match pattern {
        spec::HostPattern::Exact(name) => HostPattern::Exact(name.clone()),
        spec::HostPattern::Wildcard(name) => HostPattern::Wildcard(name.clone()),
        spec::HostPattern::Text(test) => HostPattern::Text(text(test)),
    }
}

fn schedule(said: &spec::Schedule) -> Schedule {
    Schedule { days: said.days, hours: said.hours.clone().into(), zone: zone(&said.zone) }
}

pub(crate) fn zone(said: &spec::Zone) -> Zone {
    let zone = match said {
        spec::Zone::Fixed(seconds) => Zone::fixed(*seconds),
        spec::Zone::Named(name) => Zone::named(name),
    };
    let Some(zone) = zone else { unreachable!("a zone that the configuration has checked") };
    zone
}

fn alpn(version: spec::HttpVersion) -> Alpn {
    match version {
        spec::HttpVersion::H1 => Alpn::H1,
        spec::HttpVersion::H2 => Alpn::H2,
        spec::HttpVersion::H3 => Alpn::H3,
    }
}

fn path(pattern: &spec::PathPattern) -> PathPattern {
    match pattern {
        spec::PathPattern::Exact(path) => PathPattern::Exact(path.clone()),
        spec::PathPattern::Prefix(path) => PathPattern::Prefix(path.clone()),
        spec::PathPattern::Regex(pattern) => PathPattern::Regex(regex(pattern)),
        spec::PathPattern::Text(test) => PathPattern::Text(text(test)),
    }
}

fn value(test: &ValueMatch) -> Text {
    match test {
        ValueMatch::Present => Text::Present,
        ValueMatch::Absent => Text::Absent,
        ValueMatch::Text(test) => text(test),
    }
}

/// A test of a text, as it is run.
pub(crate) fn text(test: &TextMatch) -> Text {
    let ignore_case = test.ignore_case;
    let one = |test: &TextTest| match test {
        TextTest::Exact(text) => Text::Exact { text: text.clone(), ignore_case },
        TextTest::Prefix(text) => Text::Prefix { text: text.clone(), ignore_case },
        TextTest::Suffix(text) => Text::Suffix { text: text.clone(), ignore_case },
        TextTest::Contains(text) => Text::Contains { text: text.clone(), ignore_case },
        TextTest::Regex(pattern) => Text::Regex(regex(pattern)),
    };
    match &test.tests[..] {
        [only] => one(only),
        several => Text::All(several.iter().map(one).collect()),
    }
}

fn body(test: &spec::BodyMatch) -> BodyCondition {
    let mut condition = BodyCondition {
        limit: usize::try_from(test.limit).unwrap_or(usize::MAX),
        reject_over_limit: test.over_limit == spec::OverLimit::Reject,
        ..BodyCondition::default()
    };
    for test in &test.tests {
        match test {
            spec::BodyTest::Json { path, any } => {
                let step = |step: &spec::JsonStep| match step {
                    spec::JsonStep::Member(name) => JsonStep::Member(name.clone()),
                    spec::JsonStep::Element(number) => JsonStep::Element(*number),
                };
                let path = JsonPath { steps: path.steps.iter().map(step).collect() };
                condition.json.push((path, any.iter().map(value).collect()));
            }
            spec::BodyTest::Form { name, any } => {
                condition.form.push((name.clone(), any.iter().map(value).collect()));
            }
            spec::BodyTest::Text { any } => condition.text.extend(any.iter().map(text)),
        }
    }
    condition
}

pub(super) fn net(net: &IpNet) -> Net {
    Net { address: net.network(), prefix: net.prefix_len() }
}

/// The pattern as the data plane runs it; the configuration has compiled it already.
fn regex(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(regex) => regex,
        Err(error) => unreachable!("a pattern that the configuration has checked: {error}"),
    }
}
