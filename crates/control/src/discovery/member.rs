//! From what a configuration names to servers that each have a place of their own.

use config::spec::{Server, ServerAddress, Tier};
use net::dns::Target;

use super::{Discovery, key};

/// The largest weight that a configuration may say, too.
const LARGEST_WEIGHT: u32 = 65_535;

impl Discovery {
    /// What a server of the configuration stands for: itself, or the servers of a source.
    pub(super) fn members(&self, said: &Server) -> Vec<Server> {
        self.listed(said).iter().flat_map(|server| self.serving(server)).collect()
    }

    /// The same, but for services, whose names are known only when files are read.
    pub(super) fn listed(&self, said: &Server) -> Vec<Server> {
        let ServerAddress::File(file) = &said.address else { return vec![said.clone()] };
        self.files.found(&key(file)).iter().map(|listed| lent(said, listed)).collect()
    }

    fn serving(&self, said: &Server) -> Vec<Server> {
        let ServerAddress::Service(name) = &said.address else { return vec![said.clone()] };
        let targets = self.services.found(name);
        // Sorted, as the targets are.
        let mut priorities: Vec<u16> = targets.iter().map(|target| target.priority).collect();
        priorities.dedup();
        let rank = |target: &Target| priorities.partition_point(|lower| *lower < target.priority);
        targets.iter().map(|target| serving(said, target, rank(target))).collect()
    }
}

/// A server of a file: what it says itself, then what the entry says that names the file.
fn lent(entry: &Server, listed: &Server) -> Server {
    Server {
        weight: weight(entry.weight, listed.weight),
        max_connections: listed.max_connections.or(entry.max_connections),
        tier: listed.tier.clone().or(&entry.tier),
        ..listed.clone()
    }
}

/// A server of a service: its place, its weight and its rank among the priorities are the records', everything else the
/// entry's. Clients must try the targets with the lowest number that they can reach (RFC 2782).
fn serving(entry: &Server, target: &Target, rank: usize) -> Server {
    Server {
        name: format!("{}:{}", target.host, target.port),
        address: ServerAddress::Name { host: target.host.clone(), port: target.port },
        weight: weight(entry.weight, u32::from(target.weight)),
        tier: Tier { level: level(entry.tier.level, rank), ..entry.tier.clone() },
        ..entry.clone()
    }
}

/// Records speak of numbers up to 65535, of which a service uses a few: only their order counts, from what the entry says on.
fn level(entry: Option<u32>, rank: usize) -> Option<u32> {
    match entry {
        Some(Tier::BACKUP) => entry,
        said => Some(said.unwrap_or(0).saturating_add(rank as u32).min(Tier::BACKUP - 1)),
    }
}

/// The weight of an entry is a factor for all of its servers. A record's weight 0 is a very small one, not none.
fn weight(entry: u32, own: u32) -> u32 {
    entry.saturating_mul(own).clamp(1, LARGEST_WEIGHT)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use config::spec::{ServersFile, Spec};
    use net::dns::Answer;

    use super::*;

    fn spec(servers: &str) -> Spec {
        let text = format!("listeners: {{ web: {{ bind: 127.0.0.1:1, to: p }} }}\npools: {{ p: {servers} }}\n");
        let loaded = config::load_text("t.yaml", &text, std::path::Path::new("/"), &|_| None);
        loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).spec
    }

    fn target(priority: u16, weight: u16, host: &str) -> Target {
        Target { priority, host: host.to_owned(), port: 80, weight }
    }

    fn learn(discovery: &mut Discovery, name: &str, found: Vec<Target>) {
        let answer = Answer { found, ttl: std::time::Duration::from_secs(1) };
        discovery.services.learn(name, Ok(answer), Instant::now(), |target| target.host.clone());
    }

    #[test]
    fn priorities_of_records_are_ranks() {
        let mut discovery = Discovery::default();
        learn(
            &mut discovery,
            "x",
            vec![target(10, 1, "a"), target(10, 1, "b"), target(500, 1, "c"), target(65_535, 1, "d")],
        );
        let levels = |servers: &str| -> Vec<Option<u32>> {
            let spec = discovery.expand(&spec(servers)).expect("a source");
            spec.pools[0].servers.iter().map(|server| server.tier.level).collect()
        };
        assert_eq!(levels("['srv:x']"), [0, 0, 1, 2].map(Some));
        assert_eq!(levels("[{ address: 'srv:x', priority: 7 }]"), [7, 7, 8, 9].map(Some));
        assert_eq!(levels("[{ address: 'srv:x', priority: 254 }]"), [254, 254, 255, 255].map(Some));
        assert_eq!(levels("[{ address: 'srv:x', backup: true }]"), [Tier::BACKUP; 4].map(Some));
    }

    #[test]
    fn a_service_stands_for_its_targets() {
        let mut discovery = Discovery::default();
        let targets = vec![target(10, 5, "a.x"), target(10, 0, "b.x"), target(10, 65_535, "d.x"), target(20, 9, "c.x")];
        learn(&mut discovery, "_http._tcp.x", targets);
        let spec = spec("[{ address: 'srv:_HTTP._tcp.x', weight: 2, max_connections: 7 }, 'b.x:80', '10.0.0.1:80']");
        let servers = discovery.expand(&spec).expect("a source").pools.remove(0).servers;
        let said: Vec<_> =
            servers.iter().map(|server| (server.name.as_str(), server.weight, server.max_connections)).collect();
        // The name that is there twice is one server, as the first says it.
        let wanted = [
            ("a.x:80", 10, Some(7)),
            ("b.x:80", 1, Some(7)),
            ("d.x:80", 65_535, Some(7)),
            ("c.x:80", 18, Some(7)),
            ("10.0.0.1:80", 1, None),
        ];
        assert_eq!(said, wanted);
    }

    #[test]
    fn without_sources_nothing_is_copied() {
        assert!(Discovery::default().expand(&spec("['a.x:80', '10.0.0.1:80']")).is_none());
    }

    #[test]
    fn a_file_s_servers_say_what_they_are_and_its_entry_the_rest() {
        let entry = spec("[{ address: 'srv:x', weight: 3, max_connections: 5 }]").pools.remove(0).servers.remove(0);
        let file = ServersFile { path: "/s.yaml".into(), name: "s.yaml".to_owned() };
        let entry = Server { address: ServerAddress::File(file), ..entry };
        let listed = spec("[{ address: 'a:1', weight: 2 }, { address: 'b:2', max_connections: 9 }, 'srv:y']");
        let mut discovery = Discovery::default();
        let answer = Answer { found: listed.pools[0].servers.clone(), ttl: std::time::Duration::from_secs(1) };
        discovery.files.learn("/s.yaml", Ok(answer), Instant::now(), |server| server.name.clone());
        learn(&mut discovery, "y", vec![target(1, 4, "c")]);
        let members: Vec<_> =
            discovery.members(&entry).into_iter().map(|m| (m.name, m.weight, m.max_connections)).collect();
        assert_eq!(members, [("a:1".into(), 6, Some(5)), ("b:2".into(), 3, Some(9)), ("c:80".into(), 12, Some(5))]);
    }
}
