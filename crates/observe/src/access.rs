//! The access log: one line for each finished request.
//!
//! A worker formats its lines into a buffer of its own ([`Sink`]); full buffers, and whatever is there when the worker's
//! ticker comes by, go to one writer thread ([`Log`]). A worker never waits: while the writer is behind, lines are
//! dropped and counted. Lines never interleave and control bytes never reach the log raw.
//!
//! # The keys of a JSON line
//!
//! A key whose value does not exist is left out.
//!
//! | key | value |
//! |---|---|
//! | `time` | when the request's first byte came: RFC 3339, UTC, milliseconds |
//! | `id` | the request's id, 24 hexadecimal digits |
//! | `listener` | the listener's name |
//! | `route` | the route's name |
//! | `client` | the client's address, after trusted proxies were considered |
//! | `peer` | the address and port of the connection's other end |
//! | `method` | the request's method; `SOCKS4` or `SOCKS5` where a tunnel was asked for so |
//! | `user` | who asked; with the fault `unauthenticated` or `proxy_unauthenticated`, who the client has said it is |
//! | `host` | the host it asked for, in normal form |
//! | `port` | the port that a client of a forward proxy asked for |
//! | `path` | the path, in normal form, without the query |
//! | `query` | the query, without its question mark |
//! | `version` | the HTTP version the client spoke: `1.0`, `1.1`, `2`, `3`; absent for flows of TCP and for SOCKS |
//! | `tls` | the version of TLS between the client and us: `TLSv1.2`, `TLSv1.3` |
//! | `sni` | the name that the client asked for in its handshake |
//! | `alpn` | the protocol that was agreed on in the handshake (RFC 7301): `http/1.1`, `h2` |
//! | `tls_resumed` | `true` if the handshake took up an earlier session |
//! | `status` | the status that was sent; absent if none was |
//! | `grpc_status` | how a call of gRPC has ended, a number from 0 to 16; absent for all other requests, and if nobody has said it |
//! | `pool` | the pool's name |
//! | `server` | the name of the server that was tried last |
//! | `address` | its address: `127.0.0.1:9001`, `unix:/run/app.sock` |
//! | `tries` | how many servers were tried; more than 1 means retries |
//! | `hedged` | `true` if the request was sent to another server, too, while the first took long |
//! | `reused` | whether the last try found an idle connection; absent if there was no try |
//! | `bytes_in` | bytes of body from the client |
//! | `bytes_out` | bytes of body to the client |
//! | `datagrams_in`, `datagrams_out` | how many datagrams that were, of a flow of UDP |
//! | `head_us` | microseconds from the first byte to the complete head |
//! | `queue_us` | microseconds spent waiting for a server that may be used |
//! | `connect_us` | microseconds until a new connection was there |
//! | `response_us` | microseconds from sending the request to the complete response head |
//! | `total_us` | microseconds from the first byte of the request to the last byte of the response |
//! | `interception` | of a tunnel of a listener with `intercept` or `inspect`, and of requests inside of one: `intercepted` under TLS, `inspected` in plain, `excepted` by the configuration, `bypassed` because its client did not believe us before, `no_tls` and `no_http` where something else was said |
//! | `limit` | the limit that kept it from something: `retry_budget`, `retries`, `requests`, `concurrency` |
//! | `list` | the list by which its route was found |
//! | `rule` | the rule of that list |
//! | `cut` | `true` if the response ended before it was complete |
//! | `fault` | what went wrong, a short stable code |
//! | `side` | on whose side: `client`, `server`, `proxy` |
//! | `reason` | more about the fault in words: at least what the answer's body says, and what only whoever runs us should know |
//!
//! Text is UTF-8. Control characters and bytes that are not UTF-8 are written as `\u00XX`, the latter by the byte's value,
//! so that every line is valid JSON; a reader cannot tell such a byte from the character of that number.
//!
//! # The combined format
//!
//! Apache's `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`, with `-` for what is not there. Quotes and
//! backslashes are escaped by a backslash; control bytes and all bytes outside ASCII are written as `\xhh`.

pub(crate) mod address;
mod combined;
pub(crate) mod escape;
mod json;
mod queue;
mod sink;
mod writer;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base::Fault;
use base::ids::{ClientIp, PeerAddr, RequestId};
use wire::Version;

use crate::stamp::Stamp;

