//! One body on its way from one connection to another.
//!
//! Nothing is read while the other side has not taken what was read before: that is the back-pressure, and it is why a
//! body of any length needs no more memory than a small one.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use base::Kind;
use http::{Backlog, BodyReader, BodyWriter, Conn};
use net::splice::Pipe;
use net::stream::PACKET;
use observe::capture::Kept;
use tokio::task::yield_now;
use wire::Head;

use super::copied::{Copied, TooLong, Whole};
use super::gather::Gather;
use super::{Coalesce, Toll, Transform};
use crate::worker::Worker;

mod ahead;

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Pump {
    reader: BodyReader,
    writer: BodyWriter,
    backlog: Backlog,
    pipe: Option<Pipe>,
    splice: bool,
    /// The last read of a body without a known length has filled its block: more is likely to come at once.
    floods: bool,
    /// What the reader could not use must be read again with more behind it.
    starved: bool,
    end: End,
    /// Bytes of content that went through.
    pub(crate) content: u64,
    /// More content than this stops it.
    pub(crate) limit: u64,
    /// Something has moved since the caller looked last.
    pub(crate) moved: bool,
    /// The content that goes through, for others who want it, too.
    copy: Option<Box<Copied>>,
    /// What becomes of the content on its way.
    transform: Option<Box<Changed>>,
    /// Small pieces that wait for others.
    gather: Option<Box<Gather>>,
    /// What holds it back, and counts it.
    pub(crate) toll: Option<Box<Toll>>,
}

/// How far it is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More comes.
    Ahead,
    /// It was framed, behind all of the body.
    Framed,
    /// The connection was told of it.
    Told,
    /// It goes on no more: what was lost then would be a hole in what follows.
    Stopped(Stop),
}

/// What becomes of content, and how much more of it may come.
#[derive(Debug)]
struct Changed {
    transform: Transform,
    left: u64,
}

/// Why a body stopped on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The side it came from failed, so.
    Source(Kind),
    /// The side it went to takes no more.
    Sink,
    /// It is longer than allowed.
    TooLarge,
    /// Whoever it is counted for has used up a quota.
    Spent,
    /// It could not be made what it should become: it is malformed, or there is no memory.
    Spoiled(Kind),
}

/// From this length on, going through a pipe is cheaper than copying.
const SPLICE_FROM: u64 = 16 * 1024;
/// Content that is changed on its way goes in pieces like this, and others have their turn between them: changing one takes
/// less than a millisecond (docs/compression.md).
pub(crate) const PIECE: usize = 16 * 1024;
/// Of a piece so little is not worth a turn.
const SCRAP: usize = 1024;

