//! A TLS session on its socket.
//!
//! A write is told as done only when the socket has all of its ciphertext, so that whoever writes keeps what is not safe yet
//! and nobody must remember to flush: of a write that the socket has taken in part the last byte is held back until it has
//! taken the rest, and the next write begins with that byte. `http::Backlog` is how everybody writes, and keeps to that.
//!
//! Ciphertext is received into a block of the thread's and sealed in another one: a connection that waits owns neither.
//!
//! An end without the alert that closes a session (RFC 8446 section 6.1) may be an attacker's cut: it is an error, never the
//! end of a body.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker, ready};

use rustls::Error;
use sha2::{Digest as _, Sha256};
use wire::starttls::Protocol;

use super::doubt::NotTls;
use super::engine::{Engine, Library, Side, Sink, whole};
use super::records::FULL;
use super::{Alpn, Subject};
use crate::stream::{Detached, PACKET, Peek, Stream};

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
    /// Whom that certificate is for.
    pub subject: Option<Box<Subject>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The protocol inside of which it began.
    pub inside: Option<Protocol>,
}

struct Session {
    engine: Engine,
    /// Whether hands are shaken.
    agreed: Option<Box<Agreed>>,
    /// Received, and not opened: the beginning of a record, or what found no room. Without memory most of the time.
    received: Vec<u8>,
    /// Content that found no room with who read last, and how much of it was taken since.
    content: Vec<u8>,
    taken: usize,
    /// Ciphertext that the socket has not taken, and how much of it it has.
    sealed: Vec<u8>,
    sent: usize,
    /// A byte of the caller's is held back: it is sealed already, but not with the socket yet.
    pledged: Option<u8>,
    voice: Voice,
    hearing: Hearing,
    /// The certificate that the peer has shown, where somebody wants to see it.
    shown: Option<Vec<u8>>,
    /// Whether somebody does.
    is_curious: bool,
    /// What was wrong with what came, until whoever reads has read what was good before it.
    fault: Option<io::Error>,
}

/// What may still be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// Everything.
    Open,
    /// Nothing: the peer has said the end.
    Ended,
    /// Nothing: what came was wrong.
    Broken,
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

/// How much is sealed at once: four records.
const AT_ONCE: usize = PACKET;

/// How much is received at once: what a reader's block holds at most, and some.
const BLOCK: usize = 96 * 1024;

/// A block that is kept for the next one who seals is not longer than this.
const SPARE: usize = 2 * BLOCK;

