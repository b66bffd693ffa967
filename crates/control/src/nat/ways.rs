//! Where the packets of servers and clients come in, as the routes are for now, beside the interfaces that listeners name: what
//! comes in by another one passes as if nobody were there, and a client waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use config::spec::{BindAddress, Listener, NatMode, Role, ServerAddress, Spec};
use net::route::{Routes, Way};

/// What should be known of the ways to servers, and to the addresses that clients ask for.
pub(super) fn notes(spec: &Spec) -> BTreeSet<String> {
    let Ok(routes) = Routes::open() else { return BTreeSet::new() };
    let mut notes = BTreeSet::new();
    let listeners: Vec<&Listener> = spec.listeners.iter().filter(|one| one.role == Role::Nat).collect();
    // The program runs at all of them for every listener.
    let named: BTreeSet<&str> = listeners.iter().flat_map(|one| interfaces(one)).collect();
    let mut known: BTreeMap<IpAddr, Option<Way>> = BTreeMap::new();
    let mut way = |ip: IpAddr| known.entry(ip).or_insert_with(|| routes.towards(ip)).clone();
    for listener in listeners {
        notes.extend(of_clients(listener, &named, &routes));
        let Some(pool) = listener.packets_to().map(|id| spec.pool(id)) else { continue };
        // With `dsr` answers do not come here.
        let answers = listener.nat.as_ref().is_some_and(|nat| nat.mode != NatMode::Dsr);
        let families: BTreeSet<bool> = asked(listener).map(|ip| ip.is_ipv4()).collect();
        // One server stands for all that are reached alike.
        let mut told = BTreeSet::new();
        for server in &pool.servers {
            let ServerAddress::Ip(address) = server.address else { continue };
            let ip = address.ip();
            // Another family is left out.
            if !families.contains(&ip.is_ipv4()) {
                continue;
            }
            let Some(way) = way(ip) else { continue };
            let by = match &way {
                Way::By(interface) if !answers || named.contains(&**interface) => continue,
                Way::By(interface) => Some(interface),
                Way::Here => None,
            };
            if !told.insert(way.clone()) {
                continue;
            }
            let (name, server, pool) = (&listener.name, &server.name, &pool.name);
            notes.insert(match by {
                Some(interface) => format!(
                    "server `{server}` of pool `{pool}` is reached by an interface that `interfaces` of no listener of packets names, so \
                     that nobody rewrites its answers and clients of listener `{name}` wait for them, name it there or change the route \
                     to {ip}: `{interface}`"
                ),
                None => format!(
                    "server `{server}` of pool `{pool}` is this host itself, where no rewritten packet arrives, so that clients of \
                     listener `{name}` wait for answers, put it on another host or use `role: tcp` or `udp`: {address}"
                ),
            });
        }
    }
    notes
}

/// Neighbours ask for an address at the interface that has it. Where none has it, a router sends its packets, and nobody here
/// knows by which way.
fn of_clients<'s>(
    listener: &'s Listener,
    named: &'s BTreeSet<&str>,
    routes: &'s Routes,
) -> impl Iterator<Item = String> + use<'s> {
    asked(listener).filter_map(move |ip| {
        let interface = routes.interface_of(ip).filter(|interface| !named.contains(interface))?;
        Some(format!(
            "`bind` of listener `{}` has the address of an interface that `interfaces` of no listener of packets names, so that \
             nobody rewrites what comes in there for {ip}, name it there: `{interface}`",
            listener.name
        ))
    })
}

fn asked(listener: &Listener) -> impl Iterator<Item = IpAddr> + use<'_> {
    listener.binds.iter().filter_map(|bind| match &bind.address {
        BindAddress::Ip(address) => Some(address.ip()),
        BindAddress::AnyFamily(_) | BindAddress::Unix { .. } => None,
    })
}

pub(super) fn interfaces(listener: &Listener) -> impl Iterator<Item = &str> {
    listener.nat.iter().flat_map(|nat| nat.interfaces.iter().map(String::as_str))
}
