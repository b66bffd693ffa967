//! `match` to predicates.

use super::template::Needs;
use super::{Lower, address, name, path};
use crate::shape::{Item, Map, Value};
use crate::spec::{HostPattern, Kind, Listed, PathPattern, Predicate, Role, TextMatch, TextTest, ValueMatch};

impl Lower<'_, '_> {
    /// What a `match` means; nothing if it is faulty.
    pub(super) fn predicate(&mut self, map: &Map) -> Option<Predicate> {
        let mut all = Vec::new();
        for item in &map.items {
            let Item { key, value, .. } = item;
            match key.as_str() {
                "host" => all.extend(self.hosts(value, "host", Predicate::Host, Listed::Host)),
                "url" => all.extend(value.map().and_then(|map| self.listed(map, Listed::Url))),
                "sni" => all.extend(self.sni(value)),
                "alpn" => {
                    let versions = value.items().iter().filter_map(super::listener::version);
                    all.extend(one_of(versions.map(Predicate::Alpn).collect()));
                }
                "client_cert" => all.extend(value.map().and_then(|map| self.client_cert(map))),
                "path" => all.extend(self.paths(value)),
                "method" => all.extend(self.methods(value)),
                "header" => all.extend(self.headers_match(value)),
                "cookie" => all.extend(self.named_values(value, |name, value| Predicate::Cookie { name, value })),
                "query" => all.extend(self.named_values(value, |name, value| Predicate::Query { name, value })),
                "client" => all.extend(self.clients(value)),
                "kind" => {
                    self.refuse_tunnels(value);
                    all.extend(one_of(value.items().iter().filter_map(kind).collect()));
                }
                "port" => {
                    let ports = value
                        .items()
                        .iter()
                        .filter_map(|value| value.integer().and_then(|port| u16::try_from(port).ok()));
                    all.extend(one_of(ports.map(Predicate::Port).collect()));
                }
                "grpc" => all.extend(value.map().and_then(|map| self.grpc(map))),
                "postgres" => all.extend(value.map().and_then(|map| self.postgres(map))),
                "mqtt" => {
                    let ids = value.map().map(|map| self.texts(map.list("client_id"), "client_id")).unwrap_or_default();
                    all.extend(one_of(ids.into_iter().map(|(text, _)| Predicate::MqttClient(text)).collect()));
                }
                "user" => {
                    let users = self.texts(value.items(), "user").into_iter();
                    all.extend(one_of(users.map(|(text, _)| Predicate::User(text)).collect()));
                }
                "group" => {
                    all.extend(one_of(self.values(value.items()).into_iter().map(Predicate::Group).collect()));
                }
                "time" => {
                    let times = value.items().iter().filter_map(Value::map);
                    all.extend(one_of(times.filter_map(|map| self.schedule(map)).map(Predicate::Time).collect()));
                }
                "body" => all.extend(value.map().and_then(|map| self.body(map)).map(Predicate::Body)),
                "any" => {
                    let any =
                        value.items().iter().filter_map(Value::map).filter_map(|map| self.predicate(map)).collect();
                    all.extend(one_of(any));
                }
                "not" => {
                    let outer = self.is_negated;
                    self.is_negated = !outer;
                    all.extend(
                        value.map().and_then(|map| self.predicate(map)).map(|inner| Predicate::Not(Box::new(inner))),
                    );
                    self.is_negated = outer;
                }
                _ => {}
            }
        }
        if map.items.is_empty() {
            let message = format!("{} is empty, remove it to match everything", map.label);
            self.mistakes.note(&map.span, message);
        }
        if all.len() > 1 { Some(Predicate::All(all)) } else { all.pop() }
    }

    pub(super) fn hosts(
        &mut self,
        value: &Value,
        key: &str,
        predicate: fn(HostPattern) -> Predicate,
        of: Listed,
    ) -> Option<Predicate> {
        let is_list = |value: &&Value| value.map().is_some_and(|map| map.has("list"));
        let (on_lists, others): (Vec<_>, Vec<_>) = value.items().iter().cloned().partition(|value| is_list(&value));
        let mut hosts: Vec<_> = on_lists.iter().filter_map(Value::map).filter_map(|map| self.listed(map, of)).collect();
        for (text, value) in self.texts(&others, key) {
            let pattern = match single_exact(&text) {
                None => Ok(HostPattern::Text(text)),
                Some(exact) => match name::wildcard(exact) {
                    Some(wildcard) => wildcard.map(HostPattern::Wildcard),
                    None => name::host(exact).map(HostPattern::Exact),
                },
            };
            match pattern {
                Ok(pattern) => hosts.push(predicate(pattern)),
                Err(why) => self.note(&value, why),
            }
        }
        one_of(hosts)
    }

