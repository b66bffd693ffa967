//! One connection of HTTP/3, as a client has it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{Dir, Event, StreamEvent, StreamId};

use super::answer::Answer;
use super::wire;
use crate::quic::{Connection, Room};

pub struct Session {
    connection: Connection,
    /// When its first packet was due.
    begun: Instant,
    established: bool,
    lost: bool,
    /// Requests that were sent.
    asked: u64,
    /// Requests whose answers have not ended.
    open: Vec<Exchange>,
    /// What answers say, if anybody wants it.
    pub kept: Option<Vec<u8>>,
}

struct Exchange {
    stream: StreamId,
    asked: Instant,
    answer: Answer,
}

/// How a request has ended.
pub struct Answered {
    pub asked: Instant,
    /// The length of the body of a whole 200; none is anything else.
    pub body: Option<u64>,
}

/// `H3_NO_ERROR` (RFC 9114 section 8.1).
const NO_ERROR: u32 = 0x100;

impl Session {
    pub fn new(connection: Connection, begun: Instant) -> Self {
        Self { connection, begun, established: false, lost: false, asked: 0, open: Vec::new(), kept: None }
    }

    pub fn begun(&self) -> Instant {
        self.begun
    }

    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether nothing was asked on it yet.
    pub fn is_new(&self) -> bool {
        self.asked == 0
    }

    /// Requests that are under way.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// When its timers want to be looked at.
    pub fn due(&mut self) -> Option<Instant> {
        self.connection.proto.poll_timeout()
    }

    /// Sends a request, if the handshake is over and the server lets us; says whether it did.
    pub fn ask(&mut self, request: &Bytes, asked: Instant) -> bool {
        if !self.established || self.lost {
            return false;
        }
        let Some(stream) = self.connection.proto.streams().open(Dir::Bi) else { return false };
        // A request is far smaller than any server's first window, so that one cut in two is never answered, and shows.
        let mut sending = self.connection.proto.send_stream(stream);
        let whole = sending.write_chunks(&mut [request.clone()]).is_ok_and(|written| written.bytes == request.len());
        if whole {
            // It was opened just now, so that nothing can have ended it.
            let _ = sending.finish();
        }
        self.asked += 1;
        self.open.push(Exchange { stream, asked, answer: Answer::new() });
        true
    }

    /// Takes what the socket and the clock bring, and tells of each request that has ended.
    pub fn hear(&mut self, now: Instant, readable: bool, room: &mut Room, ended: &mut Vec<Answered>) {
        if readable && self.connection.receive(now, room).is_err() {
            self.lost = true;
        }
        self.connection.wake(now);
        while let Some(event) = self.connection.proto.poll() {
            match event {
                Event::Connected => self.introduce(),
                Event::ConnectionLost { .. } => self.lost = true,
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                    while let Some(stream) = self.connection.proto.streams().accept(Dir::Uni) {
                        self.read(stream, ended);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(id, ended),
                _ => {}
            }
        }
        if self.lost {
            ended.extend(self.open.drain(..).map(|exchange| Answered { asked: exchange.asked, body: None }));
        }
    }

    pub fn flush(&mut self, now: Instant, room: &mut Room) {
        if self.connection.flush(now, room).is_err() {
            self.lost = true;
        }
    }

    pub fn close(&mut self, now: Instant, room: &mut Room) {
        if !self.lost {
            self.connection.close(now, NO_ERROR, room);
        }
    }

    /// Our control stream comes first (RFC 9114 section 6.2.1).
    fn introduce(&mut self) {
        self.established = true;
        match self.connection.proto.streams().open(Dir::Uni) {
            // It stays open as long as the connection.
            Some(stream) if self.connection.proto.send_stream(stream).write(wire::CONTROL).is_ok() => {}
            _ => self.lost = true,
        }
    }

    /// Reads what there is of a stream. What servers say on streams of their own is read and passed over.
    fn read(&mut self, stream: StreamId, ended: &mut Vec<Answered>) {
        let at = self.open.iter().position(|exchange| exchange.stream == stream);
        let mut streams = self.connection.proto.recv_stream(stream);
        // It ended before, and this is old news.
        let Ok(mut chunks) = streams.read(true) else { return };
        let whole = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    if let Some(at) = at {
                        self.open[at].answer.take(&chunk.bytes, self.kept.as_mut());
                    }
                }
                Ok(None) => break Some(true),
                Err(quinn_proto::ReadError::Blocked) => break None,
                Err(quinn_proto::ReadError::Reset(_)) => break Some(false),
            }
        };
        // What is to be sent for it goes out with everything else of this turn.
        let _ = chunks.finalize();
        if let (Some(at), Some(whole)) = (at, whole) {
            let Exchange { asked, answer, .. } = self.open.swap_remove(at);
            ended.push(Answered { asked, body: answer.end().filter(|_| whole) });
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
