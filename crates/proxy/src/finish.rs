//! The end of an exchange: the access record, the counters, and the server's connection back to its pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::ids::{ClientIp, PeerAddr};
use base::{Fault, Kind, Retry, Side};
use net::Address;
use net::tls::Alpn;
use observe::access::{self, Phases, Record};
use observe::stats::{Outcome, RequestStats};
use wire::Known;
use wire::grpc::Code;

use crate::attempt::{self, Upstream};
use crate::balance::outlier::Verdict;
use crate::canary::{self, Variant};
use crate::capture;
use crate::exchange::{Exchange, Notes};
use crate::intercept;
use crate::lists::Source;
use crate::pool::{LOCAL, Limit, Server};
use crate::session::Session;
use crate::snapshot::{Arm, Ending, Listener, Route};
use crate::worker::Worker;

/// Under which names and counters a request is recorded.
pub(crate) struct Account<'a> {
    listener: &'a Arc<str>,
    route: &'a Arc<str>,
    stats: &'a Arc<RequestStats>,
    pool: Option<&'a Arc<str>>,
    server: Option<&'a Arc<Server>>,
    /// The canary that compares this request with others, and the version that has served it.
    canary: Option<(&'a Arc<canary::State>, Variant)>,
}

/// The same, for what outlives its snapshot.
pub(crate) struct Kept {
    listener: Arc<str>,
    route: Arc<str>,
    stats: Arc<RequestStats>,
    pool: Option<Arc<str>>,
    server: Option<Arc<Server>>,
    canary: Option<(Arc<canary::State>, Variant)>,
}

impl<'a> Account<'a> {
    /// The account of a request that took this route.
    pub(crate) fn of(listener: &'a Listener, route: &'a Route, notes: &Notes) -> Account<'a> {
        let arm = notes.arm.and_then(|number| route.ending.arms().get(number));
        let canary = match (&route.ending, notes.arm) {
            (Ending::Canary(canary), Some(number)) if !notes.forced => {
                Variant::ALL.get(number).map(|variant| (&canary.state, *variant))
            }
            _ => None,
        };
        Account {
            listener: &listener.name,
            route: &route.name,
            stats: &route.stats,
            pool: arm.map(|arm| &arm.pool.name),
            server: arm.zip(notes.server).and_then(|(arm, number)| arm.pool.servers.get(number)),
            canary,
        }
    }

    /// The same, where it was found out on the way where it leads.
    pub(crate) fn through(self, arm: Option<&'a Arm>, notes: &Notes) -> Account<'a> {
        match arm {
            None => self,
            Some(arm) => Account {
                pool: Some(&arm.pool.name),
                server: notes.server.and_then(|number| arm.pool.servers.get(number)),
                ..self
            },
        }
    }

    /// The listener's name.
    pub(crate) fn listener(&self) -> Arc<str> {
        Arc::clone(self.listener)
    }

    /// The route's.
    pub(crate) fn route(&self) -> Arc<str> {
        Arc::clone(self.route)
    }

    /// The server of the last try, and its pool's name.
    pub(crate) fn server(&self) -> Option<(&Arc<str>, &Arc<Server>)> {
        self.pool.zip(self.server)
    }

    pub(crate) fn owned(&self) -> Kept {
        Kept {
            listener: Arc::clone(self.listener),
            route: Arc::clone(self.route),
            stats: Arc::clone(self.stats),
            pool: self.pool.cloned(),
            server: self.server.cloned(),
            canary: self.canary.map(|(state, variant)| (Arc::clone(state), variant)),
        }
    }
}

impl Kept {
    /// It has come to be known where it leads: to the first server there.
    pub(crate) fn leads_to(&mut self, arm: &Arm) {
        (self.pool, self.server) = (Some(Arc::clone(&arm.pool.name)), arm.pool.servers.first().cloned());
    }

    pub(crate) fn borrowed(&self) -> Account<'_> {
        Account {
            listener: &self.listener,
            route: &self.route,
            stats: &self.stats,
            pool: self.pool.as_ref(),
            server: self.server.as_ref(),
            canary: self.canary.as_ref().map(|(state, variant)| (state, *variant)),
        }
    }
}

