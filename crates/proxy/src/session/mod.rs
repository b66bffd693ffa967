//! The life of one connection from a client.

mod closing;
pub(crate) mod datagram;
pub(crate) mod entry;
pub(crate) mod gate;
mod h2;
mod h3;
mod heard;
mod http;
pub(crate) mod inside;
mod introduced;
mod masque;
mod mysql;
mod record;
mod socks;
mod stream;
mod transparent;
mod tunnel;
mod unbound;
mod upgrade;
mod way;

use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use ::http::{Conn, Sniffs};
use base::{Fault, Kind};
use net::stream::Peek;
use net::timer::Timer;
use net::tls::{Agreed, Alpn, doubt};
use net::{Stream, quic};
use observe::stats::ConnectionStats;
use wire::starttls::Protocol;

use crate::snapshot::{BindId, Listener, ListenerId, Role, Tls};
use crate::worker::Worker;
pub(crate) use heard::UNREADABLE;
use inside::Inside;
use record::unshaken;
use upgrade::Begun;

/// Where a connection came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The listener it arrived at.
    pub listener: ListenerId,
    /// Which of the listener's addresses that was.
    pub bind: BindId,
    /// The other end; absent on Unix sockets.
    pub peer: Option<SocketAddr>,
    /// The port it arrived at; 0 on Unix sockets.
    pub port: u16,
    /// Whether its request may be a replay: it came before the handshake was done (RFC 8470).
    pub early: bool,
    /// Whether the system has led it here: the address that it was opened to is where it goes, and its client knows of no proxy.
    pub led: bool,
}

/// What all exchanges of one connection share.
pub(crate) struct Session {
    /// Absent if the client is nobody. It goes before the connection does: whoever sees that closed finds the place free.
    pub(crate) counted: Option<Counted>,
    pub(crate) worker: Rc<Worker>,
    pub(crate) client: Conn,
    pub(crate) origin: Origin,
    /// The listener as the last exchange knew it: it outlives its removal from the configuration.
    pub(crate) listener: Arc<Listener>,
    pub(crate) timer: Timer,
    /// What TLS has agreed on, if there is any.
    pub(crate) tls: Option<Rc<Agreed>>,
    /// What was said of it before it began.
    pub(crate) introduced: Option<Rc<Introduction>>,
    /// The tunnel through which it has come, if what speaks here does so inside of one.
    pub(crate) inside: Option<Rc<Inside>>,
}

/// What is known of a connection from before it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Introduction {
    /// The address that it was opened to, if a proxy in front has said that, or the system.
    pub(crate) opened_to: Option<SocketAddr>,
    /// How its client has introduced itself before it went on in plain, where TLS was offered inside of a protocol.
    pub(crate) hello: Vec<u8>,
}

/// A connection counts as one of its listener's and its worker's for as long as this lives.
pub(crate) struct Counted {
    worker: Rc<Worker>,
    connections: Arc<ConnectionStats>,
}

/// Serves a connection in a task of its own. The worker has counted it already.
pub(crate) fn spawn(worker: &Rc<Worker>, stream: Stream, origin: Origin) {
    let snapshot = worker.pin();
    let Some(listener) = snapshot.listener(origin.listener) else {
        return worker.fleet.connection_ended(worker.id);
    };
    let arrived = Arrived::new(worker, origin, listener);
    match origin.peer {
        Some(peer) if listener.introduces(origin.bind, peer.ip()) => {
            drop(tokio::task::spawn_local(introduced::serve(arrived, stream)));
        }
        _ => serve(arrived, stream),
    }
}

/// Serves a connection of which it is known from whom it comes.
fn serve(arrived: Arrived, stream: Stream) {
    let Common { listener, origin, .. } = &arrived.common;
    match listener.tls_at(origin.bind).cloned() {
        None => speak(arrived, stream),
        // Its server speaks first.
        Some(tls) if tls.starttls == Some(Protocol::Mysql) => {
            drop(tokio::task::spawn_local(mysql::serve(arrived.session(Conn::new(stream)), tls)));
        }
        Some(tls) => drop(tokio::task::spawn_local(secure(arrived, tls, stream))),
    }
}

