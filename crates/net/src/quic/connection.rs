//! A QUIC connection and its streams, as tasks of the worker use them.
//!
//! Nothing here waits: what cannot be done now registers the task that asks, and the endpoint's driver wakes it. What a task
//! writes is sent when the driver has its turn, so that many streams that write in one turn share packets and system calls.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{
    ConnectionError, ConnectionEvent, ConnectionHandle, Dir, Event, FinishError, ReadError, StreamEvent, StreamId,
    VarInt, WriteError,
};
use rustc_hash::{FxHashMap, FxHashSet};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::endpoint::Inner;
use crate::tls::{Agreed, Alpn, Subject};

/// A connection. Clones are the same connection.
#[derive(Clone)]
pub struct Connection(pub(super) Rc<One>);

/// A stream's number (RFC 9000 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream(StreamId);

/// Which ends of a stream may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// Only the one that opened it.
    One,
}

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing came for too long.
    Silent,
    /// One of the two has closed it.
    Closed,
    /// TLS has failed: one of the two does not believe the other, or they could not agree.
    Insecure(String),
    /// Nothing gets there: what the kernel says of it.
    Unreachable(io::ErrorKind),
    /// Something was wrong with it.
    Failed(String),
}

/// Why a stream cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The peer has given it up, with this code.
    Cancelled(u64),
    /// It has ended already.
    Over,
    /// Its connection is no more.
    Lost(Lost),
}

pub(super) struct One {
    pub(super) handle: ConnectionHandle,
    pub(super) home: Weak<Inner>,
    pub(super) state: RefCell<State>,
    /// It waits for the driver's turn.
    pub(super) dirty: Cell<bool>,
    /// The moment at which the driver looks at its timers.
    pub(super) visit: Cell<Option<Instant>>,
}

pub(super) struct State {
    pub(super) proto: quinn_proto::Connection,
    established: bool,
    /// When something came last.
    heard: Option<Instant>,
    lost: Option<Lost>,
    owner: Option<Waker>,
    /// A stream belongs to one task, which waits for whatever comes next.
    waiting: FxHashMap<StreamId, Waker>,
    /// Streams whose end was met behind the last bytes: the library tells it once.
    ended: FxHashSet<StreamId>,
}

impl Connection {
    pub(super) fn new(handle: ConnectionHandle, home: Weak<Inner>, proto: quinn_proto::Connection) -> Connection {
        let state = State {
            proto,
            established: false,
            heard: None,
            lost: None,
            owner: None,
            waiting: FxHashMap::default(),
            ended: FxHashSet::default(),
        };
        let (dirty, visit) = (Cell::new(false), Cell::new(None));
        Connection(Rc::new(One { handle, home, state: RefCell::new(state), dirty, visit }))
    }

