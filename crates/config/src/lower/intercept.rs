//! Tunnels whose TLS ends here.

use std::time::Duration;

use super::Lower;
use crate::shape::Map;
use crate::spec::{HostPattern, Intercept, Listed, Predicate};

impl Lower<'_, '_> {
    /// How tunnels are read, if they are.
    pub(super) fn intercept(&mut self, listener: &Map, handshakes: Option<(Duration, u32)>) -> Option<Intercept> {
        let map = listener.map("intercept")?;
        let ca = map.map("ca");
        let cert = ca.and_then(|ca| ca.get("cert")).and_then(|value| self.file(value));
        let key = ca.and_then(|ca| ca.get("key")).and_then(|value| self.file(value));
        let upstream_ca = map.get("upstream_ca").and_then(|value| self.file(value));
        let except = map.get("except").map(|value| self.patterns(value, "except")).unwrap_or_default();
        let bypass_for = self.time(map, "bypass_for");
        let bypasses = map.fixed("on_failure") == Some("bypass");
        let (handshake_timeout, handshakes) = handshakes?;
        Some(Intercept {
            cert: cert?,
            key: key?,
            except,
            upstream_ca,
            bypass: if bypasses { Some(bypass_for?) } else { None },
            handshake_timeout,
            handshakes,
        })
    }

    fn patterns(&mut self, value: &crate::shape::Value, key: &str) -> Vec<HostPattern> {
        let flat = |predicate| match predicate {
            Predicate::Host(pattern) => vec![pattern],
            Predicate::Any(any) => any
                .into_iter()
                .filter_map(|one| match one {
                    Predicate::Host(pattern) => Some(pattern),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        self.hosts(value, key, Predicate::Host, Listed::Host).map(flat).unwrap_or_default()
    }
}
