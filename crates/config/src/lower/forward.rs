//! Listeners whose requests name the server that they are for.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::Lower;
use crate::shape::{Item, Map, Value};
use crate::spec::{
    Bind, BindAddress, Egress, Ending, Forwarding, PolicyId, Predicate, Role, Route, Serves, Transparent, Way,
};

impl Lower<'_, '_> {
    /// Where `to` leads: to whatever server is asked for, to a pool, or by one; several stand for each other.
    pub(super) fn ways(&mut self, value: &Value) -> Option<Ending> {
        let mut ways: Vec<Way> = Vec::new();
        for value in value.items() {
            let way = match value.fixed()? {
                "origin" => Way::Origin,
                _ => Way::Pool(self.any_pool(value)?),
            };
            if ways.contains(&way) {
                self.note(value, "the same way stands twice in `to`, remove one");
            }
            ways.push(way);
        }
        match ways[..] {
            // An empty list was told of.
            [] => None,
            [Way::Origin] => Some(Ending::Origin),
            [Way::Pool(id)] => Some(Ending::To(id)),
            _ => Some(Ending::Ways(ways)),
        }
    }

    /// What may be connected to.
    pub(super) fn egress(&mut self, map: &Map) -> Option<Egress> {
        let said = map.map("egress")?;
        let allow = said.list("allow").iter().filter_map(|value| self.network(value)).collect();
        let connect_ports = self.port_ranges(said, "connect_ports", &[]);
        Some(Egress { allow, connect_ports, source: self.own_addresses(said) })
    }

    /// At which ports tunnels are looked into.
    pub(super) fn inspect(&mut self, map: &Map) -> Vec<RangeInclusive<u16>> {
        map.map("inspect").map(|said| self.port_ranges(said, "ports", &[80])).unwrap_or_default()
    }

    fn port_ranges(&mut self, map: &Map, key: &str, unsaid: &[u16]) -> Vec<RangeInclusive<u16>> {
        if map.has(key) {
            map.list(key).iter().filter_map(|value| self.ports(value)).collect()
        } else {
            unsaid.iter().map(|port| *port..=*port).collect()
        }
    }

    fn ports(&mut self, value: &Value) -> Option<RangeInclusive<u16>> {
        let text = value.fixed()?;
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let port =
            |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && text.as_bytes()[0].is_ascii_digit());
        match (port(from), port(to)) {
            (Some(from), Some(to)) if from <= to => Some(from..=to),
            _ => {
                self.note(value, format!("`{text}` is no port, write it like `443` or `8000-8100`"));
                None
            }
        }
    }

    /// How connections come to an address that were meant for others.
    pub(super) fn transparent(
        &mut self,
        word: &Value,
        address: &BindAddress,
        is_plain: bool,
        label: &str,
    ) -> Option<Transparent> {
        if !is_plain {
            let message = format!(
                "`transparent` of {label}: who does not know of a proxy speaks neither TLS nor the PROXY protocol with it, take `tls` and \
                 `accept_proxy` out or give it an address of its own"
            );
            self.note(word, message);
        }
        if matches!(address, BindAddress::Unix { .. }) {
            self.note(word, format!("`transparent` of {label}: nothing is led to a Unix socket, give it a port"));
        }
        Some(if word.fixed()? == "tproxy" { Transparent::Tproxy } else { Transparent::Redirect })
    }

    /// Who does not know of a proxy cannot say who it is.
    pub(super) fn refuse_unasked(&mut self, item: &Item, uses: &[PolicyId], serves: &Serves, binds: &[Bind]) {
        let led = binds.iter().find(|bind| bind.transparent.is_some());
        if let Some(bind) = led.filter(|_| self.asks_who(uses) || self.asks_below(serves)) {
            let message = format!(
                "listener `{}` asks who its clients are, and those that are led to {} cannot be asked: give them a listener of their own, \
                 and say in its routes who may use it by `match: {{ client: … }}`",
                item.key, bind.address
            );
            self.mistakes.note(&bind.span, message);
        }
    }

    /// Whether any of its routes asks who clients are.
    fn asks_below(&self, serves: &Serves) -> bool {
        fn any(lower: &Lower<'_, '_>, routes: &[Route]) -> bool {
            routes.iter().any(|route| {
                let inner = if let Ending::Routes(inner) = &route.ending { &inner[..] } else { &[] };
                lower.asks_who(&route.uses) || any(lower, inner)
            })
        }
        matches!(serves, Serves::Routes(routes) if any(self, routes))
    }

    /// Only forward proxies are asked for tunnels.
    pub(super) fn refuse_tunnels(&mut self, kinds: &Value) {
        if self.role == Role::Forward {
            return;
        }
        let words = kinds.items().iter().filter_map(|value| value.fixed().map(|word| (value, word)));
        for (value, word) in words.filter(|(_, word)| matches!(*word, "tunnel" | "socks")) {
            self.note(value, format!("`kind: {word}` never matches without `role: forward`, remove it"));
        }
    }

    /// Nobody opens a proxy to everybody without a word.
    pub(super) fn refuse_open(
        &mut self,
        item: &Item,
        map: &Map,
        uses: &[PolicyId],
        serves: &Serves,
        binds: &[Bind],
        forwarding: Option<&Forwarding>,
    ) {
        let Serves::Routes(routes) = serves else { return };
        let is_public = |bind: &Bind| match &bind.address {
            BindAddress::Ip(address) => !address.ip().to_canonical().is_loopback(),
            BindAddress::AnyFamily(_) => true,
            BindAddress::Unix { .. } => false,
        };
        let Some(bind) = binds.iter().find(|bind| is_public(bind)) else { return };
        let is_closed = self.role != Role::Forward || map.boolean("open") == Some(true) || self.asks_who(uses);
        let trust = forwarding.map_or(&[][..], |said| &said.trust);
        let is_told = is_everybody(trust) || binds.iter().any(|bind| is_everybody(&bind.accept_proxy));
        if is_closed || !self.leads_anybody(routes, is_told) {
            return;
        }
        if !self.leads_anybody(routes, false) {
            let message = format!(
                "listener `{}` is a forward proxy for anybody who reaches {}: everybody is believed who the client is, so that `match: {{ \
                 client: … }}` keeps nobody out, name none but the proxies before this one in `forwarding.trust` and \
                 `accept_proxy`, or say that all may by `open: true`",
                item.key, bind.address
            );
            self.mistakes.note(&bind.span, message);
            return;
        }
        let message = format!(
            "listener `{}` is a forward proxy for anybody who reaches {}: say who may use it by `match: {{ client: … }}` in each route `to: \
             origin` or by `use` with `basic_auth`, or that all may by `open: true`",
            item.key, bind.address
        );
        self.mistakes.note(&bind.span, message);
    }
}

