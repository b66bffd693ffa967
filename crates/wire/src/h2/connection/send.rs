//! The way out.

use super::{CannotOpen, Connection, FAREWELL_PING, Farewell, Last, Out, PING};
use crate::h1::Asked;
use crate::h2::cost;
use crate::h2::flow::{Receiving, Sending};
use crate::h2::frame::{self, flag, kind};
use crate::h2::head::{self, Expected};
use crate::h2::hpack::encode;
use crate::h2::stream::{Half, Past, Priority, Stream};
use crate::h2::{Code, Role, StreamId};
use crate::head::{Head, Method};

impl Connection {
    /// What waits to be written.
    pub fn out(&self) -> &[u8] {
        &self.out.bytes[self.out.at..]
    }

    /// Whether anything waits to be written.
    pub fn has_out(&self) -> bool {
        self.out.waiting() > 0
    }

    /// So many bytes were written.
    pub fn written(&mut self, count: usize) {
        // With streams open the next burst is near, and would have to grow it again. To a server that is so between two bursts, too:
        // its driver says when it rests.
        let near = self.open > 0 || self.role == Role::Server;
        self.out.written(count, if near { self.limits.out } else { KEEP });
    }

    /// Nothing has come or gone for a while: memory that one burst has needed is given back.
    pub fn rest(&mut self) {
        self.out.written(0, KEEP);
    }

    /// What waits was shown to somebody who may not see it otherwise later: only more may follow it.
    pub fn seal(&mut self) {
        self.out.last = None;
    }

    /// Begins a request: HEADERS, after which content or [`finish`](Connection::finish) follows. A head with a
    /// protocol becomes an extended CONNECT.
    ///
    /// # Errors
    /// There is no stream for it now.
    pub fn open(&mut self, head: &Head) -> Result<StreamId, CannotOpen> {
        self.may_begin()?;
        if !head.protocol().is_empty() && !self.peer.extended_connect {
            return Err(CannotOpen::NoExtendedConnect);
        }
        let id = StreamId::new(self.next_own).ok_or(CannotOpen::Leaving)?;
        self.next_own += 2;
        let asked = match head.method() {
            _ if !head.protocol().is_empty() => Asked::Connect,
            Method::Connect => Asked::Connect,
            Method::Head => Asked::Head,
            _ => Asked::Other,
        };
        let stream = self.fresh(Half::Head, Half::Content, asked);
        self.streams.add(id, stream);
        self.open += 1;
        let secure = self.limits.secure;
        self.block(id, |out| head::request(head, secure, out));
        Ok(id)
    }

    /// Sends an interim response (a status below 200), or the final one.
    pub fn send_head(&mut self, id: StreamId, head: &Head) {
        let Some(stream) = self.streams.of_mut(id).filter(|stream| stream.send == Half::Head) else { return };
        if head.status() >= 200 {
            stream.send = Half::Content;
        }
        self.block(id, |out| head::response(head, out));
    }

