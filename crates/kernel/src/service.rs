//! What is to be in force, and what it must be before the kernel is asked: an address and a transport, how packets are
//! rewritten, and the servers.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::Refusal;

/// An address of ours and the servers behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What counters are told under.
    pub name: Box<str>,
    /// What clients connect to. It need not be an address of this machine, as long as packets for it arrive here.
    pub address: SocketAddr,
    /// The protocol.
    pub transport: Transport,
    /// What becomes of packets.
    pub mode: Mode,
    /// Under [`Mode::Full`] the addresses that servers see, 1 to [`Service::SOURCES`]; otherwise none.
    pub sources: Vec<IpAddr>,
    /// Who serves; without any that has weight, new connections are dropped and counted.
    pub servers: Vec<Server>,
    /// After how much silence a connection is forgotten. Connections that were never established, or that have ended,
    /// are forgotten sooner: see [`crate::expiry`].
    pub idle: Duration,
}

/// A server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name. With the address it decides the server's places in the table, so that every node chooses alike.
    pub name: Box<str>,
    /// Where it is; under [`Mode::Dsr`] its port is the service's.
    pub address: SocketAddr,
    /// Its share of new connections; 0: it keeps its connections and gets no new ones.
    pub weight: u32,
}

/// The protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Connections of TCP.
    Tcp,
    /// Datagrams; what has the same addresses and ports is one connection.
    Udp,
}

/// What becomes of the packets of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Both addresses are rewritten: servers see ours and answer to it.
    Full,
    /// The destination is rewritten: servers see the client and must route their answers through this machine.
    Dnat,
    /// Nothing but the Ethernet address: servers have the service's address themselves and answer the client directly.
    Dsr,
}

impl Service {
    /// The most sources of a service.
    pub const SOURCES: usize = 16;
    /// The most services.
    pub const MOST: usize = 1024;
    /// The most servers over all services, counted once for each service, those included that only keep connections.
    pub const SERVERS: usize = 4096;
    /// The most pairs of server and source over all services of [`Mode::Full`].
    pub const PAIRS: usize = 16_384;
}

/// Whether all of these can be in force together.
pub(crate) fn judge(services: &[Service]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for service in services {
        let refuse = |why: String| Err(Refusal::Service { name: service.name.clone(), why });
        if !seen.insert((service.address, service.transport)) {
            return refuse(format!("another service has its address: {}", service.address));
        }
        if service.address.ip().is_unspecified() || service.address.port() == 0 {
            return refuse(format!("it needs one address and a port: {}", service.address));
        }
        let family = service.address.is_ipv4();
        let sources = service.sources.len();
        if service.mode == Mode::Full && !(1..=Service::SOURCES).contains(&sources) {
            return refuse(format!("full NAT needs 1 to {} source addresses: {sources}", Service::SOURCES));
        }
        if service.mode != Mode::Full && sources > 0 {
            return refuse(format!("only full NAT has source addresses: {sources}"));
        }
        if let Some(source) = service.sources.iter().find(|source| source.is_ipv4() != family) {
            return refuse(format!("a source address of the other family: {source}"));
        }
        for server in &service.servers {
            if server.address.is_ipv4() != family {
                return refuse(format!(
                    "server `{}` has an address of the other family: {}",
                    server.name, server.address
                ));
            }
            if server.address.ip().is_unspecified() || server.address.port() == 0 {
                return refuse(format!("server `{}` needs an address and a port: {}", server.name, server.address));
            }
            if service.mode == Mode::Dsr && server.address.port() != service.address.port() {
                return refuse(format!(
                    "under direct return server `{}` must have the port of the service: {}",
                    server.name,
                    server.address.port()
                ));
            }
        }
        let addresses: HashSet<SocketAddr> = service.servers.iter().map(|server| server.address).collect();
        if addresses.len() < service.servers.len() {
            return refuse("two servers have one address".to_owned());
        }
    }
    let count = |of: fn(&Service) -> usize| services.iter().map(of).sum::<usize>();
    let bounds = [
        ("services", services.len(), Service::MOST),
        ("servers", count(|service| service.servers.len()), Service::SERVERS),
        ("pairs of server and source", count(|service| service.servers.len() * service.sources.len()), Service::PAIRS),
    ];
    match bounds.into_iter().find(|(_, count, most)| count > most) {
        Some((what, count, most)) => Err(Refusal::TooMany { what, count, most }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(mode: Mode) -> Service {
        Service {
            name: "web".into(),
            address: "198.18.0.1:80".parse().expect("an address"),
            transport: Transport::Tcp,
            mode,
            sources: match mode {
                Mode::Full => vec!["198.18.1.1".parse().expect("an address")],
                _ => Vec::new(),
            },
            servers: vec![Server {
                name: "a".into(),
                address: "198.18.1.11:80".parse().expect("an address"),
                weight: 1,
            }],
            idle: Duration::from_secs(60),
        }
    }

    #[test]
    fn what_cannot_be_in_force_is_refused_by_name() {
        let wrong = |change: fn(&mut Service)| {
            let mut changed = service(Mode::Full);
            change(&mut changed);
            judge(&[changed]).expect_err("a refusal").to_string()
        };
        assert_eq!(
            judge(&[service(Mode::Full), { Service { transport: Transport::Udp, ..service(Mode::Dsr) } }]),
            Ok(())
        );
        for (said, wanted) in [
            (wrong(|service| service.sources.clear()), "service `web`: full NAT needs 1 to 16 source addresses: 0"),
            (wrong(|service| service.mode = Mode::Dnat), "service `web`: only full NAT has source addresses: 1"),
            (
                wrong(|service| service.sources = vec!["2001:2::1".parse().expect("an address")]),
                "service `web`: a source address of the other family: 2001:2::1",
            ),
            (
                wrong(|service| service.servers[0].address = "[2001:2::b]:80".parse().expect("an address")),
                "service `web`: server `a` has an address of the other family: [2001:2::b]:80",
            ),
            (
                wrong(|service| service.address = "0.0.0.0:80".parse().expect("an address")),
                "service `web`: it needs one address and a port: 0.0.0.0:80",
            ),
            (
                wrong(|service| service.servers.push(service.servers[0].clone())),
                "service `web`: two servers have one address",
            ),
            (
                wrong(|service| {
                    (service.mode, service.sources) = (Mode::Dsr, Vec::new());
                    service.servers[0].address.set_port(8080);
                }),
                "service `web`: under direct return server `a` must have the port of the service: 8080",
            ),
        ] {
            assert_eq!(said, wanted);
        }
        let twice = judge(&[service(Mode::Full), service(Mode::Dsr)]).expect_err("a refusal").to_string();
        assert_eq!(twice, "service `web`: another service has its address: 198.18.0.1:80");
    }

    #[test]
    fn every_table_is_bounded() {
        let mut many = service(Mode::Full);
        many.servers = (0..4097_u16)
            .map(|number| Server {
                name: number.to_string().into(),
                address: SocketAddr::new(many.servers[0].address.ip(), number + 1),
                weight: 1,
            })
            .collect();
        let said = judge(std::slice::from_ref(&many)).expect_err("a refusal").to_string();
        assert_eq!(said, "too many servers for the kernel's tables, at most 4096: 4097");
        many.servers.truncate(4096);
        many.sources = (1..=5).map(|last| IpAddr::from([198, 18, 1, last])).collect();
        let said = judge(&[many]).expect_err("a refusal").to_string();
        assert_eq!(said, "too many pairs of server and source for the kernel's tables, at most 16384: 20480");
    }
}
