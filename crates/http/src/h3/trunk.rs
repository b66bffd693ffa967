//! What belongs to a connection of HTTP/3 and to none of its requests.

use std::task::{Context, Poll};

use net::quic::{Broken, Connection, Lost, Stream, Way};
use wire::h1;
use wire::h2::{Limits, Role};
use wire::h3::oneway::{OneWay, Peer, Verdict};
use wire::h3::{Code, settings};

use super::{Lane, Leftover, Link, Shared, lane};

/// A connection's own part.
#[derive(Debug)]
pub struct Trunk {
    link: Link,
    role: Role,
    peer: Peer,
    /// The peer's own streams.
    oneway: Vec<(Stream, OneWay)>,
    control: Option<Stream>,
    /// Streams of the peer's that nobody knows.
    unknown: u32,
    /// Whether datagrams are welcome.
    datagrams: bool,
}

/// How a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer, or the path to it, has ended it.
    Lost(Lost),
    /// It broke a rule and was told which.
    Broken(wire::h3::Broken),
}

/// How many streams that mean nothing a peer may open, one after the other.
const UNKNOWN: u32 = 100;

impl Trunk {
    /// Our end of a connection to a client, who is told whether datagrams are welcome.
    pub fn server(connection: Connection, limits: &h1::Limits, datagrams: bool) -> Trunk {
        let limits = Limits {
            head: limits.head,
            line: limits.line,
            fields: limits.fields,
            extended_connect: true,
            ..Limits::default()
        };
        Trunk { datagrams, ..Trunk::new(Shared::new(connection, limits), Role::Server, Peer::of(Role::Client)) }
    }

    /// Our end of a connection to a server.
    pub(super) fn client(connection: Connection, limits: &Limits) -> Trunk {
        Trunk::new(Shared::new(connection, *limits), Role::Client, Peer::of(Role::Server))
    }

    fn new(link: Link, role: Role, peer: Peer) -> Trunk {
        Trunk { link, role, peer, oneway: Vec::new(), control: None, unknown: 0, datagrams: false }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Does what there is to do; each new request is given to `begin`. Ready when the connection is no more.
    pub fn poll(&mut self, cx: &Context<'_>, block: &mut [u8], begin: &mut dyn FnMut(Lane)) -> Poll<End> {
        *self.link.trunk.borrow_mut() = Some(cx.waker().clone());
        self.introduce();
        self.finish_leftovers(cx);
        if let Err(broken) = self.hear(cx, block).and_then(|()| self.heed()) {
            self.link.connection.close(broken.code.0, broken.reason);
            return Poll::Ready(End::Broken(broken));
        }
        loop {
            match self.link.connection.poll_accept(cx, Way::Both) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(lost)) => return Poll::Ready(End::Lost(lost)),
                Poll::Ready(Ok(stream)) => begin(Lane::new(&self.link, stream, lane::Role::Server)),
            }
        }
    }

    /// How many requests are under way.
    pub fn open(&self) -> usize {
        self.link.open.get()
    }

    /// Tells the client to open no more requests here. Those that are under way, or on their way, are served
    /// (RFC 9114 section 5.2: the largest identifier says so).
    pub fn announce_end(&mut self) {
        const LARGEST: u64 = (1 << 62) - 4;
        if let Some(control) = self.control {
            let mut bytes = Vec::with_capacity(16);
            wire::h3::frame::goaway(LARGEST, &mut bytes);
            self.link.leftovers.borrow_mut().push(Leftover { stream: control, bytes, at: 0 });
            self.link.wake_trunk();
        }
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.link.connection.close(Code::NO_ERROR.0, "");
    }

    /// The connection below.
    pub fn connection(&self) -> &Connection {
        &self.link.connection
    }

    /// Opens our control stream, which says first what we can do (RFC 9114 section 6.2.1).
    fn introduce(&mut self) {
        if self.control.is_none() {
            self.control = self.link.connection.open(Way::One);
            if let Some(stream) = self.control {
                let mut bytes = vec![0];
                settings::ours(self.role, self.link.limits.head, self.datagrams, &mut bytes);
                self.link.leftovers.borrow_mut().push(Leftover { stream, bytes, at: 0 });
            }
        }
    }

    /// Writes what waits for room; what ends a message ends its stream.
    fn finish_leftovers(&self, cx: &Context<'_>) {
        let connection = &self.link.connection;
        self.link.leftovers.borrow_mut().retain_mut(|leftover| {
            while leftover.at < leftover.bytes.len() {
                match connection.poll_write(cx, leftover.stream, &leftover.bytes[leftover.at..]) {
                    Poll::Ready(Ok(count)) => leftover.at += count,
                    Poll::Ready(Err(_)) => return false,
                    Poll::Pending => return true,
                }
            }
            if Some(leftover.stream) != self.control {
                connection.finish(leftover.stream);
            }
            false
        });
    }

    /// Takes what the peer has said to those whom it concerns, and datagrams to their streams.
    fn heed(&self) -> Result<(), wire::h3::Broken> {
        let said = &self.link.said;
        said.settings.set(self.peer.settings());
        if self.datagrams {
            if self.peer.settings().is_some_and(|said| said.datagrams) && !self.link.connection.takes_datagrams() {
                // RFC 9297 section 2.1.1.
                let reason = "datagrams of HTTP without those of QUIC";
                return Err(wire::h3::Broken { code: Code::SETTINGS_ERROR, reason });
            }
            while let Some(datagram) = self.link.connection.datagram() {
                self.link.boxes.sort(datagram)?;
            }
        }
        if said.goaway.replace(self.peer.goaway()) != self.peer.goaway() {
            self.link.connection.wake_streams();
        }
        Ok(())
    }

    /// Reads the peer's own streams.
    fn hear(&mut self, cx: &Context<'_>, block: &mut [u8]) -> Result<(), wire::h3::Broken> {
        while let Poll::Ready(Ok(stream)) = self.link.connection.poll_accept(cx, Way::One) {
            self.oneway.push((stream, OneWay::new()));
        }
        let mut at = 0;
        while let Some((stream, oneway)) = self.oneway.get_mut(at) {
            let goes_on = loop {
                match self.link.connection.poll_read(cx, *stream, block) {
                    Poll::Pending => break true,
                    Poll::Ready(Ok(0) | Err(Broken::Cancelled(_))) => {
                        oneway.end()?;
                        break false;
                    }
                    Poll::Ready(Err(Broken::Over | Broken::Lost(_))) => break false,
                    Poll::Ready(Ok(length)) => match oneway.take(&block[..length], &mut self.peer)? {
                        Verdict::Read => {}
                        Verdict::Unknown => {
                            self.link.connection.stop(*stream, Code::STREAM_CREATION_ERROR.0);
                            self.unknown += 1;
                            if self.unknown > UNKNOWN {
                                let reason = "too many streams that mean nothing";
                                return Err(wire::h3::Broken { code: Code::EXCESSIVE_LOAD, reason });
                            }
                            break false;
                        }
                    },
                }
            };
            if goes_on {
                at += 1;
            } else {
                self.link.connection.forget(*stream);
                self.oneway.swap_remove(at);
            }
        }
        Ok(())
    }
}