    /// A name is asked for that is so, or none.
    fn sni(&mut self, value: &Value) -> Option<Predicate> {
        let absent = |value: &Value| {
            let map = value.map()?;
            map.boolean("absent").or(map.boolean("present").map(|present| !present)).filter(|_| map.items.len() == 1)
        };
        let mut any: Vec<_> = value.items().iter().filter_map(absent).map(Predicate::NoSni).collect();
        let named = value.items().iter().filter(|value| absent(value).is_none()).cloned().collect();
        let named = Value { span: value.span.clone(), data: crate::shape::Shape::List(named) };
        any.extend(self.hosts(&named, "sni", Predicate::Sni, Listed::Sni));
        one_of(any)
    }

    fn client_cert(&mut self, map: &Map) -> Option<Predicate> {
        let mut all: Vec<_> = map.boolean("present").map(Predicate::ClientCert).into_iter().collect();
        let mut fingerprints = Vec::new();
        for value in map.list("fingerprint") {
            let Some(text) = value.fixed() else { continue };
            match fingerprint(text) {
                Some(bytes) => fingerprints.push(Predicate::Fingerprint(bytes)),
                None => self.note(value, format!("`{text}` is no SHA-256, it has 64 hexadecimal digits")),
            }
        }
        all.extend(one_of(fingerprints));
        if map.items.is_empty() {
            self.mistakes.note(&map.span, format!("{} is empty, say `present` or `fingerprint`", map.label));
        }
        if all.len() > 1 { Some(Predicate::All(all)) } else { all.pop() }
    }

    fn grpc(&mut self, map: &Map) -> Option<Predicate> {
        if map.items.is_empty() {
            self.mistakes.note(
                &map.span,
                format!("{} is empty, say `service` or `method`, or `kind: grpc` for any call", map.label),
            );
        }
        let services =
            self.texts(map.list("service"), "service").into_iter().map(|(text, _)| Predicate::GrpcService(text));
        let services = one_of(services.collect());
        let methods = self.texts(map.list("method"), "method").into_iter().map(|(text, _)| Predicate::GrpcMethod(text));
        let mut all: Vec<_> = services.into_iter().chain(one_of(methods.collect())).collect();
        if all.len() > 1 { Some(Predicate::All(all)) } else { all.pop() }
    }

    fn postgres(&mut self, map: &Map) -> Option<Predicate> {
        if map.items.is_empty() {
            self.mistakes.note(&map.span, format!("{} is empty, say `user` or `database`", map.label));
        }
        let users = self.texts(map.list("user"), "user").into_iter().map(|(text, _)| Predicate::PostgresUser(text));
        let users = one_of(users.collect());
        let databases = self.texts(map.list("database"), "database");
        let databases = one_of(databases.into_iter().map(|(text, _)| Predicate::PostgresDatabase(text)).collect());
        let mut all: Vec<_> = users.into_iter().chain(databases).collect();
        if all.len() > 1 { Some(Predicate::All(all)) } else { all.pop() }
    }

    fn paths(&mut self, value: &Value) -> Option<Predicate> {
        let mut paths = Vec::new();
        for (text, value) in self.texts(value.items(), "path") {
            let pattern = match (single_exact(&text), text.tests.as_slice()) {
                (Some(exact), _) => path::pattern(exact),
                (None, [TextTest::Regex(regex)]) => Ok(PathPattern::Regex(regex.clone())),
                (None, _) => Ok(PathPattern::Text(text)),
            };
            match pattern {
                Ok(pattern) => paths.push(Predicate::Path(pattern)),
                Err(why) => self.note(&value, why),
            }
        }
        one_of(paths)
    }