/// Writes the record of a finished exchange and counts it.
pub(crate) fn record(worker: &Worker, x: &mut Exchange, account: &Account<'_>) {
    if x.notes.ended <= x.notes.began {
        x.notes.ended = Instant::now();
    }
    let total = x.notes.ended.saturating_duration_since(x.notes.began);
    if x.notes.bytes_in == 0 {
        x.notes.bytes_in = x.upload.content.max(x.prefix.len() as u64);
    }
    let status = judged(x.notes.status, x);
    account.stats.shard(worker.id).count(&Outcome {
        status,
        fault: x.notes.fault,
        bytes_in: x.notes.bytes_in,
        bytes_out: x.notes.bytes_out,
        total_us: Some(micros(total)),
    });
    if let Some((state, variant)) = account.canary {
        let is_whole = x.upload.is_read();
        let took = micros(until_answered(&x.notes, total));
        state.count(worker.id, variant, (status, is_whole), x.notes.fault, took);
    }
    if let Some(inside) = &x.facts.inside {
        inside.count(x.notes.bytes_in, x.notes.bytes_out);
    }
    if let Some(Source::List(list)) = x.notes.hit.as_ref().map(|hit| &hit.source) {
        list.hits.count(worker.id);
    }
    capture::release(x, account);
    tell(worker, x, account);
}

/// Writes the record alone.
pub(crate) fn tell(worker: &Worker, x: &Exchange, account: &Account<'_>) {
    let total = x.notes.ended.saturating_duration_since(x.notes.began);
    let (mut log, mut tails) = (worker.log.borrow_mut(), worker.tails.borrow_mut());
    if log.is_none() && tails.is_empty() {
        return;
    }
    let record = Record {
        time: x.notes.time,
        id: x.facts.id,
        listener: account.listener,
        route: Some(&**account.route).filter(|name| !name.is_empty()),
        peer: PeerAddr(x.facts.peer),
        client: ClientIp(x.facts.client),
        method: match x.facts.socks {
            Some(version) => version.text(),
            None if x.client.is_flow => b"",
            None => x.request.method_text(),
        },
        user: x.facts.user.as_deref().map(|user| user.name.as_bytes()).or(x.notes.claimed.as_deref()),
        host: &x.facts.host,
        port: x.facts.port,
        path: &x.facts.path,
        query: x.facts.query.as_deref(),
        version: (!x.client.is_flow).then_some(x.client.version),
        tls: x.facts.tls.as_deref().map(|agreed| access::Tls {
            version: agreed.version,
            name: agreed.name.as_deref(),
            alpn: agreed.alpn.map(Alpn::name),
            resumed: agreed.resumed,
        }),
        sni: x.facts.sni.as_deref(),
        status: x.notes.status,
        grpc_status: x.notes.call.map(Code::number),
        pool: account.pool.map(|pool| &**pool),
        server: account.server.map(|server| &*server.id.name),
        address: account.server.map(|server| match &server.id.address {
            Address::Tcp(address) => access::Address::Tcp(*address),
            Address::Unix(path) => access::Address::Unix(path),
        }),
        tries: x.notes.tries,
        hedged: x.notes.hedges > 0,
        reused: x.notes.reused,
        bytes_in: x.notes.bytes_in,
        bytes_out: x.notes.bytes_out,
        datagrams: x.notes.datagrams,
        phases: Phases {
            head_us: x.notes.head.map(micros),
            queue_us: x.notes.queue.map(micros),
            connect_us: x.notes.connect.map(micros),
            response_us: x.notes.response.map(micros),
            total_us: micros(total),
        },
        interception: match &x.facts.inside {
            Some(inside) if inside.secure.is_some() => intercept::word::INTERCEPTED,
            Some(_) => intercept::word::INSPECTED,
            None => x.notes.interception,
        },
        unread: x.notes.unread,
        limit: x.notes.limit.map(Limit::name),
        cut: x.notes.cut,
        fault: x.notes.fault,
        reason: told(&x.notes),
        listed: x.notes.hit.as_ref().map(|hit| (&*hit.name, &*hit.rule)),
        referer: x.request.value_of(Known::Referer),
        user_agent: x.request.value_of(Known::UserAgent),
    };
    if let Some(sink) = log.as_mut() {
        sink.record(&record);
    }
    tails.tell(&record);
}

/// The same of a request that has ended, in microseconds.
pub(crate) fn until_answered_us(notes: &Notes) -> u64 {
    micros(until_answered(notes, notes.ended.saturating_duration_since(notes.began)))
}

/// What a request has waited for its server: without the time that its client took to send and to read.
fn until_answered(notes: &Notes, total: Duration) -> Duration {
    let waited = notes.queue.unwrap_or_default() + notes.connect.unwrap_or_default();
    notes.response.map_or(total, |response| response + waited)
}

/// More about a fault in words, as far as it is known here: clients are told less.
pub(crate) fn told(notes: &Notes) -> &str {
    if notes.fault.is_none() || notes.cause.is_empty() { notes.reason } else { &notes.cause }
}