impl Changed {
    /// Whether so much more may come.
    fn counts(&mut self, content: usize) -> bool {
        let left = self.left.checked_sub(content as u64);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

impl Deref for Changed {
    type Target = Transform;
    fn deref(&self) -> &Transform {
        &self.transform
    }
}

impl DerefMut for Changed {
    fn deref_mut(&mut self) -> &mut Transform {
        &mut self.transform
    }
}

impl Default for Pump {
    fn default() -> Pump {
        Pump::new(BodyReader::Done(None), BodyWriter::Plain, false)
    }
}

impl Pump {
    /// A pump for a body that is read so, and written so.
    pub(crate) fn new(reader: BodyReader, writer: BodyWriter, splice: bool) -> Pump {
        Pump {
            reader,
            writer,
            backlog: Backlog::default(),
            pipe: None,
            splice,
            floods: false,
            starved: false,
            end: End::Ahead,
            content: 0,
            limit: u64::MAX,
            moved: false,
            copy: None,
            transform: None,
            gather: None,
            toll: None,
        }
    }

    /// Changes all content from here on.
    pub(crate) fn transform(&mut self, transform: Transform) {
        self.splice = false;
        self.transform = Some(Box::new(Changed { transform, left: u64::MAX }));
    }

    /// Lets so much content come and no more, whatever becomes of it on its way: that is settled before.
    pub(crate) fn come_up_to(&mut self, most: u64) {
        match &mut self.transform {
            None => self.limit = most,
            Some(changed) => changed.left = most,
        }
    }

    /// Lets small pieces wait for others.
    pub(crate) fn gather(&mut self, worker: &Rc<Worker>, said: Coalesce) {
        self.gather = Gather::new(worker, said).map(Box::new);
    }

    /// Keeps a copy of all content that is still to come, unless it is longer than this. It goes through no pipe then.
    pub(crate) fn copy_up_to(&mut self, most: usize) {
        self.splice = false;
        self.copy.get_or_insert_default().whole = Some(Whole { bytes: Vec::new(), most, overflown: false });
    }

    /// Keeps the beginning of all content that is still to come. What comes behind that may go through a pipe.
    pub(crate) fn keep(&mut self, part: Kept) {
        self.copy.get_or_insert_default().part = Some(part);
    }

    /// The beginning that was kept, if that was wanted.
    pub(crate) fn kept(&mut self) -> Option<Kept> {
        self.copy.as_mut()?.part.take()
    }

    /// The copy, if one was wanted.
    pub(crate) fn copied(&mut self) -> Option<Result<Vec<u8>, TooLong>> {
        let whole = self.copy.as_mut()?.whole.take()?;
        Some(if whole.overflown { Err(TooLong) } else { Ok(whole.bytes) })
    }

    /// Whether the whole body was read.
    pub(crate) fn is_read(&self) -> bool {
        self.reader.is_done()
    }

    /// The trailers that came, once the whole body was read.
    pub(crate) fn read_trailers(&self) -> Option<&Head> {
        self.reader.trailers()
    }

    /// Whether the whole body was read, written and taken.
    pub(crate) fn is_done(&self) -> bool {
        self.end == End::Told
    }

    /// Whether it stands still because the side it goes to takes nothing.
    pub(crate) fn waits_for_sink(&self) -> bool {
        !self.backlog.is_empty() || self.pipe.as_ref().is_some_and(|pipe| pipe.filled() > 0)
    }

    /// Whether all that was begun with has been taken.
    pub(crate) fn lets_go(&mut self, cx: &mut Context<'_>, to: &mut Conn) -> bool {
        let before = self.backlog.len();
        let flushed = self.backlog.poll_flush(cx, to);
        self.moved |= self.backlog.len() < before;
        flushed.is_ready()
    }

    /// Forgets where the body goes: it will go elsewhere. The reader stays where it is.
    pub(crate) fn redirect(&mut self) {
        self.backlog = Backlog::default();
        self.end = End::Ahead;
        self.content = 0;
    }

    /// Lets the body follow what the socket has not taken yet.
    pub(crate) fn follow(&mut self, backlog: Backlog) {
        debug_assert!(self.backlog.is_empty());
        self.backlog = backlog;
    }

    /// Writes `out`: a head, and behind it what of the body came with it, in one go if the socket takes it.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, to: &mut Conn, out: &[u8]) -> Result<(), Stop> {
        self.push(cx, to, out)
    }

    /// How content is written from here on.
    pub(crate) fn write_as(&mut self, writer: BodyWriter) {
        self.writer = writer;
    }

    /// Whether content is changed on its way.
    pub(crate) fn is_changed(&self) -> bool {
        self.transform.is_some()
    }

    /// Moves what can be moved; ready when all of the body was taken, or it has stopped: then it stays so.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Rc<Worker>,
        from: &mut Conn,
        to: &mut Conn,
    ) -> Poll<Result<(), Stop>> {
        if let End::Stopped(stop) = self.end {
            return Poll::Ready(Err(stop));
        }
        let moved = self.poll_on(cx, worker, from, to);
        if let Poll::Ready(Err(stop)) = moved {
            self.end = End::Stopped(stop);
        }
        moved
    }

