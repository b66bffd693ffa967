//! The vocabulary that every room shares: faults, newtyped addresses, ids and units.
//!
//! Nothing here does IO, and nothing here knows a protocol.

pub mod civil;
pub mod fault;
pub mod hex;
pub mod ids;
pub mod maglev;
pub mod units;
pub mod xxh64;

pub use fault::{Fault, Kind, Retry, Side};
