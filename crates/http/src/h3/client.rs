//! A connection to a server as its pool sees it: what moves its bytes, whether it has room for a request, and a lane for each.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use net::quic::{self, Connection, MOST_STREAMS, Way};
use wire::h2::Limits;

use super::{End, Lane, Link, Trunk, lane};

/// What makes a connection go: it must be polled by one task, as long as it is to live.
#[derive(Debug)]
pub struct Driver {
    quic: quic::Driver,
    trunk: Trunk,
}

/// What gives lanes of a connection to a server.
#[derive(Debug, Clone)]
pub struct Client {
    link: Link,
}

impl Driver {
    /// The client's end of a connection whose handshake is done.
    pub fn client(connection: Connection, quic: quic::Driver, limits: &Limits) -> Driver {
        Driver { quic, trunk: Trunk::client(connection, limits) }
    }

    /// What gives lanes of it.
    pub fn lanes(&self) -> Client {
        Client { link: Rc::clone(self.trunk.link()) }
    }

    /// When something was heard last.
    pub fn heard(&self) -> Option<Instant> {
        self.trunk.connection().heard()
    }

    /// Asks the server for a sign of life.
    pub fn ping(&self) {
        self.trunk.connection().ping();
    }

    /// How many lanes there are.
    pub fn open(&self) -> usize {
        self.trunk.open()
    }

    /// Ends the connection; the server is told when it is polled again.
    pub fn leave(&self) {
        self.trunk.close();
    }

    /// Moves what can be moved; ready when the connection has ended.
    pub fn poll(&mut self, cx: &mut Context<'_>, block: &mut [u8]) -> Poll<End> {
        // That the server knows of the end is not waited for.
        let _ = self.quic.poll(cx, block);
        let ended = self.trunk.poll(cx, block, &mut |_| {});
        if ended.is_ready() {
            self.quic.flush();
        }
        ended
    }
}

impl Drop for Driver {
    /// A server would wait for as long as it waits for anybody.
    fn drop(&mut self) {
        self.trunk.close();
        self.quic.flush();
    }
}

impl Client {
    /// Whether the server has said its limits: before that, nobody knows that it speaks HTTP/3.
    pub fn is_greeted(&self) -> bool {
        self.link.said.settings.get().is_some()
    }

    /// Whether there is room for one more request.
    pub fn has_room(&self) -> bool {
        if !self.is_greeted() || self.is_leaving() || self.link.open.get() >= MOST_STREAMS as usize {
            return false;
        }
        let mut spare = self.link.said.spare.borrow_mut();
        // Whether there is a stream shows when it is opened; the server hears of it when something is written.
        if spare.is_empty() {
            spare.extend(self.link.connection.open(Way::Both));
        }
        !spare.is_empty()
    }

    /// Whether no request will ever be taken again.
    pub fn is_leaving(&self) -> bool {
        self.link.said.goaway.get().is_some() || self.link.connection.is_lost()
    }

    /// A lane for one request, if there is room for it.
    pub fn lane(&self) -> Option<Lane> {
        if !self.has_room() {
            return None;
        }
        let stream = self.link.said.spare.borrow_mut().pop()?;
        Some(Lane::new(&self.link, stream, lane::Role::Client))
    }

    /// Wakes whoever drives the connection.
    pub fn wake(&self) {
        self.link.wake_trunk();
    }
}
