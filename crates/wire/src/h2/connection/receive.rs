//! The way in.

use std::time::Instant;

use super::{Block, By, Connection, Event, FAREWELL_PING, Farewell, Greeting, PING, Reading, Step};
use crate::h1::{Asked, Reject};
use crate::h2::cost;
use crate::h2::frame::{self, HEADER, Header, PREFACE, flag, kind};
use crate::h2::head::{self, Expected, Section};
use crate::h2::stream::{Half, Past, Priority, Stream};
use crate::h2::{Broken, Code, Role, StreamId};
use crate::head::Head;

/// What a frame or a part of it came to.
type Outcome<'b> = Result<Option<Event<'b>>, Broken>;

/// Bytes of a block that are collected, as a multiple of the limit of heads: a block is shorter than its head unless its sender
/// means harm.
const MOST_BLOCK: usize = 2;

/// CONTINUATION frames of one block (CVE-2024-27316 and its kin): full ones carry a mebibyte.
const MOST_CONTINUATIONS: u32 = 64;

/// Answers that may wait for a peer that does not read (CVE-2019-9512, CVE-2019-9515).
const MOST_ANSWERS: usize = 16 * 1024;

impl Connection {
    /// Takes at most one event out of `bytes`, the first that have not been used. `used` may be more than 0 without
    /// an event, for frames that need nothing of the driver; if it is 0, more bytes are needed: frames other than DATA must
    /// be there whole, which is at most 16 KiB and nine bytes.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn step<'b>(&mut self, bytes: &'b [u8], now: Instant, head: &mut Head) -> Result<Step<'b>, Broken> {
        let mut used = 0;
        if self.broken {
            return Ok(Step { used: bytes.len(), event: None });
        }
        if self.greeting == Greeting::Preface {
            let there = bytes.len().min(PREFACE.len());
            if bytes[..there] != PREFACE[..there] {
                return Err(self.fail(Code::PROTOCOL_ERROR, "no HTTP/2 preface"));
            }
            if there < PREFACE.len() {
                return Ok(Step { used: 0, event: None });
            }
            self.greeting = Greeting::Settings;
            used = there;
        }
        loop {
            let rest = &bytes[used..];
            let (took, event) = match self.reading {
                Reading::Frame | Reading::Block(_) => self.frame(rest, now, head)?,
                Reading::Skip { left } => (self.skip(left, rest), None),
                Reading::Content { .. } => self.content(rest)?,
            };
            used += took;
            if event.is_some() || took == 0 {
                return Ok(Step { used, event });
            }
        }
    }

    /// Takes a frame that is there whole, or the beginning of one that may be taken in parts.
    fn frame<'b>(
        &mut self,
        bytes: &'b [u8],
        now: Instant,
        head: &mut Head,
    ) -> Result<(usize, Option<Event<'b>>), Broken> {
        let Some(header) = Header::read(bytes) else { return Ok((0, None)) };
        if header.length > frame::PAYLOAD {
            return Err(self.fail(Code::FRAME_SIZE_ERROR, "a frame larger than allowed"));
        }
        if self.greeting == Greeting::Settings && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            return Err(self.fail(Code::PROTOCOL_ERROR, "the first frame is not SETTINGS"));
        }
        if matches!(self.reading, Reading::Block(_)) && header.kind != kind::CONTINUATION {
            return Err(self.fail(Code::PROTOCOL_ERROR, "a frame inside a block of fields"));
        }
        if header.kind == kind::DATA {
            return self.begin_content(header, &bytes[HEADER..], now);
        }
        let end = HEADER + header.length;
        let Some(payload) = bytes.get(HEADER..end) else { return Ok((0, None)) };
        let event = match header.kind {
            kind::HEADERS => self.headers(header, payload, now, head),
            kind::CONTINUATION => self.continuation(header, payload, now, head),
            kind::RST_STREAM => self.rst_stream(header, payload, now),
            kind::SETTINGS => self.settings(header, payload, now),
            kind::PING => self.ping_frame(header, payload, now),
            kind::GOAWAY => self.goaway(header, payload, now),
            kind::WINDOW_UPDATE => self.window_update(header, payload, now),
            kind::PRIORITY => self.priority(header, now),
            kind::PRIORITY_UPDATE => self.priority_update(header, payload, now),
            kind::PUSH_PROMISE => Err(self.fail(Code::PROTOCOL_ERROR, "PUSH_PROMISE, which nobody may send")),
            // Section 4.1: what we do not know is ignored.
            _ => self.charge(cost::FRAME, now).map(|()| None),
        }?;
        Ok((end, event))
    }

    fn skip(&mut self, left: usize, bytes: &[u8]) -> usize {
        let took = left.min(bytes.len());
        self.reading = if took == left { Reading::Frame } else { Reading::Skip { left: left - took } };
        // An empty rest was taken too: the caller goes on.
        took
    }

    /// DATA (section 6.1): its header, and the length of its padding.
    fn begin_content<'b>(
        &mut self,
        header: Header,
        payload: &'b [u8],
        now: Instant,
    ) -> Result<(usize, Option<Event<'b>>), Broken> {
        let Some(id) = StreamId::new(header.stream) else {
            return Err(self.fail(Code::PROTOCOL_ERROR, "DATA on stream 0"));
        };
        let mut took = HEADER;
        let mut padding = 0;
        if header.has(flag::PADDED) {
            if header.length == 0 {
                return Err(self.fail(Code::FRAME_SIZE_ERROR, "padding without a length"));
            }
            let Some(first) = payload.first() else { return Ok((0, None)) };
            padding = *first as usize;
            took += 1;
            if padding >= header.length {
                return Err(self.fail(Code::PROTOCOL_ERROR, "more padding than payload"));
            }
        }
        let content = header.length - padding - (took - HEADER);
        // At most 16 KiB: it fits.
        let (whole, overhead) = (header.length as u32, (header.length - content) as u32);
        if self.receiving.received(whole).is_err() {
            return Err(self.fail(Code::FLOW_CONTROL_ERROR, "more content than the connection's window"));
        }
        self.reading = Reading::Skip { left: header.length - (took - HEADER) };
        let end = header.has(flag::END_STREAM);
        let Some(stream) = self.streams.of_mut(id) else {
            self.give_back(whole);
            self.content_for_none(id, whole, now)?;
            return Ok((self.whole_if_empty(took), None));
        };
        let wrong = match stream.receive {
            Half::Ended => Some((Code::STREAM_CLOSED, "DATA behind the end of a stream")),
            Half::Head => Some((Code::PROTOCOL_ERROR, "DATA before a head")),
            Half::Content if stream.receiving.received(whole).is_err() => {
                Some((Code::FLOW_CONTROL_ERROR, "more content than the stream's window"))
            }
            Half::Content => match &mut stream.expected {
                Expected::Any => None,
                Expected::Exactly(left) => match left.checked_sub(content as u64) {
                    Some(rest) if rest > 0 && end => Some((Code::PROTOCOL_ERROR, "less content than Content-Length")),
                    Some(rest) => {
                        *left = rest;
                        None
                    }
                    None => Some((Code::PROTOCOL_ERROR, "more content than Content-Length")),
                },
            },
        };
        if let Some((code, reason)) = wrong {
            self.give_back(whole);
            let event = self.refuse(id, code, reason, now)?;
            return Ok((self.whole_if_empty(took), event));
        }
        stream.held += content as u32;
        // Padding is handed on where it stands.
        stream.receiving.consumed(overhead);
        if let Some(credit) = stream.receiving.update().filter(|_| !end) {
            self.out.window_update(header.stream, credit);
        }
        self.give_back(overhead);
        if content == 0 && !end {
            self.charge(cost::FRAME, now)?;
        }
        self.reading = Reading::Content { stream: header.stream, left: content, padding, end };
        Ok((took, None))
    }

    /// After a frame that is not taken: one without payload is over with its header.
    fn whole_if_empty(&mut self, took: usize) -> usize {
        if matches!(self.reading, Reading::Skip { left: 0 }) {
            self.reading = Reading::Frame;
        }
        took
    }

    /// Content on a stream that does not live.
    fn content_for_none(&mut self, id: StreamId, length: u32, now: Instant) -> Result<(), Broken> {
        if self.is_idle(id) && !self.is_left_behind(id) {
            return Err(self.fail(Code::PROTOCOL_ERROR, "DATA on an idle stream"));
        }
        match self.streams.past(id.number()) {
            Some(Past::Reset) if self.streams.late(id.number(), length) => Ok(()),
            Some(Past::Reset) => self.charge(cost::FRAME, now),
            _ if self.is_left_behind(id) => self.charge(cost::FRAME, now),
            _ => Err(self.fail(Code::STREAM_CLOSED, "DATA on a closed stream")),
        }
    }

    /// A part of a DATA frame's content.
    fn content<'b>(&mut self, bytes: &'b [u8]) -> Result<(usize, Option<Event<'b>>), Broken> {
        let Reading::Content { stream, left, padding, end } = self.reading else { return Ok((0, None)) };
        let Some(id) = StreamId::new(stream).filter(|id| self.streams.of(*id).is_some()) else {
            // It was reset while its frame arrived; what it held was given back as a whole.
            self.reading = Reading::Skip { left: left + padding };
            return Ok(if left + padding == 0 {
                self.reading = Reading::Frame;
                (0, None)
            } else {
                (self.skip(left + padding, bytes), None)
            });
        };
        let here = left.min(bytes.len());
        let (content, rest) = bytes.split_at(here);
        if here < left {
            self.reading = Reading::Content { stream, left: left - here, padding, end };
            let event = (here > 0).then_some(Event::Data { id, content, end: false });
            return Ok((here, event));
        }
        // The end is told when the padding is there too, with the content if both are.
        let padded = padding.min(rest.len());
        if padded < padding {
            self.reading = Reading::Content { stream, left: 0, padding: padding - padded, end };
            let event = (here > 0).then_some(Event::Data { id, content, end: false });
            return Ok((here + padded, event));
        }
        self.reading = Reading::Frame;
        if end {
            self.received_all(id);
        }
        let event = (here > 0 || end).then_some(Event::Data { id, content, end });
        Ok((here + padded, event))
    }

    /// HEADERS (section 6.2).
    fn headers<'b>(&mut self, header: Header, payload: &[u8], now: Instant, head: &mut Head) -> Outcome<'b> {
        if header.stream == 0 {
            return Err(self.fail(Code::PROTOCOL_ERROR, "HEADERS on stream 0"));
        }
        let Some(mut block) = frame::without_padding(header, payload) else {
            return Err(self.fail(Code::PROTOCOL_ERROR, "more padding than payload"));
        };
        if header.has(flag::PRIORITY) {
            // What the old priorities say is not looked at (section 5.3.2), a stream that depends on itself neither.
            let Some((_, rest)) = block.split_at_checked(5) else {
                return Err(self.fail(Code::FRAME_SIZE_ERROR, "HEADERS too short for their priority"));
            };
            block = rest;
        }
        let end = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.fields(header.stream, block, end, now, head);
        }
        let block = Block { stream: header.stream, end, bytes: block.to_vec(), frames: 0 };
        self.reading = Reading::Block(Box::new(block));
        Ok(None)
    }

    /// CONTINUATION (section 6.10).
    fn continuation<'b>(&mut self, header: Header, payload: &[u8], now: Instant, head: &mut Head) -> Outcome<'b> {
        let Reading::Block(block) = &mut self.reading else {
            return Err(self.fail(Code::PROTOCOL_ERROR, "CONTINUATION of nothing"));
        };
        if block.stream != header.stream {
            return Err(self.fail(Code::PROTOCOL_ERROR, "CONTINUATION of another stream"));
        }
        block.frames += 1;
        block.bytes.extend_from_slice(payload);
        if block.frames > MOST_CONTINUATIONS || block.bytes.len() > MOST_BLOCK * self.limits.head.max(frame::PAYLOAD) {
            return Err(self.fail(Code::ENHANCE_YOUR_CALM, "a block of fields without an end"));
        }
        if !header.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let Reading::Block(block) = std::mem::replace(&mut self.reading, Reading::Frame) else { return Ok(None) };
        self.fields(block.stream, &block.bytes, block.end, now, head)
    }

    /// A whole block: a head, trailers, or neither.
    fn fields<'b>(&mut self, number: u32, block: &[u8], end: bool, now: Instant, head: &mut Head) -> Outcome<'b> {
        let Some(id) = StreamId::new(number) else { return Ok(None) };
        let section = match self.streams.of(id) {
            Some(stream) if stream.receive == Half::Head => Section::Response(stream.asked),
            Some(_) => Section::Trailers,
            None if self.role == Role::Server => Section::Request,
            None => Section::Response(Asked::Other),
        };
        let read = match head::read(&mut self.decoder, block, section, end, &self.limits, head) {
            Ok(read) => read,
            Err(invalid) => return Err(self.fail(Code::COMPRESSION_ERROR, invalid.0)),
        };
        let Some(stream) = self.streams.of_mut(id) else {
            return self.request(id, read, end, now);
        };
        match (stream.receive, read.verdict) {
            (Half::Ended, _) => self.refuse(id, Code::STREAM_CLOSED, "HEADERS behind the end of a stream", now),
            (_, Err(reject)) => self.refuse(id, Code::PROTOCOL_ERROR, reject.reason(), now),
            (Half::Head, Ok(())) => {
                if head.status() >= 200 {
                    stream.receive = Half::Content;
                    stream.expected = read.content;
                }
                if end {
                    self.received_all(id);
                }
                Ok(Some(Event::Head { id, end }))
            }
            (Half::Content, Ok(())) => {
                if matches!(stream.expected, Expected::Exactly(left) if left > 0) {
                    return self.refuse(id, Code::PROTOCOL_ERROR, "less content than Content-Length", now);
                }
                self.received_all(id);
                Ok(Some(Event::Trailers { id }))
            }
        }
    }

    /// A block on a stream that does not live: a new request, or frames that crossed a reset of ours.
    fn request<'b>(&mut self, id: StreamId, read: head::Read, end: bool, now: Instant) -> Outcome<'b> {
        let number = id.number();
        if self.is_left_behind(id) {
            // The peer will learn from our GOAWAY that it is not answered (section 6.8).
            if self.streams.past(number).is_none() {
                self.streams.remember_reset(number, if end { 0 } else { self.limits.stream_window });
            }
            return self.charge(cost::REFUSED, now).map(|()| None);
        }
        if !self.is_idle(id) {
            return match self.streams.past(number) {
                Some(Past::Reset) => self.charge(cost::FRAME, now).map(|()| None),
                Some(_) => Err(self.fail(Code::STREAM_CLOSED, "HEADERS on a closed stream")),
                None => Err(self.fail(Code::PROTOCOL_ERROR, "a stream's number that does not ascend")),
            };
        }
        if self.role == Role::Client || number.is_multiple_of(2) {
            return Err(self.fail(Code::PROTOCOL_ERROR, "a stream that this side cannot begin"));
        }
        self.last_peer = number;
        if self.open >= self.limits.streams {
            self.streams.remember_reset(number, if end { 0 } else { self.limits.stream_window });
            self.out.reset(number, Code::REFUSED_STREAM);
            return self.charge(cost::REFUSED, now).map(|()| None);
        }
        if let Err(Reject::Malformed(reason)) = read.verdict {
            return self.refuse(id, Code::PROTOCOL_ERROR, reason, now);
        }
        let receive = if end { Half::Ended } else { Half::Content };
        let mut stream = self.fresh(receive, Half::Head, Asked::Other);
        stream.expected = read.content;
        stream.priority = read.priority;
        self.streams.add(id, stream);
        self.open += 1;
        Ok(Some(match read.verdict {
            Ok(()) => Event::Head { id, end },
            Err(reject) => Event::Refused { id, reject, end },
        }))
    }

    /// RST_STREAM (section 6.4).
    fn rst_stream<'b>(&mut self, header: Header, payload: &[u8], now: Instant) -> Outcome<'b> {
        let Some(code) = frame::number(payload).filter(|_| payload.len() == 4) else {
            return Err(self.fail(Code::FRAME_SIZE_ERROR, "RST_STREAM of a wrong length"));
        };
        let Some(id) = StreamId::new(header.stream).filter(|id| !self.is_idle(*id) || self.is_left_behind(*id)) else {
            return Err(self.fail(Code::PROTOCOL_ERROR, "RST_STREAM on an idle stream"));
        };
        // Behind the last word of both sides there is nothing to take back, whatever of it is still to be handed on.
        let over = |stream: &Stream| stream.receive == Half::Ended && stream.send == Half::Ended;
        if self.streams.of(id).is_none_or(over) {
            return self.charge(cost::FRAME, now).map(|()| None);
        }
        self.forget(id, Past::Over);
        self.charge_reset(if self.role == Role::Server { cost::RESET } else { cost::RESPONSE_RESET }, now)?;
        Ok(Some(Event::Reset { id, code: Code(code), by: By::Peer }))
    }

    /// SETTINGS (section 6.5).
    fn settings<'b>(&mut self, header: Header, payload: &[u8], now: Instant) -> Outcome<'b> {
        if header.stream != 0 {
            return Err(self.fail(Code::PROTOCOL_ERROR, "SETTINGS on a stream"));
        }
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(self.fail(Code::FRAME_SIZE_ERROR, "an answer to SETTINGS that says something"));
            }
            if std::mem::replace(&mut self.acknowledged, true) {
                return Err(self.fail(Code::PROTOCOL_ERROR, "an answer to SETTINGS that nobody has sent"));
            }
            return self.charge(cost::FRAME, now).map(|()| None);
        }
        let before = self.peer.window;
        if let Err((code, reason)) = self.peer.update(payload, self.role) {
            return Err(self.fail(code, reason));
        }
        let by = i64::from(self.peer.window) - i64::from(before);
        if by != 0 && self.streams.iter_mut().any(|stream| stream.sending.change(by).is_err()) {
            return Err(self.fail(Code::FLOW_CONTROL_ERROR, "a window above the largest"));
        }
        self.charge(cost::SETTINGS, now)?;
        self.answer(kind::SETTINGS, &[])?;
        self.greeting = Greeting::Done;
        Ok(Some(Event::Settings))
    }

    /// PING (section 6.7).
    fn ping_frame<'b>(&mut self, header: Header, payload: &[u8], now: Instant) -> Outcome<'b> {
        if header.stream != 0 {
            return Err(self.fail(Code::PROTOCOL_ERROR, "PING on a stream"));
        }
        let Ok(said) = <[u8; 8]>::try_from(payload) else {
            return Err(self.fail(Code::FRAME_SIZE_ERROR, "PING of a wrong length"));
        };
        self.charge(cost::FRAME, now)?;
        if !header.has(flag::ACK) {
            self.answer(kind::PING, &said)?;
            return Ok(None);
        }
        if said == FAREWELL_PING && self.farewell == Farewell::Announced {
            self.announce_end();
        }
        Ok((said == PING).then_some(Event::Pong))
    }

    /// GOAWAY (section 6.8).
    fn goaway<'b>(&mut self, header: Header, payload: &[u8], now: Instant) -> Outcome<'b> {
        if header.stream != 0 {
            return Err(self.fail(Code::PROTOCOL_ERROR, "GOAWAY on a stream"));
        }
        let (Some(last), Some(code)) = (frame::number(payload), payload.get(4..).and_then(frame::number)) else {
            return Err(self.fail(Code::FRAME_SIZE_ERROR, "GOAWAY of a wrong length"));
        };
        let last = last & 0x7fff_ffff;
        if self.peer_goes.is_some_and(|before| last > before) {
            return Err(self.fail(Code::PROTOCOL_ERROR, "a GOAWAY that takes back another"));
        }
        self.charge(cost::FRAME, now)?;
        self.peer_goes = Some(last);
        Ok(Some(Event::GoAway { last, code: Code(code) }))
    }

    /// WINDOW_UPDATE (section 6.9).
    fn window_update<'b>(&mut self, header: Header, payload: &[u8], now: Instant) -> Outcome<'b> {
        let Some(by) = frame::number(payload).filter(|_| payload.len() == 4) else {
            return Err(self.fail(Code::FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong length"));
        };
        let by = by & 0x7fff_ffff;
        let charged = self.account.charge_update(now);
        self.paid(charged)?;
        let Some(id) = StreamId::new(header.stream) else {
            if by == 0 {
                return Err(self.fail(Code::PROTOCOL_ERROR, "WINDOW_UPDATE by nothing"));
            }
            if self.sending.change(i64::from(by)).is_err() {
                return Err(self.fail(Code::FLOW_CONTROL_ERROR, "a window above the largest"));
            }
            return Ok((self.hungry > 0).then_some(Event::Window { id: None }));
        };
        if self.is_idle(id) && !self.is_left_behind(id) {
            return Err(self.fail(Code::PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream"));
        }
        let Some(stream) = self.streams.of_mut(id) else { return Ok(None) };
        if by == 0 {
            return self.refuse(id, Code::PROTOCOL_ERROR, "WINDOW_UPDATE by nothing", now);
        }
        if stream.sending.change(i64::from(by)).is_err() {
            return self.refuse(id, Code::FLOW_CONTROL_ERROR, "a window above the largest", now);
        }
        Ok(stream.hungry.then_some(Event::Window { id: Some(id) }))
    }

    /// PRIORITY (section 6.3): ignored, whatever it says.
    fn priority<'b>(&mut self, header: Header, now: Instant) -> Outcome<'b> {
        let Some(id) = StreamId::new(header.stream) else {
            return Err(self.fail(Code::PROTOCOL_ERROR, "PRIORITY on stream 0"));
        };
        self.charge(cost::FRAME, now)?;
        if header.length == 5 {
            return Ok(None);
        }
        if self.streams.of(id).is_some() {
            return self.refuse(id, Code::FRAME_SIZE_ERROR, "PRIORITY of a wrong length", now);
        }
        Err(self.fail(Code::FRAME_SIZE_ERROR, "PRIORITY of a wrong length"))
    }

    /// PRIORITY_UPDATE (RFC 9218 section 7.1), for a stream that lives.
    fn priority_update<'b>(&mut self, header: Header, payload: &[u8], now: Instant) -> Outcome<'b> {
        self.charge(cost::FRAME, now)?;
        if self.role == Role::Client {
            return Err(self.fail(Code::PROTOCOL_ERROR, "a server's PRIORITY_UPDATE"));
        }
        let prioritized = frame::number(payload).filter(|_| header.stream == 0);
        let Some(id) = prioritized.and_then(|number| StreamId::new(number & 0x7fff_ffff)) else {
            return Err(self.fail(Code::PROTOCOL_ERROR, "an invalid PRIORITY_UPDATE"));
        };
        if let Some(stream) = self.streams.of_mut(id) {
            stream.priority = Priority::of(&payload[4..]);
        }
        Ok(None)
    }

    /// Resets a stream because the peer has broken a rule on it, and charges it like one that the peer takes back: a reset that
    /// is provoked costs us as much (CVE-2025-8671).
    fn refuse<'b>(&mut self, id: StreamId, code: Code, reason: &'static str, now: Instant) -> Outcome<'b> {
        self.out.reset(id.number(), code);
        if self.streams.of(id).is_some() {
            self.forget(id, Past::Reset);
        } else {
            self.streams.remember_reset(id.number(), self.limits.stream_window);
        }
        self.charge_reset(cost::RESET, now)?;
        Ok(Some(Event::Reset { id, code, by: By::Us(reason) }))
    }

    /// Nothing more comes on a stream.
    fn received_all(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.of_mut(id) {
            stream.receive = Half::Ended;
            self.half_ended(id);
        }
    }

    /// Answers what the peer wants answered, as long as it reads our answers.
    fn answer(&mut self, kind: u8, payload: &[u8]) -> Result<(), Broken> {
        self.out.answer(kind, payload);
        if self.out.answers > MOST_ANSWERS {
            return Err(self.fail(Code::ENHANCE_YOUR_CALM, "answers that nobody reads"));
        }
        Ok(())
    }

    /// Whether nobody has begun this stream yet.
    fn is_idle(&self, id: StreamId) -> bool {
        let own = (self.role == Role::Client) != id.number().is_multiple_of(2);
        if own { id.number() >= self.next_own } else { id.number() > self.last_peer }
    }

    /// Whether we have said that this stream will not be answered.
    fn is_left_behind(&self, id: StreamId) -> bool {
        let of_peer = self.role == Role::Server && !id.number().is_multiple_of(2);
        of_peer && matches!(self.farewell, Farewell::Said { last } if id.number() > last)
    }
}
