//! What passes a route, whole, into a file of the HTTP Archive format (HAR 1.2), which browsers' developer tools open.
//!
//! A worker copies what it relays, up to a length ([`Kept`]), and hands an [`Entry`] over when the exchange has ended. One
//! thread a file makes JSON of it, without what should not be told ([`Redact`]), and writes. A worker never waits: whatever
//! there is no room for is left out and counted.
//!
//! The file is a whole document after each write: what closes it is written again behind every entry.
//!
//! What an entry says beyond HAR 1.2 has a name that begins with `_`, as the format wants it.

mod budget;
mod content;
mod entry;
mod file;
mod har;
mod redact;
mod writer;

pub use budget::{Kept, Place};
pub use entry::{Entry, Moments, Server, Sort};
pub use redact::{Redact, USUAL_FIELDS, USUAL_PARAMETERS};
pub use writer::{Capture, Recorder, Settings};

#[cfg(test)]
mod tests;
