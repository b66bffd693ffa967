//! One message model over the HTTP versions: connections that give and take heads and bodies.
//!
//! - [`conn`]: a connection and the bytes that were read from it too early
//! - [`h2`]: HTTP/2, whose streams look like connections of their own
//! - [`h3`]: HTTP/3, likewise
//! - [`shared`]: connections of these two to servers
//! - [`body`]: content out of its framing, and into another
//!
//! Nothing here knows a route, a pool or a policy, and nothing here waits longer than its caller lets it: time is the
//! caller's.

pub mod body;
pub mod conn;
pub mod h2;
pub mod h3;
pub mod shared;

pub use body::{BodyReader, BodyWriter};
pub use conn::{Arrival, Backlog, Conn, ReadError, Sniffs};
