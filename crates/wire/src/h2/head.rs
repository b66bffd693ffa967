//! Between blocks and heads: which pseudo-header fields a message has, how its length is known, what is refused.
//!
//! Whatever could mean something else when it is written as HTTP/1 is refused here (RFC 9113 sections 8.2, 8.3 and 10.3):
//! a head that comes out of this room is as strict as one that [`h1`](crate::h1) has read.

mod read;
mod write;

pub(crate) use read::read_lines;
pub use read::{Expected, Read, Section, read};
pub(crate) use write::each_field;
pub use write::{request, response, trailers};
