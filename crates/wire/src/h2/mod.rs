//! HTTP/2 on the wire (RFC 9113), without IO or clock, in both roles: bytes in, events and bytes out.
//!
//! The rooms, in the order in which a frame walks:
//!
//! - [`connection`]: the whole of it, as its driver sees it
//! - [`frame`]: what stands before each payload
//! - [`settings`]: what the sides tell each other at the start
//! - [`hpack`]: heads as blocks, and [`field`], what is judged of a field once
//! - [`head`]: the rules for pseudo-header fields and framing, between blocks and [`Head`](crate::Head)
//! - [`stream`]: the states of a stream and the table of all
//! - [`flow`]: how much either side may send
//! - [`cost`]: the account of everything that a peer makes us do for nothing
//!
//! What leaves this module as a `Head` can be written as HTTP/1 without meaning anything else there.

use std::num::NonZeroU32;

pub mod connection;
pub mod cost;
pub mod field;
pub mod flow;
pub mod frame;
pub mod head;
pub mod hpack;
pub mod settings;
pub mod stream;

pub use connection::{By, CannotOpen, Connection, Event, Step};

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We answer.
    Server,
    /// We ask.
    Client,
}

/// What one connection may take of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams that a client may have open at once.
    pub streams: u32,
    /// What may arrive of a stream before it is handed on. The standard's 65,535 are the least: before our SETTINGS have
    /// arrived, a peer may believe in them.
    pub stream_window: u32,
    /// What may arrive of all streams before it is handed on; at least 65,535, too.
    pub connection_window: u32,
    /// Bytes of a head, as the text that it would be in HTTP/1.
    pub head: usize,
    /// Bytes of a request's method and target.
    pub line: usize,
    /// Number of fields.
    pub fields: usize,
    /// Whether a server takes extended CONNECT (RFC 8441).
    pub extended_connect: bool,
    /// Content is taken until so many bytes wait to be written.
    pub out: usize,
    /// Whether a client's requests say `https`.
    pub secure: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        let head = crate::h1::Limits::default();
        Limits {
            streams: 128,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            head: head.head,
            line: head.line,
            fields: head.fields,
            extended_connect: false,
            out: 64 * 1024,
            secure: false,
        }
    }
}

/// A stream's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(NonZeroU32);

impl StreamId {
    /// The stream of this number; 0 is none.
    pub fn new(number: u32) -> Option<StreamId> {
        NonZeroU32::new(number).map(StreamId)
    }

    /// The last of all: no connection gets so far, since it ends before.
    pub const LAST: StreamId = StreamId(NonZeroU32::MAX);

    /// The number.
    pub fn number(self) -> u32 {
        self.0.get()
    }
}

/// An error code (RFC 9113 section 7). Peers may send any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

#[expect(missing_docs, reason = "the names are the standard's")]
impl Code {
    pub const NO_ERROR: Code = Code(0);
    pub const PROTOCOL_ERROR: Code = Code(1);
    pub const INTERNAL_ERROR: Code = Code(2);
    pub const FLOW_CONTROL_ERROR: Code = Code(3);
    pub const SETTINGS_TIMEOUT: Code = Code(4);
    pub const STREAM_CLOSED: Code = Code(5);
    pub const FRAME_SIZE_ERROR: Code = Code(6);
    pub const REFUSED_STREAM: Code = Code(7);
    pub const CANCEL: Code = Code(8);
    pub const COMPRESSION_ERROR: Code = Code(9);
    pub const CONNECT_ERROR: Code = Code(10);
    pub const ENHANCE_YOUR_CALM: Code = Code(11);
    pub const INADEQUATE_SECURITY: Code = Code(12);
    pub const HTTP_1_1_REQUIRED: Code = Code(13);
}

/// The connection cannot go on. The GOAWAY that says so waits to be written: write it, and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What the GOAWAY says.
    pub code: Code,
    /// What was wrong, in words for a log.
    pub reason: &'static str,
}
