//! The laws of routes, one by one, and the compiled table against a plain scan of its rules.

mod bodies;
mod conditions;
mod laws;
mod scan;

use std::net::IpAddr;

use net::tls::Alpn;
use regex::bytes::Regex;
use wire::{Framing, Head};

use crate::users::User;

use super::{Body, Condition, Facts, Finding, HostPattern, Kind, PathPattern, Rule, Said, Table, Text};

/// A request, as a test tells it.
#[derive(Clone, Debug)]
struct Request {
    head: Head,
    host: String,
    path: String,
    client: IpAddr,
    port: u16,
    secure: bool,
    kind: Kind,
    sni: String,
    alpn: Option<Alpn>,
    fingerprint: Option<[u8; 32]>,
    said: Option<Said>,
    user: Option<User>,
    now: u64,
    body: Option<(Vec<u8>, bool)>,
}

impl Request {
    /// `METHOD host/path?query`.
    fn of(line: &str) -> Request {
        let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
        let (target, query) = target.split_once('?').map_or((target, None), |(target, query)| (target, Some(query)));
        let (host, path) = target.split_at(target.find('/').unwrap_or(target.len()));
        let mut head = Head::default();
        head.start_request(method.as_bytes(), host.as_bytes(), path.as_bytes(), query.map(str::as_bytes));
        Request {
            head,
            host: host.to_owned(),
            path: path.to_owned(),
            client: IpAddr::from([192, 0, 2, 1]),
            port: 80,
            secure: false,
            kind: Kind::Http,
            sni: String::new(),
            alpn: None,
            fingerprint: None,
            said: None,
            user: None,
            now: 0,
            body: None,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Request {
        self.head.add(name.as_bytes(), value.as_bytes());
        self
    }

    /// Has a body of unknown length, of which nothing is read.
    fn unread(mut self) -> Request {
        self.head.set_framing(Framing::Unknown);
        self.body = None;
        self
    }

    /// Has this body, read to its end.
    fn with_body(self, bytes: impl AsRef<[u8]>) -> Request {
        let mut request = self.unread();
        request.body = Some((bytes.as_ref().to_vec(), true));
        request
    }

    /// Has a body that begins so.
    fn with_beginning(self, bytes: impl AsRef<[u8]>) -> Request {
        let mut request = self.unread();
        request.body = Some((bytes.as_ref().to_vec(), false));
        request
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            head: &self.head,
            host: self.host.as_bytes(),
            path: self.path.as_bytes(),
            client: self.client,
            port: self.port,
            secure: self.secure,
            kind: self.kind,
            sni: self.sni.as_bytes(),
            alpn: self.alpn.as_slice(),
            fingerprint: self.fingerprint.as_ref(),
            said: self.said.as_ref(),
            user: self.user.as_ref(),
            now: self.now,
            body: match &self.body {
                None => Body::Unread,
                Some((bytes, complete)) => Body::Prefix { bytes, complete: *complete },
            },
        }
    }
}

/// What a table of these rules says, each given by its conditions.
fn find<const N: usize>(rules: [Vec<Condition>; N], request: &Request) -> Finding {
    table(rules).find(&request.facts(), 0)
}

/// Whether the one rule of a table matches.
fn matches(conditions: Vec<Condition>, request: &Request) -> bool {
    matches!(find([conditions], request), Finding::Rule(_))
}

/// The ordinal of the rule that matches.
fn winner(table: &Table, request: &Request) -> Option<usize> {
    match table.find(&request.facts(), 0) {
        Finding::Rule(found) => Some(found.ordinal),
        _ => None,
    }
}

fn table<const N: usize>(rules: [Vec<Condition>; N]) -> Table {
    Table::compile(rules.into_iter().map(|conditions| Rule { conditions }).collect())
}

/// A host as configurations write it.
fn host(pattern: &str) -> Condition {
    Condition::Host(vec![match pattern.strip_prefix("*.") {
        Some(apex) => HostPattern::Wildcard(apex.to_owned()),
        None => HostPattern::Exact(pattern.to_owned()),
    }])
}

/// A path as configurations write it.
fn path(pattern: &str) -> Condition {
    Condition::Path(vec![path_pattern(pattern)])
}

fn path_pattern(pattern: &str) -> PathPattern {
    if let Some(pattern) = pattern.strip_prefix('~') {
        return PathPattern::Regex(regex(pattern));
    }
    match pattern.strip_suffix("/*") {
        Some(prefix) => PathPattern::Prefix(prefix.to_owned()),
        None => PathPattern::Exact(pattern.to_owned()),
    }
}

fn header(name: &str, value: Text) -> Condition {
    Condition::Header { name: name.to_owned(), values: vec![value] }
}

fn method(name: &str) -> Condition {
    Condition::Method(vec![Text::exact(name)])
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("tests write valid patterns")
}