    fn methods(&mut self, value: &Value) -> Option<Predicate> {
        let mut methods = Vec::new();
        for (text, value) in self.texts(value.items(), "method") {
            if let Some(method) = single_exact(&text) {
                if !super::fields::is_token(method) {
                    self.note(&value, format!("`{method}` is no method"));
                } else if COMMON_METHODS.contains(&method.to_ascii_uppercase().as_str())
                    && method != method.to_ascii_uppercase()
                {
                    let message = format!(
                        "`{method}` can hardly match, methods are in upper case: `{}`",
                        method.to_ascii_uppercase()
                    );
                    self.note(&value, message);
                } else if method == "CONNECT" && self.role == Role::Forward && !self.is_negated {
                    let message = "`CONNECT` never matches here, for what it asks for is a tunnel: write `kind: tunnel`, or `kind: [tunnel, socks]` \
                                   if those that are asked for in SOCKS are meant, too";
                    self.note(&value, message);
                }
            }
            methods.push(Predicate::Method(text));
        }
        one_of(methods)
    }

    fn headers_match(&mut self, value: &Value) -> Vec<Predicate> {
        let items = value.map().map(|map| map.items.as_slice()).unwrap_or_default();
        self.refuse_same_name(items, "field");
        for item in items {
            let _ = self.field_name(&item.key, &item.span);
        }
        self.named_values(value, |name, value| Predicate::Header { name: name.to_ascii_lowercase(), value })
    }

    fn named_values(&mut self, value: &Value, predicate: fn(String, ValueMatch) -> Predicate) -> Vec<Predicate> {
        let Some(map) = value.map() else { return Vec::new() };
        if map.items.is_empty() {
            self.note(value, format!("{} is empty, remove it", map.label));
        }
        let mut all = Vec::new();
        for item in &map.items {
            let values = self.values(item.value.items());
            all.extend(one_of(values.into_iter().map(|value| predicate(item.key.clone(), value)).collect()));
        }
        all
    }

    fn clients(&mut self, value: &Value) -> Option<Predicate> {
        let mut networks = Vec::new();
        for value in value.items() {
            networks.extend(self.network(value).map(Predicate::Client));
        }
        one_of(networks)
    }

    pub(super) fn network(&mut self, value: &Value) -> Option<ipnet::IpNet> {
        match address::network(value.fixed()?) {
            Ok(network) => Some(network),
            Err(why) => {
                self.note(value, why);
                None
            }
        }
    }
}

/// What a predicate's path gives to templates: of alternatives, what all of them give.
pub(super) fn captures(predicate: &Predicate) -> Needs {
    match predicate {
        Predicate::All(all) => all.iter().map(captures).fold(Needs::default(), |sum, next| Needs {
            star: sum.star || next.star,
            groups: sum.groups.max(next.groups),
        }),
        Predicate::Any(any) => any
            .iter()
            .map(captures)
            .reduce(|both, next| Needs { star: both.star && next.star, groups: both.groups.min(next.groups) })
            .unwrap_or_default(),
        Predicate::Path(PathPattern::Prefix(_)) => Needs { star: true, groups: 0 },
        Predicate::Path(PathPattern::Regex(pattern)) => {
            let groups = regex::Regex::new(pattern).map_or(0, |regex| regex.captures_len().saturating_sub(1));
            Needs { star: false, groups }
        }
        _ => Needs::default(),
    }
}

/// Pairs of hexadecimal digits, colons between them or not.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: String = text.split(':').collect();
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..32).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// The only test, if it is one for equality that minds the case.
pub(super) fn single_exact(text: &TextMatch) -> Option<&str> {
    match text.tests.as_slice() {
        [TextTest::Exact(exact)] if !text.ignore_case => Some(exact),
        _ => None,
    }
}

fn one_of(mut any: Vec<Predicate>) -> Option<Predicate> {
    if any.len() > 1 { Some(Predicate::Any(any)) } else { any.pop() }
}

fn kind(value: &Value) -> Option<Predicate> {
    match value.fixed()? {
        "http" => Some(Predicate::Kind(Kind::Http)),
        "grpc" => Some(Predicate::Kind(Kind::Grpc)),
        "tunnel" => Some(Predicate::Kind(Kind::Tunnel)),
        "socks" => Some(Predicate::Kind(Kind::Socks)),
        _ => Some(Predicate::Kind(Kind::Websocket)),
    }
}

const COMMON_METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
