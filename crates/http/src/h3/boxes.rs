//! Datagrams of requests (RFC 9297): each lies in the box of its stream until that is looked into.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker, ready};

use net::quic::{Datagram, Unsent};
use rustc_hash::FxHashMap;
use wire::h3::datagram;

use super::Lane;

/// The boxes of a connection, by the numbers of their streams.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    by_stream: RefCell<FxHashMap<u64, Box<One>>>,
}

#[derive(Debug, Default)]
struct One {
    waiting: VecDeque<(Datagram, usize)>,
    /// Wakes whoever looks into it.
    waker: Option<Waker>,
}

/// How many datagrams wait in one; what comes to a full one is lost.
const ROOM: usize = 64;

impl Boxes {
    /// Puts up a box for a stream.
    pub(super) fn open(&self, stream: u64) {
        self.by_stream.borrow_mut().entry(stream).or_default();
    }

    /// Takes a stream's box away, with what lies in it.
    pub(super) fn close(&self, stream: u64) {
        self.by_stream.borrow_mut().remove(&stream);
    }

    /// Sorts in what has come. What is for a stream without a box is lost: it may be on its way, or be over.
    ///
    /// # Errors
    /// It is for no stream at all.
    pub(super) fn sort(&self, come: Datagram) -> Result<(), wire::h3::Broken> {
        let (stream, at) = datagram::read(come.as_ref())?;
        if let Some(one) = self.by_stream.borrow_mut().get_mut(&stream)
            && one.waiting.len() < ROOM
        {
            one.waiting.push_back((come, at));
            if let Some(waker) = one.waker.take() {
                waker.wake();
            }
        }
        Ok(())
    }

    /// Takes the next datagram out of a stream's box: it, and where in it what it carries begins.
    pub(super) fn poll_take(&self, cx: &Context<'_>, stream: u64) -> Poll<(Datagram, usize)> {
        let mut boxes = self.by_stream.borrow_mut();
        let Some(one) = boxes.get_mut(&stream) else { return Poll::Pending };
        let next = one.waiting.pop_front();
        if next.is_none() {
            one.waker = Some(cx.waker().clone());
        }
        next.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Lane {
    /// Keeps the datagrams of this stream that come from now on.
    pub(crate) fn expect_datagrams(&self) {
        self.link.boxes.open(self.stream.number());
    }

    /// Takes the next datagram; it is cut to the room that there is.
    pub(crate) fn poll_datagram(&self, cx: &Context<'_>, into: &mut [u8]) -> Poll<usize> {
        let (datagram, at) = ready!(self.link.boxes.poll_take(cx, self.stream.number()));
        let content = &datagram.as_ref()[at..];
        let length = content.len().min(into.len());
        into[..length].copy_from_slice(&content[..length]);
        Poll::Ready(length)
    }

    /// Sends a datagram of this stream, made of these parts.
    ///
    /// # Errors
    /// The client does not want any, or has not said so yet, or it is too long for the path.
    pub(crate) fn send_datagram(&self, parts: &[&[u8]]) -> Result<(), Unsent> {
        if !self.link.said.settings.get().is_some_and(|said| said.datagrams) {
            return Err(Unsent::Unwanted);
        }
        let mut datagram = Vec::with_capacity(8 + parts.iter().map(|part| part.len()).sum::<usize>());
        datagram::write(self.stream.number(), &mut datagram);
        parts.iter().for_each(|part| datagram.extend_from_slice(part));
        self.link.connection.send_datagram(datagram)
    }
}
