//! A connection and the bytes that were read from it too early.
//!
//! Reads go into a block that the caller owns and shares among all its connections; a connection that waits owns no
//! buffer. Only what could not be used yet (half a head, a pipelined request) stays with the connection.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use net::Stream;
use net::quic::Unsent;
use net::stream::Peek;
use wire::h1::{self, Asked, Limits, Progress, Reject};
use wire::h2::frame::PREFACE;
use wire::{Framing, Head, Version, socks};

use crate::body::{BodyReader, BodyWriter};
use crate::{h2, h3};

/// A connection.
#[derive(Debug)]
pub struct Conn {
    carrier: Carrier,
    /// Read, not yet used. Empty, and without memory, most of the time.
    carry: Vec<u8>,
    /// What is kept is known to be less than a head.
    partial: bool,
    /// What the first bytes may say that follows.
    sniffs: Sniffs,
}

/// What a peer may begin with that is no request of HTTP/1, without having agreed on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sniffs {
    /// HTTP/2 (RFC 9113 section 3.3).
    pub h2: bool,
    /// SOCKS, of any version: its first byte begins no request.
    pub socks: bool,
}

/// What carries the messages.
#[derive(Debug)]
enum Carrier {
    /// HTTP/1 has its connection for itself.
    Line(Stream),
    /// A stream of a connection that others share: of HTTP/2,
    Lane(h2::Lane),
    /// and of HTTP/3.
    Quic(Box<h3::Lane>),
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A whole head.
    Head,
    /// The peer closed the connection before it sent anything.
    Closed,
    /// The preface of HTTP/2, which is kept.
    Preface,
    /// The beginning of a conversation in SOCKS, which is kept.
    Socks,
}

/// Why a head could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The socket's own error.
    Io(io::Error),
    /// The connection ended inside the head, or before it where one was due.
    Ended,
    /// The head was refused.
    Reject(Reject),
    /// The server has not looked at the request: it can be asked again, or another one.
    Refused,
}

/// Bytes that a socket has not taken yet.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: Vec<u8>,
    at: usize,
}

impl Conn {
    /// A connection on a fresh stream.
    pub fn new(stream: Stream) -> Conn {
        Conn { carrier: Carrier::Line(stream), carry: Vec::new(), partial: false, sniffs: Sniffs::default() }
    }

    /// Lets the peer begin with one of these.
    pub fn sniffing(stream: Stream, sniffs: Sniffs) -> Conn {
        Conn { sniffs, ..Conn::new(stream) }
    }

    /// One stream of a connection that others share.
    pub fn of_lane(lane: h2::Lane) -> Conn {
        Conn { carrier: Carrier::Lane(lane), carry: Vec::new(), partial: false, sniffs: Sniffs::default() }
    }

    /// The same for HTTP/3.
    pub fn of_quic(lane: h3::Lane) -> Conn {
        Conn { carrier: Carrier::Quic(Box::new(lane)), carry: Vec::new(), partial: false, sniffs: Sniffs::default() }
    }

    /// Keeps the datagrams that come beside a stream of QUIC from now on.
    pub fn expect_datagrams(&self) {
        if let Carrier::Quic(lane) = &self.carrier {
            lane.expect_datagrams();
        }
    }

    /// Takes the next datagram that has come beside the stream. Where there is none beside it, there never is one.
    pub fn poll_datagram(&self, cx: &Context<'_>, into: &mut [u8]) -> Poll<usize> {
        match &self.carrier {
            Carrier::Quic(lane) => lane.poll_datagram(cx, into),
            Carrier::Line(_) | Carrier::Lane(_) => Poll::Pending,
        }
    }

    /// Sends a datagram beside the stream, made of these parts.
    ///
    /// # Errors
    /// Nothing goes beside it, or not one so long.
    pub fn send_datagram(&self, parts: &[&[u8]]) -> Result<(), Unsent> {
        match &self.carrier {
            Carrier::Quic(lane) => lane.send_datagram(parts),
            Carrier::Line(_) | Carrier::Lane(_) => Err(Unsent::Unwanted),
        }
    }

