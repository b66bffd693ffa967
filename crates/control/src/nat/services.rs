//! From the configuration and what is known of its servers to what the kernel runs by. Nothing here asks the kernel.

use std::net::SocketAddr;
use std::sync::Arc;

use config::spec::{Bind, BindAddress, Nat, NatMode, Role, Spec, Transport};
use kernel::{Mode, Server, Service};
use net::Address;
use proxy::pool::Pool;

/// The services of all listeners of packets, by pools as they were compiled from this configuration.
pub fn services(spec: &Spec, pools: &[Arc<Pool>]) -> Vec<Service> {
    let mut services = Vec::new();
    for listener in spec.listeners.iter().filter(|listener| listener.role == Role::Nat) {
        let (Some(nat), Some(id)) = (&listener.nat, listener.packets_to()) else { continue };
        let Some(pool) = pools.get(id.0) else { continue };
        let idle = spec.pool(id).timeouts.flow.or(listener.timeouts.flow);
        for bind in &listener.binds {
            let BindAddress::Ip(address) = bind.address else { continue };
            services.push(Service {
                name: title(&listener.name, bind).into(),
                address,
                transport: match bind.transport {
                    Transport::Tcp => kernel::Transport::Tcp,
                    Transport::Udp => kernel::Transport::Udp,
                },
                mode: match nat.mode {
                    NatMode::Full => Mode::Full,
                    NatMode::Dnat => Mode::Dnat,
                    NatMode::Dsr => Mode::Dsr,
                },
                sources: nat.sources.iter().filter(|ip| ip.is_ipv4() == address.is_ipv4()).copied().collect(),
                servers: servers(pool, nat, address),
                idle: idle.unwrap_or(bind.transport.idle()),
            });
        }
    }
    services
}

/// What counters of an address of a listener are told under.
fn title(listener: &str, bind: &Bind) -> String {
    format!("{listener} {}/{}", bind.address, bind.transport.word())
}

/// The servers that packets for an address can be sent to: names and lists may stand for others, too, of another family, at
/// loopback, where no packet comes from outside, or of another port where none is rewritten. Whoever is drained or not well keeps its connections and gets no new ones.
fn servers(pool: &Pool, nat: &Nat, asked: SocketAddr) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    for server in &pool.servers {
        let Address::Tcp(address) = server.id.address else { continue };
        let fits = address.is_ipv4() == asked.is_ipv4() && address != asked && !address.ip().is_loopback();
        if !fits || (nat.mode == NatMode::Dsr && address.port() != asked.port()) {
            continue;
        }
        let weight = if server.is_usable() { server.weight() } else { 0 };
        // Two names of one address are one server to the kernel.
        match servers.iter_mut().find(|known| known.address == address) {
            Some(known) => known.weight = known.weight.saturating_add(weight),
            None => servers.push(Server { name: (*server.id.name).into(), address, weight }),
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::certificates::Keyring;
    use crate::discovery::Discovery;
    use crate::registry::Registry;
    use crate::room::Room;
    use crate::users::Directory;

    fn compiled(text: &str) -> (Spec, Vec<Arc<Pool>>) {
        let loaded = config::load_text("t.yaml", text, Path::new("."), &|_| None);
        let spec = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).spec;
        let (mut registry, room) = (Registry::new(1), Room { connections: 1000, ports: 1000 });
        let lists = Arc::new(proxy::lists::Lists::none());
        let given = crate::compile::Given {
            discovery: &Discovery::default(),
            lists: &lists,
            keyring: &Keyring::default(),
            directory: &Directory::default(),
        };
        let compiled = crate::compile::compile(&spec, given, &mut registry, 1, room);
        registry.commit(&compiled.servers, std::time::Instant::now());
        (spec, compiled.pools)
    }

    const TWO: &str = "\
listeners:
  vip:
    role: nat
    bind: ['192.0.2.1:80/tcp', '[2001:db8::1]:80/udp']
    interfaces: eth0
    source: [192.0.2.2, '2001:db8::2']
    to: web
pools:
  web:
    servers:
      a: { address: '192.0.2.11:8080', weight: 3 }
      b: '[2001:db8::11]:8080'
      c: '192.0.2.12:8080'
      d: '192.0.2.12:8080'
";

    #[test]
    fn each_address_is_a_service_with_servers_of_its_family() {
        let (spec, pools) = compiled(TWO);
        let services = services(&spec, &pools);
        let shown: Vec<_> = services
            .iter()
            .map(|one| {
                let servers = one.servers.iter().map(|server| format!("{}={}", server.name, server.weight));
                (
                    &*one.name,
                    one.transport,
                    one.sources.len(),
                    one.idle.as_secs(),
                    servers.collect::<Vec<_>>().join(" "),
                )
            })
            .collect();
        let wanted = [
            ("vip 192.0.2.1:80/tcp", kernel::Transport::Tcp, 1, 3600, "a=3 c=2".to_owned()),
            ("vip [2001:db8::1]:80/udp", kernel::Transport::Udp, 1, 60, "b=1".to_owned()),
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn whoever_gets_nothing_new_stays_with_no_weight() {
        let (spec, pools) = compiled(TWO);
        pools[0].servers[0].set_drained(true);
        pools[0].servers[2].set_checked_down(true);
        let weights = |services: &[Service]| services[0].servers.iter().map(|one| one.weight).collect::<Vec<_>>();
        assert_eq!(weights(&services(&spec, &pools)), [0, 1]);
        pools[0].servers[0].set_drained(false);
        assert_eq!(weights(&services(&spec, &pools)), [3, 1]);
    }

    #[test]
    fn the_nearest_level_says_how_long_flows_may_be_silent() {
        let of_listener = TWO.replace("    to: web", "    timeouts: { flow: 5s }\n    to: web");
        let (spec, pools) = compiled(&of_listener);
        assert!(services(&spec, &pools).iter().all(|one| one.idle == Duration::from_secs(5)));
        let of_pool = of_listener + "    timeouts: { flow: 7s }\n";
        let (spec, pools) = compiled(&of_pool);
        assert!(services(&spec, &pools).iter().all(|one| one.idle == Duration::from_secs(7)));
    }

    #[test]
    fn what_another_serves_is_no_service() {
        let (spec, pools) = compiled(TWO);
        let stand_ins = [("vip".to_owned(), "no capabilities".to_owned())].into();
        let spec = super::super::in_force(&spec, &stand_ins);
        assert_eq!(services(&spec, &pools), Vec::new());
        assert_eq!(spec.listeners[0].role, Role::Tcp);
    }
}
