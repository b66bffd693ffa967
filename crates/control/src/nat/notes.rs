//! What an operator should know of listeners of packets, though nothing is wrong with the configuration.

use std::collections::BTreeSet;

use config::spec::{Role, Server, Spec};

/// Everything worth a warning, by the servers that lists of them name for now.
pub(super) fn notes(spec: &Spec) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for listener in spec.listeners.iter().filter(|listener| listener.role == Role::Nat) {
        for source in listener.nat.iter().flat_map(|nat| &nat.sources) {
            if !net::listen::is_delivered(*source).unwrap_or(false) {
                notes.insert(format!(
                    "`source` of listener `{}` is no address of this host: answers of servers come here only if something routes them: \
                     {source}",
                    listener.name
                ));
            }
        }
        let Some(pool) = listener.packets_to().map(|id| spec.pool(id)) else { continue };
        for server in &pool.servers {
            if let Some(key) = in_vain(server) {
                notes.insert(format!(
                    "`{key}` of server `{}` in pool `{}` does nothing for the packets of listener `{}`",
                    server.name, pool.name, listener.name
                ));
            }
        }
    }
    notes
}

/// What the configuration could not say, and a list of servers that somebody else keeps says all the same.
fn in_vain(server: &Server) -> Option<&'static str> {
    match () {
        () if server.max_connections.is_some() => Some("max_connections"),
        () if server.tier.level.is_some_and(|level| level > 0) => Some("priority"),
        () if server.tier.zone.is_some() => Some("zone"),
        () => None,
    }
}
