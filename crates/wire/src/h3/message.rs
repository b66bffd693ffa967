//! A request or its response, from its head to its trailers (RFC 9114 section 4.1).

use super::frame::{self, Front, Kind};
use super::qpack::{Decoder, encode};
use super::{Broken, Code, Wrong};
use crate::h1::{Asked, Reject};
use crate::h2::head::{Expected, Section, each_field, read_lines};
use crate::h2::stream::Priority;
use crate::h2::{Limits, hpack};
use crate::head::{Framing, Head, Method, Scheme, Version};
use crate::known::Known;

/// Reads one direction of a request's stream.
#[derive(Debug)]
pub struct Message {
    /// What its head is.
    is: Section,
    part: Part,
    inside: Inside,
    front: Front,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
    /// What is here of a block.
    block: Vec<u8>,
    expected: Expected,
    content: u64,
    idle: u32,
    priority: Priority,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Content,
    /// Trailers have been read: nothing follows that means anything.
    Nothing,
}

/// The frame whose payload comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// None: a front.
    Front,
    Data,
    Block,
    Unknown,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything was used, and more is needed.
    More,
    /// A head is whole: in front of that of a response there may be interim ones.
    Head,
    /// So many bytes from here on are content; say with [`content`](Message::content) how many of them were used.
    Content(usize),
    /// The trailers are whole.
    Trailers,
}

/// Bytes of a block of trailers.
const TRAILERS: usize = 16 * 1024;
/// Frames that meant nothing, beyond those with content: greasing needs a few.
const IDLE: u32 = 100;

impl Message {
    /// A request of which nothing was read.
    pub fn request() -> Message {
        Message::new(Section::Request)
    }

    /// The response to what was asked, of which nothing was read.
    pub fn response(asked: Asked) -> Message {
        Message::new(Section::Response(asked))
    }

    fn new(is: Section) -> Message {
        Message {
            is,
            part: Part::Head,
            inside: Inside::Front,
            front: Front::default(),
            left: 0,
            block: Vec::new(),
            expected: Expected::Any,
            content: 0,
            idle: 0,
            priority: Priority::default(),
        }
    }

