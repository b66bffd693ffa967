//! One request's stream, as an exchange sees it: content without framing, heads, an end.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use net::quic::{Broken, Stream};
use net::stream::Peek;
use wire::h1::{Asked, Reject};
use wire::h3::message::{self, Message, Step};
use wire::h3::{Code, Wrong, frame};
use wire::{Framing, Head, Method};

use super::{Leftover, Link};
use crate::conn::ReadError;
pub(super) use crate::h2::Role;
use crate::h2::Switched;

/// A stream. Dropping it before its message was finished resets it, which the peer sees as a cut.
#[derive(Debug)]
pub struct Lane {
    pub(super) link: Link,
    pub(super) stream: Stream,
    role: Role,
    message: Message,
    /// What stood behind an interim head, and is not understood yet.
    unread: Vec<u8>,
    /// Content that came with the head and was not read yet, from `at` on.
    kept: Vec<u8>,
    at: usize,
    trailers: Option<Box<Head>>,
    hearing: Hearing,
    /// How the client broke the protocol.
    wrong: Option<&'static str>,
    /// The head is here, and waits for what follows it.
    holds: bool,
    out: RefCell<Out>,
    /// We have said something.
    begun: bool,
    /// We have said all.
    finished: bool,
    /// Why the request was not even sent.
    refused: Option<&'static str>,
    switched: Option<Switched>,
}

/// What may still come from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Open,
    /// It has said all.
    Ended,
    /// What it says is of no use any more.
    Broken,
}

/// What QUIC has not taken yet.
#[derive(Debug, Default)]
struct Out {
    staged: Vec<u8>,
    at: usize,
    /// Content that is still to come in the frame whose front was written.
    owed: usize,
    /// The stream ends with what is staged.
    ends: bool,
}

/// What came on a fresh stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// A request.
    Request,
    /// Something that is answered with a refusal.
    Refused(Reject),
    /// Something that broke the protocol, and was told so by the protocol's own means.
    Broken(&'static str),
    /// Nothing that could be answered.
    Nothing,
}

/// How much is read at once while the head is awaited: content that comes with it has to be kept.
const WITH_HEAD: usize = 16 * 1024;
/// Content up to this length is written together with what stands before it.
const TOGETHER: usize = 16 * 1024;

impl Lane {
    pub(super) fn new(link: &Link, stream: Stream, role: Role) -> Lane {
        link.open.set(link.open.get() + 1);
        Lane {
            link: Rc::clone(link),
            stream,
            role,
            // What a client asks decides on how it reads the answer.
            message: Message::request(),
            unread: Vec::new(),
            kept: Vec::new(),
            at: 0,
            trailers: None,
            hearing: Hearing::Open,
            wrong: None,
            holds: false,
            out: RefCell::default(),
            begun: false,
            finished: false,
            refused: None,
            switched: None,
        }
    }