    /// Ready once the handshake is done, and with it all that both have agreed on; with `early`, as soon as a client that has
    /// been here may send.
    ///
    /// # Errors
    /// The connection is no more.
    pub fn poll_established(&self, cx: &Context<'_>, early: bool) -> Poll<Result<(), Lost>> {
        let mut state = self.0.state.borrow_mut();
        if let Some(lost) = &state.lost {
            return Poll::Ready(Err(lost.clone()));
        }
        if state.established || early && state.proto.has_0rtt() {
            return Poll::Ready(Ok(()));
        }
        state.owner = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when the connection is no more.
    pub fn poll_lost(&self, cx: &Context<'_>) -> Poll<Lost> {
        let mut state = self.0.state.borrow_mut();
        if let Some(lost) = &state.lost {
            return Poll::Ready(lost.clone());
        }
        state.owner = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether the connection is no more.
    pub fn is_lost(&self) -> bool {
        self.0.state.borrow().lost.is_some()
    }

    /// When something came last.
    pub fn heard(&self) -> Option<Instant> {
        self.0.state.borrow().heard
    }

    /// The next stream that the peer has opened.
    ///
    /// # Errors
    /// The connection is no more.
    pub fn poll_accept(&self, cx: &Context<'_>, way: Way) -> Poll<Result<Stream, Lost>> {
        let mut state = self.0.state.borrow_mut();
        if let Some(lost) = &state.lost {
            return Poll::Ready(Err(lost.clone()));
        }
        if let Some(id) = state.proto.streams().accept(way.dir()) {
            return Poll::Ready(Ok(Stream(id)));
        }
        state.owner = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Opens a stream of our own, if the peer lets us.
    pub fn open(&self, way: Way) -> Option<Stream> {
        self.0.state.borrow_mut().proto.streams().open(way.dir()).map(Stream)
    }

    /// Reads what is there of a stream; zero bytes are its end.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn poll_read(&self, cx: &Context<'_>, stream: Stream, into: &mut [u8]) -> Poll<Result<usize, Broken>> {
        let mut state = self.0.state.borrow_mut();
        if state.ended.remove(&stream.0) {
            return Poll::Ready(Ok(0));
        }
        let mut filled = 0;
        let (mut end, mut transmits) = (None, false);
        match state.proto.recv_stream(stream.0).read(true) {
            Err(_) => end = Some(Err(Broken::Over)),
            Ok(mut chunks) => {
                while filled < into.len() {
                    match chunks.next(into.len() - filled) {
                        Ok(Some(chunk)) => {
                            into[filled..filled + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                            filled += chunk.bytes.len();
                        }
                        Ok(None) => {
                            end = Some(Ok(0));
                            break;
                        }
                        Err(ReadError::Blocked) => break,
                        Err(ReadError::Reset(code)) => {
                            end = Some(Err(Broken::Cancelled(code.into_inner())));
                            break;
                        }
                    }
                }
                transmits = chunks.finalize().should_transmit() || filled > 0;
            }
        }
        if transmits {
            self.0.mark();
        }
        if filled > 0 {
            if end.is_some() {
                state.ended.insert(stream.0);
            }
            return Poll::Ready(Ok(filled));
        }
        match end {
            Some(Err(Broken::Over)) | None if state.lost.is_some() => {
                Poll::Ready(Err(Broken::Lost(state.lost.clone().unwrap_or(Lost::Closed))))
            }
            Some(end) => {
                state.waiting.remove(&stream.0);
                Poll::Ready(end)
            }
            None => state.wait(cx, stream),
        }
    }

    /// Writes as much as the peer and the path take.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn poll_write(&self, cx: &Context<'_>, stream: Stream, bytes: &[u8]) -> Poll<Result<usize, Broken>> {
        let mut state = self.0.state.borrow_mut();
        if let Some(lost) = &state.lost {
            return Poll::Ready(Err(Broken::Lost(lost.clone())));
        }
        match state.proto.send_stream(stream.0).write(bytes) {
            Ok(count) => {
                self.0.mark();
                Poll::Ready(Ok(count))
            }
            Err(WriteError::Stopped(code)) => Poll::Ready(Err(Broken::Cancelled(code.into_inner()))),
            Err(WriteError::ClosedStream) => Poll::Ready(Err(Broken::Over)),
            Err(WriteError::Blocked) => {
                // It may be the peer's limit that blocks: it is told so.
                self.0.mark();
                state.wait(cx, stream)
            }
        }
    }

    /// Pending while the peer still wants what is written to a stream.
    pub fn poll_unwanted(&self, cx: &Context<'_>, stream: Stream) -> Poll<Broken> {
        let mut state = self.0.state.borrow_mut();
        if let Some(lost) = &state.lost {
            return Poll::Ready(Broken::Lost(lost.clone()));
        }
        match state.proto.send_stream(stream.0).stopped() {
            Ok(Some(code)) => Poll::Ready(Broken::Cancelled(code.into_inner())),
            Ok(None) => state.wait(cx, stream),
            Err(_) => Poll::Ready(Broken::Over),
        }
    }

    /// Whether the peer has given up what it was saying on a stream.
    pub fn is_cancelled(&self, stream: Stream) -> bool {
        let mut state = self.0.state.borrow_mut();
        match state.proto.recv_stream(stream.0).received_reset() {
            Ok(code) => code.is_some(),
            // All that it has said was read, and only the end of it is still to be told.
            Err(_) => !state.ended.contains(&stream.0),
        }
    }

    /// Says that nothing more will be written to a stream.
    pub fn finish(&self, stream: Stream) {
        let finished = self.0.state.borrow_mut().proto.send_stream(stream.0).finish();
        match finished {
            Ok(()) => self.0.mark(),
            // The peer does not want it any more, or it was said before.
            Err(FinishError::Stopped(_) | FinishError::ClosedStream) => {}
        }
    }

    /// Takes back what was written to a stream and is not there yet: it ends here, and looks so (RFC 9000 section 3.3).
    pub fn reset(&self, stream: Stream, code: u64) {
        // A stream that has ended already cannot be reset, and need not be.
        if self.0.state.borrow_mut().proto.send_stream(stream.0).reset(number(code)).is_ok() {
            self.0.mark();
        }
    }

    /// Asks the peer to say no more on a stream (RFC 9000 section 3.5).
    pub fn stop(&self, stream: Stream, code: u64) {
        // Likewise where all was said already.
        if self.0.state.borrow_mut().proto.recv_stream(stream.0).stop(number(code)).is_ok() {
            self.0.mark();
        }
    }

    /// Whether a stream's packets should go before or after those of others: a higher number goes first.
    pub fn set_priority(&self, stream: Stream, priority: i32) {
        // What has been said completely needs none.
        let _ = self.0.state.borrow_mut().proto.send_stream(stream.0).set_priority(priority);
    }

    /// Nobody waits for this stream any more.
    pub fn forget(&self, stream: Stream) {
        let mut state = self.0.state.borrow_mut();
        state.waiting.remove(&stream.0);
        state.ended.remove(&stream.0);
    }

    /// Makes whoever waits for any stream look again.
    pub fn wake_streams(&self) {
        self.0.state.borrow_mut().waiting.drain().for_each(|(_, waker)| waker.wake());
    }

    /// How many streams have something to say that the peer does not have yet, or may have.
    pub fn unacknowledged(&self) -> usize {
        self.0.state.borrow_mut().proto.streams().send_streams()
    }

    /// Asks the peer for a sign of life, so that neither side takes the other for gone.
    pub fn ping(&self) {
        self.0.state.borrow_mut().proto.ping();
        self.0.mark();
    }

    /// Closes the connection, with a code of the application's (RFC 9000 section 10.2).
    pub fn close(&self, code: u64, reason: &'static str) {
        let mut state = self.0.state.borrow_mut();
        if state.lost.is_none() {
            state.proto.close(Instant::now(), number(code), Bytes::from_static(reason.as_bytes()));
            state.lose(Lost::Closed);
            self.0.mark();
        }
    }

    /// Whether the client has not yet proved that it is not a replay: what it says came with its first packets
    /// (RFC 8446 section 8).
    pub fn is_early(&self) -> bool {
        self.0.state.borrow().proto.is_handshaking()
    }

    /// Where the client is now: it may move.
    pub fn remote(&self) -> SocketAddr {
        self.0.state.borrow().proto.remote_address()
    }

    /// What both have agreed on. The library does not tell the cipher suite.
    pub fn agreed(&self) -> Agreed {
        let state = self.0.state.borrow();
        let session = state.proto.crypto_session();
        let data = session.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let shown = session.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        let (protocol, name) = data.map(|data| (data.protocol, data.server_name)).unwrap_or_default();
        Agreed {
            version: "TLSv1.3",
            cipher: "",
            alpn: protocol.and_then(|name| Alpn::of(&name)),
            name: name.map(|name| name.to_ascii_lowercase()),
            subject: shown.as_ref().and_then(|shown| shown.first().map(|first| Box::new(Subject::of(first)))),
            fingerprint: shown.and_then(|shown| shown.first().map(|first| Sha256::digest(first).into())),
            resumed: false,
            inside: None,
        }
    }
}

impl Stream {
    /// Its number on the wire.
    pub fn number(self) -> u64 {
        VarInt::from(self.0).into_inner()
    }
}

impl Way {
    fn dir(self) -> Dir {
        match self {
            Way::Both => Dir::Bi,
            Way::One => Dir::Uni,
        }
    }
}

impl One {
    /// Puts the connection among those that the driver looks at in its next turn.
    pub(super) fn mark(self: &Rc<One>) {
        if !self.dirty.replace(true)
            && let Some(home) = self.home.upgrade()
        {
            home.marked(Rc::clone(self));
        }
    }
}

impl State {
    /// Takes what has happened to those who wait for it; says whether anything has.
    pub(super) fn tell(&mut self) -> bool {
        let mut told = false;
        while let Some(event) = self.proto.poll() {
            told = true;
            match event {
                Event::Connected => {
                    self.established = true;
                    self.wake_owner();
                }
                Event::ConnectionLost { reason } => self.lose(reason.into()),
                Event::Stream(StreamEvent::Opened { .. } | StreamEvent::Available { .. }) => self.wake_owner(),
                Event::Stream(
                    StreamEvent::Readable { id }
                    | StreamEvent::Writable { id }
                    | StreamEvent::Finished { id }
                    | StreamEvent::Stopped { id, .. },
                ) => {
                    if let Some(waker) = self.waiting.remove(&id) {
                        waker.wake();
                    }
                }
                // What was agreed on so far already lets early requests in.
                Event::HandshakeDataReady => self.wake_owner(),
                Event::DatagramReceived => self.wake_owner(),
                Event::DatagramsUnblocked => {}
            }
        }
        told
    }

    /// Something has come for it.
    pub(super) fn hear(&mut self, event: ConnectionEvent, now: Instant) {
        self.heard = Some(now);
        self.proto.handle_event(event);
    }

    /// The kernel says that nothing gets to the server. Anybody who knows the addresses can tell it so, which is why a connection
    /// that lives does not end by it (RFC 5927 section 5.2), and one that has been heard of before only if its server's port is
    /// nobody's any more.
    pub(super) fn doubt(&mut self, what: io::ErrorKind, now: Instant) {
        let is_telling = match what {
            io::ErrorKind::ConnectionRefused => true,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => self.heard.is_none(),
            _ => false,
        };
        if is_telling && self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > LIVELY) {
            self.lose(Lost::Unreachable(what));
        }
    }

    /// Whether there is nothing left of it but its number.
    pub(super) fn lose(&mut self, lost: Lost) {
        self.lost.get_or_insert(lost);
        self.wake_owner();
        for (_, waker) in self.waiting.drain() {
            waker.wake();
        }
    }

    fn wake_owner(&mut self) {
        if let Some(waker) = self.owner.take() {
            waker.wake();
        }
    }

    fn wait<T>(&mut self, cx: &Context<'_>, stream: Stream) -> Poll<T> {
        match self.waiting.get_mut(&stream.0) {
            // Who only looks takes nobody's place.
            _ if cx.waker().will_wake(Waker::noop()) => {}
            Some(waker) => waker.clone_from(cx.waker()),
            None => _ = self.waiting.insert(stream.0, cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// Who was heard of so lately lives, whatever others say.
const LIVELY: Duration = Duration::from_millis(250);

impl From<ConnectionError> for Lost {
    fn from(error: ConnectionError) -> Lost {
        // RFC 9001 section 4.8: what TLS would say in an alert.
        const OF_TLS: Range<u64> = 0x100..0x200;
        match error {
            ConnectionError::TransportError(ref said) if OF_TLS.contains(&said.code.into()) => {
                Lost::Insecure(error.to_string())
            }
            ConnectionError::ConnectionClosed(ref said) if OF_TLS.contains(&said.error_code.into()) => {
                Lost::Insecure(error.to_string())
            }
            ConnectionError::TimedOut => Lost::Silent,
            ConnectionError::ApplicationClosed(_) | ConnectionError::LocallyClosed | ConnectionError::Reset => {
                Lost::Closed
            }
            other => Lost::Failed(other.to_string()),
        }
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> io::Error {
        match broken {
            Broken::Cancelled(_) => io::ErrorKind::ConnectionReset.into(),
            Broken::Over => io::ErrorKind::BrokenPipe.into(),
            Broken::Lost(lost) => lost.into(),
        }
    }
}

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> io::Error {
        match lost {
            Lost::Closed => io::ErrorKind::ConnectionReset.into(),
            Lost::Silent => io::ErrorKind::TimedOut.into(),
            Lost::Insecure(why) => io::Error::new(io::ErrorKind::InvalidData, why),
            Lost::Unreachable(kind) => kind.into(),
            Lost::Failed(why) => io::Error::new(io::ErrorKind::ConnectionAborted, why),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.0.handle).finish()
    }
}

/// A code as QUIC can say it.
fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Alpn, Oldest, Originator, Spoken, Trust};

    #[test]
    fn a_connection_that_lives_does_not_end_by_hearsay() {
        let originator = Originator::new(&Trust::Anybody, None, &Spoken::since(Oldest::Tls13), &[Alpn::H3]);
        let originator = originator.expect("a client");
        let deaf = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let to = deaf.local_addr().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _guard = runtime.enter();
        let begin = || originator.quic().expect("QUIC").begin(to, "a.test").expect("a connection");
        let (now, long) = (Instant::now(), LIVELY * 2);
        for (heard, what, is_lost) in [
            (None, io::ErrorKind::ConnectionRefused, true),
            (None, io::ErrorKind::HostUnreachable, true),
            (None, io::ErrorKind::NetworkUnreachable, true),
            (None, io::ErrorKind::PermissionDenied, false),
            (Some(now), io::ErrorKind::ConnectionRefused, false),
            (now.checked_sub(long), io::ErrorKind::ConnectionRefused, true),
            (now.checked_sub(long), io::ErrorKind::HostUnreachable, false),
        ] {
            let (connection, driver) = begin();
            {
                let mut state = connection.0.state.borrow_mut();
                state.heard = heard;
                state.doubt(what, now);
            }
            assert_eq!(connection.is_lost(), is_lost, "{heard:?} {what:?}");
            drop(driver);
            assert!(connection.is_lost(), "without what moves it, it is over");
        }
    }
}