/// Serves what speaks on a connection that is as secure as it will be, in a task of its own: what a handshake needs should not stay
/// with the connection.
fn speak(arrived: Arrived, stream: Stream) {
    let Common { listener, origin, inside, .. } = &arrived.common;
    let sniffs =
        Sniffs { h2: listener.versions_at(origin.bind).h2, socks: listener.role == Role::Forward && inside.is_none() };
    drop(match (listener.role, stream.alpn()) {
        // Nobody connects to a listener of UDP: it was one of TCP when this one did.
        (Role::Udp, _) => return,
        (Role::Forward, _) if let Some(by) = listener.leads(origin.bind).filter(|_| inside.is_none()) => {
            tokio::task::spawn_local(transparent::serve(arrived.session(Conn::new(stream)), by))
        }
        (Role::Tcp { .. }, _) => tokio::task::spawn_local(stream::serve(arrived.session(Conn::new(stream)))),
        (_, Some(Alpn::H2)) => tokio::task::spawn_local(h2::serve(arrived, stream, Vec::new())),
        // Without an agreement, whoever knows what is spoken here begins with it.
        (_, None) => tokio::task::spawn_local(http::serve(arrived.session(Conn::sniffing(stream, sniffs)))),
        (_, _) => tokio::task::spawn_local(http::serve(arrived.session(Conn::new(stream)))),
    });
}

/// The same for a connection over QUIC, whose handshake has begun.
pub(crate) fn spawn_quic(worker: &Rc<Worker>, connection: quic::Connection, origin: Origin) {
    let snapshot = worker.pin();
    let known = snapshot.listener(origin.listener);
    let Some((listener, tls)) = known.and_then(|listener| Some((listener, listener.tls_at(origin.bind)?))) else {
        return worker.fleet.connection_ended(worker.id);
    };
    let arrived = Arrived::new(worker, origin, listener);
    tokio::task::spawn_local(h3::serve(arrived, tls.clone(), connection));
}

/// A connection that is no session yet.
struct Arrived {
    common: Common,
    timer: Timer,
    counted: Counted,
}

/// What a connection, and each exchange on it, knows of where it arrived.
#[derive(Clone)]
struct Common {
    worker: Rc<Worker>,
    origin: Origin,
    listener: Arc<Listener>,
    tls: Option<Rc<Agreed>>,
    introduced: Option<Rc<Introduction>>,
    inside: Option<Rc<Inside>>,
}

/// Comes to where TLS begins, goes through its handshake, and serves what speaks inside. A client that does not come through it is told
/// by its alert, counted, and recorded, if it has said anything: many look whether a port is open.
async fn secure(mut arrived: Arrived, tls: Tls, stream: Stream) {
    let connections = Arc::clone(&arrived.counted.connections);
    let counters = connections.shard(arrived.common.worker.id);
    let outcome = match tls.begin() {
        None => {
            unshaken(&arrived.common, Fault::proxy(Kind::Overload), TOO_MANY.into(), None);
            None
        }
        Some(_place) => {
            arrived.timer.arm(Instant::now(), tls.patience);
            let begun = match tls.starttls {
                None => Some(Begun::Tls(stream, None)),
                Some(protocol) => upgrade::until_tls(&arrived, protocol, tls.lets_plain, stream).await,
            };
            match begun {
                None => None,
                Some(Begun::Plain(stream, hello)) => {
                    let opened_to = arrived.common.opened_to();
                    arrived.common.introduced = Some(Rc::new(Introduction { opened_to, hello }));
                    return speak(arrived, stream);
                }
                Some(Begun::Tls(stream, alpn)) => shake_hands(&arrived, &tls, stream, alpn).await,
            }
        }
    };
    let Some(stream) = outcome else { return counters.handshake_failed() };
    counters.handshake_done();
    arrived.common.tls = stream.agreed().map(|agreed| Rc::new(Agreed { inside: tls.starttls, ..agreed }));
    match stream.alpn() {
        // The authority has seen the proof, which is all that it wanted.
        Some(Alpn::AcmeTls) => stream.shutdown_write(),
        _ => speak(arrived, stream),
    }
}

/// What becomes of a client that has to wait for too many others.
const TOO_MANY: &str = "as many handshakes are under way as `limits.handshakes` allows";