    /// The stream under it, if its bytes are the message's own: what may go through a pipe.
    pub fn plain(&self) -> Option<&Stream> {
        match &self.carrier {
            Carrier::Line(stream) => Some(stream).filter(|stream| stream.is_plain()),
            Carrier::Lane(_) | Carrier::Quic(_) => None,
        }
    }

    /// The stream alone, if nobody shares it; bytes that were read too early are lost.
    pub fn into_stream(self) -> Option<Stream> {
        self.into_parts().map(|(stream, _)| stream)
    }

    /// The stream, if nobody shares it, and the bytes that were read too early.
    pub fn into_parts(self) -> Option<(Stream, Vec<u8>)> {
        match self.carrier {
            Carrier::Line(stream) => Some((stream, self.carry)),
            Carrier::Lane(_) | Carrier::Quic(_) => None,
        }
    }

    /// The stream, if nobody shares it, without the bytes that were read too early.
    pub fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.carrier {
            Carrier::Line(stream) => Some(stream),
            Carrier::Lane(_) | Carrier::Quic(_) => None,
        }
    }

    /// Takes the stream out, so that another one can be made of it and put in its place; what stands there until then has ended. Bytes that
    /// were read too early stay.
    ///
    /// # Errors
    /// Others share it, or there are no descriptors.
    pub fn take_stream(&mut self) -> io::Result<Stream> {
        match &mut self.carrier {
            Carrier::Line(stream) => Ok(std::mem::replace(stream, Stream::silent()?.0)),
            Carrier::Lane(_) | Carrier::Quic(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Puts a stream in the place of one that was taken out.
    pub fn put_stream(&mut self, stream: Stream) {
        self.carrier = Carrier::Line(stream);
    }

    /// Reads what is there, past the bytes that were kept. Zero bytes are the end.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Line(stream) => stream.poll_read(cx, into),
            Carrier::Lane(lane) => lane.poll_read(cx, into),
            Carrier::Quic(lane) => lane.poll_read(cx, into),
        }
    }

    /// Writes as much as is taken.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Line(stream) => stream.poll_write(cx, bytes),
            Carrier::Lane(lane) => lane.poll_write(cx, bytes),
            Carrier::Quic(lane) => lane.poll_write(cx, bytes),
        }
    }

    /// What a read would find; pending while the peer is there and silent.
    pub fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<Peek> {
        match &self.carrier {
            Carrier::Line(stream) => stream.poll_peek(cx),
            Carrier::Lane(lane) => lane.poll_peek(cx),
            Carrier::Quic(lane) => lane.poll_peek(cx),
        }
    }

    /// Whether the peer has taken its message back, where a version can say that without a word being read; if not, the task is
    /// woken when it does.
    pub fn is_taken_back(&self, cx: &mut Context<'_>) -> bool {
        !matches!(self.carrier, Carrier::Line(_)) && self.poll_peek(cx) == Poll::Ready(Peek::Broken)
    }

    /// How the peer broke the protocol, where a version tells it so without a word that could be read.
    pub fn wrong(&self) -> Option<&'static str> {
        match &self.carrier {
            Carrier::Line(_) => None,
            Carrier::Lane(lane) => lane.wrong(),
            Carrier::Quic(lane) => lane.wrong(),
        }
    }

    /// Our end of it, if it has one of its own.
    pub fn local(&self) -> Option<SocketAddr> {
        match &self.carrier {
            Carrier::Line(stream) => stream.local(),
            Carrier::Lane(_) | Carrier::Quic(_) => None,
        }
    }

    /// Says that nothing more will be written.
    pub fn shutdown_write(&mut self) {
        match &mut self.carrier {
            Carrier::Line(stream) => stream.shutdown_write(),
            Carrier::Lane(lane) => lane.finish(None),
            Carrier::Quic(lane) => lane.finish(None),
        }
    }

    /// Makes the coming close visible as a cut. A lane that is dropped before its end is cut visibly anyway.
    pub fn reset_on_close(&self) {
        if let Carrier::Line(stream) = &self.carrier {
            stream.reset_on_close();
        }
    }

    /// Whether what is written here goes out later, in one go with what others write.
    pub fn gathers_writes(&self) -> bool {
        matches!(self.carrier, Carrier::Lane(_))
    }

    /// Whether it ends without a word of its own, so that nothing has to be waited for.
    pub fn ends_silently(&self) -> bool {
        match &self.carrier {
            Carrier::Line(stream) => stream.is_plain(),
            Carrier::Lane(_) | Carrier::Quic(_) => true,
        }
    }

    /// Says that it ends here, where a protocol wants that said; ready when the socket has it.
    pub fn poll_farewell(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.carrier {
            Carrier::Line(stream) => stream.poll_farewell(cx),
            Carrier::Lane(_) | Carrier::Quic(_) => Poll::Ready(()),
        }
    }

    /// Writes a request's head, in the version that is spoken here, behind what is in `out`.
    pub fn write_request(&mut self, head: &Head, out: &mut Vec<u8>) {
        match &mut self.carrier {
            Carrier::Line(_) => h1::request_head(head, out),
            Carrier::Lane(lane) => lane.write_head(head),
            Carrier::Quic(lane) => lane.write_head(head),
        }
    }

    /// The same for a proxy that is asked for another server's answer, by whoever has these credentials.
    pub fn write_request_for_proxy(&mut self, head: &Head, credentials: Option<&[u8]>, out: &mut Vec<u8>) {
        match &self.carrier {
            Carrier::Line(_) => h1::request_head_for_proxy(head, credentials, out),
            Carrier::Lane(_) | Carrier::Quic(_) => self.write_request(head, out),
        }
    }

    /// Writes a response's head, in the version that is spoken here, behind what is in `out`. `keep` says whether the
    /// connection waits for another request after it. Answers whether the head has left already: then it cannot be taken back.
    pub fn write_response(&mut self, head: &mut Head, asked_in: Version, keep: bool, out: &mut Vec<u8>) -> bool {
        match &mut self.carrier {
            Carrier::Line(_) => {
                if !keep {
                    head.add(b"Connection", b"close");
                } else if asked_in == Version::H10 {
                    head.add(b"Connection", b"keep-alive");
                }
                h1::response_head(head, out);
                false
            }
            Carrier::Lane(lane) => {
                lane.write_head(head);
                true
            }
            Carrier::Quic(lane) => {
                lane.write_head(head);
                true
            }
        }
    }

    /// Writes the head of the response after which both sides say what they like, behind what is in `out`. Its status becomes
    /// what the client is told.
    pub fn write_switched(&mut self, head: &mut Head, out: &mut Vec<u8>) {
        match &mut self.carrier {
            Carrier::Line(_) => {
                if head.status() == 101 {
                    head.add(b"Connection", b"Upgrade");
                    let protocol =
                        if head.protocol().is_empty() { b"websocket".to_vec() } else { head.protocol().to_vec() };
                    head.add(b"Upgrade", &protocol);
                }
                h1::response_head(head, out);
            }
            Carrier::Lane(lane) => lane.switch(head),
            Carrier::Quic(lane) => lane.switch(head),
        }
    }

    /// Writes the head of an interim response, in the version that is spoken here, behind what is in `out`.
    pub fn write_interim(&mut self, head: &Head, out: &mut Vec<u8>) {
        match &mut self.carrier {
            Carrier::Line(_) => h1::response_head(head, out),
            Carrier::Lane(lane) => lane.write_head(head),
            Carrier::Quic(lane) => lane.write_head(head),
        }
    }

    /// How content is written here that is framed so.
    pub fn body_writer(&self, framing: Framing) -> BodyWriter {
        match &self.carrier {
            Carrier::Line(_) => BodyWriter::new(framing),
            Carrier::Lane(_) | Carrier::Quic(_) => BodyWriter::Plain,
        }
    }

    /// How the content of a message is read here whose head says that it is framed so.
    pub fn body_reader(&self, framing: Framing) -> BodyReader {
        match (&self.carrier, framing) {
            (Carrier::Line(_), _) => BodyReader::new(framing),
            (_, Framing::None) => BodyReader::Done(None),
            (_, _) => BodyReader::UntilEnd,
        }
    }

    /// Everything of the message was written: says that it ends here, where the framing of its content has not said so.
    pub fn finish(&mut self, trailers: Option<&Head>) {
        match &mut self.carrier {
            Carrier::Line(_) => {}
            Carrier::Lane(lane) => lane.finish_message(trailers),
            Carrier::Quic(lane) => lane.finish_message(trailers),
        }
    }

    /// The trailers of a message whose end was read here, if the framing of its content does not hold them.
    pub fn take_trailers(&mut self) -> Option<Box<Head>> {
        match &mut self.carrier {
            Carrier::Line(_) => None,
            Carrier::Lane(lane) => lane.take_trailers(),
            Carrier::Quic(lane) => lane.take_trailers(),
        }
    }

    /// Whether some of a message's content is here already, so that reading it would not wait.
    pub fn has_content(&self) -> bool {
        match &self.carrier {
            Carrier::Line(_) => self.has_carry(),
            Carrier::Lane(lane) => self.has_carry() || lane.has_content(),
            Carrier::Quic(lane) => self.has_carry() || lane.has_content(),
        }
    }

    /// Whether bytes wait that were read too early.
    pub fn has_carry(&self) -> bool {
        !self.carry.is_empty()
    }

    /// The bytes that were read too early.
    pub fn carry(&self) -> &[u8] {
        &self.carry
    }

    /// Keeps bytes for the next read. They follow nothing: what was kept before must have been used.
    pub fn keep(&mut self, bytes: &[u8]) {
        debug_assert!(self.carry.is_empty());
        self.partial = false;
        self.carry.extend_from_slice(bytes);
    }

    /// Reads once into `block`, behind the bytes kept from before, which move there. Answers the length of both; 0 is
    /// the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>, block: &mut [u8]) -> Poll<io::Result<usize>> {
        let kept = self.carry.len();
        if kept == 0 {
            return self.poll_read(cx, block);
        }
        let fresh = ready!(self.poll_read(cx, &mut block[kept..]))?;
        block[..kept].copy_from_slice(&self.carry);
        self.carry = Vec::new();
        Poll::Ready(Ok(kept + fresh))
    }

    /// Moves the kept bytes into `block` without reading; answers their length.
    pub fn unkeep(&mut self, block: &mut [u8]) -> usize {
        let kept = self.carry.len();
        block[..kept].copy_from_slice(&self.carry);
        self.carry = Vec::new();
        kept
    }

    /// Reads a request's head. Bytes behind it are kept. `block` is longer than `limits.head`.
    ///
    /// # Errors
    /// See [`ReadError`]. What was read of a refused request is kept in front of nothing: the connection must close.
    pub fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        block: &mut [u8],
        limits: &Limits,
        head: &mut Head,
    ) -> Poll<Result<Arrival, ReadError>> {
        if self.has_carry() && !self.partial && !self.sniffs.h2 {
            // A pipelined request may be here whole: try before reading.
            if let Progress::Complete(used) = h1::request(&self.carry, limits, head).map_err(ReadError::Reject)? {
                self.carry.drain(..used);
                if self.carry.is_empty() {
                    self.carry = Vec::new();
                }
                return Poll::Ready(Ok(Arrival::Head));
            }
            self.partial = true;
        }
        loop {
            let kept = self.carry.len();
            let length = match ready!(self.poll_bytes(cx, block)) {
                Ok(0) => return Poll::Ready(Ok(Arrival::Closed)),
                Ok(length) if length == kept => return Poll::Ready(Err(ReadError::Ended)),
                Ok(length) => length,
                Err(error) if kept == 0 && is_reset(&error) => return Poll::Ready(Ok(Arrival::Closed)),
                Err(error) => return Poll::Ready(Err(ReadError::Io(error))),
            };
            if std::mem::take(&mut self.sniffs.socks) && socks::Version::of(block[0]).is_some() {
                self.keep(&block[..length]);
                return Poll::Ready(Ok(Arrival::Socks));
            }
            if self.sniffs.h2 {
                let seen = length.min(PREFACE.len());
                self.sniffs.h2 = block[..seen] == PREFACE[..seen];
                if self.sniffs.h2 {
                    self.keep(&block[..length]);
                    if seen == PREFACE.len() {
                        return Poll::Ready(Ok(Arrival::Preface));
                    }
                    continue;
                }
            }
            if may_be_whole(kept, &block[..length], limits)
                && let Progress::Complete(used) =
                    h1::request(&block[..length], limits, head).map_err(ReadError::Reject)?
            {
                self.keep(&block[used..length]);
                return Poll::Ready(Ok(Arrival::Head));
            }
            self.carry.extend_from_slice(&block[..length]);
            self.partial = true;
        }
    }

    /// Reads a response's head, at most `at_once` bytes a time; `block` is longer than `limits.head` by that. Answers where in
    /// `block` the bytes behind the head stand: the caller uses them at once, or keeps them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        block: &mut [u8],
        at_once: usize,
        asked: Asked,
        limits: &Limits,
        head: &mut Head,
    ) -> Poll<Result<Range<usize>, ReadError>> {
        if let Carrier::Lane(lane) = &mut self.carrier {
            return lane.poll_response(cx, head).map_ok(|()| 0..0);
        }
        if let Carrier::Quic(lane) = &mut self.carrier {
            return lane.poll_response(cx, block, head).map_ok(|()| 0..0);
        }
        if self.has_carry() {
            // After an interim response the final one may be here already.
            if let Progress::Complete(used) =
                h1::response(&self.carry, asked, limits, head).map_err(ReadError::Reject)?
            {
                let length = self.unkeep(block);
                return Poll::Ready(Ok(used..length));
            }
        }
        loop {
            let kept = self.carry.len();
            let room = block.len().min(kept + at_once);
            let length = ready!(self.poll_bytes(cx, &mut block[..room])).map_err(ReadError::Io)?;
            if length == kept {
                return Poll::Ready(Err(ReadError::Ended));
            }
            if may_be_whole(kept, &block[..length], limits)
                && let Progress::Complete(used) =
                    h1::response(&block[..length], asked, limits, head).map_err(ReadError::Reject)?
            {
                return Poll::Ready(Ok(used..length));
            }
            self.carry.extend_from_slice(&block[..length]);
        }
    }
}

