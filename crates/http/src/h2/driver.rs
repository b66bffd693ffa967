//! What moves the bytes of a connection: reads for all its streams, and writes what all of them have to say.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use net::Stream;
use wire::Head;
use wire::h1::Reject;
use wire::h2::{self, Broken, By, Code, Connection, Event, Limits, StreamId};

use super::lane::Role;
use super::{Client, Lane, Link, Shared, Strand};

/// A connection of HTTP/2.
#[derive(Debug)]
pub struct Driver {
    stream: Stream,
    link: Held,
    /// Read, not yet understood.
    carry: Vec<u8>,
    /// Where heads are read into.
    head: Head,
    /// The connection cannot go on, and why.
    broken: Option<&'static str>,
    /// When something was read last.
    heard: Option<Instant>,
}

/// The driver's hold on what it shares: without it nobody moves the bytes of the streams any more, and they are told.
#[derive(Debug)]
struct Held(Link);

/// A request that came.
pub enum Came<'a> {
    /// Its head; the caller may take the head's memory and leave its own.
    Request(Lane, &'a mut Head),
    /// A request that cannot be served, and why. It can be answered.
    Refused(Lane, Reject),
    /// A request that broke the protocol, and how. Its stream is reset already.
    Reset(&'static str),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has left.
    Closed,
    /// We have, and the peer was told.
    Left,
    /// The peer broke the protocol; it was told, and how is here.
    Broken(&'static str),
}

/// When so much waits that the peer does not read, nothing more is read of it.
const MOST_OUT: usize = 512 * 1024;

/// Interim responses that nobody has read yet.
const MOST_HEADS: usize = 32;

impl Driver {
    /// The server's end of a connection, of which these bytes were read already.
    pub fn server(stream: Stream, carry: Vec<u8>, limits: &Limits) -> Driver {
        Driver::new(h2::Role::Server, stream, carry, limits)
    }

    /// The client's end of a connection on which nothing was said yet.
    pub fn client(stream: Stream, limits: &Limits) -> Driver {
        Driver::new(h2::Role::Client, stream, Vec::new(), limits)
    }

    fn new(role: h2::Role, stream: Stream, carry: Vec<u8>, limits: &Limits) -> Driver {
        let shared = Shared {
            codec: Connection::new(role, limits),
            lanes: rustc_hash::FxHashMap::default(),
            driver: None,
            waiting: 0,
            reserved: 0,
            most: 2 * limits.streams as usize,
            spare: Vec::new(),
            over: false,
        };
        let link = Held(Link(Rc::new(RefCell::new(shared))));
        Driver { stream, link, carry, head: Head::default(), broken: None, heard: None }
    }

    /// What gives lanes of a client's connection.
    pub fn lanes(&self) -> Client {
        Client::new(&self.link.0)
    }

    /// When something was read last.
    pub fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&self) {
        self.link.shared().codec.ping();
    }

    /// Nothing has come or gone for a while: memory that one burst has needed is given back.
    pub fn rest(&mut self) {
        self.link.shared().codec.rest();
        self.carry.shrink_to_fit();
    }

    /// The stream below, to end it.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// How many streams have an exchange, or are reserved for one.
    pub fn open(&self) -> usize {
        let shared = self.link.shared();
        shared.lanes.len() + shared.reserved
    }

    /// Whether some of a head, or of a frame, has come and the rest has not.
    pub fn is_inside(&self) -> bool {
        !self.carry.is_empty() || self.link.shared().codec.is_inside_block()
    }

    /// Tells the peer that the connection ends here; it does as soon as it is polled again.
    pub fn leave(&self) {
        self.link.shared().codec.go_away(Code::NO_ERROR);
    }

    /// Tells the peer that no new streams are wanted; those it has begun meanwhile are still served.
    pub fn announce_end(&self) {
        self.link.shared().codec.announce_end();
    }

    /// Moves what can be moved, hands requests to `came`, and is ready when the connection has ended.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        block: &mut [u8],
        now: Instant,
        came: &mut dyn FnMut(Came<'_>),
    ) -> Poll<End> {
        self.stay_awake(cx);
        if !self.carry.is_empty() && self.broken.is_none() {
            // What came with the bytes that told the version.
            let kept = std::mem::take(&mut self.carry);
            self.take(&kept, now, came);
        }
        loop {
            if let Some(end) = self.poll_write(cx) {
                return self.over(end);
            }
            // What is to be said was written, if there was room for it.
            if let Some(reason) = self.broken {
                return self.over(End::Broken(reason));
            }
            if self.is_over() {
                return self.over(End::Left);
            }
            if self.link.shared().codec.out().len() > MOST_OUT {
                return Poll::Pending;
            }
            let kept = self.carry.len();
            let length = match self.stream.poll_read(cx, &mut block[kept..]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return self.over(End::Closed),
                Poll::Ready(Ok(count)) => kept + count,
            };
            self.heard = Some(now);
            block[..kept].copy_from_slice(&self.carry);
            self.carry.clear();
            self.take(&block[..length], now, came);
        }
    }

    /// Whether one side has said that it goes, and all of its streams have ended.
    fn is_over(&self) -> bool {
        let shared = self.link.shared();
        shared.codec.is_over() && !shared.codec.has_out() && shared.lanes.is_empty() && shared.reserved == 0
    }

    fn stay_awake(&self, cx: &Context<'_>) {
        let mut shared = self.link.shared();
        if !shared.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            shared.driver = Some(cx.waker().clone());
        }
    }

    /// Writes what the socket takes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let mut shared = self.link.shared();
        let mut wrote = false;
        while shared.codec.has_out() {
            match self.stream.poll_write(cx, shared.codec.out()) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    shared.codec.written(count);
                    shared.codec.seal();
                    wrote = true;
                }
                Poll::Ready(_) => return Some(End::Closed),
                Poll::Pending => {
                    // Where it is encrypted, what was shown is on its way already.
                    shared.codec.seal();
                    break;
                }
            }
        }
        if wrote {
            shared.wake_writers();
        }
        None
    }

    fn over(&mut self, end: End) -> Poll<End> {
        self.link.shared().end();
        Poll::Ready(end)
    }

    /// Understands bytes; keeps those that are less than a frame.
    fn take(&mut self, mut bytes: &[u8], now: Instant, came: &mut dyn FnMut(Came<'_>)) {
        loop {
            let stepped = self.link.shared().codec.step(bytes, now, &mut self.head);
            let step = match stepped {
                Ok(step) => step,
                Err(Broken { reason, .. }) => {
                    self.broken = Some(reason);
                    return;
                }
            };
            bytes = &bytes[step.used..];
            match step.event {
                None if step.used == 0 || bytes.is_empty() => break,
                None => {}
                Some(event) => self.heed(event, came),
            }
        }
        self.carry.extend_from_slice(bytes);
    }

    fn heed(&mut self, event: Event<'_>, came: &mut dyn FnMut(Came<'_>)) {
        match event {
            Event::Head { id, end } if self.is_client() => self.answer(id, end),
            Event::Head { id, end } => {
                if let Some(lane) = self.begin(id, end) {
                    came(Came::Request(lane, &mut self.head));
                }
            }
            Event::Refused { id, reject, end } => {
                if let Some(lane) = self.begin(id, end) {
                    came(Came::Refused(lane, reject));
                }
            }
            Event::Data { id, content, end } => self.with(|shared| match shared.lanes.get_mut(&id) {
                Some(strand) => {
                    strand.content.extend_from_slice(content);
                    strand.ended |= end;
                    strand.wake();
                }
                // Its exchange has ended before it.
                None => shared.codec.consumed(id, content.len()),
            }),
            Event::Trailers { id } => {
                let trailers = Box::new(std::mem::take(&mut self.head));
                self.with(|shared| {
                    if let Some(strand) = shared.lanes.get_mut(&id) {
                        strand.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
                        strand.ended = true;
                        strand.wake();
                    }
                });
            }
            Event::Reset { id, code, by } => {
                let is_known = self.with(|shared| {
                    let strand = shared.lanes.get_mut(&id)?;
                    // A server that wants no more of the request has said all it had to say (RFC 9113 section 8.1).
                    if !(strand.ended && code == Code::NO_ERROR) {
                        strand.broken = Some(code);
                        (strand.content, strand.at) = (Vec::new(), 0);
                        if let By::Us(reason) = by {
                            strand.reason = Some(reason);
                        }
                    }
                    strand.wake();
                    Some(())
                });
                if let (None, By::Us(reason)) = (is_known, by) {
                    came(Came::Reset(reason));
                }
            }
            Event::Window { .. } | Event::Settings => self.with(Shared::wake_writers),
            Event::GoAway { last, .. } if self.is_client() => self.with(|shared| shared.leave_behind(last)),
            // A client that goes away still wants the answers to what it has asked.
            Event::GoAway { .. } | Event::Pong => {}
        }
    }

    /// The head of a response has come.
    fn answer(&mut self, id: StreamId, end: bool) {
        let Driver { link, head, .. } = self;
        let mut shared = link.shared();
        let mut spare = shared.spare.pop().unwrap_or_default();
        let Some(strand) = shared.lanes.get_mut(&id) else {
            shared.spare.push(spare);
            return;
        };
        std::mem::swap(head, &mut spare);
        strand.ended |= end;
        strand.heads.push_back(spare);
        strand.wake();
        if strand.heads.len() > MOST_HEADS {
            strand.heads.clear();
            (strand.broken, strand.reason) = (Some(Code::ENHANCE_YOUR_CALM), Some("too many interim responses"));
            shared.codec.reset(id, Code::ENHANCE_YOUR_CALM);
        }
    }

    fn is_client(&self) -> bool {
        self.link.shared().codec.role() == h2::Role::Client
    }

    /// A lane for a request, unless there are too many whose streams are over and whose exchanges do not know it yet.
    fn begin(&mut self, id: StreamId, end: bool) -> Option<Lane> {
        let mut shared = self.link.shared();
        if shared.lanes.len() >= shared.most {
            shared.codec.reset(id, Code::REFUSED_STREAM);
            return None;
        }
        shared.lanes.insert(id, Strand { ended: end, ..Strand::default() });
        Some(Lane::new(&self.link.0, id, Role::Server))
    }

    fn with<R>(&self, work: impl FnOnce(&mut Shared) -> R) -> R {
        work(&mut self.link.shared())
    }
}

impl Held {
    fn shared(&self) -> RefMut<'_, Shared> {
        self.0.0.borrow_mut()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared().end();
    }
}
