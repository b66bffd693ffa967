//! Certificates, and TLS on both sides. Files are named here and read by whoever runs them.

use std::time::Duration;

use wire::starttls::Protocol;

use super::Lower;
use crate::shape::{Map, Value};
use crate::spec::{
    Algorithms, ClientCert, GROUPS, Health, ListenerTls, MinVersion, NamedFile, Pool, PoolTls, Probe, SUITES, Server,
    ServerAddress, Suite,
};

impl<'a> Lower<'a, '_> {
    /// TLS of a listener, or of one of its addresses; `off` is none.
    pub(super) fn listener_tls(
        &mut self,
        map: &'a Map,
        handshakes: Option<(Duration, u32)>,
    ) -> Option<Option<ListenerTls>> {
        let tls = map.map("tls")?;
        if let [only] = tls.list("certificates")
            && only.fixed() == Some(OFF)
        {
            if tls.has("client_cert") {
                self.note(only, format!("{} is `off` and has other keys, keep one of them", tls.label));
            }
            return Some(None);
        }
        let certificates = tls.list("certificates").iter().filter_map(|name| self.shown_certificate(name)).collect();
        let client_cert = tls.map("client_cert").and_then(|map| {
            let ca = self.file(map.get("ca")?)?;
            match map.fixed("mode")? {
                "off" => None,
                mode => Some(ClientCert { ca, required: mode == "required" }),
            }
        });
        let algorithms = self.algorithms(tls);
        let (starttls, lets_plain) = self.starttls(tls);
        if let Some(client_cert) = client_cert.as_ref().filter(|cert| cert.required && lets_plain) {
            let why = format!(
                "`client_cert` of {} is required, and clients may go on without TLS, keep one of them",
                tls.label
            );
            self.mistakes.note(&client_cert.ca.span, why);
        }
        let (handshake_timeout, handshakes) = handshakes?;
        Some(Some(ListenerTls {
            certificates,
            min_version: min_version(tls)?,
            algorithms,
            client_cert,
            handshake_timeout,
            handshakes,
            starttls,
            lets_plain,
        }))
    }

    /// TLS of a pool.
    pub(super) fn pool_tls(&mut self, map: &Map) -> Option<PoolTls> {
        let tls = map.map("tls")?;
        let server_name = tls.get("server_name").and_then(|value| {
            let text = value.fixed()?;
            let is_name = text.parse::<std::net::IpAddr>().is_ok() || super::name::host(text).is_ok();
            if !is_name {
                self.note(value, format!("`server_name` of {}: `{text}` is neither a name nor an address", tls.label));
            }
            is_name.then(|| text.to_ascii_lowercase())
        });
        let algorithms = self.algorithms(tls);
        let (starttls, lets_plain) = self.starttls(tls);
        let verify = tls.boolean("verify")?;
        if let Some(ca) = tls.get("ca").filter(|_| !verify) {
            self.note(ca, format!("{} has a `ca` and does not `verify`, keep one of them", tls.label));
        }
        Some(PoolTls {
            server_name,
            ca: tls.get("ca").and_then(|value| self.file(value)),
            verify,
            certificate: tls.get("certificate").and_then(|name| self.own_certificate(name)),
            min_version: min_version(tls)?,
            algorithms,
            starttls,
            lets_plain,
        })
    }

    /// The protocol inside of which TLS begins, if it does, and whether it need not.
    fn starttls(&mut self, tls: &Map) -> (Option<Protocol>, bool) {
        let Some(map) = tls.map("starttls") else { return (None, false) };
        let protocol = match map.fixed("protocol") {
            None => return (None, false),
            Some("smtp") => Protocol::Smtp,
            Some("imap") => Protocol::Imap,
            Some("pop3") => Protocol::Pop3,
            Some("mysql") => Protocol::Mysql,
            Some(_) => Protocol::Postgres,
        };
        let lets_plain = map.boolean("required") == Some(false);
        if lets_plain && protocol == Protocol::Mysql {
            let why = format!("`required` of {}: TLS inside of MySQL is always required, remove it", map.label);
            self.mistakes.note(&map.span, why);
        }
        (Some(protocol), lets_plain)
    }

    fn algorithms(&mut self, tls: &Map) -> Algorithms {
        let ciphers = tls.list("ciphers");
        let (suites, prefers) = match ciphers {
            [only] if only.fixed() == Some("intermediate") => (None, false),
            [only] if only.fixed() == Some("modern") => (Some(NEWEST.map(|suite| suite.name).to_vec()), false),
            list => (Some(list.iter().filter_map(|value| self.suite(value)).collect()), true),
        };
        let is_spoken = |name: &&str| SUITES.iter().any(|suite| suite.name == *name && suite.is_newest);
        if let (Some(first), Some(suites), Some(MinVersion::Tls13)) = (ciphers.first(), &suites, min_version(tls))
            && suites.len() == ciphers.len()
            && !suites.iter().any(is_spoken)
        {
            let known = NEWEST.map(|suite| suite.name).join(", ");
            self.note(
                first,
                format!("none of `ciphers` of {} belongs to TLS 1.3, whose suites are {known}", tls.label),
            );
        }
        let groups = tls.list("groups");
        let groups = (!groups.is_empty()).then(|| groups.iter().filter_map(|value| self.group(value)).collect());
        Algorithms { suites, prefers, groups }
    }

    fn suite(&mut self, value: &Value) -> Option<&'static str> {
        let text = value.fixed()?;
        let is_it = |suite: &&Suite| [suite.name, suite.openssl].contains(&text);
        let found = SUITES.iter().find(is_it).map(|suite| suite.name);
        if found.is_none() {
            let why = match text {
                "modern" | "intermediate" => format!("`{text}` stands alone, it is a list of its own"),
                _ => format!("unknown cipher suite `{text}`, there are {}", SUITES.map(|suite| suite.name).join(", ")),
            };
            self.note(value, why);
        }
        found
    }

    fn group(&mut self, value: &Value) -> Option<&'static str> {
        let text = value.fixed()?;
        let found = GROUPS.into_iter().find(|name| name.eq_ignore_ascii_case(text));
        if found.is_none() {
            self.note(value, format!("unknown group `{text}`, there are {}", GROUPS.join(", ")));
        }
        found
    }

    /// A socket file has no name that a certificate could be for.
    pub(super) fn demand_a_name(&mut self, map: &Map, pool: &Pool, servers: &[Server]) {
        let nameless = servers.iter().any(|server| matches!(server.address, ServerAddress::Unix(_)));
        if nameless && pool.tls.as_ref().is_some_and(|tls| tls.server_name.is_none()) {
            let why =
                format!("{} has servers on Unix sockets, say whose certificate they have: `server_name`", map.label);
            self.mistakes.note(&map.span, why);
        }
    }

    /// What TLS inside of a protocol leaves a pool.
    pub(super) fn check_pool_starttls(&mut self, map: &Map, pool: &Pool) {
        let Some(protocol) = pool.tls.as_ref().and_then(|tls| tls.starttls) else { return };
        if pool.warm > 0 && protocol.greets() {
            let why = format!("{}: servers that speak first cannot be `warm`, remove it or `tls.starttls`", map.label);
            self.mistakes.note(&map.span, why);
        }
        if let Some(Health { probe: Probe::Tls { .. }, .. }) = &pool.health {
            let why = format!(
                "{}: a probe of `tls` begins at once, other than `tls.starttls`, use that of the protocol",
                map.label
            );
            self.mistakes.note(&map.span, why);
        }
    }

    pub(super) fn file(&mut self, value: &Value) -> Option<NamedFile> {
        let path = self.sources.dir_of(&value.span.file).join(value.fixed()?);
        Some(NamedFile { path, span: value.span.clone() })
    }
}

/// The suites of TLS 1.3.
const NEWEST: [Suite; 3] = [SUITES[0], SUITES[1], SUITES[2]];

/// The word in the place of a certificate that stands for no TLS at all.
pub(super) const OFF: &str = "off";

fn min_version(tls: &Map) -> Option<MinVersion> {
    Some(if tls.fixed("min_version")? == "tls1.3" { MinVersion::Tls13 } else { MinVersion::Tls12 })
}