    /// Sends content, as much as the windows and the bound of what may wait allow; answers how much was taken. If that is not
    /// all, the stream stands among [those that may send](Connection::writable_in_order) as soon as it may.
    pub fn send(&mut self, id: StreamId, content: &[u8]) -> usize {
        let Some(stream) = self.streams.of_mut(id).filter(|stream| stream.send == Half::Content) else { return 0 };
        let room = self.limits.out.saturating_sub(self.out.waiting());
        let allowed = stream.sending.left().min(self.sending.left()).min(room).min(content.len());
        stream.sending.sent(allowed);
        self.sending.sent(allowed);
        self.account.sent(allowed);
        if allowed > 0 {
            self.turn += 1;
            stream.turn = self.turn;
        }
        let hungry = allowed < content.len();
        if hungry != stream.hungry {
            stream.hungry = hungry;
            self.hungry = if hungry { self.hungry + 1 } else { self.hungry - 1 };
        }
        let most = self.peer.payload.min(frame::PAYLOAD);
        let mut rest = self.out.join(id, &content[..allowed], most);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(most));
            self.out.content(id, now);
            if !hungry {
                self.account.earn(cost::CONTENT_SENT);
            }
            rest = later;
        }
        allowed
    }

    /// Whether [`send`](Connection::send) would take anything.
    pub fn is_writable(&self, id: StreamId) -> bool {
        let may = |stream: &Stream| stream.send == Half::Content && stream.sending.left() > 0;
        self.has_room() && self.streams.of(id).is_some_and(may)
    }

    /// The streams whose content was not all taken and that may send now: the most urgent first (RFC 9218 section 10). Of one
    /// urgency, those that are incremental take turns, and with them the first of the others, which come one after the other.
    pub fn writable_in_order(&self) -> impl Iterator<Item = StreamId> {
        let mut waiting = Vec::new();
        if self.hungry > 0 && self.has_room() {
            // By number, which is how streams stand in the table: of those that are not incremental the first is met first.
            let mut first = [true; 8];
            for (id, stream) in self.streams.iter() {
                if stream.hungry && stream.sending.left() > 0 {
                    let Priority { urgency, incremental } = stream.priority;
                    let shares = incremental || std::mem::take(&mut first[usize::from(urgency & 7)]);
                    waiting.push((urgency, !shares, if shares { stream.turn } else { 0 }, id));
                }
            }
            waiting.sort_unstable();
        }
        waiting.into_iter().map(|(.., id)| id)
    }

    /// Ends our side of a stream, with trailers if there are any.
    pub fn finish(&mut self, id: StreamId, trailers: Option<&Head>) {
        let Some(stream) = self.streams.of_mut(id).filter(|stream| stream.send == Half::Content) else { return };
        stream.send = Half::Ended;
        if std::mem::take(&mut stream.hungry) {
            self.hungry -= 1;
        }
        match trailers.filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => {
                self.block(id, |out| head::trailers(trailers, out));
                self.out.end_last(id);
            }
            None if self.out.end_last(id) => {}
            None => self.out.frame(kind::DATA, flag::END_STREAM, id.number(), &[]),
        }
        self.half_ended(id);
    }

    /// Gives a stream up and forgets it. Where both sides have ended nothing is said; what it has still held counts as
    /// handed on.
    pub fn reset(&mut self, id: StreamId, code: Code) {
        let Some(stream) = self.streams.of(id) else { return };
        if stream.receive == Half::Ended && stream.send == Half::Ended {
            self.forget(id, Past::Over);
            return;
        }
        self.out.reset(id.number(), code);
        self.forget(id, Past::Reset);
    }

    /// So much of a stream's content was handed on: the peer may send as much again, and is told so once half a window is due.
    pub fn consumed(&mut self, id: StreamId, count: usize) {
        let Some(stream) = self.streams.of_mut(id) else { return };
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(stream.held);
        stream.held -= count;
        let over = stream.held == 0 && stream.receive == Half::Ended && stream.send == Half::Ended;
        if stream.receive != Half::Ended {
            stream.receiving.consumed(count);
            if let Some(credit) = stream.receiving.update() {
                self.out.window_update(id.number(), credit);
            }
        }
        self.give_back(count);
        if over {
            self.forget(id, Past::Over);
        }
    }

    /// Ends the connection at once: streams above the last that was begun are not answered, and neither are others if the driver
    /// closes it.
    pub fn go_away(&mut self, code: Code) {
        self.farewell = Farewell::Said { last: self.last_peer };
        self.out.go_away(self.last_peer, code);
    }

    /// Announces that the connection ends when its streams have (RFC 9113 section 6.8): first that no more should be begun,
    /// then, a round trip later or at the second call, which was the last to be.
    pub fn announce_end(&mut self) {
        match self.farewell {
            Farewell::None if self.role == Role::Server => {
                self.farewell = Farewell::Announced;
                self.out.go_away(crate::h2::flow::MOST, Code::NO_ERROR);
                self.out.frame(kind::PING, 0, 0, &FAREWELL_PING);
            }
            Farewell::None | Farewell::Announced => self.go_away(Code::NO_ERROR),
            Farewell::Said { .. } => {}
        }
    }

    /// Asks the peer for a sign of life: [`Event::Pong`](super::Event::Pong).
    pub fn ping(&mut self) {
        self.out.frame(kind::PING, 0, 0, &PING);
    }

    /// A stream in these states.
    pub(super) fn fresh(&self, receive: Half, send: Half, asked: Asked) -> Stream {
        Stream {
            receive,
            send,
            sending: Sending::new(self.peer.window),
            receiving: Receiving::new(self.limits.stream_window),
            held: 0,
            expected: Expected::Any,
            asked,
            priority: Priority::default(),
            turn: 0,
            hungry: false,
        }
    }

    /// Whether the connection would take content of a stream that may send it.
    fn has_room(&self) -> bool {
        self.sending.left() > 0 && self.out.waiting() < self.limits.out
    }

    /// Appends HEADERS with a block, and CONTINUATION frames where the peer wants smaller ones.
    fn block(&mut self, id: StreamId, write: impl FnOnce(&mut Vec<u8>)) {
        let out = &mut self.out;
        out.make_room();
        let at = out.bytes.len();
        frame::begin(0, kind::HEADERS, flag::END_HEADERS, id.number(), &mut out.bytes);
        if std::mem::take(&mut out.blocks) {
            out.bytes.push(encode::NO_TABLE);
        }
        write(&mut out.bytes);
        let length = out.bytes.len() - at - frame::HEADER;
        let most = self.peer.payload.min(frame::PAYLOAD);
        if length <= most {
            frame::set_length(&mut out.bytes, at, length);
        } else {
            out.split_block(id, at, most);
        }
        out.last = Some(Last { stream: id, at, content: false });
    }
}

