//! Pools whose servers are proxies, and with which of this host's addresses others are connected to.

use std::net::IpAddr;

use super::Lower;
use crate::interpolate::Piece;
use crate::shape::{Map, Shape, Value};
use crate::spec::{Credentials, Ending, Pool, PoolHost, PoolId, Probe, Protocol, Role, Secret, Source, Sticky, Way};

impl Lower<'_, '_> {
    /// The one pool that `to` names where there are no ways beside each other.
    pub(super) fn only<'v>(&mut self, value: &'v Value) -> Option<&'v Value> {
        match value.items() {
            [only] => Some(only),
            [] => None,
            _ => {
                let role = self.role.word();
                let message =
                    format!("`to` names one pool with `role: {role}`, share the load among several by `split`");
                self.note(value, message);
                None
            }
        }
    }

    pub(super) fn is_of_parents(&self, id: PoolId) -> bool {
        let pool = self.pools.get(id.0).and_then(Option::as_ref);
        pool.is_some_and(|pool| pool.protocol.is_of_parents())
    }

    /// Proxies lead to whatever server is asked for: nobody but a forward proxy goes by them.
    pub(super) fn refuse_parents(&mut self, value: &Value, id: PoolId) -> Option<PoolId> {
        if !self.is_of_parents(id) {
            return Some(id);
        }
        let name = value.fixed().unwrap_or_default();
        let way_out = match self.role {
            Role::Forward => "only `to` of a route may lead to it",
            _ => "only `to` under `role: forward` may lead to it, name a pool of servers",
        };
        self.note(value, format!("the servers of pool `{name}` are proxies that lead to any server: {way_out}"));
        None
    }

    /// Who we say that we are to proxies.
    pub(super) fn credentials(&mut self, map: &Map) -> Option<Credentials> {
        let label = &map.label;
        if !matches!(map.fixed("protocol"), Some("http_proxy" | "socks5")) {
            for key in ["username", "password"] {
                if let Some(item) = map.item(key) {
                    let why = "is for proxies, say `protocol: http_proxy` or `socks5`, or remove it";
                    self.mistakes.note(&item.span, format!("`{key}` of {label} {why}"));
                }
            }
            return None;
        }
        let (username, password) = match (map.get("username"), map.get("password")) {
            (None, None) => return None,
            (Some(username), Some(password)) => (username, password),
            (Some(one), None) => {
                self.note(one, format!("`username` of {label} needs `password`"));
                return None;
            }
            (None, Some(one)) => {
                self.note(one, format!("`password` of {label} needs `username`"));
                return None;
            }
        };
        if let Shape::Scalar(written, _) = &password.data
            && written.pieces.iter().any(|piece| !matches!(piece, Piece::Injected(_)))
        {
            let why = "must come from outside, write `${file.PATH}` or `${env.NAME}`";
            self.mistakes.note(&password.span, format!("`password` of {label} {why}"));
        }
        let (name, secret) = (username.fixed()?, password.fixed()?);
        // RFC 7617 section 2 for the colon, RFC 1929 section 2 for the lengths.
        if name.is_empty() || name.len() > LONGEST || name.contains(':') || name.chars().any(char::is_control) {
            self.note(username, format!("`username` of {label} is no name of 1 to {LONGEST} bytes without `:`"));
        }
        if secret.is_empty() || secret.len() > LONGEST || secret.chars().any(char::is_control) {
            let message = format!("`password` of {label} is no line of 1 to {LONGEST} bytes");
            self.mistakes.note(&password.span, message);
        }
        Some(Credentials { username: name.to_owned(), password: Secret(secret.to_owned()) })
    }

    /// What a pool of proxies cannot have.
    pub(super) fn check_parents(&mut self, map: &Map, pool: &Pool) {
        let label = &map.label;
        if !pool.protocol.is_of_parents() {
            return;
        }
        let word = if pool.protocol == Protocol::Socks5 { "socks5" } else { "http_proxy" };
        let mut refuse = |key: &str, is_said: bool, why: &str| {
            if let Some(item) = map.item(key).filter(|_| is_said) {
                self.mistakes
                    .note(&item.span, format!("`{key}` of {label} does not exist with `protocol: {word}`: {why}"));
            }
        };
        refuse("host", pool.host != PoolHost::Client, "proxies are asked for the client's own host, remove it");
        let is_cookie = matches!(pool.sticky, Some(Sticky::Cookie { .. }));
        refuse("sticky", is_cookie, "a cookie would be that of a server behind it, use `sticky: client_ip`");
        refuse("retries", pool.retries.hedge.is_some(), "nobody is asked twice for another, remove `hedge`");
        let starts = pool.tls.as_ref().is_some_and(|tls| tls.starttls.is_some());
        refuse("tls", starts, "TLS begins at once, remove `starttls`");
        refuse("quic", pool.quic.is_some(), "it is for flows of UDP, remove it");
        refuse("coalesce", pool.coalesce.is_some(), "it is for flows of TCP, remove it");
        if pool.protocol == Protocol::Socks5 {
            let why = "it is not known for which server a connection that is `warm` will be, remove it";
            refuse("warm", pool.warm > 0, why);
        }
        let probe = pool.health.as_ref().map(|health| &health.probe);
        let suits = match probe {
            None | Some(Probe::Tcp | Probe::Tls { .. }) => true,
            Some(Probe::Http(probe)) => pool.protocol == Protocol::HttpProxy && probe.host.is_some(),
            Some(_) => false,
        };
        let why = match pool.protocol {
            Protocol::HttpProxy => "use `tcp`, or `http` with the `host` of a server whose page is fetched by it",
            _ => "use `tcp`",
        };
        refuse("health", !suits, why);
    }

    /// With which of this host's addresses a route connects to servers that are asked for.
    pub(super) fn source_of(&mut self, route: &Map, ending: &Ending) -> Option<Source> {
        let item = route.item("source")?;
        let leads_there = match ending {
            Ending::Origin | Ending::Routes(_) => true,
            Ending::Ways(ways) => ways.contains(&Way::Origin),
            _ => false,
        };
        if !leads_there {
            self.mistakes.note(&item.span, format!("`source` of {} needs `to: origin`", route.label));
        }
        self.own_addresses(route)
    }

    /// Addresses of this host.
    pub(super) fn own_addresses(&mut self, map: &Map) -> Option<Source> {
        let value = map.get("source")?;
        let mut source = Source { v4: None, v6: None, span: value.span.clone() };
        for value in value.items() {
            let Some(text) = value.fixed() else { continue };
            let twice = match text.parse::<IpAddr>() {
                Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
                    self.note(value, format!("`{text}` is no address of one host"));
                    continue;
                }
                Ok(ip) => match ip.to_canonical() {
                    IpAddr::V4(ip) => source.v4.replace(ip).is_some(),
                    IpAddr::V6(ip) => source.v6.replace(ip).is_some(),
                },
                Err(_) => {
                    self.note(value, format!("`{text}` is no IP address"));
                    continue;
                }
            };
            if twice {
                self.note(value, format!("`source` of {} has two addresses of one family, keep one", map.label));
            }
        }
        (source.v4.is_some() || source.v6.is_some()).then_some(source)
    }
}

/// The longest name and password that both kinds of proxies can be told.
const LONGEST: usize = 255;
