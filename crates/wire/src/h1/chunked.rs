//! The chunked coding (RFC 9112 section 7.1), both ways.
//!
//! The decoder takes bytes as they come and answers ranges of them that are content. It is strict: sizes are plain
//! hexadecimal, lines end with CRLF, extensions are bounded and dropped. Trailers become fields of a [`Head`].

use super::judge::is_token;
use super::{Limits, Progress, Reject};
use crate::head::Head;
use crate::known::Known;

/// Decodes one chunked body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    state: State,
    /// Bytes that chunk lines have cost beyond what a plain sender needs.
    overhead: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum State {
    /// Waits for the first digit of a chunk's size.
    #[default]
    Size,
    /// Has read some digits.
    Digits { size: u64, digits: u8 },
    /// Skips a chunk extension, up to CR.
    Extension { size: u64 },
    /// Waits for the LF that ends the size line.
    SizeLf { size: u64 },
    /// Waits for content.
    Content { left: u64 },
    /// Waits for the CR after a chunk's content.
    ContentCr,
    /// Waits for the LF after a chunk's content.
    ContentLf,
    /// Waits for the trailer section, which is read as a whole.
    Trailers,
}

/// What the decoder made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All bytes up to here were framing; more are needed.
    Consumed(usize),
    /// Bytes `skip .. skip + length` are content; everything before them was framing.
    Content {
        /// Framing bytes before the content.
        skip: usize,
        /// Bytes of content.
        length: usize,
    },
    /// The size line of the last chunk ended here; the trailer section begins: call [`trailers`].
    Trailers(usize),
}

/// What the framing of a chunk costs a sender who pads nothing: a few digits and two line ends.
const PLAIN_COST: usize = 8;

/// Extensions and padded sizes are how a sender makes us work for nothing: beyond this many bytes of them for which
/// no content came, the body is refused.
const MOST_OVERHEAD: u32 = 16 * 1024;

impl Decoder {
    /// Looks at `bytes` and takes the first step in them. Call again with what follows the step.
    ///
    /// # Errors
    /// Anything that is not the coding's plain form.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Reject> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Content { left } => {
                    let length = (bytes.len() - at).min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - length as u64;
                    self.state = if left == 0 { State::ContentCr } else { State::Content { left } };
                    self.earn(length);
                    return Ok(Step::Content { skip: at, length });
                }
                State::Trailers => return Ok(Step::Trailers(at)),
                _ => self.framing(bytes[at])?,
            }
            at += 1;
        }
        Ok(if self.state == State::Trailers { Step::Trailers(at) } else { Step::Consumed(at) })
    }

    /// How many bytes of content the chunk at hand still has.
    pub fn content_left(&self) -> u64 {
        match self.state {
            State::Content { left } => left,
            _ => 0,
        }
    }

    fn earn(&mut self, bytes: usize) {
        self.overhead = self.overhead.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    fn framing(&mut self, byte: u8) -> Result<(), Reject> {
        const WRONG: Reject = Reject::Malformed("invalid chunk size");
        self.state = match self.state {
            State::Size => State::Digits { size: hex(byte).ok_or(WRONG)?, digits: 1 },
            State::Digits { size, digits } => match byte {
                b'\r' => State::SizeLf { size },
                b';' => State::Extension { size },
                // Sixteen digits would fill 64 bits; fifteen are more than any body.
                _ if digits == 15 => return Err(WRONG),
                _ => State::Digits { size: size << 4 | hex(byte).ok_or(WRONG)?, digits: digits + 1 },
            },
            State::Extension { size } => match byte {
                b'\r' => State::SizeLf { size },
                b'\t' | b' '..=b'~' | 0x80.. => State::Extension { size },
                _ => return Err(Reject::Malformed("invalid chunk extension")),
            },
            State::SizeLf { size } if byte == b'\n' => {
                if size == 0 {
                    State::Trailers
                } else {
                    self.earn(PLAIN_COST);
                    State::Content { left: size }
                }
            }
            State::ContentCr if byte == b'\r' => State::ContentLf,
            State::ContentLf if byte == b'\n' => State::Size,
            _ => return Err(Reject::Malformed("invalid line end in a chunked body")),
        };
        self.overhead += 1;
        if self.overhead > MOST_OVERHEAD {
            return Err(Reject::Malformed("too much framing for too little content"));
        }
        Ok(())
    }
}

/// Reads a trailer section, which ends with an empty line, into the fields of `head`.
///
/// Fields that must not stand in trailers (RFC 9110 section 6.5.1: framing, routing, authentication, what describes
/// the content) are dropped.
///
/// # Errors
/// The same as for a head's fields.
pub fn trailers(bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<Progress, Reject> {
    if bytes.starts_with(b"\r\n") {
        head.clear();
        return Ok(Progress::Complete(2));
    }
    let mut index = vec![httparse::EMPTY_HEADER; limits.fields.min(super::MOST_FIELDS)];
    let (length, fields) = match httparse::parse_headers(bytes, &mut index) {
        Ok(httparse::Status::Complete(found)) => found,
        Ok(httparse::Status::Partial) => {
            if bytes.len() >= limits.head {
                return Err(Reject::HeadTooLarge);
            }
            super::judge::line_ends(bytes)?;
            return Ok(Progress::Partial);
        }
        Err(error) => return Err(super::judge::refusal(error)),
    };
    if length > limits.head {
        return Err(Reject::HeadTooLarge);
    }
    let raw = &bytes[..length];
    head.begin(raw, crate::head::Version::H11);
    super::request::index_fields(head, raw, fields)?;
    head.retain(|field| may_trail(field.name));
    Ok(Progress::Complete(length))
}

/// Whether a field may stand in a trailer section.
pub fn may_trail(name: &[u8]) -> bool {
    const NEVER: [&str; 34] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
    ];
    use Known::{Misspelled, Via, XForwardedFor, XForwardedOther, XRealIp};
    if matches!(Known::of(name), Misspelled | XForwardedFor | XForwardedOther | XRealIp | Via) {
        return false;
    }
    name.iter().all(|byte| is_token(*byte)) && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()))
}

/// Appends the size line of a chunk; the content and `\r\n` follow it.
pub fn begin_chunk(length: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = DIGITS[rest & 15];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, the trailers if there are any, and the empty line that ends the body.
pub fn end(trailers: Option<&Head>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write_fields(out);
    }
    out.extend_from_slice(b"\r\n");
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}
