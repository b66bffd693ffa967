//! Accepts connections, keeps the workers even, and refuses what is too much.

pub(crate) mod quic;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use net::Stream;
use net::listen::Listening;
use tokio::sync::mpsc::Sender;

use crate::reply;
use crate::session::{self, Origin};
use crate::snapshot::{BindId, Listener, ListenerId};
use crate::worker::{Command, Worker};

/// What a door does.
#[derive(Debug, Default)]
pub(crate) enum State {
    /// It accepts.
    #[default]
    Open,
    /// It waits for connections; this wakes it.
    Waiting(Waker),
    /// It accepts what waits, closes, and tells.
    Closing(Sender<()>),
}

/// How long a door rests when the process is out of descriptors.
const REST: Duration = Duration::from_millis(50);

/// Serves one listening socket until it is closed.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    listening: Listening,
    at: (ListenerId, BindId, u16),
    state: Rc<Cell<State>>,
) {
    let mut spare = spare();
    let mut complained: Option<Instant> = None;
    let done = loop {
        match poll_fn(|cx| poll(&listening, &state, cx)).await {
            Event::Accepted(stream, peer) => place(&worker, stream, peer, at),
            Event::Closed(done) => break done,
            Event::Failed(error) if is_out_of_descriptors(&error) => {
                if complained.is_none_or(|last| last.elapsed() > Duration::from_secs(1)) {
                    complained = Some(Instant::now());
                    observe::log::warn(format_args!("out of descriptors: connections are refused with 503: {error}"));
                }
                // The descriptor kept in reserve takes one connection, to tell it so.
                drop(spare.take());
                let mut cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(Ok((stream, _))) = listening.poll_accept(&mut cx) {
                    refuse(stream, worker.pin().listener(at.0).is_some_and(|known| hears(known, at.1)));
                }
                spare = self::spare();
                if spare.is_none() {
                    tokio::time::sleep(REST).await;
                }
            }
            // The peer gave up before it was accepted: that is its business.
            Event::Failed(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Event::Failed(error) => {
                observe::log::warn(format_args!("accept failed: {error}"));
                tokio::time::sleep(REST).await;
            }
        }
    };
    drop(listening);
    // Whoever asked may have stopped waiting.
    let _ = done.try_send(());
}

/// Tells a door to accept what waits, and to close.
pub(crate) fn close(state: &Cell<State>, done: Sender<()>) {
    if let State::Waiting(waker) = state.replace(State::Closing(done)) {
        waker.wake();
    }
}

enum Event {
    Accepted(Stream, Option<SocketAddr>),
    Failed(io::Error),
    Closed(Sender<()>),
}

fn poll(listening: &Listening, state: &Cell<State>, cx: &mut Context<'_>) -> Poll<Event> {
    match listening.poll_accept(cx) {
        Poll::Ready(Ok((stream, peer))) => Poll::Ready(Event::Accepted(stream, peer)),
        Poll::Ready(Err(error)) => Poll::Ready(Event::Failed(error)),
        Poll::Pending => match state.take() {
            State::Closing(done) => Poll::Ready(Event::Closed(done)),
            State::Open | State::Waiting(_) => {
                state.set(State::Waiting(cx.waker().clone()));
                Poll::Pending
            }
        },
    }
}

fn place(worker: &Rc<Worker>, stream: Stream, peer: Option<SocketAddr>, at: (ListenerId, BindId, u16)) {
    let (listener, bind, port) = at;
    let snapshot = worker.pin();
    let Some(known) = snapshot.listener(listener) else {
        // The listener was removed: what was still in its queue is served by nobody.
        return;
    };
    let counters = known.connections.shard(worker.id);
    counters.accepted();
    if known.active() >= known.max_connections {
        counters.refused();
        return refuse(stream, hears(known, bind));
    }
    let origin = Origin { listener, bind, peer, port, early: false, led: false };
    let home = worker.fleet.place(worker.id);
    worker.fleet.connection_began(home);
    if home == worker.id {
        return session::spawn(worker, stream, origin);
    }
    match stream.detach() {
        Ok(detached) => worker.fleet.tell(home, Command::Adopt(detached, origin)),
        Err(_) => worker.fleet.connection_ended(home),
    }
}

/// Whether clients understand an answer without a handshake.
fn hears(listener: &Listener, bind: BindId) -> bool {
    listener.role.has_requests() && listener.tls_at(bind).is_none()
}

/// Answers 503 without reading a request, and closes. A handshake of TLS is too dear for that: its clients are only closed, and so are
/// those of whom it is not known what they speak.
fn refuse(mut stream: Stream, plain: bool) {
    if plain {
        let mut cx = Context::from_waker(Waker::noop());
        // A fresh socket takes so few bytes at once, or the peer is gone.
        let _ = stream.poll_write(&mut cx, reply::OVERLOAD);
    }
    stream.shutdown_write();
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

fn spare() -> Option<std::fs::File> {
    std::fs::File::open("/dev/null").ok()
}
