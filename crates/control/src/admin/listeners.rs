//! Listeners and their routes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use observe::stats::Connections;
use proxy::destination::Way;
use proxy::snapshot::{Ending, Listener, Route};
use serde_json::{Value, json};

use super::Desk;
use super::answer::Answer;
use super::counters::Recent;

/// `GET /api/listeners`
pub(super) fn list(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    let (mut recent, now) = (desk.recent.borrow_mut(), Instant::now());
    recent.sweep(now);
    let show = |listener: &Arc<Listener>| {
        let mut sum = Connections::default();
        for (_, of) in listener.connections.read() {
            sum.accepted += of.accepted;
            sum.refused += of.refused;
            sum.active += of.active;
        }
        json!({
            "name": *listener.name,
            "addresses": plane.sockets.actual(&listener.name),
            "connections": {
                "active": sum.active,
                "most": listener.max_connections,
                "accepted": sum.accepted,
                "refused": sum.refused,
            },
            "routes": routes(listener).into_iter().map(|one| route(one, &mut recent, now)).collect::<Value>(),
        })
    };
    Answer::json(200, &plane.snapshot.listeners.iter().flatten().map(show).collect())
}

/// The routes of a listener, each of which counts once: several hosts of a site share one, and what matched nothing
/// comes last.
pub(super) fn routes(listener: &Listener) -> Vec<&Route> {
    let mut seen = HashSet::new();
    let all = listener.routes.iter().chain([&listener.default]);
    all.filter(|route| seen.insert(Arc::as_ptr(&route.stats))).map(|route| &**route).collect()
}

fn route(route: &Route, recent: &mut Recent, now: Instant) -> Value {
    let mut shown = serde_json::Map::new();
    shown.insert("name".into(), (*route.name).into());
    shown.insert("to".into(), destination(&route.ending).into());
    shown.extend(recent.show(&route.stats, now));
    shown.into()
}

/// Where a route ends, in words.
fn destination(ending: &Ending) -> String {
    match ending {
        Ending::Pools(_) | Ending::Canary(_) => {
            let pools = ending.arms().iter().map(|arm| &*arm.pool.name);
            pools.collect::<Vec<_>>().join(", ")
        }
        Ending::Ways(ways) => {
            let ways = ways.iter().map(|way| match way {
                Way::Origin(_) => "the server that is asked for",
                Way::Parent(parent) => &*parent.arm.pool.name,
                Way::Pool(arm) => &*arm.pool.name,
            });
            ways.collect::<Vec<_>>().join(", else ")
        }
        Ending::Redirect(redirect) => format!("redirect {}", redirect.status),
        Ending::Respond(respond) => format!("respond {}", respond.status),
        Ending::Deny(deny) => format!("deny {}", deny.status),
        Ending::Close { reset: false } => "deny close".to_owned(),
        Ending::Close { reset: true } => "deny reset".to_owned(),
        Ending::NoRoute => "no route".to_owned(),
    }
}
