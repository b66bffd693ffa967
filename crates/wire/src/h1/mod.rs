//! HTTP/1 on the wire (RFC 9112): heads are read strictly and written plainly, chunked bodies both ways.
//!
//! `httparse` cuts the text into tokens; it is not the judge. `judge.rs` lists every place where it accepts more
//! than we do. A message that two readers could frame differently never leaves this module as a [`Head`](crate::Head). [`opening`] says whether
//! anything of the kind has begun, where that is not known.

pub mod chunked;
mod judge;
pub mod opening;
mod request;
mod response;
mod write;

pub(crate) use judge::{framing as framing_said, is_token};
pub use request::request;
pub use response::{Asked, response};
pub(crate) use write::decimal;
pub use write::{request_head, request_head_for_proxy, response_head, status_line};

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head, from the first byte of the start line to the empty line.
    pub head: usize,
    /// Bytes of the start line.
    pub line: usize,
    /// Number of fields.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { head: 64 * 1024, line: 16 * 1024, fields: 100 }
    }
}

/// How far a head could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is not complete: wait for more bytes, then begin again from its first.
    Partial,
    /// The head took this many bytes.
    Complete(usize),
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// It breaks the grammar or a framing rule; the text says which.
    Malformed(&'static str),
    /// The start line is over its limit.
    LineTooLong,
    /// The head is over its limit.
    HeadTooLarge,
    /// There are more fields than allowed.
    TooManyFields,
    /// A transfer coding that we do not implement.
    UnknownCoding,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

impl Reject {
    /// What was wrong, in words for a log.
    pub fn reason(self) -> &'static str {
        match self {
            Reject::Malformed(reason) => reason,
            Reject::LineTooLong => "start line over its limit",
            Reject::HeadTooLarge => "head over its limit",
            Reject::TooManyFields => "more fields than allowed",
            Reject::UnknownCoding => "unknown transfer coding",
            Reject::Version => "unknown HTTP version",
        }
    }
}

/// The most fields that any limit may allow: the tokenizer's index lives on the stack.
pub const MOST_FIELDS: usize = 256;
