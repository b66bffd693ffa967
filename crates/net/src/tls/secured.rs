//! A TLS session on its socket.
//!
//! A write is told as done only when the socket has all of its ciphertext, so that whoever writes keeps what is not safe yet
//! and nobody must remember to flush: after a pending write the next one begins with the same bytes. `http::Backlog` is how
//! everybody writes, and keeps to that.
//!
//! An end without the alert that closes a session (RFC 8446 section 6.1) may be an attacker's cut: it is an error, never the
//! end of a body.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker, ready};

use rustix::io::retry_on_intr;
use rustls::Connection;
use sha2::{Digest as _, Sha256};
use tokio::io::Interest;

use super::Alpn;
use crate::stream::{Detached, Peek, Stream};

/// A TLS session on its socket.
#[derive(Debug)]
pub struct Secured {
    socket: Stream,
    session: RefCell<Session>,
}

/// The same without its runtime.
#[derive(Debug)]
pub struct DetachedSecured {
    socket: Detached,
    session: Session,
}

/// What both sides have agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's registered name.
    pub cipher: &'static str,
    /// The protocol that was chosen by ALPN (RFC 7301).
    pub alpn: Option<Alpn>,
    /// The name that the client asked for (RFC 6066 section 3), in lower case.
    pub name: Option<String>,
    /// SHA-256 of the peer's certificate in DER, if it has shown one.
    pub fingerprint: Option<[u8; 32]>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

#[derive(Debug)]
struct Session {
    connection: Connection,
    /// Bytes of the caller's that are encrypted already, but not with the socket yet.
    pledged: usize,
    voice: Voice,
}

/// What may still be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// Everything.
    Open,
    /// What waits for the socket, the closing alert at its end; then the socket's own end, if that is wanted.
    Ending(bool),
    /// Nothing: all was said, or the connection is broken.
    Mute,
}

/// How much is encrypted at once: four full records.
const AT_ONCE: usize = 64 * 1024;

impl Secured {
    pub(super) fn new(socket: Stream, connection: Connection) -> Secured {
        Secured { socket, session: RefCell::new(Session { connection, pledged: 0, voice: Voice::Open }) }
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &Stream {
        &self.socket
    }

    /// What was agreed on.
    pub fn agreed(&self) -> Agreed {
        let session = &self.session.borrow().connection;
        Agreed {
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default(),
            alpn: session.alpn_protocol().and_then(Alpn::of),
            name: match session {
                Connection::Server(session) => session.server_name().map(str::to_ascii_lowercase),
                Connection::Client(_) => None,
            },
            fingerprint: session.peer_certificates().and_then(<[_]>::first).map(|first| Sha256::digest(first).into()),
            resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }

    /// The protocol that was agreed on.
    pub fn alpn(&self) -> Option<Alpn> {
        self.session.borrow().connection.alpn_protocol().and_then(Alpn::of)
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut session = self.session.borrow_mut();
        loop {
            match session.connection.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(session.poll_receive(cx, &self.socket))?;
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut session = self.session.borrow_mut();
        if session.voice != Voice::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if session.pledged == 0 {
            ready!(session.poll_send(cx, &self.socket))?;
            session.pledged = session.connection.writer().write(&bytes[..bytes.len().min(AT_ONCE)])?;
        }
        ready!(session.poll_send(cx, &self.socket))?;
        Poll::Ready(Ok(std::mem::take(&mut session.pledged)))
    }

    /// What a read would find.
    pub(crate) fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<Peek> {
        let mut session = self.session.borrow_mut();
        loop {
            match session.connection.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => return Poll::Ready(Peek::Bytes),
                Ok(state) if state.peer_has_closed() => return Poll::Ready(Peek::End),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Peek::Broken),
            }
            match ready!(session.poll_receive(cx, &self.socket)) {
                Ok(0) => return Poll::Ready(Peek::End),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Peek::Broken),
            }
        }
    }

    /// Says that nothing more will be written. What the socket does not take at once goes while the other direction is read, or
    /// with [`poll_farewell`](Secured::poll_farewell).
    pub(crate) fn shutdown_write(&self) {
        self.session.borrow_mut().end(&self.socket, true);
    }

    /// Says that the connection ends here; ready when the socket has all of it.
    pub(crate) fn poll_farewell(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut session = self.session.borrow_mut();
        session.end(&self.socket, false);
        // Whoever cannot be told sees the end of the stream.
        session.poll_send(cx, &self.socket).map(|_| ())
    }

    pub(crate) fn reset_on_close(&self) {
        self.session.borrow_mut().voice = Voice::Mute;
        self.socket.reset_on_close();
    }