    /// Reads the request's head into `head`, which is the same with each call.
    pub fn poll_request(&mut self, cx: &Context<'_>, block: &mut [u8], head: &mut Head) -> Poll<Came> {
        let room = block.len().min(WITH_HEAD);
        loop {
            // A head behind which nothing is known to follow waits for the end of the stream.
            let wait = !self.holds || Message::leaves_open(head);
            match self.link.connection.poll_read(cx, self.stream, &mut block[..room]) {
                Poll::Pending if wait => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Came::Request),
                Poll::Ready(Ok(0)) => {
                    self.hearing = Hearing::Ended;
                    if let Err(wrong) = self.message.end() {
                        return Poll::Ready(self.judge(wrong));
                    }
                    if head.framing() == Framing::Unknown {
                        head.set_framing(Framing::None);
                    }
                    return Poll::Ready(Came::Request);
                }
                Poll::Ready(Ok(length)) => match self.digest(&mut block[..length], head) {
                    Err(wrong) => return Poll::Ready(self.judge(wrong)),
                    Ok(0) => {}
                    Ok(content) => {
                        self.kept.extend_from_slice(&block[..content]);
                        return Poll::Ready(Came::Request);
                    }
                },
                Poll::Ready(Err(_)) => {
                    self.hearing = Hearing::Broken;
                    return Poll::Ready(Came::Nothing);
                }
            }
        }
    }

    /// Reads the head of a response, at most so much at once as a head may come with.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) fn poll_response(
        &mut self,
        cx: &Context<'_>,
        block: &mut [u8],
        head: &mut Head,
    ) -> Poll<Result<(), ReadError>> {
        if let Some(reason) = self.refused {
            return Poll::Ready(Err(ReadError::Reject(Reject::Malformed(reason))));
        }
        if self.is_left_behind() {
            return Poll::Ready(Err(ReadError::Refused));
        }
        // A server may have answered, although it takes no more of the request.
        let _ = self.poll_flush(cx);
        let room = block.len().min(WITH_HEAD);
        loop {
            let length = match std::mem::take(&mut self.unread) {
                unread if unread.is_empty() => {
                    match self.link.connection.poll_read(cx, self.stream, &mut block[..room]) {
                        // That the stream ends with the head is known only if the end is here.
                        Poll::Pending if self.holds => return Poll::Ready(Ok(())),
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(0)) => return Poll::Ready(self.ended_with_head(head)),
                        Poll::Ready(Ok(length)) => length,
                        Poll::Ready(Err(broken)) => {
                            self.hearing = Hearing::Broken;
                            return Poll::Ready(Err(match broken {
                                Broken::Cancelled(code) if code == Code::REQUEST_REJECTED.0 => ReadError::Refused,
                                _ => ReadError::Ended,
                            }));
                        }
                    }
                }
                unread => {
                    block[..unread.len()].copy_from_slice(&unread);
                    unread.len()
                }
            };
            match self.digest_response(&mut block[..length], head) {
                Err(wrong) => return Poll::Ready(Err(self.unreadable(wrong))),
                Ok(false) => {}
                Ok(true) => {
                    if self.role == Role::Tunnel && (200..300).contains(&head.status()) {
                        // To everybody above, a switch of protocols is what it is in HTTP/1.1.
                        head.set_status(101);
                        head.add(b"upgrade", b"websocket");
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Reads what came of a response whose head is awaited; says whether there is a head that need not wait for what follows it.
    fn digest_response(&mut self, bytes: &mut [u8], head: &mut Head) -> Result<bool, Wrong> {
        let mut used = 0;
        if !self.holds {
            let (length, step) = self.message.take(bytes, &self.link.limits, head)?;
            if step != Step::Head {
                return Ok(false);
            }
            if head.status() < 200 {
                self.unread = bytes[length..].to_vec();
                return Ok(true);
            }
            (self.holds, used) = (true, length);
        }
        let content = self.digest(&mut bytes[used..], head)?;
        self.kept.extend_from_slice(&bytes[used..used + content]);
        Ok(content > 0 || self.role == Role::Tunnel)
    }

    /// The stream has ended where a head was awaited, or right behind it.
    fn ended_with_head(&mut self, head: &mut Head) -> Result<(), ReadError> {
        self.hearing = Hearing::Ended;
        if !self.holds {
            return Err(ReadError::Ended);
        }
        if let Err(wrong) = self.message.end() {
            return Err(self.unreadable(wrong));
        }
        if head.framing() == Framing::Unknown {
            head.set_framing(Framing::None);
        }
        Ok(())
    }

    fn unreadable(&mut self, wrong: Wrong) -> ReadError {
        ReadError::Reject(match self.judge(wrong) {
            Came::Refused(reject) => reject,
            Came::Broken(reason) => Reject::Malformed(reason),
            Came::Request | Came::Nothing => return ReadError::Ended,
        })
    }

    /// Whether the server has gone away and will not look at this request.
    fn is_left_behind(&self) -> bool {
        self.link.said.goaway.get().is_some_and(|first| self.stream.number() >= first) && self.role != Role::Server
    }

    /// Whether the request may be a replay (RFC 8470): it came before the handshake was done.
    pub fn is_early(&self) -> bool {
        self.link.connection.is_early()
    }

    /// Where the client is now.
    pub fn remote(&self) -> std::net::SocketAddr {
        self.link.connection.remote()
    }

    /// Reads content; zero bytes are its end.
    ///
    /// # Errors
    /// The client has broken off or broken a rule, or the connection is over.
    pub(crate) fn poll_read(&mut self, cx: &Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.at < self.kept.len() {
            let waiting = &self.kept[self.at..];
            let count = waiting.len().min(into.len());
            into[..count].copy_from_slice(&waiting[..count]);
            self.at += count;
            if self.at == self.kept.len() {
                // What waits is nothing, so it owns nothing.
                (self.kept, self.at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(count));
        }
        if self.role != Role::Server {
            // What is staged of a request goes with whatever goes on.
            let _ = self.poll_flush(cx);
        }
        let mut nothing = Head::default();
        loop {
            match self.hearing {
                Hearing::Open => {}
                Hearing::Ended => return Poll::Ready(Ok(0)),
                Hearing::Broken => return Poll::Ready(Err(reset())),
            }
            let read = ready!(self.link.connection.poll_read(cx, self.stream, into));
            let done = match read {
                Err(broken) => {
                    self.hearing = Hearing::Broken;
                    return Poll::Ready(Err(broken.into()));
                }
                Ok(0) => {
                    self.hearing = Hearing::Ended;
                    self.message.end().map(|()| 0)
                }
                Ok(length) => self.digest(&mut into[..length], &mut nothing),
            };
            match done {
                Err(wrong) => {
                    self.judge(wrong);
                    return Poll::Ready(Err(reset()));
                }
                Ok(0) => {}
                Ok(content) => return Poll::Ready(Ok(content)),
            }
        }
    }

    /// How the client broke the protocol on the stream.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        self.wrong
    }

    /// Whether a read would not wait.
    pub(crate) fn has_content(&self) -> bool {
        self.at < self.kept.len() || self.hearing != Hearing::Open
    }

    /// The trailers, once the end was read.
    pub(crate) fn take_trailers(&mut self) -> Option<Box<Head>> {
        self.trailers.take()
    }

    /// Writes content, as much as the peer and the path have room for.
    ///
    /// # Errors
    /// The peer wants no more of it, or the connection is over.
    pub(crate) fn poll_write(&mut self, cx: &Context<'_>, content: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_left_behind() || self.refused.is_some() {
            return Poll::Ready(Err(reset()));
        }
        ready!(self.poll_flush(cx))?;
        if content.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let (connection, out) = (&self.link.connection, self.out.get_mut());
        if out.owed == 0 {
            frame::data(content.len(), &mut out.staged);
            if content.len() <= TOGETHER {
                out.staged.extend_from_slice(content);
                // What is not taken of it waits here: less than would wait with the caller.
                return match self.poll_flush(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(content.len())),
                };
            }
            out.owed = content.len();
            ready!(self.poll_flush(cx))?;
            return self.poll_write(cx, content);
        }
        let most = content.len().min(out.owed);
        let written = ready!(connection.poll_write(cx, self.stream, &content[..most]))?;
        out.owed -= written;
        Poll::Ready(Ok(written))
    }

    /// Writes a head.
    pub(crate) fn write_head(&mut self, head: &Head) {
        self.begun = true;
        match self.role {
            Role::Server => message::response(head, &mut self.out.get_mut().staged),
            Role::Client | Role::Tunnel => self.ask(head),
        }
        // What is not taken now goes ahead of the next content, or with the next look at the peer.
        let _ = self.poll_flush(&Context::from_waker(std::task::Waker::noop()));
    }

    /// Writes the head after which both sides say what they like.
    pub(crate) fn switch(&mut self, head: &mut Head) {
        self.switched = Some(Switched::by(head.status()));
        head.set_status(200);
        self.write_head(head);
    }

    /// Begins the request.
    fn ask(&mut self, head: &Head) {
        let tunnel = !head.protocol().is_empty();
        let asked = match head.method() {
            _ if tunnel => Asked::Connect,
            Method::Connect => Asked::Connect,
            Method::Head => Asked::Head,
            _ => Asked::Other,
        };
        self.message = Message::response(asked);
        if tunnel {
            self.role = Role::Tunnel;
            if !self.link.said.settings.get().is_some_and(|said| said.extended_connect) {
                self.refused = Some("the server takes no WebSocket over HTTP/3");
                return;
            }
        }
        message::request(head, &mut self.out.get_mut().staged);
    }

    /// Says that the message ends here, if an end is what it has.
    pub(crate) fn finish_message(&mut self, trailers: Option<&Head>) {
        if self.role != Role::Tunnel {
            self.finish(trailers);
        }
    }

    /// Says that nothing more is written.
    pub(crate) fn finish(&mut self, trailers: Option<&Head>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let out = self.out.get_mut();
        if out.owed > 0 {
            // The frame that was begun cannot end well.
            return self.link.connection.reset(self.stream, Code::INTERNAL_ERROR.0);
        }
        if let Some(trailers) = trailers {
            message::trailers(trailers, &mut out.staged);
        }
        out.ends = true;
        match self.poll_flush(&Context::from_waker(std::task::Waker::noop())) {
            // It wants no more of it anyway, if it says so.
            Poll::Ready(Ok(()) | Err(_)) => {}
            // Who waits for an answer is still here.
            Poll::Pending if self.role != Role::Server => {}
            Poll::Pending => {
                let Out { staged: bytes, at, .. } = self.out.take();
                self.link.leftovers.borrow_mut().push(Leftover { stream: self.stream, bytes, at });
                self.link.wake_trunk();
            }
        }
    }

    /// Pending while the peer is there and wants the answer, or is silent.
    pub(crate) fn poll_peek(&self, cx: &Context<'_>) -> Poll<Peek> {
        if self.role != Role::Server {
            return match self.hearing {
                _ if self.link.connection.is_lost() || self.is_left_behind() => Poll::Ready(Peek::Broken),
                Hearing::Broken => Poll::Ready(Peek::Broken),
                _ if self.at < self.kept.len() => Poll::Ready(Peek::Bytes),
                Hearing::Open | Hearing::Ended => {
                    // Whatever comes of it, the task is woken when there is something.
                    let _ = self.link.connection.poll_unwanted(cx, self.stream);
                    Poll::Pending
                }
            };
        }
        if !self.finished {
            // A head that was not taken at once may be all that there is to say for a while.
            let _ = self.poll_flush(cx);
        }
        if self.hearing == Hearing::Broken {
            return Poll::Ready(Peek::Broken);
        }
        if self.hearing == Hearing::Open && self.link.connection.is_cancelled(self.stream) {
            return Poll::Ready(Peek::Broken);
        }
        match self.link.connection.poll_unwanted(cx, self.stream) {
            Poll::Ready(Broken::Over) if self.finished => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Peek::Broken),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.out.borrow_mut();
        let out = &mut *out;
        while out.at < out.staged.len() {
            out.at += ready!(self.link.connection.poll_write(cx, self.stream, &out.staged[out.at..]))?;
        }
        if out.at > 0 {
            (out.staged, out.at) = (Vec::new(), 0);
        }
        if std::mem::take(&mut out.ends) {
            self.link.connection.finish(self.stream);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what came; moves its content to the front of `bytes` and answers its length.
    fn digest(&mut self, bytes: &mut [u8], head: &mut Head) -> Result<usize, Wrong> {
        let (mut at, mut content) = (0, 0);
        let mut trailers = Head::default();
        loop {
            let into = if self.holds { &mut trailers } else { &mut *head };
            let (used, step) = self.message.take(&bytes[at..], &self.link.limits, into)?;
            at += used;
            match step {
                Step::More => return Ok(content),
                Step::Head => {
                    self.holds = true;
                    let urgency = self.message.priority().urgency;
                    if urgency != wire::h2::stream::Priority::default().urgency {
                        // QUIC's numbers rise with importance, HTTP's fall (RFC 9218 section 4.1).
                        self.link.connection.set_priority(self.stream, 3 - i32::from(urgency));
                    }
                }
                Step::Trailers => {
                    let found = std::mem::take(&mut trailers);
                    self.trailers = (!found.is_empty()).then(|| Box::new(found));
                }
                Step::Content(count) => {
                    bytes.copy_within(at..at + count, content);
                    self.message.content(count);
                    content += count;
                    at += count;
                }
            }
        }
    }

    /// What becomes of the stream, and of the connection.
    fn judge(&mut self, wrong: Wrong) -> Came {
        self.hearing = Hearing::Broken;
        self.wrong = match &wrong {
            // It can be told.
            Wrong::Head(_) => None,
            Wrong::Stream(broken) | Wrong::Connection(broken) => Some(broken.reason),
        };
        let connection = &self.link.connection;
        match wrong {
            Wrong::Head(reject) if self.role != Role::Server => {
                connection.stop(self.stream, Code::MESSAGE_ERROR.0);
                connection.reset(self.stream, Code::MESSAGE_ERROR.0);
                self.finished = true;
                Came::Refused(reject)
            }
            Wrong::Head(reject) => {
                // RFC 9114 section 4.1.1: the answer needs no more of the request.
                connection.stop(self.stream, Code::NO_ERROR.0);
                Came::Refused(reject)
            }
            Wrong::Stream(broken) => {
                connection.stop(self.stream, broken.code.0);
                connection.reset(self.stream, broken.code.0);
                self.finished = true;
                Came::Broken(broken.reason)
            }
            Wrong::Connection(broken) => {
                connection.close(broken.code.0, broken.reason);
                Came::Broken(broken.reason)
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let connection = &self.link.connection;
        let (cut, unheard) = match (self.role, self.switched) {
            // RFC 9114 section 4.4: whatever breaks the connection that the stream stands for, in both directions.
            (Role::Server, Some(Switched::Tunnel)) => (Code::CONNECT_ERROR.0, Code::CONNECT_ERROR.0),
            (Role::Server, None) => (Code::INTERNAL_ERROR.0, Code::NO_ERROR.0),
            // RFC 9220 section 3.
            (Role::Server, Some(Switched::Protocol)) | (Role::Client | Role::Tunnel, _) => {
                (Code::REQUEST_CANCELLED.0, Code::REQUEST_CANCELLED.0)
            }
        };
        if self.role == Role::Client && !self.begun {
            // The server knows nothing of it: it is as good for the next.
            self.link.said.spare.borrow_mut().push(self.stream);
        } else {
            if !self.finished || self.out.get_mut().ends {
                connection.reset(self.stream, cut);
            }
            if self.hearing == Hearing::Open {
                connection.stop(self.stream, unheard);
            }
        }
        connection.forget(self.stream);
        self.link.boxes.close(self.stream.number());
        self.link.open.set(self.link.open.get() - 1);
        if self.link.open.get() == 0 {
            // It may wait for the last of them.
            self.link.wake_trunk();
        }
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
