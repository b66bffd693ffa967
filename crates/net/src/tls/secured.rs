//! A TLS session on its socket.
//!
//! A write is told as done only when the socket has all of its ciphertext, so that whoever writes keeps what is not safe yet
//! and nobody must remember to flush: after a pending write the next one begins with the same bytes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker, ready};

use rustls::Connection;
use tokio::io::Interest;

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
    pub protocol: Option<Vec<u8>>,
    /// The name that the client asked for (RFC 6066 section 3), in lower case.
    pub name: Option<String>,
    /// The peer's certificate, in DER.
    pub certificate: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

#[derive(Debug)]
struct Session {
    connection: Connection,
    /// Bytes of the caller's that are encrypted already, but not with the socket yet.
    pledged: usize,
    /// Nothing more is said: all was, or the connection is broken.
    mute: bool,
}

/// How much is encrypted at once: four full records.
const AT_ONCE: usize = 64 * 1024;

impl Secured {
    pub(super) fn new(socket: Stream, connection: Connection) -> Secured {
        Secured { socket, session: RefCell::new(Session { connection, pledged: 0, mute: false }) }
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
            protocol: session.alpn_protocol().map(<[u8]>::to_vec),
            name: match session {
                Connection::Server(session) => session.server_name().map(str::to_ascii_lowercase),
                Connection::Client(_) => None,
            },
            certificate: session.peer_certificates().and_then(<[_]>::first).map(|first| first.to_vec()),
            resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
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

    /// Says that nothing more will be written: an alert (RFC 8446 section 6.1), then the end.
    pub(crate) fn shutdown_write(&self) {
        self.say_goodbye();
        self.socket.shutdown_write();
    }

    pub(crate) fn reset_on_close(&self) {
        self.session.borrow_mut().mute = true;
        self.socket.reset_on_close();
    }

    pub(crate) fn detach(self) -> io::Result<DetachedSecured> {
        Ok(DetachedSecured { socket: self.socket.detach()?, session: self.session.into_inner() })
    }

    /// Says that the connection ends here.
    pub(crate) fn say_goodbye(&self) {
        let mut session = self.session.borrow_mut();
        if session.mute || session.pledged > 0 {
            return;
        }
        session.connection.send_close_notify();
        // Whoever does not take it will see the end of the stream all the same.
        let _ = session.poll_send(&mut Context::from_waker(Waker::noop()), &self.socket);
        session.mute = true;
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
            ready!(socket.poll_read_ready(cx))?;
            let received = match self.connection.read_tls(&mut Socket(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    self.mute = true;
                    return Poll::Ready(Err(error));
                }
                Ok(received) => received,
            };
            let judged = self.connection.process_new_packets();
            // Answers of the session itself, alerts among them. What the socket does not take goes with the next write.
            let _ = self.poll_send(&mut Context::from_waker(Waker::noop()), socket);
            return Poll::Ready(match judged {
                Ok(_) => Ok(received),
                Err(error) => {
                    self.mute = true;
                    Err(io::Error::new(io::ErrorKind::InvalidData, error))
                }
            });
        }
    }

    /// Gives the socket what is encrypted; ready when it has taken all.
    fn poll_send(&mut self, cx: &mut Context<'_>, socket: &Stream) -> Poll<io::Result<()>> {
        while !self.mute && self.connection.wants_write() {
            ready!(socket.poll_write_ready(cx))?;
            match self.connection.write_tls(&mut Socket(socket)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.mute = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>, socket: &Stream) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx, socket))?;
            if !self.connection.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(cx, socket))? == 0 {
                self.mute = true;
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// Goes through the handshake.
pub(super) async fn handshake(secured: Secured) -> io::Result<Stream> {
    poll_fn(|cx| secured.session.borrow_mut().poll_handshake(cx, &secured.socket)).await?;
    Ok(Stream::Secured(Box::new(secured)))
}

/// The socket as rustls wants it.
struct Socket<'a>(&'a Stream);

impl Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_io(Interest::READABLE, || Ok(rustix::io::read(self.0.as_fd(), into)?))
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_io(Interest::WRITABLE, || Ok(rustix::io::writev(self.0.as_fd(), pieces)?))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