    fn poll_on(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Rc<Worker>,
        from: &mut Conn,
        to: &mut Conn,
    ) -> Poll<Result<(), Stop>> {
        let mut changed = 0;
        loop {
            if !self.backlog.is_empty() {
                ready!(self.backlog.poll_flush(cx, to)).map_err(|_| Stop::Sink)?;
                self.moved = true;
                self.tell_if_ended(to);
            }
            if self.end != End::Ahead {
                self.tell_if_ended(to);
                return Poll::Ready(Ok(()));
            }
            let may = match &mut self.toll {
                None => usize::MAX,
                // What has been taken into a pipe goes on, whatever may follow.
                Some(toll) => match toll.poll_room(cx) {
                    Poll::Ready(room) => room,
                    Poll::Pending if self.pipe.as_ref().is_some_and(|pipe| pipe.filled() > 0) => 0,
                    Poll::Pending => return Poll::Pending,
                },
            };
            if self.pipe.is_some() || self.wants_pipe(from, to) {
                if self.pipe.is_none() {
                    self.pipe = worker.pipes.lend();
                    self.splice = self.pipe.is_some();
                }
                if self.pipe.is_some() {
                    ready!(self.poll_pipe(cx, worker, from, to, may))?;
                    continue;
                }
            }
            let mut block = worker.block(from.carry().len() + 4096);
            let piece = if self.transform.is_some() { PIECE } else { usize::MAX };
            let length = if from.has_carry() && !self.starved {
                from.unkeep(&mut block)
            } else {
                let kept = from.carry().len();
                let room = block.len().min(kept + PACKET.min(piece - changed).min(may));
                let Poll::Ready(read) = from.poll_bytes(cx, &mut block[..room]) else {
                    self.let_out(cx, to)?;
                    ready!(self.poll_late(cx, to))?;
                    continue;
                };
                let length = read.map_err(|_| BROKEN)?;
                if length == kept && !self.reader.ended(from.take_trailers()) {
                    return Poll::Ready(Err(BROKEN));
                }
                self.floods = length == room;
                length
            };
            self.moved = true;
            let mut given = length.min(piece - changed);
            let mut used = self.forward(cx, worker, to, &block[..given])?;
            if used == 0 && given < length {
                // A line of the framing that is longer than a piece.
                given = length;
                used = self.forward(cx, worker, to, &block[..given])?;
            }
            self.starved = given == length && used < length && !self.reader.is_done();
            if used < length {
                from.keep(&block[used..length]);
            }
            changed += used;
            if changed.saturating_add(SCRAP) > piece
                && self.end == End::Ahead
                && pin!(yield_now()).poll(cx).is_pending()
            {
                // To the end of the queue, and behind what sockets have to say by then: a task that only woke itself would come again
                // sixty times before anybody looks at them.
                return Poll::Pending;
            }
        }
    }

    /// Nothing more is here for now: what was taken in and has not come out does so, however little it is.
    fn let_out(&mut self, cx: &mut Context<'_>, to: &mut Conn) -> Result<(), Stop> {
        let Some(transform) = self.transform.as_mut().filter(|transform| transform.holds()) else { return Ok(()) };
        let (mut made, mut out) = (Vec::new(), Vec::new());
        transform.flush(&mut made).map_err(Stop::Spoiled)?;
        if let Some(copy) = &mut self.copy {
            copy.take(&made);
        }
        self.writer.content(&made, &mut out);
        self.count(made.len() as u64)?;
        self.push(cx, to, &out)
    }

    /// What waits for others goes on: they are not waited for.
    pub(crate) fn hurry(&mut self, cx: &mut Context<'_>, to: &mut Conn) -> Result<(), Stop> {
        match self.gather.as_mut().and_then(|gather| gather.take()) {
            Some(held) => self.push(cx, to, &held),
            None => Ok(()),
        }
    }

