//! The life of one connection from a client.

mod http;

use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use net::Stream;
use net::timer::Timer;
use net::tls::Agreed;
use observe::stats::ConnectionStats;

use crate::snapshot::{BindId, Listener, ListenerId, Tls};
use crate::worker::Worker;

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
}

/// What all exchanges of one connection share.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    pub(crate) client: ::http::Conn,
    pub(crate) origin: Origin,
    /// The listener as the last exchange knew it: it outlives its removal from the configuration.
    pub(crate) listener: Arc<Listener>,
    pub(crate) timer: Timer,
    /// Absent if the client is nobody.
    pub(crate) counted: Option<Counted>,
    /// What TLS has agreed on, if there is any.
    pub(crate) tls: Option<Rc<Agreed>>,
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
    let arrived = Arrived {
        origin,
        listener: Arc::clone(listener),
        timer: worker.timers.timer(),
        counted: Counted::of(worker, &listener.connections),
        worker: Rc::clone(worker),
    };
    match listener.tls_at(origin.bind) {
        None => tokio::task::spawn_local(http::serve(arrived.session(stream, None))),
        Some(tls) => tokio::task::spawn_local(secure(arrived, tls.clone(), stream)),
    };
}

/// A connection that is no session yet.
struct Arrived {
    worker: Rc<Worker>,
    origin: Origin,
    listener: Arc<Listener>,
    timer: Timer,
    counted: Counted,
}

/// Goes through the handshake of TLS, and serves what speaks inside. A client that does not come through it is told by its
/// alert, and counted; nothing of a request is known that could be recorded.
async fn secure(arrived: Arrived, tls: Tls, stream: Stream) {
    let connections = Arc::clone(&arrived.counted.connections);
    let counters = connections.shard(arrived.worker.id);
    let outcome = match tls.begin() {
        None => None,
        Some(_place) => {
            arrived.timer.arm(Instant::now(), tls.patience);
            let mut handshake = pin!(tls.terminator.accept(stream));
            poll_fn(|cx| {
                if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
                    return Poll::Ready(done.ok());
                }
                if arrived.worker.is_cut() {
                    return Poll::Ready(None);
                }
                arrived.timer.poll_expired(cx).map(|()| None)
            })
            .await
        }
    };
    let Some(stream) = outcome else { return counters.handshake_failed() };
    counters.handshake_done();
    let agreed = stream.agreed().map(Rc::new);
    // A task of its own: what a handshake needs should not stay with the connection.
    tokio::task::spawn_local(http::serve(arrived.session(stream, agreed)));
}

impl Arrived {
    fn session(self, stream: Stream, tls: Option<Rc<Agreed>>) -> Session {
        let Arrived { worker, origin, listener, timer, counted } = self;
        let client = ::http::Conn::new(stream);
        Session { worker, client, origin, listener, timer, counted: Some(counted), tls }
    }
}

impl Session {
    /// A session for a request that no client has sent. It counts for no listener.
    pub(crate) fn of_nobody(worker: &Rc<Worker>, listener: &Arc<Listener>, silent: Stream) -> Session {
        Session {
            client: ::http::Conn::new(silent),
            origin: Origin { listener: listener.id, bind: BindId::NONE, peer: None, port: 0 },
            listener: Arc::clone(listener),
            timer: worker.timers.timer(),
            counted: None,
            tls: None,
            worker: Rc::clone(worker),
        }
    }

    /// Whether the connection should not take another request: the process drains, or the listener is gone.
    pub(crate) fn is_leaving(&self) -> bool {
        self.worker.is_draining() || self.worker.pin().listener(self.origin.listener).is_none()
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
