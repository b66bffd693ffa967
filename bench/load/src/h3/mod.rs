//! The client's side of HTTP/3 (RFC 9114), as much of it as a load needs: requests that were written before the clock started, and
//! answers of which the status, the framing and the length are looked at.
//!
//! - `wire`: what a request looks like, written in QPACK without its dynamic table
//! - `answer`: reads one answer as it comes
//! - `session`: one connection, its streams and what runs on them
//! - `fleet`: many sessions on one thread
//! - `load`, `idle`, `fetch`: what is done with them

pub mod fetch;
pub mod idle;
pub mod load;

mod answer;
mod fleet;
mod session;
mod wire;