impl Backlog {
    /// Whether all bytes were taken.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes that wait.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Writes bytes behind those that wait; what the socket does not take waits with them.
    ///
    /// # Errors
    /// What the socket says.
    pub fn push(&mut self, cx: &mut Context<'_>, to: &mut Conn, mut bytes: &[u8]) -> io::Result<()> {
        while self.is_empty() && !bytes.is_empty() {
            match to.poll_write(cx, bytes) {
                Poll::Ready(written) => bytes = &bytes[written?..],
                Poll::Pending => break,
            }
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut Conn) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            match ready!(to.poll_write(cx, &self.bytes[self.at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.at += written,
            }
        }
        if !self.bytes.is_empty() {
            *self = Backlog::default();
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether reading the head again is worth it now that bytes came behind the first `kept` ones. A head that trickles in
/// byte by byte would else cost the square of its length: it is read when its end came, and each time it has doubled.
fn may_be_whole(kept: usize, bytes: &[u8], limits: &Limits) -> bool {
    let fresh = &bytes[kept.saturating_sub(3)..];
    kept == 0
        || bytes.len() >= limits.head
        || kept.next_power_of_two() != bytes.len().next_power_of_two()
        || fresh.windows(2).any(|pair| pair == b"\n\n" || pair == b"\n\r")
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