    /// Reads on in `bytes`: answers how many of them were used, and what was found behind them. Heads and trailers are
    /// written to `head`.
    ///
    /// # Errors
    /// See [`Wrong`].
    pub fn take(&mut self, bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<(usize, Step), Wrong> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let here = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            match self.inside {
                Inside::Front => {
                    let (count, front) = self.front.take(rest);
                    used += count;
                    let Some(front) = front else { return Ok((used, Step::More)) };
                    let (kind, length) = front?;
                    self.begin(kind, length, limits)?;
                }
                Inside::Data if self.left == 0 => self.inside = Inside::Front,
                Inside::Data if here == 0 => return Ok((used, Step::More)),
                Inside::Data => return Ok((used, Step::Content(here))),
                Inside::Unknown => {
                    used += here;
                    self.left -= here as u64;
                    if self.left > 0 {
                        return Ok((used, Step::More));
                    }
                    self.inside = Inside::Front;
                }
                Inside::Block => {
                    self.block.extend_from_slice(&rest[..here]);
                    used += here;
                    self.left -= here as u64;
                    if self.left > 0 {
                        return Ok((used, Step::More));
                    }
                    self.inside = Inside::Front;
                    return Ok((used, self.section(limits, head)?));
                }
            }
        }
    }

    /// So many bytes of content were used.
    pub fn content(&mut self, count: usize) {
        debug_assert!(self.inside == Inside::Data && count as u64 <= self.left);
        self.left = self.left.saturating_sub(count as u64);
        self.content += count as u64;
    }

    /// What the head says of its place among others (RFC 9218).
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// It ended in the midst of a frame or of the message, or with another length than was announced.
    pub fn end(&self) -> Result<(), Wrong> {
        if self.inside != Inside::Front && self.left > 0 || self.front.is_begun() {
            // RFC 9114 section 7.1.
            return Err(Broken::of(Code::FRAME_ERROR, "a stream that ends inside a frame").into());
        }
        if self.part == Part::Head {
            return Err(match self.is {
                Section::Request => stream(Code::REQUEST_INCOMPLETE, "a stream that ends before its request"),
                _ => stream(Code::MESSAGE_ERROR, "a stream that ends before its response"),
            });
        }
        match self.expected {
            // RFC 9114 section 4.1.2.
            Expected::Exactly(length) if length != self.content => Err(stream(Code::MESSAGE_ERROR, OTHER_LENGTH)),
            Expected::Exactly(_) | Expected::Any => Ok(()),
        }
    }

    /// Whether what follows a head decides on whether the request has content: most clients end the stream with the head of a
    /// `GET`, but nothing in the head says so. A request that may go both ways at once is not kept waiting.
    pub fn leaves_open(head: &Head) -> bool {
        let plain =
            matches!(head.method(), Method::Get | Method::Head | Method::Delete | Method::Options | Method::Trace);
        plain && head.framing() == Framing::Unknown && head.protocol().is_empty()
    }

    fn begin(&mut self, kind: Kind, length: u64, limits: &Limits) -> Result<(), Wrong> {
        self.left = length;
        self.inside = match (kind, self.part) {
            (Kind::Unknown, _) => {
                self.idle()?;
                Inside::Unknown
            }
            (Kind::Headers, Part::Head | Part::Content) => {
                let most = if self.part == Part::Head { limits.head } else { TRAILERS.min(limits.head) };
                if length > most as u64 {
                    return Err(match self.part {
                        Part::Head => Wrong::Head(Reject::HeadTooLarge),
                        _ => stream(Code::MESSAGE_ERROR, "trailers over their limit"),
                    });
                }
                self.block.clear();
                Inside::Block
            }
            (Kind::Data, Part::Content) => {
                match self.expected {
                    Expected::Exactly(whole) if length > whole.saturating_sub(self.content) => {
                        return Err(stream(Code::MESSAGE_ERROR, OTHER_LENGTH));
                    }
                    Expected::Exactly(_) | Expected::Any => {}
                }
                if length == 0 {
                    self.idle()?;
                } else {
                    self.idle = self.idle.saturating_sub(1);
                }
                Inside::Data
            }
            // Section 7.2.5: we let no server push.
            (Kind::PushPromise, _) if self.is != Section::Request => {
                return Err(Broken::of(Code::ID_ERROR, "a push that was not allowed").into());
            }
            _ => return Err(Broken::of(Code::FRAME_UNEXPECTED, "a frame out of its place").into()),
        };
        Ok(())
    }

    fn idle(&mut self) -> Result<(), Wrong> {
        self.idle += 1;
        if self.idle > IDLE { Err(stream(Code::EXCESSIVE_LOAD, "too many frames that mean nothing")) } else { Ok(()) }
    }

    fn section(&mut self, limits: &Limits, head: &mut Head) -> Result<Step, Wrong> {
        let block = std::mem::take(&mut self.block);
        let failed = |hpack::decode::Invalid(reason)| Broken::of(Code::QPACK_DECOMPRESSION_FAILED, reason);
        let mut decoder = Decoder::begin(&block).map_err(failed)?;
        let (section, end) = match self.part {
            Part::Head => (self.is, false),
            _ => (Section::Trailers, true),
        };
        let read = read_lines(|keep, arena| decoder.next(keep, arena), Version::H3, section, end, limits, head);
        let read = read.map_err(failed)?;
        if self.part == Part::Head {
            let interim = self.is != Section::Request && read.verdict.is_ok() && head.status() < 200;
            if interim {
                // As many as a server likes; how many are too many is for whoever passes them on.
                return Ok(Step::Head);
            }
            self.part = Part::Content;
            self.expected = read.content;
            self.priority = read.priority;
            return read.verdict.map(|()| Step::Head).map_err(Wrong::Head);
        }
        self.part = Part::Nothing;
        // Content that was passed on cannot be refused any more, only broken off.
        read.verdict.map(|()| Step::Trailers).map_err(|reject| stream(Code::MESSAGE_ERROR, reject.reason()))
    }
}

const OTHER_LENGTH: &str = "content of another length than was said";

fn stream(code: Code, reason: &'static str) -> Wrong {
    Wrong::Stream(Broken { code, reason })
}

/// Appends the frame with a request's head (RFC 9114 section 4.3.1). `Host` becomes `:authority`; a head with a protocol becomes
/// an extended CONNECT (RFC 9220). Fields of an HTTP/1 connection are left out.
pub fn request(head: &Head, out: &mut Vec<u8>) {
    let mut block = Vec::with_capacity(256 + head.size_hint());
    encode::begin(&mut block);
    let tunnel = !head.protocol().is_empty();
    let connect = tunnel || head.method() == Method::Connect;
    encode::method(if connect { b"CONNECT" } else { head.method_text() }, &mut block);
    if !connect || tunnel {
        encode::scheme(Scheme::Https, &mut block);
        encode::path(head.path(), head.query(), &mut block);
    }
    encode::authority(head.value_of(Known::Host).unwrap_or(head.authority()), &mut block);
    if tunnel {
        encode::field(b":protocol", head.protocol(), false, &mut block);
    }
    each_field(head, true, |name, value, secret| encode::field(name, value, secret, &mut block));
    frame::headers(&block, out);
}

/// Appends the frame with a response's head (RFC 9114 section 4.3.2).
pub fn response(head: &Head, out: &mut Vec<u8>) {
    let mut block = Vec::with_capacity(256);
    encode::begin(&mut block);
    encode::status(head.status(), &mut block);
    each_field(head, false, |name, value, secret| encode::field(name, value, secret, &mut block));
    frame::headers(&block, out);
}

/// Appends the frame with trailers.
pub fn trailers(head: &Head, out: &mut Vec<u8>) {
    let mut block = Vec::with_capacity(64);
    encode::begin(&mut block);
    for field in head.fields().filter(|field| crate::h1::chunked::may_trail(field.name)) {
        encode::field(field.name, field.value, false, &mut block);
    }
    frame::headers(&block, out);
}

#[cfg(test)]
mod tests;
