//! Pools and their servers: how they are, and how an operator drains or weights one.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

use config::spec;
use proxy::pool::{Pool, Server};
use serde_json::{Map, Value, json};

use super::Desk;
use super::answer::Answer;
use super::ask::Ask;
use super::counters::Recent;
use super::status::time;
use crate::health::{Health, Ward};
use crate::plane::Plane;

/// `GET /api/pools`
pub(super) fn list(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    let (mut recent, now) = (desk.recent.borrow_mut(), Instant::now());
    recent.sweep(now);
    Answer::json(200, &pools(&plane).map(|(said, pool)| show_pool(said, pool, &plane, &mut recent, now)).collect())
}

/// `GET /api/pools/NAME`
pub(super) fn show(desk: &Desk, name: &str) -> Result<Answer, Answer> {
    let plane = desk.process.plane.borrow();
    let (said, pool) = find(&plane, name)?;
    let (mut recent, now) = (desk.recent.borrow_mut(), Instant::now());
    recent.sweep(now);
    Ok(Answer::json(200, &show_pool(said, pool, &plane, &mut recent, now)))
}

/// `GET /api/pools/NAME/servers/SERVER`
pub(super) fn show_server(desk: &Desk, pool: &str, server: &str) -> Result<Answer, Answer> {
    let plane = desk.process.plane.borrow();
    let (said, pool) = find(&plane, pool)?;
    let said = find_server(said, server)?;
    let addresses = addresses(pool, said);
    let (mut recent, now) = (desk.recent.borrow_mut(), Instant::now());
    recent.sweep(now);
    Ok(Answer::json(200, &server_of(said, &addresses, &plane.health, &mut recent, now)).with("ETag", tag(&addresses)))
}

/// `PUT /api/pools/NAME/servers/SERVER`
pub(super) fn change(desk: &Desk, pool: &str, server: &str, ask: &Ask<'_>) -> Result<Answer, Answer> {
    let wanted = Change::of(&ask.json()?)?;
    {
        let plane = desk.process.plane.borrow();
        let (said, found) = find(&plane, pool)?;
        let addresses = addresses(found, find_server(said, server)?);
        if !ask.if_match().holds(&tag(&addresses)) {
            return Err(Answer::error(
                412,
                format_args!("server `{server}` of pool `{pool}` has changed since, read it again"),
            ));
        }
        if addresses.is_empty() {
            return Err(Answer::error(409, format_args!("server `{server}` of pool `{pool}` has no address for now")));
        }
        for address in addresses {
            wanted.apply(address);
            observe::log::info(format_args!(
                "server `{server}` of pool `{pool}` at {}: {wanted} (by {})",
                address.id.address, ask.peer
            ));
        }
        // One that comes back may have to start slowly.
        plane.health.look();
        // Whoever waits for a server of this pool may find one now.
        found.gate.stir();
    }
    {
        let mut plane = desk.process.plane.borrow_mut();
        if wanted.weight.is_some() {
            plane.reweigh();
        }
        plane.steer();
    }
    show_server(desk, pool, server)
}

/// What an operator wants of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    drain: Option<bool>,
    weight: Option<u32>,
}

/// The largest weight that a configuration may say, too.
const LARGEST_WEIGHT: u64 = 65_535;

impl Change {
    fn of(document: &Value) -> Result<Change, Answer> {
        let wrong = |message: String| Answer::error(422, message);
        let Some(members) = document.as_object() else {
            return Err(wrong("the body must be an object with `drain` or `weight`".to_owned()));
        };
        let mut change = Change { drain: None, weight: None };
        for (name, value) in members {
            match name.as_str() {
                "drain" => {
                    let drain = value.as_bool();
                    change.drain =
                        Some(drain.ok_or_else(|| wrong(format!("`drain` must be `true` or `false`: {value}")))?);
                }
                "weight" => {
                    let weight = value.as_u64().filter(|weight| *weight <= LARGEST_WEIGHT);
                    let out_of_range =
                        || wrong(format!("`weight` must be a whole number from 0 to {LARGEST_WEIGHT}: {value}"));
                    change.weight = Some(weight.ok_or_else(out_of_range)? as u32);
                }
                _ => return Err(wrong(format!("unknown member `{name}`, the members are `drain` and `weight`"))),
            }
        }
        if members.is_empty() {
            return Err(wrong("nothing to change, say `drain` or `weight`".to_owned()));
        }
        Ok(change)
    }