pub use sink::Sink;
pub use writer::Log;

/// Everything about a finished request that a line may tell.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the request's first byte came.
    pub time: SystemTime,
    /// The request's id.
    pub id: RequestId,
    /// The listener's name.
    pub listener: &'a str,
    /// The route's name, if one with a name matched.
    pub route: Option<&'a str>,
    /// The other end of the connection.
    pub peer: PeerAddr,
    /// The client, after trusted proxies were considered.
    pub client: ClientIp,
    /// Who asked, or has said it is who asks.
    pub user: Option<&'a [u8]>,
    /// The method; empty if the request line was never understood.
    pub method: &'a [u8],
    /// The host in normal form; empty if there was none.
    pub host: &'a [u8],
    /// The port that was asked for, where clients name their servers.
    pub port: Option<u16>,
    /// The path; empty if there was none, as for `CONNECT`.
    pub path: &'a [u8],
    /// The query without its question mark.
    pub query: Option<&'a [u8]>,
    /// The version of HTTP that the client spoke; absent for flows of TCP.
    pub version: Option<Version>,
    /// TLS between the client and us.
    pub tls: Option<Tls<'a>>,
    /// The name that the client asked for in a handshake that another ends.
    pub sni: Option<&'a str>,
    /// The status that was sent; 0 if none was.
    pub status: u16,
    /// How a call of gRPC has ended.
    pub grpc_status: Option<u8>,
    /// The pool's name.
    pub pool: Option<&'a str>,
    /// The name of the server that was tried last.
    pub server: Option<&'a str>,
    /// The address of the server that was tried last.
    pub address: Option<Address<'a>>,
    /// How many servers were tried; 0 if the answer was our own.
    pub tries: u8,
    /// Whether others were asked while the first server took long.
    pub hedged: bool,
    /// Whether the last try found an idle connection; said only if there was a try.
    pub reused: bool,
    /// Bytes of body from the client.
    pub bytes_in: u64,
    /// Bytes of body to the client.
    pub bytes_out: u64,
    /// Datagrams from the client and to it, of a flow of UDP.
    pub datagrams: Option<(u64, u64)>,
    /// How long each part took.
    pub phases: Phases,
    /// Whether a tunnel was looked into, in a word; empty where nobody would.
    pub interception: &'a str,
    /// The limit of its pool that it met.
    pub limit: Option<&'a str>,
    /// Whether the response ended before it was complete.
    pub cut: bool,
    /// What went wrong.
    pub fault: Option<Fault>,
    /// More about what went wrong; empty if there is no more to say.
    pub reason: &'a str,
    /// Why a filter that looks for words has not read it and let it pass, in a word; empty if none has.
    pub unread: &'a str,
    /// The list by which its route was found, and the rule of it.
    pub listed: Option<(&'a str, &'a str)>,
    /// The request's `Referer`, which only the combined format shows.
    pub referer: Option<&'a [u8]>,
    /// The request's `User-Agent`, which only the combined format shows.
    pub user_agent: Option<&'a [u8]>,
}

/// Makes single lines of JSON, for whoever wants them besides the log.
#[derive(Debug, Default)]
pub struct Lines(Stamp);

impl Lines {
    /// The line of a record, without its end.
    pub fn json(&mut self, record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        json::write(record, &mut self.0, &mut out);
        out.pop();
        out
    }
}

/// What TLS has agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls<'a> {
    /// Its version.
    pub version: &'a str,
    /// The name that the client asked for.
    pub name: Option<&'a str>,
    /// The protocol that was agreed on.
    pub alpn: Option<&'a str>,
    /// Whether an earlier session was taken up.
    pub resumed: bool,
}

/// How long each part of a request took, in microseconds. `None` is a part that did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// From the first byte to the complete head.
    pub head_us: Option<u64>,
    /// Waiting for a server that may be used.
    pub queue_us: Option<u64>,
    /// Until a new connection was there.
    pub connect_us: Option<u64>,
    /// From sending the request to the complete response head.
    pub response_us: Option<u64>,
    /// From the first byte of the request to the last of the response.
    pub total_us: u64,
}

/// Where a server lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(&'a Path),
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Apache's combined log format.
    Combined,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, and made if it is not there.
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Stdout => f.write_str("standard output"),
            Target::Stderr => f.write_str("standard error"),
            Target::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
