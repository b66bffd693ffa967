//! Listeners.

use std::time::Duration;

use super::ending::ENDINGS;
use super::levels::Levels;
use super::template::Needs;
use super::{Lower, PlacedSite, address, sites_of};
use crate::shape::{Item, Map, Value};
use crate::spec::{
    Admin, AdminBind, Bind, BindAddress, BindTls, ForwardClient, ForwardFormat, Forwarding, HeadLimits, Http3,
    HttpVersion, Listener, Role, Serves, Transport,
};

impl<'a> Lower<'a, '_> {
    pub(super) fn listeners(&mut self, sites: &[PlacedSite]) -> Vec<Listener> {
        let top = self.top;
        let listener = |item: &'a Item| {
            let map = item.value.map()?;
            // Whatever is read below it is of this role.
            self.role = map.fixed("role").and_then(Role::of).unwrap_or_default();
            self.listener(item, map, sites)
        };
        let listeners = top.named("listeners").iter().filter_map(listener).collect();
        self.role = Role::default();
        listeners
    }

    fn listener(&mut self, item: &'a Item, map: &'a Map, sites: &[PlacedSite]) -> Option<Listener> {
        let role = self.role;
        let uses = self.uses(map, Needs::default());
        let serves = self.serves(item, map, sites);
        let Levels { timeouts, retries, limits, .. } = self.levels(map);
        let times = map.map("timeouts");
        let request_head_timeout = match role {
            Role::Http | Role::Forward | Role::Tcp => times.and_then(|times| self.time(times, "request_head")),
            Role::Udp | Role::Nat => Some(Duration::MAX),
        };
        let keep_alive_timeout = match role {
            Role::Http | Role::Forward => times.and_then(|times| self.time(times, "keep_alive")),
            Role::Tcp | Role::Udp | Role::Nat => Some(Duration::MAX),
        };
        let handshake_timeout = times.and_then(|times| self.time(times, "tls_handshake"));
        let handshakes = map.map("limits").and_then(|limits| limits.small("handshakes"));
        let handshakes = handshake_timeout.zip(handshakes);
        let tls = self.listener_tls(map, handshakes).and_then(|said| said);
        let binds: Vec<Bind> =
            map.list("bind").iter().filter_map(|value| self.bind(value, map, tls.is_some(), handshakes)).collect();
        self.binds.extend(binds.iter().map(|bind| (bind.clone(), item.key.as_str())));
        self.refuse_unasked(item, &uses, &serves, &binds);
        let http3 = match role {
            Role::Http => map.map("http3").and_then(|map| self.http3(map)),
            Role::Forward | Role::Tcp | Role::Udp | Role::Nat => Some(Http3::UNSAID),
        };
        self.check_h3(item, map, tls.as_ref(), &binds);
        let forwarding = match role {
            Role::Http | Role::Forward => map.map("forwarding").and_then(|map| self.forwarding(map)),
            Role::Tcp | Role::Udp | Role::Nat => Some(Forwarding::NOTHING),
        };
        self.refuse_open(item, map, &uses, &serves, &binds, forwarding.as_ref());
        let nat = match role {
            Role::Http | Role::Forward | Role::Tcp | Role::Udp => None,
            Role::Nat => Some(self.nat(map, &binds)?),
        };
        let egress = match role {
            Role::Forward => Some(self.egress(map)?),
            Role::Http | Role::Tcp | Role::Udp | Role::Nat => None,
        };
        let pac = map.map("pac").map(|said| self.pac(said, tls.is_some()));
        let intercept = self.intercept(map, handshakes);
        let inspect = self.inspect(map);
        let coalesce = map.map("coalesce").and_then(|map| self.coalesce(map));
        // Whatever is missing below was reported; what is above is checked all the same.
        Some(Listener {
            name: item.key.clone(),
            span: item.span.clone(),
            role,
            binds,
            http: self.versions(map, tls.is_some()),
            http3: http3?,
            head: head_limits(role, map.map("limits"))?,
            tls,
            request_head_timeout: request_head_timeout?,
            keep_alive_timeout: keep_alive_timeout?,
            timeouts,
            retries,
            limits,
            forwarding: forwarding?,
            coalesce,
            egress,
            pac,
            intercept,
            inspect,
            uses,
            nat,
            serves,
        })
    }

    fn bind(
        &mut self,
        value: &'a Value,
        listener: &Map,
        secured: bool,
        handshakes: Option<(Duration, u32)>,
    ) -> Option<Bind> {
        if self.role == Role::Nat {
            return self.nat_bind(value, listener);
        }
        let label = &listener.label;
        let (tls, secured) = match value.map().filter(|map| map.has("tls")) {
            None => (BindTls::Inherited, secured),
            Some(map) => match self.listener_tls(map, handshakes)? {
                None => (BindTls::Off, false),
                Some(own) => (BindTls::Own(Box::new(own)), true),
            },
        };
        let accept_proxy: Vec<_> = value
            .map()
            .and_then(|map| map.map("accept_proxy"))
            .map(|map| map.list("from").iter().filter_map(|value| self.network(value)).collect())
            .unwrap_or_default();
        let transparent = value.map().and_then(|map| map.get("transparent"));
        let (value, mode) = match value.map() {
            Some(map) => (map.get("address")?, map.get("mode")),
            None => (value, None),
        };
        let mut address = match address::bind(value.fixed()?) {
            Ok(address) => address,
            Err(why) => {
                self.note(value, format!("`bind` of {label}: {why}"));
                return None;
            }
        };
        if let Some(written) = mode {
            let bits = written.fixed().and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|bits| *bits <= 0o777);
            match (&mut address, bits) {
                (_, None) => self.note(
                    written,
                    format!("`bind` of {label}: the mode is no octal number up to 0777, such as `0660`"),
                ),
                (BindAddress::Unix { mode, .. }, bits) => *mode = bits,
                _ => self.note(written, format!("`bind` of {label}: only a Unix socket has a `mode`, remove it")),
            }
        }
        if !accept_proxy.is_empty() && matches!(address, BindAddress::Unix { .. }) {
            self.note(value, format!("`accept_proxy` of {label}: peers on a Unix socket have no address, remove it"));
        }
        if self.role == Role::Udp && matches!(address, BindAddress::Unix { .. }) {
            self.note(
                value,
                format!("`bind` of {label}: a Unix socket has no datagrams here, with `role: udp` give it a port"),
            );
        }
        let http = self.versions(listener, secured);
        if !accept_proxy.is_empty() && http.contains(&HttpVersion::H3) {
            self.note(
                value,
                format!("`accept_proxy` of {label}: nothing precedes a connection of `h3`, take one of them out"),
            );
        }
        let is_plain = !secured && accept_proxy.is_empty();
        let transparent = transparent.and_then(|word| self.transparent(word, &address, is_plain, label));
        let transport = if self.role == Role::Udp { Transport::Udp } else { Transport::Tcp };
        Some(Bind { address, transport, tls, http, accept_proxy, transparent, span: value.span.clone() })
    }

    /// A listener has routes, or an ending of its own, or sites.
    fn serves(&mut self, item: &Item, map: &'a Map, sites: &[PlacedSite]) -> Serves {
        let own = map.items.iter().find(|item| ENDINGS.contains(&item.key.as_str()));
        let by_name = sites_of(sites, &item.key);
        match (own, by_name.first().and_then(|id| sites.get(id.0))) {
            (Some(own), Some((site, _))) => {
                let message = format!(
                    "listener `{}` has `{}` and is named by site `{}` ({}), it can have only one of them",
                    item.key, own.key, site.name, site.span
                );
                self.mistakes.note(&own.span, message);
                Serves::Routes(self.own_routes(map))
            }
            (Some(_), None) => Serves::Routes(self.own_routes(map)),
            (None, Some((site, _))) if self.role != Role::Http => {
                let ending = if self.role.has("listener", "routes") { "`routes` or an ending" } else { "`to`" };
                let message = format!(
                    "listener `{}` is named by site `{}` ({}), but sites are of HTTP and its role is `{}`: give it {ending}",
                    item.key,
                    site.name,
                    site.span,
                    self.role.word()
                );
                self.mistakes.note(&item.span, message);
                Serves::Routes(Vec::new())
            }
            (None, Some(_)) => Serves::Sites(by_name),
            (None, None) => {
                let is_named = |site: &Item| {
                    let names = site.value.map().map(|site| site.list("listeners")).unwrap_or_default();
                    names.iter().any(|name| name.is_faulty() || name.fixed() == Some(&item.key))
                };
                // A site that is faulty itself still names its listeners.
                if self.role == Role::Nat {
                    let message = format!("listener `{}` serves nothing, give it `to` with a pool", item.key);
                    self.mistakes.note(&item.span, message);
                } else if !self.top.named("sites").iter().any(is_named) {
                    let message = format!(
                        "listener `{}` serves nothing, give it `routes`, an ending such as `to`, or name it in `listeners` of a site",
                        item.key
                    );
                    self.mistakes.note(&item.span, message);
                }
                Serves::Routes(Vec::new())
            }
        }
    }

    /// No address is listened on twice; a port 0 is another each time.
    pub(super) fn refuse_shared_binds(&mut self, admin: Option<&Admin>) {
        for (n, (bind, name)) in self.binds.iter().enumerate() {
            if let Some((first, owner)) = self.binds[..n].iter().find(|(first, _)| is_shared(first, bind)) {
                let message =
                    format!("listener `{name}` listens where `{owner}` already does ({}), change one", first.span);
                self.mistakes.note(&bind.span, message);
            }
        }
        let Some(admin) = admin else { return };
        let address = match &admin.bind {
            AdminBind::Loopback(address) => BindAddress::Ip(*address),
            AdminBind::Unix(path) => BindAddress::Unix { path: path.clone(), mode: None },
        };
        let by_tcp = self.binds.iter().filter(|(bind, _)| has(bind, Transport::Tcp));
        if let Some((first, owner)) = by_tcp.into_iter().find(|(first, _)| overlap(&first.address, &address)) {
            let message = format!("`admin` listens where listener `{owner}` already does ({}), change one", first.span);
            self.mistakes.note(&admin.span, message);
        }
    }

    fn versions(&self, map: &Map, secured: bool) -> Vec<HttpVersion> {
        if !self.role.has_requests() {
            return Vec::new();
        }
        let mut versions: Vec<_> = map.list("http").iter().filter_map(version).collect();
        // There is no HTTP/3 without TLS.
        versions.retain(|version| secured || *version != HttpVersion::H3);
        if versions.is_empty() {
            versions = SERVED[usize::from(!secured)].to_vec();
        }
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    fn forwarding(&mut self, map: &Map) -> Option<Forwarding> {
        let trust = map.list("trust").iter().filter_map(|value| self.network(value)).collect();
        let mut identifying = Vec::new();
        for value in map.list("identifying") {
            identifying.extend(value.fixed().and_then(|text| self.free_field_names(text, &value.span)));
        }
        Some(Forwarding {
            client: match map.fixed("client")? {
                "append" => ForwardClient::Append,
                "replace" => ForwardClient::Replace,
                "keep" => ForwardClient::Keep,
                _ => ForwardClient::None,
            },
            via: map.boolean("via")?,
            format: match map.fixed("format")? {
                "rfc7239" => ForwardFormat::Rfc7239,
                "both" => ForwardFormat::Both,
                _ => ForwardFormat::XForwarded,
            },
            trust,
            identifying: map.has("identifying").then_some(identifying),
        })
    }
}

