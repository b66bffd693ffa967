//! Servers, and all that is said of them together.

use std::time::Duration;

use wire::proxy_protocol::Form;

use super::{
    Balance, Coalesce, Credentials, Health, Labels, Limits, Outlier, PoolTls, Protocol, Quic, Retries, Selector,
    Server, Sticky, Timeouts,
};
use crate::span::Span;

/// Servers, how to choose among them and how to treat them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its key under `pools`, or the literal `host:port` of a `to`.
    pub name: String,
    /// Where its name was written.
    pub span: Span,
    /// Whether it only stands for a literal `host:port` in a `to`.
    pub implicit: bool,
    /// At least one.
    pub servers: Vec<Server>,
    /// How to choose.
    pub balance: Balance,
    /// How clients stay with their server; absent is not at all.
    pub sticky: Option<Sticky>,
    /// Below this share of usable servers, in hundredths of a percent, health does not count; 0 is never.
    pub panic: u32,
    /// The parts of it that routes ask for, by the labels of their servers; each once.
    pub subsets: Vec<Labels>,
    /// How many requests may wait, in the process, for a server below its `max_connections`. How long is
    /// [`Timeouts::queue`].
    pub queue_length: u32,
    /// Between which numbers the requests under way are limited by how long servers take, if they are.
    pub concurrency: Option<Bounds>,
    /// How much may be under way.
    pub breaker: Breaker,
    /// How long an idle connection to a server is kept.
    pub pooled_timeout: Duration,
    /// Idle connections that the process keeps ready to each server.
    pub warm: u32,
    /// The pool's level of what the nearest decides.
    pub timeouts: Timeouts,
    /// The pool's level of what the nearest decides.
    pub retries: Retries,
    /// The pool's level of what the nearest decides.
    pub limits: Limits,
    /// The Host that servers see.
    pub host: PoolHost,
    /// TLS towards its servers; absent is plain.
    pub tls: Option<PoolTls>,
    /// How servers are told for whom a connection is.
    pub send_proxy: Option<Form>,
    /// Which small pieces of flows wait for others on the way to servers.
    pub coalesce: Option<Coalesce>,
    /// Whether servers see the client's address as that of the connection.
    pub as_client: bool,
    /// What servers speak.
    pub protocol: Protocol,
    /// Who we say that we are, to proxies.
    pub credentials: Option<Credentials>,
    /// How servers are found by the ids of QUIC; absent is not at all.
    pub quic: Option<Quic>,
    /// Active checks.
    pub health: Option<Health>,
    /// What ejects a server.
    pub outlier: Option<Outlier>,
    /// How long a server that comes back gets less than its share.
    pub slow_start: Option<Duration>,
}

impl Pool {
    /// What its servers are chosen by.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.balance.hash.iter().chain(self.sticky.iter().flat_map(Sticky::by))
    }
}

/// Between which numbers a limit is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest.
    pub min: u32,
    /// The largest.
    pub max: u32,
}

/// How much may be under way in a pool, in the process; absent is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Connections to all servers together.
    pub connections: Option<u32>,
    /// Requests, those that wait among them.
    pub requests: Option<u32>,
    /// Further tries.
    pub retries: Option<u32>,
}

/// The Host that a pool's servers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolHost {
    /// The one the client sent.
    Client,
    /// The server's own address as written.
    Server,
    /// This one.
    Name(String),
}
