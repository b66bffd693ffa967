//! Packets that the kernel rewrites: for which listeners, to which servers, and what came of it.

use config::spec::Role;
use kernel::{Mode, Traffic};
use observe::metrics::{Nat, NatServer};
use serde_json::{Map, Value, json};

use super::Desk;
use super::answer::Answer;
use crate::plane::Plane;

/// `GET /api/nat`
pub(super) fn show(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    let packets = Packets::of(&plane);
    let drops: Map<String, Value> =
        packets.drops.iter().map(|(reason, count)| ((*reason).to_owned(), (*count).into())).collect();
    Answer::json(
        200,
        &json!({
            "interfaces": plane.nat.interfaces(),
            "entries": packets.entries.map(|(taken, most)| json!({ "taken": taken, "most": most })),
            "drops": drops,
            "listeners": packets.listeners.iter().map(|one| packets.show(one)).collect::<Value>(),
        }),
    )
}

/// What was counted, beside the names of the configuration.
pub(super) struct Packets {
    listeners: Vec<Listener>,
    addresses: Vec<Address>,
    drops: Vec<(&'static str, u64)>,
    entries: Option<(u64, u64)>,
}

struct Listener {
    name: String,
    /// Who serves it, in one word.
    engine: &'static str,
    /// Why that is not the kernel.
    reason: Option<String>,
}

/// One address of a listener.
struct Address {
    listener: String,
    bind: String,
    mode: &'static str,
    servers: Vec<Server>,
}

struct Server {
    name: String,
    address: String,
    /// Its share of new connections; nothing if it is no longer named.
    weight: Option<u32>,
    traffic: Traffic,
}

impl Packets {
    pub(super) fn of(plane: &Plane) -> Packets {
        let spec = plane.loaded.as_ref().map(|loaded| &loaded.spec);
        let listeners = spec.iter().flat_map(|spec| &spec.listeners).filter(|one| one.role == Role::Nat);
        let listeners = listeners.map(|one| {
            let (engine, reason) = plane.nat.engine_of(&one.name);
            Listener { name: one.name.clone(), engine, reason }
        });
        let listeners = listeners.collect();
        let counters = plane.nat.counters().unwrap_or_default();
        let applied = plane.nat.applied();
        let addresses = counters
            .services
            .iter()
            .filter_map(|counted| {
                let service = applied.iter().find(|one| one.name == counted.name)?;
                let (listener, bind) = counted.name.rsplit_once(' ')?;
                let servers = counted.servers.iter().map(|one| {
                    let said = service.servers.iter().find(|said| said.address == one.address);
                    Server {
                        name: one.name.to_string(),
                        address: one.address.to_string(),
                        weight: said.map(|said| said.weight),
                        traffic: one.traffic,
                    }
                });
                Some(Address {
                    listener: listener.to_owned(),
                    bind: bind.to_owned(),
                    mode: word(service.mode),
                    servers: servers.collect(),
                })
            })
            .collect();
        Packets {
            listeners,
            addresses,
            drops: counters.drops.iter().map(|one| (one.reason, one.packets)).collect(),
            entries: (counters.entries.1 > 0).then_some(counters.entries),
        }
    }

    /// The same for the metrics page.
    pub(super) fn measured(&self) -> Nat<'_> {
        let servers = self.addresses.iter().flat_map(|of| {
            of.servers.iter().map(|one| NatServer {
                listener: &of.listener,
                bind: &of.bind,
                server: &one.name,
                address: &one.address,
                packets: [one.traffic.packets_in, one.traffic.packets_out],
                bytes: [one.traffic.bytes_in, one.traffic.bytes_out],
                opened: one.traffic.opened,
                open: one.traffic.open,
            })
        });
        Nat {
            listeners: self.listeners.iter().map(|one| (one.name.as_str(), one.reason.is_none())).collect(),
            servers: servers.collect(),
            drops: self.drops.clone(),
            entries: self.entries,
        }
    }

    fn show(&self, listener: &Listener) -> Value {
        let addresses = self.addresses.iter().filter(|one| one.listener == listener.name).map(|one| {
            json!({
                "address": one.bind,
                "mode": one.mode,
                "servers": one.servers.iter().map(server).collect::<Value>(),
            })
        });
        json!({
            "name": listener.name,
            "engine": listener.engine,
            "reason": listener.reason,
            "addresses": addresses.collect::<Value>(),
        })
    }
}

fn server(server: &Server) -> Value {
    let Traffic { packets_in, bytes_in, packets_out, bytes_out, opened, open } = server.traffic;
    json!({
        "name": server.name,
        "address": server.address,
        "weight": server.weight,
        "connections": { "open": open, "opened": opened },
        "packets_in": packets_in,
        "bytes_in": bytes_in,
        "packets_out": packets_out,
        "bytes_out": bytes_out,
    })
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Full => "full",
        Mode::Dnat => "dnat",
        Mode::Dsr => "dsr",
    }
}
