//! The end of an exchange: the access record, the counters, and the server's connection back to its pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::ids::{ClientIp, PeerAddr};
use base::{Fault, Side};
use net::Address;
use observe::access::{self, Phases, Record};
use observe::stats::Outcome;
use wire::Known;

use crate::attempt::Upstream;
use crate::exchange::Exchange;
use crate::session::Session;
use crate::snapshot::{Arm, Ending, Listener, Route};

/// Writes the record of a finished exchange and counts it.
pub(crate) fn record(session: &Session, x: &mut Exchange, listener: &Listener, route: &Route) {
    x.notes.ended = Instant::now();
    let total = x.notes.ended.saturating_duration_since(x.notes.began);
    if x.notes.bytes_in == 0 {
        x.notes.bytes_in = x.upload.content.max(x.prefix.len() as u64);
    }
    route.stats.shard(session.worker.id).count(&Outcome {
        status: x.notes.status,
        fault: x.notes.fault,
        bytes_in: x.notes.bytes_in,
        bytes_out: x.notes.bytes_out,
        total_us: micros(total),
    });
    let mut log = session.worker.log.borrow_mut();
    let Some(sink) = log.as_mut() else { return };
    let arm = match &route.ending {
        Ending::Pools(arms) => x.notes.arm.and_then(|number| arms.get(number)),
        _ => None,
    };
    let server = arm.zip(x.notes.server).and_then(|(arm, number)| arm.pool.servers.get(number));
    sink.record(&Record {
        time: x.notes.time,
        id: x.facts.id,
        listener: &listener.name,
        route: Some(&*route.name).filter(|name| !name.is_empty()),
        peer: PeerAddr(x.facts.peer),
        client: ClientIp(x.facts.client),
        method: x.request.method_text(),
        host: &x.facts.host,
        path: &x.facts.path,
        query: x.facts.query.as_deref(),
        version: x.client.version,
        status: x.notes.status,
        pool: arm.map(|arm| &*arm.pool.name),
        server: server.map(|server| &*server.id.name),
        address: server.map(|server| match &server.id.address {
            Address::Tcp(address) => access::Address::Tcp(*address),
            Address::Unix(path) => access::Address::Unix(path),
        }),
        tries: x.notes.tries,
        reused: x.notes.reused,
        bytes_in: x.notes.bytes_in,
        bytes_out: x.notes.bytes_out,
        phases: Phases {
            head_us: x.notes.head.map(micros),
            queue_us: x.notes.queue.map(micros),
            connect_us: x.notes.connect.map(micros),
            response_us: x.notes.response.map(micros),
            total_us: micros(total),
        },
        cut: x.notes.cut,
        fault: x.notes.fault,
        referer: x.request.value_of(Known::Referer),
        user_agent: x.request.value_of(Known::UserAgent),
    });
}

/// Counts one try at a server.
pub(crate) fn attempt(session: &Session, x: &Exchange, upstream: &Upstream, fault: Option<Fault>) {
    let Some(server) = upstream.server() else { return };
    server.stats.shard(session.worker.id).count(&Outcome {
        status: x.response.status(),
        fault: fault.filter(|fault| fault.side == Side::Server),
        bytes_in: x.upload.content,
        bytes_out: x.notes.bytes_out,
        total_us: micros(x.notes.response.unwrap_or_default()),
    });
}

/// Counts one try at a server that got no connection.
pub(crate) fn unconnected(session: &Session, x: &Exchange, arm: &Arm, fault: Fault) {
    let server = x.notes.server.and_then(|number| arm.pool.servers.get(number));
    let Some(server) = server.filter(|_| fault.side == Side::Server) else { return };
    server.stats.shard(session.worker.id).count(&Outcome {
        status: 0,
        fault: Some(fault),
        bytes_in: 0,
        bytes_out: 0,
        total_us: micros(x.notes.connect.unwrap_or_default()),
    });
}

/// Puts a server's connection back where the next request finds it, or hands it to one that waits.
pub(crate) fn park(session: &Session, x: &Exchange, arm: &Arm, upstream: Upstream) {
    let now = x.notes.began + x.notes.response.unwrap_or_default();
    let Some((conn, lease)) = upstream.into_parts() else { return };
    let gate = &arm.pool.gate;
    if !arm.pool.limited {
        return session.worker.idle.park(conn, lease, now, arm.pool.pooled);
    }
    let server = Arc::clone(lease.server());
    session.worker.idle.park(conn, lease, now, arm.pool.pooled);
    session.worker.relinquish(&server, gate);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