    /// Ready when what waits for others has waited for long enough, and has gone on.
    fn poll_late(&mut self, cx: &mut Context<'_>, to: &mut Conn) -> Poll<Result<(), Stop>> {
        let Some(gather) = &mut self.gather else { return Poll::Pending };
        match ready!(gather.poll_late(cx)) {
            Some(held) => Poll::Ready(self.push(cx, to, &held)),
            None => Poll::Pending,
        }
    }

    /// Sends the body's part of `bytes` on.
    fn forward(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Rc<Worker>,
        to: &mut Conn,
        bytes: &[u8],
    ) -> Result<usize, Stop> {
        if self.writer == BodyWriter::Plain
            && self.transform.is_none()
            && let Some(left) = self.reader.raw()
            && !bytes.is_empty()
        {
            // Plain to plain: the socket is given the bytes where they are.
            let used = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.reader.passed(used as u64);
            self.count(used as u64)?;
            if let Some(copy) = &mut self.copy {
                copy.take(&bytes[..used]);
            }
            self.end_if_read(&mut Vec::new())?;
            match &mut self.gather {
                Some(gather) if !gather.passes(used) => {
                    if let Some(enough) = gather.add(worker, &bytes[..used]) {
                        self.push(cx, to, &enough)?;
                    }
                }
                _ => self.push(cx, to, &bytes[..used])?,
            }
            return Ok(used);
        }
        self.hurry(cx, to)?;
        let mut out = worker.out();
        let used = self.encode(bytes, &mut out)?;
        self.push(cx, to, &out)?;
        Ok(used)
    }

    fn push(&mut self, cx: &mut Context<'_>, to: &mut Conn, bytes: &[u8]) -> Result<(), Stop> {
        self.backlog.push(cx, to, bytes).map_err(|_| Stop::Sink)?;
        self.tell_if_ended(to);
        Ok(())
    }

    fn tell_if_ended(&mut self, to: &mut Conn) {
        if self.end == End::Framed && self.backlog.is_empty() {
            to.finish(self.trailers());
            self.end = End::Told;
        }
    }

    /// Appends the body's part of `bytes` in its framing; answers how many bytes that was.
    pub(crate) fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Stop> {
        if self.transform.is_some() {
            return self.encode_changed(bytes, out);
        }
        let (writer, copy, mut count) = (self.writer, &mut self.copy, 0);
        let used = self
            .reader
            .take(bytes, |content| {
                count += content.len() as u64;
                if let Some(copy) = copy {
                    copy.take(content);
                }
                writer.content(content, out);
            })
            .map_err(|_| MALFORMED)?;
        self.count(count)?;
        self.end_if_read(out)?;
        Ok(used)
    }

    /// The same of content that is changed on its way.
    fn encode_changed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Stop> {
        let (transform, mut fits) = (&mut self.transform, true);
        let (mut made, mut changed) = (Vec::new(), Ok(()));
        let used = self
            .reader
            .take(bytes, |content| {
                if let (Some(transform), Ok(())) = (transform.as_mut(), changed) {
                    fits &= transform.counts(content.len());
                    changed = transform.content(content, &mut made);
                }
            })
            .map_err(|_| MALFORMED)?;
        if !fits {
            return Err(Stop::TooLarge);
        }
        changed.map_err(Stop::Spoiled)?;
        if let Some(copy) = &mut self.copy {
            copy.take(&made);
        }
        self.writer.content(&made, out);
        self.count(made.len() as u64)?;
        self.end_if_read(out)?;
        Ok(used)
    }

    fn count(&mut self, content: u64) -> Result<(), Stop> {
        if let Some(toll) = &self.toll {
            toll.took(content)?;
        }
        if self.content + content > self.limit {
            return Err(Stop::TooLarge);
        }
        self.content += content;
        Ok(())
    }

