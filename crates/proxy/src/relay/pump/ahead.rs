//! Content that is read before it goes anywhere.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::Conn;
use net::stream::PACKET;
use wire::Framing;

use super::super::Transform;
use super::{BROKEN, MALFORMED, PIECE, Pump, Stop};
use crate::worker::Worker;

impl Pump {
    /// Changes all content of a body of which this was read before.
    pub(crate) fn transform_all(&mut self, mut transform: Transform, read: &mut Vec<u8>) -> Result<(), Stop> {
        let before = std::mem::take(read);
        transform.content(&before, read).map_err(Stop::Spoiled)?;
        if self.reader.is_done() {
            transform.end(None, read).map_err(Stop::Spoiled)?;
        }
        self.transform(transform);
        Ok(())
    }

    /// Writes content that was read before, as `to` wants this framing, behind `out`.
    pub(crate) fn begin_with_content(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Conn,
        framing: Framing,
        out: &mut Vec<u8>,
        content: &[u8],
    ) -> Result<(), Stop> {
        self.writer = to.body_writer(framing);
        self.writer.content(content, out);
        self.content = content.len() as u64;
        self.end_if_read(out)?;
        self.push(cx, to, out)
    }

    /// Takes content out of `bytes` without sending it; answers how many bytes belong to the body.
    pub(crate) fn prefetch(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> Result<usize, Stop> {
        let (transform, mut changed, before) = (&mut self.transform, Ok(()), into.len());
        let used = self
            .reader
            .take(bytes, |content| match transform {
                None => into.extend_from_slice(content),
                Some(transform) if changed.is_ok() => changed = transform.content(content, into),
                Some(_) => {}
            })
            .map_err(|_| MALFORMED)?;
        if self.reader.is_done()
            && let Some(transform) = transform
        {
            changed = changed.and_then(|()| transform.end(None, into));
        }
        changed.map_err(Stop::Spoiled)?;
        if into.len() as u64 > self.limit {
            return Err(Stop::TooLarge);
        }
        if let Some(toll) = &self.toll {
            toll.took((into.len() - before) as u64)?;
        }
        self.starved = used < bytes.len() && !self.reader.is_done();
        Ok(used)
    }

    /// Its source has ended while it was prefetched.
    pub(crate) fn finish_early(&mut self, from: &mut Conn, into: &mut Vec<u8>) -> Result<(), Stop> {
        if !self.reader.ended(from.take_trailers()) {
            return Err(BROKEN);
        }
        match &mut self.transform {
            Some(transform) => transform.end(None, into).map_err(Stop::Spoiled),
            None => Ok(()),
        }
    }

    /// Reads once and appends the content, which goes nowhere yet; ready as well when the body has ended.
    pub(crate) fn poll_into(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Rc<Worker>,
        from: &mut Conn,
        into: &mut Vec<u8>,
    ) -> Poll<Result<(), Stop>> {
        let kept = from.carry().len();
        let mut block = worker.block(kept + 4096);
        let length = if from.has_carry() && !self.starved {
            from.unkeep(&mut block)
        } else {
            let room = block.len().min(kept + PACKET.min(PIECE));
            let length = ready!(from.poll_bytes(cx, &mut block[..room])).map_err(|_| BROKEN)?;
            if length == kept {
                return Poll::Ready(self.finish_early(from, into));
            }
            length
        };
        let used = self.prefetch(&block[..length], into)?;
        if used < length {
            from.keep(&block[used..length]);
        }
        Poll::Ready(Ok(()))
    }

    /// Changes content that was read before.
    pub(crate) fn change(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        match &mut self.transform {
            None => out.extend_from_slice(content),
            Some(transform) => {
                transform.counts(content.len());
                transform.content(content, out).map_err(Stop::Spoiled)?;
            }
        }
        Ok(())
    }

    /// Appends content that was read, and [changed](Pump::change), before.
    pub(crate) fn put(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        if let Some(copy) = &mut self.copy {
            copy.take(content);
        }
        self.writer.content(content, out);
        self.count(content.len() as u64)?;
        self.end_if_read(out)
    }
}
