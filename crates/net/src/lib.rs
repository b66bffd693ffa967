//! Sockets and what the kernel offers for them: listening, dialling, streams, timers, splice, names.
//!
//! - [`listen`]: listening sockets, one a worker on one address
//! - [`dial`]: the one way out
//! - [`stream`]: a connection, whatever its transport
//! - [`timer`]: one coarse timer wheel a worker
//! - [`alarm`]: deadlines of microseconds, for the few that need them
//! - [`tls`]: TLS on a stream
//! - [`datagram`]: UDP, one address for all workers, and a socket for each flow to a server
//! - [`quic`]: QUIC, with one address for all workers
//! - [`splice`]: bytes from socket to socket that never enter user space
//! - [`route`]: by which interface an address is reached
//! - [`dns`]: names to addresses, with their time to live
//!
//! Nothing here knows HTTP, a route or a pool.

pub mod address;
pub mod alarm;
pub mod datagram;
pub mod dial;
pub mod dns;
pub mod listen;
pub mod quic;
pub mod route;
pub mod splice;
pub mod stream;
pub mod timer;
pub mod tls;

pub use address::Address;
pub use stream::Stream;