    fn end_if_read(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        if !self.reader.is_done() || self.end != End::Ahead {
            return Ok(());
        }
        if let Some(transform) = &mut self.transform {
            let mut made = Vec::new();
            transform.end(self.reader.trailers(), &mut made).map_err(Stop::Spoiled)?;
            if let Some(copy) = &mut self.copy {
                copy.take(&made);
            }
            self.writer.content(&made, out);
            self.count(made.len() as u64)?;
        }
        self.writer.end(self.trailers(), out);
        self.end = End::Framed;
        // An encoder is of use to others while the client takes its time.
        self.transform.take_if(|transform| matches!(transform.transform, Transform::Compress(_)));
        Ok(())
    }

    /// The trailers that go behind the content.
    fn trailers(&self) -> Option<&Head> {
        let stay = self.transform.as_ref().is_none_or(|transform| transform.keeps_trailers());
        self.reader.trailers().filter(|_| stay)
    }

    fn wants_pipe(&self, from: &Conn, to: &Conn) -> bool {
        self.splice
            && self.writer == BodyWriter::Plain
            && self.copy.as_ref().is_none_or(|copy| copy.part.as_ref().is_none_or(Kept::is_full))
            && !from.has_carry()
            // What waits for more must not be overtaken by it.
            && self.gather.as_ref().is_none_or(|gather| gather.is_empty())
            && (self.reader.bulk().is_some_and(|left| left >= SPLICE_FROM)
                || (self.floods && matches!(self.reader, BodyReader::UntilClose)))
            && from.plain().is_some()
            && to.plain().is_some()
    }

    /// Moves so many bytes at most into a pipe, and all that is in it out of it.
    fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        from: &Conn,
        to: &Conn,
        mut may: usize,
    ) -> Poll<Result<(), Stop>> {
        let (Some(pipe), Some(source), Some(sink)) = (&mut self.pipe, from.plain(), to.plain()) else {
            return Poll::Ready(Err(BROKEN));
        };
        let mut filled = 0;
        loop {
            let left = self.reader.raw().unwrap_or(0);
            let mut stuck = true;
            if left > 0 && may > 0 && !pipe.is_full() {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(may);
                match pipe.poll_fill(cx, source, most) {
                    Poll::Ready(Ok(0)) if self.reader.ended(None) => stuck = false,
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(BROKEN)),
                    Poll::Ready(Ok(count)) => {
                        self.reader.passed(count as u64);
                        self.content += count as u64;
                        filled += count as u64;
                        if let Some(toll) = &self.toll {
                            toll.took(count as u64)?;
                            may -= count;
                        }
                        if self.content > self.limit {
                            // What is in the pipe goes nowhere.
                            self.content -= pipe.filled() as u64;
                            return Poll::Ready(Err(Stop::TooLarge));
                        }
                        stuck = false;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(BROKEN)),
                    Poll::Pending => {}
                }
            }
            if pipe.filled() > 0 {
                match pipe.poll_drain(cx, sink) {
                    Poll::Ready(Ok(count)) => {
                        worker.fleet.spliced(worker.id, count as u64);
                        stuck = false;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Stop::Sink)),
                    Poll::Pending => {}
                }
            }
            if may == 0 && left > 0 && pipe.filled() == 0 && !self.reader.is_done() {
                // Its caller asks how much may follow, and when.
                self.moved |= filled > 0;
                return Poll::Ready(Ok(()));
            }
            if self.reader.is_done() && pipe.filled() == 0 {
                self.pipe = None;
                self.end = End::Told;
                self.moved = true;
                return Poll::Ready(Ok(()));
            }
            if stuck {
                if pipe.filled() == 0 && matches!(self.reader, BodyReader::UntilClose) {
                    // Who knows when more comes: others may need the pipe until then. What comes little by little is copied.
                    self.pipe = None;
                    self.floods &= filled == 0 || filled >= SPLICE_FROM;
                }
                return Poll::Pending;
            }
            self.moved = true;
        }
    }
}

const BROKEN: Stop = Stop::Source(Kind::Truncated);
const MALFORMED: Stop = Stop::Source(Kind::Malformed);