/// What is served where a listener does not say: first under TLS, then without it.
const SERVED: [&[HttpVersion]; 2] = [&[HttpVersion::H1, HttpVersion::H2], &[HttpVersion::H1]];

pub(super) fn version(value: &Value) -> Option<HttpVersion> {
    Some(match value.fixed()? {
        "h2" => HttpVersion::H2,
        "h3" => HttpVersion::H3,
        _ => HttpVersion::H1,
    })
}

/// Whether two listen at one address by one transport.
fn is_shared(a: &Bind, b: &Bind) -> bool {
    let both = |transport| has(a, transport) && has(b, transport);
    overlap(&a.address, &b.address) && (both(Transport::Tcp) || both(Transport::Udp))
}

fn has(bind: &Bind, transport: Transport) -> bool {
    bind.transport == transport || (transport == Transport::Udp && bind.http.contains(&HttpVersion::H3))
}

fn overlap(a: &BindAddress, b: &BindAddress) -> bool {
    match (a, b) {
        (BindAddress::Ip(a), BindAddress::Ip(b)) => a == b && a.port() != 0,
        (BindAddress::AnyFamily(a), BindAddress::AnyFamily(b)) => a == b && *a != 0,
        (BindAddress::AnyFamily(port), BindAddress::Ip(ip)) | (BindAddress::Ip(ip), BindAddress::AnyFamily(port)) => {
            *port != 0 && ip.port() == *port && ip.ip().is_unspecified()
        }
        (BindAddress::Unix { path: a, .. }, BindAddress::Unix { path: b, .. }) => a == b,
        _ => false,
    }
}

fn head_limits(role: Role, map: Option<&Map>) -> Option<HeadLimits> {
    if !role.has_requests() {
        // A flow has no head, and packets have no connection here.
        let connections = map.and_then(|map| map.small("connections"));
        return Some(HeadLimits { request_head: 0, request_line: 0, fields: 0, connections });
    }
    let map = map?;
    Some(HeadLimits {
        request_head: map.size("request_head")?,
        request_line: map.size("request_line")?,
        fields: map.small("fields")?,
        connections: map.small("connections"),
    })
}
