//! One exchange, as it is handed over.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base::Fault;
use base::ids::{ClientIp, PeerAddr, RequestId};
use wire::{Head, Version};

use super::{Kept, Place};

/// A request and what became of it. It owns everything: who hands it over forgets about it.
#[derive(Debug)]
pub struct Entry {
    /// Its right to the memory that it holds.
    pub place: Place,
    /// When the request's first byte came.
    pub time: SystemTime,
    /// The request's id, the same as in the access log.
    pub id: RequestId,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The route's name.
    pub route: Arc<str>,
    /// The other end of the connection.
    pub peer: PeerAddr,
    /// The client, after trusted proxies were considered.
    pub client: ClientIp,
    /// Who the client has said and proved to be.
    pub user: Option<Box<str>>,
    /// What it is.
    pub sort: Sort,
    /// Whether it asks for something that is secured by TLS.
    pub secure: bool,
    /// The version of HTTP that the client spoke, if it was HTTP.
    pub version: Option<Version>,
    /// The request's head as it came.
    pub request: Head,
    /// The beginning of its content.
    pub request_body: Option<Kept>,
    /// Bytes of content from the client.
    pub bytes_in: u64,
    /// Heads of interim responses that went to the client.
    pub interim: Vec<Head>,
    /// The response's head as it went to the client, if one did.
    pub response: Option<Head>,
    /// The beginning of its content.
    pub response_body: Option<Kept>,
    /// Bytes of content to the client.
    pub bytes_out: u64,
    /// Who has answered.
    pub server: Option<Server>,
    /// How long things took.
    pub moments: Moments,
    /// What went wrong.
    pub fault: Option<Fault>,
    /// More about that.
    pub reason: Cow<'static, str>,
    /// Whether the response ended before it was complete.
    pub cut: bool,
}

/// What an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A request and its response.
    Http,
    /// A connection that became a WebSocket.
    Websocket,
    /// A tunnel.
    Tunnel,
}

/// The server that was asked last.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its pool's name.
    pub pool: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its address, if it has one of IP.
    pub address: Option<SocketAddr>,
}

/// How long the parts of an exchange took; absent is what did not happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    /// Until a name had its addresses.
    pub dns: Option<Duration>,
    /// Until a new connection stood, TLS included.
    pub connect: Option<Duration>,
    /// What TLS took of that.
    pub tls: Option<Duration>,
    /// From the begin of sending the request to the end of it.
    pub send: Option<Duration>,
    /// From there to the whole head of the response.
    pub wait: Option<Duration>,
    /// From there to the end.
    pub receive: Option<Duration>,
    /// All of it.
    pub total: Duration,
}
