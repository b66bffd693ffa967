//! Connections to servers that requests share, whatever is spoken on them: one takes what moves its bytes, and gives lanes.

use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use net::dial::{Call, Security, dial, dial_quic};
use net::quic::Lost;
use net::{Address, Stream};
use wire::h2::Limits;

use crate::{Conn, h2, h3};

/// What is spoken on such a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/2
    H2,
    /// HTTP/3
    H3,
}

/// What makes a connection go: it must be polled by one task, as long as it is to live.
#[derive(Debug)]
pub enum Driver {
    /// Of HTTP/2.
    H2(Box<h2::Driver>),
    /// Of HTTP/3.
    H3(Box<h3::Driver>),
}

/// What gives lanes of a connection.
#[derive(Clone, Debug)]
pub enum Client {
    /// Of HTTP/2.
    H2(h2::Client),
    /// Of HTTP/3.
    H3(h3::Client),
}

/// Fields of a response.
const FIELDS: usize = 200;

impl Driver {
    /// Connects, up to where the protocol begins. The caller bounds the time.
    ///
    /// # Errors
    /// Those of [`dial`] and [`dial_quic`].
    pub async fn dial(protocol: Protocol, address: &Address, security: Option<&Security>) -> io::Result<Driver> {
        let limits = Limits { secure: security.is_some(), fields: FIELDS, ..Limits::default() };
        Ok(match protocol {
            Protocol::H2 => {
                let dialled = dial(address, &Call { security, ..Call::default() }).await?;
                Driver::H2(Box::new(h2::Driver::client(dialled.stream, &limits)))
            }
            Protocol::H3 => {
                // Boxed: what a handshake needs should not be a part of every task that might begin one.
                let (connection, quic) = Box::pin(dial_quic(address, security)).await?;
                Driver::H3(Box::new(h3::Driver::client(connection, quic, &limits)))
            }
        })
    }

    /// On a stream on which it was agreed to speak HTTP/2.
    pub fn over(stream: Stream) -> Driver {
        let limits = Limits { secure: !stream.is_plain(), fields: FIELDS, ..Limits::default() };
        Driver::H2(Box::new(h2::Driver::client(stream, &limits)))
    }

    /// What gives lanes of it.
    pub fn lanes(&self) -> Client {
        match self {
            Driver::H2(driver) => Client::H2(driver.lanes()),
            Driver::H3(driver) => Client::H3(driver.lanes()),
        }
    }

    /// When something was heard last.
    pub fn heard(&self) -> Option<Instant> {
        match self {
            Driver::H2(driver) => driver.heard(),
            Driver::H3(driver) => driver.heard(),
        }
    }

    /// Asks the server for a sign of life.
    pub fn ping(&self) {
        match self {
            Driver::H2(driver) => driver.ping(),
            Driver::H3(driver) => driver.ping(),
        }
    }

    /// How many lanes there are.
    pub fn open(&self) -> usize {
        match self {
            Driver::H2(driver) => driver.open(),
            Driver::H3(driver) => driver.open(),
        }
    }

    /// Ends the connection; the server is told when it is polled again.
    pub fn leave(&self) {
        match self {
            Driver::H2(driver) => driver.leave(),
            Driver::H3(driver) => driver.leave(),
        }
    }

    /// Moves what can be moved; ready when the connection has ended.
    ///
    /// # Errors
    /// Why it has, where something else has ended it than the two who speak on it.
    pub fn poll(&mut self, cx: &mut Context<'_>, block: &mut [u8], now: Instant) -> Poll<io::Result<()>> {
        match self {
            Driver::H2(driver) => driver.poll(cx, block, now, &mut |_| {}).map(|_| Ok(())),
            Driver::H3(driver) => driver.poll(cx, block).map(|end| match end {
                h3::End::Lost(Lost::Closed) | h3::End::Broken(_) => Ok(()),
                h3::End::Lost(lost) => Err(lost.into()),
            }),
        }
    }
}

impl Client {
    /// Whether the server has said its limits: before that, nobody knows what it can take.
    pub fn is_greeted(&self) -> bool {
        match self {
            Client::H2(client) => client.is_greeted(),
            Client::H3(client) => client.is_greeted(),
        }
    }

    /// Whether there is room for one more request.
    pub fn has_room(&self) -> bool {
        match self {
            Client::H2(client) => client.has_room(),
            Client::H3(client) => client.has_room(),
        }
    }

    /// Whether no request will ever be taken again.
    pub fn is_leaving(&self) -> bool {
        match self {
            Client::H2(client) => client.is_leaving(),
            Client::H3(client) => client.is_leaving(),
        }
    }

    /// A lane for one request, if there is room for it.
    pub fn lane(&self) -> Option<Conn> {
        match self {
            Client::H2(client) => client.lane().map(Conn::of_lane),
            Client::H3(client) => client.lane().map(Conn::of_quic),
        }
    }

    /// Wakes whoever drives the connection.
    pub fn wake(&self) {
        match self {
            Client::H2(client) => client.wake(),
            Client::H3(client) => client.wake(),
        }
    }
}
