//! A connection of HTTP/2: the driver that moves its bytes, and the lanes that look like connections of their own.
//!
//! The codec of `wire` knows the protocol and does no IO. Here it meets the socket: [`Driver`] reads and writes for all streams
//! of a connection, each [`Lane`] is one of them. Both belong to one worker, so that they share the codec without a lock; a lane
//! that has written wakes the driver, which then writes for everybody who had something to say in this turn.

mod client;
mod driver;
mod lane;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use rustc_hash::FxHashMap;
use wire::Head;
use wire::h2::{Code, Connection, StreamId};

pub use client::Client;
pub use driver::{Came, Driver, End};
pub use lane::Lane;
pub(crate) use lane::{Role, Switched};

/// What the driver and the lanes of a connection share.
#[derive(Debug, Clone)]
struct Link(Rc<RefCell<Shared>>);

#[derive(Debug)]
struct Shared {
    codec: Connection,
    lanes: FxHashMap<StreamId, Strand>,
    /// Wakes the task of the driver.
    driver: Option<Waker>,
    /// How many lanes wait until they may write.
    waiting: usize,
    /// How many lanes of a client have not begun their request: each has a stream to itself already.
    reserved: usize,
    /// How many lanes a server has at most.
    most: usize,
    /// Heads that were read, for the memory they have.
    spare: Vec<Head>,
    /// The connection is over: nothing is read or written any more.
    over: bool,
}

/// What the driver has for one lane.
#[derive(Debug, Default)]
struct Strand {
    /// Content that was not read yet, from `at` on.
    content: Vec<u8>,
    at: usize,
    trailers: Option<Box<Head>>,
    /// Heads of responses that were not read yet, interim ones before the final one.
    heads: VecDeque<Head>,
    /// How the peer broke the protocol on it.
    reason: Option<&'static str>,
    /// The peer has said all.
    ended: bool,
    /// The stream was reset, by either side.
    broken: Option<Code>,
    /// It wants to write, and may not.
    waits: bool,
    /// Wakes the task of the lane.
    task: Option<Waker>,
}

impl Shared {
    /// Makes sure that the driver writes what the codec has to say.
    fn nudge(&self) {
        if self.codec.has_out()
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }

    /// Lets the driver know that nobody has a lane any more: it may have waited for the last of them.
    fn nudge_idle(&self) {
        if self.lanes.is_empty()
            && self.reserved == 0
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }

    /// Lets lanes write that wait for it and may, the most urgent first.
    fn wake_writers(&mut self) {
        if self.waiting == 0 {
            return;
        }
        for id in self.codec.writable_in_order() {
            if let Some(strand) = self.lanes.get_mut(&id)
                && std::mem::take(&mut strand.waits)
            {
                self.waiting -= 1;
                strand.wake();
            }
        }
    }

    /// Nothing comes and goes any more.
    fn end(&mut self) {
        self.over = true;
        for strand in self.lanes.values_mut() {
            strand.wake();
        }
    }
}

impl Strand {
    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// So much of the content was read. A body of which some always waits must not leave what was read of it lying in front.
    fn passed(&mut self, count: usize) {
        self.at += count;
        if self.at == self.content.len() {
            // What waits is nothing, so it owns nothing.
            (self.content, self.at) = (Vec::new(), 0);
        } else if self.at * 2 > self.content.len() {
            self.content.drain(..self.at);
            self.at = 0;
        }
    }

    fn wake_later(&mut self, cx: &Context<'_>) {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_does_not_stay() {
        let mut strand = Strand::default();
        for round in 0..1000 {
            strand.content.extend_from_slice(&[round as u8; 1000]);
            // Some of it always waits.
            strand.passed(if round == 0 { 10 } else { 1000 });
            assert_eq!(strand.content.len() - strand.at, 990);
            assert_eq!(strand.content[strand.at], round as u8);
        }
        assert!(strand.content.capacity() < 10_000, "{}", strand.content.capacity());
    }
}
