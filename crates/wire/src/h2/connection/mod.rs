//! A connection: frames in, events out; heads and content in, frames out.
//!
//! The driver owns the socket. It gives what it has read to [`Connection::step`] until nothing more is used, writes what
//! [`Connection::out`] holds, and wakes whoever waits for what an event speaks of. `receive.rs` is the way in, `send.rs`
//! the way out; both know streams by their states and windows alone.
//!
//! What the driver must know beyond the signatures:
//!
//! - A stream is forgotten when both sides have ended and all its content was [consumed](Connection::consumed).
//!   [`Connection::reset`] forgets it at once, and says nothing to the peer where both sides have ended: so call it
//!   whenever the one who cared for a stream goes away, without asking whether anything is left.
//! - A stream that an event tells to be [`Event::Reset`] is forgotten already. So is everything on a connection that is
//!   [`Broken`]: write what waits, and close.
//! - Nothing here waits. Timeouts (a peer that is silent, a SETTINGS that nobody answers) are the driver's, and
//!   [`Connection::ping`] asks the peer for a sign of life.

mod receive;
mod send;

use std::time::Instant;

use super::cost::{Account, Overdrawn};
use super::flow::{self, Receiving, Sending};
use super::frame::{self, flag, kind};
use super::hpack::decode::Decoder;
use super::settings::{self, Settings};
use super::stream::{Half, Past, Streams};
use super::{Broken, Code, Limits, Role, StreamId};
use crate::h1::Reject;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    limits: Limits,
    peer: Settings,
    /// What the peer's SETTINGS have still to tell.
    greeting: Greeting,
    /// The peer has acknowledged our SETTINGS, of which there is one frame.
    acknowledged: bool,
    reading: Reading,
    decoder: Decoder,
    streams: Streams,
    /// Living streams on which something may still come or go.
    open: u32,
    /// The last stream that the peer has begun.
    last_peer: u32,
    /// The number of the next stream that we begin.
    next_own: u32,
    sending: Sending,
    receiving: Receiving,
    account: Account,
    farewell: Farewell,
    /// The last stream that the peer will answer, once it has said that it goes.
    peer_goes: Option<u32>,
    out: Out,
    /// Counts sends, so that streams take turns.
    turn: u64,
    /// How many streams have content that was not taken.
    hungry: u32,
    broken: bool,
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    at: usize,
    /// The last frame, while it may still be made longer or be the stream's last.
    last: Option<Last>,
    /// Bytes of answers that the peer made us give (SETTINGS, PING), since nothing waited.
    answers: usize,
    /// Our first block of fields is still to come.
    blocks: bool,
}

/// The last frame that was put into what waits.
#[derive(Clone, Copy, Debug)]
struct Last {
    stream: StreamId,
    /// Where it begins.
    at: usize,
    /// DATA: more content may join it.
    content: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    /// A server waits for a client's preface.
    Preface,
    /// The first frame has to be SETTINGS (RFC 9113 section 3.4).
    Settings,
    Done,
}

#[derive(Debug)]
enum Reading {
    /// Waits for a frame.
    Frame,
    /// Waits for the content of a DATA frame.
    Content { stream: u32, left: usize, padding: usize, end: bool },
    /// Waits for the end of a payload that means nothing.
    Skip { left: usize },
    /// Waits for the rest of a block: nothing else may come before it (RFC 9113 section 6.10).
    Block(Box<Block>),
}

/// A block of fields in several frames.
#[derive(Debug)]
struct Block {
    stream: u32,
    end: bool,
    bytes: Vec<u8>,
    frames: u32,
}

/// How far we are with going away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// We stay.
    None,
    /// We have said that we will go; streams that the peer began before it heard of it are welcome.
    Announced,
    /// Streams above this one are not answered.
    Said { last: u32 },
}

