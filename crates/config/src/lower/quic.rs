//! How clients of QUIC are known again, and how pools choose that only flows of UDP reach.

use std::collections::HashSet;

use super::{Lower, flows};
use crate::shape::{Map, Value};
use crate::spec::{Algorithm, Listener, Pool, PoolId, Quic, Role, Server, Site};

/// How many ids are remembered where nothing is said.
const MOST: usize = 100_000;
/// The longest id of a connection (RFC 9000 section 17.2).
const LONGEST: usize = 20;

impl Lower<'_, '_> {
    /// What a pool with these servers says of it.
    pub(super) fn quic(&mut self, pool: &Map, servers: &[Server]) -> Option<Quic> {
        let Some(map) = pool.map("quic") else {
            self.refuse_idle_ids(servers);
            return None;
        };
        match map.fixed("ids")? {
            "learn" => {
                for key in ["offset", "length"] {
                    if let Some(value) = map.get(key) {
                        self.note(value, format!("`{key}` of {} is for `ids: encoded`, remove it", map.label));
                    }
                }
                self.refuse_idle_ids(servers);
                let most = map.integer("max").and_then(|most| usize::try_from(most).ok());
                Some(Quic::Learned { most: most.unwrap_or(MOST) })
            }
            _ => {
                if let Some(value) = map.get("max") {
                    self.note(value, format!("`max` of {} is for `ids: learn`, remove it", map.label));
                }
                self.encoded(map, servers)
            }
        }
    }

    fn encoded(&mut self, map: &Map, servers: &[Server]) -> Option<Quic> {
        let known = servers.iter().filter_map(|server| Some(server.quic_id.as_ref()?.len())).find(|length| *length > 0);
        let length = map.integer("length").and_then(|length| usize::try_from(length).ok()).or(known);
        let Some(length) = length else {
            let message =
                format!("{} is `encoded` and no server says what it writes, give each a `quic_id`", map.label);
            self.mistakes.note(&map.span, message);
            return None;
        };
        let mut seen = HashSet::new();
        for server in servers.iter().filter(|server| !server.address.is_source()) {
            let said = match &server.quic_id {
                None => format!("server `{}` has no `quic_id`, which {} looks for", server.name, map.label),
                // It was reported.
                Some(id) if id.is_empty() => continue,
                Some(id) if id.len() != length => {
                    format!(
                        "`quic_id` of server `{}` has {} bytes, {} looks for {length}",
                        server.name,
                        id.len(),
                        map.label
                    )
                }
                Some(id) if !seen.insert(id) => {
                    format!("`quic_id` of server `{}` is that of another, give it one of its own", server.name)
                }
                Some(_) => continue,
            };
            self.mistakes.note(&server.span, said);
        }
        let offset = map.integer("offset").and_then(|offset| usize::try_from(offset).ok()).unwrap_or(1);
        if offset + length > LONGEST {
            let message = format!(
                "{} ends behind an id's last byte: `offset` and `length` are {} together, the most is {LONGEST}",
                map.label,
                offset + length
            );
            self.mistakes.note(&map.span, message);
        }
        Some(Quic::Encoded { offset, length })
    }

    fn refuse_idle_ids(&mut self, servers: &[Server]) {
        for server in servers.iter().filter(|server| server.quic_id.is_some()) {
            let message =
                format!("`quic_id` of server `{}` does nothing without `quic: {{ ids: encoded }}`", server.name);
            self.mistakes.note(&server.span, message);
        }
    }

    /// What a server writes into its ids.
    pub(super) fn quic_id(&mut self, value: &Value) -> Option<Vec<u8>> {
        let text = value.fixed()?;
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let bytes = digits.filter(|digits| (2..2 * LONGEST).contains(&digits.len()) && digits.len().is_multiple_of(2));
        let Some(bytes) = bytes else {
            self.note(value, format!("`quic_id` is no even number of hexadecimal digits, such as `0a1b`: `{text}`"));
            return None;
        };
        Some(bytes.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    }

    /// Flows of UDP are spread by a hash where nothing else is said: the kernel gives them to workers, and nodes to one another, so that
    /// whoever gets them should choose alike.
    pub(super) fn spread_datagrams(&mut self, listeners: &[Listener], sites: &[Site], pools: &mut [Option<Pool>]) {
        let is_udp = |listener: &&Listener| listener.role == Role::Udp;
        let by_udp = flows::reached(listeners.iter().filter(is_udp), &[]);
        let by_others = flows::reached(listeners.iter().filter(|listener| !is_udp(listener)), sites);
        // The kernel chooses in one way alone.
        let by_packets: Vec<_> = listeners.iter().filter_map(Listener::packets_to).collect();
        let items = self.top.named("pools");
        for (number, pool) in pools.iter_mut().enumerate() {
            let Some(pool) = pool else { continue };
            let id = PoolId(number);
            // Listeners and routes that are faulty are missing: then it is not known whether one leads to it.
            if pool.quic.is_some() && !by_udp.contains(&id) && !pool.implicit && self.mistakes.0.is_empty() {
                let message =
                    format!("`quic` of pool `{}` does nothing: no listener with `role: udp` leads to it", pool.name);
                self.mistakes.note(&pool.span, message);
            }
            let said = items.get(number).and_then(|item| item.value.map()).or(Some(self.bare_pool));
            let is_said = said.and_then(|map| map.map("balance")).is_some_and(|balance| balance.has("algorithm"));
            let is_spread = by_packets.contains(&id) || (by_udp.contains(&id) && !by_others.contains(&id));
            if is_spread && !is_said {
                pool.balance.algorithm = Algorithm::Maglev;
            }
        }
    }
}
