//! HTTP/3 on the streams of QUIC (RFC 9114), without IO or clock, in both roles: bytes in, what they mean out.
//!
//! - [`message`]: a request or its response, from its head to its trailers
//! - [`oneway`]: the streams that a peer opens for itself: its control, QPACK's two, and what nobody knows
//! - [`settings`]: what the sides tell each other at the start
//! - [`frame`]: what stands before each payload
//! - [`datagram`]: of which stream a datagram of QUIC is
//! - [`qpack`]: heads as blocks (RFC 9204), by the static table and literals alone
//! - [`varint`]: QUIC's numbers
//!
//! What pseudo-header fields there must be and how a message is framed is the same as in HTTP/2, and stands
//! [there](crate::h2::head).
//!
//! We allow no dynamic table and use none: no stream then waits for another, no peer makes us keep a table, and nothing can be
//! guessed from the length of somebody else's messages (RFC 9204 section 7.1).

pub mod datagram;
pub mod frame;
pub mod message;
pub mod oneway;
pub mod qpack;
pub mod settings;
pub mod varint;

use crate::h1::Reject;

/// An error code (RFC 9114 section 8.1, RFC 9204 section 6, RFC 9297 section 2.1). Peers may send any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u64);

#[expect(missing_docs, reason = "the names are the standards'")]
impl Code {
    pub const DATAGRAM_ERROR: Code = Code(0x33);
    pub const NO_ERROR: Code = Code(0x100);
    pub const GENERAL_PROTOCOL_ERROR: Code = Code(0x101);
    pub const INTERNAL_ERROR: Code = Code(0x102);
    pub const STREAM_CREATION_ERROR: Code = Code(0x103);
    pub const CLOSED_CRITICAL_STREAM: Code = Code(0x104);
    pub const FRAME_UNEXPECTED: Code = Code(0x105);
    pub const FRAME_ERROR: Code = Code(0x106);
    pub const EXCESSIVE_LOAD: Code = Code(0x107);
    pub const ID_ERROR: Code = Code(0x108);
    pub const SETTINGS_ERROR: Code = Code(0x109);
    pub const MISSING_SETTINGS: Code = Code(0x10a);
    pub const REQUEST_REJECTED: Code = Code(0x10b);
    pub const REQUEST_CANCELLED: Code = Code(0x10c);
    pub const REQUEST_INCOMPLETE: Code = Code(0x10d);
    pub const MESSAGE_ERROR: Code = Code(0x10e);
    pub const CONNECT_ERROR: Code = Code(0x10f);
    pub const QPACK_DECOMPRESSION_FAILED: Code = Code(0x200);
    pub const QPACK_ENCODER_STREAM_ERROR: Code = Code(0x201);
    pub const QPACK_DECODER_STREAM_ERROR: Code = Code(0x202);
}

/// A rule of the standard was broken: the stream or the connection ends with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What the other side is told.
    pub code: Code,
    /// What was wrong, in words for a log.
    pub reason: &'static str,
}

/// What is wrong with a message's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The head is refused; the connection is none the worse for it.
    Head(Reject),
    /// The stream is reset with this code; others go on.
    Stream(Broken),
    /// The connection cannot go on.
    Connection(Broken),
}

impl Broken {
    const fn of(code: Code, reason: &'static str) -> Broken {
        Broken { code, reason }
    }
}

impl From<Broken> for Wrong {
    fn from(broken: Broken) -> Wrong {
        Wrong::Connection(broken)
    }
}