    fn apply(self, server: &Server) {
        if let Some(drain) = self.drain {
            server.set_drained(drain);
        }
        if let Some(weight) = self.weight {
            server.set_weight(weight);
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let drain = self.drain.map(|drain| format!("drain {drain}"));
        let weight = self.weight.map(|weight| format!("weight {weight}"));
        f.write_str(&drain.into_iter().chain(weight).collect::<Vec<_>>().join(", "))
    }
}

/// The pools, as configured and as they run; both are in the order of the configuration.
fn pools(plane: &Plane) -> impl Iterator<Item = (&spec::Pool, &Arc<Pool>)> {
    let said = plane.spec().map(|spec| spec.pools.as_slice()).unwrap_or_default();
    said.iter().zip(&plane.pools)
}

fn find<'a>(plane: &'a Plane, name: &str) -> Result<(&'a spec::Pool, &'a Arc<Pool>), Answer> {
    pools(plane)
        .find(|(said, _)| said.name == name)
        .ok_or_else(|| Answer::error(404, format_args!("there is no pool `{name}`")))
}

fn find_server<'a>(pool: &'a spec::Pool, name: &str) -> Result<&'a spec::Server, Answer> {
    let missing = || Answer::error(404, format_args!("there is no server `{name}` in pool `{}`", pool.name));
    pool.servers.iter().find(|server| server.name == name).ok_or_else(missing)
}

/// The servers that a name stands for: one for each address.
fn addresses<'a>(pool: &'a Pool, said: &spec::Server) -> Vec<&'a Arc<Server>> {
    pool.servers.iter().filter(|server| *server.id.name == *said.name).collect()
}

fn show_pool(said: &spec::Pool, pool: &Pool, plane: &Plane, recent: &mut Recent, now: Instant) -> Value {
    let health = &plane.health;
    let servers = said.servers.iter().map(|server| server_of(server, &addresses(pool, server), health, recent, now));
    let leaving = plane.registry.leaving(&said.name);
    json!({
        "name": said.name,
        "balance": said.balance.algorithm.word(),
        "queue": { "waiting": pool.gate.waiting(), "length": said.queue_length },
        "servers": servers.collect::<Value>(),
        "leaving": leaving.map(leaving_server).collect::<Value>(),
    })
}

/// A server that the configuration does not name any more, and that still has something to end.
fn leaving_server(server: &Server) -> Value {
    json!({
        "name": &*server.id.name,
        "address": server.id.address.to_string(),
        "in_flight": server.in_flight(),
        "connections": server.open(),
    })
}

fn server_of(
    said: &spec::Server,
    addresses: &[&Arc<Server>],
    health: &Health,
    recent: &mut Recent,
    now: Instant,
) -> Value {
    json!({
        "name": said.name,
        "weight": said.weight,
        "max_connections": said.max_connections,
        "addresses": addresses.iter().map(|server| address(server, health, recent, now)).collect::<Value>(),
    })
}

fn address(server: &Server, health: &Health, recent: &mut Recent, now: Instant) -> Value {
    let mut shown = Map::new();
    shown.insert("address".into(), server.id.address.to_string().into());
    let trouble = health.ward(server).and_then(Ward::trouble);
    shown.insert("state".into(), state(server).into());
    shown.insert("since".into(), trouble.as_ref().map(|note| time(note.since)).into());
    shown.insert("reason".into(), trouble.map(|note| note.why).into());
    shown.insert("weight".into(), server.weight().into());
    shown.insert("in_flight".into(), server.in_flight().into());
    shown.insert("connections".into(), server.open().into());
    shown.extend(recent.show(&server.stats, now));
    shown.into()
}

/// What a server is, the operator's word first.
pub(super) fn state(server: &Server) -> &'static str {
    match () {
        () if server.is_drained() => "draining",
        () if server.weight() == 0 => "off",
        () if server.is_checked_down() => "down",
        () if server.is_ejected() => "ejected",
        () if server.is_paused() => "paused",
        () => "up",
    }
}

/// Changes with what a `PUT` can change, and with the addresses, and with nothing else.
fn tag(addresses: &[&Arc<Server>]) -> String {
    let mut hash = std::hash::DefaultHasher::new();
    for server in addresses {
        (&server.id.address, server.is_drained(), server.weight()).hash(&mut hash);
    }
    format!("\"{:016x}\"", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_strictly() {
        let change = |document| Change::of(&document).ok();
        assert_eq!(change(json!({"drain": true})), Some(Change { drain: Some(true), weight: None }));
        assert_eq!(change(json!({"weight": 0, "drain": false})), Some(Change { drain: Some(false), weight: Some(0) }));
        assert_eq!(change(json!({"weight": 65_535})), Some(Change { drain: None, weight: Some(65_535) }));
        for wrong in [
            json!({}),
            json!([]),
            json!(null),
            json!({"drain": "true"}),
            json!({"drain": null}),
            json!({"weight": -1}),
            json!({"weight": 1.5}),
            json!({"weight": 65_536}),
            json!({"drain": true, "wieght": 1}),
        ] {
            assert_eq!(change(wrong.clone()), None, "{wrong}");
        }
    }
}