/// Until the timer is over that was armed. What comes to nothing is recorded here.
async fn shake_hands(arrived: &Arrived, tls: &Tls, stream: Stream, alpn: Option<Alpn>) -> Option<Stream> {
    let common = &arrived.common;
    let speaks = poll_fn(|cx| {
        if common.worker.is_cut() {
            return Poll::Ready(false);
        }
        match stream.poll_peek(cx) {
            Poll::Ready(peek) => Poll::Ready(peek == Peek::Bytes),
            Poll::Pending => arrived.timer.poll_expired(cx).map(|()| false),
        }
    });
    if !speaks.await {
        return None;
    }
    let mut handshake = pin!(tls.terminator.accept_told(stream, Vec::new()));
    let shaken = poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(|wrong| Some((doubt::of_client(&wrong), wrong.name))));
        }
        if common.worker.is_cut() {
            return Poll::Ready(Err(None));
        }
        arrived.timer.poll_expired(cx).map(|()| Err(Some((LATE.into(), None))))
    })
    .await;
    let wrong = match shaken {
        Ok(stream) if alpn.is_none() || alpn == stream.alpn() => return Some(stream),
        Ok(_) => Some(("the client has not named the protocol by ALPN that it speaks".into(), None)),
        Err(wrong) => wrong,
    };
    if let Some((why, name)) = wrong {
        unshaken(common, Fault::client(Kind::ClientTls), why, name);
    }
    None
}

const LATE: &str = "the client has not ended the handshake in time";

impl Arrived {
    fn new(worker: &Rc<Worker>, origin: Origin, listener: &Arc<Listener>) -> Arrived {
        let common = Common {
            worker: Rc::clone(worker),
            origin,
            listener: Arc::clone(listener),
            tls: None,
            introduced: None,
            inside: None,
        };
        Arrived { common, timer: worker.timers.timer(), counted: Counted::of(worker, &listener.connections) }
    }

    fn session(self, client: Conn) -> Session {
        self.common.session(client, self.timer, Some(self.counted))
    }
}

impl Common {
    fn session(self, client: Conn, timer: Timer, counted: Option<Counted>) -> Session {
        let Common { worker, origin, listener, tls, introduced, inside } = self;
        Session { worker, client, origin, listener, timer, counted, tls, introduced, inside }
    }

    /// The address that it was opened to, if that was said.
    fn opened_to(&self) -> Option<SocketAddr> {
        self.introduced.as_ref().and_then(|introduced| introduced.opened_to)
    }

    /// Whether the connection should not take another request: the process drains, or the listener is gone.
    fn is_leaving(&self) -> bool {
        is_leaving(&self.worker, &self.listener)
    }

    /// Takes on the listener as a reload has made it.
    fn adopt(&mut self) {
        if let Some(listener) = self.worker.pin().successor(&self.listener)
            && !Arc::ptr_eq(listener, &self.listener)
        {
            self.listener = Arc::clone(listener);
        }
    }
}

fn is_leaving(worker: &Worker, known: &Listener) -> bool {
    worker.is_draining() || worker.pin().successor(known).is_none()
}

impl Session {
    /// A session for a request that no client has sent. It counts for no listener.
    pub(crate) fn of_nobody(worker: &Rc<Worker>, listener: &Arc<Listener>, silent: Stream) -> Session {
        Session {
            client: Conn::new(silent),
            origin: Origin { listener: listener.id, bind: BindId::NONE, peer: None, port: 0, early: false, led: false },
            listener: Arc::clone(listener),
            timer: worker.timers.timer(),
            counted: None,
            tls: None,
            introduced: None,
            inside: None,
            worker: Rc::clone(worker),
        }
    }

    /// Whether the connection should not take another request: the process drains, or the listener is gone.
    pub(crate) fn is_leaving(&self) -> bool {
        is_leaving(&self.worker, &self.listener)
    }

    /// The address to which it goes on, whatever its client says.
    pub(crate) fn asked_at(&self) -> Option<SocketAddr> {
        self.opened_to().filter(|_| self.origin.led)
    }

    /// The address that it was opened to, if that was said.
    pub(crate) fn opened_to(&self) -> Option<SocketAddr> {
        self.introduced.as_ref().and_then(|introduced| introduced.opened_to)
    }

    /// Takes on the listener as a reload has made it.
    pub(crate) fn adopt(&mut self, listener: Arc<Listener>) {
        self.listener = listener;
    }
}

impl Counted {
    fn of(worker: &Rc<Worker>, connections: &Arc<ConnectionStats>) -> Counted {
        connections.shard(worker.id).begun();
        Counted { worker: Rc::clone(worker), connections: Arc::clone(connections) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.shard(self.worker.id).ended();
        self.worker.fleet.connection_ended(self.worker.id);
    }
}
