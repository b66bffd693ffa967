//! A connection of HTTP/3: each request an exchange in a task of its own, which reads its stream from the head on.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base::{Fault, Kind};
use http::Conn;
use http::h3::{Came, End, Lane, Trunk};
use net::quic::{Connection, Lost};
use net::timer::Timer;
use wire::Version;

use super::http::{MOMENT, fault_of};
use super::record::{broken, unshaken};
use super::{Arrived, Common, TOO_MANY, entry, masque, tunnel};
use crate::exchange::{self, After};
use crate::reply;
use crate::snapshot::{Role, Tls};

/// Goes through the handshake, and serves the connection until it ends.
pub(super) async fn serve(mut arrived: Arrived, tls: Tls, connection: Connection) {
    let connections = Arc::clone(&arrived.counted.connections);
    let counters = connections.shard(arrived.common.worker.id);
    let done = match tls.begin() {
        None => {
            unshaken(&arrived.common, Fault::proxy(Kind::Overload), TOO_MANY.into(), None);
            false
        }
        Some(_place) => {
            arrived.timer.arm(Instant::now(), tls.patience);
            poll_fn(|cx| {
                if let Poll::Ready(done) = connection.poll_established(cx, tls.early_data) {
                    // Who is silent may be somebody whose address was used by another.
                    if let Err(Lost::Insecure(why) | Lost::Failed(why)) = &done {
                        // A part of it is in the client's own words.
                        let why: String = why.chars().take(MOST_WORDS).collect();
                        unshaken(&arrived.common, Fault::client(Kind::ClientTls), why.into(), None);
                    }
                    return Poll::Ready(done.is_ok());
                }
                if arrived.common.worker.is_cut() {
                    return Poll::Ready(false);
                }
                arrived.timer.poll_expired(cx).map(|()| false)
            })
            .await
        }
    };
    drop(tls);
    if !done {
        connection.close(REJECTED, "");
        return counters.handshake_failed();
    }
    counters.handshake_done();
    arrived.common.tls = Some(Rc::new(connection.agreed()));
    // A task of its own: what a handshake needs should not stay with the connection.
    tokio::task::spawn_local(run(arrived, connection));
}

/// Symbols of what a client says of a handshake that it has ended.
const MOST_WORDS: usize = 200;

/// RFC 9114 section 8.1: H3_REQUEST_REJECTED, nothing was done.
const REJECTED: u64 = 0x10b;

async fn run(arrived: Arrived, connection: Connection) {
    let Arrived { common, timer, counted } = arrived;
    let now = Instant::now();
    let mut root = Root {
        trunk: Trunk::server(connection, &common.listener.head, common.listener.role == Role::Forward),
        idle_since: now,
        looked: now,
        served: false,
        announced: false,
        common,
        timer,
    };
    poll_fn(|cx| root.poll(cx)).await;
    root.trunk.close();
    drop(counted);
}

/// The connection, and what it knows of the time in which it has nothing to do.
struct Root {
    trunk: Trunk,
    common: Common,
    timer: Timer,
    /// Since when it has no requests.
    idle_since: Instant,
    /// When somebody last looked whether it is still of use, and asked the client for a sign of life.
    looked: Instant,
    /// A request has come on it.
    served: bool,
    /// The client was told that no more are wanted.
    announced: bool,
}