thread_local! {
    /// Where ciphertext is received. What is not opened at once goes to its connection.
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Where content is sealed, while nobody does.
    static SEALED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Secured {
    pub(super) fn new(socket: Stream, side: Side) -> Secured {
        let session = Session {
            engine: Engine::new(side),
            agreed: None,
            received: Vec::new(),
            content: Vec::new(),
            taken: 0,
            sealed: Vec::new(),
            sent: 0,
            pledged: None,
            voice: Voice::Open,
            hearing: Hearing::Open,
            shown: None,
            is_curious: false,
            fault: None,
        };
        Secured { socket, session: RefCell::new(session) }
    }

    /// With bytes that were received before it was known that a session begins.
    pub(super) fn having(self, received: Vec<u8>) -> Secured {
        self.session.borrow_mut().received = received;
        self
    }

    /// Keeps the certificate that the peer shows in the handshake.
    pub(super) fn curious(self) -> Secured {
        self.session.borrow_mut().is_curious = true;
        self
    }

    /// The name that a client has asked for whose handshake has failed.
    pub(super) fn asked(&self) -> Option<String> {
        self.session.borrow().engine.asked().map(str::to_owned)
    }

    /// The certificate that the peer has shown, in DER, if it was kept: to be asked once.
    pub(super) fn take_shown(&self) -> Option<Vec<u8>> {
        self.session.borrow_mut().shown.take()
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &Stream {
        &self.socket
    }

    /// What was agreed on.
    pub fn agreed(&self) -> Agreed {
        self.session.borrow().agreed.as_deref().cloned().unwrap_or_default()
    }

    /// The protocol that was agreed on.
    pub fn alpn(&self) -> Option<Alpn> {
        self.session.borrow().agreed.as_ref().and_then(|agreed| agreed.alpn)
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut session = self.session.borrow_mut();
        loop {
            if session.has_content() {
                return Poll::Ready(Ok(session.take_content(into)));
            }
            if session.hearing == Hearing::Ended || into.is_empty() {
                return Poll::Ready(Ok(0));
            }
            match ready!(session.poll_receive(cx, &self.socket, into))? {
                Received::End => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Received::Content(0) => {}
                Received::Content(count) => return Poll::Ready(Ok(count)),
            }
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut session = self.session.borrow_mut();
        if session.voice != Voice::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Some(pledged) = session.pledged {
            match bytes.first() {
                None => return Poll::Ready(Ok(0)),
                // Whoever goes on with other bytes would have the peer read a stream with a hole in it.
                Some(byte) if *byte != pledged => {
                    session.voice = Voice::Mute;
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                Some(_) => {}
            }
            ready!(session.poll_send(cx, &self.socket))?;
            session.pledged = None;
            return Poll::Ready(Ok(1));
        }
        // What is short (tickets, an answer of the session's own) leaves together with the content; more must leave first.
        if session.sealed.len() - session.sent > FULL {
            ready!(session.poll_send(cx, &self.socket))?;
        }
        let count = bytes.len().min(AT_ONCE);
        session.seal(&bytes[..count])?;
        match session.poll_send(cx, &self.socket) {
            Poll::Ready(done) => Poll::Ready(done.map(|()| count)),
            Poll::Pending => {
                session.shrink();
                session.pledged = bytes[..count].last().copied();
                if count > 1 { Poll::Ready(Ok(count - 1)) } else { Poll::Pending }
            }
        }
    }

    /// What a read would find.
    pub(crate) fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<Peek> {
        let mut session = self.session.borrow_mut();
        loop {
            if session.has_content() {
                return Poll::Ready(Peek::Bytes);
            }
            match session.hearing {
                Hearing::Open => {}
                Hearing::Ended => return Poll::Ready(Peek::End),
                Hearing::Broken => return Poll::Ready(Peek::Broken),
            }
            match ready!(session.poll_receive(cx, &self.socket, &mut [])) {
                Ok(Received::End) => return Poll::Ready(Peek::End),
                Ok(Received::Content(_)) => {}
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
                match self.socket.receive(&mut block) {
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
    /// Takes what the socket has and opens it, into the reader's block as far as that reaches. Before it waits, it sends what has
    /// to be said.
    fn poll_receive(&mut self, cx: &mut Context<'_>, socket: &Stream, into: &mut [u8]) -> Poll<io::Result<Received>> {
        if self.hearing != Hearing::Open {
            return Poll::Ready(Err(self.fault.take().unwrap_or(io::ErrorKind::InvalidData.into())));
        }
        RECEIVED.with_borrow_mut(|block| {
            if block.is_empty() {
                block.resize(BLOCK, 0);
            }
            let kept = self.received.len();
            // Content is never longer than its ciphertext: it fits. A record must fit, too, however little is asked for.
            let room = (kept + into.len().max(FULL + FULL / 8)).min(BLOCK);
            if kept == room {
                return Poll::Ready(Err(self.broken("a message of the handshake is too long")));
            }
            let mut length = kept;
            let unseen = &self.received[self.engine.seen()..];
            if !matches!(whole(unseen, usize::MAX), Some(Ok(_))) {
                match ready!(self.poll_fill(cx, socket, &mut block[kept..room]))? {
                    0 => return Poll::Ready(Ok(Received::End)),
                    count => length += count,
                }
            }
            block[..kept].copy_from_slice(&self.received);
            let opened = self.open(&mut block[..length], kept, into);
            if self.hearing == Hearing::Broken {
                // The alert says why.
                self.answer(cx, socket);
                self.voice = Voice::Mute;
            }
            Poll::Ready(opened)
        })
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, socket: &Stream, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match socket.poll_read_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    self.answer(cx, socket);
                    return Poll::Pending;
                }
            }
            match socket.receive(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.voice = Voice::Mute;
                    self.hearing = Hearing::Broken;
                    return Poll::Ready(Err(error));
                }
                Ok(count) => return Poll::Ready(Ok(count)),
            }
        }
    }

    /// Opens what was received, of which the first `kept` bytes are the session's own.
    fn open(&mut self, bytes: &mut [u8], kept: usize, into: &mut [u8]) -> io::Result<Received> {
        let mut sink = Sink { into, filled: 0, over: &mut self.content };
        match self.engine.open(bytes, &mut sink, &mut self.sealed) {
            Ok(opened) => {
                let filled = sink.filled;
                if opened.ended {
                    self.hearing = Hearing::Ended;
                }
                if opened.used < bytes.len() {
                    self.received.clear();
                    self.received.extend_from_slice(&bytes[opened.used..]);
                } else if kept > 0 {
                    self.received = Vec::new();
                }
                Ok(Received::Content(filled))
            }
            Err(error) => {
                let filled = sink.filled;
                self.received = Vec::new();
                self.hearing = Hearing::Broken;
                let error = match error {
                    Error::InvalidMessage(_) if self.agreed.is_none() => NotTls::of(bytes, error),
                    error => io::Error::new(io::ErrorKind::InvalidData, error),
                };
                if filled == 0 && self.content.is_empty() {
                    return Err(error);
                }
                // What was good before it is content, however it has arrived.
                self.fault = Some(error);
                Ok(Received::Content(filled))
            }
        }
    }

    fn broken(&mut self, why: &str) -> io::Error {
        self.hearing = Hearing::Broken;
        self.voice = Voice::Mute;
        io::Error::new(io::ErrorKind::InvalidData, why)
    }

    fn has_content(&self) -> bool {
        self.taken < self.content.len()
    }

    fn take_content(&mut self, into: &mut [u8]) -> usize {
        let left = &self.content[self.taken..];
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        if self.taken == self.content.len() {
            (self.content, self.taken) = (Vec::new(), 0);
        }
        count
    }

    fn seal(&mut self, content: &[u8]) -> io::Result<()> {
        if self.sealed.is_empty() {
            self.sealed = SEALED.take();
        }
        let sealed = self.engine.seal(&mut self.received, content, &mut self.sealed);
        sealed.map_err(|error| {
            self.voice = Voice::Mute;
            io::Error::other(error)
        })
    }

    /// Lets a large block go if little of it is left.
    fn shrink(&mut self) {
        if self.sealed.capacity() / 4 > self.sealed.len() - self.sent {
            let left = self.sealed[self.sent..].to_vec();
            give_back(std::mem::replace(&mut self.sealed, left));
            self.sent = 0;
        }
    }

    /// Sends what the session itself has to say: answers of the handshake, alerts, an end. It is the caller's own task that is woken
    /// when the socket takes the rest, which is also who waits with a write of its own: one registration serves both.
    fn answer(&mut self, cx: &mut Context<'_>, socket: &Stream) {
        if let Poll::Ready(Err(_)) = self.poll_send(cx, socket) {
            self.voice = Voice::Mute;
        }
    }

    /// Gives the socket what is sealed; ready when it has taken all.
    fn poll_send(&mut self, cx: &mut Context<'_>, socket: &Stream) -> Poll<io::Result<()>> {
        while self.voice != Voice::Mute && self.sent < self.sealed.len() {
            ready!(socket.poll_write_ready(cx))?;
            match socket.send(&self.sealed[self.sent..]) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.voice = Voice::Mute;
                    return Poll::Ready(Err(error));
                }
            }
        }
        give_back(std::mem::take(&mut self.sealed));
        self.sent = 0;
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
            Voice::Open if self.pledged.is_none() => {
                let said = self.engine.seal_end(&mut self.received, &mut self.sealed);
                self.voice = if said.is_ok() { Voice::Ending(closes) } else { Voice::Mute };
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
        let server = self.engine.library().is_some_and(|library| matches!(library.side, Side::Server(_)));
        // A client speaks first.
        if !server && self.agreed.is_none() && self.sealed.is_empty() && self.received.is_empty() {
            self.open(&mut [], 0, &mut [])?;
        }
        loop {
            let shaken = self.engine.library().is_some_and(|library| !library.common().is_handshaking());
            if shaken && self.agreed.is_none() {
                self.agreed = self.engine.library().map(|library| Box::new(agreed_by(library)));
                if self.is_curious {
                    let shown = self.engine.library().and_then(|library| library.common().peer_certificates()?.first());
                    self.shown = shown.map(|shown| shown.to_vec());
                }
                self.engine.take_over().map_err(io::Error::other)?;
            }
            // A server's tickets leave with its first answer, or when it waits for a request.
            if self.agreed.is_none() || !server {
                ready!(self.poll_send(cx, socket))?;
            }
            if self.agreed.is_some() {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_receive(cx, socket, &mut [])) {
                Ok(Received::Content(_)) if self.hearing == Hearing::Open => {}
                Ok(_) => {
                    self.voice = Voice::Mute;
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// What came of receiving.
#[derive(Clone, Copy, Debug)]
enum Received {
    /// The end of the stream.
    End,
    /// So much content for the reader; what found no room waits.
    Content(usize),
}

fn agreed_by(library: &Library) -> Agreed {
    let common = library.common();
    Agreed {
        version: match common.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher: common.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default(),
        alpn: common.alpn_protocol().and_then(Alpn::of),
        name: library.name.clone(),
        fingerprint: common.peer_certificates().and_then(<[_]>::first).map(|first| Sha256::digest(first).into()),
        subject: common.peer_certificates().and_then(<[_]>::first).map(|first| Box::new(Subject::of(first))),
        resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        inside: None,
    }
}

/// Keeps a block for the next one who seals: the longer one, within reason.
fn give_back(mut block: Vec<u8>) {
    SEALED.with_borrow_mut(|spare| {
        if (spare.capacity() + 1..=SPARE).contains(&block.capacity()) {
            block.clear();
            *spare = block;
        }
    });
}

impl fmt::Debug for Session {
    /// Without secrets, and without content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("agreed", &self.agreed)
            .field("voice", &self.voice)
            .field("hearing", &self.hearing)
            .finish_non_exhaustive()
    }
}
