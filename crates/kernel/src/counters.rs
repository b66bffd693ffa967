//! What has passed, as the kernel counted it.

use std::net::SocketAddr;

/// Everything that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// In the order in which services were last applied.
    pub services: Vec<ServiceCounters>,
    /// Packets that were dropped, by reason: every reason, those that never happened too.
    pub drops: Vec<Dropped>,
    /// Entries of the table of connections that are in use, and how many there are: a connection takes two, under direct
    /// return one. As of the last look at the whole table.
    pub entries: (u64, u64),
}

/// Of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCounters {
    /// The service's name.
    pub name: Box<str>,
    /// In the order of the service, then those that are no longer named and still have connections, in an order that stays.
    pub servers: Vec<ServerCounters>,
}

/// Of one server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCounters {
    /// The server's name; its address if it is no longer named.
    pub name: Box<str>,
    /// The server.
    pub address: SocketAddr,
    /// Whether it is no longer named and only keeps its connections.
    pub leaving: bool,
    /// What passed.
    pub traffic: Traffic,
}

/// Packets are those of the wire where the kernel joins them; bytes are whole frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From clients.
    pub packets_in: u64,
    /// From clients.
    pub bytes_in: u64,
    /// From the server; none under direct return.
    pub packets_out: u64,
    /// From the server; none under direct return.
    pub bytes_out: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that there were at the last look at the whole table.
    pub open: u64,
}

/// Packets that were dropped for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// One of [`Dropped::REASONS`].
    pub reason: &'static str,
    /// How many.
    pub packets: u64,
}

impl Dropped {
    /// In the order of `enum drop` in `bpf/layout.h`.
    pub const REASONS: [&'static str; 8] =
        ["no_server", "no_port", "fragment", "too_big", "ttl", "unroutable", "stray", "refused"];
}