impl Root {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = Rc::clone(&self.common.worker);
        if worker.is_cut() {
            return Poll::Ready(());
        }
        let now = Instant::now();
        if !self.announced && self.is_leaving() {
            self.announced = true;
            self.trunk.announce_end();
            self.idle_since = now;
        }
        let (common, served) = (&mut self.common, &mut self.served);
        let ended = {
            let mut block = worker.block(0);
            self.trunk.poll(cx, &mut block, &mut |lane| {
                *served = true;
                common.adopt();
                tokio::task::spawn_local(stream(common.clone(), lane));
            })
        };
        if let Poll::Ready(end) = ended {
            if let End::Broken(what) = end {
                broken(&self.common, Version::H3, what.reason);
            }
            return Poll::Ready(());
        }
        loop {
            let now = Instant::now();
            let (limit, waited) = self.limit(now);
            // Arming it again for nothing would put the end off by a step each time.
            if waited < limit {
                self.timer.arm(now, limit - waited);
                std::task::ready!(self.timer.poll_expired(cx));
                continue;
            }
            match self.business() {
                // Neither side may take the other for gone while a server thinks (RFC 9114 section 5.1).
                Business::Requests => self.trunk.connection().ping(),
                Business::Answers => {}
                Business::None => return Poll::Ready(()),
            }
            self.looked = now;
        }
    }

    /// How long the connection may go on as it is, and how much of that is over.
    fn limit(&mut self, now: Instant) -> (Duration, Duration) {
        let listener = &self.common.listener;
        let looked = now.saturating_duration_since(self.looked);
        match self.business() {
            Business::None => {}
            Business::Requests => {
                self.idle_since = now;
                return (listener.keep_alive / SIGNS, looked);
            }
            Business::Answers => {
                self.idle_since = now;
                return (SOON, looked);
            }
        }
        let limit = match (self.served, self.announced) {
            (_, true) => MOMENT.min(listener.keep_alive),
            (false, _) => listener.request_head,
            (true, false) => listener.keep_alive,
        };
        (limit, now.saturating_duration_since(self.idle_since))
    }

    fn business(&self) -> Business {
        // Our control stream is always among those that may have something to say.
        match (self.trunk.open(), self.trunk.connection().unacknowledged()) {
            (0, 0 | 1) => Business::None,
            (0, _) => Business::Answers,
            _ => Business::Requests,
        }
    }

    fn is_leaving(&self) -> bool {
        let Common { worker, origin, listener, .. } = &self.common;
        let speaks = worker.pin().successor(listener).is_some_and(|now| now.versions_at(origin.bind).h3);
        worker.is_draining() || !speaks
    }
}

/// Why a connection goes on.
enum Business {
    /// Requests are under way.
    Requests,
    /// The client does not have all of its answers yet.
    Answers,
    /// It does not, unless a request comes.
    None,
}

/// How soon it is looked again whether the client has its answers: nobody is told.
const SOON: Duration = Duration::from_millis(100);

/// How many signs of life there are in the time after which a silent client counts as gone.
const SIGNS: u32 = 3;

/// Serves one request.
async fn stream(mut common: Common, mut lane: Lane) {
    let worker = Rc::clone(&common.worker);
    let timer = worker.timers.timer();
    let mut exchange = worker.exchange();
    let began = Instant::now();
    timer.arm(began, common.listener.request_head);
    let came = poll_fn(|cx| {
        let mut block = worker.block(0);
        if let Poll::Ready(came) = lane.poll_request(cx, &mut block, &mut exchange.request) {
            return Poll::Ready(came);
        }
        if worker.is_cut() {
            return Poll::Ready(Came::Nothing);
        }
        // A head that does not come is no request that could be answered: the stream is reset.
        timer.poll_expired(cx).map(|()| Came::Nothing)
    })
    .await;
    match came {
        Came::Request | Came::Refused(_) => {}
        Came::Nothing => return worker.recycle(exchange),
        Came::Broken(reason) => {
            worker.recycle(exchange);
            return broken(&common, Version::H3, reason);
        }
    }
    // The client may have moved since the connection began.
    common.origin.peer = Some(lane.remote());
    common.origin.early = lane.is_early();
    let mut session = common.session(Conn::of_quic(lane), timer, None);
    exchange.began(Some(began).filter(|_| began.elapsed() >= WORTH_NOTING));
    exchange.client.version = Version::H3;
    let after = match came {
        Came::Refused(reject) => {
            reply::refuse(&mut session, &mut exchange, fault_of(reject), reject.reason()).await;
            After::Close
        }
        Came::Request | Came::Broken(_) | Came::Nothing => exchange::run(&mut session, &mut exchange).await,
    };
    match after {
        After::Tunnel(switched) => tunnel::spawn(session, exchange, *switched),
        After::Inside(entrance) => entry::enter(session, exchange, *entrance),
        After::Datagrams(flow) => masque::spawn(session, exchange, flow),
        // The stream ends with the session: what was not said to its end is reset.
        After::KeepAlive | After::Close | After::Linger => worker.recycle(exchange),
    }
}

/// A head that took less has come at once.
const WORTH_NOTING: Duration = Duration::from_millis(1);
