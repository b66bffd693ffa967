//! HTTP/3 of a listener, and of a pool.

use super::Lower;
use super::listener::version;
use crate::shape::{Item, Map};
use crate::spec::{
    Advert, Algorithms, Bind, BindAddress, BindTls, Http3, HttpVersion, ListenerTls, Pool, Probe, Protocol, SUITES,
    Server, ServerAddress,
};

impl Lower<'_, '_> {
    pub(super) fn http3(&mut self, map: &Map) -> Option<Http3> {
        let max_age = self.time(map, "max_age");
        let port = map.get("port").is_some().then(|| map.small("port"));
        let advertise = map.boolean("advertise")?;
        if let Some(value) = map.get("port").filter(|_| !advertise) {
            self.note(value, format!("{} has a `port` and does not `advertise`, keep one of them", map.label));
        }
        let port = match port {
            None => None,
            Some(port) => Some(u16::try_from(port?).ok()?),
        };
        let advert = Advert { port, max_age: max_age? };
        Some(Http3 { advert: advertise.then_some(advert), early_data: map.boolean("early_data")? })
    }

    /// What HTTP/3 needs of its listener.
    pub(super) fn check_h3(&mut self, item: &Item, map: &Map, tls: Option<&ListenerTls>, binds: &[Bind]) {
        let (versions, label) = (map.list("http"), &map.label);
        let Some(said) = versions.iter().find(|value| version(value) == Some(HttpVersion::H3)) else { return };
        let only = versions.iter().all(|value| version(value) == Some(HttpVersion::H3));
        if only {
            let why = "clients learn of it by TCP";
            self.note(said, format!("`http` of {label} is `h3` alone and {why}, add `h1` or `h2`"));
        }
        let secured: Vec<&ListenerTls> = binds
            .iter()
            .filter(|bind| !matches!(bind.address, BindAddress::Unix { .. }))
            .filter_map(|bind| match &bind.tls {
                BindTls::Inherited => tls,
                BindTls::Off => None,
                BindTls::Own(own) => Some(&**own),
            })
            .collect();
        // Where an address or its TLS was reported, nothing can be missed.
        if secured.is_empty() && binds.len() == map.list("bind").len() && !map.has_faulty() {
            self.note(said, format!("`http` of {label} has `h3`, which needs `tls` and an address with a port"));
        }
        if secured.iter().any(|tls| has_none_of_tls13(&tls.algorithms)) {
            self.note(said, format!("`http` of {label} has `h3`, and `ciphers` no suite of TLS 1.3, which it needs"));
        }
        let early =
            map.map("http3").and_then(|map| map.get("early_data").filter(|_| map.boolean("early_data") == Some(true)));
        if let Some(value) = early
            && secured.iter().any(|tls| tls.client_cert.is_some())
        {
            let why = "early requests come before a certificate";
            self.note(
                value,
                format!("listener `{}` has `early_data` and asks for `client_cert`: {why}, keep one of them", item.key),
            );
        }
    }

    /// What HTTP/3 needs of its pool.
    pub(super) fn check_pool_h3(&mut self, map: &Map, pool: &Pool, servers: &[Server]) {
        let Some(said) = map.get("protocol").filter(|_| pool.protocol == Protocol::H3) else { return };
        let label = &map.label;
        match &pool.tls {
            // What is faulty there is told there.
            None if map.has("tls") => {}
            None => self.note(said, format!("`protocol` of {label} is `h3`, which needs TLS, add `tls`")),
            Some(tls) if has_none_of_tls13(&tls.algorithms) => {
                self.note(
                    said,
                    format!("`protocol` of {label} is `h3`, and `ciphers` no suite of TLS 1.3, which it needs"),
                );
            }
            Some(_) => {}
        }
        if let Some(server) = servers.iter().find(|server| matches!(server.address, ServerAddress::Unix(_))) {
            let why = "is a Unix socket, which UDP does not reach";
            let message = format!("server `{}` of {label} {why}, use another `protocol` than `h3`", server.name);
            self.mistakes.note(&server.span, message);
        }
        let health = map.map("health").zip(pool.health.as_ref());
        if let Some((health, spoken)) = health {
            // The others go by TCP, which says nothing of UDP, and with the protocols of the pool's TLS.
            if !matches!(spoken.probe, Probe::Http(_)) {
                let message = format!("{} goes by TCP and {label} by UDP, use `probe: http`", health.label);
                self.mistakes.note(&health.span, message);
            } else if let Some(port) = health.get("port") {
                self.note(
                    port,
                    format!("`port` of {} is not for `protocol: h3`, which is checked where it serves", health.label),
                );
            }
        }
    }
}

/// Whether suites were chosen, and none of them belongs to TLS 1.3.
fn has_none_of_tls13(algorithms: &Algorithms) -> bool {
    let newest = |name: &&str| SUITES.iter().any(|suite| suite.name == *name && suite.is_newest);
    algorithms.suites.as_ref().is_some_and(|all| !all.is_empty() && !all.iter().any(newest))
}