/// What [`Connection::step`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'b> {
    /// Bytes that need not be shown again.
    pub used: usize,
    /// What they mean to the driver.
    pub event: Option<Event<'b>>,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A request at a server, an interim or final response at a client: the head is filled.
    Head {
        /// The stream.
        id: StreamId,
        /// Nothing follows.
        end: bool,
    },
    /// A request whose head is over a limit. The stream is open and the head is not filled: answer (431, 414), then reset.
    Refused {
        /// The stream.
        id: StreamId,
        /// Which limit.
        reject: Reject,
        /// Nothing follows.
        end: bool,
    },
    /// Content, as much of it as is here.
    Data {
        /// The stream.
        id: StreamId,
        /// The content; empty only where it ends the stream.
        content: &'b [u8],
        /// Nothing follows.
        end: bool,
    },
    /// Trailers, which end the stream: the head is filled with their fields.
    Trailers {
        /// The stream.
        id: StreamId,
    },
    /// The stream is over and forgotten. It may be one that no event has told of: a request that was refused at once. A server
    /// that resets with NO_ERROR behind the end of its response wants no more of the request: the response holds (RFC 9113
    /// section 8.1).
    Reset {
        /// The stream.
        id: StreamId,
        /// Why.
        code: Code,
        /// Who has reset it.
        by: By,
    },
    /// Content that was not taken may be taken now: of this stream, or, where there is none, of any.
    Window {
        /// The stream.
        id: Option<StreamId>,
    },
    /// The peer goes. Streams of ours above `last` will not be answered: reset them, and ask elsewhere.
    GoAway {
        /// The last stream that it has looked at.
        last: u32,
        /// Why.
        code: Code,
    },
    /// The peer has said its limits, for the first time or anew; windows may have changed.
    Settings,
    /// The answer to [`Connection::ping`].
    Pong,
}