impl Out {
    fn written(&mut self, count: usize, keep: usize) {
        self.at += count.min(self.waiting());
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
            self.last = None;
            self.answers = 0;
            // What one burst has needed is not kept for a connection that waits.
            if self.bytes.capacity() > 2 * keep {
                self.bytes.shrink_to(keep);
            }
        } else if self.last.is_some_and(|last| last.at < self.at) {
            self.last = None;
        }
    }

    /// Moves what waits to the front, when what lies before it is the larger part.
    fn make_room(&mut self) {
        if self.at > KEEP && self.at * 2 > self.bytes.len() {
            self.bytes.drain(..self.at);
            self.last = self.last.map(|last| Last { at: last.at - self.at, ..last });
            self.at = 0;
        }
    }

    /// Appends a DATA frame.
    fn content(&mut self, id: StreamId, content: &[u8]) {
        self.make_room();
        let at = self.bytes.len();
        frame::begin(content.len(), kind::DATA, 0, id.number(), &mut self.bytes);
        self.bytes.extend_from_slice(content);
        self.last = Some(Last { stream: id, at, content: true });
    }

    /// Makes the last frame longer, if it is this stream's DATA; answers what is left.
    fn join<'c>(&mut self, id: StreamId, content: &'c [u8], most: usize) -> &'c [u8] {
        let Some(last) = self.last.filter(|last| last.stream == id && last.content) else { return content };
        let length = self.bytes.len() - last.at - frame::HEADER;
        let (now, later) = content.split_at(content.len().min(most.saturating_sub(length)));
        self.bytes.extend_from_slice(now);
        frame::set_length(&mut self.bytes, last.at, length + now.len());
        later
    }

    /// Makes the last frame its stream's last, if it is this stream's.
    fn end_last(&mut self, id: StreamId) -> bool {
        let Some(last) = self.last.filter(|last| last.stream == id) else { return false };
        let Some(flags) = self.bytes.get_mut(last.at + 4) else { return false };
        *flags |= flag::END_STREAM;
        self.last = None;
        true
    }

    /// Splits a block that is too long for one frame.
    fn split_block(&mut self, id: StreamId, at: usize, most: usize) {
        let block = self.bytes.split_off(at + frame::HEADER);
        frame::set_length(&mut self.bytes, at, most);
        self.bytes[at + 4] &= !flag::END_HEADERS;
        let (first, mut rest) = block.split_at(most);
        self.bytes.extend_from_slice(first);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(most));
            let flags = if later.is_empty() { flag::END_HEADERS } else { 0 };
            frame::begin(now.len(), kind::CONTINUATION, flags, id.number(), &mut self.bytes);
            self.bytes.extend_from_slice(now);
            rest = later;
        }
    }
}

/// Memory that is kept for what waits.
const KEEP: usize = 4 * 1024;