    /// Goes through the handshake. Who cannot agree is told why by an alert (RFC 8446 section 6.2). The caller bounds the time.
    pub(super) async fn handshake(&self) -> io::Result<()> {
        poll_fn(|cx| self.session.borrow_mut().poll_handshake(cx, &self.socket)).await
    }

    /// Lets the peer read why it was refused: a close with bytes unread would be a reset, which may overtake the alert. The
    /// caller bounds the time.
    pub(super) async fn linger(&self) {
        const MOST: usize = 256 * 1024;
        self.socket.shutdown_write();
        let mut read = 0;
        poll_fn(|cx| {
            let mut block = [0; 4096];
            while read < MOST {
                if ready!(self.socket.poll_read_ready(cx)).is_err() {
                    return Poll::Ready(());
                }
                match Socket(&self.socket).read(&mut block) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(count) => read += count,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    pub(crate) fn detach(self) -> io::Result<DetachedSecured> {
        Ok(DetachedSecured { socket: self.socket.detach()?, session: self.session.into_inner() })
    }
}

impl DetachedSecured {
    pub(crate) fn attach(self) -> io::Result<Secured> {
        Ok(Secured { socket: self.socket.attach()?, session: RefCell::new(self.session) })
    }
}

impl Session {
    /// Takes what the socket has; answers how much that was, 0 at its end.
    fn poll_receive(&mut self, cx: &mut Context<'_>, socket: &Stream) -> Poll<io::Result<usize>> {
        loop {
            self.answer(cx, socket);
            ready!(socket.poll_read_ready(cx))?;
            let received = match self.connection.read_tls(&mut Socket(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    self.voice = Voice::Mute;
                    return Poll::Ready(Err(error));
                }
                Ok(received) => received,
            };
            let judged = self.connection.process_new_packets();
            self.answer(cx, socket);
            return Poll::Ready(match judged {
                Ok(_) => Ok(received),
                Err(error) => {
                    self.voice = Voice::Mute;
                    Err(io::Error::new(io::ErrorKind::InvalidData, error))
                }
            });
        }
    }

    /// Sends what the session itself has to say: answers of the handshake, alerts, an end. It is the caller's own task that is woken
    /// when the socket takes the rest, which is also who waits with a write of its own: one registration serves both.
    fn answer(&mut self, cx: &mut Context<'_>, socket: &Stream) {
        if let Poll::Ready(Err(_)) = self.poll_send(cx, socket) {
            self.voice = Voice::Mute;
        }
    }

    /// Gives the socket what is encrypted; ready when it has taken all.
    fn poll_send(&mut self, cx: &mut Context<'_>, socket: &Stream) -> Poll<io::Result<()>> {
        while self.voice != Voice::Mute && self.connection.wants_write() {
            ready!(socket.poll_write_ready(cx))?;
            match self.connection.write_tls(&mut Socket(socket)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.voice = Voice::Mute;
                    return Poll::Ready(Err(error));
                }
            }
        }
        if let Voice::Ending(closes) = self.voice {
            self.voice = Voice::Mute;
            if closes {
                socket.shutdown_write();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says the end, behind what was said; then ends the socket's own direction, if that is wanted.
    fn end(&mut self, socket: &Stream, closes: bool) {
        match self.voice {
            Voice::Open if self.pledged == 0 => {
                self.connection.send_close_notify();
                self.voice = Voice::Ending(closes);
                // Who goes on reading, or waits for the farewell, sends the rest.
                let _ = self.poll_send(&mut Context::from_waker(Waker::noop()), socket);
            }
            // Half a write is no place for a clean end: the peer shall see that something is missing.
            Voice::Open => self.voice = Voice::Mute,
            Voice::Ending(also) => self.voice = Voice::Ending(closes || also),
            Voice::Mute => {}
        }
        if closes && self.voice == Voice::Mute {
            socket.shutdown_write();
        }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>, socket: &Stream) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx, socket))?;
            if !self.connection.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(cx, socket))? == 0 {
                self.voice = Voice::Mute;
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// The socket as rustls wants it.
struct Socket<'a>(&'a Stream);

impl Socket<'_> {
    /// Moves bytes, `most` of them if it can be. Whatever was less has emptied the socket's buffer, or filled it: its readiness is
    /// taken back without asking the kernel once more, as the runtime does with streams of its own.
    fn pass(
        &self,
        interest: Interest,
        most: usize,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        let mut passed = 0;
        let done = self.0.try_io(interest, || {
            passed = retry_on_intr(&mut call)?;
            if (1..most).contains(&passed) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(passed) }
        });
        if passed > 0 { Ok(passed) } else { done }
    }
}

impl Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.pass(Interest::READABLE, into.len(), || rustix::io::read(self.0.as_fd(), &mut *into))
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let most = pieces.iter().map(|piece| piece.len()).sum();
        self.pass(Interest::WRITABLE, most, || rustix::io::writev(self.0.as_fd(), pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