/// Who has reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The peer.
    Peer,
    /// We, because the peer has broken a rule: which, in words for a log.
    Us(&'static str),
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotOpen {
    /// As many are open as the peer allows: wait, or take another connection.
    TooMany,
    /// The connection goes, or has used up all numbers.
    Leaving,
    /// The peer does not know extended CONNECT.
    NoExtendedConnect,
}

/// The size of table that our decoder offers: the standard's default, which needs no word.
const TABLE: usize = 4096;

/// What PING frames of ours say: one asks for a sign of life, the other how long a GOAWAY is under way.
const PING: [u8; 8] = *b"tidegate";
const FAREWELL_PING: [u8; 8] = *b"farewell";

impl Connection {
    /// A connection whose `out` already holds what it begins with: a client's preface, SETTINGS, the connection's window.
    pub fn new(role: Role, limits: &Limits) -> Connection {
        let window = |size: u32| size.clamp(flow::DEFAULT, flow::MOST);
        let limits = Limits {
            stream_window: window(limits.stream_window),
            connection_window: window(limits.connection_window),
            ..*limits
        };
        let mut out = Out { blocks: true, ..Out::default() };
        if role == Role::Client {
            out.bytes.extend_from_slice(frame::PREFACE);
        }
        settings::write(role, &limits, &mut out.bytes);
        if limits.connection_window > flow::DEFAULT {
            frame::begin(4, kind::WINDOW_UPDATE, 0, 0, &mut out.bytes);
            out.bytes.extend_from_slice(&(limits.connection_window - flow::DEFAULT).to_be_bytes());
        }
        Connection {
            role,
            limits,
            peer: Settings::default(),
            greeting: if role == Role::Server { Greeting::Preface } else { Greeting::Settings },
            acknowledged: false,
            reading: Reading::Frame,
            decoder: Decoder::new(TABLE),
            streams: Streams::default(),
            open: 0,
            last_peer: 0,
            next_own: 1,
            sending: Sending::new(flow::DEFAULT),
            receiving: Receiving::new(limits.connection_window),
            account: Account::default(),
            farewell: Farewell::None,
            peer_goes: None,
            out,
            turn: 0,
            hungry: 0,
            broken: false,
        }
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Streams on which something may still come or go.
    pub fn open_streams(&self) -> usize {
        self.open as usize
    }

    /// Whether a client may open another stream now.
    pub fn may_open(&self) -> bool {
        self.may_begin().is_ok()
    }

    /// Whether a client may begin no more streams, however few are open.
    pub fn is_leaving(&self) -> bool {
        self.may_begin() == Err(CannotOpen::Leaving)
    }

    /// How many streams the peer lets us have open.
    pub fn peer_streams(&self) -> u32 {
        self.peer.streams
    }

    /// Whether the peer has said its limits.
    pub fn is_greeted(&self) -> bool {
        self.greeting == Greeting::Done
    }

    /// Whether the peer knows extended CONNECT.
    pub fn peer_allows_extended_connect(&self) -> bool {
        self.peer.extended_connect
    }

    /// Whether the connection has served its purpose: either side goes, and no stream is open.
    pub fn is_over(&self) -> bool {
        let leaving = self.broken || matches!(self.farewell, Farewell::Said { .. }) || self.peer_goes.is_some();
        leaving && self.open == 0
    }

    /// Whether a block of fields has begun whose end has not come.
    pub fn is_inside_block(&self) -> bool {
        matches!(self.reading, Reading::Block(_))
    }

    /// Bytes of memory that the connection holds beside itself.
    pub fn capacity(&self) -> usize {
        let block = if let Reading::Block(block) = &self.reading { block.bytes.capacity() } else { 0 };
        self.out.bytes.capacity() + self.decoder.table().capacity() + self.streams.capacity() + block
    }

    fn may_begin(&self) -> Result<(), CannotOpen> {
        if self.broken || self.role == Role::Server || self.farewell != Farewell::None || self.peer_goes.is_some() {
            return Err(CannotOpen::Leaving);
        }
        if self.next_own > flow::MOST {
            return Err(CannotOpen::Leaving);
        }
        if self.open >= self.peer.streams { Err(CannotOpen::TooMany) } else { Ok(()) }
    }

    /// One direction of a stream has ended; perhaps the stream.
    fn half_ended(&mut self, id: StreamId) {
        let Some(stream) = self.streams.of(id) else { return };
        if stream.receive == Half::Ended && stream.send == Half::Ended {
            self.open -= 1;
            self.account.finished();
            if stream.held == 0 {
                self.forget(id, Past::Over);
            }
        }
    }

    /// Takes a stream out of the table; what it held counts as handed on.
    fn forget(&mut self, id: StreamId, past: Past) {
        let Some(stream) = self.streams.remove(id, past) else { return };
        if !(stream.receive == Half::Ended && stream.send == Half::Ended) {
            self.open -= 1;
        }
        self.hungry -= u32::from(stream.hungry);
        self.give_back(stream.held);
    }

    /// The connection's window may grow by this much, after as much was handed on or dropped.
    fn give_back(&mut self, count: u32) {
        if count == 0 {
            return;
        }
        self.receiving.consumed(count);
        if let Some(credit) = self.receiving.update() {
            self.out.window_update(0, credit);
        }
    }

    /// Ends the connection for what the peer has done.
    fn fail(&mut self, code: Code, reason: &'static str) -> Broken {
        if !self.broken {
            self.out.go_away(self.last_peer, code);
            self.broken = true;
        }
        Broken { code, reason }
    }

    /// Charges the peer for what it made us do.
    fn charge(&mut self, cost: u32, now: Instant) -> Result<(), Broken> {
        let charged = self.account.charge(cost, now);
        self.paid(charged)
    }

    /// Charges the peer for a stream that has come to nothing.
    fn charge_reset(&mut self, cost: u32, now: Instant) -> Result<(), Broken> {
        let charged = self.account.charge_reset(cost, now);
        self.paid(charged)
    }

    /// Ends the connection where the peer could not pay.
    fn paid(&mut self, charged: Result<(), Overdrawn>) -> Result<(), Broken> {
        charged.map_err(|Overdrawn| self.fail(Code::ENHANCE_YOUR_CALM, "too much work for nothing"))
    }
}

impl Out {
    fn waiting(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Appends a frame that is not content, whole.
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        frame::begin(payload.len(), kind, flags, stream, &mut self.bytes);
        self.bytes.extend_from_slice(payload);
        self.last = None;
    }

    fn window_update(&mut self, stream: u32, credit: u32) {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &credit.to_be_bytes());
    }

    fn reset(&mut self, stream: u32, code: Code) {
        self.frame(kind::RST_STREAM, 0, stream, &code.0.to_be_bytes());
    }

    fn go_away(&mut self, last: u32, code: Code) {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&last.to_be_bytes());
        payload[4..].copy_from_slice(&code.0.to_be_bytes());
        self.frame(kind::GOAWAY, 0, 0, &payload);
    }

    /// Appends an answer that the peer makes us give.
    fn answer(&mut self, kind: u8, payload: &[u8]) {
        self.frame(kind, flag::ACK, 0, payload);
        self.answers += frame::HEADER + payload.len();
    }
}
