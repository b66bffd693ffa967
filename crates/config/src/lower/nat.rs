//! Listeners whose packets the kernel rewrites.

use std::net::IpAddr;

use super::{Lower, address};
use crate::shape::{Map, Value};
use crate::spec::{Bind, BindAddress, BindTls, Engine, Nat, NatMode};

impl Lower<'_, '_> {
    /// One address, with what stands above IP there.
    pub(super) fn nat_bind(&mut self, value: &Value, listener: &Map) -> Option<Bind> {
        let value = match value.map() {
            Some(map) => map.get("address")?,
            None => value,
        };
        match address::packets(value.fixed()?) {
            Ok((address, transport)) => Some(Bind {
                address: BindAddress::Ip(address),
                transport,
                tls: BindTls::Inherited,
                http: Vec::new(),
                accept_proxy: Vec::new(),
                transparent: None,
                span: value.span.clone(),
            }),
            Err(why) => {
                self.note(value, format!("`bind` of {}: {why}", listener.label));
                None
            }
        }
    }

    /// How the packets of a listener with these addresses are rewritten.
    pub(super) fn nat(&mut self, map: &Map, binds: &[Bind]) -> Option<Nat> {
        let label = &map.label;
        let mode = match map.fixed("nat") {
            Some("dnat") => NatMode::Dnat,
            Some("dsr") => NatMode::Dsr,
            _ => NatMode::Full,
        };
        let engine = if map.fixed("engine") == Some("auto") { Engine::Auto } else { Engine::Kernel };
        let interfaces = self.interfaces(map);
        if !map.has("interfaces") {
            let message = format!("`interfaces` is missing in {label}, name those by which packets come and go");
            self.mistakes.note(&map.span, message);
        }
        let sources = self.sources(map);
        match (map.get("source"), mode) {
            (Some(value), NatMode::Dnat | NatMode::Dsr) => {
                let mode = mode.word();
                self.note(value, format!("`source` of {label}: with `nat: {mode}` servers see the client, remove it"));
            }
            (None, NatMode::Full) => {
                let message = format!(
                    "`source` is missing in {label}, with `nat: full` servers see an address of this host: name it, or use `dnat` or `dsr`"
                );
                self.mistakes.note(&map.span, message);
            }
            (Some(value), NatMode::Full) => self.compare_families(value, &sources, binds, label),
            (None, NatMode::Dnat | NatMode::Dsr) => {}
        }
        Some(Nat { mode, sources: sources.into_iter().map(|(source, _)| source).collect(), interfaces, engine })
    }

    fn interfaces(&mut self, map: &Map) -> Vec<String> {
        let mut interfaces: Vec<String> = Vec::new();
        for value in map.list("interfaces") {
            let Some(name) = value.fixed() else { continue };
            let is_name = (1..=LONGEST_NAME).contains(&name.len())
                && !name.contains(|c: char| c == '/' || c.is_whitespace() || c == '\0')
                && ![".", ".."].contains(&name);
            if !is_name {
                self.note(value, format!("`interfaces` of {}: `{name}` is no name of an interface", map.label));
            } else if interfaces.iter().any(|known| known == name) {
                self.note(value, format!("`interfaces` of {}: `{name}` stands there twice, remove one", map.label));
            } else {
                interfaces.push(name.to_owned());
            }
        }
        interfaces
    }

    fn sources<'v>(&mut self, map: &'v Map) -> Vec<(IpAddr, &'v Value)> {
        let mut sources: Vec<(IpAddr, &Value)> = Vec::new();
        for value in map.list("source") {
            let Some(text) = value.fixed() else { continue };
            match text.parse::<IpAddr>() {
                Ok(ip) if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.to_canonical() != ip => {
                    let message = format!(
                        "`source` of {}: no server could answer `{text}`, use an address of this host",
                        map.label
                    );
                    self.note(value, message);
                }
                Ok(ip) if sources.iter().any(|(known, _)| *known == ip) => {
                    self.note(value, format!("`source` of {}: `{text}` stands there twice, remove one", map.label));
                }
                Ok(ip) => sources.push((ip, value)),
                Err(_) => self.note(value, format!("`source` of {}: `{text}` is no IP address", map.label)),
            }
        }
        if sources.len() > MOST_SOURCES
            && let Some(value) = map.get("source")
        {
            let (label, count) = (&map.label, sources.len());
            self.note(
                value,
                format!("`source` of {label}: a listener may have {MOST_SOURCES} of them at most: {count}"),
            );
        }
        sources
    }

    /// A packet keeps its family.
    fn compare_families(&mut self, value: &Value, sources: &[(IpAddr, &Value)], binds: &[Bind], label: &str) {
        let asked: Vec<IpAddr> = binds.iter().filter_map(ip).collect();
        // What could not be read was reported.
        if asked.is_empty() || sources.len() < value.items().len().max(1) {
            return;
        }
        for (source, value) in sources {
            if !asked.iter().any(|ip| ip.is_ipv4() == source.is_ipv4()) {
                let (own, other) = (family(*source), family(asked[0]));
                let message = format!(
                    "`source` of {label}: `{source}` is of {own}, but the listener's addresses are of {other}, use one of these"
                );
                self.note(value, message);
            }
        }
        for bind in binds {
            let Some(ip) = ip(bind) else { continue };
            if !sources.iter().any(|(source, _)| source.is_ipv4() == ip.is_ipv4()) {
                let message =
                    format!("`bind` of {label}: `{}` is of {}, and no `source` is, add one", bind.address, family(ip));
                self.mistakes.note(&bind.span, message);
            }
        }
    }
}

fn ip(bind: &Bind) -> Option<IpAddr> {
    match &bind.address {
        BindAddress::Ip(address) => Some(address.ip()),
        BindAddress::AnyFamily(_) | BindAddress::Unix { .. } => None,
    }
}

pub(super) fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// As many as the kernel's tables have room for.
const MOST_SOURCES: usize = 16;

/// `IFNAMSIZ` of Linux less its final NUL.
const LONGEST_NAME: usize = 15;
