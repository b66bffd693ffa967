//! QUIC (RFC 9000) by quinn's state machine, driven by our workers: towards clients one UDP address with a socket a worker, towards
//! servers a socket a connection; no lock.
//!
//! - [`socket`]: the sockets of one address, and the way of datagrams that came to the wrong one
//! - [`ids`]: connection ids that name their worker, for us alone to read
//! - [`server`]: what clients are shown, and what one connection may hold
//! - [`client`]: whom we believe to be the server, and what one connection may hold
//! - [`endpoint`]: one worker's end of an address, or of a connection to a server
//! - [`connection`]: a connection and its streams
//! - [`datagrams`]: what it carries beside them
//!
//! Why the state machine alone and not quinn itself: docs/decisions/0017-quic.md.

pub mod client;
pub mod connection;
pub mod datagrams;
pub mod endpoint;
pub mod ids;
pub mod server;
pub mod socket;
mod steering;

pub use client::{Client, MOST_STREAMS};
pub use connection::{Broken, Connection, Lost, Stream, Way};
pub use datagrams::{Datagram, Unsent};
pub use endpoint::{Caller, Driver, Endpoint, Host, Verdict};
pub use server::{Server, Terms};
pub use socket::{Bound, LEAST_ROOM, bind, unsteer};