/// Counts one try at a server.
pub(crate) fn attempt(worker: &Worker, x: &Exchange, upstream: &Upstream, fault: Option<Fault>) {
    let Some(server) = upstream.server() else { return };
    let fault = fault.map(|fault| in_truth(x, fault));
    let status = judged(x.response.status(), x);
    server.hear(|| Verdict::of(status, fault, upstream.reused));
    server.stats.shard(worker.id).count(&Outcome {
        status,
        fault: fault.filter(|fault| fault.side == Side::Server),
        bytes_in: x.upload.content,
        bytes_out: x.notes.bytes_out,
        // A try that was reset or left would be the fastest of all.
        total_us: x.notes.response.or(x.notes.waited).map(micros),
    });
}

/// The status by which an answer counts. A call of gRPC is answered by 200 however it ends: what counts is how it ended, in the
/// HTTP status that says the same.
fn judged(status: u16, x: &Exchange) -> u16 {
    match x.notes.call {
        Some(code) if status == 200 => code.http(),
        _ => status,
    }
}

/// Counts one try at a server that another one has overtaken: its answer would have taken longer than this.
pub(crate) fn overtaken(worker: &Worker, server: &Server, waited: Duration) {
    server.stats.shard(worker.id).count(&Outcome {
        status: 0,
        fault: None,
        bytes_in: 0,
        bytes_out: 0,
        total_us: Some(micros(waited)),
    });
}

/// Whose fault it is, as far as its server is concerned: where the time of a request ends before that of a try, a server that
/// had most of it and did not answer is no better than one whose try has timed out.
fn in_truth(x: &Exchange, fault: Fault) -> Fault {
    let had_most = |waited: Duration| waited * 2 >= x.notes.began.elapsed();
    match fault.kind {
        Kind::TotalTimeout if x.notes.waited.is_some_and(had_most) => {
            Fault::server(Kind::ResponseTimeout, Retry::Never)
        }
        _ => fault,
    }
}

/// Counts one try at a server that got no connection.
pub(crate) fn unconnected(worker: &Worker, x: &Exchange, arm: &Arm, fault: Fault) {
    let server = x.notes.server.and_then(|number| arm.pool.servers.get(number));
    let Some(server) = server.filter(|_| fault.side == Side::Server) else { return };
    refused(worker, server, fault);
}

/// The same of a server that is known, or that had been written to already.
pub(crate) fn refused(worker: &Worker, server: &Server, fault: Fault) {
    server.hear(|| Verdict::of(0, Some(fault), false));
    server.stats.shard(worker.id).count(&Outcome {
        status: 0,
        fault: Some(fault),
        bytes_in: 0,
        bytes_out: 0,
        total_us: None,
    });
}

/// Counts what has come of a flow of datagrams at its server: how much, and how long the first answer took.
pub(crate) fn corresponded(worker: &Worker, server: &Server, bytes: (u64, u64), response: Option<Duration>) {
    server.stats.shard(worker.id).count(&Outcome {
        status: 0,
        fault: None,
        bytes_in: bytes.0,
        bytes_out: bytes.1,
        total_us: response.map(micros),
    });
}

/// Puts a server's connection back where the next request finds it, or hands it to one that waits.
pub(crate) fn park(session: &Session, x: &mut Exchange, arm: &Arm, upstream: Upstream) {
    let now = Instant::now();
    x.notes.ended = now;
    if arm.pool.is_personal() {
        // What was said at its beginning, or whose address it has, holds for this client alone.
        return drop(upstream);
    }
    let is_anybodys = |server: &Arc<Server>| server.slot >= LOCAL || arm.pool.parent.is_some();
    if upstream.server().is_some_and(is_anybodys) && is_somebodys(x) {
        return drop(upstream);
    }
    let Some((conn, lease)) = upstream.into_parts() else { return };
    let gate = &arm.pool.gate;
    let beyond = x.beyond.clone().filter(|_| attempt::is_led_on(x, arm));
    if !arm.pool.limited {
        return session.worker.idle.park_beyond(conn, lease, beyond, now, arm.pool.pooled);
    }
    let server = Arc::clone(lease.server());
    session.worker.idle.park_beyond(conn, lease, beyond, now, arm.pool.pooled);
    session.worker.relinquish(&server, gate);
}

/// Whether a server takes whoever speaks on this connection for one client: NTLM and its kin authenticate connections, not requests.
fn is_somebodys(x: &Exchange) -> bool {
    let of_connections = |value: &[u8]| {
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    };
    x.request.values(b"authorization").any(of_connections) || x.response.values(b"www-authenticate").any(of_connections)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
