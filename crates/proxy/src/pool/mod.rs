//! Pools: servers, the connections kept to them, their limits and the queue in front of them.

mod budget;
mod complaints;
mod concurrency;
mod conduct;
mod gate;
mod idle;
mod limit;
mod parent;
mod place;
mod quic;
mod server;
mod standing;
mod tally;
pub(crate) mod trunks;
pub(crate) mod warm;

use std::sync::Arc;
use std::time::Duration;

pub use concurrency::{Bounds, Concurrency};
pub use conduct::{Ejections, Errors};
pub(crate) use gate::Use;
pub use gate::{Gate, Grant, Waiting};
pub(crate) use idle::{Idle, Parked, Suited};
pub use limit::{Hedges, Limit, Met};
pub use parent::{Credentials, Parent};
pub use place::{Place, Priority};
pub use quic::{Ids, Quic};
pub(crate) use server::{Counted, LOCAL};
pub use server::{Lease, Server, ServerId, WHOLE};
pub use tally::Entry;
pub(crate) use trunks::Trunks;
pub(crate) use warm::Warm;

use http::Conn;
use wire::Head;
use wire::proxy_protocol::Form;
use wire::starttls::Protocol;

use crate::balance::Roster;
use crate::relay::Coalesce;
use crate::sticky::Sticky;

/// A group of servers that do the same work.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// A number that stays the same over reloads, for what workers keep of it.
    pub key: usize,
    /// The servers, in the order of their identities.
    pub servers: Vec<Arc<Server>>,
    /// In which order they are asked, and how one is chosen.
    pub roster: Arc<Roster>,
    /// The parts of it that routes ask for, by their labels.
    pub subsets: Vec<Subset>,
    /// How clients stay with their server.
    pub sticky: Option<Sticky>,
    /// The Host that servers are sent.
    pub host: HostRule,
    /// What its servers speak, if that is something whose connections are shared.
    pub shared: Option<http::shared::Protocol>,
    /// What its servers are asked for, if they are proxies.
    pub parent: Option<Parent>,
    /// How servers are told for whom a connection is, by the PROXY protocol. Such a connection is for one client.
    pub send_proxy: Option<Form>,
    /// Which small pieces of flows wait for others on the way to its servers.
    pub coalesce: Option<Coalesce>,
    /// How its servers are found by the ids of QUIC, where a client's address leads to none.
    pub quic: Option<Quic>,
    /// Whether servers see the client's address as that of the connection.
    pub as_client: bool,
    /// How long an idle connection is kept.
    pub pooled: Duration,
    /// Idle connections that the process keeps ready to each server.
    pub warm: u32,
    /// How long opening one of those may take.
    pub connect: Duration,
    /// Where requests wait for a server below its limit.
    pub gate: Arc<Gate>,
    /// Whether connections are limited, to any server or to all: else nobody waits at the gate.
    pub limited: bool,
    /// How much may be under way.
    pub breaker: Breaker,
    /// Between which numbers the requests under way are limited by how long servers take, if they are.
    pub concurrency: Option<Bounds>,
}

impl Pool {
    /// Whether requests share the connections to its servers.
    pub fn shares(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether TLS with its servers begins inside of this protocol.
    pub(crate) fn begins_in(&self, protocol: Protocol) -> bool {
        let mut security = self.servers.iter().filter_map(|server| server.security());
        security.any(|security| security.starttls == Some(protocol))
    }

    /// Whether a tunnel may lead to its servers: those that are no proxies get its bytes as they are.
    pub(crate) fn takes_tunnels(&self) -> bool {
        let is_plain = || self.servers.iter().all(|server| server.security().is_none());
        self.shared.is_none() && (self.parent.is_some() || is_plain())
    }

    /// Writes a request's head for one of its servers, or for whom that has led the connection on to.
    pub(crate) fn write_request(&self, conn: &mut Conn, head: &Head, is_led_on: bool, out: &mut Vec<u8>) {
        match &self.parent {
            Some(Parent::Http(credentials)) if !is_led_on => {
                conn.write_request_for_proxy(head, credentials.as_ref().map(Credentials::basic), out);
            }
            _ => conn.write_request(head, out),
        }
    }

    /// Whether each connection is for one client.
    pub(crate) fn is_personal(&self) -> bool {
        self.send_proxy.is_some() || self.as_client
    }
}

/// How much may be under way in a pool at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    /// Requests, those that wait among them.
    pub requests: Option<u32>,
    /// Further tries.
    pub retries: Option<u32>,
}

/// A part of a pool.
#[derive(Clone, Debug)]
pub struct Subset {
    /// What its servers are.
    pub labels: Vec<(String, String)>,
    /// In which order they are asked.
    pub roster: Arc<Roster>,
}

/// The Host that servers are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// The client's.
    Client,
    /// The server's own.
    Server,
    /// This one.
    Name(Box<str>),
}