impl Lower<'_, '_> {
    /// Whether some route leads whoever asks to whatever server it likes. If clients are told us by anybody, their addresses keep nobody out.
    fn leads_anybody(&self, routes: &[Route], is_told: bool) -> bool {
        let names_clients = |predicate: &_| names_clients(predicate, is_told);
        let asks_who = |route: &Route| route.matches.as_ref().is_some_and(names_clients) || self.asks_who(&route.uses);
        routes.iter().filter(|route| !asks_who(route)).any(|route| match &route.ending {
            Ending::Origin => true,
            Ending::Ways(ways) => ways.contains(&Way::Origin) || self.has_parents(&route.ending),
            Ending::Routes(inner) => self.leads_anybody(inner, is_told),
            ending => self.has_parents(ending),
        })
    }

    /// Whether some policy finds out who the client is, and lets in nobody else.
    fn asks_who(&self, uses: &[PolicyId]) -> bool {
        uses.iter().any(|id| self.policies.get(id.0).is_some_and(|(policy, _)| policy.kind.authenticates()))
    }

    fn has_parents(&self, ending: &Ending) -> bool {
        ending.pools().into_iter().any(|id| self.is_of_parents(id))
    }
}

/// Whether only some clients satisfy it, whatever else they ask; `is_told` if that is so of their certificates alone.
fn names_clients(predicate: &Predicate, is_told: bool) -> bool {
    match predicate {
        Predicate::Client(net) => !is_told && !is_everybody(&[*net]),
        Predicate::ClientCert(true) | Predicate::Fingerprint(_) => true,
        Predicate::All(all) => all.iter().any(|part| names_clients(part, is_told)),
        Predicate::Any(any) => {
            let net = |part: &Predicate| if let Predicate::Client(net) = part { Some(*net) } else { None };
            let nets: Vec<IpNet> = any.iter().filter_map(net).collect();
            any.iter().all(|part| names_clients(part, is_told)) && !is_everybody(&nets)
        }
        _ => false,
    }
}

/// Whether networks hold every address of a family together.
fn is_everybody(nets: &[IpNet]) -> bool {
    IpNet::aggregate(&nets.to_vec()).iter().any(|net| net.prefix_len() == 0)
}
