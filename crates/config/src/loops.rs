//! Servers that are listeners of the same document: what a listener sends to itself comes round until a limit ends it.

use std::net::IpAddr;

use crate::diagnostics::Mistake;
use crate::lower::reached;
use crate::spec::{Bind, BindAddress, Listener, Role, ServerAddress, Serves, Spec, Transport};

/// Servers of listeners that are these listeners themselves.
pub(crate) fn loops(spec: &Spec) -> Vec<Mistake> {
    // Packets that the kernel rewrites do not come to an address of this host a second time.
    spec.listeners.iter().filter(|listener| listener.role != Role::Nat).flat_map(|one| of_listener(spec, one)).collect()
}

fn of_listener(spec: &Spec, listener: &Listener) -> Vec<Mistake> {
    let served = match &listener.serves {
        Serves::Sites(ids) => ids.iter().filter_map(|id| spec.sites.get(id.0)).collect(),
        Serves::Routes(_) => Vec::new(),
    };
    let transport = if listener.role == Role::Udp { Transport::Udp } else { Transport::Tcp };
    let binds: Vec<&Bind> = listener.binds.iter().filter(|bind| bind.transport == transport).collect();
    let pools = reached(std::iter::once(listener), served);
    let servers = pools.iter().filter_map(|id| spec.pools.get(id.0)).flat_map(|pool| {
        let itself = |address: &ServerAddress| binds.iter().any(|bind| is_at(&bind.address, address));
        pool.servers.iter().filter(move |server| itself(&server.address)).map(move |server| (pool, server))
    });
    let said = |(pool, server): (&crate::spec::Pool, &crate::spec::Server)| {
        let message = format!(
            "server `{}` of pool `{}` is listener `{}` itself ({}), which sends it what it gets: that is a loop",
            server.name, pool.name, listener.name, listener.span
        );
        Mistake::new(server.span.clone(), message)
    };
    servers.map(said).collect()
}

/// Whether who connects to a server comes to this address. Addresses of this host that are not written in the document are not known here.
fn is_at(bind: &BindAddress, server: &ServerAddress) -> bool {
    let (ip, port) = match server {
        ServerAddress::Ip(address) => (address.ip().to_canonical(), address.port()),
        ServerAddress::Name { host, port } if host == "localhost" => (IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), *port),
        ServerAddress::Unix(path) => {
            return path.is_absolute() && matches!(bind, BindAddress::Unix { path: at, .. } if at == path);
        }
        ServerAddress::Name { .. } | ServerAddress::Service(_) | ServerAddress::File(_) => return false,
    };
    let is_here = ip.is_loopback() || ip.is_unspecified();
    match bind {
        BindAddress::AnyFamily(at) => *at == port && is_here,
        BindAddress::Ip(at) => {
            let own = at.ip().to_canonical();
            let is_wide = own.is_unspecified() && (own.is_ipv6() || ip.is_ipv4());
            at.port() == port && (own == ip || (is_wide && is_here))
        }
        BindAddress::Unix { .. } => false,
    }
}
